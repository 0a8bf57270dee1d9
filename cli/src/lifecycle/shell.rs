//! A shell in the guest that stays open: one connection for all that is asked.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// The most that is kept of an answer.
const ANSWER_MAX: usize = 4 << 20;
/// The most that is kept of what the client says of itself.
const SAID_MAX: u64 = 4096;

/// The longest line of a status.
const STATUS_MAX: usize = 16;

/// Why a shell gives no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShellError {
    /// The client cannot be started.
    #[error("cannot start `ssh`")]
    Client(#[source] io::Error),
    /// The connection has ended.
    #[error("the connection to the guest has ended{}", reason(said))]
    Over {
        /// What the client said last.
        said: String,
    },
    /// The guest takes too long.
    #[error("the guest does not answer a command")]
    Silent,
}

fn reason(said: &str) -> String {
    if said.is_empty() {
        String::new()
    } else {
        format!(" ({said})")
    }
}

/// What a script came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    /// What it printed.
    pub(crate) text: String,
    /// Its status.
    pub(crate) status: i32,
}

/// An open shell.
#[derive(Debug)]
pub(crate) struct Shell {
    child: Child,
    stdin: ChildStdin,
    pieces: Receiver<Vec<u8>>,
    errors: Option<thread::JoinHandle<String>>,
    asked: u32,
}

impl Shell {
    /// Starts `command`, which is to end in a POSIX shell that reads its standard input.
    pub(crate) fn open(mut command: Command) -> Result<Self, ShellError> {
        let streams = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = streams
            .stderr(Stdio::piped())
            .spawn()
            .map_err(ShellError::Client)?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(mut stdout), Some(mut stderr)) = (stdin, stdout, stderr) else {
            return Err(ShellError::Client(io::ErrorKind::BrokenPipe.into()));
        };
        let (send, pieces) = sync_channel(16);
        thread::spawn(move || {
            loop {
                let mut piece = vec![0; 16 << 10];
                match stdout.read(&mut piece) {
                    Ok(count @ 1..) => piece.truncate(count),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    _ => return,
                }
                if send.send(piece).is_err() {
                    return;
                }
            }
        });
        let errors = thread::spawn(move || {
            let mut said = Vec::new();
            // What cannot be read any more is not told.
            let _ = stderr.by_ref().take(SAID_MAX).read_to_end(&mut said);
            let _ = io::copy(&mut stderr, &mut io::sink());
            let said = String::from_utf8_lossy(&said).into_owned();
            said.lines().last().unwrap_or_default().trim().to_owned()
        });
        Ok(Self {
            child,
            stdin,
            pieces,
            errors: Some(errors),
            asked: 0,
        })
    }

    /// Runs `script`, which gets no input, for at most `limit`.
    pub(crate) fn ask(&mut self, script: &str, limit: Duration) -> Result<Said, ShellError> {
        let end = Instant::now() + limit;
        self.asked += 1;
        let mark = format!("\n@end-{}-{} ", self.child.id(), self.asked);
        let line = format!(
            "{{\n{script}\n}} </dev/null 2>&1\nprintf '\\n@end-%s-%s %s\\n' {} {} $?\n",
            self.child.id(),
            self.asked
        );
        if self
            .stdin
            .write_all(line.as_bytes())
            .and_then(|()| self.stdin.flush())
            .is_err()
        {
            return Err(self.over());
        }
        let mut said = Vec::new();
        loop {
            if let Some(answer) = finished(&said, mark.as_bytes()) {
                return Ok(answer);
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.pieces.recv_timeout(left) {
                Ok(piece) => {
                    said.extend(piece);
                    if said.len() > ANSWER_MAX {
                        // The end of it is what counts.
                        said.drain(..said.len() - ANSWER_MAX);
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Err(ShellError::Silent),
                Err(RecvTimeoutError::Disconnected) => return Err(self.over()),
            }
        }
    }

    /// Why the connection is over.
    fn over(&mut self) -> ShellError {
        self.end();
        let said = self.errors.take().and_then(|errors| errors.join().ok());
        ShellError::Over {
            said: said.unwrap_or_default(),
        }
    }

    fn end(&mut self) {
        // It is only a client; the guest notices that it is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.end();
    }
}

/// The answer, if the mark with the status has come after it.
fn finished(said: &[u8], mark: &[u8]) -> Option<Said> {
    // Nothing comes after it.
    let from = said.len().saturating_sub(mark.len() + STATUS_MAX);
    let mut windows = said.get(from..)?.windows(mark.len());
    let at = from + windows.rposition(|window| window == mark)?;
    let rest = said.get(at + mark.len()..)?;
    let line = rest.split(|&byte| byte == b'\n').next()?;
    if line.len() == rest.len() {
        return None;
    }
    Some(Said {
        text: String::from_utf8_lossy(said.get(..at)?).into_owned(),
        status: String::from_utf8_lossy(line).trim().parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn shell() -> Shell {
        Shell::open(Command::new("sh")).unwrap()
    }

    #[test]
    fn scripts_are_answered_one_after_the_other_each_with_its_status() {
        let mut shell = shell();
        let said = shell.ask("echo one; echo two >&2; false", LONG).unwrap();
        assert_eq!((said.text.as_str(), said.status), ("one\ntwo\n", 1));
        let said = shell.ask("cat; printf three", LONG).unwrap();
        assert_eq!((said.text.as_str(), said.status), ("three", 0));
        let said = shell.ask("", LONG);
        assert!(said.is_err() || said.is_ok_and(|said| said.text.trim().is_empty()));
    }

    #[test]
    fn a_guest_that_is_silent_or_gone_is_told_apart() {
        let mut silent = shell();
        let error = silent
            .ask("sleep 30", Duration::from_millis(50))
            .unwrap_err();
        assert!(matches!(error, ShellError::Silent), "{error}");
        let mut gone = shell();
        let error = gone.ask("echo farewell >&9; kill -9 $$", LONG).unwrap_err();
        assert!(matches!(error, ShellError::Over { .. }), "{error}");
        let mut refused = Command::new("sh");
        refused.args(["-c", "echo Permission denied. >&2"]);
        let error = Shell::open(refused).unwrap().ask("true", LONG).unwrap_err();
        assert!(
            error.to_string().ends_with("(Permission denied.)"),
            "{error}"
        );
    }

    #[test]
    fn a_long_answer_keeps_its_end() {
        let said = shell()
            .ask("yes | head -c 6000000; echo end", LONG)
            .unwrap();
        assert!(said.text.len() <= ANSWER_MAX && said.text.ends_with("end\n"));
    }
}

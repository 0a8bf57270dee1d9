//! Whether a guest answers on a console: a login prompt after Return, not an open port.

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use crate::printable::Printable;

/// How long the console is quiet before something is typed: what it printed before is shown to whoever connects.
const QUIET: Duration = Duration::from_millis(250);
/// How long an answer may take before Return is typed again.
const ANSWER: Duration = Duration::from_secs(4);
/// How much of what was printed is looked at.
const TAIL: usize = 4096;

/// What a console's guest does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It offers a login, or has a shell.
    Prompt,
    /// Nothing yet.
    None,
    /// The connection has ended.
    Over,
}

/// A console that is asked whether its guest answers.
#[derive(Debug)]
pub(crate) struct Asked<S> {
    stream: S,
    filter: Printable,
    /// What came since something was typed, or at all.
    heard: Vec<u8>,
    last: Instant,
    typed: Option<Instant>,
}

impl<S: Read + Write> Asked<S> {
    /// Takes a fresh connection, whose reads do not wait for long.
    pub(crate) fn new(stream: S, now: Instant) -> Self {
        Self {
            stream,
            filter: Printable::default(),
            heard: Vec::new(),
            last: now,
            typed: None,
        }
    }

    /// Reads once, and types Return when it is time to.
    pub(crate) fn look(&mut self, now: Instant) -> Answer {
        let mut bytes = [0; 16 << 10];
        match self.stream.read(&mut bytes) {
            Ok(0) => return Answer::Over,
            Ok(count) => {
                let bytes = bytes.get(..count).unwrap_or_default();
                self.heard.extend(self.filter.filter(bytes));
                let surplus = self.heard.len().saturating_sub(TAIL);
                self.heard.drain(..surplus);
                self.last = now;
            }
            Err(error) if is_pause(&error) => {}
            Err(_) => return Answer::Over,
        }
        if self.typed.is_some() && self.is_prompt() {
            return Answer::Prompt;
        }
        let quiet = now.saturating_duration_since(self.last) >= QUIET;
        let again = self
            .typed
            .is_none_or(|at| now.saturating_duration_since(at) >= ANSWER);
        // Before there is a prompt, nobody reads what is typed; once in a while it is tried all the same.
        let worth = self.typed.is_some()
            || self.is_prompt()
            || now.saturating_duration_since(self.last) >= ANSWER;
        if quiet && again && worth {
            self.heard.clear();
            self.typed = Some(now);
            if self.stream.write_all(b"\r").is_err() {
                return Answer::Over;
            }
        }
        Answer::None
    }

    /// The last line that was heard, for who asks why there is no answer.
    pub(crate) fn last_line(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.heard).into_owned();
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        last.map(|line| line.trim().to_owned())
    }

    fn is_prompt(&self) -> bool {
        let text = String::from_utf8_lossy(&self.heard);
        let last = text.rsplit('\n').next().unwrap_or_default();
        ["login: ", "assword: ", "# ", "$ "]
            .iter()
            .any(|end| last.ends_with(end))
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A console with a past, whose guest says `reply` to Return.
    #[derive(Debug, Default)]
    struct Fake {
        says: VecDeque<Vec<u8>>,
        reply: Option<&'static str>,
        typed: usize,
        over: bool,
    }

    impl Read for Fake {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            match self.says.pop_front() {
                Some(piece) => {
                    bytes[..piece.len()].copy_from_slice(&piece);
                    Ok(piece.len())
                }
                None if self.over => Ok(0),
                None => Err(ErrorKind::WouldBlock.into()),
            }
        }
    }

    impl Write for Fake {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            assert_eq!(bytes, b"\r");
            self.typed += 1;
            self.says
                .extend(self.reply.map(|reply| reply.as_bytes().to_vec()));
            Ok(1)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Looks for ten seconds, ten times a second.
    fn look(fake: Fake) -> (Answer, usize) {
        let begin = Instant::now();
        let mut asked = Asked::new(fake, begin);
        let mut answer = Answer::None;
        for tenth in 0..100 {
            answer = asked.look(begin + Duration::from_millis(tenth * 100));
            if answer != Answer::None {
                break;
            }
        }
        (answer, asked.stream.typed)
    }

    fn past(text: &str) -> VecDeque<Vec<u8>> {
        [text.as_bytes().to_vec()].into()
    }

    #[test]
    fn a_prompt_after_return_is_an_answer() {
        for reply in [
            "\r\npcp-vm login: ",
            "\r\nPassword: ",
            "\r\n\x1b[1mroot@pcp-vm:~#\x1b[0m ",
        ] {
            let fake = Fake {
                says: past("[ 0.1] Linux\r\npcp-vm login: "),
                reply: Some(reply),
                ..Fake::default()
            };
            assert_eq!(look(fake), (Answer::Prompt, 1), "{reply}");
        }
    }

    #[test]
    fn a_prompt_of_the_past_is_none() {
        let fake = Fake {
            says: past("pcp-vm login: "),
            ..Fake::default()
        };
        let (answer, typed) = look(fake);
        assert_eq!(answer, Answer::None);
        assert!(typed > 1, "Return is typed again: {typed}");
    }

    #[test]
    fn what_is_no_prompt_and_an_end_are_no_answer() {
        let echo = Fake {
            reply: Some("\r\n[ 9.9] login: is not the last line\r\n"),
            ..Fake::default()
        };
        assert_eq!(look(echo).0, Answer::None);
        let over = Fake {
            says: past("x"),
            over: true,
            ..Fake::default()
        };
        assert_eq!(look(over), (Answer::Over, 0));
    }
}

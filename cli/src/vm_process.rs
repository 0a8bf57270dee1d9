//! A process that runs a VM for this one, and what it says.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};

use serde_json::Value;

/// This program.
pub(crate) const OURSELVES: &str = "/proc/self/exe";
/// The most that is kept of what it prints.
const SAID_MAX: u64 = 1 << 20;

/// A process that runs a VM, and ends with it.
#[derive(Debug)]
pub(crate) struct VmProcess {
    pub(crate) child: Child,
    out: JoinHandle<String>,
    err: JoinHandle<String>,
}

impl VmProcess {
    /// Starts `program`, in this process's group.
    pub(crate) fn start(program: &Path, words: &[String]) -> Result<Self, String> {
        Self::spawn(Command::new(program).args(words))
    }

    /// Starts this program, out of reach of the terminal's keys.
    pub(crate) fn apart(words: &[String]) -> Result<Self, String> {
        Self::spawn(Command::new(OURSELVES).args(words).process_group(0))
    }

    fn spawn(command: &mut Command) -> Result<Self, String> {
        let program = Path::new(command.get_program()).to_owned();
        command.stdin(Stdio::null());
        let streams = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let failed = |error: io::Error| format!("cannot start `{}`: {error}", program.display());
        let mut child = streams.spawn().map_err(failed)?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        Ok(Self {
            child,
            out: thread::spawn(move || out.map_or_else(String::new, all)),
            err: thread::spawn(move || err.map_or_else(String::new, all)),
        })
    }

    /// What it printed, once it has ended.
    pub(crate) fn finish(mut self) -> (String, String) {
        let _ = self.child.wait();
        let text = |thread: JoinHandle<String>| thread.join().unwrap_or_default();
        (text(self.out), text(self.err))
    }
}

fn all(mut stream: impl Read) -> String {
    let mut bytes = Vec::new();
    // What cannot be read any more was not said.
    let _ = stream.by_ref().take(SAID_MAX).read_to_end(&mut bytes);
    let _ = io::copy(&mut stream, &mut io::sink());
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What `run --json` said of its failure, in words.
pub(crate) fn why_ended(said: &str) -> String {
    let values = said
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let error = values
        .filter_map(|value| value.get("error").cloned())
        .next_back();
    let Some(error) = error else {
        let last = said.lines().rev().find(|line| !line.trim().is_empty());
        return last.unwrap_or("it said nothing").to_owned();
    };
    let text = |key: &str| error.get(key).and_then(Value::as_str);
    let causes = error.get("causes").and_then(Value::as_array);
    let causes = causes.into_iter().flatten().filter_map(Value::as_str);
    let words: Vec<&str> = text("message").into_iter().chain(causes).collect();
    words.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_failure_of_a_run_is_told_in_its_words() {
        let said = "{\"warning\":\"open\"}\n{\"error\":{\"code\":\"x\",\"message\":\"cannot run `a`\",\
            \"causes\":[\"port 1 is in use\"],\"hint\":null}}\n";
        assert_eq!(why_ended(said), "cannot run `a`: port 1 is in use");
        assert_eq!(why_ended("panicked\n\n"), "panicked");
        assert_eq!(why_ended(""), "it said nothing");
    }
}

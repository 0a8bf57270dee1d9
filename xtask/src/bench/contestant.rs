//! One program that runs a guest, and the times that matter of one run.

use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A program under measurement.
#[derive(Debug)]
pub(super) struct Contestant {
    pub(super) name: String,
    /// The program and its arguments.
    pub(super) words: Vec<String>,
    /// The exit statuses of a good run.
    pub(super) codes: &'static [i32],
}

/// The times of one run, from just before its process is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) first_byte: Duration,
    pub(super) end: Duration,
}

impl Contestant {
    pub(super) fn new(name: &str, program: &Path) -> Self {
        let words = vec![program.to_string_lossy().into_owned()];
        Self {
            name: name.into(),
            words,
            codes: &[0],
        }
    }

    pub(super) fn args<W: AsRef<str>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.words
            .extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    pub(super) fn codes(mut self, codes: &'static [i32]) -> Self {
        self.codes = codes;
        self
    }

    /// Starts the program with its standard streams at pipes.
    pub(super) fn spawn(&self) -> Result<Child> {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))
    }

    /// Runs the program to its good end; returns what it said.
    pub(super) fn said(&self, limit: Duration) -> Result<String> {
        self.attend(limit).map(|(_, said)| said)
    }

    /// Runs the program to its good end.
    pub(super) fn run(&self, limit: Duration) -> Result<Run> {
        self.attend(limit).map(|(run, _)| run)
    }

    fn attend(&self, limit: Duration) -> Result<(Run, String)> {
        let begin = Instant::now();
        let mut child = self.spawn()?;
        let mut out = child.stdout.take().context("no standard output")?;
        let watched = end_at(child.id(), begin + limit);
        let mut first = [0];
        let got = out.read(&mut first).unwrap_or(0);
        let first_byte = begin.elapsed();
        let mut rest = Vec::new();
        // A reader is needed for the guest to go on; what it reads matters only if the run is bad.
        let _ = out.read_to_end(&mut rest);
        let status = child.wait().context("cannot wait for a program")?;
        let end = begin.elapsed();
        drop(watched);
        rest.splice(..0, first.into_iter().take(got));
        let mut said = String::from_utf8_lossy(&rest).into_owned();
        let good = status.code().is_some_and(|code| self.codes.contains(&code));
        if !good || got == 0 {
            let mut errors = String::new();
            if let Some(mut pipe) = child.stderr.take() {
                let _ = pipe.read_to_string(&mut errors);
            }
            write!(said, "\n{errors}")?;
            let said = crate::command::last_lines(said.as_bytes(), 12);
            bail!(
                "a run of {} ended with {status} after {end:.1?}:\n{said}",
                self.name
            );
        }
        Ok((Run { first_byte, end }, said))
    }
}

/// Keeps a process from running beyond its time, until it is dropped.
struct Guard {
    _alive: std::sync::mpsc::Sender<()>,
}

fn end_at(pid: u32, deadline: Instant) -> Guard {
    let (alive, dropped): (_, Receiver<()>) = channel();
    thread::spawn(move || {
        let left = deadline.saturating_duration_since(Instant::now());
        let pid = i32::try_from(pid)
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        if let (Err(RecvTimeoutError::Timeout), Some(pid)) = (dropped.recv_timeout(left), pid) {
            // The process may have ended just now.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    });
    Guard { _alive: alive }
}

/// Runs every contestant once to warm up, then `runs` times in turn.
pub(super) fn alternate(
    contestants: &[Contestant],
    runs: usize,
    limit: Duration,
    mut take: impl FnMut(usize, Run),
) -> Result<()> {
    for contestant in contestants {
        contestant.run(limit)?;
    }
    for _ in 0..runs {
        for (index, contestant) in contestants.iter().enumerate() {
            take(index, contestant.run(limit)?);
        }
    }
    Ok(())
}

//! One program that runs a guest, and the times that matter of one run.

use std::fmt::Write as _;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// A program under measurement.
#[derive(Debug, Clone)]
pub(super) struct Contestant {
    pub(super) name: String,
    /// The program and its arguments.
    pub(super) words: Vec<String>,
    /// The exit statuses of a good run.
    pub(super) codes: &'static [i32],
    /// Whether a good run says nothing.
    pub(super) silent: bool,
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
            silent: false,
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

    /// A good run may say nothing.
    pub(super) fn silent(mut self) -> Self {
        self.silent = true;
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
        // Whatever is done here before the child's first byte competes with it.
        let deadline = begin + limit;
        let mut out = child.stdout.take().context("no standard output")?;
        let mut first_byte = Duration::ZERO;
        let mut said = Vec::new();
        let mut piece = [0; 4096];
        // A reader is needed for the guest to go on; what it reads matters only if the run is bad.
        while readable(&out, deadline)? {
            let count = out.read(&mut piece)?;
            if said.is_empty() {
                first_byte = begin.elapsed();
            }
            said.extend(piece.iter().take(count));
            if count == 0 {
                break;
            }
        }
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let process = pidfd_open(id.context("no process id")?, PidfdFlags::empty())?;
        if !readable(&process, deadline)? {
            child.kill()?;
        }
        let status = child.wait().context("cannot wait for a program")?;
        let end = begin.elapsed();
        let got = said.len();
        let mut said = String::from_utf8_lossy(&said).into_owned();
        let good = status.code().is_some_and(|code| self.codes.contains(&code));
        if !good || got == 0 && !self.silent {
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

/// Waits until `fd` has something to read, or ended; `false` at the deadline.
fn readable(fd: impl AsFd, deadline: Instant) -> Result<bool> {
    let left = deadline.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).context("too long a limit")?;
    let ready = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&left))?;
    Ok(ready > 0)
}

/// Runs every contestant once to warm up, then `runs` times in turn, there and back: what a
/// program leaves behind (caches, the kernel's work after its end) meets each of its neighbours.
pub(super) fn alternate(
    contestants: &[Contestant],
    runs: usize,
    limit: Duration,
    mut take: impl FnMut(usize, Run),
) -> Result<()> {
    for contestant in contestants {
        contestant.run(limit)?;
    }
    let there: Vec<_> = contestants.iter().enumerate().collect();
    let back: Vec<_> = there.iter().rev().copied().collect();
    for turn in [&there, &back].into_iter().cycle().take(runs) {
        for (index, contestant) in turn {
            refresh()?;
            take(*index, contestant.run(limit)?);
        }
    }
    Ok(())
}

/// Tells this program in the lab that instructions are counted there.
pub(super) const COUNTED: &str = "PCP_VMM_BENCH_ICOUNT";

/// Before a run in the lab: what the last one left there is not the next one's. Where instructions are counted it is not
/// anyway.
pub(super) fn refresh() -> Result<()> {
    if env::var_os("PCP_VMM_LAB").is_some() && env::var_os(COUNTED).is_none() {
        renew_memory()?;
    }
    Ok(())
}

/// What other programs of the lab may need meanwhile, in KiB.
const SPARED: usize = 256 << 10;

/// Writes to all free memory. The lab's emulator keeps translations of the code of guests that ended, and whoever writes
/// to their memory first, up to 50 ms for 2 MiB, would pay for forgetting them.
fn renew_memory() -> Result<()> {
    let text = fs::read_to_string("/proc/meminfo").context("cannot read the free memory")?;
    let free = free_memory(&text).context("the kernel does not tell the free memory")?;
    let mut memory = vec![0_u8; free.saturating_sub(SPARED) << 10];
    // The kernel clears a page when it is touched.
    for page in memory.chunks_mut(4096) {
        page[0] = 1;
    }
    std::hint::black_box(memory);
    Ok(())
}

/// The free memory by proc_meminfo(5), in KiB.
fn free_memory(text: &str) -> Option<usize> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemFree:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_free_memory_is_read() {
        let text = "MemTotal:        4016512 kB\nMemFree:         3830784 kB\n";
        assert_eq!(super::free_memory(text), Some(3_830_784));
        assert_eq!(super::free_memory("MemTotal: 1 kB"), None);
    }
}

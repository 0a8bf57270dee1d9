//! Processes of VMs: whether they live, what they use, and how they are ended.

use std::fs;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A process that cannot be mistaken for a later one of the same number.
#[derive(Debug)]
pub(crate) struct Process(OwnedFd);

impl Process {
    /// The process `pid`; `None` if there is none.
    pub(crate) fn open(pid: u32) -> Result<Option<Self>, Errno> {
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
            return Ok(None);
        };
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => Ok(Some(Self(fd))),
            Err(Errno::SRCH) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits for its end, at most for `limit`; whether it has ended.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).unwrap_or_default();
            match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&left)) {
                Ok(count) => return count > 0,
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }

    /// Sends it a signal; one that has ended has heard it.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Errno> {
        match pidfd_send_signal(&self.0, signal) {
            Err(Errno::SRCH) => Ok(()),
            other => other,
        }
    }
}

/// What a process uses.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Usage {
    /// The processor time that it has had.
    pub(crate) cpu: Duration,
    /// The bytes of its memory that are in RAM.
    pub(crate) resident: u64,
}

impl Usage {
    /// What the process `pid` uses, if `/proc` tells.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let memory = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        Self::parse(&stat, &memory)
    }

    /// From the texts of `stat` and `statm` (proc_pid_stat(5), proc_pid_statm(5)).
    fn parse(stat: &str, memory: &str) -> Option<Self> {
        // The second field is the program's name, which may hold anything.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_ascii_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<u64>().ok();
        let ticks = ticks()? + ticks()?;
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        let pages: u64 = memory.split_ascii_whitespace().nth(1)?.parse().ok()?;
        Some(Self {
            cpu: Duration::from_secs_f64(ticks as f64 / per_second as f64),
            resident: pages * rustix::param::page_size() as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_a_strange_name_is_read() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 9 0 0 0 150 50 0 0 20 0 1 0 99 1 2";
        let usage = Usage::parse(stat, "500 10 5 1 0 1 0").unwrap();
        let second = rustix::param::clock_ticks_per_second();
        assert_eq!(usage.cpu, Duration::from_secs_f64(200.0 / second as f64));
        assert_eq!(usage.resident, 10 * rustix::param::page_size() as u64);
        assert_eq!(Usage::parse("7 (a) S", ""), None);
    }

    #[test]
    fn this_process_lives_and_its_children_end() {
        assert!(Usage::of(std::process::id()).unwrap().resident > 0);
        let own = Process::open(std::process::id()).unwrap().unwrap();
        assert!(!own.wait(Duration::ZERO));
        let mut child = std::process::Command::new("sleep")
            .arg("100")
            .spawn()
            .unwrap();
        let process = Process::open(child.id()).unwrap().unwrap();
        process.signal(Signal::KILL).unwrap();
        assert!(process.wait(Duration::from_secs(5)));
        child.wait().unwrap();
        process.signal(Signal::KILL).unwrap();
        assert!(Process::open(0).unwrap().is_none());
    }
}

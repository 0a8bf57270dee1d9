//! One target: a run of `pcp-vmm exec`, whose output is passed on as it comes.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};
use serde_json::Value;

use super::super::exec_process;
use super::super::interrupt::Interrupt;
use crate::args::CommonArgs;
use crate::matrix::cells::Cell;
use crate::matrix::results::{Attempt, Outcome};
use crate::output::Output;
use crate::vmtest::order::Order;

/// A run of one target.
#[derive(Debug)]
pub(super) struct Trial<'t> {
    pub(super) order: &'t Order,
    pub(super) timeout: Option<Duration>,
    /// The folder of results, if they are kept.
    pub(super) results: Option<&'t Path>,
    /// Which of the targets of its name it is: from 1.
    pub(super) number: usize,
    pub(super) common: &'t CommonArgs,
    pub(super) interrupt: &'t Interrupt,
    pub(super) output: Output,
}

impl Trial<'_> {
    /// Runs the target, unless a signal has come.
    pub(super) fn run(&self, cell: &Cell) -> Vec<Attempt> {
        if self.interrupt.signal().is_some() {
            return Vec::new();
        }
        self.output.note(format!("=> {}", cell.name));
        let attempts = vec![self.attempt(cell)];
        let outcome = Outcome::new(cell.clone(), attempts.clone());
        let (name, told) = (&cell.name, outcome.told());
        let seconds = outcome.seconds();
        self.output.note(format!("{name}: {told}, {seconds:.1} s"));
        attempts
    }

    fn attempt(&self, cell: &Cell) -> Attempt {
        let begin = Instant::now();
        let place = |ending: &str| {
            let name = format!("{}.{}.{ending}", cell.file_name(), self.number);
            self.results.map(|folder| folder.join(name))
        };
        let (log, kept) = (place("log"), place("json"));
        let ran = self.exec(cell, log.as_deref(), kept);
        let (status, report) = ran.unwrap_or_else(|error| {
            self.output
                .warn(format!("{}: cannot run `pcp-vmm exec`: {error}", cell.name));
            (None, None)
        });
        let interrupted = self.interrupt.signal().is_some();
        Attempt::since(begin, status, report, log, interrupted)
    }

    /// Runs the command: its status, unless a signal ended `exec` itself, and the report.
    fn exec(
        &self,
        cell: &Cell,
        log: Option<&Path>,
        kept: Option<PathBuf>,
    ) -> io::Result<(Option<i32>, Option<Value>)> {
        // The report is a file in memory that the child inherits: nothing is left behind.
        let report = memfd_create("report", MemfdFlags::CLOEXEC)?;
        fcntl_setfd(&report, FdFlags::empty())?;
        let place = format!("/proc/self/fd/{}", report.as_raw_fd());
        let order = self.order;
        let mut command = exec_process::command(self.common);
        command.arg("--kernel").arg(&order.kernel);
        command.args(["--memory", &order.memory, "--cpus", &order.cpus]);
        if !cell.flags.iter().any(|flag| flag.starts_with("--net=")) {
            command.args(["--net", "none"]);
        }
        command.args(&cell.flags).args(["--report", &place]);
        if let Some(limit) = self.timeout {
            command.args(["--timeout", &limit.as_secs_f64().to_string()]);
        }
        command.arg("--").args(&order.command);
        if order.interactive {
            command.stdin(Stdio::inherit());
        } else {
            // The terminal's keys are for this program, which tells the others.
            command.process_group(0);
        }
        let status = match log.filter(|_| !order.interactive) {
            Some(log) => {
                let log = Mutex::new(File::create(log)?);
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
                let carry = |child: &mut Child| self.carry(child, &log);
                exec_process::run(&mut command, self.interrupt, carry)?
            }
            None => {
                if self.output.is_json() {
                    command.stdout(io::stderr().as_fd().try_clone_to_owned()?);
                }
                exec_process::run(&mut command, self.interrupt, |_| {})?
            }
        };
        let text = read(&report)?;
        if let Some(kept) = kept.filter(|_| !text.is_empty()) {
            fs::write(kept, &text)?;
        }
        Ok((status, serde_json::from_slice(&text).ok()))
    }

    /// Passes the streams on, and writes both to the log.
    fn carry(&self, child: &mut Child, log: &Mutex<File>) {
        let (out, err) = (child.stdout.take(), child.stderr.take());
        thread::scope(|scope| {
            if let Some(out) = out {
                let json = self.output.is_json();
                scope.spawn(move || match json {
                    true => copy(out, io::stderr(), log),
                    false => copy(out, io::stdout(), log),
                });
            }
            if let Some(err) = err {
                scope.spawn(move || copy(err, io::stderr(), log));
            }
        });
    }
}

/// Copies what comes to two places. A place that takes no more does not end the command.
fn copy(mut from: impl Read, mut to: impl Write, log: &Mutex<File>) {
    let mut piece = [0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        let bytes = piece.get(..count).unwrap_or_default();
        let _ = to.write_all(bytes).and_then(|()| to.flush());
        let mut log = log
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let _ = log.write_all(bytes);
    }
}

/// The whole of a file in memory.
fn read(file: &OwnedFd) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

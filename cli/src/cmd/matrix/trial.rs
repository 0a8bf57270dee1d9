//! One cell: its runs by `pcp-vmm exec`, each with a log and a report of its own.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use super::super::exec_process;
use super::super::interrupt::Interrupt;
use super::board::Board;
use crate::args::CommonArgs;
use crate::matrix::cells::Cell;
use crate::matrix::file::Matrix;
use crate::matrix::results::{Attempt, Outcome, Verdict};

/// What all cells have in common.
#[derive(Debug)]
pub(super) struct Trial<'m> {
    pub(super) matrix: &'m Matrix,
    pub(super) results: &'m Path,
    pub(super) common: &'m CommonArgs,
    pub(super) interrupt: &'m Interrupt,
}

impl Trial<'_> {
    /// Runs the cell until it passes or has had its retries.
    pub(super) fn run(&self, cell: &Cell, board: &Board) -> Vec<Attempt> {
        let mut attempts = Vec::new();
        for number in 1..=self.matrix.retries + 1 {
            let line = board.begin(&cell.name, number);
            let attempt = self.attempt(cell, number);
            if let Some(line) = line {
                line.finish_and_clear();
            }
            let verdict = attempt.verdict;
            attempts.push(attempt);
            let over = matches!(verdict, Verdict::Passed | Verdict::Interrupted);
            if over || self.interrupt.signal().is_some() {
                break;
            }
            if number <= self.matrix.retries {
                board.say(&format!("{}: {}, runs again", cell.name, verdict.word()));
            }
        }
        board.end(&Outcome::new(cell.clone(), attempts.clone()));
        attempts
    }

    fn attempt(&self, cell: &Cell, number: u32) -> Attempt {
        let begin = Instant::now();
        let place = |ending: &str| {
            let name = format!("{}.{number}.{ending}", cell.file_name());
            self.results.join(name)
        };
        let (log, report) = (place("log"), place("json"));
        let status = self.exec(cell, &log, &report).unwrap_or_else(|error| {
            // Where the log cannot be written, this is told in its place.
            let _ = fs::write(&log, format!("cannot run `pcp-vmm exec`: {error}\n"));
            None
        });
        let report = fs::read(&report).ok();
        let report = report.and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        let interrupted = self.interrupt.signal().is_some();
        Attempt::since(begin, status, report, Some(log), interrupted)
    }

    /// Runs the command; its status, unless a signal ended `exec` itself.
    fn exec(&self, cell: &Cell, log: &Path, report: &Path) -> io::Result<Option<i32>> {
        match fs::remove_file(report) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let log = File::create(log)?;
        let mut command = exec_process::command(self.common);
        command.args(["--kernel", &cell.kernel]);
        if let Some(root) = &cell.root {
            command.args(["--root", root]);
        }
        command.args(["--memory", &format!("{}K", cell.memory >> 10)]);
        command.args(["--cpus", &cell.cpus.to_string()]);
        command.args(["--timeout", &self.matrix.timeout.to_string()]);
        command.arg("--report").arg(report).args(&cell.flags);
        for (name, value) in &cell.parameters {
            command.args(["--env", &format!("{name}={value}")]);
        }
        command.arg("--").args(&self.matrix.command);
        command.stdout(log.try_clone()?).stderr(log);
        // The terminal's keys are for this program, which tells the others.
        command.process_group(0);
        exec_process::run(&mut command, self.interrupt, |_| {})
    }
}

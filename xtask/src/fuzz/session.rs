//! One target's run, and what its libFuzzer says of it.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{build, folder};
use crate::{command, place};

/// A target that takes this long for one input has a bug.
const INPUT_LIMIT: u32 = 10;
/// So has one that takes this much memory, in MiB, or that allocates so much at once: what a guest
/// can make the program allocate is far less.
const MEMORY_LIMIT: u32 = 1024;
const ALLOCATION_LIMIT: u32 = 64;
/// Longer inputs say nothing new.
const MAX_INPUT: u32 = 8192;
/// What a target may take beyond its time: for reading its inputs, and for the last one.
const GRACE: Duration = Duration::from_secs(60);

/// How far a target is.
#[derive(Debug, Default)]
pub(super) enum Progress {
    /// It was not begun.
    #[default]
    Waiting,
    /// It runs.
    Running {
        /// Since then.
        begin: Instant,
        /// What it said last.
        said: String,
    },
    /// It ended.
    Done,
}

/// How a target's run ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) target: String,
    pub(super) executions: u64,
    /// How long it ran, by the clock.
    pub(super) time: Duration,
    /// The processor time that it had.
    pub(super) processor: Duration,
    pub(super) per_second: u64,
    pub(super) coverage: u64,
    pub(super) features: u64,
    /// What was found: the input, or, where there is none, what happened.
    pub(super) findings: Vec<String>,
    /// The last words of a target that found something.
    pub(super) said: String,
    pub(super) log: PathBuf,
}

impl Outcome {
    /// This and a later run of the same target.
    pub(super) fn and(mut self, later: Self) -> Self {
        self.findings.extend(later.findings);
        Self {
            executions: self.executions + later.executions,
            time: self.time + later.time,
            processor: self.processor + later.processor,
            findings: self.findings,
            said: later.said,
            ..later
        }
    }

    /// The command that does it again.
    pub(super) fn reproduce(&self, finding: &str) -> String {
        format!("cargo xtask fuzz {} --input {finding}", self.target)
    }
}

fn limits(target: &mut Command) {
    target.arg(format!("-timeout={INPUT_LIMIT}"));
    target.arg(format!("-rss_limit_mb={MEMORY_LIMIT}"));
    target.arg(format!("-malloc_limit_mb={ALLOCATION_LIMIT}"));
    target.stdin(Stdio::null());
}

/// Runs a built target for `time`.
pub(super) fn run(target: &str, time: Duration, progress: &Mutex<Progress>) -> Result<Outcome> {
    let set = |it| *progress.lock().unwrap_or_else(|e| e.into_inner()) = it;
    let (work, artifacts) = (folder("corpus", target), folder("artifacts", target));
    let logs = folder("logs", "");
    for folder in [&work, &artifacts, &logs] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let path = logs.join(format!("{target}.log"));
    let log = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    let mut program = Command::new(build::path(target));
    program.arg(&work);
    let kept = place::top().join("fuzz/corpus").join(target);
    if kept.exists() {
        program.arg(kept);
    }
    program.arg(format!("-max_total_time={}", time.as_secs().max(1)));
    program.arg(format!("-max_len={MAX_INPUT}"));
    program.arg("-print_final_stats=1");
    program.arg(format!("-artifact_prefix={}/", artifacts.display()));
    limits(&mut program);
    program.stdout(Stdio::null()).stderr(log);
    let begin = Instant::now();
    let mut child = program
        .spawn()
        .with_context(|| format!("cannot start {}", command::name(&program)))?;
    let mut reader = File::open(&path).context("cannot read the log")?;
    let mut late = false;
    let mut processor = Duration::ZERO;
    let status = loop {
        processor = processor_time(child.id()).unwrap_or(processor);
        if let Some(status) = child.try_wait().context("cannot wait for a target")? {
            break status;
        }
        if begin.elapsed() > time + GRACE {
            late = true;
            child.kill().context("cannot end a target")?;
        }
        set(Progress::Running {
            begin,
            said: news(&mut reader),
        });
        thread::sleep(Duration::from_millis(200));
    };
    set(Progress::Done);
    let said = fs::read(&path).context("cannot read the log")?;
    let mut outcome = read(target, &String::from_utf8_lossy(&said), status, late);
    outcome.log = path;
    outcome.time = begin.elapsed();
    outcome.processor = processor;
    Ok(outcome)
}

/// The processor time of a process, user's and kernel's, of all its threads: proc(5), `/proc/PID/stat`, fields 14 and 15.
fn processor_time(pid: u32) -> Option<Duration> {
    /// `USER_HZ`, the unit of those fields on Linux.
    const TICKS_PER_SECOND: u64 = 100;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets, which may have anything in it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let ticks = ticks()? + ticks()?;
    // A process that ended but was not waited for has its time still; one without any is not ours to count.
    (ticks > 0).then(|| Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// The numbers of the last line of a running target.
fn news(log: &mut File) -> String {
    let mut end = Vec::new();
    let len = log.metadata().map_or(0, |it| it.len());
    let read = log
        .seek(SeekFrom::Start(len.saturating_sub(400)))
        .and_then(|_| log.read_to_end(&mut end));
    let text = String::from_utf8_lossy(&end);
    let line = text.lines().rev().find(|line| line.contains(" cov: "));
    match (read, line) {
        (Ok(_), Some(line)) => {
            let word = |key| field(line, key).unwrap_or_default();
            format!("cov {} ({}/s)", word("cov:"), word("exec/s:"))
        }
        _ => String::new(),
    }
}

/// The number behind `key`.
fn field(line: &str, key: &str) -> Option<u64> {
    let rest = line.split_once(key)?.1;
    rest.split_whitespace().next()?.parse().ok()
}

/// Reads what a target's libFuzzer said.
fn read(target: &str, said: &str, status: ExitStatus, late: bool) -> Outcome {
    let last = |key: &str| said.lines().rev().find_map(|line| field(line, key));
    let numbers = |line: &&str| line.starts_with('#') && line.contains(" cov: ");
    let line = said.lines().rev().find(numbers).unwrap_or_default();
    let mut findings: Vec<_> = said
        .lines()
        .filter_map(|line| {
            line.split_once("Test unit written to ")?
                .1
                .split(' ')
                .next()
        })
        .map(str::to_owned)
        .collect();
    if late {
        findings.push("it did not end in time".to_owned());
    } else if !status.success() && findings.is_empty() {
        findings.push(format!("it ended with {status}"));
    }
    let said = if findings.is_empty() {
        String::new()
    } else {
        story(said)
    };
    Outcome {
        target: target.to_owned(),
        executions: last("stat::number_of_executed_units:").unwrap_or_default(),
        per_second: last("stat::average_exec_per_sec:").unwrap_or_default(),
        coverage: field(line, " cov:").unwrap_or_default(),
        features: field(line, " ft:").unwrap_or_default(),
        findings,
        said,
        ..Outcome::default()
    }
}

/// What a target said of a finding: from where it begins, without the calls that led there.
fn story(said: &str) -> String {
    const BEGINS: [&str; 4] = [" panicked at ", "ERROR: ", "ALARM: ", "cannot fence"];
    let lines: Vec<_> = said.lines().collect();
    let begin = lines
        .iter()
        .position(|line| BEGINS.iter().any(|it| line.contains(it)));
    match begin {
        Some(begin) => lines[begin..]
            .iter()
            .take(12)
            .copied()
            .collect::<Vec<_>>()
            .join("\n"),
        None => command::last_lines(said.as_bytes(), 12),
    }
}

/// Runs a target on one input, with what it says on the terminal.
pub(super) fn replay(target: &str, input: &Path) -> Result<ExitCode> {
    let mut program = Command::new(build::path(target));
    program.arg(input);
    limits(&mut program);
    let status = program
        .status()
        .with_context(|| format!("cannot start {}", command::name(&program)))?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    const GOOD: &str = "INFO: seed\n#8192\tpulse  cov: 1790 ft: 3886 corp: 127/853b\n\
        #19385\tDONE   cov: 1812 ft: 4960 corp: 226/2348b lim: 25 exec/s: 1491 rss: 266Mb\n\
        stat::number_of_executed_units: 19385\nstat::average_exec_per_sec:     1491\n";

    #[test]
    fn the_numbers_of_a_run_are_read() {
        let outcome = read("fs", GOOD, ExitStatus::from_raw(0), false);
        let Outcome {
            executions,
            per_second,
            coverage,
            features,
            findings,
            ..
        } = outcome;
        let numbers = (executions, per_second, coverage, features);
        assert_eq!(numbers, (19385, 1491, 1812, 4960));
        assert!(findings.is_empty());
    }

    #[test]
    fn a_finding_is_its_input_and_how_to_run_it_again() {
        let said = "#9 NEW\nthread panicked at x.rs\nartifact_prefix='a/'; Test unit written to a/crash-1\nBase64: AA==\n";
        let outcome = read("fs", said, ExitStatus::from_raw(77 << 8), false);
        assert_eq!(outcome.findings, ["a/crash-1"]);
        let again = outcome.reproduce("a/crash-1");
        assert_eq!(again, "cargo xtask fuzz fs --input a/crash-1");
        assert!(outcome.said.starts_with("thread panicked at x.rs"));
    }

    #[test]
    fn an_end_without_an_input_is_a_finding() {
        let outcome = read("fs", "", ExitStatus::from_raw(1 << 8), false);
        assert_eq!(outcome.findings.len(), 1);
        let outcome = read("fs", GOOD, ExitStatus::from_raw(9), true);
        assert_eq!(outcome.findings, ["it did not end in time"]);
    }
}

//! Test programs with real guests, shared out among labs.
//!
//! Each lab has one processor: where two emulated processors run a guest's processors at once, QEMU's nested SVM
//! corrupts memory within some tens of boots. So two labs work side by side. What an emulation still crashes or hangs
//! is tried again, and the log and the terminal say so.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{env, thread};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::Log;
use super::counts::{Counts, Verdict, verdicts};
use crate::{command, lab, place, release};

/// How often a test may fail: the second failure counts.
const FAILURES: u32 = 2;
/// How often a test is begun at all: a lab that hangs or dies with it says little of it.
const ATTEMPTS: u32 = 3;

/// What a stage runs in the lab.
pub(super) struct Plan<'a> {
    /// The test program.
    pub(super) program: &'a Path,
    /// More arguments for `cargo xtask lab`, before the command.
    pub(super) lab: Vec<String>,
    /// What the tests find in their environment.
    pub(super) env: Vec<(&'a str, PathBuf)>,
    /// How many tests a lab runs before the next is started.
    pub(super) batch: usize,
    /// The longest that a batch may take, in seconds.
    pub(super) limit: u32,
    /// The longest that a test may take, in seconds: then its lab is given up.
    pub(super) quiet: u64,
}

/// Where the tests of a stage stand.
#[derive(Default)]
struct State {
    waiting: VecDeque<String>,
    begun: BTreeMap<String, u32>,
    counts: Counts,
    labs: u32,
    error: Option<anyhow::Error>,
}

impl Plan<'_> {
    /// Runs every test of the program.
    pub(super) fn run(&self, log: &mut Log) -> Result<Counts> {
        let state = Mutex::new(State {
            waiting: self.names(log)?,
            ..State::default()
        });
        // On the machine itself all tests would share one set of ports.
        let labs = if lab::has_hardware_kvm() { 1 } else { 2 };
        let log = Mutex::new(log);
        thread::scope(|scope| {
            for _ in 0..labs {
                scope.spawn(|| {
                    while let Some((batch, number)) = self.next(&state) {
                        if let Err(error) = self.attempt(batch, number, &state, &log) {
                            state.lock().unwrap_or_else(PoisonError::into_inner).error =
                                Some(error);
                        }
                    }
                });
            }
        });
        let state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
        match state.error {
            Some(error) => Err(error),
            None => Ok(state.counts),
        }
    }

    /// The names of the program's tests.
    fn names(&self, log: &mut Log) -> Result<VecDeque<String>> {
        let mut list = Command::new(self.program);
        list.args(["--list", "--format", "terse"]);
        let (said, success) = log.run(&mut list)?;
        let names: VecDeque<String> = said
            .lines()
            .filter_map(|line| line.strip_suffix(": test"))
            .map(str::to_owned)
            .collect();
        if !success || names.is_empty() {
            bail!("{} names no tests", command::name(&list));
        }
        Ok(names)
    }

    /// The tests that the next lab runs, and its number.
    fn next(&self, state: &Mutex<State>) -> Option<(Vec<String>, u32)> {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.error.is_some() || state.waiting.is_empty() {
            return None;
        }
        // The last tests are shared out too.
        let many = self.batch.min(state.waiting.len().div_ceil(2));
        state.labs += 1;
        Some((state.waiting.drain(..many).collect(), state.labs))
    }

    /// Runs `batch` in a lab of its own; what it leaves undone waits for another.
    fn attempt(
        &self,
        batch: Vec<String>,
        number: u32,
        state: &Mutex<State>,
        log: &Mutex<&mut Log>,
    ) -> Result<()> {
        let path = place::target().join(format!("xtask/test/lab-{number}.log"));
        let file =
            File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let mut lab = self.lab(&batch)?;
        let share = || file.try_clone().context("cannot share the log");
        lab.stdin(Stdio::null()).stdout(share()?).stderr(share()?);
        let status = self.wait(lab.spawn().context("cannot start the lab")?, &file)?;
        let said =
            String::from_utf8_lossy(&fs::read(&path).context("cannot read the log")?).into_owned();

        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        log.line(&format!("$ {}\n{said}", command::name(&lab)))?;
        let found = verdicts(&said);
        if found.is_empty() {
            log.tell(&format!("a lab ended with {status} and ran no test"))?;
        }
        let mut undone = Vec::new();
        for (index, name) in batch.into_iter().enumerate() {
            match found.get(&name) {
                None if index == 0 && found.is_empty() => {
                    undone.push((name, "was not reached", ATTEMPTS));
                }
                Some(Verdict::Passed) => state.counts.passed += 1,
                Some(Verdict::Skipped) => state.counts.skipped += 1,
                Some(Verdict::Failed) => undone.push((name, "failed", FAILURES)),
                Some(Verdict::Begun) => undone.push((name, "did not end", ATTEMPTS)),
                // The lab ended before; that is not the test's fault.
                None => state.waiting.push_back(name),
            }
        }
        for (name, how, most) in undone {
            let begun = state.begun.entry(name.clone()).or_default();
            *begun += 1;
            if *begun < most {
                log.tell(&format!(
                    "{name} {how} in the lab: attempt {begun} of {most}"
                ))?;
                state.waiting.push_back(name);
            } else {
                log.tell(&format!("{name} {how} in the lab for the last time"))?;
                state.counts.failed += 1;
            }
        }
        Ok(())
    }

    /// Waits for a lab, whose output goes to `file`, and ends it when it says nothing more: a lab that hangs
    /// cannot keep its own time.
    fn wait(&self, mut lab: Child, file: &File) -> Result<ExitStatus> {
        let length =
            || Ok::<_, anyhow::Error>(file.metadata().context("cannot read the log")?.len());
        let (mut seen, mut since) = (0, Instant::now());
        loop {
            if let Some(status) = lab.try_wait().context("cannot wait for the lab")? {
                return Ok(status);
            }
            let now = length()?;
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
            if since.elapsed() > Duration::from_secs(self.quiet) {
                // The lab ends its machine and says so.
                kill_process(Pid::from_child(&lab), Signal::TERM).context("cannot end the lab")?;
                return lab.wait().context("cannot wait for the lab");
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    fn lab(&self, batch: &[String]) -> Result<Command> {
        let xtask = env::current_exe().context("cannot find this program")?;
        let mut lab = Command::new(xtask);
        lab.args(["lab", "--verbose", "--timeout", &self.limit.to_string()]);
        lab.args(&self.lab).arg("--").arg(self.program);
        lab.args(["--test-threads", "1", "--exact"]).args(batch);
        lab.envs(self.env.iter().map(|(name, value)| (name, value)));
        lab.current_dir(place::top())
            .env("PCP_VMM_BIN", release::path());
        Ok(lab)
    }
}

//! The VM of a test: started, found, and seen to its end; one of ours, or another program's.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use guest::bundle::Bundle;
use rustix::process::Signal;
use serde_json::Value;
use vmm::control::protocol::{ConsoleInfo, Request, State};
use vmm::instance::{self, Entry};

use super::super::console::{self, Attached};
use super::super::stop::{FORCE, end};
use super::promised::Promised;
use crate::args::{CommonArgs, ConsoleArg};
use crate::diagnostic::Diagnostic;
use crate::folders;
use crate::instances::{RuntimeDir, ask, connect};
use crate::lifecycle::case::Case;
use crate::network::TAP;
use crate::output::Output;
use crate::process::Process;
use crate::ssh::Login;
use crate::vm_process::{self, VmProcess, why_ended};
use crate::vm_status::VmStatus;

/// The time between two looks for a VM that starts.
const LOOK: Duration = Duration::from_millis(5);

/// A VM that runs.
#[derive(Debug)]
pub(super) struct Machine {
    place: Place,
    pub(super) process: Process,
    pub(super) pid: u32,
    run: Option<VmProcess>,
}

/// Where a VM is reached.
#[derive(Debug)]
enum Place {
    /// By its folder.
    Ours(Box<Entry>),
    /// Where its bundle promises its consoles and its SSH.
    Other(Box<Promised>),
}

/// How a VM ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// Its guest powered off.
    Well,
    /// In another way, told in words.
    Otherwise(String),
}

/// What a VM is started with.
#[derive(Debug)]
pub(super) struct Start<'a> {
    pub(super) case: &'a Case,
    pub(super) bundle: &'a Bundle,
    /// What every verb understands.
    pub(super) common: &'a CommonArgs,
    /// More flags of `run`.
    pub(super) flags: &'a [String],
    /// The program that runs the VM in place of `pcp-vmm run`.
    pub(super) runner: Option<&'a Path>,
    /// Whether it goes on when this process ends.
    pub(super) stays: bool,
}

impl Machine {
    /// Starts the VM and waits, until `late` says that it takes too long, for it to run under its name.
    pub(super) fn start(
        start: &Start<'_>,
        runtime: &RuntimeDir,
        late: &dyn Fn() -> bool,
    ) -> Result<Self, String> {
        let mut run = match start.runner {
            Some(program) => VmProcess::start(program, &[])?,
            None => VmProcess::start(Path::new(vm_process::OURSELVES), &command(start, runtime))?,
        };
        let pid = run.child.id();
        let place = loop {
            if let Ok(Some(_)) = run.child.try_wait() {
                let (_, said) = run.finish();
                return Err(why_ended(&said));
            }
            let found = match start.runner {
                Some(_) => Promised::by(start.bundle)?.map(|it| Place::Other(Box::new(it))),
                None => find(runtime, pid).map(|it| Place::Ours(Box::new(it))),
            };
            match found {
                Some(place) => break place,
                None if late() => {
                    let _ = run.child.kill();
                    let _ = run.finish();
                    return Err("it did not come up in time".to_owned());
                }
                None => thread::sleep(LOOK),
            }
        };
        let process = Process::open(pid).ok().flatten();
        let process = process.ok_or_else(|| "it ended at once".to_owned())?;
        let machine = Self {
            place,
            process,
            pid,
            run: (!start.stays).then_some(run),
        };
        machine.is_called(&start.bundle.process)?;
        Ok(machine)
    }

    /// The VM of the guest of `bundle`, if it runs.
    pub(super) fn running(
        runtime: &RuntimeDir,
        bundle: &Bundle,
    ) -> Result<Option<Self>, Diagnostic> {
        let found = of_bundle(runtime, bundle)?.into_iter().next();
        Ok(found.and_then(Self::of_entry))
    }

    /// The VM of `entry`, unless it has ended.
    pub(super) fn of_entry(entry: Entry) -> Option<Self> {
        let pid = entry.record.as_ref()?.pid;
        Some(Self {
            process: Process::open(pid).ok().flatten()?,
            place: Place::Ours(Box::new(entry)),
            pid,
            run: None,
        })
    }

    /// Whether PCP's scripts find it: `microvm@NAME` and `process=NAME` in its command line. Another program's VM may
    /// be called as it likes.
    fn is_called(&self, process: &str) -> Result<(), String> {
        let Place::Ours(entry) = &self.place else {
            return Ok(());
        };
        let known = entry.record.as_ref().and_then(|it| it.process.as_deref());
        let name = known.unwrap_or(process);
        let line = std::fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|&byte| byte == 0).collect();
        let has = |word: String| words.contains(&word.as_bytes());
        if has(format!("microvm@{name}")) && has(format!("process={name}")) {
            Ok(())
        } else {
            Err(format!(
                "its command line lacks `microvm@{name}` or `process={name}`"
            ))
        }
    }

    /// How it is, if it is one of ours.
    pub(super) fn status(&self) -> Option<VmStatus> {
        match &self.place {
            Place::Ours(entry) => VmStatus::of(entry),
            Place::Other(_) => None,
        }
    }

    /// Its consoles.
    pub(super) fn consoles(&self) -> Vec<ConsoleInfo> {
        match &self.place {
            Place::Ours(_) => self.status().map_or_else(Vec::new, |it| it.consoles),
            Place::Other(promised) => promised.consoles.clone(),
        }
    }

    /// A connection to a console through the VM itself, with the last `tail` bytes of its past (all without).
    pub(super) fn attach(
        &self,
        which: Option<ConsoleArg>,
        tail: Option<u64>,
    ) -> Result<Attached, String> {
        match &self.place {
            Place::Ours(entry) => {
                console::open(entry, which, tail).map_err(|diagnostic| diagnostic.message)
            }
            Place::Other(_) => Err("another program runs the VM".to_owned()),
        }
    }

    /// How to log in to its guest.
    pub(super) fn login(&self) -> Result<Login, String> {
        let entry = match &self.place {
            Place::Ours(entry) => entry,
            Place::Other(promised) => return Ok(promised.login.clone()),
        };
        let status = self.status().ok_or_else(|| "the VM has ended".to_owned())?;
        Login::of(entry, &status, None).map_err(|diagnostic| {
            let causes = diagnostic.causes.join(": ");
            format!("{}: {causes}", diagnostic.message)
        })
    }

    /// Presses its power button.
    pub(super) fn press_power_button(&self) -> Result<(), String> {
        match &self.place {
            Place::Ours(entry) => ask(entry, &Request::PowerButton {})
                .map(drop)
                .map_err(|diagnostic| diagnostic.causes.join(": ")),
            Place::Other(_) => Err("another program runs the VM".to_owned()),
        }
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.process.wait(Duration::ZERO)
    }

    /// Ends it without asking its guest.
    pub(super) fn force(&mut self, output: Output) {
        match &self.place {
            Place::Ours(entry) => {
                if let Err(diagnostic) = end(entry, &FORCE, output) {
                    output.error(&diagnostic);
                }
            }
            Place::Other(_) => self.terminate(),
        }
    }

    /// Ends its process: with SIGTERM, a second later with SIGKILL.
    fn terminate(&mut self) {
        if !self.process.wait(Duration::ZERO) {
            let _ = self.process.signal(Signal::TERM);
            if !self.process.wait(Duration::from_secs(1)) {
                let _ = self.process.signal(Signal::KILL);
            }
        }
    }

    /// How it ended, once it has.
    pub(super) fn ended(&mut self) -> Ended {
        let Some(mut run) = self.run.take() else {
            return self.left_over();
        };
        let status = run.child.wait();
        let (out, said) = run.finish();
        if let (Place::Other(_), Ok(status)) = (&self.place, &status) {
            return match status.success() {
                true => Ended::Well,
                false => Ended::Otherwise(format!("it ended with {status}: {}", why_ended(&said))),
            };
        }
        let report: Value = serde_json::from_str(&out).unwrap_or_default();
        let reason = report.get("reason").and_then(Value::as_str);
        match (status.ok().and_then(|status| status.code()), reason) {
            (Some(0), Some("poweroff")) => self.left_over(),
            (_, Some(reason)) => Ended::Otherwise(format!("its run ended with `{reason}`")),
            (code, None) => {
                let code =
                    code.map_or_else(|| "a signal".to_owned(), |code| format!("status {code}"));
                Ended::Otherwise(format!("it ended with {code}: {}", why_ended(&said)))
            }
        }
    }

    /// Whether it left its folder.
    fn left_over(&self) -> Ended {
        let Place::Ours(entry) = &self.place else {
            return Ended::Well;
        };
        let folder = &entry.folder;
        if folder.exists() && !instance::is_running(folder) {
            return Ended::Otherwise(format!("it left `{}`", folder.display()));
        }
        Ended::Well
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(mut run) = self.run.take() {
            // Whatever stopped the test must not leave its VM.
            self.terminate();
            let _ = run.child.wait();
        }
    }
}

/// The command line of `run`.
fn command(start: &Start<'_>, runtime: &RuntimeDir) -> Vec<String> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut words = vec![
        "run".to_owned(),
        "--json".to_owned(),
        "--bundle".to_owned(),
        text(&start.bundle.dir),
        "--runtime-dir".to_owned(),
        text(runtime.path()),
    ];
    words.extend(folders::flags(start.common));
    if !start.stays {
        words.push(format!("--end-with-parent={}", std::process::id()));
    }
    if start.case.tap {
        words.extend(["--net".to_owned(), format!("tap,ifname={TAP}")]);
    }
    words.extend(start.flags.iter().cloned());
    words
}

/// The VM of process `pid`, once it answers.
fn find(runtime: &RuntimeDir, pid: u32) -> Option<Entry> {
    let entries = runtime.all().ok()?;
    let is_it = |entry: &Entry| entry.record.as_ref().is_some_and(|it| it.pid == pid);
    let entry = entries.into_iter().find(is_it)?;
    let info = connect(&entry).ok()?.info().ok()?;
    (info.state == State::Running).then_some(entry)
}

/// The VMs of the guest of `bundle` that run.
pub(super) fn of_bundle(runtime: &RuntimeDir, bundle: &Bundle) -> Result<Vec<Entry>, Diagnostic> {
    let mut all = runtime.all()?;
    all.retain(|entry| {
        let process = entry.record.as_ref().and_then(|it| it.process.as_deref());
        entry.name() == bundle.hostname || process == Some(bundle.process.as_str())
    });
    Ok(all)
}

/// Waits a moment.
pub(super) fn rest(since: Instant, pause: Duration) {
    thread::sleep(pause.saturating_sub(since.elapsed()));
}

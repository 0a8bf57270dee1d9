//! `pcp-vmm stop`: from the power button to SIGKILL, each step when the one before did not help.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde::Serialize;
use vmm::control::protocol::{Request, State};
use vmm::control::{ControlClient, ControlError};
use vmm::instance::{self, Entry};

use crate::args::StopArgs;
use crate::at_once::{at_once, parted};
use crate::diagnostic::Diagnostic;
use crate::exit::Exit;
use crate::instances::RuntimeDir;
use crate::output::{Output, Stop};
use crate::process::Process;
use crate::vm_status::PATIENCE;

/// How long the VMM may take to end by itself.
const QUIT_LIMIT: Duration = Duration::from_secs(5);
/// How long the kernel may take to end a process that is killed.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// How an unwanted VM is ended.
pub(super) const FORCE: [(Step, Duration); 2] = [
    (Step::Quit, Duration::from_secs(1)),
    (Step::Kill, KILL_LIMIT),
];
/// How a VM is stopped unless somebody says otherwise.
pub(super) const DEFAULT: [(Step, Duration); 4] = [
    (Step::PowerButton, Duration::from_secs(30)),
    (Step::CtrlAltDel, Duration::from_secs(10)),
    (Step::Quit, QUIT_LIMIT),
    (Step::Kill, KILL_LIMIT),
];

/// What makes a VM end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Step {
    /// The guest heeds its power button.
    PowerButton,
    /// The guest heeds Ctrl-Alt-Del.
    CtrlAltDel,
    /// The VMM ends.
    Quit,
    /// The kernel ends it.
    Kill,
    /// Nothing: it had ended already.
    Nothing,
}

impl Step {
    fn words(self) -> &'static str {
        match self {
            Self::PowerButton => "its guest shut down at the power button",
            Self::CtrlAltDel => "its guest shut down only after Ctrl-Alt-Del",
            Self::Quit => "ended without its guest's consent",
            Self::Kill => "its process was killed",
            Self::Nothing => "it had ended by itself",
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::PowerButton => "the power button",
            Self::CtrlAltDel => "Ctrl-Alt-Del",
            Self::Quit => "SIGTERM",
            Self::Kill => "SIGKILL",
            Self::Nothing => "nothing",
        }
    }
}

/// How a VM was ended.
#[derive(Debug, Serialize)]
pub(super) struct Stopped {
    name: String,
    by: Step,
    seconds: f64,
}

/// Stops VMs.
pub(crate) fn stop(args: &StopArgs, runtime: &RuntimeDir, output: Output) -> Result<Exit, Stop> {
    let limits = [
        (Step::PowerButton, args.power_button),
        (Step::CtrlAltDel, args.ctrl_alt_del),
        (Step::Quit, QUIT_LIMIT),
        (Step::Kill, KILL_LIMIT),
    ];
    let entries = runtime.select(&args.target)?;
    end_all(&entries, &limits, output)
}

/// Ends the VMs of `entries` by these steps, all at once, and tells what it took.
pub(super) fn end_all(
    entries: &[Entry],
    steps: &[(Step, Duration)],
    output: Output,
) -> Result<Exit, Stop> {
    let (done, failed) = parted(end_each(entries, steps, output));
    if output.is_json() {
        output.json(&done)?;
    } else if entries.is_empty() {
        output.note("no VM runs");
    } else {
        for Stopped { name, by, seconds } in &done {
            output.data(format!("{name}: {} ({seconds:.1} s)\n", by.words()))?;
        }
    }
    output.failures(failed)?;
    Ok(Exit::Success)
}

/// Ends the VMs of `entries`, all at once; why some could not be ended.
pub(super) fn end_quietly(
    entries: &[Entry],
    steps: &[(Step, Duration)],
    output: Output,
) -> Vec<Diagnostic> {
    parted(end_each(entries, steps, output)).1
}

fn end_each(
    entries: &[Entry],
    steps: &[(Step, Duration)],
    output: Output,
) -> Vec<Result<Stopped, Diagnostic>> {
    at_once(entries, |entry| end(entry, steps, output))
}

/// Ends one VM.
pub(super) fn end(
    entry: &Entry,
    steps: &[(Step, Duration)],
    output: Output,
) -> Result<Stopped, Diagnostic> {
    let name = entry.name();
    let begin = Instant::now();
    let stopped = |by| Stopped {
        name: name.clone(),
        by,
        seconds: (begin.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
    };
    let Some(process) = process_of(entry)? else {
        return Ok(stopped(Step::Nothing));
    };
    for &(step, limit) in steps {
        let asked = match step {
            Step::PowerButton | Step::CtrlAltDel if limit.is_zero() => continue,
            Step::PowerButton => press(entry, &Request::PowerButton {}),
            Step::CtrlAltDel => press(entry, &Request::CtrlAltDel {}),
            Step::Quit => signal(&process, Signal::TERM),
            Step::Kill => signal(&process, Signal::KILL),
            Step::Nothing => continue,
        };
        // One that cannot be asked may just be ending.
        let limit = asked
            .as_ref()
            .map_or(Duration::from_millis(100), |()| limit);
        if process.wait(limit) {
            instance::clear(&entry.folder);
            return Ok(stopped(if asked.is_ok() { step } else { Step::Nothing }));
        }
        match asked {
            Ok(()) if step == Step::Kill => {}
            Ok(()) => output.note(format!(
                "{name}: {} did not end it within {:.0} s",
                step.noun(),
                limit.as_secs_f64()
            )),
            Err(why) => output.note(format!("{name}: {} is of no use: {why}", step.noun())),
        }
    }
    Err(Diagnostic::failure("stop", format!("cannot end `{name}`"))
        .cause("its process does not end though it was killed")
        .hint("a device or file system of the host holds it up: `dmesg` may tell"))
}

/// The process of a VM; `None` if it has ended.
fn process_of(entry: &Entry) -> Result<Option<Process>, Diagnostic> {
    let name = entry.name();
    let failed = || Diagnostic::failure("stop", format!("cannot end `{name}`"));
    let Some(record) = &entry.record else {
        return Err(failed()
            .cause("it is just starting and has not told its process yet")
            .hint("try again in a moment"));
    };
    let process = Process::open(record.pid).map_err(|error| failed().because(&error))?;
    // The number could have become another's before the process was opened.
    let runs = instance::is_running(&entry.folder);
    Ok(process.filter(|_| runs))
}

/// Has the VMM press a button of the guest's.
fn press(entry: &Entry, button: &Request) -> Result<(), String> {
    let ask = || -> Result<(), ControlError> {
        let mut client = ControlClient::connect(&entry.control(), PATIENCE)?;
        if client.info()?.state == State::Paused {
            client.ask(&Request::Resume {})?;
        }
        client.ask(button).map(drop)
    };
    match ask() {
        Err(error) if error.is_end() => Err("the VM does not answer".to_owned()),
        other => other.map_err(|error| error.to_string()),
    }
}

fn signal(process: &Process, signal: Signal) -> Result<(), String> {
    process.signal(signal).map_err(|error| error.to_string())
}

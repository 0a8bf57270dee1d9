//! Runs the planned VM and tells how it ended.

use std::error::Error as StdError;
use std::io::{self, ErrorKind, IsTerminal};
use std::time::Duration;

use serde::Serialize;
use vmm::boot::BootError;
use vmm::config::{ConsoleSpec, DeviceSpec};
use vmm::kvm::{EarlyKvm, Failure, KvmError};
use vmm::sandbox::Notice;
use vmm::{Controls, Error, ExitReason, Landmark, Limits, Observer, Outcome};

use super::plan::Plan;
use super::report;
use crate::diagnostic::Diagnostic;
use crate::doctor;
use crate::exit::Exit;
use crate::notify::Notify;
use crate::output::{Output, Stop};

/// How long a guest from a bundle may take to its first sign of user space: far longer than any
/// takes that gets there, even where the processor is emulated.
const BUNDLE_BOOT_LIMIT: Duration = Duration::from_secs(900);
/// How many of the console's last lines are shown.
const TAIL_LINES: usize = 20;

/// Runs the VM to its end.
pub(crate) fn launch(plan: &Plan, kvm: &EarlyKvm, output: Output) -> Result<Exit, Stop> {
    let spec = &plan.resolved.spec;
    let limits = Limits {
        boot: match plan.boot_timeout {
            Some(seconds) => (seconds > 0).then(|| Duration::from_secs(seconds)),
            None => plan.bundle.as_ref().map(|_| BUNDLE_BOOT_LIMIT),
        },
    };
    let mut watcher = Watcher {
        output,
        notify: Notify::open(),
        boots: plan.bundle.is_some(),
        phases: output.shows_progress() && !uses_terminal(plan),
    };
    if uses_terminal(plan) && io::stdin().is_terminal() {
        output.note("this terminal is the guest's; Ctrl-] asks it to shut down, twice ends it");
    }
    let outcome = vmm::run(spec, kvm, limits, notice(plan, output), &mut watcher)
        .map_err(|error| not_started(plan, &error))?;
    watcher
        .notify
        .tell("STOPPING=1\nSTATUS=the machine has ended");
    if output.is_json() {
        output.json(&Report::new(&outcome))?;
    }
    ended(plan, &outcome, output)
}

/// What is said when the sandbox ends the process.
fn notice(plan: &Plan, output: Output) -> Notice {
    let name = &plan.resolved.spec.name;
    let diagnostic = Diagnostic::new(
        Exit::Sandbox,
        "sandbox",
        format!("the sandbox ended `{name}`"),
    );
    let (head, tail) = output.around_cause(diagnostic.hint(
        "`--sandbox audit` runs it all the same and has the kernel log what is missing (`dmesg`); \
         please report it",
    ));
    Notice {
        head,
        tail,
        status: Exit::Sandbox.code(),
    }
}

/// Tells how far the guest is.
struct Watcher {
    output: Output,
    notify: Notify,
    /// Whether the guest is ready once it offers a login, and not before.
    boots: bool,
    phases: bool,
}

impl Observer for Watcher {
    fn started(&mut self, _: &Controls) {
        self.notify.tell(if self.boots {
            "STATUS=the machine runs"
        } else {
            "READY=1\nSTATUS=the machine runs"
        });
    }

    fn landmark(&mut self, landmark: Landmark, after: Duration) {
        let seconds = after.as_secs_f64();
        let what = landmark_words(landmark);
        let ready = if landmark == Landmark::Login && self.boots {
            "READY=1\n"
        } else {
            ""
        };
        self.notify.tell(&format!("{ready}STATUS={what}"));
        log::info!("{what} after {seconds:.3} s");
        if self.phases {
            self.output.note(format!("  {seconds:>8.3} s  {what}"));
        }
    }

    fn shutdown_requested(&mut self) {
        self.notify
            .tell("STOPPING=1\nSTATUS=the guest is asked to shut down");
        self.output
            .note("asked the guest to shut down; once more ends it at once");
    }
}

fn landmark_words(landmark: Landmark) -> &'static str {
    match landmark {
        Landmark::Kernel => "kernel started",
        Landmark::Init => "init started",
        Landmark::Userspace => "services are starting",
        Landmark::Login => "login offered",
        Landmark::Panic => "kernel panicked",
    }
}

/// The outcome in JSON.
#[derive(Serialize)]
struct Report {
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    exit_status: u8,
    duration_ms: f64,
    phases: Vec<Phase>,
    console_tail: String,
}

/// A landmark and when it passed.
#[derive(Serialize)]
struct Phase {
    name: &'static str,
    ms: f64,
}

impl Report {
    fn new(outcome: &Outcome) -> Self {
        let phase = |(landmark, after): &(Landmark, Duration)| Phase {
            name: landmark.word(),
            ms: milliseconds(*after),
        };
        Self {
            reason: outcome.reason.word(),
            detail: detail(&outcome.reason),
            exit_status: exit(&outcome.reason).code(),
            duration_ms: milliseconds(outcome.duration),
            phases: outcome.phases.iter().map(phase).collect(),
            console_tail: String::from_utf8_lossy(&outcome.console_tail).into_owned(),
        }
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn exit(reason: &ExitReason) -> Exit {
    match reason {
        ExitReason::Poweroff | ExitReason::Reboot(_) => Exit::Success,
        ExitReason::Panic => Exit::GuestPanic,
        ExitReason::Hung => Exit::BootTimeout,
        ExitReason::Killed(signal) => Exit::Signal(u8::try_from(*signal).unwrap_or(u8::MAX)),
        ExitReason::Failed(_) => Exit::Internal,
    }
}

/// What there is to say beyond the reason's word.
fn detail(reason: &ExitReason) -> Option<String> {
    match reason {
        ExitReason::Reboot(cause) => Some(cause.to_string()),
        ExitReason::Killed(signal) => Some(format!("signal {signal}")),
        ExitReason::Failed(failure) => Some(failure.to_string()),
        ExitReason::Poweroff | ExitReason::Panic | ExitReason::Hung => None,
    }
}

/// The exit status of a VM that ran; what it did wrong is a failure.
fn ended(plan: &Plan, outcome: &Outcome, output: Output) -> Result<Exit, Stop> {
    let name = &plan.resolved.spec.name;
    let exit = exit(&outcome.reason);
    let word = outcome.reason.word();
    let detail = detail(&outcome.reason).map_or(String::new(), |detail| format!(" ({detail})"));
    let seconds = outcome.duration.as_secs_f64();
    let failure = match &outcome.reason {
        ExitReason::Poweroff | ExitReason::Reboot(_) | ExitReason::Killed(_) => {
            let rebooted = matches!(outcome.reason, ExitReason::Reboot(_));
            if rebooted || output.shows_progress() || log::log_enabled!(log::Level::Info) {
                output.note(format!(
                    "{name} ended after {seconds:.3} s; reason: {word}{detail}"
                ));
            }
            return Ok(exit);
        }
        ExitReason::Panic => panicked(exit, name, &outcome.console_tail),
        ExitReason::Hung => Diagnostic::new(
            exit,
            "boot-timeout",
            format!("`{name}` did not boot in {seconds:.0} s"),
        )
        .hint("the console's last lines tell how far it came; `--boot-timeout` gives it longer"),
        ExitReason::Failed(failure) => failed(exit, name, *failure, outcome),
    };
    if !uses_terminal(plan) && !output.is_json() {
        report::console_tail(&outcome.console_tail, TAIL_LINES, output);
    }
    Err(failure.into())
}

/// Words of a kernel's last message, and what helps where they appear.
const PANIC_HINTS: [(&str, &str); 3] = [
    (
        "Unable to mount root fs",
        "the kernel found no root file system: give an initrd (`--initrd`), or a disk (`--disk`) and \
         `--append root=/dev/vda`",
    ),
    (
        "No working init found",
        "the root file system has no init: name one with `--append init=PATH`",
    ),
    (
        "no killable processes",
        "the guest ran out of memory: `--memory` gives it more",
    ),
];

fn panicked(exit: Exit, name: &str, console: &[u8]) -> Diagnostic {
    const MARK: &str = "Kernel panic - not syncing: ";
    let diagnostic = Diagnostic::new(
        exit,
        "guest-panic",
        format!("the kernel of `{name}` panicked"),
    );
    let console = report::printable(&String::from_utf8_lossy(console));
    let message = console
        .lines()
        .rev()
        .find_map(|line| Some(line.split_once(MARK)?.1.trim()));
    let Some(message) = message else {
        return diagnostic.hint("the console tells why: `--console file=PATH` keeps all of it");
    };
    let known = PANIC_HINTS
        .iter()
        .find(|(words, _)| message.contains(words));
    diagnostic.cause(message).hint(known.map_or(
        "the console's last lines tell more; `--console file=PATH` keeps all of it",
        |(_, hint)| hint,
    ))
}

fn failed(exit: Exit, name: &str, failure: Failure, outcome: &Outcome) -> Diagnostic {
    let diagnostic = Diagnostic::new(exit, "kvm-failure", format!("cannot go on with `{name}`"))
        .cause(match outcome.instruction_pointer {
            Some(rip) => format!("{failure} (at {rip:#x})"),
            None => failure.to_string(),
        });
    match (failure, doctor::stock_kernel_fault()) {
        (_, Some(check)) => diagnostic
            .cause(check.message)
            .hint(check.hint.unwrap_or_default()),
        (Failure::Emulation, None) => diagnostic.hint(
            "this machine's KVM emulates instructions of the guest and lacks one; `pcp-vmm doctor` \
             tells more",
        ),
        _ => diagnostic.hint("`pcp-vmm doctor` checks this machine; `dmesg` may say more"),
    }
}

/// Why a VM could not be started.
fn not_started(plan: &Plan, error: &Error) -> Diagnostic {
    let name = &plan.resolved.spec.name;
    let message = format!("cannot run `{name}`");
    let failure = Diagnostic::failure;
    match error {
        Error::Layout(_) => Diagnostic::usage("layout", message)
            .because(error)
            .hint("`--dry-run` shows where everything would be"),
        Error::Boot { source, .. } => {
            let hint = source.downcast_ref::<BootError>().and_then(BootError::hint);
            let diagnostic = failure("kernel", message).because(error);
            diagnostic.hint(hint.unwrap_or_else(|| {
                "the kernel is a bzImage or an ELF vmlinux for x86-64".to_owned()
            }))
        }
        Error::Memory { .. } => failure("memory", message)
            .because(error)
            .hint("give the guest less memory (`--memory`), or end something else"),
        Error::Kvm(KvmError::Missing(_) | KvmError::Forbidden(_)) => {
            let diagnostic = failure("kvm", message).because(error);
            match doctor::kvm_device_hint() {
                Some(hint) => diagnostic.hint(hint),
                None => diagnostic.hint("`pcp-vmm doctor` checks this machine"),
            }
        }
        Error::Kvm(_) => failure("kvm", message)
            .because(error)
            .hint("`pcp-vmm doctor` checks this machine"),
        Error::Device { .. } => failure("device", message).because(error).hint(
            error
                .hint()
                .unwrap_or_else(|| device_hint(error).to_owned()),
        ),
        Error::Sandbox(_) => failure("sandbox", message)
            .because(error)
            .hint("`pcp-vmm doctor` tells what this kernel offers; `--sandbox off` does without"),
        Error::Start { .. } | Error::Supervisor(_) => failure("start", message)
            .because(error)
            .hint("`pcp-vmm doctor` checks this machine's limits"),
    }
}

/// What to do about a device that cannot be made.
fn device_hint(error: &Error) -> &'static str {
    match io_kind(error) {
        Some(ErrorKind::AddrInUse) => {
            "end what has the port, or give the VM a name (`--name`) and with it ports of its own, or choose some: \
             `--port-offset`, `--forward`, `--console`"
        }
        Some(ErrorKind::PermissionDenied) => {
            "choose a place that you may use; ports below 1024 are root's"
        }
        _ => "`pcp-vmm run --dry-run` shows every device and where it comes from",
    }
}

/// The kind of the system's error at the end of the chain.
fn io_kind(error: &Error) -> Option<ErrorKind> {
    let mut next: Option<&dyn StdError> = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        next = error.source();
    }
    None
}

/// Whether a console of the guest is this terminal.
fn uses_terminal(plan: &Plan) -> bool {
    let spec = &plan.resolved.spec;
    spec.serial == ConsoleSpec::Stdio
        || spec
            .devices
            .contains(&DeviceSpec::Console(ConsoleSpec::Stdio))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_explained_by_its_message() {
        let console = b"[    5.2] Kernel panic - not syncing: VFS: Unable to mount root fs on \
            unknown-block(0,0)\r\n[    5.3] Call Trace:\r\n";
        let diagnostic = panicked(Exit::GuestPanic, "vm", console);
        assert_eq!(
            diagnostic.causes,
            ["VFS: Unable to mount root fs on unknown-block(0,0)"]
        );
        assert!(
            diagnostic
                .hints
                .iter()
                .any(|hint| hint.contains("--initrd"))
        );
    }

    #[test]
    fn a_panic_without_a_message_still_has_a_hint() {
        let diagnostic = panicked(Exit::GuestPanic, "vm", b"\xff\x1b[");
        assert!(diagnostic.causes.is_empty());
        assert_eq!(diagnostic.hints.len(), 1);
    }
}

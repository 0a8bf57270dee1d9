//! The thread that owns the machine: waits for what the guest, the host's signals and the clock
//! bring, and decides how the run ends.

use std::io;
use std::mem;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::error::Error;
use crate::event::{Landmark, MachineEvent, ResetCause};
use crate::kvm::Failure;
use crate::machine::{Controls, Machine};

/// How long a guest that panicked may still print and reset itself.
const PANIC_GRACE: Duration = Duration::from_secs(3);
/// How long a guest may take to heed the power button before Ctrl-Alt-Del is tried.
const POWER_BUTTON_GRACE: Duration = Duration::from_secs(20);
/// The longest that serial output of a guest that never looks at its port may stay with KVM.
const KEPT_WRITES_LIMIT: Duration = Duration::from_secs(1);
/// Console bytes kept for an error report.
const TAIL: usize = 4096;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitReason {
    /// The guest powered itself off.
    Poweroff,
    /// The guest reset itself; the run ends, as with QEMU's `-no-reboot`.
    Reboot(ResetCause),
    /// The guest's kernel panicked.
    Panic,
    /// The guest gave no sign of life before the boot time limit.
    Hung,
    /// This signal ended the run.
    Killed(i32),
    /// The host's KVM could not go on with the guest.
    Failed(Failure),
}

impl ExitReason {
    /// The reason in one word, as `--json` gives it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Poweroff => "poweroff",
            Self::Reboot(_) => "reboot",
            Self::Panic => "panic",
            Self::Hung => "hung",
            Self::Killed(_) => "killed",
            Self::Failed(_) => "failed",
        }
    }
}

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// How it ended.
    pub reason: ExitReason,
    /// Where the guest was when KVM gave up.
    pub instruction_pointer: Option<u64>,
    /// The last bytes of the console that said most.
    pub console_tail: Vec<u8>,
    /// When each landmark passed, counted from the start of the run.
    pub phases: Vec<(Landmark, Duration)>,
    /// How long the run took.
    pub duration: Duration,
}

/// Somebody who wants to know how a run goes.
pub trait Observer {
    /// The machine runs, and takes requests by `controls` until it ends.
    fn started(&mut self, controls: &Controls) {
        let _ = controls;
    }

    /// The guest came to `landmark`, `after` the start of the run.
    fn landmark(&mut self, landmark: Landmark, after: Duration) {
        let _ = (landmark, after);
    }

    /// The user asked for a shutdown and the guest's power button was pressed.
    fn shutdown_requested(&mut self) {}
}

/// An observer that does not care.
impl Observer for () {}

/// The signals that end a run, as something to wait for. They are blocked in this thread and in
/// those that it starts, so they interrupt nothing.
#[derive(Debug)]
pub(crate) struct Signals(SignalFd);

impl Signals {
    /// Takes over SIGINT, SIGTERM, SIGQUIT and SIGHUP.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn take_over() -> io::Result<Self> {
        let ending = [
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGQUIT,
            Signal::SIGHUP,
        ];
        let ending = SigSet::from_iter(ending);
        ending.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self(SignalFd::with_flags(&ending, flags)?))
    }

    /// The next signal, if one came.
    fn next(&self) -> Option<i32> {
        let signal = self.0.read_signal().ok().flatten()?;
        Some(i32::try_from(signal.ssi_signo).unwrap_or(libc::SIGTERM))
    }
}

/// What may end a run besides the guest itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// How long the guest may take to its first sign of user space; without one, for ever.
    pub boot: Option<Duration>,
}

/// A run in progress.
struct Run<'a> {
    machine: &'a Machine,
    observer: &'a mut dyn Observer,
    started: Instant,
    phases: Vec<(Landmark, Duration)>,
    /// When to give up, and what the run ends as then.
    deadline: Option<(Instant, ExitReason)>,
    /// When to try another way to ask the guest to shut down.
    ask_again: Option<Instant>,
    /// Whether a crash kernel runs.
    crashed: bool,
    interrupted: bool,
    instruction_pointer: Option<u64>,
}

/// Runs `machine` until it ends, then takes it down.
///
/// # Errors
/// The supervisor itself cannot wait for events.
pub(crate) fn supervise(
    machine: Machine,
    signals: &Signals,
    limits: Limits,
    observer: &mut dyn Observer,
) -> Result<Outcome, Error> {
    let started = machine.started;
    let mut run = Run {
        machine: &machine,
        observer,
        started,
        phases: Vec::new(),
        deadline: limits.boot.map(|limit| (started + limit, ExitReason::Hung)),
        ask_again: None,
        crashed: false,
        interrupted: false,
        instruction_pointer: None,
    };
    run.observer.started(&machine.kept.controls);
    let reason = run.wait(signals)?;
    let (phases, instruction_pointer) = (run.phases, run.instruction_pointer);
    let duration = started.elapsed();
    let console_tail = machine.console_tail(TAIL);
    machine.finish();
    Ok(Outcome {
        reason,
        instruction_pointer,
        console_tail,
        phases,
        duration,
    })
}

impl Run<'_> {
    fn wait(&mut self, signals: &Signals) -> Result<ExitReason, Error> {
        loop {
            let (events, signalled) = self.poll(signals)?;
            self.machine.context.apply_kept_writes();
            if events {
                while let Some(event) = self.machine.events.take() {
                    if let Some(reason) = self.event(event) {
                        return Ok(reason);
                    }
                }
            }
            if signalled {
                while let Some(signal) = signals.next() {
                    if let Some(reason) = self.signal(signal) {
                        return Ok(reason);
                    }
                }
            }
            let now = Instant::now();
            if self.ask_again.take_if(|at| now >= *at).is_some() {
                self.machine.press_ctrl_alt_del();
            }
            if let Some((at, reason)) = &self.deadline
                && now >= *at
            {
                return Ok(reason.clone());
            }
        }
    }

    /// Waits; whether the machine or a signal has something to tell.
    fn poll(&self, signals: &Signals) -> Result<(bool, bool), Error> {
        let look = self.machine.context.keeps_writes();
        let look = look.then(|| Instant::now() + KEPT_WRITES_LIMIT);
        let end = self.deadline.iter().map(|(at, _)| *at);
        let next = end.chain(self.ask_again).chain(look).min();
        let left = next.map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let mut fds = [
            PollFd::new(&self.machine.events, PollFlags::IN),
            PollFd::new(&signals.0, PollFlags::IN),
        ];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Error::Supervisor(error.into())),
        }
        let [events, signals] = fds.map(|fd| !fd.revents().is_empty());
        Ok((events, signals))
    }

    fn event(&mut self, event: MachineEvent) -> Option<ExitReason> {
        match event {
            MachineEvent::Landmark(landmark) if self.passed(landmark) => None,
            MachineEvent::Landmark(landmark) => {
                let after = self.started.elapsed();
                self.phases.push((landmark, after));
                self.observer.landmark(landmark, after);
                match landmark {
                    Landmark::Panic if self.crashed => {}
                    Landmark::Panic => {
                        self.deadline = Some((Instant::now() + PANIC_GRACE, ExitReason::Panic));
                    }
                    Landmark::Userspace | Landmark::Login => self.booted(),
                    Landmark::Kernel | Landmark::Init => {}
                }
                None
            }
            MachineEvent::CrashKernel => {
                self.crash_kernel();
                None
            }
            MachineEvent::Shutdown if self.crashed => Some(ExitReason::Panic),
            MachineEvent::Shutdown => Some(ExitReason::Poweroff),
            MachineEvent::Reset(_) if self.crashed || self.passed(Landmark::Panic) => {
                Some(ExitReason::Panic)
            }
            MachineEvent::Reset(cause) => Some(ExitReason::Reboot(cause)),
            MachineEvent::Failed {
                failure,
                instruction_pointer,
            } => {
                self.instruction_pointer = instruction_pointer;
                Some(ExitReason::Failed(failure))
            }
        }
    }

    /// The guest sees to its panic itself: its end is still that of a panic.
    fn crash_kernel(&mut self) {
        log::warn!("the guest's kernel panicked and starts its crash kernel");
        self.crashed = true;
        self.deadline
            .take_if(|(_, reason)| *reason == ExitReason::Panic);
    }

    /// The boot time limit no longer counts.
    fn booted(&mut self) {
        self.deadline
            .take_if(|(_, reason)| *reason == ExitReason::Hung);
    }

    /// Whether `landmark` was seen before: both consoles may show it.
    fn passed(&self, landmark: Landmark) -> bool {
        self.phases.iter().any(|(seen, _)| *seen == landmark)
    }

    /// SIGINT asks the guest to shut down, a second one and every other signal end it now.
    fn signal(&mut self, signal: i32) -> Option<ExitReason> {
        if signal != libc::SIGINT || mem::replace(&mut self.interrupted, true) {
            return Some(ExitReason::Killed(signal));
        }
        self.machine.press_power_button();
        self.ask_again = Some(Instant::now() + POWER_BUTTON_GRACE);
        self.observer.shutdown_requested();
        None
    }
}

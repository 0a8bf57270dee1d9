//! The thread that owns the machine: waits for what the guest, the host's signals and the clock
//! bring, and decides how the run ends.

use std::io;
use std::mem;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::control::Order;
use crate::control::protocol::{EventKind, State};
use crate::error::Error;
use crate::event::{Landmark, MachineEvent, ResetCause};
use crate::kvm::Failure;
use crate::machine::{Controls, Door, Machine};
use crate::memory;

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

/// When a start is over, and its pages are given back: none is that is needed at once.
const TIDY_AFTER: Duration = Duration::from_millis(100);

/// A run in progress.
struct Run<'a> {
    machine: &'a Machine,
    /// The control socket, until somebody comes.
    door: Option<Door>,
    /// Since when the vCPUs are stopped.
    paused: Option<Instant>,
    observer: &'a mut dyn Observer,
    started: Instant,
    phases: Vec<(Landmark, Duration)>,
    /// When to give up, and what the run ends as then.
    deadline: Option<(Instant, ExitReason)>,
    /// When to try another way to ask the guest to shut down.
    ask_again: Option<Instant>,
    /// When to give back what only the start needed.
    tidy: Option<Instant>,
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
    mut machine: Machine,
    signals: &Signals,
    limits: Limits,
    observer: &mut dyn Observer,
) -> Result<Outcome, Error> {
    let started = machine.started;
    // Who called somebody, or is to speak first, cannot wait.
    let door = match machine.door.take() {
        Some(door) if door.socket.awaits().is_none() => {
            door.open();
            None
        }
        door => door,
    };
    let mut run = Run {
        machine: &machine,
        door,
        paused: None,
        observer,
        started,
        phases: Vec::new(),
        deadline: limits.boot.map(|limit| (started + limit, ExitReason::Hung)),
        ask_again: None,
        tidy: Some(started + TIDY_AFTER),
        crashed: false,
        interrupted: false,
        instruction_pointer: None,
    };
    run.observer.started(&machine.kept.controls);
    let reason = run.wait(signals)?;
    machine.status.end(reason.word());
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
            let (events, signalled, called) = self.poll(signals)?;
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
            if called && let Some(door) = self.door.take() {
                door.open();
            }
            let now = Instant::now();
            if self.ask_again.take_if(|at| now >= *at).is_some() {
                self.press(Button::CtrlAltDel);
            }
            if self.tidy.take_if(|at| now >= *at).is_some() {
                memory::give_back_program();
            }
            if let Some((at, reason)) = &self.deadline
                && now >= *at
                && self.paused.is_none()
            {
                return Ok(reason.clone());
            }
        }
    }

    /// Waits; whether the machine, a signal or somebody at the door has something to tell.
    fn poll(&self, signals: &Signals) -> Result<(bool, bool, bool), Error> {
        let look = self.machine.context.keeps_writes();
        let look = look.then(|| Instant::now() + KEPT_WRITES_LIMIT);
        let end = self.deadline.iter().filter(|_| self.paused.is_none());
        let end = end.map(|(at, _)| *at);
        let next = end.chain(self.ask_again).chain(self.tidy).chain(look).min();
        let left = next.map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let wanted = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let machine = self.machine.events.as_fd();
        // Without a door, the last one is the first again.
        let door = self.door.as_ref().and_then(|door| door.socket.awaits());
        let mut fds = [machine, signals.0.as_fd(), door.unwrap_or(machine)].map(wanted);
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Error::Supervisor(error.into())),
        }
        let [events, signals, called] = fds.map(|fd| !fd.revents().is_empty());
        Ok((events, signals, called))
    }

    fn event(&mut self, event: MachineEvent) -> Option<ExitReason> {
        match event {
            MachineEvent::Landmark(landmark) if self.passed(landmark) => None,
            MachineEvent::Landmark(landmark) => {
                let after = self.started.elapsed();
                self.phases.push((landmark, after));
                self.machine.status.passed(landmark, after);
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
            MachineEvent::Ordered => self.orders(),
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
        self.press(Button::Power);
        self.ask_again = Some(Instant::now() + POWER_BUTTON_GRACE);
        self.observer.shutdown_requested();
        None
    }

    /// Does what clients of the control socket ask.
    fn orders(&mut self) -> Option<ExitReason> {
        while let Some(ordered) = self.machine.status.next_order() {
            let outcome = match ordered.order {
                Order::PowerButton => self.ask_to_stop(Button::Power),
                Order::CtrlAltDel => self.ask_to_stop(Button::CtrlAltDel),
                Order::Pause => self.pause(),
                Order::Resume => {
                    self.resume();
                    Ok(())
                }
                Order::Quit => {
                    ordered.answer(Ok(()));
                    return Some(ExitReason::Killed(libc::SIGTERM));
                }
            };
            ordered.answer(outcome);
        }
        None
    }

    fn ask_to_stop(&mut self, button: Button) -> Result<(), String> {
        if self.paused.is_some() {
            return Err("the machine is paused".to_owned());
        }
        self.press(button);
        Ok(())
    }

    fn press(&self, button: Button) {
        match button {
            Button::Power => {
                self.machine.press_power_button();
                self.machine.status.asked_to_stop(EventKind::PowerButton {});
            }
            Button::CtrlAltDel => {
                self.machine.press_ctrl_alt_del();
                self.machine.status.asked_to_stop(EventKind::CtrlAltDel {});
            }
        }
    }

    fn pause(&mut self) -> Result<(), String> {
        if !self.machine.vcpus.pause() {
            self.machine.vcpus.resume();
            return Err("a device holds a vCPU up".to_owned());
        }
        self.paused.get_or_insert_with(Instant::now);
        self.machine.status.enter(State::Paused);
        Ok(())
    }

    fn resume(&mut self) {
        let Some(since) = self.paused.take() else {
            return;
        };
        // The guest has had none of that time.
        if let Some((at, _)) = &mut self.deadline {
            *at += since.elapsed();
        }
        self.machine.status.enter(State::Running);
        self.machine.vcpus.resume();
    }
}

/// What asks a guest to shut down.
#[derive(Debug, Clone, Copy)]
enum Button {
    Power,
    CtrlAltDel,
}

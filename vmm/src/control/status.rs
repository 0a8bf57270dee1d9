//! What is known of a run, shared by the supervisor, which writes it, and the control thread, which
//! tells it to clients and hands on what they ask of the supervisor.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use devices::lock;

use super::protocol::{Event, EventKind, Passed, State};
use crate::event::{EventSender, Landmark, MachineEvent};

/// The events that are kept for who asks later.
const KEPT: usize = 256;
/// How long the supervisor may take to do what is asked.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the end of a run waits for clients to be told of it.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// What only the supervisor can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    PowerButton,
    CtrlAltDel,
    Quit,
    Pause,
    Resume,
}

/// An order, and where its outcome goes.
#[derive(Debug)]
pub(crate) struct Ordered {
    pub(crate) order: Order,
    answer: SyncSender<Result<(), String>>,
}

impl Ordered {
    /// Tells whoever gave the order what came of it.
    pub(crate) fn answer(self, outcome: Result<(), String>) {
        // He may have lost his patience.
        let _ = self.answer.try_send(outcome);
    }
}

#[derive(Debug, Default)]
struct Known {
    phases: Vec<Passed>,
    state: State,
    events: VecDeque<Event>,
    next: u64,
    /// The first event that not every follower was sent.
    unsent: u64,
    followers: usize,
}

/// What is known of a run.
#[derive(Debug)]
pub(crate) struct Status {
    started: Instant,
    known: Mutex<Known>,
    orders: Mutex<VecDeque<Ordered>>,
    events: EventSender,
    /// Why the machine is ended from outside, in QEMU's words, if a monitor does it.
    ended_by: OnceLock<&'static str>,
    /// Wakes the control thread, once there is one.
    wake: OnceLock<OwnedFd>,
    sent: Condvar,
}

impl Status {
    /// Of a run that began at `started`; orders reach the supervisor by `events`.
    pub(crate) fn new(started: Instant, events: EventSender) -> Self {
        Self {
            started,
            known: Mutex::default(),
            orders: Mutex::default(),
            events,
            ended_by: OnceLock::new(),
            wake: OnceLock::new(),
            sent: Condvar::new(),
        }
    }

    /// Has every event from now on written to `wake`.
    pub(super) fn wake_by(&self, wake: OwnedFd) {
        let _ = self.wake.set(wake);
    }

    pub(super) fn wake(&self) -> Option<&OwnedFd> {
        self.wake.get()
    }

    fn elapsed(&self) -> u64 {
        milliseconds(self.started.elapsed())
    }

    /// Milliseconds since the start.
    pub(super) fn uptime(&self) -> u64 {
        self.elapsed()
    }

    fn add(&self, known: &mut Known, kind: EventKind, after_ms: u64) {
        if known.events.len() >= KEPT {
            known.events.pop_front();
        }
        let seq = known.next;
        known.next += 1;
        known.events.push_back(Event {
            seq,
            after_ms,
            kind,
        });
        if let Some(wake) = self.wake.get() {
            let _ = rustix::io::write(wake, &1_u64.to_ne_bytes());
        }
    }

    /// Takes note of something that happened.
    pub(super) fn note(&self, kind: EventKind) {
        self.add(&mut lock(&self.known), kind, self.elapsed());
    }

    /// The guest came to `phase`, `after` the start.
    pub(crate) fn passed(&self, phase: Landmark, after: Duration) {
        let after_ms = milliseconds(after);
        let mut known = lock(&self.known);
        known.phases.push(Passed { phase, after_ms });
        self.add(&mut known, EventKind::Phase { phase }, after_ms);
    }

    /// The machine's state is another.
    pub(crate) fn enter(&self, state: State) {
        let mut known = lock(&self.known);
        if known.state != state {
            known.state = state;
            self.add(&mut known, EventKind::State { state }, self.elapsed());
        }
    }

    /// A button was pressed, which asks the guest to shut down.
    pub(crate) fn asked_to_stop(&self, button: EventKind) {
        self.note(button);
        if self.state() == State::Running {
            self.enter(State::Stopping);
        }
    }

    /// The run ends; waits for a moment until those who follow it know.
    pub(crate) fn end(&self, reason: &str) {
        let reason = reason.to_owned();
        let mut known = lock(&self.known);
        self.add(&mut known, EventKind::End { reason }, self.elapsed());
        if known.followers == 0 {
            return;
        }
        let unsent = |known: &mut Known| known.followers > 0 && known.unsent < known.next;
        let waited = self.sent.wait_timeout_while(known, LAST_WORDS, unsent);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// What the machine does.
    pub(crate) fn state(&self) -> State {
        lock(&self.known).state
    }

    /// The phases that the guest came to.
    pub(super) fn phases(&self) -> Vec<Passed> {
        lock(&self.known).phases.clone()
    }

    /// The events that are known, from number `from` on.
    pub(super) fn events(&self, from: u64) -> Vec<Event> {
        let known = lock(&self.known);
        let events = known.events.iter().filter(|event| event.seq >= from);
        events.cloned().collect()
    }

    /// `followers` clients follow, and each was sent what is before number `unsent`.
    pub(super) fn told(&self, followers: usize, unsent: u64) {
        let mut known = lock(&self.known);
        known.followers = followers;
        known.unsent = unsent;
        self.sent.notify_all();
    }

    /// Has the supervisor do something.
    ///
    /// # Errors
    /// Why it was not done, in words.
    pub(super) fn order(&self, order: Order) -> Result<(), String> {
        let (answer, outcome) = sync_channel(1);
        lock(&self.orders).push_back(Ordered { order, answer });
        self.events.send(MachineEvent::Ordered);
        match outcome.recv_timeout(PATIENCE) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout) => Err("the supervisor does not answer".to_owned()),
            Err(RecvTimeoutError::Disconnected) => Err("the machine ends".to_owned()),
        }
    }

    /// A monitor is about to have the machine ended; why, in QEMU's words.
    pub(super) fn ends_by(&self, reason: &'static str) {
        let _ = self.ended_by.set(reason);
    }

    /// Why the machine was ended, if a monitor did it.
    pub(super) fn ended_by(&self) -> Option<&'static str> {
        self.ended_by.get().copied()
    }

    /// What the supervisor is asked to do next.
    pub(crate) fn next_order(&self) -> Option<Ordered> {
        lock(&self.orders).pop_front()
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

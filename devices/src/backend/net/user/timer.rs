//! The network's timer: one timerfd, armed for the earliest deadline.

use std::io;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::token::{Kind, token};
use super::watched::Watched;
use crate::virtio::device::{Interest, Registry};

/// A timer that may ring early, never late.
#[derive(Debug)]
pub(super) struct Timer {
    timer: Watched,
    armed: Option<Instant>,
}

impl Timer {
    /// A timer at rest.
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self {
            timer: Watched::new(fd, token(Kind::Timer, 0)),
            armed: None,
        })
    }

    /// Puts the timer into the registry, or takes it out.
    pub(super) fn watch(&mut self, on: bool, events: &mut dyn Registry) -> io::Result<()> {
        self.timer.watch(on.then_some(Interest::Read), events)
    }

    /// The event loop says that the timer rang.
    pub(super) fn rang(&mut self) {
        let _ = rustix::io::read(&self.timer, &mut [0; 8]);
        self.armed = None;
    }

    /// Rings at `deadline` or before.
    pub(super) fn arm(&mut self, deadline: Option<Instant>, now: Instant) {
        let Some(deadline) = deadline else { return };
        if self.armed.is_some_and(|armed| armed <= deadline) {
            return;
        }
        let wait = deadline
            .saturating_duration_since(now)
            .max(Duration::from_micros(100));
        let value = Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        let interval = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let spec = Itimerspec {
            it_interval: interval,
            it_value: value,
        };
        match timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec) {
            Ok(_) => self.armed = Some(deadline),
            Err(error) => log::warn!("network timer: {error}"),
        }
    }
}

//! The requests of a file server's queues, and those that wait for a lock.
//!
//! A request that waits is tried again, from the start, after each request that may have freed the
//! lock, and by a timer, since the host may hold it too. A guest's process that waits cannot be
//! interrupted over virtio-fs; so after a minute it is told `EINTR`, and one that still wants the
//! lock asks again.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::virtio::device::{ActiveIo, DeviceError, Interest, Token};
use crate::virtio::queue::{Reader, Writer};

/// Requests answered before others of the same thread get their turn.
const BATCH: usize = 512;
/// An answer of this many bytes is told at once, not after the ones behind it.
const LARGE: u32 = 32 << 10;

/// How often waiting requests are tried again, for locks that the host holds.
const RETRY: Duration = Duration::from_millis(20);
/// How long a request waits at most.
const PATIENCE: Duration = Duration::from_secs(60);

const TIMER: Token = Token(0);

/// What is to be done with a request's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::virtio) enum Outcome {
    /// Give it back: with its answer, or without one where the protocol has none.
    Done,
    /// Keep it: the request waits for a lock.
    Wait {
        /// The request's number.
        unique: u64,
    },
    /// Give it back, and before it the waiting request `unique`, interrupted.
    Interrupt {
        /// That request's number.
        unique: u64,
    },
}

/// Why a waiting request is answered without the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::virtio) enum GivenUp {
    /// The guest asked for it.
    Interrupted,
    /// It has waited long enough.
    Expired,
}

/// What speaks a protocol of shared files.
pub(in crate::virtio) trait FileServer: Debug {
    /// Answers one request; what to do with its chain, and how many bytes were written to it.
    fn serve<'m>(
        &mut self,
        input: &mut Reader<'m>,
        output: &mut Writer<'m>,
    ) -> Result<(Outcome, u32), DeviceError>;

    /// Answers a request that waited, in vain.
    fn give_up(
        &mut self,
        output: &mut Writer<'_>,
        unique: u64,
        why: GivenUp,
    ) -> Result<(), DeviceError>;

    /// Whether a lock may have been given up since the last call.
    fn take_freed(&mut self) -> bool;
}

/// A request that waits for a lock.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    queue: u16,
    head: u16,
    unique: u64,
    since: Instant,
}

/// The waiting requests of a device and the timer that looks after them.
#[derive(Debug)]
pub(in crate::virtio) struct Requests {
    timer: OwnedFd,
    waiting: VecDeque<Waiting>,
    /// Whether the timer is set and has not fired yet.
    armed: bool,
}

impl Requests {
    /// No request, with a timer.
    pub(in crate::virtio) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self {
            timer: timerfd_create(TimerfdClockId::Monotonic, flags)?,
            waiting: VecDeque::new(),
            armed: false,
        })
    }

    /// Begins to serve `queues` queues.
    pub(in crate::virtio) fn activate(
        &mut self,
        server: &mut impl FileServer,
        io: &mut ActiveIo<'_>,
        queues: u16,
    ) -> Result<(), DeviceError> {
        let timer = self.timer.as_fd().as_raw_fd();
        let watched = io.events.add(timer, TIMER, Interest::Read);
        watched.map_err(|source| DeviceError::Backend {
            context: "watch timer".into(),
            source,
        })?;
        for index in 0..queues {
            io.call_again(index);
        }
        self.armed = false;
        self.finish(server, io, true)
    }

    /// Stops watching the timer.
    pub(in crate::virtio) fn quiesce(&mut self, io: &mut ActiveIo<'_>) -> io::Result<()> {
        io.events.remove(self.timer.as_raw_fd())
    }

    /// Forgets what waits.
    pub(in crate::virtio) fn clear(&mut self) {
        self.waiting.clear();
        self.armed = false;
    }

    /// What waits: queue, first descriptor and number of each request.
    pub(in crate::virtio) fn save(&self) -> Vec<(u16, u16, u64)> {
        let waiting = self.waiting.iter();
        waiting.map(|w| (w.queue, w.head, w.unique)).collect()
    }

    /// Takes back what [`Requests::save`] said.
    pub(in crate::virtio) fn restore(&mut self, waiting: &[(u16, u16, u64)]) {
        let since = Instant::now();
        self.waiting = waiting
            .iter()
            .map(|&(queue, head, unique)| Waiting {
                queue,
                head,
                unique,
                since,
            })
            .collect();
    }

    /// Answers what is in queue `index`, up to [`BATCH`] requests, and what may go on then.
    pub(in crate::virtio) fn process(
        &mut self,
        server: &mut impl FileServer,
        io: &mut ActiveIo<'_>,
        index: u16,
    ) -> Result<(), DeviceError> {
        self.answer_queue(server, io, index)?;
        self.finish(server, io, false)
    }

    /// Tries what waits, if the event was the timer's.
    pub(in crate::virtio) fn process_event(
        &mut self,
        server: &mut impl FileServer,
        io: &mut ActiveIo<'_>,
        token: Token,
    ) -> Result<(), DeviceError> {
        if token != TIMER {
            return Ok(());
        }
        // Empty if the call is spurious.
        let _ = rustix::io::read(&self.timer, &mut [0; 8]);
        self.armed = false;
        self.finish(server, io, true)
    }

    /// Answers what is in queue `index`, up to [`BATCH`] requests.
    fn answer_queue(
        &mut self,
        server: &mut impl FileServer,
        io: &mut ActiveIo<'_>,
        index: u16,
    ) -> Result<(), DeviceError> {
        let Some(queue) = io.queues.get_mut(usize::from(index)) else {
            return Ok(());
        };
        queue.disable_notification(io.mem)?;
        for _ in 0..BATCH {
            let Some(queue) = io.queues.get_mut(usize::from(index)) else {
                return Ok(());
            };
            let Some(mut chain) = queue.pop(io.mem)? else {
                if queue.enable_notification(io.mem)? {
                    continue;
                }
                return io.notify_used(index);
            };
            let head = chain.head;
            let (outcome, len) = server.serve(&mut chain.reader, &mut chain.writer)?;
            if let Outcome::Wait { unique } = outcome {
                self.waiting.push_back(Waiting {
                    queue: index,
                    head,
                    unique,
                    since: Instant::now(),
                });
                continue;
            }
            if let Outcome::Interrupt { unique } = outcome {
                let why = GivenUp::Interrupted;
                self.end_waiting(server, io, why, |waiting| waiting.unique == unique)?;
            }
            let Some(queue) = io.queues.get_mut(usize::from(index)) else {
                return Ok(());
            };
            queue.add_used(io.mem, head, len)?;
            if len >= LARGE {
                io.notify_used(index)?;
            }
        }
        io.call_again(index);
        io.notify_used(index)
    }

    /// Answers the waiting requests that `which` picks.
    fn end_waiting(
        &mut self,
        server: &mut impl FileServer,
        io: &mut ActiveIo<'_>,
        why: GivenUp,
        which: impl Fn(&Waiting) -> bool,
    ) -> Result<(), DeviceError> {
        for _ in 0..self.waiting.len() {
            let Some(waiting) = self.waiting.pop_front() else {
                break;
            };
            if !which(&waiting) {
                self.waiting.push_back(waiting);
                continue;
            }
            let Some(queue) = io.queues.get_mut(usize::from(waiting.queue)) else {
                continue;
            };
            let mut chain = queue.resume(io.mem, waiting.head)?;
            server.give_up(&mut chain.writer, waiting.unique, why)?;
            queue.add_used(io.mem, waiting.head, chain.writer.written())?;
            io.notify_used(waiting.queue)?;
        }
        Ok(())
    }

    /// Tries every waiting request once more.
    fn retry_waiting(
        &mut self,
        server: &mut impl FileServer,
        io: &mut ActiveIo<'_>,
    ) -> Result<(), DeviceError> {
        for _ in 0..self.waiting.len() {
            let Some(waiting) = self.waiting.pop_front() else {
                break;
            };
            let Some(queue) = io.queues.get_mut(usize::from(waiting.queue)) else {
                continue;
            };
            let mut chain = queue.resume(io.mem, waiting.head)?;
            match server.serve(&mut chain.reader, &mut chain.writer)? {
                (Outcome::Wait { .. }, _) => self.waiting.push_back(waiting),
                (_, len) => {
                    queue.add_used(io.mem, waiting.head, len)?;
                    io.notify_used(waiting.queue)?;
                }
            }
        }
        let now = Instant::now();
        self.end_waiting(server, io, GivenUp::Expired, |waiting| {
            now.duration_since(waiting.since) > PATIENCE
        })
    }

    /// After every call: tries what waits, if it may have a chance by now, and sets the timer if
    /// something still waits.
    fn finish(
        &mut self,
        server: &mut impl FileServer,
        io: &mut ActiveIo<'_>,
        timer: bool,
    ) -> Result<(), DeviceError> {
        let freed = server.take_freed();
        if !self.waiting.is_empty() && (timer || freed) {
            self.retry_waiting(server, io)?;
        }
        if self.waiting.is_empty() || self.armed {
            return Ok(());
        }
        self.armed = true;
        self.set_timer(RETRY)
            .map_err(|source| DeviceError::Backend {
                context: "set timer".into(),
                source,
            })
    }

    fn set_timer(&self, after: Duration) -> io::Result<()> {
        let zero = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let value = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(after.subsec_nanos()),
        };
        let spec = Itimerspec {
            it_interval: zero,
            it_value: value,
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec)?;
        Ok(())
    }
}

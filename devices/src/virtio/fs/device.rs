//! The device: its queues, and the requests that wait for a lock.
//!
//! A request that waits is tried again, from the start, after each request that may have freed the
//! lock, and by a timer, since the host may hold it too. Linux cannot interrupt such a request over
//! virtio-fs, and a process that waits cannot be killed; so after a minute it is told `EINTR`, and
//! one that still wants the lock asks again.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use serde::{Deserialize, Serialize};

use super::request::{Outcome, close};
use super::server::{Server, Session};
use super::{FsError, FsSpec, TAG_MAX};
use crate::backend::fs::{Share, ShareState};
use crate::persist::{Payload, PersistError};
use crate::virtio::device::{
    ActiveIo, ConfigSpace, ConstConfig, DeviceError, DeviceInfo, EventLoop, Interest, Token,
    VirtioDevice,
};

/// File system device (VIRTIO 1.3 §5.11.1).
const DEVICE_ID: u32 = 26;
/// Request queues; the device has one thread, so more would be no quicker.
const REQUEST_QUEUES: u32 = 1;
/// Linux sends requests of at most as many pages as a queue has descriptors, less four.
const QUEUE_SIZE: u16 = 1024;
/// Requests answered before others of the same thread get their turn.
const BATCH: usize = 512;
/// An answer of this many bytes is told at once, not after the ones behind it.
const LARGE: u32 = 32 << 10;

/// How often waiting requests are tried again, for locks that the host holds.
const RETRY: Duration = Duration::from_millis(20);
/// How long a request waits at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// The threads of the first shares, by name.
const THREADS: [&str; 8] = ["fs0", "fs1", "fs2", "fs3", "fs4", "fs5", "fs6", "fs7"];

const TIMER: Token = Token(0);
const KIND: &str = "virtio-fs";

/// A request that waits for a lock.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    queue: u16,
    head: u16,
    unique: u64,
    since: Instant,
}

/// A virtio-fs device.
#[derive(Debug)]
pub struct Fs {
    server: Server,
    config: Arc<ConstConfig>,
    timer: OwnedFd,
    waiting: VecDeque<Waiting>,
    /// Whether the timer is set and has not fired yet.
    armed: bool,
    thread: &'static str,
}

impl Fs {
    /// A device that shares `spec.path`, the machine's share number `number`, which names its
    /// thread.
    ///
    /// # Errors
    /// See [`FsError`].
    pub fn new(number: usize, spec: &FsSpec) -> Result<Self, FsError> {
        let tag = spec.tag.as_bytes();
        if tag.is_empty() || tag.len() > TAG_MAX || tag.contains(&0) {
            return Err(FsError::Tag {
                tag: spec.tag.clone(),
            });
        }
        let share = Share::open(&spec.path, spec.read_only).map_err(|source| FsError::Share {
            tag: spec.tag.clone(),
            source,
        })?;
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, flags).map_err(|errno| FsError::Timer {
                tag: spec.tag.clone(),
                source: errno.into(),
            })?;
        // `tag` and `num_request_queues` (VIRTIO 1.3 §5.11.4).
        let mut config = tag.to_vec();
        config.resize(TAG_MAX, 0);
        config.extend(REQUEST_QUEUES.to_le_bytes());
        Ok(Self {
            server: Server::new(share, spec.cache),
            config: Arc::new(ConstConfig(config)),
            timer,
            waiting: VecDeque::new(),
            armed: false,
            thread: THREADS.get(number).copied().unwrap_or("fs"),
        })
    }

    /// Answers what is in queue `index`, up to [`BATCH`] requests.
    fn answer_queue(&mut self, io: &mut ActiveIo<'_>, index: u16) -> Result<(), DeviceError> {
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
            let (outcome, len) = self.server.serve(&mut chain.reader, &mut chain.writer)?;
            if let Outcome::Wait { unique } = outcome {
                self.waiting.push_back(Waiting {
                    queue: index,
                    head,
                    unique,
                    since: Instant::now(),
                });
                continue;
            }
            queue.add_used(io.mem, head, len)?;
            if let Outcome::Interrupt { unique } = outcome {
                self.end_waiting(io, |waiting| waiting.unique == unique)?;
            }
            if len >= LARGE {
                io.notify_used(index)?;
            }
        }
        io.call_again(index);
        io.notify_used(index)
    }

    /// Tells the waiting requests that `which` picks that they were interrupted.
    fn end_waiting(
        &mut self,
        io: &mut ActiveIo<'_>,
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
            close(&mut chain.writer, waiting.unique, Err(Errno::INTR))?;
            queue.add_used(io.mem, waiting.head, chain.writer.written())?;
            io.notify_used(waiting.queue)?;
        }
        Ok(())
    }

    /// Tries every waiting request once more.
    fn retry_waiting(&mut self, io: &mut ActiveIo<'_>) -> Result<(), DeviceError> {
        for _ in 0..self.waiting.len() {
            let Some(waiting) = self.waiting.pop_front() else {
                break;
            };
            let Some(queue) = io.queues.get_mut(usize::from(waiting.queue)) else {
                continue;
            };
            let mut chain = queue.resume(io.mem, waiting.head)?;
            match self.server.serve(&mut chain.reader, &mut chain.writer)? {
                (Outcome::Wait { .. }, _) => self.waiting.push_back(waiting),
                (_, len) => {
                    queue.add_used(io.mem, waiting.head, len)?;
                    io.notify_used(waiting.queue)?;
                }
            }
        }
        let now = Instant::now();
        self.end_waiting(io, |waiting| now.duration_since(waiting.since) > PATIENCE)
    }

    /// After every call: tries what waits, if it may have a chance by now, and sets the timer if
    /// something still waits.
    fn finish(&mut self, io: &mut ActiveIo<'_>, timer: bool) -> Result<(), DeviceError> {
        let freed = self.server.take_freed();
        if !self.waiting.is_empty() && (timer || freed) {
            self.retry_waiting(io)?;
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

impl VirtioDevice for Fs {
    fn info(&self) -> DeviceInfo {
        DeviceInfo {
            id: DEVICE_ID,
            features: 0,
            // The high priority queue, then the request queues (VIRTIO 1.3 §5.11.2).
            queue_sizes: vec![QUEUE_SIZE; 1 + REQUEST_QUEUES as usize],
            runs_on: EventLoop::Own(self.thread),
        }
    }

    fn config(&self) -> Arc<dyn ConfigSpace> {
        self.config.clone()
    }

    fn activate(&mut self, io: &mut ActiveIo<'_>) -> Result<(), DeviceError> {
        let timer = self.timer.as_fd().as_raw_fd();
        let watched = io.events.add(timer, TIMER, Interest::Read);
        watched.map_err(|source| DeviceError::Backend {
            context: "watch timer".into(),
            source,
        })?;
        for index in 0..=REQUEST_QUEUES as u16 {
            io.call_again(index);
        }
        self.armed = false;
        self.finish(io, true)
    }

    fn process_queue(&mut self, io: &mut ActiveIo<'_>, index: u16) -> Result<(), DeviceError> {
        self.answer_queue(io, index)?;
        self.finish(io, false)
    }

    fn process_event(&mut self, io: &mut ActiveIo<'_>, token: Token) -> Result<(), DeviceError> {
        if token != TIMER {
            return Ok(());
        }
        // Empty if the call is spurious.
        let _ = rustix::io::read(&self.timer, &mut [0; 8]);
        self.armed = false;
        self.finish(io, true)
    }

    fn quiesce(&mut self, io: &mut ActiveIo<'_>) {
        if let Err(error) = io.events.remove(self.timer.as_raw_fd()) {
            log::warn!("virtio-fs: cannot stop watching the timer: {error}");
        }
    }

    fn reset(&mut self) {
        self.waiting.clear();
        self.armed = false;
        self.server.clear();
    }

    fn save(&self) -> Result<Option<Payload>, PersistError> {
        let waiting = self.waiting.iter();
        let state = FsStateV1 {
            session: self.server.session,
            share: self.server.share.save(),
            waiting: waiting.map(|w| (w.queue, w.head, w.unique)).collect(),
        };
        Payload::pack(KIND, 1, &state).map(Some)
    }

    fn restore(&mut self, state: Payload) -> Result<(), PersistError> {
        let state: FsStateV1 = state.unpack(KIND, 1)?;
        let lost = self.server.share.restore(&state.share);
        let lost = lost.map_err(|error| PersistError::Invalid(error.to_string()))?;
        if lost > 0 {
            log::warn!("virtio-fs: {lost} open files or locks of the guest are gone");
        }
        self.server.session = state.session;
        let since = Instant::now();
        let waiting = state.waiting.iter();
        self.waiting = waiting
            .map(|&(queue, head, unique)| Waiting {
                queue,
                head,
                unique,
                since,
            })
            .collect();
        Ok(())
    }
}

/// The saved state of the device.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FsStateV1 {
    session: Option<Session>,
    share: ShareState,
    waiting: Vec<(u16, u16, u64)>,
}

#[cfg(test)]
impl Fs {
    /// Closes every cached descriptor, as use of many others would.
    pub(super) fn forget_descriptors(&mut self) {
        self.server.share.forget_descriptors();
    }

    /// Does without `/proc` and `openat2(2)`.
    pub(super) fn do_without(&mut self) {
        self.server.share.do_without();
    }
}

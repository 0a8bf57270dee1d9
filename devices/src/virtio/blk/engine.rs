//! Who carries out a disk's requests: the kernel by io_uring, and threads for all that it cannot.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};

use super::job::{Done, Job, Op};
use super::pool::Pool;
use crate::backend::block::{Disk, Image, IoMode};
use crate::sys::held::Held;
use crate::sys::uring::{Action, Ring};

/// Submissions that the kernel has at a time; what goes beyond is for the threads.
const RING_ENTRIES: u32 = 256;

/// Carries out requests, in any order.
#[derive(Debug)]
pub(super) struct Engine {
    ring: Option<Ring<Job>>,
    pool: Pool,
    done: Vec<Done>,
    /// Room for buffers, of requests that are done.
    spare: Vec<Held>,
    in_flight: usize,
    in_pool: usize,
}

impl Engine {
    /// An engine for `disk`; `thread` is the name of the disk's own thread.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub(super) fn new(disk: &Disk, thread: &'static str) -> io::Result<Self> {
        let ring = match disk.io {
            IoMode::Uring => ring(&*disk.image, &disk.name),
            IoMode::Threads => None,
        };
        Ok(Self {
            ring,
            pool: Pool::new(Arc::clone(&disk.image), thread)?,
            done: Vec::new(),
            spare: Vec::new(),
            in_flight: 0,
            in_pool: 0,
        })
    }

    /// The descriptors that are readable when [`Engine::reap`] may have something.
    pub(super) fn fds(&self) -> impl Iterator<Item = RawFd> {
        let ring = self.ring.as_ref().map(|ring| ring.fd().as_raw_fd());
        ring.into_iter().chain([self.pool.fd().as_raw_fd()])
    }

    /// The number of requests that are not done.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Room for the buffers of a request.
    pub(super) fn spare(&mut self) -> Held {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes on `job`; [`Engine::enter`] is due afterwards.
    pub(super) fn submit(&mut self, job: Job) {
        self.in_flight += 1;
        let action = match job.op {
            Op::Read { offset } => Some(Action::Read(offset)),
            Op::Write { offset, durable } => Some(Action::Write(offset, durable)),
            Op::Flush => Some(Action::Flush),
            Op::Discard(_) | Op::WriteZeroes { .. } => None,
        };
        let count = job.data().len();
        let left = match (&mut self.ring, action) {
            (Some(ring), Some(action)) => ring.push(action, job, count).err(),
            _ => Some(job),
        };
        if let Some(job) = left {
            self.hand_over(job);
        }
    }

    /// Lets the kernel begin with what was submitted.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn enter(&mut self) -> io::Result<()> {
        self.ring.as_mut().map_or(Ok(()), Ring::enter)
    }

    /// Goes on with threads alone; what the kernel had is lost.
    pub(super) fn give_ring_up(&mut self) {
        if let Some(ring) = self.ring.take() {
            self.in_flight -= ring.in_flight();
        }
    }

    /// The requests that are done, by and by.
    pub(super) fn reap(&mut self) -> Option<Done> {
        if self.done.is_empty() && self.in_pool > 0 {
            self.pool.reap(&mut self.done);
            self.in_pool -= self.done.len();
        }
        if self.done.is_empty() && self.in_flight > 0 {
            self.reap_ring();
        }
        let done = self.done.pop()?;
        self.in_flight -= 1;
        Some(done)
    }

    /// Takes back what a request that is done needed.
    pub(super) fn recycle(&mut self, job: Job) {
        if self.spare.len() < RING_ENTRIES as usize {
            self.spare.push(job.into_buffers());
        }
    }

    /// Waits until [`Engine::reap`] may have something.
    pub(super) fn wait(&self) {
        let pool = self.pool.fd();
        let mut fds = vec![PollFd::new(&pool, PollFlags::IN)];
        let ring = self.ring.as_ref().map(Ring::fd);
        fds.extend(ring.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
        // An early end is a spurious call of `reap`.
        let _ = poll(&mut fds, None);
    }

    fn hand_over(&mut self, job: Job) {
        match self.pool.submit(job) {
            Ok(()) => self.in_pool += 1,
            Err(done) => self.done.push(done),
        }
    }

    fn reap_ring(&mut self) {
        let Some(ring) = &mut self.ring else {
            return;
        };
        let mut cut_short = Vec::new();
        ring.reap(|mut job, result| match result {
            Ok(n) if !is_cut_short(&job, n) => self.done.push(Done {
                job,
                result: Ok(()),
            }),
            // At the file's end, or more buffers than one call takes.
            Ok(n) => {
                job.done = n;
                cut_short.push(job);
            }
            Err(error) if is_for_threads(&error) => cut_short.push(job),
            Err(error) => self.done.push(Done {
                job,
                result: Err(error),
            }),
        });
        for job in cut_short {
            self.hand_over(job);
        }
    }
}

fn is_cut_short(job: &Job, n: usize) -> bool {
    let has_data = matches!(job.op, Op::Read { .. } | Op::Write { .. });
    let wanted: usize = job.data().iter().map(vm_memory::VolatileSlice::len).sum();
    has_data && n < wanted
}

/// Whether the kernel only says that it cannot do it this way.
fn is_for_threads(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAGAIN | libc::EINTR | libc::EOPNOTSUPP | libc::EINVAL)
    )
}

fn ring(image: &dyn Image, name: &str) -> Option<Ring<Job>> {
    let (file, _) = image.plain_file()?;
    match Ring::new(file.as_fd(), RING_ENTRIES) {
        Ok(ring) => Some(ring),
        Err(error) => {
            log::debug!("disk {name}: uses threads, io_uring is not to be had: {error}");
            None
        }
    }
}

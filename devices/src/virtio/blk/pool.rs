//! A few threads that carry out requests by blocking in system calls.
//!
//! They start as requests come and find none idle, and end with the pool.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::event::{EventfdFlags, eventfd};

use super::job::{Done, Job};
use crate::backend::block::Image;
use crate::lock;

/// The most threads of one disk.
const THREADS: usize = 4;

struct Shared {
    image: Arc<dyn Image>,
    state: Mutex<State>,
    work: Condvar,
    /// Counts up when results are there.
    ready: OwnedFd,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    done: Vec<Done>,
    idle: usize,
    ends: bool,
}

/// Threads that carry out a disk's requests.
pub(super) struct Pool {
    shared: Arc<Shared>,
    name: &'static str,
    threads: Vec<JoinHandle<()>>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("threads", &self.threads.len())
            .finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool with no thread yet; `name` is that of the disk's own thread.
    pub(super) fn new(image: Arc<dyn Image>, name: &'static str) -> io::Result<Self> {
        let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
        let shared = Shared {
            image,
            state: Mutex::default(),
            work: Condvar::new(),
            ready: eventfd(0, flags)?,
        };
        Ok(Self {
            shared: Arc::new(shared),
            name,
            threads: Vec::new(),
        })
    }

    /// Readable when results may be there.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.shared.ready.as_fd()
    }

    /// Takes on `job`.
    ///
    /// # Errors
    /// There is no thread and none can be started: the job comes back.
    pub(super) fn submit(&mut self, job: Job) -> Result<(), Done> {
        let mut state = lock(&self.shared.state);
        let busy = state.idle <= state.waiting.len();
        if busy && self.threads.len() < THREADS {
            match spawn(&self.shared, self.name, self.threads.len()) {
                Ok(thread) => self.threads.push(thread),
                Err(error) if self.threads.is_empty() => {
                    let result = Err(error);
                    return Err(Done { job, result });
                }
                Err(error) => log::debug!("{}: no further thread: {error}", self.name),
            }
        }
        state.waiting.push_back(job);
        drop(state);
        self.shared.work.notify_one();
        Ok(())
    }

    /// Moves what is done to `to`.
    pub(super) fn reap(&mut self, to: &mut Vec<Done>) {
        let mut count = [0; 8];
        // An empty counter is a spurious call.
        let _ = rustix::io::read(&self.shared.ready, &mut count);
        to.append(&mut lock(&self.shared.state).done);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        lock(&self.shared.state).ends = true;
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                log::error!("{}: a thread panicked", self.name);
            }
        }
    }
}

fn spawn(shared: &Arc<Shared>, name: &str, number: usize) -> io::Result<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    thread::Builder::new()
        .name(format!("{name}-{number}"))
        .spawn(move || work(&shared))
}

fn work(shared: &Shared) {
    let mut state = lock(&shared.state);
    loop {
        if let Some(job) = state.waiting.pop_front() {
            drop(state);
            let result = job.carry_out(&*shared.image);
            state = lock(&shared.state);
            state.done.push(Done { job, result });
            if state.done.len() == 1 {
                // A full counter wakes as well.
                let _ = rustix::io::write(&shared.ready, &1u64.to_ne_bytes());
            }
        } else if state.ends {
            return;
        } else {
            state.idle += 1;
            let woken = shared.work.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }
}

//! The device's end of a console: output goes into the replay ring, input comes out of a bounded
//! queue. Nothing here blocks or makes the guest wait; vCPU threads and the io loop share it.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};

use rustix::event::{EventfdFlags, eventfd};

use super::ring::{Copied, ReplayRing};
use crate::lock;

/// What clients may type ahead of the guest; beyond it they wait in their own sockets.
const INPUT_MAX: usize = 16 * 1024;

/// Called with each stretch of output, in order, on the io loop.
pub type OutputWatcher = Box<dyn FnMut(&[u8]) + Send>;

/// A client that came by another way than the console's own listener.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) fd: OwnedFd,
    /// The position of the first output that it is sent.
    pub(super) from: u64,
    /// What it has typed already.
    pub(super) typed: Vec<u8>,
}

type InputWaker = Arc<dyn Fn() + Send + Sync>;

struct State {
    ring: ReplayRing,
    /// The output position that wakes the pump when it is reached.
    wake_at: u64,
    input: VecDeque<u8>,
    /// The pump found no room for input and waits to be told of some.
    input_stalled: bool,
    new_watchers: Vec<OutputWatcher>,
    new_clients: Vec<Attached>,
}

struct Shared {
    name: String,
    state: Mutex<State>,
    input_waker: Mutex<Option<InputWaker>>,
    wake: OwnedFd,
}

/// The device's end of a console. Clones share it.
#[derive(Clone)]
pub struct ConsoleHandle(Arc<Shared>);

impl fmt::Debug for ConsoleHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsoleHandle")
            .field("name", &self.0.name)
            .finish_non_exhaustive()
    }
}

impl ConsoleHandle {
    pub(super) fn new(name: &str) -> rustix::io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let state = State {
            ring: ReplayRing::default(),
            wake_at: u64::MAX,
            input: VecDeque::new(),
            input_stalled: false,
            new_watchers: Vec::new(),
            new_clients: Vec::new(),
        };
        Ok(Self(Arc::new(Shared {
            name: name.to_owned(),
            state: Mutex::new(state),
            input_waker: Mutex::new(None),
            wake,
        })))
    }

    /// The console's name, for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Takes output of the guest. Never blocks and never fails: with nobody connected it is a copy
    /// into the ring.
    pub fn write(&self, data: &[u8]) {
        let wake = {
            let mut state = lock(&self.0.state);
            state.ring.append(data);
            let reached = state.ring.end() >= state.wake_at;
            if reached {
                state.wake_at = u64::MAX;
            }
            reached
        };
        if wake {
            self.wake();
        }
    }

    /// Takes up to `data.len()` bytes of what clients typed; how many there were.
    pub fn read(&self, data: &mut [u8]) -> usize {
        let (n, resume) = {
            let mut state = lock(&self.0.state);
            let n = data.len().min(state.input.len());
            for (to, from) in data.iter_mut().zip(state.input.drain(..n)) {
                *to = from;
            }
            let resume = state.input_stalled && state.input.len() <= INPUT_MAX / 2;
            if resume {
                state.input_stalled = false;
            }
            (n, resume)
        };
        if resume {
            self.wake();
        }
        n
    }

    /// Whether clients have typed something that was not read yet.
    #[must_use]
    pub fn has_input(&self) -> bool {
        !lock(&self.0.state).input.is_empty()
    }

    /// Sets what is called, on the io loop, whenever input has arrived (and at once if some has
    /// already). It may take a device's lock; it must not block.
    pub fn set_input_waker(&self, waker: Box<dyn Fn() + Send + Sync>) {
        let waker: InputWaker = Arc::from(waker);
        *lock(&self.0.input_waker) = Some(Arc::clone(&waker));
        if self.has_input() {
            waker();
        }
    }

    /// The last `n` bytes of output (at most the ring's MiB), for error reports.
    #[must_use]
    pub fn tail(&self, n: usize) -> Vec<u8> {
        lock(&self.0.state).ring.tail(n)
    }

    /// The number of bytes that the guest has put out so far.
    #[must_use]
    pub fn output_len(&self) -> u64 {
        lock(&self.0.state).ring.end()
    }

    /// Has `watcher` called with all output from the first byte on, stretch by stretch as it
    /// comes. It runs on the io loop and must not block; output that a busy loop was too slow to
    /// fetch from the ring is skipped.
    pub fn watch_output(&self, watcher: OutputWatcher) {
        lock(&self.0.state).new_watchers.push(watcher);
        self.wake();
    }

    /// Where the last `last` bytes of output begin, and how many there are.
    #[must_use]
    pub fn replay(&self, last: u64) -> (u64, u64) {
        let state = lock(&self.0.state);
        let end = state.ring.end();
        let from = end.saturating_sub(last).max(state.ring.start());
        (from, end - from)
    }

    /// Makes the stream socket `client` a client of this console, which is sent the output from
    /// position `from` on and may type; `typed` is what came of it already, and waits for room as the
    /// rest does.
    pub fn attach(&self, client: OwnedFd, from: u64, typed: Vec<u8>) {
        let client = Attached {
            fd: client,
            from,
            typed,
        };
        lock(&self.0.state).new_clients.push(client);
        self.wake();
    }

    /// Wakes the pump.
    pub(super) fn wake(&self) {
        // The counter cannot overflow within a machine's life; a full one wakes as well.
        let _ = rustix::io::write(&self.0.wake, &1u64.to_ne_bytes());
    }

    pub(super) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.0.wake.as_fd()
    }

    pub(super) fn take_watchers(&self) -> Vec<OutputWatcher> {
        std::mem::take(&mut lock(&self.0.state).new_watchers)
    }

    pub(super) fn take_clients(&self) -> Vec<Attached> {
        std::mem::take(&mut lock(&self.0.state).new_clients)
    }

    pub(super) fn copy_output(&self, from: u64, out: &mut [u8]) -> Copied {
        lock(&self.0.state).ring.copy(from, out)
    }

    /// Asks for a wake-up as soon as the output reaches `position`; `false` if it has already.
    pub(super) fn wake_at(&self, position: u64) -> bool {
        let mut state = lock(&self.0.state);
        let ahead = state.ring.end() < position;
        state.wake_at = if ahead { position } else { u64::MAX };
        ahead
    }

    /// The room for input, and if there is none a wake-up once there is. That is not forgotten by who asks again
    /// meanwhile: another of the pump's clients may wait for it.
    pub(super) fn input_room(&self) -> usize {
        let mut state = lock(&self.0.state);
        let room = INPUT_MAX.saturating_sub(state.input.len());
        state.input_stalled |= room == 0;
        room
    }

    /// Queues what a client typed; the caller has asked for the room.
    pub fn put_input(&self, data: &[u8]) {
        lock(&self.0.state).input.extend(data);
        let waker = lock(&self.0.input_waker).clone();
        if let Some(waker) = waker {
            waker();
        }
    }
}

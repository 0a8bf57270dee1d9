//! Forwards of a running network, changed from outside of its event loop.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

use super::forward;
use crate::backend::net::{Forward, NetError, Protocol};
use crate::lock;

/// The event loop heeds a change within this time, or the guest's driver does not run the card.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the event loop is to do.
#[derive(Debug)]
pub(super) enum Change {
    /// To let clients of an open port in.
    Add(Forward, OwnedFd),
    /// To close a port, and then to say so.
    Remove(Forward, SyncSender<()>),
}

#[derive(Debug, Default)]
struct State {
    forwards: Vec<Forward>,
    changes: VecDeque<Change>,
    active: bool,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    wake: OwnedFd,
}

/// The forwards of a network, for any thread.
#[derive(Debug, Clone)]
pub struct ForwardControl(Arc<Shared>);

impl ForwardControl {
    /// The control of a network that begins with `forwards`, and what wakes its event loop.
    pub(super) fn new(forwards: &[Forward]) -> Result<(Self, OwnedFd), NetError> {
        let open = |source: rustix::io::Errno| NetError::Open {
            what: "event counter",
            source: source.into(),
        };
        let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).map_err(open)?;
        let woken = rustix::io::fcntl_dupfd_cloexec(&wake, 0).map_err(open)?;
        let state = State {
            forwards: forwards.to_vec(),
            ..State::default()
        };
        let shared = Shared {
            state: Mutex::new(state),
            wake,
        };
        Ok((Self(Arc::new(shared)), woken))
    }

    /// The forwards that there are.
    #[must_use]
    pub fn forwards(&self) -> Vec<Forward> {
        lock(&self.0.state).forwards.clone()
    }

    /// Leads another host port into the guest. Clients may connect from now on.
    ///
    /// # Errors
    /// The host port is taken or cannot be opened.
    pub fn add(&self, forward: Forward) -> Result<(), NetError> {
        let fd = forward::open(forward)?;
        let mut state = lock(&self.0.state);
        if state.forwards.len() >= forward::FORWARDS_MAX as usize {
            return Err(NetError::TooManyForwards(forward));
        }
        state.forwards.push(forward);
        state.changes.push_back(Change::Add(forward, fd));
        drop(state);
        self.wake();
        Ok(())
    }

    /// Closes the host port `host`; connections that came through it stay. The port is free when this
    /// returns; one that the guest's driver ran before it stopped to run the card is free as soon as the
    /// driver runs it again. The forward that was there.
    ///
    /// # Errors
    /// There is no such forward.
    pub fn remove(&self, protocol: Protocol, host: SocketAddr) -> Result<Forward, NetError> {
        let (done, finished) = sync_channel(1);
        let mut state = lock(&self.0.state);
        let is_it = |forward: &Forward| forward.protocol == protocol && forward.host == host;
        let Some(index) = state.forwards.iter().position(is_it) else {
            return Err(NetError::NoForward { protocol, host });
        };
        let forward = state.forwards.remove(index);
        // One that the loop does not know of yet is closed here: while the guest's driver does not
        // run the card, nobody would.
        let is_new = |change: &Change| matches!(change, Change::Add(it, _) if *it == forward);
        if let Some(index) = state.changes.iter().position(is_new) {
            state.changes.remove(index);
            return Ok(forward);
        }
        state.changes.push_back(Change::Remove(forward, done));
        let active = state.active;
        drop(state);
        self.wake();
        if active {
            let _ = finished.recv_timeout(PATIENCE);
        }
        Ok(forward)
    }

    fn wake(&self) {
        // The counter is full only if the event loop has been woken already.
        let _ = rustix::io::write(self.0.wake.as_fd(), &1_u64.to_ne_bytes());
    }

    /// The event loop takes changes from now on, or no more.
    pub(super) fn set_active(&self, active: bool) {
        lock(&self.0.state).active = active;
    }

    /// The next change.
    pub(super) fn next(&self) -> Option<Change> {
        lock(&self.0.state).changes.pop_front()
    }
}

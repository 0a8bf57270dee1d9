//! What the framework lends a device, faked: interrupts that are counted, descriptors that the
//! test polls.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent};

use crate::virtio::device::{Interest, Interrupt, Registry, Token};

const QUEUES: usize = 64;

/// Counts the notifications that a device sends.
#[derive(Debug)]
pub struct FakeInterrupt {
    queues: [AtomicUsize; QUEUES],
    config: AtomicUsize,
}

impl Default for FakeInterrupt {
    fn default() -> Self {
        Self {
            queues: std::array::from_fn(|_| AtomicUsize::new(0)),
            config: AtomicUsize::new(0),
        }
    }
}

impl FakeInterrupt {
    /// Used buffer notifications sent for queue `index` so far.
    #[must_use]
    pub fn queue_count(&self, index: u16) -> usize {
        self.queues[usize::from(index)].load(Ordering::SeqCst)
    }

    /// Configuration change notifications sent so far.
    #[must_use]
    pub fn config_count(&self) -> usize {
        self.config.load(Ordering::SeqCst)
    }
}

impl Interrupt for FakeInterrupt {
    fn queue(&self, index: u16) {
        self.queues[usize::from(index)].fetch_add(1, Ordering::SeqCst);
    }

    fn config(&self) {
        self.config.fetch_add(1, Ordering::SeqCst);
    }
}

/// A registry over a real epoll descriptor that the test polls by itself.
pub struct FakeRegistry {
    epoll: Epoll,
    watched: BTreeMap<RawFd, (Token, Interest)>,
}

impl fmt::Debug for FakeRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FakeRegistry").field(&self.watched).finish()
    }
}

impl Default for FakeRegistry {
    fn default() -> Self {
        Self {
            epoll: Epoll::new().unwrap(),
            watched: BTreeMap::new(),
        }
    }
}

impl FakeRegistry {
    /// What is watched now.
    #[must_use]
    pub fn watched(&self) -> &BTreeMap<RawFd, (Token, Interest)> {
        &self.watched
    }

    /// The tokens that are ready, waiting up to `timeout` for the first.
    pub fn ready(&self, timeout: Duration) -> Vec<Token> {
        let mut events = [EpollEvent::default(); 64];
        let timeout = i32::try_from(timeout.as_millis()).unwrap();
        let n = match self.epoll.wait(timeout, &mut events) {
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => 0,
            Err(e) => panic!("epoll_wait: {e}"),
        };
        events[..n]
            .iter()
            .map(|event| Token(u32::try_from(event.data()).unwrap()))
            .collect()
    }

    fn ctl(
        &mut self,
        op: ControlOperation,
        fd: RawFd,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        let event = EpollEvent::new(interest.into(), u64::from(token.0));
        self.epoll.ctl(op, fd, event)?;
        self.watched.insert(fd, (token, interest));
        Ok(())
    }
}

impl Registry for FakeRegistry {
    fn add(&mut self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        if self.watched.contains_key(&fd) {
            // As on the real loop, which never hears of a descriptor that is closed unremoved.
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.ctl(ControlOperation::Add, fd, token, interest)
    }

    fn modify(&mut self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        self.ctl(ControlOperation::Modify, fd, token, interest)
    }

    fn remove(&mut self, fd: RawFd) -> io::Result<()> {
        self.epoll
            .ctl(ControlOperation::Delete, fd, EpollEvent::default())?;
        self.watched.remove(&fd);
        Ok(())
    }
}

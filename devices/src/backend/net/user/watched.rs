//! A descriptor of the network's own, with what the event loop waits for on it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::virtio::device::{Interest, Registry, Token};

/// A descriptor and its entry in the registry.
#[derive(Debug)]
pub(super) struct Watched {
    fd: OwnedFd,
    token: Token,
    interest: Option<Interest>,
}

impl Watched {
    /// A descriptor that is not watched yet.
    pub(super) fn new(fd: OwnedFd, token: Token) -> Self {
        Self {
            fd,
            token,
            interest: None,
        }
    }

    /// What is waited for, if the descriptor is watched at all.
    pub(super) fn interest(&self) -> Option<Interest> {
        self.interest
    }

    /// Changes what is waited for; `None` takes the descriptor out of the registry. A call that
    /// changes nothing costs nothing.
    pub(super) fn watch(
        &mut self,
        wanted: Option<Interest>,
        events: &mut dyn Registry,
    ) -> io::Result<()> {
        let fd = self.fd.as_raw_fd();
        match (self.interest, wanted) {
            (now, wanted) if now == wanted => return Ok(()),
            (None, Some(interest)) => events.add(fd, self.token, interest)?,
            (Some(_), Some(interest)) => events.modify(fd, self.token, interest)?,
            (Some(_), None) | (None, None) => {
                self.interest = None;
                return events.remove(fd);
            }
        }
        self.interest = wanted;
        Ok(())
    }
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

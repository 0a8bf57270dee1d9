//! Where clients of a console connect: a TCP port or a Unix socket.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::net::SocketFlags;
use rustix::net::sockopt::{set_socket_keepalive, set_tcp_nodelay};

use crate::backend::unix_socket::UnixSocket;

const BACKLOG: i32 = 4096;

/// A socket that listens, non-blocking.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixSocket),
}

impl Listener {
    pub(super) fn tcp(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        // A queue long enough for a storm of connections (the system's limit may be lower).
        rustix::net::listen(&listener, BACKLOG)?;
        // Clients inherit these: output is gathered already, and a dead peer should not keep its
        // place for ever.
        let _ = set_tcp_nodelay(&listener, true);
        let _ = set_socket_keepalive(&listener, true);
        Ok(Self::Tcp(listener))
    }

    /// Binds `path`, in place of a socket that nobody listens on any more.
    pub(super) fn unix(path: &Path) -> io::Result<Self> {
        UnixSocket::bind(path).map(Self::Unix)
    }

    pub(super) fn accept(&self) -> Result<OwnedFd, Errno> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        rustix::net::accept_with(self.fd(), flags)
    }

    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }

    pub(super) fn raw_fd(&self) -> RawFd {
        self.fd().as_raw_fd()
    }
}

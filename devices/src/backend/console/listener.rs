//! Where clients of a console connect: a TCP port, a Unix socket, or one that was inherited.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::net::sockopt::{self, set_socket_keepalive, set_tcp_nodelay};
use rustix::net::{SocketFlags, SocketType};

use crate::backend::unix_socket::UnixSocket;
use crate::sys;

const BACKLOG: i32 = 4096;

/// A socket that listens, non-blocking.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixSocket),
    Inherited(OwnedFd),
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

    /// Takes a socket that this process inherited as `fd`.
    ///
    /// # Errors
    /// There is none, or it does not listen, or not for streams.
    pub(super) fn inherited(fd: RawFd) -> io::Result<Self> {
        let socket = sys::net::inherited(fd)?;
        let listens = sockopt::socket_acceptconn(&socket)?;
        if !listens || sockopt::socket_type(&socket)? != SocketType::STREAM {
            return Err(io::Error::other("it is no socket that listens for streams"));
        }
        // The flag is the description's: whoever handed it over leaves it to us.
        rustix::io::ioctl_fionbio(&socket, true)?;
        // Of a Unix socket neither is known.
        let _ = set_tcp_nodelay(&socket, true);
        let _ = set_socket_keepalive(&socket, true);
        Ok(Self::Inherited(socket))
    }

    pub(super) fn accept(&self) -> Result<OwnedFd, Errno> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        rustix::net::accept_with(self.fd(), flags)
    }

    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(_) | Self::Inherited(_) => None,
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
            Self::Inherited(socket) => socket.as_fd(),
        }
    }

    pub(super) fn raw_fd(&self) -> RawFd {
        self.fd().as_raw_fd()
    }
}

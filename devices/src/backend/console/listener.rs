//! Where clients of a console connect: a TCP port or a Unix socket.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_keepalive, set_tcp_nodelay};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

const BACKLOG: i32 = 4096;

/// A socket that listens, non-blocking.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixSocket),
}

/// A bound Unix socket; removes its path when dropped.
#[derive(Debug)]
pub(super) struct UnixSocket {
    fd: OwnedFd,
    path: PathBuf,
    /// Device and inode, lest another's socket be removed.
    identity: Option<(u64, u64)>,
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
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        // Whoever connects may be logged in as root: the owner alone. The mode has to be set
        // before the name appears.
        rustix::fs::fchmod(&fd, Mode::RUSR | Mode::WUSR)?;
        let name = SocketAddrUnix::new(path)?;
        match rustix::net::bind(&fd, &name) {
            Err(Errno::ADDRINUSE) if is_abandoned(path) => {
                fs::remove_file(path)?;
                rustix::net::bind(&fd, &name)?;
            }
            other => other?,
        }
        rustix::net::listen(&fd, BACKLOG)?;
        let path = path.to_owned();
        let identity = identity(&path);
        Ok(Self::Unix(UnixSocket { fd, path, identity }))
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
            Self::Unix(socket) => socket.fd.as_fd(),
        }
    }

    pub(super) fn raw_fd(&self) -> RawFd {
        self.fd().as_raw_fd()
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

fn is_abandoned(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    is_socket
        && UnixStream::connect(path).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
}

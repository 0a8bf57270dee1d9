//! A Unix socket that listens at a path, for its owner alone.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Longest line of clients that wait to be accepted (the system's limit may be lower).
const BACKLOG: i32 = 4096;

/// Where a Unix socket is bound.
#[derive(Debug)]
pub struct SocketPlace {
    path: PathBuf,
    /// Device and inode, lest another's socket be removed.
    identity: Option<(u64, u64)>,
}

impl SocketPlace {
    /// Removes the socket's name, if it still is this socket's.
    pub fn remove(&self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A bound Unix socket, non-blocking; removes its name when dropped.
#[derive(Debug)]
pub struct UnixSocket {
    fd: OwnedFd,
    place: Arc<SocketPlace>,
}

impl UnixSocket {
    /// Listens at `path`, in place of a socket that nobody listens on any more.
    ///
    /// # Errors
    /// Somebody listens there, or it cannot be made.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let fd = stream()?;
        // Whoever connects may be logged in as root: the owner alone. The mode has to be set
        // before the name appears.
        rustix::fs::fchmod(&fd, Mode::RUSR | Mode::WUSR)?;
        let name = SocketAddrUnix::new(path)?;
        match rustix::net::bind(&fd, &name) {
            Err(Errno::ADDRINUSE) if remove_abandoned(path) => {
                rustix::net::bind(&fd, &name)?;
            }
            other => other?,
        }
        rustix::net::listen(&fd, BACKLOG)?;
        let place = Arc::new(SocketPlace {
            path: path.to_owned(),
            identity: identity(path),
        });
        Ok(Self { fd, place })
    }

    /// Where it is bound, for who ends the process without dropping it.
    #[must_use]
    pub fn place(&self) -> &Arc<SocketPlace> {
        &self.place
    }

    /// The next client, non-blocking.
    ///
    /// # Errors
    /// There is none (`AGAIN`), or it cannot be had.
    pub fn accept(&self) -> Result<OwnedFd, Errno> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        rustix::net::accept_with(&self.fd, flags)
    }
}

impl AsFd for UnixSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        self.place.remove();
    }
}

/// A socket for a stream, non-blocking.
pub(crate) fn stream() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Removes the socket at `path` if nobody listens on it any more; whether it did.
pub fn remove_abandoned(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    is_socket
        && UnixStream::connect(path).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
        && fs::remove_file(path).is_ok()
}

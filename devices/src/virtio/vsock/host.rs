//! The host's side: where clients connect, and what guests connect to.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::SocketAddrUnix;

use crate::backend::unix_socket::{self, SocketPlace, UnixSocket};
use crate::virtio::device::{Interest, Registry, Token};

const LISTENER: Token = Token(0);

/// The Unix sockets of a device.
#[derive(Debug)]
pub(super) struct Host {
    listener: UnixSocket,
    path: PathBuf,
    watched: bool,
}

impl Host {
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        Ok(Self {
            listener: UnixSocket::bind(path)?,
            path: path.to_owned(),
            watched: false,
        })
    }

    /// Where clients connect.
    pub(super) fn place(&self) -> &Arc<SocketPlace> {
        self.listener.place()
    }

    /// The token of connection `index`.
    pub(super) fn token(index: usize) -> Token {
        Token(u32::try_from(index + 1).unwrap_or(u32::MAX))
    }

    /// The connection of a token; `None` for the listener.
    pub(super) fn index(token: Token) -> Option<usize> {
        (token.0 as usize).checked_sub(1)
    }

    /// Takes clients from now on, or none.
    pub(super) fn listen(&mut self, events: &mut dyn Registry, on: bool) {
        if on == self.watched {
            return;
        }
        let fd = self.listener.as_fd().as_raw_fd();
        let done = if on {
            events.add(fd, LISTENER, Interest::Read)
        } else {
            events.remove(fd)
        };
        match done {
            Ok(()) => self.watched = on,
            Err(error) => log::error!("vsock: cannot watch for clients: {error}"),
        }
    }

    /// The next client.
    pub(super) fn accept(&mut self, events: &mut dyn Registry) -> Option<OwnedFd> {
        loop {
            match self.listener.accept() {
                Ok(socket) => return Some(socket),
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(Errno::AGAIN) => return None,
                Err(error) => {
                    // Until a connection ends: the client would wake us again and again.
                    log::warn!("vsock: cannot accept a client: {error}");
                    self.listen(events, false);
                    return None;
                }
            }
        }
    }

    /// Connects to what listens for `port`.
    pub(super) fn connect(&self, port: u32) -> io::Result<OwnedFd> {
        let mut path = self.path.clone().into_os_string();
        path.push(format!("_{port}"));
        let socket = unix_socket::stream()?;
        // A Unix socket connects at once or not at all: a full backlog is `EAGAIN`.
        rustix::net::connect(&socket, &SocketAddrUnix::new(Path::new(&path))?)?;
        Ok(socket)
    }
}

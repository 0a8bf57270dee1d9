//! What the service manager is told of the VM (sd_notify(3)).

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::env;

/// The way to the service manager, if there is one that listens.
#[derive(Debug, Default)]
pub(crate) struct Notify(Option<File>);

impl Notify {
    /// Opens the way that the environment names; before the sandbox, which opens no socket.
    pub(crate) fn open() -> Self {
        let Some(name) = env::get(env::NOTIFY_SOCKET) else {
            return Self::default();
        };
        let connect = || -> io::Result<File> {
            let address = match name.as_bytes().split_first() {
                Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
                _ => SocketAddr::from_pathname(&name)?,
            };
            let socket = UnixDatagram::unbound()?;
            socket.connect_addr(&address)?;
            // A manager that does not read must not hold up the VM.
            socket.set_nonblocking(true)?;
            Ok(OwnedFd::from(socket).into())
        };
        match connect() {
            Ok(file) => Self(Some(file)),
            Err(error) => {
                log::warn!("the service manager cannot be told anything: {error}");
                Self::default()
            }
        }
    }

    /// Tells one or several assignments, a line each.
    pub(crate) fn tell(&self, lines: &str) {
        if let Some(mut file) = self.0.as_ref() {
            // A connected socket takes a message by write(2), which every thread may do.
            let _ = file.write(lines.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_manager_nothing_is_told() {
        Notify::default().tell("READY=1");
    }
}

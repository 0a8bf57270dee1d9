//! Consoles: what connects the serial port or virtio-console of a guest to people and programs.
//!
//! A console has two ends. The [`ConsoleHandle`] is the device's: it never blocks. The
//! [`ConsolePump`] runs on the io loop and serves the clients: any number up to 64 at once on a TCP
//! or Unix socket, all of them reading and all free to type, each with a cursor of its own into a
//! replay ring of the last MiB, so that whoever connects late still sees the boot from its first
//! byte. A client that is slower than the ring loses the oldest part and is told so; the guest is
//! never held up.

mod client;
mod handle;
mod listener;
mod log;
mod pump;
mod ring;
mod spec;
mod stdio;
#[cfg(test)]
mod tests;

use std::fs::OpenOptions;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use self::client::{Client, Kind};
pub use self::handle::{ConsoleHandle, OutputWatcher};
use self::listener::Listener;
pub use self::log::{ConsoleLog, LogFolder};
pub use self::pump::ConsolePump;
pub use self::spec::{ConsoleSpec, ConsoleSpecError};
use super::port_owner::{PortOwner, Transport, port_owner};

/// Why a console could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The TCP port could not be bound.
    #[error("console {console} cannot listen on {address}{}", taken_by(owner.as_ref()))]
    Tcp {
        /// The console's name.
        console: String,
        /// The address asked for.
        address: SocketAddr,
        /// Who has the port, if it is taken and `/proc` tells.
        owner: Option<PortOwner>,
        /// What the system said.
        source: io::Error,
    },
    /// A socket or file could not be made at a path.
    #[error("console {console} cannot open {}", path.display())]
    Path {
        /// The console's name.
        console: String,
        /// The path asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The socket that the process should have inherited cannot be used.
    #[error("console {console} cannot use the inherited descriptor {fd}")]
    Inherited {
        /// The console's name.
        console: String,
        /// The descriptor.
        fd: RawFd,
        /// What the system said.
        source: io::Error,
    },
    /// Standard input or output cannot be used.
    #[error("console {console} cannot use standard input and output")]
    Stdio {
        /// The console's name.
        console: String,
        /// What the system said.
        source: io::Error,
    },
    /// The log cannot be begun.
    #[error("cannot log consoles in `{}`", path.display())]
    Logs {
        /// The logs' folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The process is out of descriptors or memory.
    #[error("console {console} cannot be set up")]
    System {
        /// The console's name.
        console: String,
        /// What the system said.
        source: io::Error,
    },
}

fn taken_by(owner: Option<&PortOwner>) -> String {
    owner.map_or(String::new(), |owner| format!(", which {owner} holds"))
}

/// A console, by its two ends.
#[derive(Debug)]
pub struct Console;

impl Console {
    /// Opens what `spec` says: a port listens and a file exists when this returns.
    ///
    /// # Errors
    /// See [`ConsoleError`].
    pub fn open(
        name: &str,
        spec: &ConsoleSpec,
    ) -> Result<(ConsoleHandle, ConsolePump), ConsoleError> {
        let console = || name.to_owned();
        let at_path = |path: &Path, source| ConsoleError::Path {
            console: console(),
            path: path.to_owned(),
            source,
        };
        let (mut listener, mut clients, mut terminal) = (None, Vec::new(), None);
        match spec {
            ConsoleSpec::None => {}
            ConsoleSpec::Stdio => {
                (clients, terminal) = stdio::open().map_err(|source| ConsoleError::Stdio {
                    console: console(),
                    source,
                })?;
            }
            ConsoleSpec::File(path) => {
                clients.push(open_file(path).map_err(|source| at_path(path, source))?);
            }
            ConsoleSpec::Unix(path) => {
                let bound = Listener::unix(path).map_err(|source| at_path(path, source))?;
                listener = Some(bound);
            }
            ConsoleSpec::Connect(path) => {
                clients.push(connect(path).map_err(|source| at_path(path, source))?);
            }
            ConsoleSpec::Tcp(address) => {
                let bound = Listener::tcp(*address);
                listener = Some(bound.map_err(|source| tcp_error(name, *address, source))?);
            }
            ConsoleSpec::Inherited(fd) => {
                let taken = Listener::inherited(*fd).map_err(|source| ConsoleError::Inherited {
                    console: console(),
                    fd: *fd,
                    source,
                });
                listener = Some(taken?);
            }
        }
        let system = |errno: rustix::io::Errno| ConsoleError::System {
            console: console(),
            source: errno.into(),
        };
        let handle = ConsoleHandle::new(name).map_err(system)?;
        let pump = ConsolePump::new(handle.clone(), listener, clients, terminal);
        Ok((handle, pump.map_err(system)?))
    }
}

fn tcp_error(console: &str, address: SocketAddr, source: io::Error) -> ConsoleError {
    let taken = source.kind() == io::ErrorKind::AddrInUse;
    let owner = taken.then(|| port_owner(Transport::Tcp, address)).flatten();
    ConsoleError::Tcp {
        console: console.to_owned(),
        address,
        owner,
        source,
    }
}

/// The one client of a console, who listens himself.
fn connect(path: &Path) -> io::Result<Client> {
    let stream = UnixStream::connect(path)?;
    stream.set_nonblocking(true)?;
    Ok(Client::new(OwnedFd::from(stream), Kind::Socket))
}

/// Opens the file of a console: a regular file is truncated; a FIFO or a terminal will do too.
fn open_file(path: &Path) -> io::Result<Client> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    // A FIFO without a reader is an error rather than a wait.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = options.custom_flags(flags).open(path)?;
    let regular = file.metadata()?.is_file();
    let kind = if regular { Kind::File } else { Kind::Output };
    Ok(Client::new(OwnedFd::from(file), kind))
}

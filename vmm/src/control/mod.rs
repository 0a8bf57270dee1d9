//! The control socket: requests to a machine that runs, a line of JSON each, answered by a line each
//! ([docs/control.md](../../../docs/control.md)).
//!
//! Nobody listens until the first client comes: the supervisor sees him and has the control thread
//! started, which costs a machine that nobody asks anything nothing. The thread serves all clients
//! in turn and waits for none; what it keeps for one is bounded.

mod answer;
mod client;
mod combination;
mod conversation;
#[cfg(any(test, feature = "testing"))]
mod fixture;
mod hmp;
mod monitor;
pub mod protocol;
mod qmp;
mod server;
mod status;
#[cfg(feature = "testing")]
pub mod testing;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use devices::backend::console::ConsoleHandle;
use devices::backend::unix_socket::{SocketPlace, UnixSocket};
use devices::event_loop::Threads;

use self::protocol::ConsoleName;
use self::server::Server;
use crate::config::{ConsoleSpec, MonitorLanguage, MonitorSpec, VmSpec};
use crate::machine::Controls;

pub use self::client::{ControlClient, ControlError};
pub(crate) use self::status::{Order, Status};

/// The thread's name, and its role's.
const THREAD: &str = "control";

/// What clients are told of and may change.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(crate) memory: u64,
    pub(crate) cpus: u8,
    pub(crate) consoles: Vec<ServedConsole>,
    pub(crate) controls: Controls,
    pub(crate) status: Arc<Status>,
}

/// A console, by name.
#[derive(Debug)]
pub(crate) struct ServedConsole {
    pub(crate) name: ConsoleName,
    pub(crate) place: ConsoleSpec,
    pub(crate) handle: ConsoleHandle,
}

impl Served {
    /// What is to be told of the machine of `spec`.
    pub(crate) fn new(
        spec: &VmSpec,
        handles: &[ConsoleHandle],
        controls: Controls,
        status: Arc<Status>,
    ) -> Self {
        let console = |name: ConsoleName, place: &ConsoleSpec| {
            let handle = handles.iter().find(|it| it.name() == name.device())?;
            Some(ServedConsole {
                name,
                place: place.clone(),
                handle: handle.clone(),
            })
        };
        let mut consoles = Vec::new();
        consoles.extend(console(ConsoleName::Serial, &spec.serial));
        let virtio = spec.devices.iter().find_map(|device| match device {
            crate::config::DeviceSpec::Console(place) => Some(place),
            _ => None,
        });
        consoles.extend(virtio.and_then(|place| console(ConsoleName::Virtio, place)));
        Self {
            name: spec.name.clone(),
            pid: std::process::id(),
            memory: spec.memory,
            cpus: spec.cpus,
            consoles,
            controls,
            status,
        }
    }
}

/// The sockets, before somebody listens: the control socket itself, and monitors for programs made for QEMU.
#[derive(Debug, Default)]
pub(crate) struct ControlSocket {
    entrances: Vec<Entrance>,
    /// Whom we have called ourselves, and what they speak.
    called: Vec<(OwnedFd, MonitorLanguage)>,
}

/// A socket where clients come.
#[derive(Debug)]
struct Entrance {
    socket: UnixSocket,
    /// What is spoken there, if it is not the control socket's own language.
    language: Option<MonitorLanguage>,
}

impl ControlSocket {
    /// Makes the control socket at `path`, for the owner alone.
    ///
    /// # Errors
    /// It is in use, or cannot be made.
    pub(crate) fn bind(&mut self, path: &Path) -> io::Result<()> {
        self.enter(path, None)
    }

    /// Makes a monitor's socket, or connects to it.
    ///
    /// # Errors
    /// It is in use, cannot be made, or nobody listens there.
    pub(crate) fn monitor(&mut self, monitor: &MonitorSpec) -> io::Result<()> {
        if !monitor.connects {
            return self.enter(&monitor.path, Some(monitor.language));
        }
        let stream = UnixStream::connect(&monitor.path)?;
        stream.set_nonblocking(true)?;
        self.called.push((stream.into(), monitor.language));
        Ok(())
    }

    fn enter(&mut self, path: &Path, language: Option<MonitorLanguage>) -> io::Result<()> {
        let socket = UnixSocket::bind(path)?;
        self.entrances.push(Entrance { socket, language });
        Ok(())
    }

    /// Where they are, to remove them at the end.
    pub(crate) fn places(&self) -> impl Iterator<Item = Arc<SocketPlace>> {
        let entrances = self.entrances.iter();
        entrances.map(|entrance| Arc::clone(entrance.socket.place()))
    }

    /// What is readable when a client has come; none if it is served from the start.
    pub(crate) fn awaits(&self) -> Option<BorrowedFd<'_>> {
        match self.entrances.as_slice() {
            [
                Entrance {
                    socket,
                    language: None,
                },
            ] if self.called.is_empty() => Some(socket.as_fd()),
            _ => None,
        }
    }

    /// Serves clients from now on, on a thread that ends with the process.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn serve(self, served: Served, threads: &dyn Threads) -> io::Result<()> {
        let body = move || match Server::new(self, served) {
            Ok(mut server) => server.run(),
            Err(error) => log::error!("the control socket is not served: {error}"),
        };
        threads.start(THREAD, Box::new(body)).map(drop)
    }
}

#[cfg(test)]
mod tests;

//! The control socket: requests to a machine that runs, a line of JSON each, answered by a line each
//! ([docs/control.md](../../../docs/control.md)).
//!
//! Nobody listens until the first client comes: the supervisor sees him and has the control thread
//! started, which costs a machine that nobody asks anything nothing. The thread serves all clients
//! in turn and waits for none; what it keeps for one is bounded.

mod answer;
mod client;
mod conversation;
#[cfg(any(test, feature = "testing"))]
mod fixture;
pub mod protocol;
mod server;
mod status;
#[cfg(feature = "testing")]
pub mod testing;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use devices::backend::console::ConsoleHandle;
use devices::backend::unix_socket::{SocketPlace, UnixSocket};
use devices::event_loop::Threads;

use self::protocol::ConsoleName;
use self::server::Server;
use crate::config::{ConsoleSpec, VmSpec};
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

/// The socket, before somebody listens.
#[derive(Debug)]
pub(crate) struct ControlSocket(UnixSocket);

impl ControlSocket {
    /// Makes the socket at `path`, for the owner alone.
    ///
    /// # Errors
    /// It is in use, or cannot be made.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        UnixSocket::bind(path).map(Self)
    }

    /// Where it is, to remove it at the end.
    pub(crate) fn place(&self) -> Arc<SocketPlace> {
        Arc::clone(self.0.place())
    }

    /// Serves clients from now on, on a thread that ends with the process.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn serve(self, served: Served, threads: &dyn Threads) -> io::Result<()> {
        let body = move || match Server::new(self.0, served) {
            Ok(mut server) => server.run(),
            Err(error) => log::error!("the control socket is not served: {error}"),
        };
        threads.start(THREAD, Box::new(body)).map(drop)
    }
}

impl AsFd for ControlSocket {
    /// Readable when a client has come.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests;

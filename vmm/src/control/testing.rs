//! The control socket of a machine that does nothing, served turn by turn on the caller's thread: for
//! tests of this crate and for fuzzing.
#![allow(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "what a test needs is there, or the test fails"
)]

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use devices::backend::console::{Console, ConsolePump};
use devices::event_loop::Pollable;
use devices::virtio::testing::FakeRegistry;
use rustix::event::{PollFd, PollFlags, poll};

use super::conversation::Conversation;
use super::fixture::Devices;
use super::protocol::State;
use super::server::Server;
use super::{ControlSocket, Order, Status};
use crate::config::ConsoleSpec;
use crate::event::{self, EventReceiver, EventSender, Landmark, MachineEvent};

const PHASES: [Landmark; 5] = [
    Landmark::Kernel,
    Landmark::Init,
    Landmark::Userspace,
    Landmark::Login,
    Landmark::Panic,
];

/// A control socket, its clients' server and the machine behind it.
#[derive(Debug)]
pub struct ServedSocket {
    path: PathBuf,
    server: Server,
    status: Arc<Status>,
    console: devices::backend::console::ConsoleHandle,
    pump: ConsolePump,
    events: FakeRegistry,
    supervisor: Option<JoinHandle<()>>,
    sender: EventSender,
    _devices: Devices,
}

impl ServedSocket {
    /// A machine whose socket is in `folder`.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        let path = folder.join("control");
        let mut socket = ControlSocket::default();
        socket.bind(&path).unwrap();
        let devices = Devices::new();
        let (sender, receiver) = event::queue().unwrap();
        let status = Arc::new(Status::new(Instant::now(), sender.clone()));
        let (console, mut pump) = Console::open("ttyS0", &ConsoleSpec::None).unwrap();
        let mut events = FakeRegistry::default();
        pump.register(&mut events).unwrap();
        let served = devices.served(&status, console.clone());
        let known = Arc::clone(&status);
        let supervisor = std::thread::spawn(move || supervise(&receiver, &known));
        Self {
            path,
            server: Server::new(socket, served).unwrap(),
            status,
            console,
            pump,
            events,
            supervisor: Some(supervisor),
            sender,
            _devices: devices,
        }
    }

    /// Another client, that waits for nothing.
    #[must_use]
    pub fn connect(&self) -> Option<UnixStream> {
        let client = UnixStream::connect(&self.path).ok()?;
        client.set_nonblocking(true).unwrap();
        Some(client)
    }

    /// Has server and console do what there is to do now.
    pub fn turn(&mut self) {
        self.server.turn(Some(Duration::ZERO)).unwrap();
        for token in self.events.ready(Duration::ZERO) {
            self.pump.ready(&mut self.events, token);
        }
    }

    /// The guest comes to a phase.
    pub fn passes(&self, phase: u8) {
        let phase = PHASES[usize::from(phase) % PHASES.len()];
        self.status.passed(phase, Duration::from_millis(1));
    }

    /// The guest puts something out.
    pub fn prints(&self, text: &[u8]) {
        self.console.write(text);
    }

    /// The guest reads up to `most` bytes of what was typed; how many there were.
    #[must_use]
    pub fn reads(&self, most: u16) -> usize {
        self.console.read(&mut vec![0; most.into()])
    }

    /// The number of clients that the server knows of.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.server.clients().len()
    }

    /// The most bytes that are kept for one of them.
    #[must_use]
    pub fn kept(&self) -> usize {
        let clients = self.server.clients().iter();
        clients.map(Conversation::kept).max().unwrap_or_default()
    }
}

/// Does what the supervisor is asked to do, until the machine ends.
fn supervise(receiver: &EventReceiver, status: &Status) {
    loop {
        poll(&mut [PollFd::new(receiver, PollFlags::IN)], None).unwrap();
        match receiver.take() {
            Some(MachineEvent::Ordered) => {
                let Some(ordered) = status.next_order() else {
                    continue;
                };
                match ordered.order {
                    Order::Pause => status.enter(State::Paused),
                    Order::Resume => status.enter(State::Running),
                    Order::Quit => {
                        ordered.answer(Err("not now".to_owned()));
                        continue;
                    }
                    Order::PowerButton | Order::CtrlAltDel => status.enter(State::Stopping),
                }
                ordered.answer(Ok(()));
            }
            Some(_) => return,
            None => {}
        }
    }
}

impl Drop for ServedSocket {
    fn drop(&mut self) {
        self.sender.send(MachineEvent::Shutdown);
        if let Some(supervisor) = self.supervisor.take() {
            let _ = supervisor.join();
        }
    }
}

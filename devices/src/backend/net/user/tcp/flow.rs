//! One TCP flow: a connection with the guest on one side, a host socket on the other.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{self, RecvFlags, SendFlags, Shutdown, sockopt};
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};

use crate::backend::net::user::Key;
use crate::backend::net::user::watched::Watched;
use crate::virtio::device::{Interest, Registry, Token};

/// What a flow holds at most in each direction: what one side sent and the other did not take yet.
/// Two frames of the largest size: one is made while the other is under way.
const BUFFER: usize = 128 << 10;

/// How far a flow is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The host socket connects; the guest's SYN waits.
    Connecting,
    /// A client of a forward waits for the guest to come up.
    Waiting,
    /// Data flows, or the guest is being connected to, or one side has closed.
    Open,
    /// The host socket is gone; the guest is being told.
    Aborting,
}

/// One flow.
#[derive(Debug)]
pub(super) struct Flow {
    /// Its addresses.
    pub(super) key: Key,
    /// How far it is.
    pub(super) phase: Phase,
    /// The connection with the guest.
    pub(super) sockets: SocketSet<'static>,
    handle: SocketHandle,
    /// The connection with the rest of the world.
    pub(super) host: Watched,
    /// Whether the host socket may have something to read, as far as is known.
    readable: bool,
    /// Whether the host socket takes nothing for now.
    blocked: bool,
    /// Whether the other end said that it will send no more.
    eof: bool,
    /// Whether the other end was told that the guest will send no more.
    shut: bool,
    /// Whether the guest's side ended as it should.
    pub(super) clean: bool,
    /// Whether the guest's side is over and only the host has to take the rest.
    pub(super) lingering: bool,
    /// Whether the flow got packets in this burst.
    pub(super) touched: bool,
    /// Whether the flow is in the queue of those with something to send.
    pub(super) queued: bool,
    /// When the guest's connection wants to be looked at, if at all.
    pub(super) deadline: Option<Instant>,
    /// When something last happened.
    pub(super) used: Instant,
    /// The start of the guest's SYN, to be quoted when the host cannot be reached.
    pub(super) syn: [u8; 28],
}

/// The other end reset the connection, or it broke.
#[derive(Debug)]
pub(super) struct Reset;

impl Flow {
    /// A flow between `host` and a guest's connection that does not exist yet.
    pub(super) fn new(key: Key, phase: Phase, host: OwnedFd, token: Token, now: Instant) -> Self {
        let mut socket = Socket::new(
            SocketBuffer::new(vec![0; BUFFER]),
            SocketBuffer::new(vec![0; BUFFER]),
        );
        // Whoever sends decides how; acknowledgements are sent after each burst.
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(socket);
        Self {
            key,
            phase,
            sockets,
            handle,
            host: Watched::new(host, token),
            // A client talks first; a server waits for the guest.
            readable: phase == Phase::Waiting,
            blocked: false,
            eof: false,
            shut: false,
            clean: false,
            lingering: false,
            touched: false,
            queued: false,
            deadline: None,
            used: now,
            syn: [0; 28],
        }
    }

    /// The connection with the guest.
    pub(super) fn guest(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    /// The connection with the guest.
    pub(super) fn guest_ref(&self) -> &Socket<'static> {
        self.sockets.get(self.handle)
    }

    /// Moves what can be moved in both directions.
    pub(super) fn relay(&mut self) -> Result<(), Reset> {
        if self.phase != Phase::Open {
            return Ok(());
        }
        self.push()?;
        self.pull()
    }

    /// Passes on what the guest sent.
    fn push(&mut self) -> Result<(), Reset> {
        self.blocked = false;
        while self.guest_ref().can_recv() {
            let host = &self.host;
            let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
            let sent = socket.recv(|data| match net::send(host, data, SendFlags::NOSIGNAL) {
                Ok(n) => (n, Ok(())),
                Err(error) => (0, Err(error)),
            });
            match sent {
                Ok(Ok(()) | Err(Errno::INTR)) => {}
                Ok(Err(Errno::AGAIN)) => {
                    self.blocked = true;
                    return Ok(());
                }
                Ok(Err(_)) => return Err(Reset),
                Err(_) => break,
            }
        }
        if !self.shut && self.guest_closed() {
            self.shut = true;
            // The other end may be gone altogether; reading tells.
            let _ = net::shutdown(&self.host, Shutdown::Write);
        }
        Ok(())
    }

    /// Takes what the host sent, as far as there is room.
    fn pull(&mut self) -> Result<(), Reset> {
        while self.readable && !self.eof && self.guest_ref().can_send() {
            let host = &self.host;
            let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
            let received = socket.send(|room| {
                let len = room.len();
                match net::recv(host, room, RecvFlags::empty()) {
                    Ok((n, _)) => (n, Ok((n, len))),
                    Err(error) => (0, Err(error)),
                }
            });
            match received {
                Ok(Ok((0, _))) => {
                    self.eof = true;
                    self.guest().close();
                }
                // A short read emptied the socket; if more came since, the event loop says so.
                Ok(Ok((n, len))) => self.readable = n == len,
                Ok(Err(Errno::AGAIN)) => self.readable = false,
                Ok(Err(Errno::INTR)) => {}
                Ok(Err(_)) => return Err(Reset),
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Whether the guest said that it will send no more, and all that it sent is passed on.
    fn guest_closed(&self) -> bool {
        let socket = self.guest_ref();
        let closed = match socket.state() {
            State::CloseWait | State::LastAck | State::Closing | State::TimeWait => true,
            State::Closed => self.clean,
            _ => false,
        };
        closed && !socket.can_recv()
    }

    /// Whether both directions were closed and everything was passed on.
    pub(super) fn is_over(&self) -> bool {
        self.shut && self.eof
    }

    /// The event loop says that the host socket is ready.
    pub(super) fn ready(&mut self) {
        self.readable = true;
    }

    /// The error that the host socket holds, if it does.
    pub(super) fn host_error(&self) -> Option<Errno> {
        match sockopt::socket_error(&self.host) {
            Ok(Ok(())) => None,
            Ok(Err(error)) | Err(error) => Some(error),
        }
    }

    /// What to wait for on the host socket.
    fn wanted(&self) -> Option<Interest> {
        match self.phase {
            Phase::Connecting => Some(Interest::Write),
            Phase::Waiting => Some(Interest::None),
            Phase::Aborting => None,
            Phase::Open if self.is_over() => None,
            Phase::Open => Some(match (!self.eof && !self.readable, self.blocked) {
                (true, true) => Interest::ReadWrite,
                (true, false) => Interest::Read,
                (false, true) => Interest::Write,
                (false, false) => Interest::None,
            }),
        }
    }

    /// Tells the event loop what to wait for. After an event, exactly that; otherwise what is waited
    /// for without need stays until it happens, which saves a system call as often as not.
    pub(super) fn watch(&mut self, events: &mut dyn Registry, event: bool) -> io::Result<()> {
        let wanted = self.wanted();
        let enough = match (self.host.interest(), wanted) {
            (Some(Interest::ReadWrite), Some(_)) | (Some(_), Some(Interest::None)) => !event,
            // Taken out because it hung up: it would only be told ready again and again.
            (None, Some(Interest::None)) => true,
            (now, wanted) => now == wanted,
        };
        if enough {
            return Ok(());
        }
        self.host.watch(wanted, events)
    }

    /// Whether nothing is waited for on the host socket: an event is an error or a hang-up then.
    pub(super) fn expects_nothing(&self) -> bool {
        self.host.interest() == Some(Interest::None) && self.wanted() == Some(Interest::None)
    }

    /// Makes the host's end of the connection reset instead of closing.
    pub(super) fn reset_host(&self) {
        let _ = sockopt::set_socket_linger(&self.host, Some(Duration::ZERO));
    }
}

//! One TCP flow: a connection with the guest on one side, a host socket on the other.

use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{self, RecvFlags, SendFlags, Shutdown, sockopt};

use super::buffer::{self, Buffer};
use super::peer::{Meaning, Peer};
use super::segment::{Link, Segment};
use crate::backend::net::user::Key;
use crate::backend::net::user::outbox::{Body, Outbox};
use crate::backend::net::user::watched::Watched;
use crate::virtio::device::{Interest, Registry, Token};

/// Data from the guest of at least this length go to the host without waiting for more of the burst.
const LARGE: usize = 16 << 10;

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
    /// Its number, which no other flow has.
    pub(super) serial: u64,
    /// Its addresses.
    pub(super) key: Key,
    /// How far it is.
    pub(super) phase: Phase,
    /// The connection with the guest.
    pub(super) peer: Peer,
    /// The connection with the rest of the world.
    pub(super) host: Watched,
    /// What the host sent and the guest has not acknowledged.
    to_guest: Buffer,
    /// What the guest sent and the host has not taken.
    to_host: Buffer,
    /// Whether the host socket may have something to read, as far as is known.
    readable: bool,
    /// Whether the host socket takes nothing for now.
    blocked: bool,
    /// Whether the other end said that it will send no more.
    eof: bool,
    /// Whether the other end was told that the guest will send no more.
    shut: bool,
    /// Whether the guest's side is over and only the host has to take the rest.
    pub(super) lingering: bool,
    /// Whether the flow got packets in this burst.
    pub(super) touched: bool,
    /// Whether the flow is in the queue of those with something to send.
    pub(super) queued: bool,
    /// When the flow is in the list of deadlines, if it is there.
    pub(super) listed: Option<Instant>,
    /// When something last happened.
    pub(super) used: Instant,
    /// Whether the guest is asked over IPv6 first.
    pub(super) prefers_v6: bool,
    /// The start of the guest's SYN, to be quoted when the host cannot be reached.
    pub(super) syn: [u8; 48],
}

/// The other end reset the connection, or it broke.
#[derive(Debug)]
pub(super) struct Reset;

impl Flow {
    /// A flow between `host` and the guest's end behind `peer`.
    pub(super) fn new(
        key: Key,
        phase: Phase,
        peer: Peer,
        (host, token): (OwnedFd, Token),
        now: Instant,
    ) -> Self {
        Self {
            serial: 0,
            key,
            phase,
            peer,
            host: Watched::new(host, token),
            to_guest: Buffer::default(),
            to_host: Buffer::default(),
            // A client talks first; a server waits for the guest.
            readable: phase == Phase::Waiting,
            blocked: false,
            eof: false,
            shut: false,
            lingering: false,
            touched: false,
            queued: false,
            listed: None,
            used: now,
            prefers_v6: false,
            syn: [0; 48],
        }
    }

    /// Takes a segment from the guest.
    pub(super) fn receive(&mut self, segment: &Segment<'_>, mss: u16) -> Result<Meaning, Reset> {
        let space = self.to_host.space();
        let meaning = self.peer.receive(segment, &mut self.to_guest, space, mss);
        let part = |range: &Range<usize>| segment.payload.get(range.clone()).unwrap_or_default();
        match &meaning {
            Meaning::Data(range) => {
                let mut data = part(range);
                let direct = self.to_host.is_empty() && !self.to_host.has_early() && !self.blocked;
                if data.len() >= LARGE && direct {
                    data = data.get(self.pass(data)?..).unwrap_or_default();
                }
                self.to_host.write(data);
            }
            Meaning::Joined(range, more) => {
                self.to_host.write(part(range));
                self.to_host.filled(*more);
            }
            Meaning::Early(range, offset) => self.to_host.place(*offset, part(range)),
            Meaning::Reset | Meaning::Stray => {}
        }
        if self.peer.guest_ended() {
            self.to_host.forget_early();
        }
        Ok(meaning)
    }

    /// Gives `data` to the host; how much of it was taken.
    fn pass(&mut self, data: &[u8]) -> Result<usize, Reset> {
        match net::send(&self.host, data, SendFlags::NOSIGNAL) {
            Ok(n) => Ok(n),
            Err(Errno::INTR) => Ok(0),
            Err(Errno::AGAIN) => {
                self.blocked = true;
                Ok(0)
            }
            Err(_) => Err(Reset),
        }
    }

    /// Makes the next packet for the guest, if there is something to send; whether it did.
    pub(super) fn emit(&mut self, id: u32, link: Link, out: &mut Outbox, now: Instant) -> bool {
        let guest = self.key.guest.ip();
        let mss = self.peer.mss();
        let most = link.most(guest, mss);
        let space = self.to_host.space();
        let offer = link.mss(guest);
        let Some(send) = self.peer.next(&self.to_guest, space, most, offer, now) else {
            return false;
        };
        let body = (send.len > 0).then_some(Body {
            flow: id,
            serial: self.serial,
            seq: send.reply.seq,
            len: send.len,
        });
        let data = self.to_guest.slices(send.offset, send.len);
        send.reply.send_with(&self.key, body, data, mss, out);
        true
    }

    /// The data of a packet that [`Flow::emit`] made, unless the guest has them already.
    pub(super) fn body(&self, body: Body) -> Option<[&[u8]; 2]> {
        if body.serial != self.serial {
            return None;
        }
        let offset = self.peer.offset(body.seq)?;
        let slices = self.to_guest.slices(offset, body.len);
        let len: usize = slices.iter().map(|slice| slice.len()).sum();
        (len == body.len).then_some(slices)
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
        while !self.to_host.is_empty() && !self.blocked {
            let [data, _] = self.to_host.slices(0, buffer::MAX);
            let sent = match net::send(&self.host, data, SendFlags::NOSIGNAL) {
                Ok(n) => n,
                Err(Errno::INTR) => 0,
                Err(Errno::AGAIN) => {
                    self.blocked = true;
                    0
                }
                Err(_) => return Err(Reset),
            };
            self.to_host.consume(sent);
        }
        let space = self.to_host.space();
        self.peer.offer(space, space + self.to_host.len());
        if !self.shut && self.peer.guest_ended() && self.to_host.is_empty() {
            self.shut = true;
            // The other end may be gone altogether; reading tells.
            let _ = net::shutdown(&self.host, Shutdown::Write);
        }
        Ok(())
    }

    /// Takes what the host sent, as far as the guest has room for it.
    fn pull(&mut self) -> Result<(), Reset> {
        while self.may_pull() {
            let room = self.to_guest.room();
            let len = room.len();
            match net::recv(&self.host, room, RecvFlags::empty()) {
                Ok((0, _)) => {
                    self.eof = true;
                    self.peer.end();
                }
                Ok((n, _)) => {
                    self.to_guest.filled(n);
                    // A short read emptied the socket; if more came since, the event loop says so.
                    self.readable = n == len;
                }
                Err(Errno::AGAIN) => self.readable = false,
                Err(Errno::INTR) => {}
                Err(_) => return Err(Reset),
            }
        }
        Ok(())
    }

    fn may_pull(&self) -> bool {
        self.readable
            && !self.eof
            && self.to_guest.space() > 0
            && (self.to_guest.is_empty() || self.peer.appetite(&self.to_guest) > 0)
    }

    /// Whether both directions were closed and everything was passed on.
    pub(super) fn is_over(&self) -> bool {
        self.shut && self.eof
    }

    /// Whether data wait for the guest or for the host.
    pub(super) fn is_stuck(&self) -> bool {
        !self.to_guest.is_empty() || !self.to_host.is_empty()
    }

    /// Gives back the memory that nothing waits in.
    pub(super) fn release(&mut self) {
        self.to_guest.release();
        self.to_host.release();
    }

    /// Sets what each of its buffers holds at most, beyond what the guest was promised.
    pub(super) fn limit(&mut self, most: usize) {
        self.to_guest.limit(most);
        let promised = self.to_host.len() + self.peer.promised();
        self.to_host.limit(most.max(promised));
    }

    /// The memory for what is under way.
    pub(super) fn memory(&self) -> usize {
        self.to_guest.memory() + self.to_host.memory()
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

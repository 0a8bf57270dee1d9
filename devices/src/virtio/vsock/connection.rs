//! One stream between a socket of the guest and a Unix socket of the host, with its credit in both
//! directions (VIRTIO 1.3 §5.10.6.3).

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown};

use super::packet::{Ends, Header, SHUTDOWN_RECEIVE, SHUTDOWN_SEND};
use crate::sys;
use crate::virtio::device::{Interest, Registry, Token};
use crate::virtio::queue::{Reader, Writer};

/// What the guest may have on the way to the host, beyond what the Unix socket holds.
pub(super) const BUFFER: u32 = 256 << 10;
/// Room that is told of when this much of it came free.
const UPDATE_AFTER: u32 = BUFFER / 4;
/// The longest greeting of a client: `CONNECT`, a port, an end of line.
const GREETING: usize = 32;

/// How far a connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// The client is to say the port that it wants; it has said this.
    Greeting(Vec<u8>),
    /// The guest was asked.
    Requested,
    /// Data may flow.
    Open,
}

/// What a client's greeting came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Greeting {
    /// It is not complete.
    Wait,
    /// The guest's port that it wants.
    Port(u32),
    /// It is none, or the client has gone.
    Bad,
}

/// What a read of the host's side came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// This much is in the guest's buffer.
    Data(u32),
    /// There is nothing now.
    Nothing,
    /// There will be nothing more.
    End,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) ends: Ends,
    pub(super) phase: Phase,
    socket: OwnedFd,
    watched: Option<Interest>,
    /// Data of the guest's that the socket did not take yet.
    to_host: VecDeque<u8>,
    /// Bytes that came from the guest, and those that the socket took; both wrap.
    came: u32,
    forwarded: u32,
    /// What the guest was last told of `forwarded`.
    told: u32,
    /// Bytes sent to the guest, and what it says of its room; all wrap.
    sent: u32,
    peer_room: u32,
    peer_forwarded: u32,
    /// The guest was asked for room since it last told of some.
    pub(super) asked: bool,
    /// The client has sent its last byte.
    host_ended: bool,
    /// The guest will send, receive no more.
    guest_sends: bool,
    guest_receives: bool,
    /// It waits in the line of those that have data for the guest.
    pub(super) in_line: bool,
}

impl Connection {
    /// A connection over `socket`, which does not block.
    pub(super) fn new(socket: OwnedFd, ends: Ends, phase: Phase) -> Self {
        Self {
            ends,
            phase,
            socket,
            watched: None,
            to_host: VecDeque::new(),
            came: 0,
            forwarded: 0,
            told: 0,
            sent: 0,
            peer_room: 0,
            peer_forwarded: 0,
            asked: false,
            host_ended: false,
            guest_sends: true,
            guest_receives: true,
            in_line: false,
        }
    }

    /// Reads the client's greeting, not a byte more: what follows is data.
    pub(super) fn read_greeting(&mut self) -> Greeting {
        let Phase::Greeting(line) = &mut self.phase else {
            return Greeting::Wait;
        };
        loop {
            let mut byte = [0];
            match rustix::io::read(&self.socket, &mut byte) {
                Ok(1..) if byte == *b"\n" => break,
                Ok(1..) if line.len() < GREETING => line.extend(byte),
                Err(Errno::AGAIN) => return Greeting::Wait,
                Err(Errno::INTR) => {}
                _ => return Greeting::Bad,
            }
        }
        parse_greeting(line).map_or(Greeting::Bad, Greeting::Port)
    }

    /// The guest took the connection on: tells the client.
    ///
    /// # Errors
    /// The client has gone.
    pub(super) fn open(&mut self) -> io::Result<()> {
        self.phase = Phase::Open;
        let line = format!("OK {}\n", self.ends.host_port);
        let sent = rustix::net::send(&self.socket, line.as_bytes(), SendFlags::NOSIGNAL)?;
        // A socket that has taken nothing yet takes a few bytes.
        if sent == line.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    /// Notes what a packet of the guest's says of its room.
    pub(super) fn note_room(&mut self, header: &Header) {
        self.peer_room = header.buf_alloc.get();
        self.peer_forwarded = header.fwd_cnt.get();
        if self.room() > 0 {
            self.asked = false;
        }
    }

    /// What the guest has room for; none if its figures make no sense.
    pub(super) fn room(&self) -> u32 {
        let on_the_way = self.sent.wrapping_sub(self.peer_forwarded);
        self.peer_room.saturating_sub(on_the_way)
    }

    /// Whether the client's data is wanted now or later.
    pub(super) fn receives(&self) -> bool {
        self.phase == Phase::Open && !self.host_ended && self.guest_receives
    }

    /// Reads from the client into `to`, as far as the guest has room.
    ///
    /// # Errors
    /// The connection is broken.
    pub(super) fn receive(&mut self, to: &Writer<'_>) -> io::Result<Received> {
        let limit = to.available().min(self.room() as usize);
        if limit == 0 {
            return Ok(Received::Nothing);
        }
        match sys::read_vectored(self.socket.as_fd(), to.slices(), limit, None) {
            Ok(0) => {
                self.host_ended = true;
                Ok(Received::End)
            }
            Ok(n) => {
                let n = u32::try_from(n).unwrap_or(u32::MAX);
                self.sent = self.sent.wrapping_add(n);
                Ok(Received::Data(n))
            }
            Err(error) if is_for_later(&error) => Ok(Received::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Takes `len` bytes of the guest's to the client, or keeps them.
    ///
    /// # Errors
    /// The connection is broken, or the guest sends more than it was given room for.
    pub(super) fn send(&mut self, from: &mut Reader<'_>, len: u32) -> io::Result<()> {
        let on_the_way = self.came.wrapping_sub(self.forwarded);
        if !self.guest_sends || len > BUFFER.saturating_sub(on_the_way) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.came = self.came.wrapping_add(len);
        let mut left = len as usize;
        while self.to_host.is_empty() && left > 0 {
            match sys::write_vectored(self.socket.as_fd(), from.slices(), left, None) {
                Ok(n) => {
                    from.advance(n);
                    left -= n;
                    self.forwarded = self.forwarded.wrapping_add(n as u32);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_for_later(&error) => break,
                Err(error) => return Err(error),
            }
        }
        let mut piece = [0; 4096];
        while left > 0 {
            let n = left.min(piece.len());
            let part = piece.get_mut(..n).unwrap_or_default();
            let n = from.read(part);
            if n == 0 {
                break;
            }
            self.to_host.extend(part.iter().take(n));
            left -= n;
        }
        Ok(())
    }

    /// Takes what was kept to the client.
    ///
    /// # Errors
    /// The connection is broken.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while !self.to_host.is_empty() {
            let (first, _) = self.to_host.as_slices();
            match rustix::net::send(&self.socket, first, SendFlags::NOSIGNAL) {
                Ok(n) => {
                    self.to_host.drain(..n);
                    self.forwarded = self.forwarded.wrapping_add(n as u32);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        self.to_host.shrink_to(4096);
        if !self.guest_sends {
            self.shut(Shutdown::Write);
        }
        Ok(())
    }

    /// The guest sends or receives no more, as `flags` say.
    pub(super) fn shut_down(&mut self, flags: u32) {
        if flags & SHUTDOWN_SEND != 0 {
            self.guest_sends = false;
            if self.to_host.is_empty() {
                self.shut(Shutdown::Write);
            }
        }
        if flags & SHUTDOWN_RECEIVE != 0 {
            self.guest_receives = false;
            self.shut(Shutdown::Read);
        }
    }

    fn shut(&self, how: Shutdown) {
        if let Err(error) = rustix::net::shutdown(&self.socket, how) {
            log::debug!("vsock: cannot shut a client's socket down: {error}");
        }
    }

    /// Whether both sides have ended and all is delivered.
    pub(super) fn is_over(&self) -> bool {
        let guest_ended = !self.guest_sends && self.to_host.is_empty();
        guest_ended && (self.host_ended || !self.guest_receives)
    }

    /// Bytes that wait for the client.
    pub(super) fn kept(&self) -> usize {
        self.to_host.len()
    }

    /// Whether the guest should be told of room: it may have stopped for want of it.
    pub(super) fn owes_update(&self) -> bool {
        self.guest_sends && self.forwarded.wrapping_sub(self.told) >= UPDATE_AFTER
    }

    /// Fills in what every packet tells of our room.
    pub(super) fn tell_room(&mut self, header: &mut Header) {
        header.buf_alloc = BUFFER.into();
        header.fwd_cnt = self.forwarded.into();
        self.told = self.forwarded;
    }

    /// Watches the socket for what is wanted of it, and for nothing else: one whose client has
    /// gone would be ready for ever.
    ///
    /// # Errors
    /// The event loop refuses.
    pub(super) fn watch(&mut self, events: &mut dyn Registry, token: Token) -> io::Result<()> {
        let greets = matches!(self.phase, Phase::Greeting(_));
        let reads = greets || (self.receives() && !self.in_line && self.room() > 0);
        let wanted = match (reads, !self.to_host.is_empty()) {
            (true, true) => Some(Interest::ReadWrite),
            (true, false) => Some(Interest::Read),
            (false, true) => Some(Interest::Write),
            (false, false) => None,
        };
        if wanted == self.watched {
            return Ok(());
        }
        let fd = self.socket.as_raw_fd();
        match (self.watched, wanted) {
            (None, Some(interest)) => events.add(fd, token, interest)?,
            (Some(_), Some(interest)) => events.modify(fd, token, interest)?,
            (_, None) => events.remove(fd)?,
        }
        self.watched = wanted;
        Ok(())
    }

    /// Watches the socket no more; to be called before it is dropped.
    pub(super) fn unwatch(&mut self, events: &mut dyn Registry) {
        if self.watched.take().is_some()
            && let Err(error) = events.remove(self.socket.as_raw_fd())
        {
            log::debug!("vsock: a client's socket was not watched: {error}");
        }
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// The port of `CONNECT PORT`.
fn parse_greeting(line: &[u8]) -> Option<u32> {
    let line = str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    let verb = words.next()?;
    let port = words.next()?.parse().ok()?;
    (verb.eq_ignore_ascii_case("connect") && words.next().is_none()).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_names_a_port() {
        for (line, port) in [
            ("CONNECT 22", Some(22)),
            ("connect 4294967295 \r", Some(u32::MAX)),
            ("CONNECT", None),
            ("CONNECT 4294967296", None),
            ("CONNECT -1", None),
            ("CONNECT 1 2", None),
            ("GET / HTTP/1.1", None),
            ("", None),
        ] {
            assert_eq!(parse_greeting(line.as_bytes()), port, "{line}");
        }
        assert_eq!(parse_greeting(b"CONNECT \xff"), None);
    }
}

//! One pair of queues with its back end.

use std::io;
use std::os::fd::RawFd;

use super::filter::Filter;
use super::rx::RxQueue;
use crate::backend::net::{HEADER_LEN, NetBackend, PacketHeader};
use crate::virtio::device::{ActiveIo, DeviceError, Interest, Registry, Token};
use crate::virtio::queue::Chain;

/// Packets taken from the driver before others on the event loop get their turn.
pub(super) const TX_BURST: usize = 256;

/// Where a token of a back end has its pair's number.
const PAIR_SHIFT: u32 = 24;

/// The pair that a token belongs to, and the token that the pair's back end knows.
pub(super) fn split(token: Token) -> (usize, Token) {
    let own = token.0 & ((1 << PAIR_SHIFT) - 1);
    ((token.0 >> PAIR_SHIFT) as usize, Token(own))
}

/// A back end's token with its pair's number.
fn numbered(token: Token, pair: u16) -> Token {
    Token(token.0 | u32::from(pair) << PAIR_SHIFT)
}

/// The event loop as one pair's back end sees it: its tokens carry the pair's number.
struct Numbered<'a> {
    events: &'a mut dyn Registry,
    pair: u16,
}

impl Numbered<'_> {
    fn token(&self, token: Token) -> Token {
        numbered(token, self.pair)
    }
}

impl Registry for Numbered<'_> {
    fn add(&mut self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        self.events.add(fd, self.token(token), interest)
    }

    fn modify(&mut self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        self.events.modify(fd, self.token(token), interest)
    }

    fn remove(&mut self, fd: RawFd) -> io::Result<()> {
        self.events.remove(fd)
    }
}

/// A pair of queues. That of number 0 is used always, the others when the driver asks for them.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) backend: Box<dyn NetBackend>,
    pub(super) rx: RxQueue,
    number: u16,
    runs: bool,
}

impl Pair {
    pub(super) fn new(number: u16, backend: Box<dyn NetBackend>, rx: RxQueue) -> Self {
        Self {
            backend,
            rx,
            number,
            runs: false,
        }
    }

    /// The queue of packets for the driver (VIRTIO 1.3 §5.1.2).
    fn rx_index(&self) -> u16 {
        2 * self.number
    }

    /// The queue of packets from the driver (VIRTIO 1.3 §5.1.2).
    fn tx_index(&self) -> u16 {
        2 * self.number + 1
    }

    fn numbered<'a>(&self, events: &'a mut dyn Registry) -> Numbered<'a> {
        Numbered {
            events,
            pair: self.number,
        }
    }

    pub(super) fn runs(&self) -> bool {
        self.runs
    }

    /// Lets packets flow; both queues are looked at in the loop's next turn.
    pub(super) fn start(
        &mut self,
        io: &mut ActiveIo<'_>,
        features: u64,
    ) -> Result<(), DeviceError> {
        if self.runs {
            return Ok(());
        }
        let failed = |source| DeviceError::Backend {
            context: "start the network".to_owned(),
            source,
        };
        let mut events = self.numbered(io.events);
        self.backend.start(features, &mut events).map_err(failed)?;
        self.runs = true;
        let (first, number) = (self.rx_index(), self.number);
        if let Some(other) = self.backend.takes_over() {
            let started = other.start(io, first, &|token| numbered(token, number));
            return started.map_err(failed);
        }
        io.call_again(self.rx_index());
        io.call_again(self.tx_index());
        Ok(())
    }

    pub(super) fn stop(&mut self, io: &mut ActiveIo<'_>) {
        if std::mem::take(&mut self.runs) {
            if let Some(other) = self.backend.takes_over() {
                other.stop(io);
            }
            self.backend.stop(&mut self.numbered(io.events));
        }
    }

    pub(super) fn event(&mut self, io: &mut ActiveIo<'_>, token: Token) {
        if !self.runs {
            return;
        }
        if let Some(other) = self.backend.takes_over()
            && other.event(token, io)
        {
            return;
        }
        let mut events = self.numbered(io.events);
        self.backend.event(token, &mut events);
    }

    /// Whether packets are moved in our place.
    fn is_lent(&mut self) -> bool {
        self.backend.takes_over().is_some()
    }

    /// Takes packets from the driver.
    pub(super) fn transmit(
        &mut self,
        io: &mut ActiveIo<'_>,
        features: u64,
    ) -> Result<(), DeviceError> {
        if self.is_lent() {
            return Ok(());
        }
        let index = self.tx_index();
        let Some(queue) = io.queues.get_mut(usize::from(index)) else {
            return Ok(());
        };
        let mut events = self.numbered(io.events);
        queue.disable_notification(io.mem)?;
        let mut taken = 0;
        let mut more = true;
        let mut chain = Chain::default();
        while more {
            if !queue.pop_into(io.mem, &mut chain)? {
                more = queue.enable_notification(io.mem)?;
                continue;
            }
            let mut header = [0; HEADER_LEN];
            if !chain.reader.read_exact(&mut header) {
                return Err(DeviceError::Request("packet without a header"));
            }
            let header = PacketHeader::from_bytes(header).limited_to(features);
            self.backend.send(header, &mut chain.reader, &mut events);
            queue.add_used(io.mem, chain.head, 0)?;
            taken += 1;
            if taken == TX_BURST {
                break;
            }
        }
        if taken > 0 {
            self.backend.flush(&mut events);
            io.notify_used(index)?;
        }
        if more {
            io.call_again(index);
        }
        Ok(())
    }

    /// Hands packets of the back end that pass `filter` to the driver of the card at `mac`.
    pub(super) fn receive(
        &mut self,
        io: &mut ActiveIo<'_>,
        filter: &Filter,
        mac: [u8; 6],
    ) -> Result<(), DeviceError> {
        if self.is_lent() {
            return Ok(());
        }
        let index = self.rx_index();
        let Some(queue) = io.queues.get_mut(usize::from(index)) else {
            return Ok(());
        };
        let mut events = self.numbered(io.events);
        let filled = self
            .rx
            .fill(queue, io.mem, self.backend.as_mut(), &mut events, |frame| {
                filter.accepts(mac, frame)
            })?;
        if filled.delivered {
            io.notify_used(index)?;
        }
        if filled.more {
            io.call_again(index);
        }
        Ok(())
    }
}

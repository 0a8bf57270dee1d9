//! The receive queue: packets from the back end into the driver's buffers (VIRTIO 1.3 §5.1.6.4).

use crate::GuestRam;
use crate::backend::net::{HEADER_LEN, NetBackend, Packet};
use crate::virtio::device::{DeviceError, Registry};
use crate::virtio::queue::{Chain, VirtQueue, Writer};

/// What became of a packet.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// It is in the driver's buffers.
    Delivered,
    /// The driver has too few buffers for now.
    NoRoom,
    /// It fits into no buffer that the driver will ever offer.
    TooLong,
}

/// Packets given to the driver before others on the event loop get their turn.
const BURST: usize = 256;

/// What became of a look at the back end.
#[derive(Debug, Default)]
pub(super) struct Filled {
    /// The driver got packets.
    pub(super) delivered: bool,
    /// There may be more.
    pub(super) more: bool,
}

/// The device's half of the receive queue.
#[derive(Debug)]
pub(super) struct RxQueue {
    /// Whether a packet may lie in several buffers.
    pub(super) merge: bool,
    /// The buffers of the packet at hand; kept to be allocated once.
    used: Vec<(u16, u32)>,
}

impl RxQueue {
    /// A queue of at most `size` buffers.
    pub(super) fn new(size: u16) -> Self {
        Self {
            merge: false,
            used: Vec::with_capacity(size.into()),
        }
    }

    /// Moves packets that `accepts` takes from `backend` to the driver, until one of them has no
    /// more or others on the event loop are to have their turn.
    pub(super) fn fill(
        &mut self,
        queue: &mut VirtQueue,
        mem: &GuestRam,
        backend: &mut dyn NetBackend,
        events: &mut dyn Registry,
        accepts: impl Fn(&[u8]) -> bool,
    ) -> Result<Filled, DeviceError> {
        let mut filled = Filled::default();
        let mut chain = Chain::default();
        for _ in 0..BURST {
            if !queue.pop_into(mem, &mut chain)? {
                // Notifications are asked for only when they are waited for.
                if queue.enable_notification(mem)? {
                    continue;
                }
                backend.hold(events);
                return Ok(filled);
            }
            let Some(packet) = backend.receive(events) else {
                queue.unpop();
                queue.disable_notification(mem)?;
                return Ok(filled);
            };
            if !accepts(packet.frame) {
                queue.unpop();
                backend.received();
                continue;
            }
            match self.deliver(queue, mem, &mut chain, packet)? {
                Outcome::Delivered => {
                    filled.delivered = true;
                    backend.received();
                }
                Outcome::TooLong => {
                    log::debug!(
                        "packet of {} bytes is too long for the driver",
                        packet.size()
                    );
                    backend.received();
                }
                Outcome::NoRoom => {
                    backend.hold(events);
                    return Ok(filled);
                }
            }
        }
        filled.more = true;
        Ok(filled)
    }

    /// Copies one packet into `chain` and as many more buffers as it takes, and gives them back.
    fn deliver<'m>(
        &mut self,
        queue: &mut VirtQueue,
        mem: &'m GuestRam,
        chain: &mut Chain<'m>,
        packet: Packet<'_>,
    ) -> Result<Outcome, DeviceError> {
        let room = chain.writer.available();
        if room < HEADER_LEN {
            return Err(DeviceError::Request(
                "receive buffer without room for a header",
            ));
        }
        let [second, third] = packet.body;
        let mut rest = [packet.frame, second, third];
        if room >= HEADER_LEN + packet.size() {
            chain.writer.write(&packet.header.to_bytes(1));
            for part in rest {
                chain.writer.write(part);
            }
            queue.add_used(mem, chain.head, chain.writer.written())?;
            return Ok(Outcome::Delivered);
        }
        if !self.merge {
            queue.unpop();
            return Ok(Outcome::TooLong);
        }
        self.used.clear();
        // The number of buffers is known only at the end.
        let mut header = Writer::default();
        chain.writer.reserve_into(HEADER_LEN, &mut header);
        loop {
            for part in &mut rest {
                let n = chain.writer.write(part);
                *part = part.get(n..).unwrap_or_default();
            }
            self.used.push((chain.head, chain.writer.written()));
            if rest.iter().all(|part| part.is_empty()) {
                break;
            }
            if !self.next(queue, mem, chain)? {
                return Ok(Outcome::NoRoom);
            }
        }
        let buffers = u16::try_from(self.used.len()).unwrap_or(u16::MAX);
        header.write(&packet.header.to_bytes(buffers));
        queue.add_used_batch(mem, &self.used)?;
        Ok(Outcome::Delivered)
    }

    /// Makes `chain` the next buffer for the packet at hand. If there is none, puts those that it has
    /// back and asks to be told of more: before putting back, as the driver looks at where we stopped.
    fn next<'m>(
        &self,
        queue: &mut VirtQueue,
        mem: &'m GuestRam,
        chain: &mut Chain<'m>,
    ) -> Result<bool, DeviceError> {
        loop {
            if queue.pop_into(mem, chain)? {
                return Ok(true);
            }
            if !queue.enable_notification(mem)? {
                for _ in &self.used {
                    queue.unpop();
                }
                return Ok(false);
            }
        }
    }
}

//! The receive queue: packets from the back end into the driver's buffers (VIRTIO 1.3 §5.1.6.4).

use crate::GuestRam;
use crate::backend::net::{HEADER_LEN, NetBackend, Packet};
use crate::virtio::device::{DeviceError, Registry};
use crate::virtio::queue::{Chain, VirtQueue};

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
        for _ in 0..BURST {
            if !queue.has_available(mem)? {
                // Notifications are asked for only when they are waited for.
                if queue.enable_notification(mem)? {
                    continue;
                }
                backend.hold(events);
                return Ok(filled);
            }
            let Some(packet) = backend.receive(events) else {
                queue.disable_notification(mem)?;
                return Ok(filled);
            };
            if !accepts(packet.frame) {
                backend.received();
                continue;
            }
            match self.deliver(queue, mem, packet)? {
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

    /// Copies one packet into the next buffers and gives them back.
    fn deliver(
        &mut self,
        queue: &mut VirtQueue,
        mem: &GuestRam,
        packet: Packet<'_>,
    ) -> Result<Outcome, DeviceError> {
        self.used.clear();
        let Some(first) = queue.pop(mem)? else {
            return Ok(Outcome::NoRoom);
        };
        let mut header = first.writer;
        let mut body = header.split_off(HEADER_LEN);
        if header.available() < HEADER_LEN {
            return Err(DeviceError::Request(
                "receive buffer without room for a header",
            ));
        }
        if !self.merge && body.available() < packet.size() {
            queue.unpop();
            return Ok(Outcome::TooLong);
        }
        let [second, third] = packet.body;
        let mut rest = [packet.frame, second, third];
        let mut head = first.head;
        loop {
            for part in &mut rest {
                let n = body.write(part);
                *part = part.get(n..).unwrap_or_default();
            }
            let len = body.written()
                + if self.used.is_empty() {
                    HEADER_LEN as u32
                } else {
                    0
                };
            self.used.push((head, len));
            if rest.iter().all(|part| part.is_empty()) {
                break;
            }
            let Some(next) = self.next(queue, mem)? else {
                return Ok(Outcome::NoRoom);
            };
            head = next.head;
            body = next.writer;
        }
        let buffers = u16::try_from(self.used.len()).unwrap_or(u16::MAX);
        let _ = header.write_all(&packet.header.to_bytes(buffers));
        queue.add_used_batch(mem, &self.used)?;
        Ok(Outcome::Delivered)
    }

    /// The next buffer for the packet at hand. If there is none, puts those that it has back and
    /// asks to be told of more: before putting back, as the driver looks at where we stopped.
    fn next<'m>(
        &self,
        queue: &mut VirtQueue,
        mem: &'m GuestRam,
    ) -> Result<Option<Chain<'m>>, DeviceError> {
        loop {
            if let Some(next) = queue.pop(mem)? {
                return Ok(Some(next));
            }
            if !queue.enable_notification(mem)? {
                for _ in &self.used {
                    queue.unpop();
                }
                return Ok(None);
            }
        }
    }
}

//! The receive queue: packets from the back end into the driver's buffers (VIRTIO 1.3 §5.1.6.4).

use super::RX;
use crate::GuestRam;
use crate::backend::net::{HEADER_LEN, NetBackend, Packet};
use crate::virtio::device::{ActiveIo, DeviceError};
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

    /// Moves packets from `backend` to the driver until one of them has no more.
    pub(super) fn fill(
        &mut self,
        backend: &mut dyn NetBackend,
        io: &mut ActiveIo<'_>,
    ) -> Result<(), DeviceError> {
        let Some(queue) = io.queues.get_mut(usize::from(RX)) else {
            return Ok(());
        };
        let mut delivered = false;
        loop {
            if !queue.has_available(io.mem)? {
                // Notifications are asked for only when they are waited for.
                if queue.enable_notification(io.mem)? {
                    continue;
                }
                break;
            }
            let Some(packet) = backend.receive(io.events) else {
                queue.disable_notification(io.mem)?;
                break;
            };
            match self.deliver(queue, io.mem, packet)? {
                Outcome::Delivered => {
                    delivered = true;
                    backend.received();
                }
                Outcome::TooLong => {
                    log::debug!(
                        "packet of {} bytes is too long for the driver",
                        packet.frame.len()
                    );
                    backend.received();
                }
                Outcome::NoRoom => break,
            }
        }
        if delivered {
            io.notify_used(RX)?;
        }
        Ok(())
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
        if !self.merge && body.available() < packet.frame.len() {
            queue.unpop();
            return Ok(Outcome::TooLong);
        }
        let mut rest = packet.frame;
        let mut head = first.head;
        loop {
            let n = body.write(rest);
            rest = rest.get(n..).unwrap_or_default();
            let len = body.written()
                + if self.used.is_empty() {
                    HEADER_LEN as u32
                } else {
                    0
                };
            self.used.push((head, len));
            if rest.is_empty() {
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

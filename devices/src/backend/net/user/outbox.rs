//! Frames on their way to the guest: a bounded buffer in which they are made.
//!
//! Frames in bulk (TCP data, datagrams from the host) are made one at a time when the guest has
//! room, so that they wait in the host's sockets. Answers to frames from the guest (ARP, DHCP, ICMP,
//! acknowledgements) are made at once and may have to wait here; when there is no room, they are
//! lost, as on a wire.

use std::collections::VecDeque;

use super::addresses::OUR_MAC;
use super::wire::{
    ETHERTYPE_IPV4, ETHERTYPE_IPV6, FRAGMENT_LEN, IPV4_LEN, IPV6_LEN, Mac, put, set_fragment,
};
use crate::backend::net::{ETHERNET_LEN, FRAME_MAX, PacketHeader};

/// Room for a frame of the largest size, or many small ones, then for another. The last [`FRAME_MAX`] bytes are
/// for frames that will be lost.
const CAPACITY: usize = 3 * FRAME_MAX;

/// Data of a TCP flow that follow a frame's headers: they stay where they are until the guest has
/// room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Body {
    /// The flow's index.
    pub(super) flow: u32,
    /// The flow's own number, which no other flow at that index has.
    pub(super) serial: u64,
    /// The sequence number of the first byte.
    pub(super) seq: u32,
    /// How many bytes there are.
    pub(super) len: usize,
}

#[derive(Debug)]
struct Slot {
    start: usize,
    len: usize,
    header: PacketHeader,
    body: Option<Body>,
}

/// The frames on their way to the guest.
pub(super) struct Outbox {
    buffer: Box<[u8]>,
    slots: VecDeque<Slot>,
    end: usize,
    /// Where the guest's frames go.
    pub(super) guest: Mac,
    /// The guest's largest packet.
    pub(super) mtu: u16,
    /// The number of the last packet that was sent in fragments.
    fragmented: u16,
    /// Whether the guest completes checksums.
    pub(super) partial_checksums: bool,
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox")
            .field("slots", &self.slots.len())
            .finish_non_exhaustive()
    }
}

impl Outbox {
    /// An empty outbox for the guest at `guest`.
    pub(super) fn new(guest: Mac) -> Self {
        Self {
            buffer: vec![0; CAPACITY].into_boxed_slice(),
            slots: VecDeque::new(),
            end: 0,
            guest,
            mtu: u16::MAX,
            fragmented: 0,
            partial_checksums: false,
        }
    }

    /// Whether a frame of any size can be made now without being lost.
    pub(super) fn has_room(&self) -> bool {
        self.end + 2 * FRAME_MAX <= CAPACITY
    }

    /// Whether no frame waits.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The room for the next frame's IP packet. If there is none, room whose content is lost.
    pub(super) fn room(&mut self) -> &mut [u8] {
        let start = if self.has_room() {
            self.end
        } else {
            CAPACITY - FRAME_MAX
        };
        self.buffer
            .get_mut(start + ETHERNET_LEN..start + FRAME_MAX)
            .unwrap_or_default()
    }

    /// Queues the IP packet of `len` bytes that [`Outbox::room`] was filled with for the guest, in
    /// fragments if it is longer than the guest takes.
    pub(super) fn commit(&mut self, len: usize, header: PacketHeader) {
        self.commit_to(self.guest, len, header);
    }

    /// Like [`Outbox::commit`], for the card at `to`.
    pub(super) fn commit_to(&mut self, to: Mac, len: usize, header: PacketHeader) {
        if len > self.mtu.into() && header.gso_type == 0 {
            self.push_fragments(to, len);
        } else {
            self.push(to, self.ethertype(), len, header);
        }
    }

    /// Queues the headers of `len` bytes that [`Outbox::room`] was filled with for the guest, and the
    /// data that follow them.
    pub(super) fn commit_with(&mut self, len: usize, header: PacketHeader, body: Body) {
        let count = self.slots.len();
        self.push(self.guest, self.ethertype(), len, header);
        if let Some(slot) = self.slots.get_mut(count) {
            slot.body = Some(body);
        }
    }

    /// The type of the packet in the room.
    fn ethertype(&self) -> u16 {
        match self.buffer.get(self.end + ETHERNET_LEN) {
            Some(byte) if byte >> 4 == 6 => ETHERTYPE_IPV6,
            _ => ETHERTYPE_IPV4,
        }
    }

    /// Queues what [`Outbox::room`] was filled with for `to`.
    pub(super) fn push(&mut self, to: Mac, ethertype: u16, len: usize, header: PacketHeader) {
        let len = ETHERNET_LEN + len;
        if !self.has_room() || len > FRAME_MAX {
            return;
        }
        let start = self.end;
        put(&mut self.buffer, start, &to);
        put(&mut self.buffer, start + 6, &OUR_MAC);
        put(&mut self.buffer, start + 12, &ethertype.to_be_bytes());
        self.end = start + len;
        self.slots.push_back(Slot {
            start,
            len,
            header,
            body: None,
        });
    }

    /// Queues a packet (with a header without options) as fragments.
    fn push_fragments(&mut self, to: Mac, len: usize) {
        let mut header = [0; IPV6_LEN];
        let start = self.end + ETHERNET_LEN;
        let room = self.buffer.get(start..start + IPV6_LEN);
        header.copy_from_slice(room.unwrap_or(&[0; IPV6_LEN]));
        let (whole, part) = match self.ethertype() {
            ETHERTYPE_IPV6 => (IPV6_LEN, IPV6_LEN + FRAGMENT_LEN),
            _ => (IPV4_LEN, IPV4_LEN),
        };
        let piece = (usize::from(self.mtu) - part) & !7;
        let payload = len.saturating_sub(whole);
        let count = payload.div_ceil(piece);
        let frame_len = ETHERNET_LEN + part + piece;
        if !self.has_room() || count * frame_len > 2 * FRAME_MAX {
            return;
        }
        self.fragmented = self.fragmented.wrapping_add(1);
        // From the last to the first: each moves up by the headers that come before it.
        for i in (0..count).rev() {
            let from = start + whole + i * piece;
            let len = piece.min(payload - i * piece);
            let at = start + i * frame_len;
            self.buffer.copy_within(from..from + len, at + part);
            let Some(packet) = self.buffer.get_mut(at..at + part + len) else {
                return;
            };
            put(packet, 0, header.get(..whole).unwrap_or_default());
            let offset = u16::try_from(i * piece).unwrap_or_default();
            set_fragment(packet, self.fragmented, offset, i + 1 < count);
        }
        for i in 0..count {
            let len = part + piece.min(payload - i * piece);
            self.push(to, self.ethertype(), len, PacketHeader::default());
        }
    }

    /// The first frame: its header, what lies here of it, and the data that follow.
    pub(super) fn front(&self) -> Option<(PacketHeader, &[u8], Option<Body>)> {
        let slot = self.slots.front()?;
        let frame = self.buffer.get(slot.start..slot.start + slot.len)?;
        Some((slot.header, frame, slot.body))
    }

    /// Removes the first frame.
    pub(super) fn pop(&mut self) {
        self.slots.pop_front();
        if self.slots.is_empty() {
            self.end = 0;
        }
    }

    /// Removes every frame.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.end = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_beyond_the_room_are_lost_and_memory_stays() {
        let mut outbox = Outbox::new([2, 0, 0, 0, 0, 1]);
        for i in 0..100_000_u32 {
            outbox.room()[..4].copy_from_slice(&i.to_be_bytes());
            outbox.commit(60, PacketHeader::default());
        }
        let mut seen = 0_u32;
        while let Some((_, frame, _)) = outbox.front() {
            assert_eq!(frame.len(), 74);
            assert_eq!(frame[14..18], seen.to_be_bytes());
            seen += 1;
            outbox.pop();
        }
        assert!(seen > 500 && (seen as usize) < CAPACITY / 60, "{seen}");
        assert!(outbox.has_room());
    }
}

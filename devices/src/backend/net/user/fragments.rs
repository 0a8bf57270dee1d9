//! Fragments from the guest (RFC 791 §3.2, RFC 8200 §4.5): put together before anybody looks at them.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::wire::{Fragment, IPV4_LEN, IpPacket, ip_len, put_ip};

/// Packets that are put together at the same time; the oldest gives way.
const PACKETS_MAX: usize = 8;
/// Fragments of one packet.
const PIECES_MAX: usize = 128;
/// How long a packet waits for its fragments (RFC 1122 §3.3.2 asks for a minute at least; here they
/// come one right behind the other).
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest payload of a packet.
const PAYLOAD_MAX: usize = u16::MAX as usize - IPV4_LEN;

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
struct Key {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    id: u32,
}

#[derive(Debug)]
struct Partial {
    key: Key,
    since: Instant,
    /// Room for an IP header, then the payload as far as it is known.
    packet: Vec<u8>,
    /// Which bytes of the payload are known: ascending, without overlap.
    pieces: Vec<(usize, usize)>,
    end: Option<usize>,
}

/// The packets that are being put together.
#[derive(Debug, Default)]
pub(super) struct Reassembly {
    packets: Vec<Partial>,
}

impl Reassembly {
    /// Takes a fragment; the whole packet, if this completes it.
    pub(super) fn receive(
        &mut self,
        part: &IpPacket<'_>,
        fragment: Fragment,
        now: Instant,
    ) -> Option<Vec<u8>> {
        self.packets.retain(|packet| now - packet.since < PATIENCE);
        let key = Key {
            source: part.source,
            destination: part.destination,
            protocol: part.protocol,
            id: fragment.id,
        };
        let at = self.packets.iter().position(|packet| packet.key == key);
        let at = at.unwrap_or_else(|| {
            if self.packets.len() == PACKETS_MAX {
                self.packets.remove(0);
            }
            self.packets.push(Partial {
                key,
                since: now,
                packet: Vec::new(),
                pieces: Vec::new(),
                end: None,
            });
            self.packets.len() - 1
        });
        let packet = self.packets.get_mut(at)?;
        match packet.add(part.payload, fragment) {
            Some(true) => Some(self.packets.remove(at).finish()),
            Some(false) => None,
            // Fragments that contradict each other are an attack or a mistake (RFC 8900 §3.7).
            None => {
                self.packets.remove(at);
                None
            }
        }
    }

    /// Forgets every packet.
    pub(super) fn clear(&mut self) {
        self.packets.clear();
    }
}

impl Partial {
    /// Adds a fragment: whether the packet is whole now, or `None` if it makes no sense.
    fn add(&mut self, payload: &[u8], fragment: Fragment) -> Option<bool> {
        let (start, end) = (fragment.offset, fragment.offset + payload.len());
        let known_end = self.pieces.last().map_or(0, |piece| piece.1);
        let beyond = self.end.is_some_and(|last| end > last);
        if end > PAYLOAD_MAX || beyond || payload.is_empty() {
            return None;
        }
        if !fragment.more {
            if end < known_end || self.end.is_some_and(|last| last != end) {
                return None;
            }
            self.end = Some(end);
        } else if !payload.len().is_multiple_of(8) {
            return None;
        }
        let at = self.pieces.partition_point(|piece| piece.0 < start);
        if self.pieces.get(at) == Some(&(start, end)) {
            return Some(false);
        }
        let after = at
            .checked_sub(1)
            .and_then(|i| self.pieces.get(i))
            .map_or(0, |piece| piece.1);
        let before = self.pieces.get(at).map_or(usize::MAX, |piece| piece.0);
        if start < after || end > before || self.pieces.len() == PIECES_MAX {
            return None;
        }
        self.pieces.insert(at, (start, end));
        let header = ip_len(self.key.source);
        if self.packet.len() < header + end {
            self.packet.resize(header + end, 0);
        }
        self.packet
            .get_mut(header + start..header + end)?
            .copy_from_slice(payload);
        let known: usize = self.pieces.iter().map(|piece| piece.1 - piece.0).sum();
        Some(self.end == Some(known))
    }

    fn finish(mut self) -> Vec<u8> {
        let Key {
            source,
            destination,
            protocol,
            ..
        } = self.key;
        let payload = self.packet.len() - ip_len(source);
        put_ip(&mut self.packet, protocol, source, destination, payload);
        self.packet
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::wire::PROTOCOL_UDP;
    use super::*;

    const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 2, 15));
    const B: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 2, 2));

    fn give(
        reassembly: &mut Reassembly,
        id: u32,
        offset: usize,
        more: bool,
        payload: &[u8],
    ) -> Option<Vec<u8>> {
        let part = IpPacket {
            source: A,
            destination: B,
            protocol: PROTOCOL_UDP,
            fragment: None,
            bytes: &[],
            payload,
        };
        reassembly.receive(&part, Fragment { id, offset, more }, Instant::now())
    }

    #[test]
    fn fragments_in_any_order_make_the_packet() {
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1]] {
            let mut reassembly = Reassembly::default();
            let mut whole = None;
            for i in order {
                assert_eq!(whole, None);
                let payload = if i == 2 { &[2; 5][..] } else { &[i as u8; 8] };
                whole = give(&mut reassembly, 7, i * 8, i != 2, payload);
            }
            let whole = whole.unwrap();
            let packet = IpPacket::parse(&whole).unwrap();
            assert_eq!(
                packet.payload,
                [[0; 8].as_slice(), &[1; 8], &[2; 5]].concat()
            );
            assert_eq!((packet.source, packet.destination), (A, B));
            assert!(packet.fragment.is_none() && reassembly.packets.is_empty());
        }
    }

    #[test]
    fn fragments_that_contradict_each_other_are_dropped_together() {
        type Piece = (usize, bool, usize);
        let contradictions: [&[Piece]; 5] = [
            &[(0, true, 16), (8, true, 16)],
            &[(0, true, 8), (16, false, 4), (24, true, 8)],
            &[(8, false, 4), (8, false, 5)],
            &[(16, true, 8), (8, false, 4)],
            &[(65512, true, 8)],
        ];
        for pieces in contradictions {
            let mut reassembly = Reassembly::default();
            for &(offset, more, len) in pieces {
                assert_eq!(give(&mut reassembly, 7, offset, more, &vec![0; len]), None);
            }
            assert!(reassembly.packets.is_empty(), "{pieces:?}");
        }
    }

    #[test]
    fn repeated_fragments_do_no_harm_and_packets_are_bounded() {
        let mut reassembly = Reassembly::default();
        for id in 0..100 {
            give(&mut reassembly, id, 0, true, &[1; 8]);
            give(&mut reassembly, id, 0, true, &[1; 8]);
        }
        assert_eq!(reassembly.packets.len(), PACKETS_MAX);
        assert!(give(&mut reassembly, 99, 8, false, &[2]).is_some());
        assert!(give(&mut reassembly, 0, 8, false, &[2]).is_none());
    }
}

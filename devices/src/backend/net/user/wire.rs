//! Reading and writing Ethernet, IPv4 and UDP headers (RFC 894, RFC 791, RFC 768).

use std::net::Ipv4Addr;

use smoltcp::wire::{IpProtocol, checksum};

/// An Ethernet address.
pub(super) type Mac = [u8; 6];

/// Everybody on the link.
pub(super) const BROADCAST_MAC: Mac = [0xff; 6];

/// IPv4 in an Ethernet frame.
pub(super) const ETHERTYPE_IPV4: u16 = 0x0800;
/// ARP in an Ethernet frame.
pub(super) const ETHERTYPE_ARP: u16 = 0x0806;

/// ICMP in an IPv4 packet.
pub(super) const PROTOCOL_ICMP: u8 = 1;
/// TCP in an IPv4 packet.
pub(super) const PROTOCOL_TCP: u8 = 6;
/// UDP in an IPv4 packet.
pub(super) const PROTOCOL_UDP: u8 = 17;

/// The flags of an IPv4 packet (RFC 791 §3.1).
const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;

/// The length of an IPv4 header without options.
pub(super) const IPV4_LEN: usize = 20;
/// The length of a UDP header.
pub(super) const UDP_LEN: usize = 8;

/// The 16-bit big-endian field at `at`.
pub(super) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The IPv4 address at `at`.
pub(super) fn address(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(*bytes.get(at..)?.first_chunk::<4>()?))
}

/// Writes `bytes` at `at`; what does not fit is not written.
pub(super) fn put(buffer: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(room) = buffer.get_mut(at..at + bytes.len()) {
        room.copy_from_slice(bytes);
    }
}

/// An Ethernet frame from the guest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    /// Who sent it.
    pub(super) source: Mac,
    /// What the payload is.
    pub(super) ethertype: u16,
    /// What follows the header.
    pub(super) payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads the header.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        Some(Self {
            source: *bytes.get(6..)?.first_chunk()?,
            ethertype: be16(bytes, 12)?,
            payload: bytes.get(14..)?,
        })
    }
}

/// Which part of a packet a fragment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fragment {
    /// The packet's number.
    pub(super) id: u16,
    /// Where the payload belongs in the packet's payload.
    pub(super) offset: usize,
    /// Whether others follow.
    pub(super) more: bool,
}

/// An IPv4 packet from the guest whose lengths hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ipv4<'a> {
    /// Who sent it.
    pub(super) source: Ipv4Addr,
    /// For whom it is.
    pub(super) destination: Ipv4Addr,
    /// What the payload is.
    pub(super) protocol: u8,
    /// Whether it is a part only.
    pub(super) fragment: Option<Fragment>,
    /// Header and payload, without padding.
    pub(super) bytes: &'a [u8],
    /// What follows the header.
    pub(super) payload: &'a [u8],
}

impl<'a> Ipv4<'a> {
    /// Reads a packet.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let version_and_length = *bytes.first()?;
        let header_len = usize::from(version_and_length & 0xf) * 4;
        if version_and_length >> 4 != 4 || header_len < IPV4_LEN {
            return None;
        }
        let bytes = bytes.get(..usize::from(be16(bytes, 2)?))?;
        let place = be16(bytes, 6)?;
        let fragment = Fragment {
            id: be16(bytes, 4)?,
            offset: usize::from(place & 0x1fff) * 8,
            more: place & MORE_FRAGMENTS != 0,
        };
        Some(Self {
            source: address(bytes, 12)?,
            destination: address(bytes, 16)?,
            protocol: *bytes.get(9)?,
            fragment: (fragment.more || fragment.offset != 0).then_some(fragment),
            bytes,
            payload: bytes.get(header_len..)?,
        })
    }
}

/// A UDP datagram from the guest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Udp<'a> {
    /// The port it came from.
    pub(super) source: u16,
    /// The port it goes to.
    pub(super) destination: u16,
    /// What follows the header.
    pub(super) payload: &'a [u8],
}

impl<'a> Udp<'a> {
    /// Reads a datagram.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        Some(Self {
            source: be16(bytes, 0)?,
            destination: be16(bytes, 2)?,
            payload: bytes.get(UDP_LEN..usize::from(be16(bytes, 4)?))?,
        })
    }
}

/// Writes an IPv4 header for a packet of `length` bytes in all at the start of `buffer`.
pub(super) fn put_ipv4(
    buffer: &mut [u8],
    protocol: u8,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    length: u16,
) {
    let mut header = [0; IPV4_LEN];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&length.to_be_bytes());
    header[6..8].copy_from_slice(&DONT_FRAGMENT.to_be_bytes());
    header[8] = 64;
    header[9] = protocol;
    header[12..16].copy_from_slice(&source.octets());
    header[16..20].copy_from_slice(&destination.octets());
    put(buffer, 0, &header);
    put_ipv4_checksum(buffer);
}

fn put_ipv4_checksum(packet: &mut [u8]) {
    put(packet, 10, &[0, 0]);
    let sum = !checksum::data(packet.get(..IPV4_LEN).unwrap_or_default());
    put(packet, 10, &sum.to_be_bytes());
}

/// Makes the packet with a header from [`put_ipv4`] the fragment of packet `id` whose payload
/// belongs at `offset`.
pub(super) fn set_fragment(packet: &mut [u8], id: u16, offset: u16, more: bool) {
    let len = u16::try_from(packet.len()).unwrap_or(u16::MAX);
    let place = (offset / 8) | if more { MORE_FRAGMENTS } else { 0 };
    put(packet, 2, &len.to_be_bytes());
    put(packet, 4, &id.to_be_bytes());
    put(packet, 6, &place.to_be_bytes());
    put_ipv4_checksum(packet);
}

/// The sum over the pseudo-header of a TCP segment or UDP datagram (RFC 793 §3.1), not complemented:
/// what a partial checksum holds.
pub(super) fn pseudo_header(
    protocol: u8,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    length: u16,
) -> u16 {
    let protocol = IpProtocol::from(protocol);
    checksum::pseudo_header_v4(&source, &destination, protocol, u32::from(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_with_lengths_that_do_not_hold_is_none() {
        let mut packet = [0; 28];
        put_ipv4(
            &mut packet,
            PROTOCOL_UDP,
            Ipv4Addr::new(10, 0, 2, 15),
            Ipv4Addr::new(10, 0, 2, 2),
            28,
        );
        let parsed = Ipv4::parse(&packet).unwrap();
        assert_eq!(parsed.destination, Ipv4Addr::new(10, 0, 2, 2));
        assert_eq!(parsed.payload.len(), 8);
        assert_eq!(checksum::data(&packet[..20]), 0xffff);

        assert!(Ipv4::parse(&packet[..27]).is_none());
        for (at, value) in [(0, 0x44), (0, 0x65), (3, 19), (3, 29), (2, 1)] {
            let mut bad = packet;
            bad[at] = value;
            assert!(Ipv4::parse(&bad).is_none(), "byte {at} = {value}");
        }
    }
}

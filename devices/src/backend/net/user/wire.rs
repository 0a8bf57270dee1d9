//! Reading and writing Ethernet, IP and UDP headers (RFC 894, RFC 791, RFC 8200, RFC 768).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::checksum;

/// An Ethernet address.
pub(super) type Mac = [u8; 6];

/// Everybody on the link.
pub(super) const BROADCAST_MAC: Mac = [0xff; 6];

/// IPv4 in an Ethernet frame.
pub(super) const ETHERTYPE_IPV4: u16 = 0x0800;
/// IPv6 in an Ethernet frame.
pub(super) const ETHERTYPE_IPV6: u16 = 0x86dd;
/// ARP in an Ethernet frame.
pub(super) const ETHERTYPE_ARP: u16 = 0x0806;

/// ICMP in an IPv4 packet.
pub(super) const PROTOCOL_ICMP: u8 = 1;
/// TCP in an IP packet.
pub(super) const PROTOCOL_TCP: u8 = 6;
/// UDP in an IP packet.
pub(super) const PROTOCOL_UDP: u8 = 17;
/// `ICMPv6` in an IPv6 packet.
pub(super) const PROTOCOL_ICMPV6: u8 = 58;

// The extension headers of IPv6 (RFC 8200 §4).
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
/// Extension headers that a packet may have.
const EXTENSIONS_MAX: usize = 4;

/// The flags of an IPv4 packet (RFC 791 §3.1).
const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;

/// The length of an IPv4 header without options.
pub(super) const IPV4_LEN: usize = 20;
/// The length of an IPv6 header.
pub(super) const IPV6_LEN: usize = 40;
/// The length of an IPv6 fragment's own header (RFC 8200 §4.5).
pub(super) const FRAGMENT_LEN: usize = 8;
/// The length of a UDP header.
pub(super) const UDP_LEN: usize = 8;

/// The 16-bit big-endian field at `at`.
pub(super) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The length of the IP header that [`put_ip`] writes for `address`.
pub(super) fn ip_len(address: IpAddr) -> usize {
    if address.is_ipv4() {
        IPV4_LEN
    } else {
        IPV6_LEN
    }
}

/// The IPv6 address at `at`.
pub(super) fn address6(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    Some(Ipv6Addr::from(*bytes.get(at..)?.first_chunk::<16>()?))
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
    pub(super) id: u32,
    /// Where the payload belongs in the packet's payload.
    pub(super) offset: usize,
    /// Whether others follow.
    pub(super) more: bool,
}

/// An IP packet from the guest whose lengths hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct IpPacket<'a> {
    /// Who sent it.
    pub(super) source: IpAddr,
    /// For whom it is.
    pub(super) destination: IpAddr,
    /// What the payload is.
    pub(super) protocol: u8,
    /// Whether it is a part only.
    pub(super) fragment: Option<Fragment>,
    /// Headers and payload, without padding.
    pub(super) bytes: &'a [u8],
    /// What follows the headers.
    pub(super) payload: &'a [u8],
}

impl<'a> IpPacket<'a> {
    /// Reads a packet of either version.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        match bytes.first()? >> 4 {
            4 => Self::parse_v4(bytes),
            6 => Self::parse_v6(bytes),
            _ => None,
        }
    }

    fn parse_v4(bytes: &'a [u8]) -> Option<Self> {
        let header_len = usize::from(*bytes.first()? & 0xf) * 4;
        if header_len < IPV4_LEN {
            return None;
        }
        let bytes = bytes.get(..usize::from(be16(bytes, 2)?))?;
        let place = be16(bytes, 6)?;
        let fragment = Fragment {
            id: be16(bytes, 4)?.into(),
            offset: usize::from(place & 0x1fff) * 8,
            more: place & MORE_FRAGMENTS != 0,
        };
        Some(Self {
            source: address(bytes, 12)?.into(),
            destination: address(bytes, 16)?.into(),
            protocol: *bytes.get(9)?,
            fragment: (fragment.more || fragment.offset != 0).then_some(fragment),
            bytes,
            payload: bytes.get(header_len..)?,
        })
    }

    fn parse_v6(bytes: &'a [u8]) -> Option<Self> {
        let bytes = bytes.get(..IPV6_LEN + usize::from(be16(bytes, 4)?))?;
        let mut packet = Self {
            source: address6(bytes, 8)?.into(),
            destination: address6(bytes, 24)?.into(),
            protocol: *bytes.get(6)?,
            fragment: None,
            bytes,
            payload: bytes.get(IPV6_LEN..)?,
        };
        for _ in 0..EXTENSIONS_MAX {
            let header = packet.payload;
            let len = match packet.protocol {
                HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => 8 + usize::from(*header.get(1)?) * 8,
                FRAGMENT => {
                    let place = be16(header, 2)?;
                    let id = u32::from_be_bytes(*header.get(4..)?.first_chunk()?);
                    let (offset, more) = (usize::from(place & !7), place & 1 != 0);
                    // What follows is readable in the first fragment alone.
                    packet.fragment =
                        (more || offset != 0).then_some(Fragment { id, offset, more });
                    FRAGMENT_LEN
                }
                _ => return Some(packet),
            };
            packet.protocol = *header.first()?;
            packet.payload = header.get(len..)?;
            if packet.fragment.is_some() {
                return Some(packet);
            }
        }
        None
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

/// Writes an IP header for `payload` bytes at the start of `buffer`; its length, unless the payload
/// is too long or the addresses are of different versions.
pub(super) fn put_ip(
    buffer: &mut [u8],
    protocol: u8,
    source: IpAddr,
    destination: IpAddr,
    payload: usize,
) -> Option<usize> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let length = u16::try_from(IPV4_LEN + payload).ok()?;
            put_ipv4(buffer, protocol, source, destination, length);
            Some(IPV4_LEN)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let length = u16::try_from(payload).ok()?;
            let mut header = [0; IPV6_LEN];
            header[0] = 0x60;
            header[4..6].copy_from_slice(&length.to_be_bytes());
            header[6] = protocol;
            // Neighbour discovery is heard only with the largest number of hops (RFC 4861 §6.1).
            header[7] = if protocol == PROTOCOL_ICMPV6 { 255 } else { 64 };
            header[8..24].copy_from_slice(&source.octets());
            header[24..40].copy_from_slice(&destination.octets());
            put(buffer, 0, &header);
            Some(IPV6_LEN)
        }
        _ => None,
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

/// Makes the packet with a header from [`put_ip`] the fragment of packet `id` whose payload belongs
/// at `offset`. In an IPv6 packet, room for the fragment's own header lies behind its first one.
pub(super) fn set_fragment(packet: &mut [u8], id: u16, offset: u16, more: bool) {
    let len = packet.len();
    if packet.first().is_some_and(|byte| byte >> 4 == 6) {
        let payload = u16::try_from(len - IPV6_LEN).unwrap_or(u16::MAX);
        let protocol = packet.get(6).copied().unwrap_or_default();
        let place = offset & !7 | u16::from(more);
        put(packet, 4, &payload.to_be_bytes());
        put(packet, 6, &[FRAGMENT]);
        put(packet, IPV6_LEN, &[protocol, 0]);
        put(packet, IPV6_LEN + 2, &place.to_be_bytes());
        put(packet, IPV6_LEN + 4, &u32::from(id).to_be_bytes());
        return;
    }
    let len = u16::try_from(len).unwrap_or(u16::MAX);
    let place = (offset / 8) | if more { MORE_FRAGMENTS } else { 0 };
    put(packet, 2, &len.to_be_bytes());
    put(packet, 4, &id.to_be_bytes());
    put(packet, 6, &place.to_be_bytes());
    put_ipv4_checksum(packet);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_with_lengths_that_do_not_hold_is_none() {
        let mut packet = [0; 28];
        let (guest, gateway) = (Ipv4Addr::new(10, 0, 2, 15), Ipv4Addr::new(10, 0, 2, 2));
        put_ipv4(&mut packet, PROTOCOL_UDP, guest, gateway, 28);
        let parsed = IpPacket::parse(&packet).unwrap();
        assert_eq!(parsed.destination, gateway);
        assert_eq!(parsed.payload.len(), 8);
        assert_eq!(checksum::data(&packet[..20]), 0xffff);

        assert!(IpPacket::parse(&packet[..27]).is_none());
        for (at, value) in [(0, 0x44), (0, 0x65), (3, 19), (3, 29), (2, 1)] {
            let mut bad = packet;
            bad[at] = value;
            assert!(IpPacket::parse(&bad).is_none(), "byte {at} = {value}");
        }
    }

    #[test]
    fn extension_headers_are_passed_over_and_too_many_of_them_are_none() {
        let address = IpAddr::from(Ipv6Addr::LOCALHOST);
        let make = |extensions: &[u8]| {
            let payload = [extensions, &[1, 2, 3, 4, 5, 6, 7, 8]].concat();
            let mut packet = vec![0; IPV6_LEN];
            let first = if extensions.is_empty() {
                PROTOCOL_UDP
            } else {
                HOP_BY_HOP
            };
            put_ip(&mut packet, first, address, address, payload.len()).unwrap();
            packet.extend(payload);
            packet
        };
        let end = [PROTOCOL_UDP, 0, 1, 4, 0, 0, 0, 0];
        let chained = [[DESTINATION_OPTIONS, 0, 0, 0, 0, 0, 0, 0], end].concat();
        for extensions in [&[][..], &end, &chained] {
            let packet = make(extensions);
            let parsed = IpPacket::parse(&packet).unwrap();
            assert_eq!((parsed.protocol, parsed.payload.len()), (PROTOCOL_UDP, 8));
        }
        let endless = [DESTINATION_OPTIONS, 0, 0, 0, 0, 0, 0, 0].repeat(100);
        assert!(IpPacket::parse(&make(&endless)).is_none());
        let beyond = [PROTOCOL_UDP, 9, 0, 0, 0, 0, 0, 0];
        assert!(IpPacket::parse(&make(&beyond)).is_none());
        let fragment = [
            FRAGMENT,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            PROTOCOL_UDP,
            0,
            5,
            0x79,
            0,
            0,
            0,
            7,
        ];
        let packet = make(&fragment);
        let parsed = IpPacket::parse(&packet).unwrap();
        let place = Fragment {
            id: 7,
            offset: 0x578,
            more: true,
        };
        assert_eq!(
            (parsed.protocol, parsed.fragment),
            (PROTOCOL_UDP, Some(place))
        );
    }
}

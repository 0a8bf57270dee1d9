//! ICMP (RFC 792, RFC 4443): echo to addresses of ours, and news of what cannot be reached.

use std::net::IpAddr;

use super::addresses::{is_ours, router_for};
use super::checksum::{self, pseudo_header};
use super::outbox::Outbox;
use super::wire::{IpPacket, PROTOCOL_ICMP, PROTOCOL_ICMPV6, ip_len, put, put_ip};
use crate::backend::net::PacketHeader;

const HEADER_LEN: usize = 8;
/// The most that is quoted of a packet that went nowhere (RFC 4443 §2.4 (c): the whole message fits
/// into the smallest MTU; RFC 1812 §4.3.2.3).
const QUOTE_MAX: usize = 512;

/// The types that differ between the versions.
struct Types {
    protocol: u8,
    request: u8,
    reply: u8,
    unreachable: u8,
}

/// RFC 792.
const V4: Types = Types {
    protocol: PROTOCOL_ICMP,
    request: 8,
    reply: 0,
    unreachable: 3,
};
/// RFC 4443.
const V6: Types = Types {
    protocol: PROTOCOL_ICMPV6,
    request: 128,
    reply: 129,
    unreachable: 1,
};

fn types(address: IpAddr) -> &'static Types {
    if address.is_ipv4() { &V4 } else { &V6 }
}

/// Why a packet could not be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreachable {
    /// There is no way to the network.
    Network,
    /// There is no way to the host.
    Host,
    /// Nobody listens on the port.
    Port,
    /// The host's rules forbid it.
    Prohibited,
}

impl Unreachable {
    /// RFC 792 and RFC 1812 §5.2.7.1; RFC 4443 §3.1.
    fn code(self, address: IpAddr) -> u8 {
        match (self, address) {
            (Self::Network, _) => 0,
            (Self::Host, IpAddr::V4(_)) => 1,
            (Self::Port, IpAddr::V4(_)) => 3,
            (Self::Prohibited, IpAddr::V4(_)) => 13,
            (Self::Prohibited, IpAddr::V6(_)) => 1,
            (Self::Host, IpAddr::V6(_)) => 3,
            (Self::Port, IpAddr::V6(_)) => 4,
        }
    }
}

/// Answers an echo request to an address that is ours.
pub(super) fn receive(packet: &IpPacket<'_>, out: &mut Outbox) {
    let types = types(packet.source);
    let echo = packet.payload.first() == Some(&types.request) && packet.payload.len() >= HEADER_LEN;
    if !echo || !is_ours(packet.destination) {
        return;
    }
    put(out.room(), ip_len(packet.source), packet.payload);
    let ends = (packet.destination, packet.source);
    send(types.reply, ends, packet.payload.len(), out);
}

/// Tells the guest that `original`, the start of a packet of its own with at least 8 bytes of
/// payload, went nowhere. Without another address, it is the router that says so.
pub(super) fn unreachable(
    why: Unreachable,
    original: &[u8],
    from: Option<IpAddr>,
    out: &mut Outbox,
) {
    let (guest, quote) = match original.first().map(|byte| (byte >> 4, byte & 0xf)) {
        Some((4, words)) => {
            let guest = super::wire::address(original, 12).map(IpAddr::from);
            (guest, usize::from(words) * 4 + 8)
        }
        Some((6, _)) => (
            super::wire::address6(original, 8).map(IpAddr::from),
            QUOTE_MAX,
        ),
        _ => return,
    };
    let Some(guest) = guest else { return };
    let from = from.unwrap_or_else(|| router_for(guest));
    let quoted = original.get(..quote).unwrap_or(original);
    let types = types(guest);
    let ip = ip_len(guest);
    let room = out.room();
    let header = [types.unreachable, why.code(guest), 0, 0, 0, 0, 0, 0];
    put(room, ip, &header);
    put(room, ip + HEADER_LEN, quoted);
    send(
        types.unreachable,
        (from, guest),
        HEADER_LEN + quoted.len(),
        out,
    );
}

/// Completes the message of `len` bytes that lies in the outbox's room behind the IP header.
pub(super) fn send(kind: u8, (from, to): (IpAddr, IpAddr), len: usize, out: &mut Outbox) {
    let types = types(from);
    let room = out.room();
    let Some(ip) = put_ip(room, types.protocol, from, to, len) else {
        return;
    };
    let Some(message) = room.get_mut(ip..ip + len) else {
        return;
    };
    put(message, 0, &[kind]);
    put(message, 2, &[0, 0]);
    let mut sum = checksum::data(message);
    if from.is_ipv6() {
        let length = u16::try_from(len).unwrap_or_default();
        sum = checksum::combine(&[sum, pseudo_header(PROTOCOL_ICMPV6, from, to, length)]);
    }
    put(message, 2, &(!sum).to_be_bytes());
    out.commit(ip + len, PacketHeader::default());
}

//! ICMP (RFC 792): echo to the gateway, and news of what cannot be reached.

use std::net::Ipv4Addr;

use smoltcp::wire::checksum;

use super::is_ours;
use super::outbox::Outbox;
use super::wire::{IPV4_LEN, Ipv4, PROTOCOL_ICMP, put, put_ipv4};
use crate::backend::net::PacketHeader;

const ECHO_REPLY: u8 = 0;
const UNREACHABLE: u8 = 3;
const ECHO_REQUEST: u8 = 8;
const HEADER_LEN: usize = 8;

/// Why a packet could not be delivered (RFC 792, destination unreachable).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Unreachable {
    /// There is no way to the network.
    Network = 0,
    /// There is no way to the host.
    Host = 1,
    /// Nobody listens on the port.
    Port = 3,
    /// The host's rules forbid it (RFC 1812 §5.2.7.1).
    Prohibited = 13,
}

/// Answers an echo request to an address that is ours.
pub(super) fn receive(packet: &Ipv4<'_>, out: &mut Outbox) {
    let echo = packet.payload.first() == Some(&ECHO_REQUEST) && packet.payload.len() >= HEADER_LEN;
    if !echo || !is_ours(packet.destination) {
        return;
    }
    let room = out.room();
    put(room, IPV4_LEN, packet.payload);
    send(
        ECHO_REPLY,
        (packet.destination, packet.source),
        packet.payload.len(),
        out,
    );
}

/// Tells the guest that `original`, the start of a packet of its own with at least 8 bytes of
/// payload, went nowhere.
pub(super) fn unreachable(why: Unreachable, original: &[u8], from: Ipv4Addr, out: &mut Outbox) {
    let Some(guest) = super::wire::address(original, 12) else {
        return;
    };
    let header_len = usize::from(original.first().map_or(0, |byte| byte & 0xf)) * 4;
    let quoted = original.get(..header_len + 8).unwrap_or(original);
    let room = out.room();
    put(room, IPV4_LEN, &[UNREACHABLE, why as u8, 0, 0, 0, 0, 0, 0]);
    put(room, IPV4_LEN + HEADER_LEN, quoted);
    send(UNREACHABLE, (from, guest), HEADER_LEN + quoted.len(), out);
}

/// Completes the message of `len` bytes that lies in the outbox's room behind the IPv4 header.
fn send(kind: u8, (from, to): (Ipv4Addr, Ipv4Addr), len: usize, out: &mut Outbox) {
    let Ok(total) = u16::try_from(IPV4_LEN + len) else {
        return;
    };
    let room = out.room();
    put_ipv4(room, PROTOCOL_ICMP, from, to, total);
    let Some(message) = room.get_mut(IPV4_LEN..usize::from(total)) else {
        return;
    };
    put(message, 0, &[kind]);
    put(message, 2, &[0, 0]);
    let sum = !checksum::data(message);
    put(message, 2, &sum.to_be_bytes());
    out.commit(usize::from(total), PacketHeader::default());
}

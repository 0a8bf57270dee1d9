//! Making the datagrams that go to the guest (RFC 768).

use std::net::{IpAddr, SocketAddr};

use super::checksum::{self, pseudo_header};
use super::outbox::Outbox;
use super::wire::{Mac, PROTOCOL_UDP, UDP_LEN, ip_len, put, put_ip};
use crate::backend::net::{ETHERNET_LEN, HDR_F_NEEDS_CSUM, PacketHeader};

/// What comes before the payload of a datagram to `guest`.
pub(super) fn headers(guest: IpAddr) -> usize {
    ip_len(guest) + UDP_LEN
}

/// Datagrams up to this length get their whole checksum from us: some clients read packets before
/// the kernel completes them. So do datagrams that go in fragments.
const WHOLE_CHECKSUM_MAX: usize = 2048;

/// Sends the guest the datagram of `len` bytes that lies in the outbox's room behind the headers.
pub(super) fn send_datagram(from: SocketAddr, to: SocketAddr, len: usize, out: &mut Outbox) {
    send_datagram_to(out.guest, from, to, len, out);
}

/// Sends the card at `mac` the datagram of `len` bytes that lies in the outbox's room behind the
/// headers.
pub(super) fn send_datagram_to(
    mac: Mac,
    from: SocketAddr,
    to: SocketAddr,
    len: usize,
    out: &mut Outbox,
) {
    let Ok(length) = u16::try_from(UDP_LEN + len) else {
        return;
    };
    let room = out.room();
    let Some(ip) = put_ip(room, PROTOCOL_UDP, from.ip(), to.ip(), length.into()) else {
        return;
    };
    let total = ip + usize::from(length);
    put(room, ip, &from.port().to_be_bytes());
    put(room, ip + 2, &to.port().to_be_bytes());
    put(room, ip + 4, &length.to_be_bytes());
    put(room, ip + 6, &[0, 0]);
    let whole = len <= WHOLE_CHECKSUM_MAX || total > out.mtu.into();
    let partial = out.partial_checksums && !whole;
    let room = out.room();
    let pseudo = pseudo_header(PROTOCOL_UDP, from.ip(), to.ip(), length);
    let (sum, header) = if partial {
        (pseudo, partial_checksum(ip, 6))
    } else {
        let datagram = room.get(ip..total).unwrap_or_default();
        // A sum of 0 is sent as its other form (RFC 768): 0 means none.
        let sum = match !checksum::combine(&[pseudo, checksum::data(datagram)]) {
            0 => 0xffff,
            sum => sum,
        };
        (sum, PacketHeader::default())
    };
    put(room, ip + 6, &sum.to_be_bytes());
    out.commit_to(mac, total, header);
}

/// The header of a packet whose checksum, `offset` bytes behind an IP header of `ip` bytes, is
/// partial.
pub(super) fn partial_checksum(ip: usize, offset: u16) -> PacketHeader {
    PacketHeader {
        flags: HDR_F_NEEDS_CSUM,
        csum_start: (ETHERNET_LEN + ip) as u16,
        csum_offset: offset,
        ..PacketHeader::default()
    }
}

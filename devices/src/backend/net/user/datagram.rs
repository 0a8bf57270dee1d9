//! Making the datagrams that go to the guest (RFC 768).

use std::net::SocketAddrV4;

use smoltcp::wire::checksum;

use super::outbox::Outbox;
use super::wire::{IPV4_LEN, Mac, PROTOCOL_UDP, UDP_LEN, pseudo_header, put, put_ipv4};
use crate::backend::net::{ETHERNET_LEN, HDR_F_NEEDS_CSUM, PacketHeader};

/// What comes before a datagram's payload.
pub(super) const HEADERS: usize = IPV4_LEN + UDP_LEN;

/// Datagrams up to this length get their whole checksum from us: some clients read packets before
/// the kernel completes them. So do datagrams that go in fragments.
const WHOLE_CHECKSUM_MAX: usize = 2048;

/// Sends the guest the datagram of `len` bytes that lies in the outbox's room behind the headers.
pub(super) fn send_datagram(from: SocketAddrV4, to: SocketAddrV4, len: usize, out: &mut Outbox) {
    send_datagram_to(out.guest, from, to, len, out);
}

/// Sends the card at `mac` the datagram of `len` bytes that lies in the outbox's room behind the
/// headers.
pub(super) fn send_datagram_to(
    mac: Mac,
    from: SocketAddrV4,
    to: SocketAddrV4,
    len: usize,
    out: &mut Outbox,
) {
    let (Ok(length), Ok(total)) = (u16::try_from(UDP_LEN + len), u16::try_from(HEADERS + len))
    else {
        return;
    };
    let whole = len <= WHOLE_CHECKSUM_MAX || total > out.mtu;
    let partial = out.partial_checksums && !whole;
    let room = out.room();
    put_ipv4(room, PROTOCOL_UDP, *from.ip(), *to.ip(), total);
    put(room, IPV4_LEN, &from.port().to_be_bytes());
    put(room, IPV4_LEN + 2, &to.port().to_be_bytes());
    put(room, IPV4_LEN + 4, &length.to_be_bytes());
    put(room, IPV4_LEN + 6, &[0, 0]);
    let pseudo = pseudo_header(PROTOCOL_UDP, *from.ip(), *to.ip(), length);
    let (sum, header) = if partial {
        (pseudo, partial_checksum(6))
    } else {
        let datagram = room.get(IPV4_LEN..usize::from(total)).unwrap_or_default();
        let sums = [pseudo, checksum::data(datagram)];
        // A sum of 0 is sent as its other form (RFC 768): 0 means none.
        let sum = match !checksum::combine(&sums) {
            0 => 0xffff,
            sum => sum,
        };
        (sum, PacketHeader::default())
    };
    put(room, IPV4_LEN + 6, &sum.to_be_bytes());
    out.commit_to(mac, usize::from(total), header);
}

/// The header of a packet whose checksum, `offset` bytes into the payload of its IPv4 packet, is
/// partial.
pub(super) fn partial_checksum(offset: u16) -> PacketHeader {
    const START: usize = ETHERNET_LEN + IPV4_LEN;
    PacketHeader {
        flags: HDR_F_NEEDS_CSUM,
        csum_start: START as u16,
        csum_offset: offset,
        ..PacketHeader::default()
    }
}

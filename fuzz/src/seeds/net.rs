//! Conversations of a guest on the user-mode network; checksums and sequence numbers are put in by
//! the target.

use super::Seed;
use super::bytes::Bytes;
use crate::script::Script;

const RECEIVE: u8 = 0;
const TRANSMIT: u8 = 1;
const CONTROL: u8 = 2;
/// Room for a packet of 64 KiB, by number.
const ROOM: u8 = 9;
const MAC: [u8; 6] = [2, 0, 0, 10, 0xcb, 1];
const ALL: [u8; 6] = [0xff; 6];
const ROUTER: [u8; 6] = [0x52, 0x55, 10, 0, 2, 2];
const GUEST: [u8; 4] = [10, 0, 2, 15];
const GATEWAY: [u8; 4] = [10, 0, 2, 2];
const NAMES: [u8; 4] = [10, 0, 2, 3];
const SYN: u8 = 2;
const ACK: u8 = 16;
const PUSH_ACK: u8 = 24;
const FIN_ACK: u8 = 17;

/// `fd10:0:2::` and its last byte.
fn local(last: u8) -> [u8; 16] {
    let mut address = [0; 16];
    address[..6].copy_from_slice(&[0xfd, 0x10, 0, 0, 0, 2]);
    address[15] = last;
    address
}

/// `fe80::` and its last byte.
fn link(last: u8) -> [u8; 16] {
    let mut address = [0; 16];
    address[..2].copy_from_slice(&[0xfe, 0x80]);
    address[15] = last;
    address
}

fn be(value: u16) -> [u8; 2] {
    value.to_be_bytes()
}

fn ethernet(to: [u8; 6], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let header = Bytes::new().raw(&[0; 12]).raw(&to).raw(&MAC);
    header.raw(&be(ethertype)).raw(payload).0
}

fn ipv4(from: [u8; 4], to: [u8; 4], protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(20 + payload.len()).unwrap_or_default();
    let header = Bytes::new().raw(&[0x45, 0]).raw(&be(len)).raw(&be(77));
    let header = header.raw(&be(fragment)).raw(&[64, protocol, 0, 0]);
    let packet = header.raw(&from).raw(&to).raw(payload);
    ethernet(ROUTER, 0x0800, &packet.0)
}

fn ipv6(from: [u8; 16], to: [u8; 16], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap_or_default();
    let header = Bytes::new().raw(&[0x60, 0, 0, 0]).raw(&be(len));
    let packet = header
        .raw(&[protocol, 255])
        .raw(&from)
        .raw(&to)
        .raw(payload);
    ethernet(ROUTER, 0x86dd, &packet.0)
}

fn udp(from: u16, to: u16, data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(8 + data.len()).unwrap_or_default();
    let header = Bytes::new().raw(&be(from)).raw(&be(to)).raw(&be(len));
    header.raw(&[0, 0]).raw(data).0
}

fn tcp(from: u16, to: u16, flags: u8, data: &[u8]) -> Vec<u8> {
    let header = Bytes::new().raw(&be(from)).raw(&be(to)).raw(&[0; 8]);
    let options: &[u8] = if flags & SYN == 0 {
        &[]
    } else {
        // Segment size and window scale.
        &[2, 4, 5, 180, 3, 3, 7, 1]
    };
    let words = u8::try_from(5 + options.len() / 4).unwrap_or_default();
    let header = header.raw(&[words << 4, flags]).raw(&be(0xffff));
    header.raw(&[0; 4]).raw(options).raw(data).0
}

fn arp() -> Vec<u8> {
    let packet = Bytes::new().raw(&[0, 1, 8, 0, 6, 4, 0, 1]).raw(&MAC);
    let packet = packet.raw(&GUEST).raw(&[0; 6]).raw(&GATEWAY);
    ethernet(ALL, 0x0806, &packet.0)
}

/// A DHCP message of type `kind` (RFC 2131 §2).
fn dhcp(kind: u8) -> Vec<u8> {
    let message = Bytes::new().raw(&[1, 1, 6, 0, 1, 2, 3, 4]).raw(&[0; 20]);
    let message = message
        .raw(&MAC)
        .raw(&[0; 10 + 192])
        .raw(&[99, 130, 83, 99]);
    let message = message.raw(&[53, 1, kind, 50, 4]).raw(&GUEST);
    let message = message
        .raw(&[54, 4])
        .raw(&GATEWAY)
        .raw(&[55, 3, 1, 3, 6, 255]);
    ipv4([0; 4], [255; 4], 17, 0, &udp(68, 67, &message.0))
}

/// A query for the addresses of `a.b` (RFC 1035 §4.1).
fn query(id: u16) -> Vec<u8> {
    let header = Bytes::new()
        .raw(&be(id))
        .raw(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    header.raw(&[1, b'a', 1, b'b', 0, 0, 1, 0, 1]).0
}

fn start(choice: u8, buffers: usize) -> Script {
    let start = Script::default().raw(&[choice]);
    (0..buffers).fold(start, |script, _| script.request(RECEIVE, ROOM, &[]))
}

fn send(script: Script, frames: &[Vec<u8>]) -> Script {
    let send = |script: Script, frame: &Vec<u8>| script.request(TRANSMIT, 0, frame).kick(RECEIVE);
    frames.iter().fold(script, send)
}

/// A connection from the guest to the host, over the packets that `packet` makes.
fn connection(packet: &dyn Fn(&[u8]) -> Vec<u8>, server: u8) -> Script {
    let segment = |flags, data: &[u8]| packet(&tcp(4000, 7, flags, data));
    let script = send(start(0, 12), &[arp(), segment(SYN, &[])]);
    let script = script.poll().kick(RECEIVE).host(&[1, server]);
    let script = send(script, &[segment(ACK, &[]), segment(PUSH_ACK, b"hello")]);
    let script = script
        .poll()
        .host(&[3, 0])
        .host(&[2, 0, 5, 0])
        .raw(b"world")
        .poll();
    let script = send(script.kick(RECEIVE), &[segment(ACK, &[])]);
    let script = script.host(&[4, 0]).poll();
    send(script, &[segment(FIN_ACK, &[]), segment(ACK, &[])]).poll()
}

/// Neighbours, routers and DHCP over IPv6 (RFC 4861 §4, RFC 8415 §8).
fn neighbours() -> Script {
    let solicit = Bytes::new().raw(&[135, 0, 0, 0, 0, 0, 0, 0]).raw(&local(2));
    let solicit = solicit.raw(&[1, 1]).raw(&MAC);
    let router = Bytes::new()
        .raw(&[133, 0, 0, 0, 0, 0, 0, 0])
        .raw(&[1, 1])
        .raw(&MAC);
    let probe = Bytes::new()
        .raw(&[135, 0, 0, 0, 0, 0, 0, 0])
        .raw(&local(0x15));
    let information = Bytes::new()
        .raw(&[11, 1, 2, 3, 0, 1, 0, 10, 0, 3, 0, 1])
        .raw(&MAC);
    let information = information.raw(&[0, 6, 0, 2, 0, 23]);
    let mut all_routers = link(2);
    all_routers[..2].copy_from_slice(&[0xff, 2]);
    let mut all_servers = all_routers;
    all_servers[13..].copy_from_slice(&[1, 0, 2]);
    let mut echo = vec![128, 0, 0, 0, 0, 1, 0, 1];
    echo.extend(b"ping");
    let frames = [
        ipv6([0; 16], all_routers, 58, &probe.0),
        ipv6(link(0x15), all_routers, 58, &router.0),
        ipv6(local(0x15), local(2), 58, &solicit.0),
        ipv6(link(0x15), all_servers, 17, &udp(546, 547, &information.0)),
        ipv6(local(0x15), local(2), 58, &echo),
        ipv6(local(0x15), local(3), 17, &udp(5001, 53, &query(9))),
    ];
    send(start(0, 10), &frames)
        .host(&[7, 0])
        .poll()
        .kick(RECEIVE)
}

/// Datagrams: echo, names, forwards, fragments.
fn datagrams() -> Script {
    let to = |address, payload: &[u8]| ipv4(GUEST, address, 17, 0, payload);
    let ping = [8, 0, 0, 0, 0, 1, 0, 1, 1, 2, 3, 4];
    let whole = udp(5002, 7, &[7; 40]);
    let frames = [
        arp(),
        to(GATEWAY, &udp(5000, 7, b"datagram")),
        to(NAMES, &udp(5001, 53, &query(7))),
        to(GATEWAY, &udp(5003, 9, b"to nobody")),
        ipv4(GUEST, GATEWAY, 1, 0, &ping),
        ipv4(GUEST, GATEWAY, 17, 0x2000, &whole[..32]),
        ipv4(GUEST, GATEWAY, 17, 4, &whole[32..]),
    ];
    let script = send(start(0, 12), &frames)
        .host(&[7, 0])
        .poll()
        .kick(RECEIVE);
    let script = script.host(&[6, 0, 4, 0]).raw(b"in!!").poll().kick(RECEIVE);
    send(script, &[to(GATEWAY, &udp(53, 5000, b"answer"))]).poll()
}

/// A client of a forward, which the guest takes on.
fn forward() -> Script {
    let script = send(start(0, 12), &[arp()])
        .host(&[0, 0])
        .poll()
        .kick(RECEIVE);
    // The router chooses its port; a guest that listens answers from 22.
    let script = script.host(&[2, 0, 2, 0]).raw(b"hi").poll();
    let reset = ipv4(GUEST, GATEWAY, 6, 0, &tcp(22, 4001, SYN | ACK, &[]));
    send(script, &[reset]).poll().pause().host(&[5, 0]).poll()
}

/// What the control queue is asked for (VIRTIO 1.3 §5.1.6.5).
fn control() -> Script {
    let ask = |script: Script, bytes: &[u8]| script.request(CONTROL, 1, bytes);
    let script = ask(start(0x30, 2), &[0, 0, 1]);
    let script = ask(script, &[0, 1, 1]);
    let tables = Bytes::new()
        .raw(&[1, 0])
        .u32(1)
        .raw(&MAC)
        .u32(1)
        .raw(&[1, 0, 94, 0, 0, 1]);
    let script = ask(script, &tables.0);
    let script = ask(script, &[1, 1, 2, 0, 0, 10, 0xcb, 2]);
    let script = ask(script, &[2, 0, 5, 0]);
    let script = ask(script, &[3, 0]);
    let script = ask(script, &[4, 0, 1, 0]);
    let script = ask(script, &[5, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    send(
        script.reset(1 << 15, 0).request(RECEIVE, ROOM, &[]),
        &[arp()],
    )
}

pub(super) fn seeds() -> Vec<Seed> {
    let seed = |name, script: Script, successful| Seed {
        target: "net",
        name,
        bytes: script.0,
        successful,
    };
    let v4 = |segment: &[u8]| ipv4(GUEST, GATEWAY, 6, 0, segment);
    let v6 = |segment: &[u8]| ipv6(local(0x15), local(2), 6, segment);
    let leases = send(start(1, 6), &[dhcp(1), dhcp(3), arp(), dhcp(8), dhcp(7)]);
    vec![
        seed("lease", leases, 4),
        seed("connection", connection(&v4, 0), 6),
        seed("connection-v6", connection(&v6, 1), 6),
        seed("datagrams", datagrams(), 6),
        seed("neighbours", neighbours(), 6),
        seed("forward", forward(), 3),
        seed("control", control(), 5),
    ]
}

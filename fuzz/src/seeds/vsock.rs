//! Conversations over sockets (VIRTIO 1.3 §5.10.6).

use super::Seed;
use super::bytes::Bytes;
use crate::script::Script;

const RECEIVE: u8 = 0;
const TRANSMIT: u8 = 1;
const EVENT: u8 = 2;
const ROOM: u8 = 7;

/// A packet; what is zero is put in by the target.
fn packet(op: u16, from: u32, to: u32, data: &[u8]) -> Vec<u8> {
    let header = Bytes::new().u64(0).u64(0).u32(from).u32(to).u32(0);
    let header = header.u16(0).u16(op).words(&[0, 1 << 16, 0]);
    header.raw(data).0
}

fn shutdown(from: u32, to: u32) -> Vec<u8> {
    let mut packet = packet(4, from, to, &[]);
    packet[32] = 3;
    packet
}

fn buffers(script: Script, count: usize) -> Script {
    (0..count).fold(script, |script, _| script.request(RECEIVE, ROOM, &[]))
}

pub(super) fn seeds() -> Vec<Seed> {
    let start = || buffers(Script::default().raw(&[0]), 8).request(EVENT, 14, &[]);
    let outward = start()
        .request(TRANSMIT, 0, &packet(1, 5000, 1024, &[]))
        .poll()
        .host(&[1])
        .request(TRANSMIT, 0, &packet(5, 5000, 1024, b"hello"))
        .host(&[3, 0])
        .host(&[2, 0, 5, 0])
        .raw(b"world")
        .poll()
        .request(TRANSMIT, 0, &packet(6, 5000, 1024, &[]))
        .request(TRANSMIT, 0, &packet(7, 5000, 1024, &[]))
        .request(TRANSMIT, 0, &shutdown(5000, 1024))
        .poll();
    let inward = start()
        .host(&[0, 13, 0])
        .raw(b"CONNECT 5000\n")
        .poll()
        .poll()
        .request(TRANSMIT, 0, &packet(2, 5000, 0, &[]))
        .host(&[2, 0, 3, 0])
        .raw(b"abc")
        .poll()
        .request(TRANSMIT, 0, &packet(5, 5000, 0, b"hello"))
        .host(&[4, 0])
        .poll()
        .host(&[5, 0])
        .poll()
        .request(TRANSMIT, 0, &packet(3, 5000, 0, &[]));
    let reset = start()
        .request(TRANSMIT, 0, &packet(1, 5000, 1024, &[]))
        .host(&[1])
        .pause()
        .reset(0, 0)
        .request(TRANSMIT, 0, &packet(1, 5000, 1, &[]));
    let seed = |name, script: Script, successful| Seed {
        target: "vsock",
        name,
        bytes: script.0,
        successful,
    };
    vec![
        seed("outward", outward, 3),
        seed("inward", inward, 2),
        seed("reset", reset, 1),
    ]
}

//! Drivers of a card with several pairs of queues (VIRTIO 1.3 §5.1.6.5).

use super::Seed;
use super::bytes::Bytes;
use crate::script::Script;

/// Room for a packet of 64 KiB, by number, and for an answer.
const PACKET: u8 = 9;
const ANSWER: u8 = 1;
/// The bit of VIRTIO_NET_F_MQ, and that of VIRTIO_NET_F_CTRL_GUEST_OFFLOADS.
const MQ: u64 = 1 << 22;
const OFFLOADS: u64 = 1 << 2;

/// A broadcast, with a header that asks for nothing.
fn frame() -> Vec<u8> {
    let frame = Bytes::new().raw(&[0; 12]).raw(&[0xff; 6]);
    frame.raw(&[2, 0, 0, 10, 0xcb, 1, 8, 6]).raw(&[0; 46]).0
}

/// Pairs come into use and go, packets on each, other offloads, a pause; then a driver that knows of one pair.
fn script(kind: u8, pairs: u8) -> Script {
    let control = 2 * pairs;
    let last = pairs - 1;
    let packets = |script: Script, pair: u8| {
        let script = script.request(2 * pair, PACKET, &[]);
        let script = script.request(2 * pair + 1, 0, &frame());
        script
            .host(&[0, pair, 4, 0])
            .raw(b"data")
            .poll()
            .kick(2 * pair)
    };
    let ask = |script: Script, bytes: &[u8]| script.request(control, ANSWER, bytes);
    let script = packets(Script::default().raw(&[kind | last << 2]), 0);
    let script = packets(ask(script, &[4, 0, pairs, 0]), last);
    let script = ask(script, &[5, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    let script = ask(script, &[5, 0, 0x82, 0, 0, 0, 0, 0, 0, 0]);
    let script = packets(script.pause(), last);
    let script = ask(script, &[4, 0, 1, 0]);
    let script = ask(ask(script, &[4, 0, 0, 0]), &[4, 0, pairs + 1, 0]);
    let script = script.host(&[1, 0]).poll().host(&[2, 0]).poll();
    let script = packets(script.reset(MQ | OFFLOADS, 0), 0);
    let script = script.request(2, ANSWER, &[0, 0, 1]);
    packets(ask(script.reset(0, 0), &[4, 0, pairs, 0]), last)
}

pub(super) fn seeds() -> Vec<Seed> {
    let seed = |name, kind, pairs, successful| Seed {
        target: "tap",
        name,
        bytes: script(kind, pairs).0,
        successful,
    };
    vec![
        seed("tap", 0, 3, 6),
        seed("feigned", 1, 2, 6),
        seed("feigned-four", 1, 4, 6),
        seed("lent", 3, 2, 6),
    ]
}

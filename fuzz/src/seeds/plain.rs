//! Requests of the devices whose requests are short.

use super::Seed;
use super::bytes::Bytes;
use crate::script::{Script, flag};

fn seed(target: &'static str, name: &'static str, script: Script, successful: usize) -> Seed {
    Seed {
        target,
        name,
        bytes: script.0,
        successful,
    }
}

fn start(choice: u8) -> Script {
    Script::default().raw(&[choice])
}

/// A request to a disk: type and sector (VIRTIO 1.3 §5.2.6).
fn disk(kind: u32, sector: u64) -> Bytes {
    Bytes::new().words(&[kind, 0]).u64(sector)
}

/// A range to discard or to fill with zeros.
fn range(sector: u64, count: u32, flags: u32) -> Bytes {
    Bytes::new().u64(sector).words(&[count, flags])
}

/// Everything that a disk is asked for.
fn disk_seed(name: &'static str, choice: u8) -> Seed {
    let cut = 1 << flag::CUT_SHIFT;
    let write = disk(1, 3).raw(&[0x5a; 512]);
    let script = start(choice)
        .request(0, 5, &disk(0, 1).0)
        .poll()
        .request_with(0, cut, 1, &write.0)
        .poll()
        .request(0, 1, &disk(4, 0).0)
        .poll()
        .request(0, 13, &disk(8, 0).0)
        .poll()
        .request_with(0, cut, 1, &disk(11, 0).raw(&range(8, 8, 0).0).0)
        .poll()
        .request_with(0, cut, 1, &disk(13, 0).raw(&range(16, 8, 1).0).0)
        .poll()
        .request_with(0, cut | flag::INDIRECT, 1, &disk(1, 4).raw(&[1; 1024]).0)
        .poll()
        .raw(&[10, 32, 0, 1, 0, 0])
        .pause()
        .poll()
        .request(0, 5, &disk(0, 127).0)
        .poll()
        .request(0, 5, &disk(0, 128).0)
        .poll();
    let successful = if choice & 1 == 0 { 8 } else { 4 };
    seed("blk", name, script, successful)
}

pub(super) fn seeds() -> Vec<Seed> {
    let echo = start(0)
        .request(0, 3, b"hello")
        .request_with(1, flag::INDIRECT, 11, b"indirect")
        .request_with(0, flag::QUIET, 3, b"one")
        .request_with(0, 3 << flag::CUT_SHIFT, 3, b"two")
        .kick(0)
        .pause()
        .reset(1 << 29, 0)
        .request(1, 2, b"without event index")
        .reset(1 << 28, 1)
        .request(1, 2, b"no indirect tables");
    let loops = start(0)
        .raw(&[5, 0, 0, 0, 6, 0, 1, 4, 0, 1, 0, 0, 0])
        .raw(&[6, 0, 0, 0])
        .kick(0)
        .reset(0, 0)
        .raw(&[7, 0, 0, 0x80])
        .kick(0)
        .reset(0, 0)
        .request(0, 3, b"again");
    let entropy = start(0)
        .request(0, 3, &[])
        .request_with(0, flag::INDIRECT, 10, &[])
        .request(0, 11, &[]);
    let console = start(1)
        .request(1, 0, b"some output\r\n")
        .request(0, 7, &[])
        .host(&[5, 0])
        .raw(b"typed")
        .poll()
        .host(&[3, 0])
        .raw(b"ago")
        .request(0, 2, &[])
        .poll()
        .pause();
    let pages = Bytes::new().words(&[0x100, 0x101, 0x102, 0x3ff]);
    let numbers = Bytes::new().u16(4).u64(1 << 20).u16(5).u64(1 << 19);
    let balloon = start(8)
        .request(0, 0, &pages.0)
        .request(1, 0, &pages.0)
        .request(2, 0, &numbers.0)
        .host(&[1])
        .poll()
        .request(2, 0, &numbers.0)
        .request(3, 7, &[])
        .request(3, 15, &[])
        .host(&[0])
        .raw(&(4_u64 << 20).to_le_bytes())
        .raw(&[10, 4, 0, 4, 0, 4, 0, 0, 0])
        .pause()
        .reset(2, 0)
        .request(2, 15, &[]);
    vec![
        seed("queue", "echo", echo, 4),
        seed("queue", "loops", loops, 1),
        seed("rng", "entropy", entropy, 3),
        seed("console", "both-ways", console, 3),
        seed("balloon", "all-queues", balloon, 5),
        disk_seed("threads", 0b0010_0010),
        disk_seed("uring", 0b0100_0110),
        disk_seed("read-only", 0b0010_0011),
        peer_seed("honest", &[], 1),
        peer_seed("refuses", &[15, 15, 1], 0),
        peer_seed("speaks-unasked", &[15, 3, 1, 0, 0, 0, 0, 0, 0, 0], 0),
        peer_seed("breaks-off", &[15, 15, 0, 0, 4, 0, 5, 0, 0, 0], 0),
    ]
}

/// A vhost-user back end that offers everything and then does `more` ([`crate::peer`]).
fn peer_seed(name: &'static str, more: &[u8], successful: usize) -> Seed {
    let offers = [15, 15, 0, 0, 0, 0, 0, 0, 0, 0, 15, 0, 0];
    Seed {
        target: "vhost_user",
        name,
        bytes: [&offers, more].concat(),
        successful,
    }
}

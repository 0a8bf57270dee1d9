//! What reading 64 KiB of a file in the host's page cache costs, time and allocations, and what looking up a name does.

use std::fs;
use std::io::Write as _;
use std::time::Duration;

use rustix::fs::AtFlags;
use rustix::time::{ClockId, clock_gettime};
use zerocopy::IntoBytes;

use super::client::{Client, REQUESTS, ROOT};
use crate::virtio::fs::protocol::{ReadIn, opcode};

const SIZE: u32 = 64 << 10;
const PAGE: u32 = 4 << 10;
/// Requests of one doorbell: what a guest has under way when it reads ahead.
const BURST: u32 = 8;
const ROUNDS: u32 = if cfg!(debug_assertions) { 50 } else { 2000 };
const WARM_UP: u32 = 20;

/// What a burst cost.
#[derive(Default)]
struct Cost {
    best: Option<Duration>,
    total: Duration,
    allocations: u64,
}

/// Reads a file of as much as a burst asks for, each request into buffers of `rooms` bytes.
fn read(rooms: &[u32]) -> Cost {
    let mut client = Client::new();
    let data: Vec<u8> = (0..BURST * SIZE).map(|i| (i / 7) as u8).collect();
    fs::write(client.path().join("file"), &data).unwrap();
    let node = client.walk("file").unwrap();
    let fh = client.open(node, libc::O_RDONLY).unwrap().fh;
    let room = [&[16], rooms].concat();
    let mut cost = Cost::default();
    for round in 0..WARM_UP + ROUNDS {
        for at in 0..BURST {
            let args = ReadIn {
                fh,
                offset: u64::from(at * SIZE),
                size: SIZE,
                ..ReadIn::default()
            };
            let (_, message) = client.message(opcode::READ, node, args.as_bytes());
            client.driver.add(REQUESTS, &[&message], &room);
        }
        let begin: Duration = clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap();
        let counted = allocation_counter::measure(|| client.driver.kick(REQUESTS).unwrap());
        let end: Duration = clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap();
        if round >= WARM_UP {
            cost.best = cost.best.min(Some(end - begin)).or(Some(end - begin));
            cost.total += end - begin;
            cost.allocations += counted.count_total;
        }
        for at in 0..BURST as usize {
            let used = client.driver.pop_used(REQUESTS).unwrap();
            let whole = SIZE as usize;
            assert!(used.data[16..] == data[at * whole..][..whole]);
        }
    }
    cost
}

fn gigabytes_a_second(time: Duration, bursts: u32) -> f64 {
    f64::from(BURST * SIZE) * f64::from(bursts) / time.as_secs_f64() / 1e9
}

/// Says what a way of reading cost, and that it was no allocation.
fn report(way: &str, cost: &Cost) {
    let best = gigabytes_a_second(cost.best.unwrap(), 1);
    let mean = gigabytes_a_second(cost.total, ROUNDS);
    let _ = writeln!(
        std::io::stderr(),
        "speed: a cached file, 64 KiB at a time {way}: {best:.2} GB/s (mean {mean:.2})"
    );
    assert_eq!(cost.allocations, 0);
}

#[test]
fn a_cached_file_is_read_into_neighbouring_pages_without_allocation() {
    report("into one stretch", &read(&[PAGE; 16]));
}

#[test]
fn a_cached_file_is_read_into_scattered_pages_without_allocation() {
    // A byte less than a page: each begins with a gap before it.
    let rooms = [&[PAGE - 1; 16][..], &[16]].concat();
    report("into scattered pages", &read(&rooms));
}

/// Names in a folder, each of which is looked up for the first time.
const NAMES: usize = if cfg!(debug_assertions) { 100 } else { 4000 };

#[test]
fn every_name_that_is_looked_up_comes_with_its_attributes() {
    let mut client = Client::new();
    for name in 0..NAMES {
        fs::write(client.path().join(format!("file{name}")), "").unwrap();
    }
    let cpu = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let folder = fs::File::open(client.path()).unwrap();
    let mut bare = Duration::ZERO;
    let mut whole = Duration::ZERO;
    for name in 0..NAMES {
        let name = format!("file{name}\0");
        let (_, message) = client.message(opcode::LOOKUP, ROOT, name.as_bytes());
        let name = name.trim_end_matches('\0');
        // Both find it cached.
        rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        client.driver.add(REQUESTS, &[&message], &[16, 128]);
        let begin = cpu();
        client.driver.kick(REQUESTS).unwrap();
        whole += cpu() - begin;
        let used = client.driver.pop_used(REQUESTS).unwrap();
        assert_eq!(used.data.len(), 16 + 128);
        let begin = cpu();
        rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        bare += cpu() - begin;
    }
    let each = |time: Duration| time.as_secs_f64() * 1e6 / NAMES as f64;
    let _ = writeln!(
        std::io::stderr(),
        "speed: LOOKUP of a name, its attributes cached: {:.2} us\nspeed: fstatat(2) of the same name: {:.2} us",
        each(whole),
        each(bare)
    );
}

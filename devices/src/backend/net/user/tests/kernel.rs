//! This kernel's own TCP as the guest's, on a link that loses packets.
//!
//! A TAP is the guest's card: what the kernel sends through it goes to the network, and the other
//! way round. Needs root, `/dev/net/tun`, `ip` and a network of its own:
//! `unshare -n cargo test -p devices tests::kernel -- --ignored`.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::guest::{MAC, OFFLOADS, forward};
use crate::backend::net::spec::{TapSource, TapSpec, VhostChoice};
use crate::backend::net::tap::Tap;
use crate::backend::net::user::UserNet;
use crate::backend::net::{F_CSUM, F_HOST_TSO4, Forward, NetBackend, UserSpec};
use crate::virtio::queue::Reader;
use crate::virtio::testing::FakeRegistry;

const STREAMS: usize = 8;
/// Nothing takes longer, however much is lost.
const LIMIT: Duration = Duration::from_secs(120);

/// Which packets are lost: reproducible, one of `one_in`.
struct Loss {
    one_in: u32,
    state: u32,
}

impl Loss {
    fn strikes(&mut self) -> bool {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 17;
        self.state ^= self.state << 5;
        self.one_in != 0 && self.state.is_multiple_of(self.one_in)
    }
}

fn ip(arguments: &str) {
    let arguments: Vec<_> = arguments.split(' ').collect();
    let done = Command::new("ip").args(&arguments).status().unwrap();
    assert!(done.success(), "ip {arguments:?}");
}

/// The kernel, plugged into a network whose link loses one packet of `one_in`, until dropped.
struct Kernel {
    over: Arc<AtomicBool>,
    bridge: Option<JoinHandle<(usize, usize)>>,
}

impl Kernel {
    fn start(name: &str, mtu: Option<u16>, one_in: u32, forwards: &[Forward]) -> Self {
        let spec = UserSpec {
            forwards: forwards.to_vec(),
            ..UserSpec::default()
        };
        let net = UserNet::new(MAC, mtu, &spec).unwrap();
        let spec = TapSpec {
            source: TapSource::Name(name.to_owned()),
            queues: None,
            most_queues: 1,
            bridge: None,
            vhost: VhostChoice::Off,
        };
        let tap = Tap::open(&spec, mtu).unwrap().remove(0);
        let [a, b, c, d, e, f] = MAC;
        ip("link set lo up");
        ip(&format!(
            "link set {name} address {a:x}:{b:x}:{c:x}:{d:x}:{e:x}:{f:x} up"
        ));
        ip(&format!("addr add 10.0.2.15/24 dev {name}"));
        let over = Arc::new(AtomicBool::new(false));
        let ended = over.clone();
        let bridge = thread::spawn(move || bridge(tap, net, one_in, &ended));
        Self {
            over,
            bridge: Some(bridge),
        }
    }

    /// Ends it: how many flows are left, and how many packets were lost.
    fn end(mut self) -> (usize, usize) {
        self.over.store(true, Ordering::Relaxed);
        self.bridge.take().unwrap().join().unwrap()
    }
}

/// Carries packets both ways until `over` is set and the flows are, or [`LIMIT`].
fn bridge(mut tap: Tap, mut net: UserNet, one_in: u32, over: &AtomicBool) -> (usize, usize) {
    let (mut taps, mut nets) = (FakeRegistry::default(), FakeRegistry::default());
    tap.start(F_CSUM | F_HOST_TSO4 | OFFLOADS, &mut taps)
        .unwrap();
    net.start(OFFLOADS, &mut nets).unwrap();
    let mut loss = Loss {
        one_in,
        state: 0x9e37_79b9,
    };
    let (mut lost, start) = (0, Instant::now());
    let mut ended = None;
    loop {
        let mut moved = false;
        for _ in 0..64 {
            let Some(packet) = tap.receive(&mut taps) else {
                break;
            };
            moved = true;
            let (header, mut frame) = (packet.header, packet.frame.to_vec());
            tap.received();
            if loss.strikes() {
                lost += 1;
                continue;
            }
            let mut reader = Reader::from(frame.as_mut_slice());
            net.send(header, &mut reader, &mut nets);
        }
        net.flush(&mut nets);
        for _ in 0..64 {
            let Some(packet) = net.receive(&mut nets) else {
                break;
            };
            moved = true;
            let (header, mut frame) = (packet.header, packet.frame.to_vec());
            packet.body.iter().for_each(|part| frame.extend(*part));
            net.received();
            if loss.strikes() {
                lost += 1;
                continue;
            }
            let mut reader = Reader::from(frame.as_mut_slice());
            tap.send(header, &mut reader, &mut taps);
        }
        let wait = Duration::from_millis(u64::from(!moved));
        for token in nets.ready(Duration::ZERO) {
            net.event(token, &mut nets);
        }
        for token in taps.ready(wait) {
            tap.event(token, &mut taps);
        }
        if ended.is_none() && over.load(Ordering::Relaxed) {
            ended = Some(Instant::now());
        }
        let patience = ended.is_some_and(|at| at.elapsed() > LIMIT / 4) || start.elapsed() > LIMIT;
        if patience || ended.is_some() && net.flows().0 == 0 {
            return (net.flows().0, lost);
        }
    }
}

/// What stream `stream` carries at `offset`.
fn pattern(stream: usize, offset: usize) -> u8 {
    let x = (offset as u64 / 8 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ stream as u64);
    (x >> (8 * (offset % 8))) as u8
}

fn send(mut socket: TcpStream, stream: usize, size: usize) {
    let mut offset = 0;
    while offset < size {
        let len = (size - offset).min(100_000 + stream);
        let data: Vec<u8> = (offset..offset + len)
            .map(|at| pattern(stream, at))
            .collect();
        socket.write_all(&data).unwrap();
        offset += len;
    }
    socket.shutdown(Shutdown::Write).unwrap();
    // The other side closes when it has all.
    assert_eq!(socket.read(&mut [0]).unwrap(), 0);
}

fn receive(mut socket: TcpStream, stream: usize, size: usize, slow: bool) {
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let mut buffer = vec![0; 1 << 16];
    let mut offset = 0;
    if slow {
        thread::sleep(Duration::from_millis(1500));
    }
    loop {
        let n = socket.read(&mut buffer).unwrap();
        if n == 0 {
            break;
        }
        let wrong = (0..n).find(|&i| buffer[i] != pattern(stream, offset + i));
        assert_eq!(wrong, None, "stream {stream} differs behind byte {offset}");
        offset += n;
    }
    assert_eq!(offset, size, "stream {stream}");
}

/// Eight streams from clients of a forward to the guest, or the other way round, with all of their
/// bytes.
fn transfer(name: &str, mtu: Option<u16>, one_in: u32, to_guest: bool, slow: bool) {
    let size = if one_in == 0 { 8 << 20 } else { 1 << 19 };
    let forward = forward("tcp", 5002);
    let kernel = Kernel::start(name, mtu, one_in, &[forward]);
    let listener = TcpListener::bind("10.0.2.15:5002").unwrap();
    let mut workers = Vec::new();
    for stream in 0..STREAMS {
        let client = TcpStream::connect(forward.host).unwrap();
        let (guest, _) = listener.accept().unwrap();
        let (sender, receiver) = if to_guest {
            (client, guest)
        } else {
            (guest, client)
        };
        workers.push(thread::spawn(move || send(sender, stream, size)));
        workers.push(thread::spawn(move || {
            receive(receiver, stream, size, slow);
        }));
    }
    for worker in workers {
        worker.join().unwrap();
    }
    let (left, lost) = kernel.end();
    assert_eq!(left, 0, "flows are left");
    assert_eq!(lost > 0, one_in > 0);
}

#[test]
#[ignore = "needs root and a network of its own"]
fn streams_arrive_whole_whatever_the_link_loses() {
    let mut number = 0;
    for mtu in [None, Some(65520)] {
        for one_in in [0, 200, 20] {
            for to_guest in [false, true] {
                for slow in [false, true] {
                    let name = format!("pcpk{number}");
                    transfer(&name, mtu, one_in, to_guest, slow);
                    number += 1;
                }
            }
        }
    }
}

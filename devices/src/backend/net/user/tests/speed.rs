//! What a frame of 4 KiB costs on its way through the card's queues and the network: time and
//! allocations. The host's end is a thread with a real socket; what the same bytes cost in and out of
//! a socket without any network of ours is measured beside it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::guest::MAC;
use crate::backend::net::user::addresses::OUR_MAC;
use crate::backend::net::user::wire::{put, put_ipv4};
use crate::backend::net::user::{GATEWAY, GUEST};
use crate::backend::net::{
    F_GUEST_TSO4, F_GUEST_TSO6, HEADER_LEN, NetBackendSpec, NetSpec, UserSpec,
};
use crate::virtio::net::Net;
use crate::virtio::testing::Driver;

const RX: u16 = 0;
const TX: u16 = 1;
const PAYLOAD: usize = 4096;
/// Before a segment's payload: the packet's header, Ethernet, IPv4, TCP.
const HEADERS: usize = HEADER_LEN + 14 + 20 + 20;
/// Frames that the driver hands over or takes at a time.
const BURST: usize = 32;
const WARM_UP: usize = 100;
const ROUNDS: usize = if cfg!(debug_assertions) { 50 } else { 2000 };

/// Frames over which time is taken.
const CHUNK: usize = 1024;

const SYN: u8 = 2;
const ACK: u8 = 16;

/// A guest's connection, its frames made by hand.
struct Connection {
    driver: Driver<Net>,
    port: u16,
    seq: u32,
    /// What the network acknowledged.
    acked: u32,
    /// What the network is told that we have.
    received: u32,
    /// How much the network takes before it acknowledges, and the scale in which it says so.
    window: usize,
    scale: u8,
    /// What a burst of calls into the card cost.
    cost: Cost,
}

#[derive(Default)]
struct Cost {
    time: Duration,
    /// How many allocations there were, and of how many bytes.
    allocations: u64,
    bytes: u64,
    frames: usize,
    /// Nanoseconds for a frame, of each chunk.
    chunks: Vec<f64>,
    /// Time and frames when the chunk at hand began.
    mark: (Duration, usize),
}

impl Cost {
    /// Counts what `work` costs this thread.
    fn of<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let mut result = None;
        let begin = processor_time();
        let counted = allocation_counter::measure(|| result = Some(work()));
        self.time += processor_time() - begin;
        self.allocations += counted.count_total;
        self.bytes += counted.bytes_total;
        result.unwrap()
    }

    /// Ends a round of `frames`.
    fn round(&mut self, frames: usize) {
        self.frames += frames;
        let (time, count) = (self.time - self.mark.0, self.frames - self.mark.1);
        if count >= CHUNK {
            self.chunks.push(nanoseconds(time, count));
            self.mark = (self.time, self.frames);
        }
    }

    fn report(&mut self, what: &str) {
        self.chunks.sort_by(f64::total_cmp);
        let mean = nanoseconds(self.time, self.frames);
        let at = |part: usize| self.chunks[self.chunks.len() * part / 10];
        let (median, low, high) = (at(5), at(1), at(9));
        let _ = writeln!(
            std::io::stderr(),
            "speed: {what}: {median:.0} ns (10 % {low:.0}, 90 % {high:.0}, mean {mean:.0})"
        );
        assert_eq!((self.allocations, self.bytes), (0, 0));
    }
}

impl Connection {
    fn to(server: SocketAddr) -> Self {
        let spec = NetSpec {
            mac: MAC,
            mtu: Some((PAYLOAD + 40) as u16),
            backend: NetBackendSpec::User(UserSpec::default()),
        };
        // Each frame by itself: segmentation offload would make one of sixteen.
        let wanted = !(F_GUEST_TSO4 | F_GUEST_TSO6);
        let driver = Driver::with_features(Net::new(&spec).unwrap(), wanted);
        let mut connection = Self {
            driver,
            port: server.port(),
            seq: 1000,
            acked: 1000,
            received: 0,
            window: 0,
            scale: 0,
            cost: Cost::default(),
        };
        connection.refill();
        connection.send(SYN, &[]);
        connection.seq += 1;
        while connection.acked != connection.seq {
            connection.wait();
            connection.take();
        }
        connection.send(ACK, &[]);
        connection.kick(TX);
        connection
    }

    fn refill(&mut self) {
        for _ in 0..2 * BURST {
            self.driver.add(RX, &[], &[(HEADERS + PAYLOAD) as u32]);
        }
    }

    /// Puts a segment into the queue.
    fn send(&mut self, flags: u8, payload: &[u8]) {
        let mut frame = [0; HEADERS];
        let at = HEADER_LEN;
        put(&mut frame, at, &OUR_MAC);
        put(&mut frame, at + 6, &MAC);
        put(&mut frame, at + 12, &[8, 0]);
        let length = u16::try_from(40 + payload.len()).unwrap();
        put_ipv4(&mut frame[at + 14..], 6, GUEST, GATEWAY, length);
        let tcp = at + 34;
        put(&mut frame, tcp, &5000_u16.to_be_bytes());
        put(&mut frame, tcp + 2, &self.port.to_be_bytes());
        put(&mut frame, tcp + 4, &self.seq.to_be_bytes());
        put(&mut frame, tcp + 8, &self.received.to_be_bytes());
        put(&mut frame, tcp + 12, &[5 << 4, flags, 0xff, 0xff]);
        if flags & SYN == 0 {
            self.driver.add(TX, &[&frame, payload], &[]);
            self.seq = self.seq.wrapping_add(payload.len() as u32);
            return;
        }
        // The largest segment, and a scale of 4 for the window.
        let options = [2, 4, (PAYLOAD >> 8) as u8, 0, 1, 3, 3, 4];
        frame[tcp + 12] = 7 << 4;
        put_ipv4(&mut frame[at + 14..], 6, GUEST, GATEWAY, 48);
        self.driver.add(TX, &[&frame, &options], &[]);
        self.kick(TX);
    }

    /// Rings a doorbell; counts what that costs.
    fn kick(&mut self, queue: u16) {
        let driver = &mut self.driver;
        self.cost.of(|| driver.kick(queue).unwrap());
        while self.driver.pop_used(TX).is_some() {}
    }

    /// Waits for the host's socket; counts what the card's part costs.
    fn wait(&mut self) {
        for token in self.driver.events.ready(Duration::from_millis(100)) {
            let driver = &mut self.driver;
            self.cost.of(|| driver.event(token).unwrap());
        }
    }

    /// Takes what came; how many frames with data.
    fn take(&mut self) -> usize {
        let (mut frames, mut used) = (0, 0);
        while let Some(packet) = self.driver.pop_used(RX) {
            used += 1;
            let data = &packet.data;
            if data.len() < HEADERS || data[HEADER_LEN + 12..HEADER_LEN + 14] != [8, 0] {
                continue;
            }
            let tcp = HEADER_LEN + 34;
            let word = |at: usize| u32::from_be_bytes(data[at..at + 4].try_into().unwrap());
            let header = usize::from(data[tcp + 12] >> 4) * 4;
            let len = data.len() - tcp - header;
            let syn = data[tcp + 13] & SYN != 0;
            self.acked = word(tcp + 8);
            if syn {
                self.scale = window_scale(&data[tcp + 20..tcp + header]);
            }
            let window = u16::from_be_bytes([data[tcp + 14], data[tcp + 15]]);
            self.window = usize::from(window) << if syn { 0 } else { self.scale };
            let len32 = u32::try_from(len).unwrap() + u32::from(syn);
            self.received = word(tcp + 4).wrapping_add(len32);
            frames += usize::from(len > 0);
        }
        for _ in 0..used {
            self.driver.add(RX, &[], &[(HEADERS + PAYLOAD) as u32]);
        }
        frames
    }

    /// How much may be sent now.
    fn room(&self) -> usize {
        let flying = self.seq.wrapping_sub(self.acked) as usize;
        self.window.saturating_sub(flying)
    }

    /// Forgets what was counted, after the warm-up.
    fn begin(&mut self) {
        self.cost = Cost::default();
    }

    /// Sends bursts of data as far as there is room for one.
    fn send_bursts(&mut self, payload: &[u8]) {
        while self.room() >= BURST * PAYLOAD {
            for _ in 0..BURST {
                self.send(ACK, payload);
            }
            self.kick(TX);
            self.take();
        }
    }
}

/// The scale in a SYN's options (RFC 7323, section 2.2).
fn window_scale(mut options: &[u8]) -> u8 {
    loop {
        match options {
            [1, rest @ ..] => options = rest,
            [3, 3, scale, ..] => return *scale,
            [_, len, ..] if *len > 1 => options = &options[usize::from(*len)..],
            _ => return 0,
        }
    }
}

/// What this thread used: others on the same processor do not count.
fn processor_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

fn nanoseconds(time: Duration, frames: usize) -> f64 {
    time.as_secs_f64() * 1e9 / f64::from(u32::try_from(frames).unwrap())
}

#[test]
fn frames_from_the_guest_cost_no_allocation_and_little_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut connection = Connection::to(listener.local_addr().unwrap());
    let (mut server, _) = listener.accept().unwrap();
    let (go, wait) = mpsc::channel();
    let sink = thread::spawn(move || {
        server.write_all(&[7]).unwrap();
        wait.recv().unwrap();
        let mut buffer = vec![0; 1 << 20];
        let mut sum = 0;
        while let Ok(n @ 1..) = server.read(&mut buffer) {
            sum += n;
        }
        sum
    });
    let payload = [7; PAYLOAD];
    while connection.take() == 0 {
        connection.wait();
    }
    // What waits on either side has all the memory that it may have.
    connection.send_bursts(&payload);
    go.send(()).unwrap();
    for round in 0..WARM_UP + ROUNDS {
        if round == WARM_UP {
            connection.begin();
        }
        while connection.room() < BURST * PAYLOAD {
            connection.wait();
            connection.take();
        }
        for _ in 0..BURST {
            connection.send(ACK, &payload);
        }
        connection.kick(TX);
        connection.take();
        connection.cost.round(BURST);
    }
    connection.cost.report("a frame of 4 KiB from the guest");
    drop(connection);
    let sum = sink.join().unwrap();
    assert!(
        sum + (256 << 10) > (WARM_UP + ROUNDS) * BURST * PAYLOAD,
        "{sum}"
    );
}

#[test]
fn frames_to_the_guest_cost_no_allocation_and_little_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut connection = Connection::to(listener.local_addr().unwrap());
    let (server, _) = listener.accept().unwrap();
    let source = thread::spawn(move || {
        let data = vec![7; 1 << 20];
        let mut server: TcpStream = server;
        while server.write_all(&data).is_ok() {}
    });
    let mut frames = 0;
    let mut round = 0;
    while connection.cost.frames < ROUNDS * BURST || round <= WARM_UP {
        if round == WARM_UP {
            connection.begin();
        }
        connection.kick(RX);
        let mut n = connection.take();
        if n == 0 {
            connection.wait();
            n = connection.take();
        }
        connection.send(ACK, &[]);
        connection.kick(TX);
        frames += n;
        connection.cost.round(n);
        round += 1;
    }
    assert!(frames > 0);
    connection.cost.report("a frame of 4 KiB to the guest");
    connection.driver.device = Net::new(&NetSpec {
        mac: MAC,
        mtu: None,
        backend: NetBackendSpec::User(UserSpec::default()),
    })
    .unwrap();
    drop(connection);
    source.join().unwrap();
}

/// What the network asks the host for at once at most.
const TO_GUEST: usize = 256 << 10;
/// What a burst of the guest's amounts to.
const FROM_GUEST: usize = BURST * PAYLOAD;

#[test]
fn the_same_bytes_out_of_a_socket_by_themselves() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let source = thread::spawn(move || {
        let data = vec![7; 1 << 20];
        while server.write_all(&data).is_ok() {}
    });
    let mut cost = Cost::default();
    let mut buffer = vec![0; TO_GUEST];
    while cost.frames < ROUNDS * BURST {
        // As for the network's, the time for which a thread sleeps does not count.
        let n = cost.of(|| client.read(&mut buffer).unwrap());
        cost.round(n / PAYLOAD);
    }
    cost.report("4 KiB out of a socket");
    drop(client);
    source.join().unwrap();
}

#[test]
fn the_same_bytes_into_a_socket_by_themselves() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let sink = thread::spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        while server.read(&mut buffer).unwrap() > 0 {}
    });
    let data = vec![7; FROM_GUEST];
    let mut cost = Cost::default();
    for _ in 0..ROUNDS {
        cost.of(|| client.write_all(&data).unwrap());
        cost.round(BURST);
    }
    cost.report("4 KiB into a socket");
    drop(client);
    sink.join().unwrap();
}

//! Consoles over true sockets, their pump on an event loop of its own thread.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::*;
use crate::event_loop::{EventLoop, Pollable};
use crate::lock;
use crate::virtio::device::{Registry, Token};

const LONG: Duration = Duration::from_secs(20);

/// A pump whose events are counted.
struct Counted(ConsolePump, Arc<AtomicU64>);

impl Pollable for Counted {
    fn register(&mut self, events: &mut dyn Registry) -> io::Result<()> {
        self.0.register(events)
    }

    fn ready(&mut self, events: &mut dyn Registry, token: Token) {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.ready(events, token);
    }
}

/// A console whose pump runs on a loop of its own until dropped.
struct Running {
    console: ConsoleHandle,
    address: Option<SocketAddr>,
    turns: Arc<AtomicU64>,
    events: EventLoop,
}

impl Running {
    fn start(spec: &ConsoleSpec) -> Self {
        let (console, pump) = Console::open("serial", spec).unwrap();
        Self::run(console, pump)
    }

    fn run(console: ConsoleHandle, pump: ConsolePump) -> Self {
        let address = pump.local_addr();
        let turns = Arc::new(AtomicU64::new(0));
        let events = EventLoop::spawn("io").unwrap();
        let counted = Counted(pump, Arc::clone(&turns));
        events.handle().add(Box::new(counted)).unwrap();
        Self {
            console,
            address,
            turns,
            events,
        }
    }

    fn tcp() -> Self {
        Self::start(&"tcp=127.0.0.1:0".parse().unwrap())
    }

    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.address.unwrap()).unwrap();
        client.set_read_timeout(Some(LONG)).unwrap();
        client
    }

    fn stop(&mut self) {
        self.events.stop();
    }

    fn wait_for_input(&self, len: usize) -> Vec<u8> {
        let deadline = Instant::now() + LONG;
        let mut input = Vec::new();
        while input.len() < len && Instant::now() < deadline {
            let mut data = [0; 4096];
            let n = self.console.read(&mut data);
            input.extend_from_slice(&data[..n]);
            if n == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        input
    }
}

fn read_exact(client: &mut impl Read, len: usize) -> Vec<u8> {
    let mut data = vec![0; len];
    client.read_exact(&mut data).unwrap();
    data
}

fn pattern(range: std::ops::Range<usize>) -> Vec<u8> {
    range
        .map(|i| (i.wrapping_mul(2654435761) >> 13) as u8)
        .collect()
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_late_client_sees_the_output_from_its_first_byte() {
    let running = Running::tcp();
    running.console.write(b"Linux version 6.12\r\n");
    running.console.write(&pattern(0..900_000));
    let mut client = running.connect();
    assert_eq!(read_exact(&mut client, 20), b"Linux version 6.12\r\n");
    assert!(read_exact(&mut client, 900_000) == pattern(0..900_000));
    running.console.write(b"login: ");
    assert_eq!(read_exact(&mut client, 7), b"login: ");
}

#[test]
fn the_port_takes_connections_before_the_pump_runs() {
    let (console, pump) = Console::open("serial", &"tcp=127.0.0.1:0".parse().unwrap()).unwrap();
    let mut client = TcpStream::connect(pump.local_addr().unwrap()).unwrap();
    client.write_all(b"early").unwrap();
    drop((console, pump));
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest);
    assert!(rest.is_empty());
}

#[test]
fn two_clients_both_read_and_both_write() {
    let running = Running::tcp();
    let (mut one, mut two) = (running.connect(), running.connect());
    running.console.write(b"hello");
    assert_eq!(read_exact(&mut one, 5), b"hello");
    assert_eq!(read_exact(&mut two, 5), b"hello");
    one.write_all(b"a").unwrap();
    assert_eq!(running.wait_for_input(1), b"a");
    two.write_all(b"b").unwrap();
    assert_eq!(running.wait_for_input(1), b"b");
}

/// Reads `client` to the end on a thread, counting.
fn reader(mut client: TcpStream) -> (JoinHandle<Vec<u8>>, Arc<AtomicU64>) {
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    let thread = std::thread::spawn(move || {
        let mut found = Vec::new();
        let mut data = vec![0; 1 << 16];
        loop {
            let n = client.read(&mut data).unwrap();
            found.extend_from_slice(&data[..n]);
            counted.store(found.len() as u64, Ordering::SeqCst);
            if n == 0 {
                return found;
            }
        }
    });
    (thread, count)
}

#[test]
fn a_client_that_keeps_up_loses_nothing() {
    let mut running = Running::tcp();
    let (thread, count) = reader(running.connect());
    let data = pattern(0..8 << 20);
    for bytes in data.chunks(61) {
        running.console.write(bytes);
        let written = running.console.output_len();
        while written - count.load(Ordering::SeqCst) > 1 << 19 {
            std::thread::yield_now();
        }
    }
    until("all is read", || {
        count.load(Ordering::SeqCst) == running.console.output_len()
    });
    running.stop();
    assert!(thread.join().unwrap() == data);
}

#[test]
fn byte_by_byte_output_costs_few_wake_ups() {
    let running = Running::tcp();
    let mut client = running.connect();
    running.console.write(b".");
    read_exact(&mut client, 1);
    let before = running.turns.load(Ordering::Relaxed);
    let start = Instant::now();
    for byte in pattern(0..100_000) {
        running.console.write(&[byte]);
    }
    assert!(read_exact(&mut client, 100_000) == pattern(0..100_000));
    let turns = running.turns.load(Ordering::Relaxed) - before;
    let allowed = 20 + start.elapsed().as_millis() as u64 * 2;
    assert!(turns < allowed, "{turns} turns, {allowed} allowed");
}

#[test]
fn an_idle_console_stays_asleep() {
    let running = Running::tcp();
    let mut half_closed = running.connect();
    let mut client = running.connect();
    half_closed.shutdown(Shutdown::Write).unwrap();
    running.console.write(b"x");
    read_exact(&mut client, 1);
    read_exact(&mut half_closed, 1);
    until("sleep", || {
        let before = running.turns.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(100));
        running.turns.load(Ordering::Relaxed) == before
    });
}

#[test]
fn output_with_nobody_connected_is_bounded_and_never_waits() {
    let running = Running::tcp();
    let block = pattern(0..1 << 16);
    let start = Instant::now();
    for _ in 0..1600 {
        running.console.write(&block);
    }
    assert!(start.elapsed() < LONG);
    assert_eq!(running.console.output_len(), 100 << 20);
    assert_eq!(running.turns.load(Ordering::Relaxed), 0);
    assert!(running.console.tail(1 << 16) == block);
    let kept = running.console.tail(usize::MAX).len();
    assert!((1 << 20..=(1 << 20) + (1 << 16)).contains(&kept), "{kept}");
}

#[test]
fn a_slow_client_is_told_what_it_lost_and_holds_nobody_up() {
    let mut running = Running::tcp();
    let mut slow = running.connect();
    rustix::net::sockopt::set_socket_recv_buffer_size(&slow, 1 << 16).unwrap();
    let (quick, count) = reader(running.connect());
    running.console.write(b"first");
    assert_eq!(read_exact(&mut slow, 5), b"first");
    let block = pattern(0..1 << 15);
    for _ in 0..1024 {
        running.console.write(&block);
        let written = running.console.output_len();
        while written - count.load(Ordering::SeqCst) > 1 << 19 {
            std::thread::yield_now();
        }
    }
    let (slow, slow_count) = reader(slow);
    until("the slow client has caught up", || {
        let before = slow_count.load(Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(50));
        before > 1 << 20 && slow_count.load(Ordering::SeqCst) == before
    });
    running.console.write(b"last");
    running.stop();
    assert_eq!(quick.join().unwrap().len(), 5 + (32 << 20) + 4);
    let found = slow.join().unwrap();
    assert!(found.len() < 32 << 20);
    let notice = found
        .windows(24)
        .any(|w| w == b" bytes of output lost]\r\n");
    assert!(notice);
    assert!(found.ends_with(b"last"));
}

#[test]
fn ten_thousand_connections_that_drop_at_once_do_no_harm() {
    let running = Running::tcp();
    running.console.write(b"boot\r\n");
    let mut steady = running.connect();
    assert_eq!(read_exact(&mut steady, 6), b"boot\r\n");
    for i in 0..10_000 {
        let client = running.connect();
        if i % 3 == 0 {
            let _ = (&client).write_all(b"x");
        }
        if i % 2 == 0 {
            rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
        }
    }
    steady.write_all(b"steady").unwrap();
    let typed = running.wait_for_input(6);
    assert!(typed.len() >= 6);
    running.console.write(b"alive");
    assert_eq!(read_exact(&mut steady, 5), b"alive");
    let mut late = running.connect();
    assert_eq!(read_exact(&mut late, 11), b"boot\r\nalive");
}

#[test]
fn more_clients_than_places_are_told_so() {
    let running = Running::tcp();
    running.console.write(b"x");
    let mut clients: Vec<_> = (0..64).map(|_| running.connect()).collect();
    for client in &mut clients {
        read_exact(client, 1);
    }
    let mut text = String::new();
    running.connect().read_to_string(&mut text).unwrap();
    assert!(text.contains("too many clients"), "{text}");
    clients.pop();
    clients.pop();
    until("a place becomes free", || {
        read_exact(&mut running.connect(), 1) == b"x"
    });
}

#[test]
fn a_client_that_only_closed_its_sending_half_reads_on() {
    let running = Running::tcp();
    let mut client = running.connect();
    client.write_all(b"uname -r\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(running.wait_for_input(9), b"uname -r\n");
    running.console.write(b"6.12");
    assert_eq!(read_exact(&mut client, 4), b"6.12");
}

#[test]
fn input_that_the_guest_does_not_take_waits_in_the_clients_socket() {
    let running = Running::tcp();
    let client = running.connect();
    let data = pattern(0..1 << 20);
    let sent = data.clone();
    let mut writing = client.try_clone().unwrap();
    let writer = std::thread::spawn(move || writing.write_all(&sent).unwrap());
    std::thread::sleep(Duration::from_millis(100));
    assert!(running.wait_for_input(data.len()) == data);
    writer.join().unwrap();
}

#[test]
fn the_input_waker_is_called_for_what_is_there_and_for_what_comes() {
    let running = Running::tcp();
    let mut client = running.connect();
    client.write_all(b"1").unwrap();
    let calls = Arc::new(AtomicU64::new(0));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (count, all, console) = (calls.clone(), seen.clone(), running.console.clone());
    running.console.set_input_waker(Box::new(move || {
        let mut data = [0; 16];
        let n = console.read(&mut data);
        lock(&all).extend_from_slice(&data[..n]);
        count.fetch_add(1, Ordering::SeqCst);
    }));
    until("the first byte", || *lock(&seen) == b"1");
    client.write_all(b"2").unwrap();
    until("the second byte", || *lock(&seen) == b"12");
    assert!(calls.load(Ordering::SeqCst) >= 2);
}

#[test]
fn a_watcher_sees_all_output_in_order() {
    let running = Running::start(&ConsoleSpec::None);
    running.console.write(b"early ");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&seen);
    running
        .console
        .watch_output(Box::new(move |data| lock(&all).extend_from_slice(data)));
    running.console.write(b"late");
    until("the watcher", || *lock(&seen) == b"early late");
}

#[test]
fn the_last_output_reaches_a_client_when_the_machine_ends() {
    let mut running = Running::tcp();
    let mut client = running.connect();
    running.console.write(b"boot ");
    assert_eq!(read_exact(&mut client, 5), b"boot ");
    client.write_all(b"unread").unwrap();
    running.console.write(&pattern(0..100_000));
    let reader = std::thread::spawn(move || {
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).unwrap();
        rest
    });
    running.stop();
    assert!(reader.join().unwrap() == pattern(0..100_000));
}

#[test]
fn a_taken_port_names_port_and_owner() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = Console::open("serial", &ConsoleSpec::Tcp(address)).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&address.to_string()), "{text}");
    let pid = format!("(pid {})", std::process::id());
    assert!(text.contains(&pid), "{text}");
}

#[test]
fn a_file_holds_all_output_even_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("console.log");
    std::fs::write(&path, "old").unwrap();
    let mut running = Running::start(&ConsoleSpec::File(path.clone()));
    for block in pattern(0..3 << 20).chunks(1 << 16) {
        running.console.write(block);
        until("the file grows", || {
            let behind = running.console.output_len() - path.metadata().unwrap().len();
            behind <= 1 << 19
        });
    }
    running.console.write(b"end");
    running.stop();
    let mut expected = pattern(0..3 << 20);
    expected.extend_from_slice(b"end");
    assert!(std::fs::read(&path).unwrap() == expected);
}

#[test]
fn a_full_disk_does_not_stop_or_spin_the_console() {
    let full = std::fs::File::options().write(true).open("/dev/full");
    let client = Client::new(OwnedFd::from(full.unwrap()), Kind::File);
    let console = ConsoleHandle::new("serial").unwrap();
    let pump = ConsolePump::new(console.clone(), None, vec![client], None).unwrap();
    let running = Running::run(console, pump);
    for _ in 0..32 {
        running.console.write(&pattern(0..1 << 15));
    }
    until("the pump tries", || {
        running.turns.load(Ordering::Relaxed) > 0
    });
    std::thread::sleep(Duration::from_millis(50));
    let before = running.turns.load(Ordering::Relaxed);
    running.console.write(b"more");
    std::thread::sleep(Duration::from_millis(50));
    assert!(running.turns.load(Ordering::Relaxed) - before <= 1);
    assert_eq!(running.console.output_len(), (1 << 20) + 4);
}

#[test]
fn a_unix_console_serves_its_owner_and_removes_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hvc0");
    let spec = ConsoleSpec::Unix(path.clone());
    let mut running = Running::start(&spec);
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
    assert_eq!(mode & 0o077, 0);
    assert!(Console::open("second", &spec).is_err());
    running.console.write(b"hello");
    let mut client = UnixStream::connect(&path).unwrap();
    assert_eq!(read_exact(&mut client, 5), b"hello");
    client.write_all(b"hi").unwrap();
    assert_eq!(running.wait_for_input(2), b"hi");
    running.stop();
    assert!(!path.exists());
}

#[test]
fn an_abandoned_unix_socket_is_replaced_and_other_files_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hvc0");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let spec = ConsoleSpec::Unix(path.clone());
    drop(Console::open("serial", &spec).unwrap());
    std::fs::write(&path, "mine").unwrap();
    let error = Console::open("serial", &spec).unwrap_err();
    assert!(error.to_string().contains("hvc0"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
}

#[test]
fn what_an_attached_client_has_typed_waits_for_room_in_order() {
    let mut running = Running::start(&ConsoleSpec::None);
    let mut clients = Vec::new();
    for _ in 0..20 {
        let (ours, theirs) = UnixStream::pair().unwrap();
        running.console.attach(theirs.into(), 0, vec![b'a'; 8000]);
        clients.push(ours);
    }
    for client in &mut clients {
        client.write_all(b"bcd").unwrap();
    }
    std::thread::sleep(Duration::from_millis(50));
    // A guest that reads nothing is not typed ahead of without end.
    let mut data = vec![0; 1 << 20];
    let first = running.console.read(&mut data);
    assert!(first <= 16 * 1024, "{first}");
    let total = 20 * 8003;
    let rest = running.wait_for_input(total - first);
    let counted = |byte| {
        let all = data[..first].iter().chain(&rest);
        all.filter(|&&it| it == byte).count()
    };
    assert_eq!(counted(b'a'), 20 * 8000);
    assert_eq!([b'b', b'c', b'd'].map(counted), [20; 3]);
    running.stop();
}

#[test]
fn who_finds_no_room_for_input_is_woken_whoever_asks_after_him() {
    let (console, _pump) = Console::open("serial", &ConsoleSpec::None).unwrap();
    let woken = || {
        let read = rustix::io::read(console.wake_fd(), &mut [0; 8]);
        read.is_ok()
    };
    console.put_input(&vec![b'x'; console.input_room()]);
    assert_eq!(console.input_room(), 0);
    assert_eq!(console.read(&mut [0; 1]), 1);
    assert_eq!(console.input_room(), 1);
    assert!(!woken());
    while console.has_input() {
        console.read(&mut [0; 512]);
    }
    assert!(woken());
    // Once is enough.
    console.put_input(b"y");
    assert_eq!(console.read(&mut [0; 1]), 1);
    assert!(!woken());
}

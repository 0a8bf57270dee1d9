//! A socket device between a guest that the test plays and true Unix sockets.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use zerocopy::{FromBytes, IntoBytes};

use super::connection::BUFFER;
use super::packet::{HEADER_LEN, SHUTDOWN_RECEIVE, SHUTDOWN_SEND, TYPE_STREAM};
use super::*;
use crate::virtio::testing::Driver;

const CID: u64 = 3;
const SOON: Duration = Duration::from_secs(10);
const NOW: Duration = Duration::from_millis(20);
const ROOM: u32 = 4096;

struct Guest {
    driver: Driver<Vsock>,
    folder: TempDir,
    /// Receive buffers that the device has.
    offered: usize,
}

fn ends(guest_port: u32, host_port: u32) -> Ends {
    Ends {
        guest_port,
        host_port,
    }
}

impl Guest {
    fn new() -> Self {
        let mut guest = Self::without_buffers();
        guest.offer(64);
        guest
    }

    fn without_buffers() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("sock");
        let device = Vsock::new(3, &socket).unwrap();
        let driver = Driver::new(device);
        Self {
            driver,
            folder,
            offered: 0,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn listen(&self, port: u32) -> UnixListener {
        UnixListener::bind(self.path(&format!("sock_{port}"))).unwrap()
    }

    /// Makes receive buffers available.
    fn offer(&mut self, count: usize) {
        for _ in 0..count {
            self.driver.add(RECEIVE, &[], &[ROOM]);
        }
        self.offered += count;
        self.driver.kick(RECEIVE).unwrap();
    }

    fn send(&mut self, mut header: Header, data: &[u8]) {
        header.len = u32::try_from(data.len()).unwrap().into();
        self.send_as_is(header, data).unwrap();
    }

    fn send_as_is(&mut self, header: Header, data: &[u8]) -> Result<(), DeviceError> {
        let bytes = [header.as_bytes(), data].concat();
        self.driver.add(TRANSMIT, &[&bytes], &[]);
        let done = self.driver.kick(TRANSMIT);
        while self.driver.pop_used(TRANSMIT).is_some() {}
        done
    }

    fn say(&mut self, ends: Ends, op: Op) {
        self.send(Header::from_guest(CID, ends, op), &[]);
    }

    fn look(&mut self) -> Option<(Header, Vec<u8>)> {
        let used = self.driver.pop_used(RECEIVE)?;
        let (header, data) = Header::read_from_prefix(&used.data).unwrap();
        assert_eq!(header.len.get() as usize, data.len());
        assert_eq!((header.src_cid.get(), header.dst_cid.get()), (2, CID));
        let packet = (header, data.to_vec());
        self.offered -= 1;
        if self.offered == 0 {
            self.offer(64);
        }
        Some(packet)
    }

    /// The next packet, for which the host may take its time.
    fn receive(&mut self) -> (Header, Vec<u8>) {
        loop {
            if let Some(packet) = self.look() {
                return packet;
            }
            assert_ne!(self.driver.poll(SOON).unwrap(), 0, "no packet");
            self.driver.kick(RECEIVE).unwrap();
        }
    }

    fn expect(&mut self, ends: Ends, op: Op) -> Header {
        let (header, data) = self.receive();
        assert_eq!(header.op(), Some(op));
        assert_eq!((header.ends_to_guest(), data.len()), (ends, 0));
        header
    }

    fn expect_data(&mut self, len: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < len {
            let (header, data) = self.receive();
            assert_eq!(header.op(), Some(Op::Data));
            all.extend(data);
        }
        all
    }

    /// Nothing happens any more.
    fn is_quiet(&mut self) {
        for _ in 0..10 {
            if self.driver.poll(NOW).unwrap() == 0 {
                assert!(self.look().is_none());
                return;
            }
        }
        panic!("a descriptor is ready without end");
    }

    /// A connection that the guest opened.
    fn connect(&mut self, ends: Ends) -> UnixStream {
        let listener = self.listen(ends.host_port);
        self.say(ends, Op::Request);
        let answer = self.expect(ends, Op::Response);
        assert_eq!(answer.buf_alloc.get(), BUFFER);
        listener.accept().unwrap().0
    }

    /// A connection that a client opened.
    fn accept(&mut self, port: u32) -> (UnixStream, Ends) {
        let mut client = UnixStream::connect(self.path("sock")).unwrap();
        client.set_read_timeout(Some(SOON)).unwrap();
        writeln!(client, "CONNECT {port}").unwrap();
        let (request, _) = self.receive();
        assert_eq!(request.op(), Some(Op::Request));
        let ends = request.ends_to_guest();
        assert_eq!(ends.guest_port, port);
        self.say(ends, Op::Response);
        let greeting = format!("OK {}\n", ends.host_port);
        let mut line = vec![0; greeting.len()];
        client.read_exact(&mut line).unwrap();
        assert_eq!(line, greeting.as_bytes());
        (client, ends)
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 / 7) as u8).collect()
}

#[test]
fn a_client_of_the_host_talks_to_a_port_of_the_guest() {
    let mut guest = Guest::new();
    let (mut client, ends) = guest.accept(1024);
    client.write_all(b"hello guest").unwrap();
    assert_eq!(guest.expect_data(11), b"hello guest");
    guest.send(Header::from_guest(CID, ends, Op::Data), b"hello host");
    let mut heard = [0; 10];
    client.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello host");
    drop(client);
    let end = guest.expect(ends, Op::Shutdown);
    assert_eq!(end.flags.get(), SHUTDOWN_SEND);
    let mut bye = Header::from_guest(CID, ends, Op::Shutdown);
    bye.flags = (SHUTDOWN_SEND | SHUTDOWN_RECEIVE).into();
    guest.send(bye, &[]);
    guest.expect(ends, Op::Reset);
    guest.is_quiet();
    assert!(guest.driver.device.table.find(ends).is_none());
}

#[test]
fn a_guest_talks_to_what_listens_on_the_host() {
    let mut guest = Guest::new();
    let ends = ends(5000, 80);
    let mut server = guest.connect(ends);
    guest.send(Header::from_guest(CID, ends, Op::Data), b"GET");
    let mut heard = [0; 3];
    server.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"GET");
    server.write_all(b"200").unwrap();
    assert_eq!(guest.expect_data(3), b"200");
    let mut half = Header::from_guest(CID, ends, Op::Shutdown);
    half.flags = SHUTDOWN_SEND.into();
    guest.send(half, &[]);
    assert_eq!(server.read(&mut heard).unwrap(), 0);
    server.write_all(b"late").unwrap();
    assert_eq!(guest.expect_data(4), b"late");
    drop(server);
    guest.expect(ends, Op::Reset);
    guest.is_quiet();
}

#[test]
fn nobody_listens_means_a_reset() {
    let mut guest = Guest::new();
    guest.say(ends(1, 2), Op::Request);
    guest.expect(ends(1, 2), Op::Reset);
    let mut client = UnixStream::connect(guest.path("sock")).unwrap();
    writeln!(client, "CONNECT 7").unwrap();
    let (request, _) = guest.receive();
    guest.say(request.ends_to_guest(), Op::Reset);
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn what_a_client_says_with_its_greeting_is_data() {
    let mut guest = Guest::new();
    let mut client = UnixStream::connect(guest.path("sock")).unwrap();
    client.write_all(b"CONNECT 9\nfirst").unwrap();
    let (request, _) = guest.receive();
    guest.say(request.ends_to_guest(), Op::Response);
    assert_eq!(guest.expect_data(5), b"first");
}

#[test]
fn a_bad_or_slow_greeting_harms_nobody() {
    let mut guest = Guest::new();
    let mut slow = UnixStream::connect(guest.path("sock")).unwrap();
    slow.write_all(b"CONN").unwrap();
    for line in ["GET / HTTP/1.1\n", "CONNECT x\n", &"C".repeat(100)] {
        let mut bad = UnixStream::connect(guest.path("sock")).unwrap();
        bad.write_all(line.as_bytes()).unwrap();
        while guest.driver.poll(NOW).unwrap() > 0 {}
        assert!(matches!(bad.read(&mut [0; 1]), Ok(0) | Err(_)));
    }
    guest.is_quiet();
    slow.write_all(b"ECT 11\n").unwrap();
    let (request, _) = guest.receive();
    assert_eq!(request.ends_to_guest().guest_port, 11);
}

#[test]
fn a_megabyte_each_way_keeps_to_the_credit() {
    let mut guest = Guest::new();
    let (mut client, ends) = guest.accept(1);
    let data = pattern(1 << 20);
    let there = data.clone();
    let mut writer = client.try_clone().unwrap();
    let sending = std::thread::spawn(move || writer.write_all(&there).unwrap());
    let mut got = Vec::new();
    while got.len() < data.len() {
        let (header, piece) = guest.receive();
        if header.op() == Some(Op::Data) {
            got.extend(piece);
        } else {
            assert_eq!(header.op(), Some(Op::CreditRequest));
        }
        assert!(got.len() <= 1 << 20);
        let mut room = Header::from_guest(CID, ends, Op::CreditUpdate);
        room.fwd_cnt = (got.len() as u32).into();
        room.buf_alloc = 10_000.into();
        guest.send(room, &[]);
    }
    sending.join().unwrap();
    assert!(got == data);
    let receiving = std::thread::spawn(move || {
        let mut got = vec![0; 1 << 20];
        client.read_exact(&mut got).unwrap();
        (client, got)
    });
    let (mut sent, mut forwarded) = (0u32, 0u32);
    while (sent as usize) < data.len() {
        let room = BUFFER - (sent - forwarded);
        let n = room.min(30_000).min((1 << 20) - sent);
        if n == 0 {
            let (header, _) = guest.receive();
            assert_eq!(header.op(), Some(Op::CreditUpdate));
            forwarded = header.fwd_cnt.get();
            continue;
        }
        let mut header = Header::from_guest(CID, ends, Op::Data);
        header.fwd_cnt = (1u32 << 20).into();
        guest.send(header, &data[sent as usize..][..n as usize]);
        sent += n;
    }
    while guest.driver.device.kept > 0 {
        guest.driver.poll(SOON).unwrap();
    }
    assert!(receiving.join().unwrap().1 == data);
}

#[test]
fn a_guest_that_sends_more_than_it_may_is_cut_off() {
    let mut guest = Guest::new();
    let (_client, ends) = guest.accept(1);
    let piece = vec![1; 60_000];
    let mut reset = false;
    for _ in 0..40 {
        guest.send(Header::from_guest(CID, ends, Op::Data), &piece);
        reset |= guest.look().is_some_and(|(h, _)| h.op() == Some(Op::Reset));
    }
    assert!(reset);
    assert_eq!(guest.driver.device.kept, 0);
    assert!(guest.driver.device.table.find(ends).is_none());
}

#[test]
fn a_guest_without_room_is_sent_nothing_and_asked_once() {
    let mut guest = Guest::new();
    let (mut client, ends) = guest.accept(1);
    let mut room = Header::from_guest(CID, ends, Op::CreditUpdate);
    room.buf_alloc = 4.into();
    guest.send(room, &[]);
    client.write_all(b"123456").unwrap();
    assert_eq!(guest.expect_data(4), b"1234");
    guest.expect(ends, Op::CreditRequest);
    guest.is_quiet();
    // Figures that make no sense are no room.
    room.fwd_cnt = 9.into();
    guest.send(room, &[]);
    guest.is_quiet();
    room.fwd_cnt = 4.into();
    guest.send(room, &[]);
    assert_eq!(guest.expect_data(2), b"56");
}

#[test]
fn packets_that_fit_no_connection_are_answered_with_a_reset() {
    let mut guest = Guest::new();
    let ends = ends(1, 2);
    let stray = [
        Op::Response,
        Op::Shutdown,
        Op::Data,
        Op::CreditUpdate,
        Op::CreditRequest,
    ];
    for op in stray {
        guest.say(ends, op);
        guest.expect(ends, Op::Reset);
    }
    guest.say(ends, Op::Reset);
    let header = Header::from_guest(CID, ends, Op::Request);
    for (kind, op) in [(2, 1), (TYPE_STREAM, 0), (TYPE_STREAM, 8), (0xffff, 0xffff)] {
        guest.send(header.with_codes(kind, op), &[]);
        guest.expect(ends, Op::Reset);
    }
    let mut foreign = header;
    foreign.src_cid = 4.into();
    guest.send(foreign, &[]);
    foreign = header;
    foreign.dst_cid = 1.into();
    guest.send(foreign, &[]);
    guest.is_quiet();
}

#[test]
fn packets_out_of_turn_end_their_connection() {
    for op in [Op::Request, Op::Response] {
        let mut guest = Guest::new();
        let (mut client, ends) = guest.accept(1);
        guest.say(ends, op);
        guest.expect(ends, Op::Reset);
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
        guest.is_quiet();
    }
    let mut guest = Guest::new();
    let (_client, ends) = guest.accept(1);
    let mut long = Header::from_guest(CID, ends, Op::Data);
    long.len = u32::MAX.into();
    guest.send_as_is(long, b"short").unwrap();
    guest.expect(ends, Op::Reset);
}

#[test]
fn a_packet_or_a_buffer_that_is_too_short_ends_the_device() {
    let mut guest = Guest::new();
    guest.driver.add(TRANSMIT, &[&[0; HEADER_LEN - 1]], &[]);
    assert!(guest.driver.kick(TRANSMIT).is_err());
    let mut guest = Guest::without_buffers();
    guest.driver.add(RECEIVE, &[], &[HEADER_LEN as u32]);
    guest.driver.kick(RECEIVE).unwrap();
    let header = Header::from_guest(CID, ends(1, 2), Op::Request);
    assert!(guest.send_as_is(header, &[]).is_err());
}

#[test]
fn a_guest_that_takes_no_answers_is_heard_no_further() {
    let mut guest = Guest::without_buffers();
    for port in 0..3 * MAX_ANSWERS as u32 {
        let header = Header::from_guest(CID, ends(port, 1), Op::Data);
        guest.driver.add(TRANSMIT, &[header.as_bytes()], &[]);
        if port % 64 == 63 {
            guest.driver.kick(TRANSMIT).unwrap();
            let heard = std::iter::from_fn(|| guest.driver.pop_used(TRANSMIT)).count();
            if heard < 64 {
                break;
            }
        }
    }
    assert_eq!(guest.driver.device.answers.len(), MAX_ANSWERS);
    guest.offer(200);
    assert!(guest.driver.device.answers.len() < MAX_ANSWERS);
    guest.driver.kick(TRANSMIT).unwrap();
    assert!(guest.driver.pop_used(TRANSMIT).is_some());
}

#[test]
fn connections_beyond_the_limit_are_refused_until_one_ends() {
    let mut guest = Guest::new();
    let listener = guest.listen(5);
    listener.set_nonblocking(true).unwrap();
    let mut servers = Vec::new();
    for port in 0..table::MAX as u32 {
        guest.say(ends(port, 5), Op::Request);
        guest.expect(ends(port, 5), Op::Response);
        servers.push(listener.accept().unwrap().0);
    }
    guest.say(ends(9999, 5), Op::Request);
    guest.expect(ends(9999, 5), Op::Reset);
    guest.say(ends(0, 5), Op::Reset);
    guest.say(ends(9999, 5), Op::Request);
    guest.expect(ends(9999, 5), Op::Response);
}

#[test]
fn a_reset_closes_everything_and_the_device_goes_on() {
    let mut guest = Guest::new();
    let (mut client, _) = guest.accept(1);
    guest.driver.quiesce();
    assert!(guest.driver.events.watched().is_empty());
    guest.driver.device.reset();
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    guest.driver.set_up_queues();
    guest.driver.activate().unwrap();
    guest.offer(8);
    guest.accept(2);
}

#[test]
fn a_pause_keeps_connections() {
    let mut guest = Guest::new();
    let (mut client, _) = guest.accept(1);
    guest.driver.quiesce();
    client.write_all(b"meanwhile").unwrap();
    guest.driver.activate().unwrap();
    assert_eq!(guest.expect_data(9), b"meanwhile");
}

#[test]
fn a_restored_guest_is_told_that_its_connections_are_gone() {
    let mut guest = Guest::new();
    let saved = guest.driver.device.save().unwrap().unwrap();
    guest.driver.device.restore(saved).unwrap();
    guest.driver.add(EVENT, &[], &[4]);
    guest.driver.kick(EVENT).unwrap();
    assert_eq!(guest.driver.pop_used(EVENT).unwrap().data, [0; 4]);
    guest.driver.add(EVENT, &[], &[4]);
    guest.driver.kick(EVENT).unwrap();
    assert!(guest.driver.pop_used(EVENT).is_none());
}

#[test]
fn the_configuration_names_the_guest() {
    let guest = Guest::new();
    let mut data = [0; 8];
    guest.driver.device.config().read(0, &mut data);
    assert_eq!(u64::from_le_bytes(data), CID);
}

#[test]
fn the_socket_goes_with_the_device() {
    let guest = Guest::new();
    let path = guest.path("sock");
    assert!(path.exists());
    drop(guest.driver);
    assert!(!path.exists());
}

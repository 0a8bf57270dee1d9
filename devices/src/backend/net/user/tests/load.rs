//! Much data, many flows, and sides that take nothing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::State;

use super::guest::{Guest, OFFLOADS, at_gateway, forward};

/// What connection `stream` carries at `offset`: any loss, repetition or mix-up shows.
fn pattern(stream: usize, offset: usize) -> u8 {
    let x = (offset as u64 / 8 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ stream as u64);
    (x >> (8 * (offset % 8))) as u8
}

fn chunk(stream: usize, offset: usize, len: usize) -> Vec<u8> {
    (offset..offset + len)
        .map(|at| pattern(stream, at))
        .collect()
}

fn check(stream: usize, offset: usize, data: &[u8]) {
    let wrong = data
        .iter()
        .enumerate()
        .position(|(i, &b)| b != pattern(stream, offset + i));
    assert_eq!(wrong, None, "stream {stream} differs behind byte {offset}");
}

/// A client on the host that sends and receives `size` bytes at the same time, then closes.
fn client(address: SocketAddr, stream: usize, size: usize) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut socket = TcpStream::connect(address).unwrap();
        let mut sender = socket.try_clone().unwrap();
        let sending = thread::spawn(move || {
            for offset in (0..size).step_by(1 << 16) {
                let len = (size - offset).min(1 << 16);
                sender.write_all(&chunk(stream, offset, len)).unwrap();
            }
            sender.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let mut buffer = vec![0; 1 << 16];
        let mut offset = 0;
        loop {
            let n = socket.read(&mut buffer).unwrap();
            if n == 0 {
                break;
            }
            check(stream + 100, offset, &buffer[..n]);
            offset += n;
        }
        assert_eq!(offset, size, "stream {stream}");
        sending.join().unwrap();
    })
}

/// The guest's end of a stream: sends `size` bytes and checks what it receives.
struct End {
    handle: SocketHandle,
    stream: usize,
    sent: usize,
    received: usize,
}

impl End {
    /// Moves what can be moved; whether all is done.
    fn work(&mut self, guest: &mut Guest, size: usize) -> bool {
        let socket = guest.tcp(self.handle);
        let stream = self.stream;
        let received = self.received;
        let n = socket.recv(|data| {
            check(stream, received, data);
            (data.len(), data.len())
        });
        self.received += n.unwrap_or(0);
        let sent = self.sent;
        let n = socket.send(|room| {
            let len = room.len().min(size - sent);
            room[..len].copy_from_slice(&chunk(stream + 100, sent, len));
            (len, len)
        });
        self.sent += n.unwrap_or(0);
        if self.sent == size && socket.state() != State::Listen {
            socket.close();
        }
        self.sent == size && self.received == size
    }
}

#[test]
fn eight_streams_both_ways_through_a_forward_arrive_whole() {
    const STREAMS: usize = 8;
    let size = if cfg!(debug_assertions) {
        4 << 20
    } else {
        32 << 20
    };
    let forward = forward("tcp", 80);
    let mut guest = Guest::new(OFFLOADS, &[forward]);
    let mut ends = Vec::new();
    let mut clients = Vec::new();
    for stream in 0..STREAMS {
        let handle = guest.listen(80);
        clients.push(client(forward.host, stream, size));
        guest.await_state(handle, State::Established);
        ends.push(End {
            handle,
            stream,
            sent: 0,
            received: 0,
        });
    }
    guest.until(|guest| {
        let done = ends
            .iter_mut()
            .filter_map(|end| end.work(guest, size).then_some(()))
            .count();
        (done == STREAMS).then_some(())
    });
    guest.await_no_flows();
    for client in clients {
        client.join().unwrap();
    }
}

#[test]
fn a_host_that_reads_nothing_holds_the_guest_back_until_it_reads() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = at_gateway(listener.local_addr().unwrap());
    let mut guest = Guest::new(OFFLOADS, &[]);
    let handle = guest.connect(address);
    guest.await_state(handle, State::Established);
    let (mut server, _) = listener.accept().unwrap();

    // Until nothing was taken from the guest for a while.
    let (mut sent, mut still) = (0, 0);
    while still < 100 {
        let n = guest.tcp(handle).send(|room| {
            room.copy_from_slice(&chunk(1, sent, room.len()));
            (room.len(), room.len())
        });
        let n = n.unwrap_or(0);
        sent += n;
        still = if n == 0 { still + 1 } else { 0 };
        guest.step(Duration::from_millis(1));
    }
    // The host's socket buffers, which the kernel sizes, hold most of it.
    assert!(sent < 64 << 20, "{sent} bytes vanished in a buffer");
    let stuck = sent;
    guest.run_for(Duration::from_millis(50));
    assert_eq!(
        guest.tcp(handle).send_queue(),
        guest.tcp(handle).send_capacity()
    );

    let reader = thread::spawn(move || {
        let mut data = Vec::new();
        server.read_to_end(&mut data).unwrap();
        data
    });
    guest.tcp(handle).close();
    guest.await_no_flows();
    let data = reader.join().unwrap();
    assert_eq!(data.len(), stuck);
    check(1, 0, &data);
}

#[test]
fn a_guest_without_room_holds_the_host_back_until_it_takes_packets() {
    let forward = forward("tcp", 80);
    let mut guest = Guest::new(OFFLOADS, &[forward]);
    let handle = guest.listen(80);
    let mut client = TcpStream::connect(forward.host).unwrap();
    guest.await_state(handle, State::Established);

    guest.takes = false;
    client.set_nonblocking(true).unwrap();
    let (mut sent, mut still) = (0, 0);
    while still < 100 {
        match client.write(&chunk(1, sent, 1 << 16)) {
            Ok(n) => (sent, still) = (sent + n, 0),
            Err(_) => still += 1,
        }
        guest.step(Duration::from_millis(1));
    }
    assert!(sent < 64 << 20, "{sent} bytes vanished in a buffer");
    // Nothing is ready all the time for a guest that takes nothing.
    guest.step(Duration::ZERO);
    assert!(guest.events.ready(Duration::from_millis(20)).is_empty());

    guest.takes = true;
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut end = End {
        handle,
        stream: 1,
        sent: 0,
        received: 0,
    };
    guest.until(|guest| {
        end.work(guest, 0);
        (end.received == sent).then_some(())
    });
    guest.await_no_flows();
}

#[test]
fn what_the_guest_sent_before_it_closed_reaches_a_host_that_reads_late() {
    let (listener, mut guest) = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        (listener, Guest::new(OFFLOADS, &[]))
    };
    let handle = guest.connect(at_gateway(listener.local_addr().unwrap()));
    guest.await_state(handle, State::Established);
    let (mut server, _) = listener.accept().unwrap();
    // The host is done first, so that the guest's end closes the connection.
    server.shutdown(std::net::Shutdown::Write).unwrap();
    guest.await_state(handle, State::CloseWait);
    let mut sent = 0;
    let mut still = 0;
    while still < 50 {
        let n = guest.tcp(handle).send(|room| {
            room.copy_from_slice(&chunk(1, sent, room.len()));
            (room.len(), room.len())
        });
        let n = n.unwrap_or(0);
        sent += n;
        still = if n == 0 { still + 1 } else { 0 };
        guest.step(Duration::from_millis(1));
    }
    guest.tcp(handle).close();
    guest.run_for(Duration::from_millis(50));
    let reader = thread::spawn(move || {
        let mut data = Vec::new();
        server.read_to_end(&mut data).unwrap();
        data
    });
    guest.await_no_flows();
    let data = reader.join().unwrap();
    assert_eq!(data.len(), sent);
    check(1, 0, &data);
}

#[test]
fn idle_flows_hold_no_memory_and_busy_ones_little() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = at_gateway(listener.local_addr().unwrap());
    let mut guest = Guest::new(OFFLOADS, &[]);
    let mut servers = Vec::new();
    for _ in 0..50 {
        let handle = guest.connect(address);
        guest.await_state(handle, State::Established);
        servers.push((handle, listener.accept().unwrap().0));
    }
    assert_eq!(guest.net.flow_memory(), 0);
    for (handle, server) in &mut servers {
        server.write_all(&[7; 100]).unwrap();
        assert_eq!(guest.receive_exact(*handle, 100), [7; 100]);
        guest.send_all(*handle, &[7; 100]);
    }
    assert!(guest.net.flow_memory() <= 50 * (8 << 10));
    // What is idle for a while gives its memory back.
    guest.until(|guest| (guest.net.flow_memory() == 0).then_some(()));
    assert_eq!(guest.net.flows().0, 50);
}

#[test]
fn all_flows_together_hold_no_more_than_their_share_and_still_carry_everything() {
    const FLOWS: usize = 24;
    let most = 1 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = at_gateway(listener.local_addr().unwrap());
    let mut guest = Guest::new(OFFLOADS, &[]);
    guest.net.tcp.limit_memory(most);
    let mut ends = Vec::new();
    let mut servers = Vec::new();
    for stream in 0..FLOWS {
        let handle = guest.connect(address);
        guest.await_state(handle, State::Established);
        let server = listener.accept().unwrap().0;
        rustix::net::sockopt::set_socket_recv_buffer_size(&server, 128 << 10).unwrap();
        servers.push(server);
        ends.push(End {
            handle,
            stream,
            sent: 0,
            received: 0,
        });
    }
    // Nobody reads on the host.
    let (mut still, mut peak) = (0, 0);
    while still < 50 {
        let mut moved = false;
        for end in &mut ends {
            let sent = end.sent;
            let n = guest.tcp(end.handle).send(|room| {
                room.copy_from_slice(&chunk(end.stream, sent, room.len()));
                (room.len(), room.len())
            });
            end.sent += n.unwrap();
            moved |= end.sent > sent;
        }
        still = if moved { 0 } else { still + 1 };
        guest.step(Duration::from_millis(1));
        peak = peak.max(guest.net.flow_memory());
    }
    // A buffer's length for each of the first, then what was promised when there were fewer.
    let bound = most + (5..=FLOWS).map(|n| most / n).sum::<usize>();
    assert!(peak > most / 2 && peak <= bound, "{peak} of {bound}");
    let readers: Vec<_> = servers
        .into_iter()
        .zip(&ends)
        .map(|(mut server, end)| {
            let (stream, sent) = (end.stream, end.sent);
            guest.tcp(end.handle).close();
            thread::spawn(move || {
                let mut data = Vec::new();
                server.read_to_end(&mut data).unwrap();
                assert_eq!(data.len(), sent);
                check(stream, 0, &data);
            })
        })
        .collect();
    guest.await_no_flows();
    for reader in readers {
        reader.join().unwrap();
    }
    assert_eq!(guest.net.flow_memory(), 0);
}

//! TCP from the guest to the host and back.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::time::Duration;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::State;

use super::guest::{Guest, OFFLOADS, at_gateway, forward};
use crate::backend::net::UserSpec;
use crate::backend::net::user::DNS;
use crate::backend::net::user::dns::Resolver;

fn listener() -> (TcpListener, SocketAddrV4) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = at_gateway(listener.local_addr().unwrap());
    (listener, address)
}

#[test]
fn the_guest_reaches_a_server_on_the_hosts_loopback() {
    for mut guest in [
        Guest::new(0, &[]),
        Guest::new(OFFLOADS, &[]),
        Guest::jumbo(),
    ] {
        let (listener, address) = listener();
        let handle = guest.connect(address);
        guest.await_state(handle, State::Established);
        let (mut server, peer) = listener.accept().unwrap();
        assert!(peer.ip().is_loopback());

        guest.send_all(handle, b"hello");
        let mut data = [0; 5];
        guest.run_for(Duration::from_millis(10));
        server.read_exact(&mut data).unwrap();
        assert_eq!(&data, b"hello");
        server.write_all(b"world").unwrap();
        assert_eq!(guest.receive_exact(handle, 5), b"world");
    }
}

#[test]
fn a_client_on_the_host_reaches_the_guest_through_a_forward() {
    let forward = forward("tcp", 22);
    let mut guest = Guest::new(OFFLOADS, &[forward]);
    let handle = guest.listen(22);
    let mut client = TcpStream::connect(forward.host).unwrap();
    client.write_all(b"SSH-2.0").unwrap();
    assert_eq!(guest.receive_exact(handle, 7), b"SSH-2.0");
    let peer = guest.tcp(handle).remote_endpoint().unwrap();
    assert_eq!(peer.addr, super::super::GATEWAY.into());

    guest.send_all(handle, b"welcome");
    guest.run_for(Duration::from_millis(10));
    let mut data = [0; 7];
    client.read_exact(&mut data).unwrap();
    assert_eq!(&data, b"welcome");
}

#[test]
fn a_refused_connection_is_refused_to_the_guest() {
    let (listener, address) = listener();
    drop(listener);
    let mut guest = Guest::new(0, &[]);
    let handle = guest.connect(address);
    guest.await_state(handle, State::Closed);
    guest.await_no_flows();
}

/// A connection from the guest to a server on the host.
fn outbound(features: u64) -> (Guest, SocketHandle, TcpStream) {
    let (listener, address) = listener();
    let mut guest = Guest::new(features, &[]);
    let handle = guest.connect(address);
    guest.await_state(handle, State::Established);
    let (server, _) = listener.accept().unwrap();
    server
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    (guest, handle, server)
}

#[test]
fn when_the_guest_closes_the_server_sees_the_end_and_may_still_send() {
    let (mut guest, handle, mut server) = outbound(OFFLOADS);
    guest.send_all(handle, b"last words");
    guest.tcp(handle).close();
    guest.await_state(handle, State::FinWait2);
    let mut data = Vec::new();
    server.read_to_end(&mut data).unwrap();
    assert_eq!(data, b"last words");

    server.write_all(b"an answer all the same").unwrap();
    assert_eq!(guest.receive_exact(handle, 22), b"an answer all the same");
    assert_eq!(guest.net.flows().0, 1);
    drop(server);
    guest.await_state(handle, State::TimeWait);
    guest.await_no_flows();
    // The timer and what tells of changed forwards.
    assert_eq!(guest.events.watched().len(), 2, "{:?}", guest.events);
}

#[test]
fn when_the_server_closes_the_guest_sees_the_end_and_may_still_send() {
    let (mut guest, handle, mut server) = outbound(OFFLOADS);
    server.write_all(b"last words").unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    assert_eq!(guest.receive_exact(handle, 10), b"last words");
    guest.await_state(handle, State::CloseWait);

    guest.send_all(handle, b"an answer all the same");
    guest.run_for(Duration::from_millis(10));
    let mut data = [0; 22];
    server.read_exact(&mut data).unwrap();
    assert_eq!(&data, b"an answer all the same");
    assert_eq!(guest.net.flows().0, 1);
    guest.tcp(handle).close();
    guest.await_no_flows();
    assert_eq!(server.read(&mut data).unwrap(), 0);
}

#[test]
fn a_reset_by_the_guest_resets_the_server() {
    let (mut guest, handle, mut server) = outbound(0);
    guest.tcp(handle).abort();
    guest.await_no_flows();
    let error = server.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_reset_by_the_server_resets_the_guest() {
    let (mut guest, handle, server) = outbound(0);
    reset(server);
    guest.await_state(handle, State::Closed);
    assert!(
        guest.tcp(handle).remote_endpoint().is_none(),
        "it was no reset"
    );
    guest.await_no_flows();
}

#[test]
fn a_reset_while_the_guest_takes_nothing_is_noticed() {
    let (mut guest, handle, mut server) = outbound(OFFLOADS);
    server.set_nonblocking(true).unwrap();
    let chunk = vec![7; 1 << 16];
    // The guest's window, the flow's buffer and the host's sockets fill up.
    let mut stuck = 0;
    while stuck < 20 {
        match server.write(&chunk) {
            Ok(_) => stuck = 0,
            Err(_) => stuck += 1,
        }
        guest.step(Duration::from_millis(1));
    }
    reset(server);
    guest.await_state(handle, State::Closed);
    guest.await_no_flows();
}

#[test]
fn a_reset_by_the_server_after_its_end_resets_the_guest() {
    let (mut guest, handle, server) = outbound(OFFLOADS);
    server.shutdown(Shutdown::Write).unwrap();
    guest.await_state(handle, State::CloseWait);
    reset(server);
    guest.await_state(handle, State::Closed);
    guest.await_no_flows();
}

/// Reads until it fails; how.
fn failure(mut server: TcpStream) -> ErrorKind {
    let mut buffer = vec![0; 1 << 16];
    for _ in 0..1000 {
        match server.read(&mut buffer) {
            Ok(0) => {
                // The guest's end; what comes after it shows when something is written.
                if let Err(error) = server.write_all(&[7]) {
                    return error.kind();
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(_) => {}
            Err(error) => return error.kind(),
        }
    }
    panic!("it is still open");
}

#[test]
fn a_reset_by_the_guest_while_the_server_takes_nothing_resets_it() {
    let (mut guest, handle, server) = outbound(OFFLOADS);
    let mut stuck = 0;
    while stuck < 20 {
        let sent = guest.tcp(handle).send_slice(&[7; 1 << 16]).unwrap();
        stuck = if sent == 0 { stuck + 1 } else { 0 };
        guest.step(Duration::from_millis(1));
    }
    guest.tcp(handle).abort();
    // Its number is beyond what is held for the server; the next one that the guest is asked for fits.
    guest.run_for(Duration::from_millis(20));
    guest.await_no_flows();
    assert_eq!(failure(server), ErrorKind::ConnectionReset);
}

#[test]
fn a_reset_by_the_guest_after_its_end_resets_the_server() {
    let (mut guest, handle, mut server) = outbound(OFFLOADS);
    guest.tcp(handle).close();
    guest.await_state(handle, State::FinWait2);
    assert_eq!(server.read(&mut [0]).unwrap(), 0);
    guest.tcp(handle).abort();
    guest.await_no_flows();
    let error = server.write_all(&[7]).unwrap_err();
    assert!(matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
    ));
}

#[test]
fn all_data_reach_a_guest_that_closed_its_side_whatever_is_lost() {
    let size = 3 << 20;
    for (features, lost) in [(0, 0), (OFFLOADS, 0), (0, 37), (OFFLOADS, 11)] {
        let (mut guest, handle, mut server) = outbound(features);
        guest.send_all(handle, b"request");
        guest.tcp(handle).close();
        let data: Vec<u8> = (0..size).map(|i: u32| (i >> 7) as u8).collect();
        let expected = data.clone();
        let server = std::thread::spawn(move || {
            let mut request = Vec::new();
            server.read_to_end(&mut request).unwrap();
            server.write_all(&data).unwrap();
            request
        });
        let (mut got, mut frames) = (Vec::new(), 0);
        guest.until(|guest| {
            if lost > 0 {
                guest.wire.to_guest.retain(|_| {
                    frames += 1;
                    frames % lost != 0
                });
            }
            let read = guest.tcp(handle).recv(|data| {
                got.extend_from_slice(data);
                (data.len(), ())
            });
            read.is_err().then_some(())
        });
        assert_eq!(server.join().unwrap(), b"request");
        assert_eq!(got.len(), expected.len(), "one of {lost} was lost");
        assert!(got == expected, "one of {lost} was lost");
        guest.await_no_flows();
    }
}

/// Closes with a reset.
fn reset(stream: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
}

#[test]
fn a_client_that_comes_before_the_guest_is_served_when_the_guest_is_there() {
    let forward = forward("tcp", 22);
    let mut guest = Guest::without_address(OFFLOADS, &[forward]);
    let mut client = TcpStream::connect(forward.host).unwrap();
    client.write_all(b"early").unwrap();
    guest.run_for(Duration::from_millis(100));
    assert_eq!(guest.net.flows().0, 1);
    let asked = guest.wire.to_guest.is_empty();
    assert!(asked, "smoltcp takes every frame");

    let handle = guest.listen(22);
    guest.set_address();
    assert_eq!(guest.receive_exact(handle, 5), b"early");
}

#[test]
fn a_client_that_gives_up_before_the_guest_is_there_leaves_nothing() {
    let forward = forward("tcp", 22);
    let mut guest = Guest::without_address(0, &[forward]);
    let client = TcpStream::connect(forward.host).unwrap();
    guest.run_for(Duration::from_millis(20));
    assert_eq!(guest.net.flows().0, 1);
    reset(client);
    guest.await_no_flows();
}

#[test]
fn a_port_that_the_guest_refuses_is_reset_to_the_client() {
    let forward = forward("tcp", 22);
    let mut guest = Guest::new(0, &[forward]);
    let mut client = TcpStream::connect(forward.host).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    guest.until(|guest| (guest.net.flows().0 == 1).then_some(()));
    guest.await_no_flows();
    let error = client.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_thousand_short_connections_each_way_leave_nothing() {
    let forward = forward("tcp", 80);
    let (listener, address) = listener();
    let mut guest = Guest::new(OFFLOADS, &[forward]);
    guest.run_for(Duration::from_millis(10));
    let watched = guest.events.watched().len();
    for i in 0..1000_u32 {
        if i % 2 == 0 {
            let handle = guest.connect(address);
            guest.await_state(handle, State::Established);
            let (mut server, _) = listener.accept().unwrap();
            server.write_all(&i.to_be_bytes()).unwrap();
            drop(server);
            assert_eq!(guest.receive_exact(handle, 4), i.to_be_bytes());
            guest.tcp(handle).close();
            guest.until(|g| (!g.tcp(handle).is_active()).then_some(()));
            guest.sockets.remove(handle);
        } else {
            let handle = guest.listen(80);
            let mut client = TcpStream::connect(forward.host).unwrap();
            client.write_all(&i.to_be_bytes()).unwrap();
            assert_eq!(guest.receive_exact(handle, 4), i.to_be_bytes());
            drop(client);
            guest.await_state(handle, State::CloseWait);
            guest.tcp(handle).close();
            guest.until(|g| (!g.tcp(handle).is_active()).then_some(()));
            guest.sockets.remove(handle);
        }
    }
    guest.await_no_flows();
    assert_eq!(guest.events.watched().len(), watched, "{:?}", guest.events);
}

#[test]
fn a_query_over_tcp_goes_to_the_hosts_name_server() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("resolv.conf");
    std::fs::write(&path, "nameserver 127.0.0.1\n").unwrap();
    let mut guest = Guest::new(OFFLOADS, &[]);
    guest.net.resolver = Resolver::new(path, server.local_addr().unwrap().port());
    let handle = guest.connect(SocketAddrV4::new(DNS, 53));
    guest.await_state(handle, State::Established);
    let (mut server, _) = server.accept().unwrap();
    server.write_all(b"answer").unwrap();
    assert_eq!(guest.receive_exact(handle, 6), b"answer");

    // Nothing else is there.
    let handle = guest.connect(SocketAddrV4::new(DNS, 80));
    guest.await_state(handle, State::Closed);
}

#[test]
fn a_guest_that_may_not_reach_the_host_or_anything_is_refused_and_still_reached() {
    let forward = forward("tcp", 22);
    for (restrict, host) in [(true, true), (false, false)] {
        let mut guest = Guest::with(&UserSpec {
            forwards: vec![forward],
            restrict,
            host,
            ..UserSpec::default()
        });
        let (listener, address) = listener();
        listener.set_nonblocking(true).unwrap();
        let handle = guest.connect(address);
        if host {
            // Told by ICMP, which smoltcp's guest does not heed.
            guest.run_for(Duration::from_millis(20));
        } else {
            guest.await_state(handle, State::Closed);
        }
        assert_eq!(guest.net.flows(), (0, 0));
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);

        let handle = guest.listen(22);
        let mut client = TcpStream::connect(forward.host).unwrap();
        client.write_all(b"SSH-2.0").unwrap();
        assert_eq!(guest.receive_exact(handle, 7), b"SSH-2.0");
    }
}

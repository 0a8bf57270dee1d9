//! TCP from the guest to the host and back.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use smoltcp::socket::tcp::State;

use super::guest::{Guest, OFFLOADS, at_gateway, forward};

fn listener() -> (TcpListener, std::net::SocketAddrV4) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = at_gateway(listener.local_addr().unwrap());
    (listener, address)
}

#[test]
fn the_guest_reaches_a_server_on_the_hosts_loopback() {
    for features in [0, OFFLOADS] {
        let (listener, address) = listener();
        let mut guest = Guest::new(features, &[]);
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

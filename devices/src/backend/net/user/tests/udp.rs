//! UDP and DNS.

use std::net::{SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use super::guest::{Guest, MAC, OFFLOADS, at_gateway, forward};
use crate::backend::net::user::addresses::OUR_MAC;
use crate::backend::net::user::checksum::pseudo_header;
use crate::backend::net::user::dns::Resolver;
use crate::backend::net::user::fragments::Reassembly;
use crate::backend::net::user::wire::{
    IPV4_LEN, IpPacket, PROTOCOL_UDP, UDP_LEN, Udp, put_ipv4, set_fragment,
};
use crate::backend::net::user::{DNS, GATEWAY, GUEST};
use crate::backend::net::{NetBackend, UserSpec};

fn server() -> (UdpSocket, SocketAddrV4) {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let address = at_gateway(server.local_addr().unwrap());
    (server, address)
}

#[test]
fn datagrams_of_every_size_reach_a_server_and_come_back() {
    let (server, address) = server();
    // smoltcp's guest makes no fragments; see below.
    for (mut guest, longest) in [(Guest::new(0, &[]), 1472), (Guest::jumbo(), 60_000)] {
        let handle = guest.udp_socket(5000);
        for len in [0, 1, longest / 2, longest] {
            let data: Vec<u8> = (0..len).map(|i| i as u8).collect();
            guest.udp(handle).send_slice(&data, address).unwrap();
            guest.run_for(Duration::from_millis(10));
            let mut buffer = vec![0; 65536];
            let (n, peer) = server.recv_from(&mut buffer).unwrap();
            assert_eq!(buffer[..n], data);
            server.send_to(&buffer[..n], peer).unwrap();
            let (answer, from) = guest.receive_datagram(handle);
            assert_eq!(answer, data);
            assert_eq!(from, address.into());
        }
        assert_eq!(guest.net.flows(), (0, 1));
    }
}

#[test]
fn a_query_goes_to_the_hosts_name_server_and_its_answer_comes_from_ours() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("resolv.conf");
    std::fs::write(&path, "nameserver 127.0.0.1\n").unwrap();
    let mut guest = Guest::new(OFFLOADS, &[]);
    guest.net.resolver = Resolver::new(path, server.local_addr().unwrap().port());

    let handle = guest.udp_socket(5000);
    let name_server = SocketAddrV4::new(DNS, 53);
    guest.udp(handle).send_slice(b"query", name_server).unwrap();
    guest.run_for(Duration::from_millis(10));
    let mut buffer = [0; 512];
    let (n, peer) = server.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..n], b"query");
    server.send_to(b"answer", peer).unwrap();
    let (answer, from) = guest.receive_datagram(handle);
    assert_eq!(answer, b"answer");
    assert_eq!(from, name_server.into());
}

#[test]
fn a_query_that_a_server_leaves_unanswered_goes_to_the_next_by_itself() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let server = UdpSocket::bind(("127.0.0.2", port)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("resolv.conf");
    // Nobody listens at the second: it refuses.
    let servers = "nameserver 127.0.0.1\nnameserver 127.0.0.3\nnameserver 127.0.0.2\n";
    std::fs::write(&path, servers).unwrap();
    let mut guest = Guest::new(OFFLOADS, &[]);
    guest.net.resolver = Resolver::new(path, port);
    let handle = guest.udp_socket(5000);
    for query in [b"\x12\x34 what", b"\x12\x35 more"] {
        guest
            .udp(handle)
            .send_slice(query, SocketAddrV4::new(DNS, 53))
            .unwrap();
    }
    // The guest does not ask again.
    server.set_nonblocking(true).unwrap();
    let mut buffer = [0; 512];
    let begin = Instant::now();
    for query in [b"\x12\x34 what", b"\x12\x35 more"] {
        let (n, peer) = guest.until(|_| server.recv_from(&mut buffer).ok());
        assert_eq!(&buffer[..n], query);
        server.send_to(&buffer[..n], peer).unwrap();
        let (answer, from) = guest.receive_datagram(handle);
        assert_eq!(
            (&answer[..], from),
            (&query[..], SocketAddrV4::new(DNS, 53).into())
        );
    }
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert_eq!(guest.net.flows(), (0, 1));
}

#[test]
fn a_client_of_a_udp_forward_talks_with_the_guest() {
    let forward = forward("udp", 53);
    let mut guest = Guest::new(OFFLOADS, &[forward]);
    let handle = guest.udp_socket(53);
    let clients = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    // The first datagram comes before the guest was heard of, and waits.
    for (i, client) in clients.iter().enumerate() {
        client
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        client.send_to(&[i as u8], forward.host).unwrap();
    }
    for _ in &clients {
        let (data, from) = guest.receive_datagram(handle);
        assert_eq!(from.addr, GATEWAY.into());
        guest.udp(handle).send_slice(&[data[0] + 10], from).unwrap();
    }
    guest.run_for(Duration::from_millis(10));
    for (i, client) in clients.iter().enumerate() {
        let mut data = [0; 8];
        let (n, from) = client.recv_from(&mut data).unwrap();
        assert_eq!(data[..n], [i as u8 + 10]);
        assert_eq!(from, forward.host);
    }
}

#[test]
fn a_refused_datagram_is_told_and_its_flow_ends() {
    let (server, address) = server();
    drop(server);
    let mut guest = Guest::new(0, &[]);
    let handle = guest.udp_socket(5000);
    guest.udp(handle).send_slice(b"anybody?", address).unwrap();
    let unreachable = guest.until(|guest| {
        let frames = &guest.wire.to_guest;
        frames
            .iter()
            .find(|f| f[12..14] == [8, 0] && f[23] == 1)
            .cloned()
    });
    assert_eq!(unreachable[34..36], [3, 3]);
    // The quoted datagram's ports.
    assert_eq!(unreachable[62..64], 5000_u16.to_be_bytes());
    assert_eq!(unreachable[64..66], address.port().to_be_bytes());
    assert_eq!(guest.net.flows(), (0, 0));
}

#[test]
fn a_long_datagram_passes_in_fragments_where_packets_are_short() {
    let (server, address) = server();
    let mut guest = Guest::new(0, &[]);
    let data: Vec<u8> = (0..65_000_u32).map(|i| i as u8).collect();
    let length = u16::try_from(UDP_LEN + data.len()).unwrap();
    let header = [5000, address.port(), length, 0]
        .map(u16::to_be_bytes)
        .concat();
    let payload = [header, data.clone()].concat();
    for (i, piece) in payload.chunks(1480).enumerate().rev() {
        let mut packet = [&[0; IPV4_LEN][..], piece].concat();
        put_ipv4(&mut packet, PROTOCOL_UDP, GUEST, GATEWAY, 0);
        let offset = u16::try_from(1480 * i).unwrap();
        set_fragment(&mut packet, 77, offset, 1480 * (i + 1) < payload.len());
        guest.inject(&[&OUR_MAC[..], &MAC, &[8, 0], &packet].concat());
    }
    let mut buffer = vec![0; 65536];
    let (n, peer) = server.recv_from(&mut buffer).unwrap();
    assert!(buffer[..n] == data);

    guest.fetch();
    server.send_to(&data, peer).unwrap();
    let mut reassembly = Reassembly::default();
    let whole = guest.until(|guest| {
        for token in guest.events.ready(Duration::from_millis(10)) {
            guest.net.event(token, &mut guest.events);
        }
        guest.fetch().iter().find_map(|frame| {
            assert!(frame.len() <= 1514);
            let part = IpPacket::parse(&frame[14..])?;
            reassembly.receive(&part, part.fragment?, Instant::now())
        })
    });
    let packet = IpPacket::parse(&whole).unwrap();
    assert!(Udp::parse(packet.payload).unwrap().payload == data);
    let pseudo = pseudo_header(PROTOCOL_UDP, GATEWAY.into(), GUEST.into(), length);
    let sums = [pseudo, smoltcp::wire::checksum::data(packet.payload)];
    assert_eq!(smoltcp::wire::checksum::combine(&sums), 0xffff);
}

#[test]
fn a_restricted_guest_reaches_no_server_and_no_name_server() {
    let (server, address) = server();
    server.set_nonblocking(true).unwrap();
    let mut guest = Guest::with(&UserSpec {
        restrict: true,
        ..UserSpec::default()
    });
    let handle = guest.udp_socket(5000);
    for to in [address, SocketAddrV4::new(DNS, 53)] {
        guest.udp(handle).send_slice(b"anybody?", to).unwrap();
        guest.run_for(Duration::from_millis(10));
        assert_eq!(guest.net.flows(), (0, 0));
    }
    assert!(server.recv(&mut [0; 8]).is_err());
}

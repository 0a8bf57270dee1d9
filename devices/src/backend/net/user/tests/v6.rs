//! IPv6: the router, addresses, the name server, and flows both ways.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket};

use smoltcp::socket::tcp::State;

use super::guest::{GUEST6, Guest, MAC, OFFLOADS, at_gateway_v6};
use crate::backend::net::user::addresses::{OUR_MAC, ROUTER6};
use crate::backend::net::user::checksum::{self, pseudo_header};
use crate::backend::net::user::dns::Resolver;
use crate::backend::net::user::wire::{
    IPV6_LEN, IpPacket, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP, Udp, put, put_ip,
};
use crate::backend::net::user::{DNS6, GATEWAY6, MTU, PREFIX6};
use crate::backend::net::{Forward, UserSpec};

const GUEST_LINK: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x15);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// A frame of the guest's, its checksum at `at` right.
fn frame(from: Ipv6Addr, to: Ipv6Addr, protocol: u8, payload: &[u8], at: usize) -> Vec<u8> {
    let (from, to) = (IpAddr::V6(from), IpAddr::V6(to));
    let mut payload = payload.to_vec();
    let length = u16::try_from(payload.len()).unwrap();
    let sums = [
        pseudo_header(protocol, from, to, length),
        checksum::data(&payload),
    ];
    put(&mut payload, at, &(!checksum::combine(&sums)).to_be_bytes());
    let mut packet = vec![0; IPV6_LEN];
    put_ip(&mut packet, protocol, from, to, payload.len()).unwrap();
    [&OUR_MAC[..], &MAC, &[0x86, 0xdd], &packet, &payload].concat()
}

fn icmp(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> Vec<u8> {
    frame(from, to, PROTOCOL_ICMPV6, message, 2)
}

/// The packet of a frame to the guest, whose checksum must be right.
fn packet(frame: &[u8]) -> IpPacket<'_> {
    assert_eq!(frame[12..14], [0x86, 0xdd]);
    let packet = IpPacket::parse(&frame[14..]).unwrap();
    let length = u16::try_from(packet.payload.len()).unwrap();
    let pseudo = pseudo_header(packet.protocol, packet.source, packet.destination, length);
    assert_eq!(
        checksum::combine(&[pseudo, checksum::data(packet.payload)]),
        0xffff
    );
    packet
}

fn bare() -> Guest {
    let mut guest = Guest::without_address(OFFLOADS, &[]);
    guest.fetch();
    guest
}

#[test]
fn a_solicited_router_advertises_prefix_mtu_and_name_server() {
    let mut guest = bare();
    guest.inject(&icmp(GUEST_LINK, ALL_ROUTERS, &[133, 0, 0, 0, 0, 0, 0, 0]));
    let frame = guest.fetch().remove(0);
    let packet = packet(&frame);
    assert_eq!(packet.source, ROUTER6);
    assert_eq!(packet.bytes[7], 255);
    let message = packet.payload;
    assert_eq!((message[0], message[5]), (134, 0x40));
    assert_ne!(message[6..8], [0, 0]);
    let mut options = &message[16..];
    let mut seen = Vec::new();
    while !options.is_empty() {
        let (option, rest) = options.split_at(usize::from(options[1]) * 8);
        match option[0] {
            1 => assert_eq!(option[2..8], OUR_MAC),
            3 => {
                assert_eq!((option[2], option[3]), (64, 0xc0));
                assert_eq!(option[16..32], PREFIX6.octets());
            }
            5 => assert_eq!(option[4..8], u32::from(MTU).to_be_bytes()),
            25 => assert_eq!(option[8..24], DNS6.octets()),
            other => panic!("option {other}"),
        }
        seen.push(option[0]);
        options = rest;
    }
    assert_eq!(seen, [1, 5, 3, 25]);
}

#[test]
fn neighbours_are_answered_for_and_a_message_from_elsewhere_is_not_heard() {
    let mut guest = bare();
    let ask = |from: Ipv6Addr, target: Ipv6Addr| {
        let message = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &target.octets()].concat();
        icmp(from, target, &message)
    };
    for ours in [GATEWAY6, DNS6, ROUTER6] {
        guest.inject(&ask(GUEST_LINK, ours));
        let frame = guest.fetch().remove(0);
        let packet = packet(&frame);
        assert_eq!(
            (packet.source, packet.destination),
            (ours.into(), GUEST_LINK.into())
        );
        assert_eq!((packet.payload[0], packet.payload[4]), (136, 0xe0));
        assert_eq!(packet.payload[8..24], ours.octets());
        assert_eq!(packet.payload[26..32], OUR_MAC);
        // One that a router passed on.
        let mut far = ask(GUEST_LINK, ours);
        far[14 + 7] = 254;
        guest.inject(&far);
        assert!(guest.fetch().is_empty());
    }
    guest.inject(&ask(Ipv6Addr::UNSPECIFIED, GUEST6));
    assert!(guest.fetch().is_empty());
    // Somebody means to take an address of ours: everybody hears whose it is.
    guest.inject(&ask(Ipv6Addr::UNSPECIFIED, GATEWAY6));
    let frame = guest.fetch().remove(0);
    assert!(packet(&frame).destination.is_multicast());
}

#[test]
fn echo_to_every_address_of_ours_comes_back_whole() {
    let mut guest = bare();
    let message = [&[128, 0, 0, 0, 0x12, 0x34, 0, 1][..], &[7; 1000]].concat();
    for (from, to) in [(GUEST6, GATEWAY6), (GUEST6, DNS6), (GUEST_LINK, ROUTER6)] {
        guest.inject(&icmp(from, to, &message));
        let frame = guest.fetch().remove(0);
        let packet = packet(&frame);
        assert_eq!(
            (packet.source, packet.destination),
            (to.into(), from.into())
        );
        assert_eq!(packet.payload[0], 129);
        assert_eq!(packet.payload[4..], message[4..]);
    }
}

#[test]
fn the_name_server_is_told_to_who_asks_for_information() {
    let mut guest = bare();
    let request = |kind: u8, more: &[u8]| {
        let client = [0, 1, 0, 10, 0, 3, 0, 1, 2, 0, 0, 0, 0, 1];
        let message = [&[kind, 1, 2, 3][..], &client, more].concat();
        let length = u16::try_from(8 + message.len()).unwrap();
        let ports = [546, 547, length, 0].map(u16::to_be_bytes).concat();
        let all_servers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
        frame(
            GUEST_LINK,
            all_servers,
            PROTOCOL_UDP,
            &[ports, message].concat(),
            6,
        )
    };
    guest.inject(&request(11, &[0, 6, 0, 2, 0, 23]));
    let frame = guest.fetch().remove(0);
    let packet = packet(&frame);
    let datagram = Udp::parse(packet.payload).unwrap();
    assert_eq!((datagram.source, datagram.destination), (547, 546));
    assert_eq!(datagram.payload[..4], [7, 1, 2, 3]);
    let servers = [&[0, 23, 0, 16][..], &DNS6.octets()].concat();
    assert!(datagram.payload.windows(20).any(|part| part == servers));
    // A solicitation, a request with an address in it, another server's.
    for bad in [
        request(1, &[]),
        request(11, &[0, 3, 0, 0]),
        request(11, &[0, 2, 0, 1, 9]),
    ] {
        guest.inject(&bad);
        assert!(guest.fetch().is_empty());
    }
}

#[test]
fn without_ipv6_nobody_answers() {
    let mut guest = Guest::with(&UserSpec {
        ipv6: false,
        ..UserSpec::default()
    });
    guest.fetch();
    guest.inject(&icmp(GUEST_LINK, ALL_ROUTERS, &[133, 0, 0, 0, 0, 0, 0, 0]));
    guest.inject(&icmp(GUEST6, GATEWAY6, &[128, 0, 0, 0, 0, 0, 0, 0]));
    assert!(guest.fetch().is_empty());
}

fn guest_v6(features: u64) -> Guest {
    let mut guest = Guest::without_address(features, &[]);
    guest.set_address_v6();
    guest
}

#[test]
fn the_guest_reaches_servers_on_the_hosts_loopback() {
    for features in [0, OFFLOADS] {
        let listener = TcpListener::bind("[::1]:0").unwrap();
        let mut guest = guest_v6(features);
        let handle = guest.connect(at_gateway_v6(listener.local_addr().unwrap()));
        guest.await_state(handle, State::Established);
        let (mut server, _) = listener.accept().unwrap();
        let data: Vec<u8> = (0..500_000_u32).map(|i| (i * 7) as u8).collect();
        let (sent, expected) = (data.clone(), data.clone());
        let both = std::thread::spawn(move || {
            let mut received = vec![0; expected.len()];
            server.read_exact(&mut received).unwrap();
            assert!(received == expected);
            server.write_all(&expected).unwrap();
        });
        guest.send_all(handle, &sent);
        assert!(guest.receive_exact(handle, data.len()) == data);
        both.join().unwrap();
    }
}

#[test]
fn datagrams_and_queries_go_over_ipv6_too() {
    let server = UdpSocket::bind("[::1]:0").unwrap();
    let name_server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("resolv.conf");
    std::fs::write(&path, "nameserver 127.0.0.1\n").unwrap();
    let mut guest = guest_v6(OFFLOADS);
    guest.net.resolver = Resolver::new(path, name_server.local_addr().unwrap().port());
    let handle = guest.udp_socket(5000);
    let query = SocketAddrV6::new(DNS6, 53, 0, 0);
    for (socket, to) in [
        (&server, at_gateway_v6(server.local_addr().unwrap())),
        (&name_server, query),
    ] {
        socket.set_nonblocking(true).unwrap();
        let data = vec![7; 1400];
        guest.udp(handle).send_slice(&data, to).unwrap();
        let mut buffer = [0; 2000];
        let (n, peer) = guest.until(|_| socket.recv_from(&mut buffer).ok());
        assert!(buffer[..n] == data);
        socket.send_to(b"answer", peer).unwrap();
        let (answer, from) = guest.receive_datagram(handle);
        assert_eq!(answer, b"answer");
        assert_eq!(from, to.into());
    }
}

fn forward_v6(guest_port: u16) -> Forward {
    let free = TcpListener::bind("[::1]:0").unwrap().local_addr().unwrap();
    format!("tcp:{free}:{guest_port}").parse().unwrap()
}

fn serve(guest: &mut Guest, forward: &Forward) -> SocketAddr {
    let handle = guest.listen(22);
    let mut client = TcpStream::connect(forward.host).unwrap();
    client.write_all(b"SSH-2.0").unwrap();
    assert_eq!(guest.receive_exact(handle, 7), b"SSH-2.0");
    let peer = guest.tcp(handle).remote_endpoint().unwrap();
    SocketAddr::new(peer.addr.into(), peer.port)
}

#[test]
fn a_client_over_ipv6_reaches_the_guest_over_what_it_has() {
    // Both versions; the guest is heard over IPv6 by its first packet.
    let forward = forward_v6(22);
    let mut guest = Guest::new(OFFLOADS, &[forward]);
    assert_eq!(
        serve(&mut guest, &forward).ip(),
        crate::backend::net::user::GATEWAY
    );
    guest.set_address_v6();
    guest.connect(SocketAddrV6::new(GATEWAY6, 1, 0, 0));
    guest.until(|guest| guest.net.guest.v6.is_some().then_some(()));
    assert_eq!(serve(&mut guest, &forward).ip(), GATEWAY6);
}

#[test]
fn a_guest_that_refuses_over_ipv6_is_asked_over_ipv4() {
    let forward = forward_v6(22);
    let mut guest = Guest::new(OFFLOADS, &[forward]);
    guest.set_address_v6();
    let probe = guest.connect(SocketAddrV6::new(GATEWAY6, 1, 0, 0));
    guest.until(|guest| guest.net.guest.v6.is_some().then_some(()));
    guest.await_state(probe, State::Closed);
    let handle = guest.listen_at(crate::backend::net::user::GUEST.into(), 22);
    let mut client = TcpStream::connect(forward.host).unwrap();
    client.write_all(b"SSH-2.0").unwrap();
    assert_eq!(guest.receive_exact(handle, 7), b"SSH-2.0");
}

#[test]
fn a_guest_with_ipv6_alone_is_found_by_the_address_that_it_takes() {
    let forward = super::guest::forward("tcp", 22);
    let mut guest = Guest::without_address(OFFLOADS, &[forward]);
    // It asks whether the address is free, and then says nothing.
    let message = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &GUEST6.octets()].concat();
    guest.inject(&icmp(Ipv6Addr::UNSPECIFIED, GUEST6, &message));
    guest.set_address_v6();
    assert_eq!(serve(&mut guest, &forward).ip(), GATEWAY6);
}

#[test]
fn what_cannot_be_reached_is_told_over_ipv6() {
    let mut guest = bare();
    let syn = [
        &1000_u16.to_be_bytes()[..],
        &80_u16.to_be_bytes(),
        &[0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 1, 0, 0, 0, 0, 0],
    ]
    .concat();
    // Within the network nobody else is there; IPv4 in disguise leads nowhere.
    for to in ["fd10:0:2::77", "::ffff:127.0.0.1", "fe80::77"] {
        guest.inject(&frame(GUEST6, to.parse().unwrap(), PROTOCOL_TCP, &syn, 16));
        let told = guest.fetch().remove(0);
        let packet = packet(&told);
        assert_eq!(packet.source, GATEWAY6);
        assert_eq!(packet.payload[..2], [1, 3], "{to}");
        assert_eq!(packet.payload[48..50], 1000_u16.to_be_bytes());
    }
    assert_eq!(guest.net.flows(), (0, 0));
}

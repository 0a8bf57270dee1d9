//! A guest that follows no rules.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use smoltcp::socket::tcp::State;

use super::guest::{GUEST6, Guest, MAC, OFFLOADS, at_gateway};
use crate::backend::net::NetBackend;
use crate::backend::net::user::addresses::{OUR_MAC, ROUTER6};
use crate::backend::net::user::dns::Resolver;
use crate::backend::net::user::wire::{put, put_ip, put_ipv4};
use crate::backend::net::user::{DNS, DNS6, GATEWAY, GATEWAY6, GUEST};

/// Where a hostile guest sends to. Nothing here leads further than the host's loopback address.
const TARGETS: [Ipv4Addr; 10] = [
    GATEWAY,
    DNS,
    GUEST,
    Ipv4Addr::new(10, 0, 2, 0),
    Ipv4Addr::new(10, 0, 2, 99),
    Ipv4Addr::new(10, 0, 2, 255),
    Ipv4Addr::new(127, 0, 0, 1),
    Ipv4Addr::new(224, 0, 0, 251),
    Ipv4Addr::BROADCAST,
    Ipv4Addr::UNSPECIFIED,
];

const TARGETS_V6: [Ipv6Addr; 8] = [
    GATEWAY6,
    DNS6,
    ROUTER6,
    GUEST6,
    Ipv6Addr::LOCALHOST,
    Ipv6Addr::UNSPECIFIED,
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2),
    Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0x7f00, 1),
];

/// One frame, to be made when the ports and sequence numbers are known.
#[derive(Debug, Clone)]
enum Hostile {
    /// Any bytes.
    Noise(Vec<u8>),
    /// An IPv4 packet to `TARGETS[to]` with any payload.
    Packet {
        to: usize,
        protocol: u8,
        from: Ipv4Addr,
        payload: Vec<u8>,
    },
    /// An IPv6 packet to `TARGETS_V6[to]` with any payload, extension headers among it.
    PacketV6 {
        to: usize,
        protocol: u8,
        from: Ipv6Addr,
        payload: Vec<u8>,
    },
    /// A TCP segment of a flow, with sequence numbers near those that are right.
    Segment {
        port: u16,
        seq: i32,
        ack: i32,
        flags: u8,
        window: u16,
        rest: Vec<u8>,
        header: u8,
    },
    /// An ARP packet.
    Arp(Vec<u8>),
}

fn near() -> impl Strategy<Value = i32> {
    prop_oneof![
        -3..4_i32,
        any::<i16>().prop_map(i32::from),
        Just(i32::MAX),
        Just(i32::MIN),
        any::<i32>()
    ]
}

fn hostile() -> impl Strategy<Value = Hostile> {
    let from = prop_oneof![
        4 => Just(GUEST),
        1 => Just(GATEWAY),
        1 => any::<u8>().prop_map(|n| Ipv4Addr::new(10, 0, 2, n)),
        1 => any::<[u8; 4]>().prop_map(Ipv4Addr::from)
    ];
    let protocol = prop_oneof![Just(1_u8), Just(6), Just(17), any::<u8>()];
    let to = 0..TARGETS.len();
    let from_v6 = prop_oneof![
        4 => Just(GUEST6),
        1 => Just(Ipv6Addr::UNSPECIFIED),
        1 => Just(GATEWAY6),
        1 => Just(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x15)),
        1 => any::<[u8; 16]>().prop_map(Ipv6Addr::from)
    ];
    let protocol_v6 = prop_oneof![
        Just(58_u8),
        Just(6),
        Just(17),
        Just(0),
        Just(44),
        Just(60),
        any::<u8>()
    ];
    // Neighbour discovery begins with its type and code.
    let payload_v6 = (
        prop_oneof![133..138_u8, any::<u8>()],
        vec(any::<u8>(), 0..120),
    )
        .prop_map(|(kind, rest)| [&[kind, 0][..], &rest].concat());
    let flags = prop_oneof![
        Just(0x10_u8),
        Just(0x11),
        Just(0x02),
        Just(0x12),
        Just(0x04),
        any::<u8>()
    ];
    let header = prop_oneof![3 => Just(5_u8), 1 => 0..16_u8];
    prop_oneof![
        1 => vec(any::<u8>(), 0..200).prop_map(Hostile::Noise),
        1 => vec(any::<u8>(), 0..60).prop_map(Hostile::Arp),
        4 => (to, protocol, from, vec(any::<u8>(), 0..120)).prop_map(
            |(to, protocol, from, payload)| Hostile::Packet { to, protocol, from, payload }
        ),
        4 => (0..TARGETS_V6.len(), protocol_v6, from_v6, payload_v6).prop_map(
            |(to, protocol, from, payload)| Hostile::PacketV6 { to, protocol, from, payload }
        ),
        8 => (0..4_u16, near(), near(), flags, any::<u16>(), vec(any::<u8>(), 0..80), header).prop_map(
            |(port, seq, ack, flags, window, rest, header)| Hostile::Segment {
                port, seq, ack, flags, window, rest, header
            }
        ),
    ]
}

/// What a real connection of the guest's looks like on the wire.
#[derive(Clone, Copy)]
struct Tracked {
    guest: u16,
    host: u16,
    seq: u32,
    ack: u32,
}

impl Hostile {
    fn frame(&self, flow: Tracked) -> Vec<u8> {
        let mut frame = [&OUR_MAC[..], &MAC, &[8, 0]].concat();
        match self {
            Self::Noise(bytes) => {
                put(&mut frame, 12, &[0x86, 0xdd]);
                frame.extend(bytes);
                frame.truncate(bytes.len());
            }
            Self::Arp(bytes) => {
                put(&mut frame, 12, &[8, 6]);
                frame.extend([0, 1, 8, 0, 6, 4, 0]);
                frame.extend(bytes);
            }
            Self::Packet {
                to,
                protocol,
                from,
                payload,
            } => {
                let mut packet = [&[0; 20][..], payload].concat();
                let len = u16::try_from(packet.len()).unwrap();
                // Ports lead nowhere but to the test's own.
                if matches!(protocol, 6 | 17) {
                    put(&mut packet, 22, &flow.host.to_be_bytes());
                }
                put_ipv4(&mut packet, *protocol, *from, TARGETS[*to], len);
                frame.extend(packet);
            }
            Self::PacketV6 {
                to,
                protocol,
                from,
                payload,
            } => {
                let mut packet = [&[0; 40][..], payload].concat();
                if matches!(protocol, 6 | 17) && packet.len() >= 44 {
                    put(&mut packet, 42, &flow.host.to_be_bytes());
                }
                let (from, to) = (IpAddr::V6(*from), IpAddr::V6(TARGETS_V6[*to]));
                put_ip(&mut packet, *protocol, from, to, payload.len()).unwrap();
                packet[7] = 255;
                put(&mut frame, 12, &[0x86, 0xdd]);
                frame.extend(packet);
            }
            Self::Segment {
                port,
                seq,
                ack,
                flags,
                window,
                rest,
                header,
            } => {
                let mut packet = [&[0; 40][..], rest].concat();
                let len = u16::try_from(packet.len()).unwrap();
                put_ipv4(&mut packet, 6, GUEST, GATEWAY, len);
                put(&mut packet, 20, &(flow.guest + port).to_be_bytes());
                put(&mut packet, 22, &flow.host.to_be_bytes());
                put(
                    &mut packet,
                    24,
                    &flow.seq.wrapping_add_signed(*seq).to_be_bytes(),
                );
                put(
                    &mut packet,
                    28,
                    &flow.ack.wrapping_add_signed(*ack).to_be_bytes(),
                );
                put(&mut packet, 32, &[header << 4, *flags]);
                put(&mut packet, 34, &window.to_be_bytes());
                frame.extend(packet);
            }
        }
        frame
    }
}

/// The ports and numbers of the last TCP packet to the guest.
fn track(frames: &[Vec<u8>], flow: &mut Tracked) {
    for frame in frames {
        if frame[12..14] == [8, 0] && frame[23] == 6 && frame[37] == flow.guest.to_be_bytes()[1] {
            let word = |at: usize| u32::from_be_bytes(frame[at..at + 4].try_into().unwrap());
            let len = frame.len() - 34 - usize::from(frame[46] >> 4) * 4;
            flow.ack = word(38).wrapping_add(u32::try_from(len).unwrap());
            flow.seq = word(42);
        }
    }
}

proptest! {
    #[test]
    fn no_frame_panics_or_makes_flows_without_bound(attack in vec(hostile(), 1..80)) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = at_gateway(listener.local_addr().unwrap());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        std::fs::write(&path, "nameserver 127.0.0.1\n").unwrap();
        let mut guest = Guest::new(OFFLOADS, &[]);
        guest.net.resolver = Resolver::new(path, address.port());
        let handle = guest.connect(address);
        guest.await_state(handle, State::Established);
        let (server, _) = listener.accept().unwrap();
        let server_data = [7; 3000];
        let _ = std::io::Write::write_all(&mut &server, &server_data);

        let local = guest.tcp(handle).local_endpoint().unwrap();
        let mut flow = Tracked { guest: local.port, host: address.port(), seq: 0, ack: 0 };
        guest.step(Duration::ZERO);
        let frames = guest.fetch();
        track(&frames, &mut flow);
        for hostile in &attack {
            let frame = hostile.frame(flow);
            guest.inject(&frame);
            let frames = guest.fetch();
            track(&frames, &mut flow);
            for token in guest.events.ready(Duration::ZERO) {
                guest.net.event(token, &mut guest.events);
            }
        }
        let (tcp, udp) = guest.net.flows();
        prop_assert!(tcp <= 6 && udp <= attack.len(), "{tcp} {udp}");
        guest.net.stop(&mut guest.events);
        prop_assert!(guest.events.watched().is_empty(), "{:?}", guest.events);
        guest.net.reset();
        prop_assert_eq!(guest.net.flows(), (0, 0));
    }
}

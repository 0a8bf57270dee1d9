//! ARP, DHCP, ICMP.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use super::guest::{Guest, MAC};
use crate::backend::net::user::addresses::OUR_MAC;
use crate::backend::net::user::checksum::pseudo_header;
use crate::backend::net::user::fragments::Reassembly;
use crate::backend::net::user::wire::{
    BROADCAST_MAC, ETHERTYPE_ARP, ETHERTYPE_IPV4, IPV4_LEN, IpPacket, PROTOCOL_ICMP, PROTOCOL_UDP,
    Udp, put, put_ipv4,
};
use crate::backend::net::user::{DNS, GATEWAY, GUEST, MTU};

fn frame(to: [u8; 6], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = to.to_vec();
    frame.extend(MAC);
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

fn arp_request(from: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, 1];
    packet.extend(MAC);
    packet.extend(from.octets());
    packet.extend([0; 6]);
    packet.extend(target.octets());
    frame(BROADCAST_MAC, ETHERTYPE_ARP, &packet)
}

#[test]
fn the_gateway_announces_itself_when_the_driver_is_ready() {
    let mut guest = Guest::without_address(0, &[]);
    let frames = guest.fetch();
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0][..6], BROADCAST_MAC);
    assert_eq!(frames[0][28..32], GATEWAY.octets());
    assert_eq!(frames[0][38..42], GATEWAY.octets());
}

#[test]
fn arp_answers_for_the_gateway_and_the_name_server_alone() {
    let mut guest = Guest::without_address(0, &[]);
    guest.fetch();
    for ours in [GATEWAY, DNS] {
        guest.inject(&arp_request(GUEST, ours));
        let reply = guest.fetch().remove(0);
        assert_eq!(reply[..6], MAC);
        assert_eq!(reply[20..22], [0, 2]);
        assert_eq!(reply[22..28], OUR_MAC);
        assert_eq!(reply[28..32], ours.octets());
    }
    for other in [
        GUEST,
        Ipv4Addr::new(10, 0, 2, 4),
        Ipv4Addr::new(192, 168, 0, 1),
    ] {
        guest.inject(&arp_request(GUEST, other));
        assert!(guest.fetch().is_empty(), "{other}");
    }
}

fn ping(to: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; IPV4_LEN];
    packet.extend([8, 0, 0, 0, 0x12, 0x34, 0, 1]);
    packet.extend(payload);
    let sum = !smoltcp::wire::checksum::data(&packet[IPV4_LEN..]);
    put(&mut packet, IPV4_LEN + 2, &sum.to_be_bytes());
    let len = u16::try_from(packet.len()).unwrap();
    put_ipv4(&mut packet, PROTOCOL_ICMP, GUEST, to, len);
    frame(OUR_MAC, ETHERTYPE_IPV4, &packet)
}

#[test]
fn echo_to_the_gateway_comes_back_whole() {
    let mut guest = Guest::jumbo();
    guest.fetch();
    let payload: Vec<u8> = (0..60_000_u32).map(|i| i as u8).collect();
    for to in [GATEWAY, DNS] {
        guest.inject(&ping(to, &payload));
        let reply = guest.fetch().remove(0);
        check_echo(&reply[14..], to, &payload);
    }
}

#[test]
fn a_long_echo_comes_back_in_fragments_where_packets_are_short() {
    let mut guest = Guest::without_address(0, &[]);
    guest.fetch();
    let payload: Vec<u8> = (0..60_000_u32).map(|i| i as u8).collect();
    guest.inject(&ping(GATEWAY, &payload));
    let mut reassembly = Reassembly::default();
    let whole = guest.fetch().iter().find_map(|frame| {
        assert!(frame.len() <= 1514);
        let part = IpPacket::parse(&frame[14..]).unwrap();
        assert_eq!(smoltcp::wire::checksum::data(&part.bytes[..20]), 0xffff);
        reassembly.receive(&part, part.fragment.unwrap(), Instant::now())
    });
    check_echo(&whole.unwrap(), GATEWAY, &payload);
}

fn check_echo(packet: &[u8], from: Ipv4Addr, payload: &[u8]) {
    let packet = IpPacket::parse(packet).unwrap();
    assert_eq!(
        (packet.source, packet.destination),
        (from.into(), GUEST.into())
    );
    assert_eq!(packet.payload[0], 0);
    assert_eq!(packet.payload[4..8], [0x12, 0x34, 0, 1]);
    assert!(packet.payload[8..] == *payload);
    assert_eq!(smoltcp::wire::checksum::data(packet.payload), 0xffff);
    assert_eq!(smoltcp::wire::checksum::data(&packet.bytes[..20]), 0xffff);
}

fn dhcp(kind: u8, options: &[&[u8]], ciaddr: Ipv4Addr, broadcast: bool) -> Vec<u8> {
    let mut message = vec![0; 240];
    put(&mut message, 0, &[1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef]);
    message[10] = u8::from(broadcast) << 7;
    put(&mut message, 12, &ciaddr.octets());
    put(&mut message, 28, &MAC);
    put(&mut message, 236, &[99, 130, 83, 99]);
    message.extend([0, 53, 1, kind]);
    for option in options {
        message.extend(*option);
    }
    message.push(255);
    let mut packet = vec![0; 28];
    put(&mut packet, 20, &68_u16.to_be_bytes());
    put(&mut packet, 22, &67_u16.to_be_bytes());
    put(
        &mut packet,
        24,
        &u16::try_from(8 + message.len()).unwrap().to_be_bytes(),
    );
    packet.extend(message);
    let len = u16::try_from(packet.len()).unwrap();
    put_ipv4(&mut packet, PROTOCOL_UDP, ciaddr, Ipv4Addr::BROADCAST, len);
    frame(BROADCAST_MAC, ETHERTYPE_IPV4, &packet)
}

struct Answer {
    mac: Vec<u8>,
    to: IpAddr,
    message: Vec<u8>,
}

impl Answer {
    fn fetch(guest: &mut Guest) -> Option<Self> {
        let reply = guest.fetch().into_iter().next()?;
        let packet = IpPacket::parse(&reply[14..]).unwrap();
        let datagram = Udp::parse(packet.payload).unwrap();
        assert_eq!((datagram.source, datagram.destination), (67, 68));
        assert_eq!(packet.source, GATEWAY);
        assert!(datagram.payload.len() >= 300 && datagram.payload.len() <= 548);
        let length = u16::try_from(packet.payload.len()).unwrap();
        let pseudo = pseudo_header(PROTOCOL_UDP, packet.source, packet.destination, length);
        let sums = [pseudo, smoltcp::wire::checksum::data(packet.payload)];
        assert_eq!(smoltcp::wire::checksum::combine(&sums), 0xffff);
        Some(Self {
            mac: reply[..6].to_vec(),
            to: packet.destination,
            message: datagram.payload.to_vec(),
        })
    }

    fn option(&self, code: u8) -> Option<&[u8]> {
        let mut rest = &self.message[240..];
        while rest[0] != 255 {
            let (option, next) = rest.split_at(2 + usize::from(rest[1]));
            if option[0] == code {
                return Some(&option[2..]);
            }
            rest = next;
        }
        None
    }
}

#[test]
fn dhcp_offers_and_grants_the_address_with_all_that_goes_with_it() {
    let mut guest = Guest::without_address(super::guest::OFFLOADS, &[]);
    guest.fetch();
    let none = Ipv4Addr::UNSPECIFIED;
    guest.inject(&dhcp(1, &[], none, false));
    let offer = Answer::fetch(&mut guest).unwrap();
    assert_eq!(offer.option(53), Some(&[2][..]));
    assert_eq!(offer.message[16..20], GUEST.octets());
    assert_eq!(offer.message[4..8], [0xde, 0xad, 0xbe, 0xef]);
    assert_eq!((offer.mac, offer.to), (MAC.to_vec(), GUEST.into()));

    let server = [&[54, 4][..], &GATEWAY.octets()].concat();
    let wanted = [&[50, 4][..], &GUEST.octets()].concat();
    guest.inject(&dhcp(3, &[&server, &wanted], none, true));
    let ack = Answer::fetch(&mut guest).unwrap();
    assert_eq!(
        (&ack.mac, ack.to),
        (&BROADCAST_MAC.to_vec(), Ipv4Addr::BROADCAST.into())
    );
    assert_eq!(ack.option(53), Some(&[5][..]));
    assert_eq!(ack.option(54), Some(&GATEWAY.octets()[..]));
    assert_eq!(ack.option(1), Some(&[255, 255, 255, 0][..]));
    assert_eq!(ack.option(3), Some(&GATEWAY.octets()[..]));
    assert_eq!(ack.option(6), Some(&DNS.octets()[..]));
    assert_eq!(ack.option(12), Some(&b"pcp-vm"[..]));
    assert_eq!(ack.option(26), Some(&MTU.to_be_bytes()[..]));
    assert!(ack.option(51).is_some());

    // A renewal comes from the address and gets its answer there.
    guest.inject(&dhcp(3, &[], GUEST, false));
    let ack = Answer::fetch(&mut guest).unwrap();
    assert_eq!((ack.mac.as_slice(), ack.to), (&MAC[..], GUEST.into()));
    assert_eq!(ack.option(53), Some(&[5][..]));
}

#[test]
fn dhcp_refuses_another_address_and_ignores_another_server() {
    let mut guest = Guest::without_address(0, &[]);
    guest.fetch();
    let none = Ipv4Addr::UNSPECIFIED;
    guest.inject(&dhcp(3, &[&[50, 4, 10, 0, 2, 99]], none, false));
    let nak = Answer::fetch(&mut guest).unwrap();
    assert_eq!(nak.option(53), Some(&[6][..]));
    assert_eq!(nak.message[16..20], [0; 4]);
    assert_eq!(nak.to, Ipv4Addr::BROADCAST);

    guest.inject(&dhcp(
        3,
        &[&[54, 4, 10, 0, 2, 77], &[50, 4, 10, 0, 2, 15]],
        none,
        false,
    ));
    assert!(Answer::fetch(&mut guest).is_none());
}

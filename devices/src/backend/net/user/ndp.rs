//! Neighbour discovery (RFC 4861): who has the IPv6 addresses that are ours, the router and what it
//! advertises, and which address the guest has.

use std::net::Ipv6Addr;

use super::addresses::{DNS6, OUR_MAC, PREFIX6, ROUTER6, in_prefix, is_ours};
use super::icmp;
use super::outbox::Outbox;
use super::wire::{IPV6_LEN, IpPacket, address6, put};

const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

/// Every host of the link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// How long the router is one, in seconds: the most (RFC 8319 §4).
const ROUTER_LIFETIME: u16 = 65535;
/// How long addresses and name server are good, in seconds: for ever.
const FOREVER: [u8; 4] = [0xff; 4];

/// Reads a message of neighbour discovery and answers it. The guest's address within our prefix, if
/// the message tells that it has one.
pub(super) fn receive(packet: &IpPacket<'_>, mtu: u16, out: &mut Outbox) -> Option<Ipv6Addr> {
    // A larger number of hops than a router passes on: the message comes from this link.
    let (kind, hops) = (*packet.payload.first()?, *packet.bytes.get(7)?);
    if hops != 255 || packet.payload.get(1) != Some(&0) {
        return None;
    }
    match kind {
        ROUTER_SOLICITATION => advertise(mtu, out),
        NEIGHBOUR_SOLICITATION => {
            let target = address6(packet.payload, 8)?;
            if is_ours(target) {
                answer(packet, target, out);
            }
        }
        // The owner of an address says so.
        NEIGHBOUR_ADVERTISEMENT => {
            return address6(packet.payload, 8).filter(|&it| may_be_guest(it));
        }
        _ => {}
    }
    None
}

/// Whether `address` may be the guest's.
pub(super) fn may_be_guest(address: Ipv6Addr) -> bool {
    in_prefix(address) && !is_ours(address)
}

/// Tells everybody of the router, the prefix, the MTU and the name server.
pub(super) fn advertise(mtu: u16, out: &mut Outbox) {
    let mut message = [0; 88];
    // Hops, flags (RFC 4861 §4.2): addresses are the hosts' own choice, DHCPv6 has the rest.
    put(&mut message, 4, &[64, 0x40]);
    put(&mut message, 6, &ROUTER_LIFETIME.to_be_bytes());
    // The router's address on the link (RFC 4861 §4.6.1).
    put(&mut message, 16, &[1, 1]);
    put(&mut message, 18, &OUR_MAC);
    // The MTU (RFC 4861 §4.6.4).
    put(&mut message, 24, &[5, 1]);
    put(&mut message, 28, &u32::from(mtu).to_be_bytes());
    // The prefix: on this link, and for addresses (RFC 4861 §4.6.2).
    put(&mut message, 32, &[3, 4, 64, 0xc0]);
    put(&mut message, 36, &FOREVER);
    put(&mut message, 40, &FOREVER);
    put(&mut message, 48, &PREFIX6.octets());
    // The name server (RFC 8106 §5.1).
    put(&mut message, 64, &[25, 3]);
    put(&mut message, 68, &FOREVER);
    put(&mut message, 72, &DNS6.octets());
    put(out.room(), IPV6_LEN, &message);
    let ends = (ROUTER6.into(), ALL_NODES.into());
    icmp::send(ROUTER_ADVERTISEMENT, ends, message.len(), out);
}

/// Tells who has `target`, which is ours.
fn answer(packet: &IpPacket<'_>, target: Ipv6Addr, out: &mut Outbox) {
    let mut message = [0; 32];
    // From a router, asked for, the newest (RFC 4861 §4.4).
    let asked = !packet.source.is_unspecified();
    put(&mut message, 4, &[if asked { 0xe0 } else { 0xa0 }]);
    put(&mut message, 8, &target.octets());
    put(&mut message, 24, &[2, 1]);
    put(&mut message, 26, &OUR_MAC);
    put(out.room(), IPV6_LEN, &message);
    // Who asks without an address looks whether it may take ours: everybody hears the answer.
    let to = if asked {
        packet.source
    } else {
        ALL_NODES.into()
    };
    icmp::send(
        NEIGHBOUR_ADVERTISEMENT,
        (target.into(), to),
        message.len(),
        out,
    );
}

/// Asks the guest whether it still has `address`.
pub(super) fn ask(address: Ipv6Addr, out: &mut Outbox) {
    let mut message = [0; 32];
    put(&mut message, 8, &address.octets());
    put(&mut message, 24, &[1, 1]);
    put(&mut message, 26, &OUR_MAC);
    put(out.room(), IPV6_LEN, &message);
    // The multicast address that belongs to the guest's (RFC 4291 §2.7.1).
    let [.., a, b] = address.segments();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | a & 0xff, b);
    let ends = (ROUTER6.into(), group.into());
    icmp::send(NEIGHBOUR_SOLICITATION, ends, message.len(), out);
}

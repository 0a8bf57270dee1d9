//! ARP (RFC 826): who has the addresses that are ours, and where the guest is.

use std::net::Ipv4Addr;

use super::addresses::{GATEWAY, GUEST, OUR_MAC, is_ours};
use super::outbox::Outbox;
use super::wire::{BROADCAST_MAC, ETHERTYPE_ARP, Mac, address, be16, put};
use crate::backend::net::PacketHeader;

const REQUEST: u16 = 1;
const REPLY: u16 = 2;
const LEN: usize = 28;

/// Hardware type Ethernet, protocol type IPv4, address lengths 6 and 4.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// Answers a request for an address that is ours; the guest's address, if the packet tells that the
/// guest has [`GUEST`].
pub(super) fn receive(packet: &[u8], out: &mut Outbox) -> Option<Mac> {
    if !packet.starts_with(&ETHERNET_IPV4) {
        return None;
    }
    let operation = be16(packet, 6)?;
    let sender: Mac = *packet.get(8..)?.first_chunk()?;
    let sender_address = address(packet, 14)?;
    let target_address = address(packet, 24)?;
    if operation == REQUEST && is_ours(target_address) && sender_address != target_address {
        let reply = Arp {
            operation: REPLY,
            sender_address: target_address,
            target: sender,
            target_address: sender_address,
        };
        reply.send(sender, out);
    }
    (sender_address == GUEST && sender[0] & 1 == 0).then_some(sender)
}

/// Asks the guest whether it has [`GUEST`] yet.
pub(super) fn ask(out: &mut Outbox) {
    let request = Arp {
        operation: REQUEST,
        sender_address: GATEWAY,
        target: [0; 6],
        target_address: GUEST,
    };
    request.send(BROADCAST_MAC, out);
}

/// Tells everybody that the gateway is here (RFC 5227 §3).
pub(super) fn announce(out: &mut Outbox) {
    let announcement = Arp {
        operation: REQUEST,
        sender_address: GATEWAY,
        target: [0; 6],
        target_address: GATEWAY,
    };
    announcement.send(BROADCAST_MAC, out);
}

struct Arp {
    operation: u16,
    sender_address: Ipv4Addr,
    target: Mac,
    target_address: Ipv4Addr,
}

impl Arp {
    fn send(&self, to: Mac, out: &mut Outbox) {
        let room = out.room();
        put(room, 0, &ETHERNET_IPV4);
        put(room, 6, &self.operation.to_be_bytes());
        put(room, 8, &OUR_MAC);
        put(room, 14, &self.sender_address.octets());
        put(room, 18, &self.target);
        put(room, 24, &self.target_address.octets());
        out.push(to, ETHERTYPE_ARP, LEN, PacketHeader::default());
    }
}

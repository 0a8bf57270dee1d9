//! Frames from the guest: what they are, and whose.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use super::addresses::{GUEST, is_broadcast, is_local, is_ours};
use super::wire::{
    ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Frame, IpPacket, Mac, PROTOCOL_ICMP,
    PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP, Udp,
};
use super::{UserNet, arp, dhcp, dhcpv6, icmp, ndp};
use crate::virtio::device::Registry;

impl UserNet {
    /// Takes a frame from the guest.
    pub(super) fn handle(&mut self, frame: &[u8], events: &mut dyn Registry) {
        let Some(frame) = Frame::parse(frame) else {
            return;
        };
        match frame.ethertype {
            ETHERTYPE_ARP => {
                if let Some(mac) = arp::receive(frame.payload, &mut self.out) {
                    self.meet_guest(mac, events);
                }
            }
            ETHERTYPE_IPV4 => {
                let packet = IpPacket::parse(frame.payload);
                if let Some(packet) = packet.filter(|packet| packet.source.is_ipv4()) {
                    self.handle_ipv4(frame.source, &packet, events);
                }
            }
            ETHERTYPE_IPV6 if self.policy.ipv6 => {
                let packet = IpPacket::parse(frame.payload);
                if let Some(packet) = packet.filter(|packet| packet.source.is_ipv6()) {
                    self.handle_ipv6(frame.source, &packet, events);
                }
            }
            _ => {}
        }
    }

    fn handle_ipv4(&mut self, source: Mac, packet: &IpPacket<'_>, events: &mut dyn Registry) {
        if packet.protocol == PROTOCOL_UDP
            && packet.fragment.is_none()
            && let Some(datagram) = Udp::parse(packet.payload)
            && datagram.destination == dhcp::SERVER_PORT
            && (is_broadcast(packet.destination) || is_ours(packet.destination))
        {
            return self.dhcp.receive(&datagram, &mut self.out);
        }
        if !is_guest(source, packet.source) {
            return;
        }
        if packet.source == GUEST {
            self.meet_guest(source, events);
        }
        self.assemble(packet, events);
    }

    fn handle_ipv6(&mut self, source: Mac, packet: &IpPacket<'_>, events: &mut dyn Registry) {
        if source[0] & 1 != 0 {
            return;
        }
        if packet.protocol == PROTOCOL_ICMPV6 && packet.fragment.is_none() {
            // Who has no address yet asks whether one is free.
            if packet.source.is_unspecified() {
                self.tried_v6 = super::wire::address6(packet.payload, 8)
                    .filter(|&address| ndp::may_be_guest(address))
                    .or(self.tried_v6);
            }
            self.out.guest = source;
            if let Some(address) = ndp::receive(packet, self.out.mtu, &mut self.out) {
                self.meet_guest_v6(address);
            }
        }
        if !is_guest(source, packet.source) {
            return;
        }
        self.out.guest = source;
        if let IpAddr::V6(address) = packet.source
            && ndp::may_be_guest(address)
        {
            self.meet_guest_v6(address);
        }
        self.assemble(packet, events);
    }

    fn assemble(&mut self, packet: &IpPacket<'_>, events: &mut dyn Registry) {
        match packet.fragment {
            None => self.deliver(packet, events),
            Some(fragment) => {
                let whole = self.fragments.receive(packet, fragment, Instant::now());
                if let Some(packet) = whole.as_deref().and_then(IpPacket::parse) {
                    self.deliver(&packet, events);
                }
            }
        }
    }

    /// Hands a whole packet to its protocol.
    fn deliver(&mut self, packet: &IpPacket<'_>, events: &mut dyn Registry) {
        let (mut env, tcp, udp) = self.parts(events);
        match packet.protocol {
            PROTOCOL_TCP => tcp.receive(packet, &mut env),
            PROTOCOL_UDP => {
                let Some(datagram) = Udp::parse(packet.payload) else {
                    return;
                };
                if packet.source.is_ipv6() && datagram.destination == dhcpv6::SERVER_PORT {
                    dhcpv6::receive(&datagram, packet.source, env.out);
                } else if !is_broadcast(packet.destination) {
                    udp.receive(packet, &datagram, &mut env);
                }
            }
            PROTOCOL_ICMP if packet.source.is_ipv4() => icmp::receive(packet, env.out),
            PROTOCOL_ICMPV6 if packet.source.is_ipv6() => icmp::receive(packet, env.out),
            _ => {}
        }
    }

    /// The guest has its IPv4 address, on the card at `mac`.
    fn meet_guest(&mut self, mac: Mac, events: &mut dyn Registry) {
        self.out.guest = mac;
        self.guest.has_v4 = true;
        if !self.guest.is_up {
            self.let_clients_in(events);
        }
    }

    /// The guest has this IPv6 address. Programs use several at a time; any one will do.
    fn meet_guest_v6(&mut self, address: Ipv6Addr) {
        if self.guest.v6.is_none_or(|(known, _)| known != address) {
            let since = self.guest.v6.map_or_else(Instant::now, |(_, since)| since);
            self.guest.v6 = Some((address, since));
        }
    }
}

/// Whether a packet from `source` at `mac` may come from the guest.
fn is_guest(mac: Mac, source: IpAddr) -> bool {
    is_local(source) && !is_ours(source) && !is_broadcast(source) && mac[0] & 1 == 0
}

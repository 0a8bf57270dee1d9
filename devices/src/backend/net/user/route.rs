//! Where flows go, and what the parts of the network share.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Instant;

use super::dns::{self, Resolver};
use super::forward::Listener;
use super::icmp::Unreachable;
use super::outbox::Outbox;
use super::{DNS, GATEWAY, NETMASK};
use crate::virtio::device::Registry;

/// Whether `address` is answered for.
pub(super) fn is_ours(address: Ipv4Addr) -> bool {
    address == GATEWAY || address == DNS
}

/// Whether `address` is in the network.
pub(super) fn is_local(address: Ipv4Addr) -> bool {
    u32::from(address) & u32::from(NETMASK) == u32::from(GATEWAY) & u32::from(NETMASK)
}

/// Whether `address` means more than one host of the network.
pub(super) fn is_broadcast(address: Ipv4Addr) -> bool {
    let network = u32::from(GATEWAY) & u32::from(NETMASK);
    let host = u32::from(address) ^ network;
    address.is_broadcast() || address.is_multicast() || host == !u32::from(NETMASK) || host == 0
}

/// The two ends of a flow as the guest sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The end that is not the guest.
    pub(super) ours: SocketAddrV4,
    /// The guest's end.
    pub(super) guest: SocketAddrV4,
}

/// Where a flow goes.
pub(super) enum Route {
    /// To an address that the host can reach.
    Host(SocketAddr),
    /// Nowhere, for this reason.
    Nowhere(Unreachable),
}

/// What the guest may reach.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    /// Nothing at all, not even a name server; clients of forwards still reach the guest.
    pub(super) restrict: bool,
    /// The host's loopback address, at the router's.
    pub(super) host: bool,
}

/// What the parts of the network share during one call.
pub(super) struct Env<'a> {
    /// The frames on their way to the guest.
    pub(super) out: &'a mut Outbox,
    /// The card's event loop.
    pub(super) events: &'a mut dyn Registry,
    /// The host's name servers.
    pub(super) resolver: &'a mut Resolver,
    /// What the guest may reach.
    pub(super) policy: Policy,
    /// The host ports that lead into the guest.
    pub(super) forwards: &'a mut [Listener],
    /// Whether the guest has its address.
    pub(super) guest_is_up: bool,
    /// The time of the call.
    pub(super) now: Instant,
}

impl Env<'_> {
    /// Where the host finds what the guest knows as `address`.
    pub(super) fn route(&mut self, address: SocketAddrV4) -> Route {
        let (ip, port) = (*address.ip(), address.port());
        let nobody = ip.is_unspecified()
            || ip.is_loopback()
            || ip.is_multicast()
            || ip.octets()[0] >= 240
            || ip.octets()[0] == 0;
        match ip {
            _ if port == 0 => Route::Nowhere(Unreachable::Port),
            _ if self.policy.restrict => Route::Nowhere(Unreachable::Prohibited),
            GATEWAY if !self.policy.host => Route::Nowhere(Unreachable::Port),
            GATEWAY => Route::Host(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)),
            DNS if port == dns::PORT => Route::Host(self.resolver.server(self.now)),
            DNS => Route::Nowhere(Unreachable::Port),
            _ if nobody || is_local(ip) => Route::Nowhere(Unreachable::Host),
            _ => Route::Host(SocketAddr::V4(address)),
        }
    }
}

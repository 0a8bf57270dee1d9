//! Where flows go, and what the parts of the network share.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use super::addresses::{GATEWAY, GATEWAY6, GUEST, is_name_server, is_outside, is_router};
use super::dns::{self, Resolver};
use super::forward::Forwards;
use super::icmp::Unreachable;
use super::outbox::Outbox;
use crate::virtio::device::Registry;

/// The two ends of a flow as the guest sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The end that is not the guest.
    pub(super) ours: SocketAddr,
    /// The guest's end.
    pub(super) guest: SocketAddr,
}

/// Where a flow goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// IPv6 beside IPv4.
    pub(super) ipv6: bool,
}

/// What is known of the guest's addresses.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct GuestState {
    /// Whether clients of forwards are let in.
    pub(super) is_up: bool,
    /// Whether it has [`GUEST`].
    pub(super) has_v4: bool,
    /// Its address within the network's IPv6 prefix, and since when that is known.
    pub(super) v6: Option<(Ipv6Addr, Instant)>,
}

impl GuestState {
    /// The router's and the guest's address for a client that came over IPv6 (`v6`) or IPv4: the same
    /// version if the guest has it.
    pub(super) fn way_in(&self, v6: bool) -> (IpAddr, IpAddr) {
        match self.v6 {
            Some((guest, _)) if v6 || !self.has_v4 => (GATEWAY6.into(), guest.into()),
            _ => (GATEWAY.into(), GUEST.into()),
        }
    }
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
    pub(super) forwards: &'a mut Forwards,
    /// What is known of the guest.
    pub(super) guest: GuestState,
    /// The time of the call.
    pub(super) now: Instant,
}

impl Env<'_> {
    /// Where the host finds what the guest knows as `address`.
    pub(super) fn route(&mut self, address: SocketAddr) -> Route {
        let (ip, port) = (address.ip(), address.port());
        let loopback = match ip {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        if port == 0 {
            Route::Nowhere(Unreachable::Port)
        } else if self.policy.restrict {
            Route::Nowhere(Unreachable::Prohibited)
        } else if is_router(ip) && self.policy.host {
            Route::Host(SocketAddr::new(loopback, port))
        } else if is_name_server(ip) && port == dns::PORT {
            Route::Host(self.resolver.server(self.now))
        } else if is_router(ip) || is_name_server(ip) {
            Route::Nowhere(Unreachable::Port)
        } else if is_outside(ip) {
            Route::Host(address)
        } else {
            Route::Nowhere(Unreachable::Host)
        }
    }
}

//! The network's addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::wire::Mac;

/// The router.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// The name server.
pub const DNS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);
/// The guest.
pub const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
/// The network's mask.
pub const NETMASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);

/// The network's IPv6 prefix, 64 bits: a unique local one (RFC 4193), which programs choose only for
/// what has no IPv4 address (RFC 6724 §2.1).
pub const PREFIX6: Ipv6Addr = Ipv6Addr::new(0xfd10, 0, 2, 0, 0, 0, 0, 0);
/// The router, over IPv6.
pub const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfd10, 0, 2, 0, 0, 0, 0, 2);
/// The name server, over IPv6.
pub const DNS6: Ipv6Addr = Ipv6Addr::new(0xfd10, 0, 2, 0, 0, 0, 0, 3);
/// The router's address on the link, from which it advertises itself (RFC 4861 §4.2).
pub(super) const ROUTER6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

/// The address of everything that is not the guest.
pub(super) const OUR_MAC: Mac = [0x52, 0x55, 10, 0, 2, 2];

/// Whether `address` is the router's.
pub(super) fn is_router(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4 == GATEWAY,
        IpAddr::V6(v6) => v6 == GATEWAY6 || v6 == ROUTER6,
    }
}

/// Whether `address` is the name server's.
pub(super) fn is_name_server(address: IpAddr) -> bool {
    address == DNS || address == DNS6
}

/// Whether `address` is answered for.
pub(super) fn is_ours(address: impl Into<IpAddr>) -> bool {
    let address = address.into();
    is_router(address) || is_name_server(address)
}

/// The router's address towards `guest`.
pub(super) fn router_for(guest: IpAddr) -> IpAddr {
    match guest {
        IpAddr::V4(_) => GATEWAY.into(),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => ROUTER6.into(),
        IpAddr::V6(_) => GATEWAY6.into(),
    }
}

/// Whether `address` is in the network.
pub(super) fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            u32::from(v4) & u32::from(NETMASK) == u32::from(GATEWAY) & u32::from(NETMASK)
        }
        IpAddr::V6(v6) => v6.is_unicast_link_local() || in_prefix(v6),
    }
}

/// Whether `address` has the network's IPv6 prefix.
pub(super) fn in_prefix(address: Ipv6Addr) -> bool {
    address.octets()[..8] == PREFIX6.octets()[..8]
}

/// Whether `address` means more than one host of the network.
pub(super) fn is_broadcast(address: IpAddr) -> bool {
    let IpAddr::V4(v4) = address else {
        return address.is_multicast();
    };
    let network = u32::from(GATEWAY) & u32::from(NETMASK);
    let host = u32::from(v4) ^ network;
    v4.is_broadcast() || v4.is_multicast() || host == !u32::from(NETMASK) || host == 0
}

/// Whether `address` may belong to the host of one of the guest's flows: it names a single host that
/// is neither this one nor in the network.
pub(super) fn is_outside(address: IpAddr) -> bool {
    if address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || is_local(address)
    {
        return false;
    }
    match address {
        IpAddr::V4(v4) => v4.octets()[0] != 0 && v4.octets()[0] < 240,
        // An IPv4 address within an IPv6 one (RFC 4291 §2.5.5) would lead past the rules for IPv4;
        // another link is none of the guest's.
        IpAddr::V6(v6) => v6.segments()[..5] != [0; 5] && v6.segments()[0] & 0xffc0 != 0xfec0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_of_other_networks_are_outside() {
        for text in [
            "1.1.1.1",
            "192.168.1.1",
            "10.0.3.1",
            "2001:db8::1",
            "fd11::1",
            "64:ff9b::101:101",
        ] {
            assert!(is_outside(text.parse().unwrap()), "{text}");
        }
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "127.255.0.1",
            "10.0.2.99",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "::ffff:1.1.1.1",
            "fe80::1",
            "fd10:0:2::99",
            "ff02::1",
            "fec0::2",
        ] {
            assert!(!is_outside(text.parse().unwrap()), "{text}");
        }
    }
}

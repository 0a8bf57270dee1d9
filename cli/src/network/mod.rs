//! PCP's TAP network on this host: a bridge, a TAP for one guest, and what leads from there to the world.
//!
//! What is there is looked at with `ip` and `nft` ([`found`]); what is missing becomes a list of changes ([`plan`]), each
//! with the command that makes it and the one that undoes it ([`change`]); what was changed is written down before it is
//! done ([`ledger`]), so that exactly that can be undone, whenever a setup ended.

mod change;
mod found;
mod ledger;
mod plan;
mod tool;
mod user;

use std::net::Ipv4Addr;

use vmm::config::value::{GuestAddress, TapChoice};

pub(crate) use self::change::Change;
pub(crate) use self::found::{Found, Part, PartState};
pub(crate) use self::ledger::Ledger;
pub(crate) use self::plan::{Obstacle, plan};
pub(crate) use self::tool::{TOOLS, is_there, run, shown};
pub(crate) use self::user::User;

/// The bridge.
pub(crate) const BRIDGE: &str = "pcpbr0";
/// The guest's TAP, a port of the bridge.
pub(crate) const TAP: &str = TapChoice::PCP;
/// The bridge's address, which is the guest's gateway, with the length of the network's prefix.
pub(crate) const GATEWAY: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 177, 0, 1), 24);
/// The network.
pub(crate) const SUBNET: &str = "10.177.0.0/24";
/// The guest's address.
pub(crate) const GUEST: Ipv4Addr = GuestAddress::PCP.ip;
/// The table of nftables with the network's rules, of the family `inet`.
pub(crate) const TABLE: &str = "pcp-nat";
/// Where TAPs come from.
pub(crate) const TUN: &str = "/dev/net/tun";
/// The kernel's mover of packets.
pub(crate) const VHOST: &str = "/dev/vhost-net";
/// Whether the kernel passes packets on.
pub(crate) const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// The rules: what comes from the network leaves under the host's address, and its answers come back.
pub(crate) fn rules() -> String {
    format!(
        "table inet {TABLE} {{ chain postrouting {{ type nat hook postrouting priority 100; policy accept; \
         ip saddr {SUBNET} masquerade; }}; chain forward {{ type filter hook forward priority 0; policy accept; \
         iifname \"{BRIDGE}\" accept; oifname \"{BRIDGE}\" ct state established,related accept; }}; }}"
    )
}

//! A change to the host: the command that makes it, and the one that takes it back.

use serde::{Deserialize, Serialize};

use super::found::Found;
use super::{BRIDGE, GATEWAY, TABLE, TAP, VHOST, rules};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub(crate) enum Change {
    /// A module of the kernel's is loaded.
    Module {
        /// Its name.
        name: String,
        /// Whether the network is of use without it.
        optional: bool,
    },
    /// The bridge is made.
    Bridge,
    /// The bridge gets its address.
    BridgeAddress,
    /// The bridge goes up.
    BridgeUp,
    /// The TAP is made.
    Tap {
        /// The user who may use it.
        owner: u32,
    },
    /// The TAP becomes a port of the bridge.
    TapPort,
    /// The TAP goes up.
    TapUp,
    /// The table with the rules is made.
    Rules,
    /// The kernel passes packets on.
    Forwarding,
    /// A user may open the kernel's vhost-net.
    VhostAcl {
        /// The user.
        user: u32,
    },
    /// The group `kvm` has the kernel's vhost-net.
    VhostGroup {
        /// The group that had it.
        before: u32,
    },
    /// That group may open it.
    VhostMode {
        /// What was allowed before.
        before: u32,
    },
}

impl Change {
    /// Whether the network is of use without it.
    pub(crate) fn is_optional(&self) -> bool {
        match self {
            Self::Module { optional, .. } => *optional,
            Self::VhostAcl { .. } | Self::VhostGroup { .. } | Self::VhostMode { .. } => true,
            _ => false,
        }
    }

    /// The command that makes it.
    pub(crate) fn command(&self) -> Vec<String> {
        let (gateway, prefix) = GATEWAY;
        let text = match self {
            Self::Module { name, .. } => format!("modprobe {name}"),
            Self::Bridge => format!("ip link add name {BRIDGE} type bridge"),
            Self::BridgeAddress => format!("ip addr add {gateway}/{prefix} dev {BRIDGE}"),
            Self::BridgeUp => format!("ip link set dev {BRIDGE} up"),
            Self::Tap { owner } => {
                format!("ip tuntap add dev {TAP} mode tap multi_queue user {owner}")
            }
            Self::TapPort => format!("ip link set dev {TAP} master {BRIDGE}"),
            Self::TapUp => format!("ip link set dev {TAP} up"),
            Self::Rules => return vec!["nft".to_owned(), rules()],
            Self::Forwarding => "sysctl -q -w net.ipv4.ip_forward=1".to_owned(),
            Self::VhostAcl { user } => format!("setfacl -m u:{user}:rw {VHOST}"),
            Self::VhostGroup { .. } => format!("chgrp kvm {VHOST}"),
            Self::VhostMode { .. } => format!("chmod 660 {VHOST}"),
        };
        words(&text)
    }

    /// The command that takes it back.
    pub(crate) fn undo(&self) -> Vec<String> {
        let (gateway, prefix) = GATEWAY;
        words(&match self {
            Self::Module { name, .. } => format!("modprobe -r {name}"),
            Self::Bridge => format!("ip link delete dev {BRIDGE}"),
            Self::BridgeAddress => format!("ip addr del {gateway}/{prefix} dev {BRIDGE}"),
            Self::BridgeUp => format!("ip link set dev {BRIDGE} down"),
            Self::Tap { .. } => format!("ip link delete dev {TAP}"),
            Self::TapPort => format!("ip link set dev {TAP} nomaster"),
            Self::TapUp => format!("ip link set dev {TAP} down"),
            Self::Rules => format!("nft delete table inet {TABLE}"),
            Self::Forwarding => "sysctl -q -w net.ipv4.ip_forward=0".to_owned(),
            Self::VhostAcl { user } => format!("setfacl -x u:{user} {VHOST}"),
            Self::VhostGroup { before } => format!("chgrp {before} {VHOST}"),
            Self::VhostMode { before } => format!("chmod {before:o} {VHOST}"),
        })
    }

    /// Whether it is still there to be taken back.
    pub(crate) fn stands(&self, found: &Found) -> bool {
        let bridge = found.bridge.as_ref();
        let tap = found.tap.as_ref();
        match self {
            Self::Module { name, .. } => Found::has_module(name),
            Self::Bridge => bridge.is_some(),
            Self::BridgeAddress => bridge.is_some_and(|it| it.has_address()),
            Self::BridgeUp => bridge.is_some_and(|it| it.up),
            Self::Tap { .. } => tap.is_some(),
            Self::TapPort => tap.is_some_and(|it| it.master.as_deref() == Some(BRIDGE)),
            Self::TapUp => tap.is_some_and(|it| it.up),
            Self::Rules => found.table.is_some(),
            Self::Forwarding => found.forwarding,
            Self::VhostAcl { .. } | Self::VhostGroup { .. } | Self::VhostMode { .. } => found.vhost,
        }
    }

    /// The part of the network that it is of, as `network status` calls it.
    pub(crate) fn part(&self) -> &'static str {
        match self {
            Self::Module { name, .. } if name == "tun" => "tap",
            Self::Bridge | Self::BridgeUp => "bridge",
            Self::BridgeAddress => "address",
            Self::Tap { .. } | Self::TapPort | Self::TapUp => "tap",
            Self::Rules => "rules",
            Self::Forwarding => "forwarding",
            Self::Module { .. }
            | Self::VhostAcl { .. }
            | Self::VhostGroup { .. }
            | Self::VhostMode { .. } => "vhost-net",
        }
    }

    /// Whether it is no failure if it cannot be taken back: others use a module by now.
    pub(crate) fn may_stay(&self) -> bool {
        matches!(self, Self::Module { .. })
    }
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_changes_is_read_as_it_was_written() {
        let changes = [
            Change::Module {
                name: "tun".into(),
                optional: false,
            },
            Change::Tap { owner: 1000 },
            Change::Rules,
            Change::VhostMode { before: 0o600 },
        ];
        for change in changes {
            let text = serde_json::to_string(&change).unwrap();
            assert_eq!(serde_json::from_str::<Change>(&text).unwrap(), change);
        }
        assert_eq!(
            serde_json::to_string(&Change::TapPort).unwrap(),
            "{\"change\":\"tap-port\"}"
        );
        assert_eq!(
            Change::VhostMode { before: 0o600 }.undo(),
            ["chmod", "600", VHOST]
        );
    }
}

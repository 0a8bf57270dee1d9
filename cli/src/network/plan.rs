//! What is missing of the network, as changes in the order in which they are made; or what is in the way.

use std::fs;

use super::found::{may_open_vhost, vhost_owner};
use super::tool::is_there;
use super::{BRIDGE, Change, Found, SUBNET, TABLE, TAP, User};

/// Something on the host that the network cannot do with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Obstacle {
    /// What it is.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: String,
}

/// The changes that are missing for `user` to have the network.
pub(crate) fn plan(found: &Found, user: &User) -> Result<Vec<Change>, Vec<Obstacle>> {
    let obstacles = obstacles(found, user);
    if !obstacles.is_empty() {
        return Err(obstacles);
    }
    let bridge = found.bridge.as_ref();
    let tap = found.tap.as_ref();
    let mut changes = Vec::new();
    let mut unless = |there: bool, change: Change| {
        if !there {
            changes.push(change);
        }
    };
    unless(
        found.tun || tap.is_some(),
        Change::Module {
            name: "tun".to_owned(),
            optional: false,
        },
    );
    unless(bridge.is_some(), Change::Bridge);
    unless(
        bridge.is_some_and(super::found::Link::has_address),
        Change::BridgeAddress,
    );
    unless(bridge.is_some_and(|it| it.up), Change::BridgeUp);
    unless(tap.is_some(), Change::Tap { owner: user.uid });
    unless(tap.is_some_and(|it| it.master.is_some()), Change::TapPort);
    unless(tap.is_some_and(|it| it.up), Change::TapUp);
    unless(found.table.is_some(), Change::Rules);
    unless(found.forwarding, Change::Forwarding);
    changes.extend(vhost(found, user));
    Ok(changes)
}

fn obstacles(found: &Found, user: &User) -> Vec<Obstacle> {
    let mut obstacles = Vec::new();
    let mut tell = |message: String, hint: String| obstacles.push(Obstacle { message, hint });
    if found.bridge.as_ref().is_some_and(|it| it.kind != "bridge") {
        tell(
            format!("`{BRIDGE}` is there and is no bridge"),
            format!("give it another name: `ip link set dev {BRIDGE} name NAME`"),
        );
    }
    if let Some(rival) = &found.rival {
        tell(
            format!("`{rival}` has an address of {SUBNET}"),
            format!("take it away from there: `ip addr show dev {rival}`"),
        );
    }
    if let Some(tap) = &found.tap {
        let remove = || format!("`ip link delete dev {TAP}` removes it, once no VM uses it");
        if tap.kind != "tun" {
            tell(format!("`{TAP}` is there and is no TAP"), remove());
        } else if !tap.multi_queue {
            tell(format!("`{TAP}` is there and has one queue only"), remove());
        } else if !user.is(tap.owner.as_deref()) {
            let owner = tap.owner.as_deref().unwrap_or("root");
            tell(
                format!("`{TAP}` belongs to {owner}, not to {user}"),
                "`pcp-vmm network teardown` first, or `--user` names its owner".to_owned(),
            );
        }
        if let Some(master) = tap.master.as_deref().filter(|&it| it != BRIDGE) {
            tell(
                format!("`{TAP}` is a port of `{master}`"),
                format!("take it out: `ip link set dev {TAP} nomaster`"),
            );
        }
    }
    if found.table.is_some() && !found.rules_stand() {
        tell(
            format!("there is a table `inet {TABLE}` of nftables with other rules"),
            format!(
                "look at it: `nft list table inet {TABLE}`; `nft delete table inet {TABLE}` removes it"
            ),
        );
    }
    obstacles
}

/// What gives `user` the kernel's vhost-net.
fn vhost(found: &Found, user: &User) -> Vec<Change> {
    let mut changes = Vec::new();
    if !found.vhost {
        changes.push(Change::Module {
            name: "vhost_net".to_owned(),
            optional: true,
        });
    }
    if user.uid == 0 || found.vhost && may_open_vhost(user) {
        return changes;
    }
    if is_there("setfacl") {
        changes.push(Change::VhostAcl { user: user.uid });
    } else if let Some((group, mode)) = vhost_owner()
        && kvm_group().is_some_and(|kvm| user.groups().contains(&kvm))
    {
        changes.push(Change::VhostGroup { before: group });
        changes.push(Change::VhostMode { before: mode });
    }
    changes
}

/// The number of the group `kvm`.
fn kvm_group() -> Option<u32> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    let line = groups.lines().find_map(|line| line.strip_prefix("kvm:"))?;
    line.split(':').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::found::Link;
    use super::*;

    fn root() -> User {
        User::called("0").unwrap()
    }

    fn nothing() -> Found {
        Found {
            tun: true,
            vhost: true,
            ..Found::default()
        }
    }

    fn whole() -> Found {
        Found {
            bridge: Some(Link {
                kind: "bridge".into(),
                up: true,
                addresses: vec!["10.177.0.1/24".into()],
                ..Link::default()
            }),
            tap: Some(Link {
                kind: "tun".into(),
                up: true,
                multi_queue: true,
                master: Some(BRIDGE.into()),
                ..Link::default()
            }),
            table: Some(
                super::super::rules()
                    .replace("; ", "\n")
                    .replace("{ ", "{\n"),
            ),
            forwarding: true,
            ..nothing()
        }
    }

    #[test]
    fn only_what_is_missing_is_changed() {
        let all = plan(&nothing(), &root()).unwrap();
        let mut expected = vec![
            Change::Bridge,
            Change::BridgeAddress,
            Change::BridgeUp,
            Change::Tap { owner: 0 },
            Change::TapPort,
            Change::TapUp,
            Change::Rules,
            Change::Forwarding,
        ];
        assert_eq!(all, expected);
        assert_eq!(plan(&whole(), &root()).unwrap(), []);
        expected.pop();
        let forwarding = Found {
            forwarding: true,
            ..nothing()
        };
        assert_eq!(plan(&forwarding, &root()).unwrap(), expected);
        let mut down = whole();
        down.tap.as_mut().unwrap().up = false;
        assert_eq!(plan(&down, &root()).unwrap(), [Change::TapUp]);
    }

    #[test]
    fn modules_are_loaded_where_their_devices_are_missing() {
        let module = |name: &str, optional| Change::Module {
            name: name.into(),
            optional,
        };
        let found = Found {
            tun: false,
            vhost: false,
            ..nothing()
        };
        let changes = plan(&found, &root()).unwrap();
        assert_eq!(changes.first(), Some(&module("tun", false)));
        assert_eq!(changes.last(), Some(&module("vhost_net", true)));
    }

    #[test]
    fn what_is_in_the_way_is_told_all_at_once() {
        let mut found = whole();
        found.bridge.as_mut().unwrap().kind = "dummy".into();
        found.rival = Some("eth1".into());
        found.table = Some("table inet pcp-nat {\n}\n".into());
        let tap = found.tap.as_mut().unwrap();
        tap.owner = Some("anna".into());
        tap.master = Some("br0".into());
        let obstacles = plan(&found, &root()).unwrap_err();
        let text: Vec<&str> = obstacles.iter().map(|it| it.message.as_str()).collect();
        let said = text.join("\n");
        for words in [
            "is no bridge",
            "`eth1` has",
            "belongs to anna, not to root",
            "port of `br0`",
            "other rules",
        ] {
            assert!(said.contains(words), "{said}");
        }
        assert_eq!(obstacles.len(), 5);
    }
}

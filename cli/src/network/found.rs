//! What of the network is there.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::{Access, access};
use serde::Serialize;
use serde_json::Value;

use super::tool::run;
use super::{BRIDGE, FORWARDING, GATEWAY, SUBNET, TABLE, TAP, TUN, User, VHOST};

/// The network as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Found {
    /// Whether there is the device that TAPs come from.
    pub(crate) tun: bool,
    /// What is called like the bridge.
    pub(crate) bridge: Option<Link>,
    /// What is called like the TAP.
    pub(crate) tap: Option<Link>,
    /// Another interface with an address of the network.
    pub(crate) rival: Option<String>,
    /// The rules, if there is the table and they could be read.
    pub(crate) table: Option<String>,
    /// Why it is not known whether there is the table.
    pub(crate) table_unknown: Option<String>,
    /// Whether the kernel passes packets on.
    pub(crate) forwarding: bool,
    /// Whether there is the kernel's vhost-net.
    pub(crate) vhost: bool,
}

/// A network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Link {
    /// Its kind, such as `bridge` or `tun`.
    pub(crate) kind: String,
    /// Whether it is up.
    pub(crate) up: bool,
    /// Whether somebody uses it: a TAP that no VM has open has no carrier.
    pub(crate) carrier: bool,
    /// The bridge that it is a port of.
    pub(crate) master: Option<String>,
    /// Its addresses with the length of their prefix.
    pub(crate) addresses: Vec<String>,
    /// Whether it is a TAP with several queues.
    pub(crate) multi_queue: bool,
    /// Who may use the TAP.
    pub(crate) owner: Option<String>,
}

impl Link {
    /// Whether it has the bridge's address.
    pub(super) fn has_address(&self) -> bool {
        let (gateway, prefix) = GATEWAY;
        self.addresses.contains(&format!("{gateway}/{prefix}"))
    }
}

impl Found {
    /// Looks at the host.
    pub(crate) fn look() -> Result<Self, String> {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let links = run(&words("ip -j -d addr show"))?;
        let table = run(&words(&format!("nft -s list table inet {TABLE}")));
        Self {
            tun: is_device(TUN),
            forwarding: fs::read_to_string(FORWARDING).is_ok_and(|text| text.trim() == "1"),
            vhost: is_device(VHOST),
            ..Self::default()
        }
        .with_table(table)
        .with_links(&links)
    }

    fn with_table(mut self, table: Result<String, String>) -> Self {
        match table {
            Ok(text) => self.table = Some(text),
            Err(why) if why.contains("No such file or directory") => {}
            Err(why) => self.table_unknown = Some(why),
        }
        self
    }

    fn with_links(mut self, text: &str) -> Result<Self, String> {
        let links: Vec<Value> = serde_json::from_str(text)
            .map_err(|error| format!("`ip` is not understood: {error}"))?;
        for link in &links {
            let name = link["ifname"].as_str().unwrap_or_default();
            match name {
                BRIDGE => self.bridge = Some(link_of(link)),
                TAP => self.tap = Some(link_of(link)),
                _ if link_of(link).addresses.iter().any(|it| is_inside(it)) => {
                    self.rival = Some(name.to_owned());
                }
                _ => {}
            }
        }
        Ok(self)
    }

    /// Whether the kernel has loaded the module `name`.
    pub(super) fn has_module(name: &str) -> bool {
        Path::new("/sys/module").join(name).exists()
    }

    /// Whether the rules are what they should be, if there are any.
    pub(super) fn rules_stand(&self) -> bool {
        let Some(table) = &self.table else {
            return false;
        };
        let lines: Vec<&str> = table.lines().map(str::trim).collect();
        let has = |start: &str| lines.iter().any(|line| line.starts_with(start));
        has(&format!("ip saddr {SUBNET} masquerade"))
            && has(&format!("iifname \"{BRIDGE}\" accept"))
            && has(&format!("oifname \"{BRIDGE}\" ct state"))
    }
}

/// Whether an address such as `10.177.0.5/24` is of the network.
fn is_inside(address: &str) -> bool {
    let (gateway, _) = GATEWAY;
    let net = |text: &str| -> Option<[u8; 3]> {
        let ip: std::net::Ipv4Addr = text.split('/').next()?.parse().ok()?;
        let [a, b, c, _] = ip.octets();
        Some([a, b, c])
    };
    let [a, b, c, _] = gateway.octets();
    net(address) == Some([a, b, c])
}

fn link_of(link: &Value) -> Link {
    let flag = |name: &str| {
        let mut flags = link["flags"].as_array().into_iter().flatten();
        flags.any(|flag| flag == name)
    };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let addresses = link["addr_info"].as_array().into_iter().flatten();
    let data = &link["linkinfo"]["info_data"];
    Link {
        kind: text(&link["linkinfo"]["info_kind"]).unwrap_or_default(),
        up: flag("UP"),
        carrier: flag("LOWER_UP"),
        master: text(&link["master"]),
        addresses: addresses
            .filter_map(|it| Some(format!("{}/{}", it["local"].as_str()?, it["prefixlen"])))
            .collect(),
        multi_queue: data["type"] == "tap" && data["multi_queue"] == true,
        owner: text(&data["user"]).or_else(|| data["user"].as_u64().map(|uid| uid.to_string())),
    }
}

fn is_device(path: &str) -> bool {
    fs::metadata(path).is_ok_and(|it| it.file_type().is_char_device())
}

/// Whether `user` may open the kernel's vhost-net.
pub(super) fn may_open_vhost(user: &User) -> bool {
    if user.uid == 0 {
        return true;
    }
    let own = rustix::process::geteuid();
    if own.as_raw() == user.uid {
        return access(VHOST, Access::READ_OK | Access::WRITE_OK).is_ok();
    }
    let groups: Vec<String> = user.groups().iter().map(u32::to_string).collect();
    let groups = match groups.as_slice() {
        [] => "--clear-groups".to_owned(),
        groups => format!("--groups={}", groups.join(",")),
    };
    let uid = user.uid;
    let words = format!(
        "setpriv --reuid={uid} --regid={} {groups} test -r {VHOST} -a -w {VHOST}",
        user.groups().first().unwrap_or(&uid)
    );
    run(&words.split(' ').map(str::to_owned).collect::<Vec<_>>()).is_ok()
}

/// Group and mode of the kernel's vhost-net.
pub(super) fn vhost_owner() -> Option<(u32, u32)> {
    let metadata = fs::metadata(VHOST).ok()?;
    Some((metadata.gid(), metadata.mode() & 0o7777))
}

/// A part of the network, as `network status` tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Part {
    /// A stable word: `bridge`, `address`, `tap`, `rules`, `forwarding`, `vhost-net`.
    pub(crate) name: &'static str,
    /// Whether it is there as it should be.
    pub(crate) state: PartState,
    /// More about it, in words.
    pub(crate) detail: String,
    /// Whether `network setup` made it, so that `network teardown` takes it back.
    pub(crate) ours: bool,
    /// Whether guests reach the world without it.
    pub(crate) optional: bool,
}

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PartState {
    /// As it should be.
    InPlace,
    /// Not there.
    Missing,
    /// There, but not as it should be.
    Different,
    /// Only root is told.
    Unknown,
}

impl PartState {
    /// As shown.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::InPlace => "in place",
            Self::Missing => "missing",
            Self::Different => "different",
            Self::Unknown => "unknown",
        }
    }
}

impl Found {
    /// All parts of the network; whether one is ours is left open.
    pub(crate) fn parts(&self) -> Vec<Part> {
        let part = |name, (state, detail): (PartState, String)| Part {
            name,
            state,
            detail,
            ours: false,
            optional: name == "vhost-net",
        };
        vec![
            part("bridge", self.bridge_state()),
            part("address", self.address_state()),
            part("tap", self.tap_state()),
            part("rules", self.rules_state()),
            part("forwarding", self.forwarding_state()),
            part("vhost-net", self.vhost_state()),
        ]
    }

    fn bridge_state(&self) -> (PartState, String) {
        match &self.bridge {
            None => (PartState::Missing, BRIDGE.to_owned()),
            Some(link) if link.kind != "bridge" => {
                (PartState::Different, format!("{BRIDGE} is no bridge"))
            }
            Some(link) if !link.up => (PartState::Different, format!("{BRIDGE} is down")),
            Some(_) => (PartState::InPlace, BRIDGE.to_owned()),
        }
    }

    fn address_state(&self) -> (PartState, String) {
        let (gateway, prefix) = GATEWAY;
        let wanted = format!("{gateway}/{prefix} on {BRIDGE}");
        match &self.bridge {
            Some(link) if link.has_address() => (PartState::InPlace, wanted),
            _ => match &self.rival {
                Some(rival) => (
                    PartState::Different,
                    format!("{rival} has the network {SUBNET}"),
                ),
                None => (PartState::Missing, wanted),
            },
        }
    }

    fn tap_state(&self) -> (PartState, String) {
        let Some(tap) = &self.tap else {
            return (PartState::Missing, TAP.to_owned());
        };
        let fault = if tap.kind != "tun" {
            "is no TAP"
        } else if !tap.multi_queue {
            "has one queue only"
        } else if tap.master.as_deref() != Some(BRIDGE) {
            "is no port of the bridge"
        } else if !tap.up {
            "is down"
        } else {
            let owner = tap.owner.as_deref().unwrap_or("root");
            let used = if tap.carrier { ", in use" } else { "" };
            return (PartState::InPlace, format!("{TAP} of {owner}{used}"));
        };
        (PartState::Different, format!("{TAP} {fault}"))
    }

    fn rules_state(&self) -> (PartState, String) {
        let name = format!("nftables `inet {TABLE}`");
        match (&self.table, &self.table_unknown) {
            (Some(_), _) if self.rules_stand() => (PartState::InPlace, name),
            (Some(_), _) => (PartState::Different, format!("{name} has other rules")),
            (None, Some(why)) => (PartState::Unknown, format!("{name}: {why}")),
            (None, None) => (PartState::Missing, name),
        }
    }

    fn forwarding_state(&self) -> (PartState, String) {
        let state = if self.forwarding {
            PartState::InPlace
        } else {
            PartState::Missing
        };
        (state, "net.ipv4.ip_forward".to_owned())
    }

    fn vhost_state(&self) -> (PartState, String) {
        let open = access(VHOST, Access::READ_OK | Access::WRITE_OK).is_ok();
        match (self.vhost, open) {
            (true, true) => (PartState::InPlace, VHOST.to_owned()),
            (true, false) => (PartState::Different, format!("you may not open {VHOST}")),
            (false, _) => (PartState::Missing, VHOST.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINKS: &str = r#"[
        {"ifname":"lo","flags":["LOOPBACK","UP"],"addr_info":[{"local":"127.0.0.1","prefixlen":8}]},
        {"ifname":"pcpbr0","flags":["UP"],"linkinfo":{"info_kind":"bridge","info_data":{}},
         "addr_info":[{"local":"10.177.0.1","prefixlen":24},{"local":"fe80::1","prefixlen":64}]},
        {"ifname":"pcptap0","flags":["UP"],"master":"pcpbr0","linkinfo":{"info_kind":"tun",
         "info_data":{"type":"tap","multi_queue":true,"user":"anna"}},"addr_info":[]},
        {"ifname":"eth1","flags":[],"addr_info":[{"local":"10.177.0.9","prefixlen":16}]}]"#;

    fn found() -> Found {
        Found::default().with_links(LINKS).unwrap()
    }

    fn state(found: &Found, name: &str) -> PartState {
        let parts = found.parts();
        parts.iter().find(|part| part.name == name).unwrap().state
    }

    #[test]
    fn what_ip_tells_is_understood() {
        let found = found();
        assert!(found.bridge.as_ref().unwrap().has_address());
        let tap = found.tap.as_ref().unwrap();
        assert_eq!(tap.owner.as_deref(), Some("anna"));
        assert!(tap.multi_queue && tap.up && !tap.carrier);
        assert_eq!(found.rival.as_deref(), Some("eth1"));
        assert_eq!(state(&found, "bridge"), PartState::InPlace);
        assert_eq!(state(&found, "tap"), PartState::InPlace);
        assert!(Found::default().with_links("Usage: ip").is_err());
    }

    #[test]
    fn a_part_that_is_not_as_it_should_be_is_told() {
        let mut found = found();
        let tap = found.tap.as_mut().unwrap();
        tap.multi_queue = false;
        assert_eq!(state(&found, "tap"), PartState::Different);
        found.bridge.as_mut().unwrap().addresses.clear();
        assert_eq!(state(&found, "address"), PartState::Different);
        found.rival = None;
        assert_eq!(state(&found, "address"), PartState::Missing);
        assert_eq!(state(&Found::default(), "tap"), PartState::Missing);
    }

    #[test]
    fn only_a_table_with_all_rules_stands() {
        let listed = "table inet pcp-nat {\n\tchain postrouting {\n\t\ttype nat hook postrouting priority srcnat; \
            policy accept;\n\t\tip saddr 10.177.0.0/24 masquerade\n\t}\n\n\tchain forward {\n\
            \t\tiifname \"pcpbr0\" accept\n\t\toifname \"pcpbr0\" ct state established,related accept\n\t}\n}\n";
        let with = |table: Result<String, String>| Found::default().with_table(table);
        assert_eq!(state(&with(Ok(listed.into())), "rules"), PartState::InPlace);
        let less = listed.replace("iifname", "# iifname");
        assert_eq!(state(&with(Ok(less)), "rules"), PartState::Different);
        let why = |text: &str| with(Err(text.to_owned()));
        assert_eq!(
            state(&why("Error: No such file or directory"), "rules"),
            PartState::Missing
        );
        assert_eq!(
            state(&why("Operation not permitted (you must be root)"), "rules"),
            PartState::Unknown
        );
    }
}

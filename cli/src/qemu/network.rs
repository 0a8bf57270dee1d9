//! The network card and what it is plugged into.

use super::Translator;
use super::chardev::Place;
use super::keys::Keys;

/// The card's address where none is said, as QEMU's.
const MAC: &str = "52:54:00:12:34:56";

/// The networks, and the card.
#[derive(Debug, Default)]
pub(super) struct Network {
    backends: Vec<Backend>,
    has_card: bool,
    /// `-net nic` that names no network, with its address: it is on one hub with `-net user` and `-net tap`.
    hub_card: Option<(usize, String)>,
    hub: Option<Backend>,
    /// `-net none` or `-nic none`.
    none: bool,
}

/// A network, as flags of `pcp-vmm run`.
#[derive(Debug, Clone)]
struct Backend {
    id: String,
    net: String,
    forwards: Vec<String>,
    row: usize,
    used: bool,
}

impl Translator {
    /// `-netdev`.
    pub(super) fn netdev(&mut self, row: usize, value: &str) -> Result<(), String> {
        let mut keys = Keys::parse(value, "type")?;
        let id = keys.take("id").ok_or("it has no `id`")?;
        let backend = self.backend(row, id, &mut keys)?;
        keys.end()?;
        self.network.backends.push(backend);
        Ok(())
    }

    /// The network of `keys`, which have its type.
    fn backend(&mut self, row: usize, id: String, keys: &mut Keys) -> Result<Backend, String> {
        let mut forwards = Vec::new();
        let net = match keys.take("type").unwrap_or_default().as_str() {
            "user" => user(keys, &mut forwards)?,
            "tap" => tap(keys)?,
            "vhost-user" => {
                let chardev = keys.take("chardev").ok_or("it has no `chardev`")?;
                keys.drop_all(&["vhostforce"]);
                match self.place_of(&chardev, "the network card")? {
                    Place::Unix {
                        path,
                        listens: false,
                    } => {
                        format!("vhost-user,socket={}", path.replace(',', ",,"))
                    }
                    _ => {
                        return Err(format!(
                            "`{chardev}` is no Unix socket that is connected to"
                        ));
                    }
                }
            }
            other => return Err(format!("`{other}` is none of user, tap and vhost-user")),
        };
        Ok(Backend {
            id,
            net,
            forwards,
            row,
            used: false,
        })
    }

    /// `-device virtio-net-…`.
    pub(super) fn virtio_net(&mut self, row: usize, keys: &mut Keys) -> Result<(), String> {
        let id = keys.take("netdev").ok_or("it has no `netdev`")?;
        let mac = keys.take("mac");
        let mtu = keys.take("host_mtu");
        keys.drop_all(&[
            "mq",
            "rx_queue_size",
            "tx_queue_size",
            "tx",
            "guest_csum",
            "csum",
            "gso",
            "mrg_rxbuf",
        ]);
        self.plug_in(row, &id, mac.as_deref())?;
        if let Some(mtu) = mtu {
            self.table.set(row, "--mtu", &mtu);
        }
        Ok(())
    }

    /// `-net`.
    pub(super) fn net(&mut self, row: usize, value: &str) -> Result<(), String> {
        let mut keys = Keys::parse(value, "type")?;
        match keys.take("type").as_deref() {
            Some("none") => self.no_net(row),
            Some("nic") => {
                model(&mut keys)?;
                let mac = keys.take("macaddr");
                let netdev = keys.take("netdev");
                keys.drop_all(&["id", "name", "vectors", "addr"]);
                keys.end()?;
                match netdev {
                    Some(id) => self.plug_in(row, &id, mac.as_deref()),
                    None if self.network.hub_card.is_some() => {
                        Err("there is one network card".to_owned())
                    }
                    None => {
                        self.network.hub_card = Some((row, mac.unwrap_or_else(|| MAC.to_owned())));
                        Ok(())
                    }
                }
            }
            Some(_) => {
                let mut keys = Keys::parse(value, "type")?;
                let id = keys
                    .take("id")
                    .or_else(|| keys.take("name"))
                    .unwrap_or_default();
                let backend = self.backend(row, id, &mut keys)?;
                keys.end()?;
                if self.network.hub.replace(backend).is_some() {
                    return Err("there is one network".to_owned());
                }
                Ok(())
            }
            None => Err("it has no type".to_owned()),
        }
    }

    /// `-nic`: network and card in one.
    pub(super) fn nic(&mut self, row: usize, value: &str) -> Result<(), String> {
        let mut keys = Keys::parse(value, "type")?;
        if value == "none" {
            return self.no_net(row);
        }
        model(&mut keys)?;
        let mac = keys.take("mac");
        let id = keys.take("id").unwrap_or_else(|| format!("nic{row}"));
        let backend = self.backend(row, id.clone(), &mut keys)?;
        keys.end()?;
        self.network.backends.push(backend);
        self.plug_in(row, &id, mac.as_deref())
    }

    fn no_net(&mut self, row: usize) -> Result<(), String> {
        self.network.none = true;
        self.nothing(row, "there is no card unless one is asked for")
    }

    /// Plugs the card of `row` into the network `id`.
    fn plug_in(&mut self, row: usize, id: &str, mac: Option<&str>) -> Result<(), String> {
        let mut all = self.network.backends.iter_mut();
        let found = all.find(|backend| backend.id == id);
        let found = found.ok_or_else(|| format!("there is no network `{id}` (`-netdev`)"))?;
        found.used = true;
        let backend = found.clone();
        self.card(row, mac.unwrap_or(MAC), &backend)
    }

    fn card(&mut self, row: usize, mac: &str, backend: &Backend) -> Result<(), String> {
        if std::mem::replace(&mut self.network.has_card, true) {
            return Err("there is one network card".to_owned());
        }
        self.table.set(row, "--mac", mac);
        self.table.note(row, "the network card");
        self.table.set(backend.row, "--net", &backend.net);
        self.table
            .note(backend.row, "what the card is plugged into");
        for forward in &backend.forwards {
            self.table.flag(backend.row, "--forward", forward);
        }
        Ok(())
    }

    /// Brings the old hub's card and network together, and says what nobody uses.
    pub(super) fn finish_network(&mut self) {
        match (self.network.hub_card.take(), self.network.hub.take()) {
            (Some((row, mac)), Some(backend)) => {
                if let Err(why) = self.card(row, &mac, &backend) {
                    self.table.refuse(row, why);
                }
            }
            (Some((row, _)), None) => self.table.refuse(row, "it names no network (`netdev=`)"),
            (None, Some(backend)) => self.network.backends.push(backend),
            (None, None) => {}
        }
        let unused = self.network.backends.iter().filter(|backend| !backend.used);
        for row in unused.map(|backend| backend.row) {
            self.table.note(row, "nothing: no card uses it");
        }
        if !self.network.has_card {
            let implied = !self.board.no_defaults && !self.network.none;
            let row = self.table.add("(no network card)");
            self.table.set(row, "--net", "none");
            let effect = if implied {
                "no network: QEMU's own default card (e1000) is not had"
            } else {
                "no network"
            };
            self.table.note(row, effect);
        }
    }
}

/// The card's model has to be virtio's.
fn model(keys: &mut Keys) -> Result<(), String> {
    match keys.take("model").as_deref() {
        Some("virtio" | "virtio-net-pci" | "virtio-net-device") => Ok(()),
        Some(other) => Err(format!(
            "model `{other}` is not virtio's (`model=virtio-net-pci`)"
        )),
        None => Err("QEMU's default model is not had (`model=virtio-net-pci`)".to_owned()),
    }
}

/// The user-mode network.
fn user(keys: &mut Keys, forwards: &mut Vec<String>) -> Result<String, String> {
    let mut net = "user".to_owned();
    if keys.take_switch("restrict")?.unwrap_or(false) {
        net.push_str(",restrict=on");
    }
    if keys.take_switch("ipv4")? == Some(false) {
        return Err("the network has IPv4".to_owned());
    }
    if keys.take_switch("ipv6")? == Some(false) {
        net.push_str(",ipv6=off");
    }
    // What QEMU's addresses are by default, ours are.
    for (key, ours) in [
        ("net", &["10.0.2.0/24", "10.0.2.0/255.255.255.0"][..]),
        ("host", &["10.0.2.2"]),
        ("dhcpstart", &["10.0.2.15"]),
        ("dns", &["10.0.2.3"]),
    ] {
        if let Some(other) = keys
            .take(key)
            .filter(|value| !ours.contains(&value.as_str()))
        {
            return Err(format!(
                "`{key}={other}` cannot be had: it is {}",
                ours.concat()
            ));
        }
    }
    keys.drop_all(&["hostname"]);
    for text in keys.take_all("hostfwd") {
        let forward = forward(&text);
        forwards.push(forward.ok_or_else(|| {
            format!("`hostfwd={text}` is not [tcp|udp]:[ADDR]:PORT-[10.0.2.15]:PORT")
        })?);
    }
    Ok(net)
}

/// A forward in our words, from `[tcp|udp]:[ADDR]:PORT-[ADDR]:PORT`.
fn forward(text: &str) -> Option<String> {
    let (protocol, rest) = text.split_once(':')?;
    let protocol = match protocol {
        "" | "tcp" => "tcp",
        "udp" => "udp",
        _ => return None,
    };
    let (host, guest) = rest.rsplit_once('-')?;
    let (address, host) = host.rsplit_once(':')?;
    let (inside, guest) = guest.rsplit_once(':')?;
    if !matches!(inside, "" | "10.0.2.15") {
        return None;
    }
    let address = match address {
        "" => "0.0.0.0",
        "localhost" => "127.0.0.1",
        address => address,
    };
    let forward = format!("{protocol}:{address}:{host}:{guest}");
    forward
        .parse::<vmm::config::Forward>()
        .ok()
        .map(|_| forward)
}

/// A TAP.
fn tap(keys: &mut Keys) -> Result<String, String> {
    let mut net = "tap".to_owned();
    match (
        keys.take("ifname"),
        keys.take("fd").or_else(|| keys.take("fds")),
    ) {
        (Some(name), None) => net.push_str(&format!(",ifname={name}")),
        (None, Some(fds)) => net.push_str(&format!(",fd={fds}")),
        _ => return Err("it has neither `ifname` nor `fd`".to_owned()),
    }
    for key in ["script", "downscript"] {
        if let Some(script) = keys
            .take(key)
            .filter(|script| !matches!(script.as_str(), "no" | ""))
        {
            return Err(format!("`{key}={script}`: no script is run (`{key}=no`)"));
        }
    }
    if let Some(queues) = keys.take("queues") {
        net.push_str(&format!(",queues={queues}"));
    }
    if let Some(vhost) = keys.take_switch("vhost")? {
        net.push_str(if vhost { ",vhost=on" } else { ",vhost=off" });
    }
    if let Some(bridge) = keys.take("br") {
        net.push_str(&format!(",bridge={bridge}"));
    }
    keys.drop_all(&["vhostforce", "sndbuf"]);
    Ok(net)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwards_lead_to_the_guests_own_address() {
        for (text, ours) in [
            ("tcp::22422-:22", Some("tcp:0.0.0.0:22422:22")),
            ("udp:127.0.0.1:53-10.0.2.15:53", Some("udp:127.0.0.1:53:53")),
            (":localhost:1-:2", Some("tcp:127.0.0.1:1:2")),
            ("tcp::22-10.0.2.16:22", None),
            ("sctp::1-:1", None),
            ("tcp::many-:1", None),
            ("tcp:1", None),
        ] {
            assert_eq!(forward(text).as_deref(), ours, "{text}");
        }
    }
}

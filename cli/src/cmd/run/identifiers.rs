//! The identifiers of a VM's own: what it needs of the machine's pools, and the layer of its configuration that they make.
//!
//! PCP's documented ports, console ports and process names belong to the VM with the name of its bundle. One with
//! another name gets others, unless the user says which.

use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use vmm::config::value::{ConsolePort, ConsoleValue, NetChoice, TapChoice};
use vmm::config::{ConsoleSpec, Forward, Layer, Origin, Protocol, TapSource};

use super::plan::Plan;
use crate::args::CommonArgs;
use crate::diagnostic::Diagnostic;
use crate::folders;
use crate::ids::{self, Claims, Documented, Given, PoolName, Store};
use crate::network::{BRIDGE, TAP};
use crate::output::Output;

/// How long what a VM had may be in use by what is just ending.
const PATIENCE: Duration = Duration::from_millis(200);
/// The time between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// What a VM needs of the pools.
#[derive(Debug, Default, PartialEq, Eq)]
struct Needs {
    /// The bundle's forwards, each with the place of its port after the VM's first.
    forwards: Vec<(u16, Forward)>,
    /// The bundle's consoles on ports.
    consoles: Vec<(ConsolePort, IpAddr)>,
    cid: Option<Vsock>,
    mac: bool,
    address: bool,
}

/// Whose context identifier is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vsock {
    /// One that the VM alone knows.
    Socket,
    /// One that the kernel knows.
    Vhost,
}

impl Needs {
    /// The pools, in the order in which they are told.
    fn pools(&self) -> impl Iterator<Item = PoolName> {
        let wanted = [
            (PoolName::Ports, !self.forwards.is_empty()),
            (PoolName::Consoles, !self.consoles.is_empty()),
            (PoolName::Cids, self.cid.is_some()),
            (PoolName::Macs, self.mac),
            (PoolName::Addresses, self.address),
        ];
        let wanted = wanted.into_iter().filter(|(_, wanted)| *wanted);
        wanted.map(|(pool, _)| pool)
    }

    /// Where the VM is to listen if `pool` gives it `id`.
    fn listeners(&self, pool: PoolName, id: u64) -> Vec<(Protocol, SocketAddr)> {
        let first = u16::try_from(id).unwrap_or(u16::MAX);
        match pool {
            PoolName::Ports => {
                let forwards = self.forwards.iter();
                let at = |(place, forward): &(u16, Forward)| {
                    let port = first.saturating_add(*place);
                    (forward.protocol, SocketAddr::new(forward.host.ip(), port))
                };
                forwards.map(at).collect()
            }
            PoolName::Consoles => {
                let consoles = self.consoles.iter();
                let at = |(console, ip): &(ConsolePort, IpAddr)| {
                    let port = first.saturating_add(place(*console));
                    (Protocol::Tcp, SocketAddr::new(*ip, port))
                };
                consoles.map(at).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// The place of a console's port in PCP's blocks.
fn place(console: ConsolePort) -> u16 {
    match console {
        ConsolePort::Serial => 0,
        ConsolePort::Virtio => 1,
    }
}

/// Puts into `plan` what the VM would get, as far as the files tell; takes nothing.
pub(super) fn foresee(plan: &mut Plan, common: &CommonArgs) -> Result<(), Diagnostic> {
    let needs = needs(plan)?;
    let mut layer = named(plan);
    if needs.pools().next().is_some() {
        let store = Store::read(&folders::state_dir(common)?)?;
        let documented = ids::documented()?;
        let mut taker = Taker {
            needs: &needs,
            documented: &documented,
            store,
            claims: None,
        };
        taker.take(&plan.resolved.spec.name, &mut layer)?;
    }
    set(plan, layer);
    Ok(())
}

/// Takes from the pools what the VM needs, for as long as the claims live, and puts it into `plan`.
pub(super) fn assign(
    plan: &mut Plan,
    common: &CommonArgs,
    output: Output,
) -> Result<Claims, Diagnostic> {
    let needs = needs(plan)?;
    let name = plan.resolved.spec.name.clone();
    warn_of_likeness(plan, output);
    let mut claims = Claims::default();
    claim_tap(plan, &mut claims)?;
    if needs.pools().next().is_none() {
        return Ok(claims);
    }
    let mut layer = named(plan);
    let documented = ids::documented()?;
    let mut taker = Taker {
        needs: &needs,
        documented: &documented,
        store: Store::hold(&folders::state_dir(common)?)?,
        claims: Some(claims),
    };
    let given = taker.take(&name, &mut layer)?;
    taker.store.save()?;
    set(plan, layer);
    tell(&name, &given, &taker.store, output);
    Ok(taker.claims.unwrap_or_default())
}

/// Claims the TAP: to the kernel, those of several queues are for everybody who may open them, at the same time.
fn claim_tap(plan: &Plan, claims: &mut Claims) -> Result<(), Diagnostic> {
    let Some(NetChoice::Tap(tap)) = net(plan) else {
        return Ok(());
    };
    let TapSource::Name(name) = &tap.source else {
        return Ok(());
    };
    if soon(|| claims.take("taps", [name.clone()])) {
        return Ok(());
    }
    let what = format!("cannot run `{}`", plan.resolved.spec.name);
    Err(Diagnostic::failure("tap-in-use", what)
        .cause(format!("another VM uses the TAP `{}`", name.escape_debug()))
        .hint("`--net tap,ifname=NAME` names another one, which root has made if it is not there; `--net user` needs none"))
}

/// Whether `is_free` is true within the time that what is just ending may take.
fn soon(mut is_free: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    loop {
        if is_free() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(LOOK);
    }
}

/// PCP's scripts look for a part of the command line, and so find what only begins with the name that they look for.
fn warn_of_likeness(plan: &Plan, output: Output) {
    let (Some(bundle), Some(process)) = (&plan.bundle, &plan.process_name) else {
        return;
    };
    let looked_for = &bundle.process;
    if process != looked_for && process.starts_with(looked_for) {
        output.warn(format!(
            "scripts that look for `process={looked_for}` take `{process}` for it; a name that begins otherwise is safe"
        ));
    }
}

/// Says what the VM has got, and what it had before that it cannot have.
fn tell(name: &str, given: &[(PoolName, Given)], store: &Store, output: Output) {
    let prefix = store.mac_prefix();
    let text = |pool: PoolName, id| ids::text(pool.as_str(), id, prefix);
    for (pool, it) in given {
        if let Some(before) = it.before {
            let (pool_name, before) = (pool.as_str(), text(*pool, before));
            let now = text(*pool, it.id);
            output.warn(format!(
                "`{name}` had {before} of the {pool_name}, which is in use or in no pool any more: it has {now} from now on"
            ));
        }
    }
    let parts = given.iter().map(|(pool, it)| {
        let value = text(*pool, it.id);
        match pool {
            PoolName::Ports => format!("ports from {value}"),
            PoolName::Consoles => format!("console ports from {value}"),
            PoolName::Cids => format!("context identifier {value}"),
            PoolName::Macs => format!("MAC address {value}"),
            PoolName::Addresses => format!("address {value}"),
            PoolName::Uids => format!("user {value}"),
        }
    });
    let parts: Vec<String> = parts.collect();
    output.note(format!("assigned to {name}: {}", parts.join(", ")));
}

/// Whether `origin` is the user's: stronger than what a bundle says.
fn is_users(origin: &Origin) -> bool {
    matches!(
        origin,
        Origin::File(_) | Origin::Environment | Origin::Flags
    )
}

/// The layers of the user's.
fn users(plan: &Plan) -> impl DoubleEndedIterator<Item = &Layer> {
    let layers = plan.layers.iter();
    layers
        .filter(|(origin, _)| is_users(origin))
        .map(|(_, layer)| layer)
}

/// Whether the VM is another one than its bundle's documented one.
fn is_another(plan: &Plan) -> bool {
    let bundle = plan.bundle.as_ref();
    bundle.is_some_and(|bundle| bundle.hostname != plan.resolved.spec.name)
}

/// The name of the process, which is not the bundle's if the VM's is not.
fn named(plan: &Plan) -> Layer {
    Layer {
        process_name: is_another(plan).then(|| plan.resolved.spec.name.clone()),
        ..Layer::default()
    }
}

/// Puts `layer` between the bundle and what the user says, in place of the one before.
fn set(plan: &mut Plan, layer: Layer) {
    let is_ours = |origin: &Origin| *origin == Origin::Assigned;
    let index = plan
        .layers
        .iter()
        .position(|(origin, _)| is_users(origin) || is_ours(origin));
    let index = index.unwrap_or(plan.layers.len());
    match plan.layers.get_mut(index) {
        Some((Origin::Assigned, old)) => *old = layer,
        _ if layer == Layer::default() => return,
        _ => plan.layers.insert(index, (Origin::Assigned, layer)),
    }
    plan.resolve();
}

/// The network that the VM is to have.
fn net(plan: &Plan) -> Option<NetChoice> {
    let mut strongest_first = plan.layers.iter().rev();
    strongest_first.find_map(|(_, layer)| layer.net.clone())
}

fn needs(plan: &Plan) -> Result<Needs, Diagnostic> {
    let mut needs = Needs::default();
    let net = net(plan);
    let own_ports = is_another(plan) && !users(plan).any(|layer| layer.port_offset.is_some());
    let mut of_bundle = plan.layers.iter();
    let of_bundle = of_bundle.find(|(origin, _)| matches!(origin, Origin::Bundle(_)));
    if let Some((_, bundle)) = of_bundle.filter(|_| own_ports) {
        if matches!(net, Some(NetChoice::User(_))) {
            needs.forwards = forwards(plan, bundle)?;
        }
        for console in &bundle.console {
            let said =
                users(plan).any(|layer| layer.console.iter().any(|it| it.port == console.port));
            if let (ConsoleSpec::Tcp(address), false) = (&console.spec, said) {
                needs.consoles.push((console.port, address.ip()));
            }
        }
    }
    if let Some(NetChoice::Tap(tap)) = &net
        && tap.source != TapSource::Name(TAP.to_owned())
    {
        needs.mac = !users(plan).any(|layer| layer.mac.is_some());
        needs.address = tap.address.is_none() && is_on_bridge(tap);
    }
    let vsock = users(plan).rev().find_map(|layer| layer.vsock.as_ref());
    if let Some(vsock) = vsock.filter(|vsock| vsock.cid.is_none()) {
        needs.cid = Some(match vsock.socket {
            Some(_) => Vsock::Socket,
            None => Vsock::Vhost,
        });
    }
    Ok(needs)
}

/// The bundle's forwards that the user does not replace, in the order of their guest ports.
fn forwards(plan: &Plan, bundle: &Layer) -> Result<Vec<(u16, Forward)>, Diagnostic> {
    let mut all = bundle.forward.clone();
    all.sort_by_key(|forward| (forward.guest_port, forward.protocol == Protocol::Udp));
    let room = ids::PORTS_EACH;
    if all.len() as u64 > room {
        let what = format!(
            "there are no ports for `{}`",
            plan.resolved.spec.name.escape_debug()
        );
        return Err(Diagnostic::usage("ids", what)
            .cause(format!(
                "its bundle has {} forwards, and a VM gets {room} ports",
                all.len()
            ))
            .hint("`--port-offset N` uses the bundle's ports, N further up"));
    }
    let is_said = |forward: &Forward| {
        let same =
            |it: &Forward| it.guest_port == forward.guest_port && it.protocol == forward.protocol;
        users(plan).any(|layer| layer.forward.iter().any(same))
    };
    let places = (0..).zip(all);
    Ok(places.filter(|(_, forward)| !is_said(forward)).collect())
}

/// Whether the TAP is a port of PCP's bridge, or going to be one.
fn is_on_bridge(tap: &TapChoice) -> bool {
    let TapSource::Name(name) = &tap.source else {
        return false;
    };
    let master = std::fs::read_link(format!("/sys/class/net/{name}/master")).ok();
    match master {
        Some(path) => path.file_name().is_some_and(|bridge| bridge == BRIDGE),
        None => tap.bridge.as_deref() == Some(BRIDGE),
    }
}

/// Takes identifiers for one VM.
struct Taker<'a> {
    needs: &'a Needs,
    documented: &'a [Documented],
    store: Store,
    /// What is used from now on; without it, nothing of the machine is looked at.
    claims: Option<Claims>,
}

impl Taker<'_> {
    /// Takes all that is needed, into `layer`.
    fn take(&mut self, vm: &str, layer: &mut Layer) -> Result<Vec<(PoolName, Given)>, Diagnostic> {
        let mut all = Vec::new();
        let prefix = self.store.mac_prefix();
        for name in self.needs.pools() {
            let given = self.one(name, vm)?;
            let id = given.id;
            match name {
                PoolName::Ports => {
                    let ports = self.needs.listeners(name, id);
                    for ((_, forward), (_, host)) in self.needs.forwards.iter().zip(ports) {
                        layer.forward.push(Forward { host, ..*forward });
                    }
                }
                PoolName::Consoles => {
                    let ports = self.needs.listeners(name, id);
                    for ((port, _), (_, address)) in self.needs.consoles.iter().zip(ports) {
                        let (port, spec) = (*port, ConsoleSpec::Tcp(address));
                        layer.console.push(ConsoleValue { port, spec });
                    }
                }
                PoolName::Cids => layer.cid = u32::try_from(id).ok(),
                PoolName::Macs => layer.mac = prefix.mac(id),
                PoolName::Addresses => layer.address = ids::address(id),
                PoolName::Uids => {}
            }
            all.push((name, given));
        }
        Ok(all)
    }

    fn one(&mut self, name: PoolName, vm: &str) -> Result<Given, Diagnostic> {
        let pool = self.store.pools.of(name);
        let prefix = self.store.mac_prefix();
        let assignments = &mut self.store.assignments;
        let before = assignments.of(vm).find(|(pool, _)| *pool == name.as_str());
        let before = before.map(|(_, id)| id);
        let (needs, documented, claims) = (self.needs, self.documented, &mut self.claims);
        let mut is_free = |id: u64| match (name, claims.as_mut()) {
            _ if is_documented(documented, name, id, pool.step) => false,
            (_, None) => true,
            (PoolName::Ports | PoolName::Consoles, Some(claims)) => {
                let listeners = needs.listeners(name, id);
                let mut at = listeners.iter();
                let is_used = at.any(|(protocol, at)| ids::is_listened_at(*protocol, *at));
                let ports = listeners.iter().map(|(_, at)| at.port().to_string());
                !is_used && claims.take("ports", ports)
            }
            (PoolName::Cids, Some(claims)) => {
                let cid = u32::try_from(id).unwrap_or(u32::MAX);
                match needs.cid {
                    Some(Vsock::Vhost) => {
                        !vmm::is_cid_taken(cid) && claims.take(name.as_str(), [id.to_string()])
                    }
                    _ => true,
                }
            }
            (_, Some(claims)) => claims.take(name.as_str(), [ids::text(name.as_str(), id, prefix)]),
        };
        let can_have = |id: u64| {
            if before == Some(id) {
                soon(|| is_free(id))
            } else {
                is_free(id)
            }
        };
        assignments.assign(name.as_str(), pool, vm, can_have).map_err(|error| {
            Diagnostic::failure("ids", format!("cannot run `{vm}`"))
                .because(&error)
                .hint("`pcp-vmm ids ls` lists who has what; `pcp-vmm ids free NAME` gives back what a VM has")
                .hint(format!("or say yourself which: {}", flag(name)))
        })
    }
}

/// Whether `id`, or one of the `count` numbers from it on, is a documented VM's.
fn is_documented(documented: &[Documented], pool: PoolName, id: u64, count: u64) -> bool {
    let range = id..id + count;
    documented.iter().any(|vm| match pool {
        PoolName::Ports | PoolName::Consoles => vm
            .ports
            .iter()
            .any(|port| range.contains(&u64::from(*port))),
        _ => vm.ids.contains(&(pool, id)),
    })
}

/// The flag that says what a pool would give.
fn flag(pool: PoolName) -> &'static str {
    match pool {
        PoolName::Ports => "`--port-offset N`, or `--forward`",
        PoolName::Consoles => "`--port-offset N`, or `--console`",
        PoolName::Cids => "`--vsock cid=N,…`",
        PoolName::Macs => "`--mac MAC`",
        PoolName::Addresses => "`--net tap,…,address=IP/LENGTH`",
        PoolName::Uids => "`--user`",
    }
}

#[cfg(test)]
mod tests;

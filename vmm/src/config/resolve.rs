//! From layers to a spec: a later layer's value wins, and every value remembers where it is from.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use super::layer::{Layer, Origin, Setting};
use crate::sandbox::SandboxMode;

use super::value::{
    ConsolePort, GuestAddress, MemorySize, NetChoice, TapAddress, UserChoice, VsockValue,
};
use super::{
    BalloonSpec, ConsoleSpec, DeviceSpec, DiskFormat, Field, Forward, NetBackendSpec, NetSpec,
    Problem, ShareProtocol, Transport, UserSpec, VmSpec, VsockSpec,
};
use super::{Credential, MonitorSpec, Uuid};

/// A spec and the origins of its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The spec.
    pub spec: VmSpec,
    /// Its values in words, in the order of the fields.
    pub settings: Vec<Setting>,
    /// What is wrong with how the layers fit together.
    problems: Vec<Problem>,
}

impl Resolved {
    /// Merges `layers`, the weakest first.
    #[must_use]
    pub fn from_layers(layers: &[(Origin, Layer)]) -> Self {
        let mut merge = Merge {
            layers,
            settings: Vec::new(),
            problems: Vec::new(),
        };
        let spec = merge.spec();
        Self {
            spec,
            settings: merge.settings,
            problems: merge.problems,
        }
    }

    /// Checks every rule, as [`VmSpec::validate`] does, and how the layers fit together.
    ///
    /// # Errors
    /// All problems found.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let mut problems = self.problems.clone();
        problems.extend(self.spec.validate().err().unwrap_or_default());
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    /// Where the values of `field` come from.
    #[must_use]
    pub fn origins(&self, field: Field) -> Vec<&str> {
        let of_field = self.settings.iter().filter(|s| s.field == field);
        let mut origins: Vec<&str> = of_field.map(|s| s.origin.as_str()).collect();
        origins.dedup();
        origins
    }
}

struct Merge<'a> {
    layers: &'a [(Origin, Layer)],
    settings: Vec<Setting>,
    problems: Vec<Problem>,
}

impl<'a> Merge<'a> {
    fn spec(&mut self) -> VmSpec {
        let name = self.text(Field::Name, |l| l.name.clone());
        let process_name = self.process_name(&name);
        let memory = self.memory();
        let cpus = self.cpus();
        let kernel = self.path(Field::Kernel, |l| l.kernel.clone());
        let initrd = self.path(Field::Initrd, |l| l.initrd.clone());
        let cmdline = self.cmdline();
        let transport = self.transport();
        let serial = self.console(ConsolePort::Serial, "serial");
        let virtio = self.console(ConsolePort::Virtio, "virtio");
        let mut devices = Vec::new();
        if virtio != ConsoleSpec::None {
            devices.push(DeviceSpec::Console(virtio));
        }
        devices.extend(self.net(&name, cpus).map(DeviceSpec::Net));
        self.shares(&mut devices);
        self.disks(&mut devices);
        if self.last(|l| l.rng).is_some_and(|(rng, _)| rng) {
            devices.push(DeviceSpec::Rng);
        }
        if let Some((size, origin)) = self.last(|l| l.balloon) {
            self.note(Field::Balloon, size.to_string(), origin);
            devices.push(DeviceSpec::Balloon(BalloonSpec { size: size.0 }));
        }
        if let Some((vsock, origin)) = self.last(|l| l.vsock.clone()) {
            let (cid, origin) = match vsock.cid {
                Some(cid) => (cid, origin),
                None => self.last(|l| l.cid).unwrap_or((0, origin)),
            };
            let cid_said = VsockValue {
                cid: Some(cid),
                ..vsock
            };
            self.note(Field::Vsock, cid_said.to_string(), origin);
            devices.push(DeviceSpec::Vsock(VsockSpec {
                cid,
                socket: cid_said.socket,
            }));
        }
        VmSpec {
            name,
            process_name,
            memory,
            cpus,
            kernel: kernel.unwrap_or_default(),
            initrd,
            cmdline,
            serial,
            transport,
            devices,
            kernel_cache: None,
            sandbox: self.sandbox(),
            uuid: self.uuid(),
            credentials: self.credentials(),
            control: self.path(Field::Control, |l| l.control.clone()),
            monitors: self.monitors(),
            pid_file: None,
            guest_address: self.guest_address().map(|(address, _)| address),
            instance: None,
            console_logs: None,
        }
    }

    /// The strongest layer's value.
    fn last<T>(&self, value: impl Fn(&Layer) -> Option<T>) -> Option<(T, &'a Origin)> {
        let mut strongest_first = self.layers.iter().rev();
        strongest_first.find_map(|(origin, layer)| value(layer).map(|v| (v, origin)))
    }

    fn note(&mut self, field: Field, value: impl Into<String>, origin: &Origin) {
        self.settings.push(Setting {
            field,
            value: value.into(),
            origin: origin.of(field),
        });
    }

    fn text(&mut self, field: Field, value: impl Fn(&Layer) -> Option<String>) -> String {
        let Some((text, origin)) = self.last(value) else {
            return String::new();
        };
        self.note(field, text.clone(), origin);
        text
    }

    fn path(&mut self, field: Field, value: impl Fn(&Layer) -> Option<PathBuf>) -> Option<PathBuf> {
        let (path, origin) = self.last(value)?;
        self.note(field, path.display().to_string(), origin);
        Some(path)
    }

    /// The process is named after the VM where nothing else is said.
    fn process_name(&mut self, name: &str) -> String {
        let said = self.text(Field::ProcessName, |l| l.process_name.clone());
        if said.is_empty() {
            name.to_owned()
        } else {
            said
        }
    }

    fn memory(&mut self) -> u64 {
        let Some((memory, origin)) = self.last(|l| l.memory) else {
            return 0;
        };
        self.note(Field::Memory, memory.to_string(), origin);
        let MemorySize(bytes) = memory;
        bytes
    }

    fn cpus(&mut self) -> u8 {
        let Some((cpus, origin)) = self.last(|l| l.cpus) else {
            return 0;
        };
        self.note(Field::Cpus, cpus.to_string(), origin);
        cpus
    }

    fn transport(&mut self) -> Transport {
        let Some((transport, origin)) = self.last(|l| l.transport) else {
            return Transport::default();
        };
        self.note(Field::Transport, transport.to_string(), origin);
        transport
    }

    fn uuid(&mut self) -> Option<Uuid> {
        let (uuid, origin) = self.last(|l| l.uuid)?;
        self.note(Field::Uuid, uuid.to_string(), origin);
        Some(uuid)
    }

    /// All layers' credentials; a name of a stronger layer takes the place of a weaker one's.
    fn credentials(&mut self) -> Vec<Credential> {
        let mut all: Vec<(Credential, &Origin)> = Vec::new();
        for (origin, layer) in self.layers {
            for credential in &layer.credential {
                all.retain(|(old, _)| old.name != credential.name);
                all.push((credential.clone(), origin));
            }
        }
        for (credential, origin) in &all {
            self.note(Field::Credential, credential.to_string(), origin);
        }
        all.into_iter().map(|(credential, _)| credential).collect()
    }

    /// All layers' monitors.
    fn monitors(&mut self) -> Vec<MonitorSpec> {
        let mut all = Vec::new();
        for (origin, layer) in self.layers {
            for monitor in &layer.monitor {
                self.note(Field::Monitor, monitor.to_string(), origin);
                all.push(monitor.clone());
            }
        }
        all
    }

    fn sandbox(&mut self) -> SandboxMode {
        let Some((mode, origin)) = self.last(|l| l.sandbox) else {
            return SandboxMode::default();
        };
        self.note(Field::Sandbox, mode.to_string(), origin);
        mode
    }

    fn cmdline(&mut self) -> String {
        let mut cmdline = self.text(Field::Cmdline, |l| l.cmdline.clone());
        for (origin, layer) in self.layers {
            if let Some(more) = layer.append.as_deref().filter(|more| !more.is_empty()) {
                if !cmdline.is_empty() {
                    cmdline.push(' ');
                }
                cmdline.push_str(more);
                let origin = match origin {
                    Origin::Flags => "--append".to_owned(),
                    other => other.of(Field::Cmdline),
                };
                self.settings.push(Setting {
                    field: Field::Cmdline,
                    value: format!("+ {more}"),
                    origin,
                });
            }
        }
        self.tell_address(&mut cmdline);
        cmdline
    }

    /// The guest's address, and where it comes from.
    fn guest_address(&self) -> Option<(GuestAddress, &'a Origin)> {
        match self.last(|l| l.net.clone())? {
            (NetChoice::Tap(tap), origin) => match tap.guest_address() {
                Some(address) => Some((address, origin)),
                None if tap.address == Some(TapAddress::Dhcp) => None,
                None => self.last(|l| l.address),
            },
            _ => None,
        }
    }

    /// Adds the guest's address to the command line of a guest with our init, which knows what to do with it. A kernel that
    /// configures a card itself waits for one that it has as a module.
    fn tell_address(&mut self, cmdline: &mut String) {
        let has = |word: &str| cmdline.split_whitespace().any(|it| it.starts_with(word));
        let Some((address, origin)) = self.guest_address() else {
            return;
        };
        if !has("pcpvmm.root=") || has("ip=") {
            return;
        }
        let layers = self.layers.iter();
        let servers: Vec<Ipv4Addr> = layers.flat_map(|(_, l)| l.nameserver.clone()).collect();
        let word = address.word(&servers);
        cmdline.push_str(&format!(" {word}"));
        self.settings.push(Setting {
            field: Field::Cmdline,
            value: format!("+ {word}"),
            origin: origin.of(Field::Net),
        });
    }

    fn console(&mut self, port: ConsolePort, name: &str) -> ConsoleSpec {
        let wanted = |l: &Layer| {
            let of_port = l.console.iter().rev().find(|c| c.port == port);
            of_port.map(|c| c.spec.clone())
        };
        let Some((mut spec, origin)) = self.last(wanted) else {
            return ConsoleSpec::None;
        };
        if let (ConsoleSpec::Tcp(address), Origin::Bundle(_)) = (&mut spec, origin) {
            let port = address.port();
            address.set_port(self.shifted(Field::Console, port));
        }
        self.note(Field::Console, format!("{name}={spec}"), origin);
        spec
    }

    /// A host port of the bundle after the port offset.
    fn shifted(&mut self, field: Field, port: u16) -> u16 {
        let offset = self.last(|l| l.port_offset).map_or(0, |(offset, _)| offset);
        port.checked_add(offset).unwrap_or_else(|| {
            self.problems.push(Problem {
                field,
                message: format!("port {port} plus offset {offset} is above 65535"),
                hint: "give a smaller `--port-offset`".to_owned(),
            });
            port
        })
    }

    fn net(&mut self, name: &str, cpus: u8) -> Option<NetSpec> {
        let (mut choice, origin) = self.last(|l| l.net.clone())?;
        let forwards = self.forwards();
        let asked = self.layers.iter().any(|(_, l)| !l.forward.is_empty());
        if choice == NetChoice::None && *origin == Origin::Default && asked {
            // A forward needs a network; without a word against one, there is one.
            choice = NetChoice::User(UserChoice::default());
        }
        self.note(Field::Net, choice.to_string(), origin);
        let backend = match choice {
            NetChoice::User(user) => {
                for (forward, origin) in &forwards {
                    self.note(Field::Forward, forward.to_string(), origin);
                }
                NetBackendSpec::User(UserSpec {
                    forwards: forwards.into_iter().map(|(forward, _)| forward).collect(),
                    hostname: Some(name.to_owned()),
                    restrict: user.restrict,
                    host: user.host,
                    ipv6: user.ipv6,
                })
            }
            NetChoice::Tap(tap) => {
                self.reject_forwards_without_net(&forwards);
                NetBackendSpec::Tap(tap.spec(cpus))
            }
            NetChoice::VhostUser(socket) => {
                self.reject_forwards_without_net(&forwards);
                NetBackendSpec::VhostUser { socket }
            }
            NetChoice::None => {
                self.reject_forwards_without_net(&forwards);
                return None;
            }
        };
        let (mac, _) = self.last(|l| l.mac)?;
        let mtu = self.last(|l| l.mtu).map(|(mtu, _)| mtu);
        Some(NetSpec {
            mac: mac.octets(),
            mtu,
            backend,
        })
    }

    fn reject_forwards_without_net(&mut self, forwards: &[(Forward, &Origin)]) {
        if forwards.iter().any(|(_, origin)| **origin == Origin::Flags) {
            self.problems.push(Problem {
                field: Field::Forward,
                message: "a forward needs the user network".to_owned(),
                hint: "use `--net user`, or leave the forwards out".to_owned(),
            });
        }
    }

    /// All layers' forwards; one to the same guest port takes the place of a weaker layer's.
    fn forwards(&mut self) -> Vec<(Forward, &'a Origin)> {
        let mut all: Vec<(Forward, &Origin)> = Vec::new();
        for (origin, layer) in self.layers {
            let same =
                |a: &Forward, b: &Forward| a.protocol == b.protocol && a.guest_port == b.guest_port;
            all.retain(|(old, _)| !layer.forward.iter().any(|new| same(old, new)));
            for forward in &layer.forward {
                let mut forward = *forward;
                if let Origin::Bundle(_) = origin {
                    let port = self.shifted(Field::Forward, forward.host.port());
                    forward.host.set_port(port);
                }
                all.push((forward, origin));
            }
        }
        all
    }

    fn shares(&mut self, devices: &mut Vec<DeviceSpec>) {
        for (origin, layer) in self.layers {
            for share in &layer.share {
                let spec = share.0.clone();
                let mode = if spec.read_only { "ro" } else { "rw" };
                let path = spec.path.display();
                let how = match spec.protocol {
                    ShareProtocol::VirtioFs => format!("cache={}", spec.cache),
                    ShareProtocol::P9 => format!("proto=9p,security={}", spec.security),
                    ShareProtocol::VhostUser => format!("proto={}", spec.protocol),
                };
                let mut text = format!("{}={path},{mode},{how}", spec.tag);
                for (name, map) in [("uidmap", &spec.uid_map), ("gidmap", &spec.gid_map)] {
                    let ranges = map.iter().map(|range| format!(",{name}={range}"));
                    text.extend(ranges);
                }
                if let Some(only) = &spec.only {
                    text += &format!(",only={}", only.display());
                }
                self.note(Field::Share, text, origin);
                devices.push(DeviceSpec::Fs(spec));
            }
        }
    }

    fn disks(&mut self, devices: &mut Vec<DeviceSpec>) {
        for (origin, layer) in self.layers {
            for disk in &layer.disk {
                let spec = disk.0.clone();
                let mode = if spec.read_only { "ro" } else { "rw" };
                let format = spec.format.unwrap_or(DiskFormat::Raw);
                let text = format!("{},{format},{mode}", spec.path.display());
                self.note(Field::Disk, text, origin);
                devices.push(DeviceSpec::Blk(spec));
            }
        }
    }
}

#[cfg(test)]
mod tests;

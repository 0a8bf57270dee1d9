//! The rules of a [`VmSpec`]: all problems at once, each with its field and a hint.

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use devices::virtio::blk::MAX_QUEUES;
use serde::Serialize;

use super::value::MemorySize;
use super::{
    BalloonSpec, BlkSpec, ConsoleSpec, DeviceSpec, Field, FsSpec, MAX_CMDLINE, MAX_CPUS,
    MAX_MEMORY, MIN_MEMORY, NetBackendSpec, NetSpec, Protocol, Transport, VmSpec, VsockSpec,
};
use super::{Credential, CredentialSource, MAX_CREDENTIAL};
use super::{Security, ShareProtocol};
use crate::layout::mmio;

/// The longest name of a VM: that of a host name's label (RFC 1035 §2.3.4).
const MAX_NAME: usize = 63;
/// What a name is, for who wrote one that [is none](is_name).
pub const NAME_HINT: &str =
    "use 1 to 63 letters, digits, `-`, `_` and `.`, and begin with a letter or a digit";
/// The longest tag of a shared folder (VIRTIO 1.3 §5.11.4).
const MAX_TAG: usize = 36;
/// The longest serial number of a disk (VIRTIO 1.3 §5.2.6).
const MAX_SERIAL: usize = 20;
/// The least MTU of an IPv4 host (RFC 791 §3.1).
const MIN_MTU: u16 = 576;

/// PCI slots from the first that a device gets.
const MAX_PCI_DEVICES: usize = 31;
/// Places for virtio-mmio devices.
const MAX_MMIO_DEVICES: usize = mmio::VIRTIO_MMIO_SLOTS as usize;

/// One thing that is wrong with a spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The part of the spec.
    pub field: Field,
    /// What is wrong, in one clause.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

impl VmSpec {
    /// Checks every rule that needs no privilege: values, clashes, and that named files exist.
    ///
    /// # Errors
    /// All problems found, in the order of the fields.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let mut rules = Rules::default();
        rules.names(self);
        rules.size(self);
        rules.boot_files(self);
        rules.cmdline(&self.kernel_cmdline());
        rules.credentials(&self.credentials);
        rules.transport(self);
        rules.consoles(self);
        rules.control(self.control.as_deref());
        for monitor in &self.monitors {
            rules.socket(Field::Monitor, &monitor.path, MAX_SOCKET_PATH);
        }
        for device in &self.devices {
            match device {
                DeviceSpec::Net(net) => rules.net(net),
                DeviceSpec::Fs(fs) => rules.share(fs),
                DeviceSpec::Blk(blk) => rules.disk(blk),
                DeviceSpec::Balloon(balloon) => rules.balloon(balloon, self.memory),
                DeviceSpec::Vsock(vsock) => rules.vsock(vsock),
                DeviceSpec::Console(_) | DeviceSpec::Rng => {}
            }
        }
        if rules.problems.is_empty() {
            Ok(())
        } else {
            Err(rules.problems)
        }
    }
}

/// The longest path of a Unix socket (Linux `include/uapi/linux/un.h`, `UNIX_PATH_MAX` less its end).
const MAX_SOCKET_PATH: usize = 107;

/// The problems so far and what has been claimed.
#[derive(Default)]
struct Rules {
    problems: Vec<Problem>,
    listeners: Vec<(Protocol, SocketAddr)>,
    macs: HashSet<[u8; 6]>,
    tags: HashSet<String>,
}

impl Rules {
    fn add(&mut self, field: Field, message: impl Into<String>, hint: impl Into<String>) {
        self.problems.push(Problem {
            field,
            message: message.into(),
            hint: hint.into(),
        });
    }

    fn names(&mut self, spec: &VmSpec) {
        for (field, name) in [
            (Field::Name, &spec.name),
            (Field::ProcessName, &spec.process_name),
        ] {
            // A process that is named after the VM has the same fault, which is told once.
            let told = field == Field::ProcessName && *name == spec.name;
            if !is_name(name) && !told {
                self.add(
                    field,
                    format!("`{}` is not a name", name.escape_debug()),
                    NAME_HINT,
                );
            }
        }
    }

    fn size(&mut self, spec: &VmSpec) {
        let memory = spec.memory;
        if memory < MIN_MEMORY {
            let message = format!("{} of memory is too little for a guest", MemorySize(memory));
            self.add(Field::Memory, message, "give at least 128M");
        } else if memory > MAX_MEMORY {
            let message = format!(
                "{} of memory is more than a guest can have",
                MemorySize(memory)
            );
            self.add(Field::Memory, message, "give at most 512G");
        } else if !memory.is_multiple_of(4096) {
            let message = format!("{memory} bytes of memory are no whole number of pages");
            self.add(Field::Memory, message, "give a multiple of 4K");
        }
        if spec.cpus == 0 || spec.cpus > MAX_CPUS {
            let message = format!("a guest cannot have {} vCPUs", spec.cpus);
            self.add(Field::Cpus, message, format!("give 1 to {MAX_CPUS}"));
        }
    }

    fn boot_files(&mut self, spec: &VmSpec) {
        self.file(Field::Kernel, "kernel", &spec.kernel);
        if let Some(initrd) = &spec.initrd {
            let length = self.file(Field::Initrd, "initrd", initrd);
            if length.is_some_and(|length| length >= spec.memory) {
                self.add(
                    Field::Initrd,
                    format!("initrd `{}` is larger than the memory", initrd.display()),
                    "give the guest more memory (`--memory`)",
                );
            }
        }
    }

    /// Checks that `path` is a regular file; returns its length.
    fn file(&mut self, field: Field, what: &str, path: &Path) -> Option<u64> {
        let shown = path.display();
        match path.metadata() {
            Ok(meta) if meta.is_file() => return Some(meta.len()),
            Ok(_) => self.add(
                field,
                format!("{what} `{shown}` is no regular file"),
                format!("name the {what}'s file"),
            ),
            Err(e) => self.add(
                field,
                format!("cannot find {what} `{shown}`: {}", describe(&e)),
                format!("check the path of the {what}"),
            ),
        }
        None
    }

    fn credentials(&mut self, credentials: &[Credential]) {
        let mut total = 0_u64;
        for credential in credentials {
            let length = match &credential.source {
                CredentialSource::Text(text) => Some(text.len() as u64),
                CredentialSource::File(path) => self.file(Field::Credential, "credential", path),
            };
            let length = length.unwrap_or(0);
            total = total.saturating_add(length);
            if length > MAX_CREDENTIAL {
                self.add(
                    Field::Credential,
                    format!("credential `{}` is larger than 1 MiB", credential.name),
                    "share a folder for more (`--share`)",
                );
            } else if total > MAX_CREDENTIAL && total - length <= MAX_CREDENTIAL {
                self.add(
                    Field::Credential,
                    format!(
                        "from `{}` on, credentials are larger than 1 MiB together",
                        credential.name
                    ),
                    "share a folder for more (`--share`)",
                );
            }
        }
    }

    fn cmdline(&mut self, cmdline: &str) {
        if cmdline.len() > MAX_CMDLINE {
            self.add(
                Field::Cmdline,
                format!("the kernel command line has {} bytes", cmdline.len()),
                format!("shorten it to {MAX_CMDLINE} bytes"),
            );
        }
        if cmdline.bytes().any(|b| b < b' ' || b == 0x7f) {
            self.add(
                Field::Cmdline,
                "the kernel command line holds a control character",
                "keep it on one line, without tabs",
            );
        }
    }

    fn transport(&mut self, spec: &VmSpec) {
        let most = match spec.transport {
            Transport::Pci => MAX_PCI_DEVICES,
            Transport::Mmio | Transport::MmioCmdline => MAX_MMIO_DEVICES,
        };
        let count = spec.devices.len();
        if count > most {
            self.add(
                Field::Transport,
                format!("{count} devices are too many for {}", spec.transport),
                format!("leave some out: there is room for {most}"),
            );
        }
    }

    fn consoles(&mut self, spec: &VmSpec) {
        let virtio = spec.devices.iter().filter_map(|device| match device {
            DeviceSpec::Console(console) => Some(console),
            _ => None,
        });
        let mut seen: Vec<&ConsoleSpec> = Vec::new();
        for console in std::iter::once(&spec.serial).chain(virtio) {
            if let ConsoleSpec::Tcp(address) = console {
                self.listener(Field::Console, Protocol::Tcp, *address);
            } else if *console != ConsoleSpec::None && seen.contains(&console) {
                self.add(
                    Field::Console,
                    format!("two consoles lead to {}", place(console)),
                    "give each console a place of its own (`--console serial=…,virtio=…`)",
                );
            }
            seen.push(console);
        }
    }

    fn net(&mut self, net: &NetSpec) {
        let mac = net.mac.map(|byte| format!("{byte:02x}")).join(":");
        let first = net.mac.first().copied().unwrap_or_default();
        if net.mac == [0; 6] || first & 1 == 1 {
            self.add(
                Field::Net,
                format!("`{mac}` is no MAC address of a single card"),
                "use a locally administered one, as 02:00:00:0a:cb:01",
            );
        } else if !self.macs.insert(net.mac) {
            self.add(
                Field::Net,
                format!("two cards have the MAC address `{mac}`"),
                "give each card its own",
            );
        }
        if let Some(mtu) = net.mtu
            && mtu < MIN_MTU
        {
            self.add(
                Field::Net,
                format!("an MTU of {mtu} is too small"),
                format!("give at least {MIN_MTU}; 1500 is usual"),
            );
        }
        let forwards = match &net.backend {
            NetBackendSpec::User(user) => user.forwards.as_slice(),
            NetBackendSpec::Tap(_) | NetBackendSpec::VhostUser { .. } => &[],
        };
        for forward in forwards {
            if forward.host.port() == 0 || forward.guest_port == 0 {
                self.add(
                    Field::Forward,
                    format!("forward to guest port {} has port 0", forward.guest_port),
                    "name ports from 1 to 65535",
                );
            } else {
                self.listener(Field::Forward, forward.protocol, forward.host);
            }
        }
    }

    fn listener(&mut self, field: Field, protocol: Protocol, address: SocketAddr) {
        let clash = self.listeners.iter().find(|(p, a)| {
            *p == protocol
                && a.port() == address.port()
                && (a.ip() == address.ip()
                    || a.ip().is_unspecified()
                    || address.ip().is_unspecified())
        });
        if clash.is_some() {
            let port = address.port();
            self.add(
                field,
                format!("{protocol} port {port} is wanted twice on the host"),
                "give each forward and console a host port of its own",
            );
        }
        self.listeners.push((protocol, address));
    }

    fn share(&mut self, fs: &FsSpec) {
        let tag = &fs.tag;
        if tag.is_empty() || tag.len() > MAX_TAG || tag.contains('\0') {
            self.add(
                Field::Share,
                format!("`{}` is no tag of a share", tag.escape_debug()),
                format!("use 1 to {MAX_TAG} bytes"),
            );
        } else if !self.tags.insert(tag.clone()) {
            self.add(
                Field::Share,
                format!("two shares have the tag `{tag}`"),
                "give each share its own",
            );
        }
        if fs.protocol != ShareProtocol::P9 && fs.security != Security::None {
            self.add(
                Field::Share,
                format!("share `{tag}`: `security` is of 9p alone"),
                "add `proto=9p`, or leave `security` out",
            );
        }
        let translated = !fs.uid_map.is_empty() || !fs.gid_map.is_empty();
        if translated && fs.security == Security::MappedXattr {
            self.add(
                Field::Share,
                format!("share `{tag}`: owners in attributes are not translated"),
                "leave out `uidmap` and `gidmap`, or `security`",
            );
        }
        let shown = fs.path.display();
        if fs.protocol == ShareProtocol::VhostUser {
            if fs.read_only {
                self.add(
                    Field::Share,
                    format!("share `{tag}`: its server decides whether it is read-only"),
                    "give `--readonly` to virtiofsd, and leave `ro` out",
                );
            }
            // Whether somebody listens shows when the device is made.
            return;
        }
        match fs.path.metadata() {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => self.add(
                Field::Share,
                format!("share `{tag}`: `{shown}` is no folder"),
                "name a folder",
            ),
            Err(e) => self.add(
                Field::Share,
                format!("share `{tag}`: cannot find `{shown}`: {}", describe(&e)),
                "check the path, or make the folder first",
            ),
        }
    }

    fn disk(&mut self, blk: &BlkSpec) {
        let shown = blk.path.display();
        match blk.path.metadata() {
            Ok(meta) if meta.is_dir() => self.add(
                Field::Disk,
                format!("disk `{shown}` is a folder"),
                "name an image or a block device; a folder is shared with `--share`",
            ),
            Ok(_) => {}
            Err(e) => self.add(
                Field::Disk,
                format!("cannot find disk `{shown}`: {}", describe(&e)),
                "check the path, or make an image with `truncate -s 1G FILE`",
            ),
        }
        if let Some(queues) = blk.queues
            && !(1..=MAX_QUEUES).contains(&queues)
        {
            self.add(
                Field::Disk,
                format!("disk `{shown}` cannot have {queues} queues"),
                format!("give 1 to {MAX_QUEUES}"),
            );
        }
        if let Some(serial) = &blk.serial
            && (serial.len() > MAX_SERIAL || !serial.is_ascii())
        {
            self.add(
                Field::Disk,
                format!("`{serial}` is no serial number of a disk"),
                format!("use at most {MAX_SERIAL} ASCII characters"),
            );
        }
    }

    fn balloon(&mut self, balloon: &BalloonSpec, memory: u64) {
        if balloon.size >= memory {
            let size = MemorySize(balloon.size);
            let message = format!("a balloon of {size} leaves the guest no memory");
            self.add(
                Field::Balloon,
                message,
                "give less, or more memory (`--memory`)",
            );
        }
    }

    fn control(&mut self, socket: Option<&Path>) {
        if let Some(socket) = socket {
            self.socket(Field::Control, socket, MAX_SOCKET_PATH);
        }
    }

    /// A socket's name has room for `most` bytes.
    fn socket(&mut self, field: Field, socket: &Path, most: usize) {
        let length = socket.as_os_str().len();
        if length > most {
            self.add(
                field,
                format!("the socket's path has {length} bytes"),
                format!("choose one of at most {most}"),
            );
        }
    }

    fn vsock(&mut self, vsock: &VsockSpec) {
        if !(VsockSpec::MIN_CID..=VsockSpec::MAX_CID).contains(&vsock.cid) {
            self.add(
                Field::Vsock,
                format!("`{}` is no context identifier of a guest", vsock.cid),
                format!("give {} to {}", VsockSpec::MIN_CID, VsockSpec::MAX_CID),
            );
        }
        if let Some(socket) = &vsock.socket {
            self.socket(Field::Vsock, socket, VsockSpec::MAX_PATH);
        }
    }
}

/// Whether `name` can be the name of a VM or of its process.
#[must_use]
pub fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

fn place(console: &ConsoleSpec) -> String {
    match console {
        ConsoleSpec::None => "nowhere".to_owned(),
        ConsoleSpec::Stdio => "standard output".to_owned(),
        ConsoleSpec::File(path) | ConsoleSpec::Unix(path) | ConsoleSpec::Connect(path) => {
            format!("`{}`", path.display())
        }
        ConsoleSpec::Tcp(address) => format!("port {}", address.port()),
        ConsoleSpec::Inherited(fd) => format!("descriptor {fd}"),
    }
}

/// An I/O error in the system's words, in lower case and without its number.
fn describe(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::NotFound => "no such file or folder".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        ErrorKind::NotADirectory => "a part of the path is no folder".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;

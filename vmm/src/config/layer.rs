//! One source of configuration: built-in values, a bundle, a file, the environment or the flags.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::sandbox::SandboxMode;
use guest::MacAddress;
use guest::bundle::{self, Bundle, ConsoleDevice, Root};
use serde::{Deserialize, Serialize};

use super::value::{
    ConsolePort, ConsoleValue, DiskValue, GuestAddress, MemorySize, NetChoice, ShareValue,
    UserChoice, VsockValue,
};
use super::{
    BlkSpec, Cache, ConsoleSpec, DiskFormat, Field, Forward, FsSpec, Protocol, ShareProtocol,
    Transport,
};
use super::{Credential, MonitorSpec, Uuid};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Built into the program.
    Default,
    /// A bundle's manifest.
    Bundle(PathBuf),
    /// The machine's own pools of identifiers.
    Assigned,
    /// A configuration file.
    File(PathBuf),
    /// The environment.
    Environment,
    /// The command line.
    Flags,
}

impl Origin {
    /// The place that gave `field` its value, as the user would name it.
    #[must_use]
    pub fn of(&self, field: Field) -> String {
        match self {
            Self::Default => "default".to_owned(),
            Self::Bundle(dir) => format!("bundle {}", dir.display()),
            Self::Assigned => "assigned".to_owned(),
            Self::File(path) => format!("file {}", path.display()),
            Self::Environment => {
                let name = field.as_str().replace('-', "_").to_ascii_uppercase();
                format!("PCP_VMM_{name}")
            }
            Self::Flags => format!("--{field}"),
        }
    }
}

/// The values of one source; what it does not say is absent. This is the format of the
/// configuration files too, with the names of the flags.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Layer {
    /// The VM's name.
    pub name: Option<String>,
    /// The name that the process carries.
    pub process_name: Option<String>,
    /// Guest RAM.
    pub memory: Option<MemorySize>,
    /// The number of vCPUs.
    pub cpus: Option<u8>,
    /// The kernel image.
    pub kernel: Option<PathBuf>,
    /// The initrd.
    pub initrd: Option<PathBuf>,
    /// The kernel command line, whole.
    pub cmdline: Option<String>,
    /// Words after the kernel command line.
    pub append: Option<String>,
    /// How the guest reaches its virtio devices.
    pub transport: Option<Transport>,
    /// Whether there is a network card.
    pub net: Option<NetChoice>,
    /// The name servers that a guest with an address of its own is told of; not for files.
    #[serde(skip)]
    pub nameserver: Vec<Ipv4Addr>,
    /// The card's address.
    pub mac: Option<MacAddress>,
    /// The card's largest packet.
    pub mtu: Option<u16>,
    /// The guest's address on a TAP for which the user says none; not for files.
    #[serde(skip)]
    pub address: Option<GuestAddress>,
    /// Whether there is an entropy source.
    pub rng: Option<bool>,
    /// How strict the sandbox is.
    pub sandbox: Option<SandboxMode>,
    /// The machine's UUID.
    pub uuid: Option<Uuid>,
    /// Credentials.
    pub credential: Vec<Credential>,
    /// Where the control socket is.
    pub control: Option<PathBuf>,
    /// QEMU's monitors.
    pub monitor: Vec<MonitorSpec>,
    /// What is added to the host ports of the bundle.
    pub port_offset: Option<u16>,
    /// Where consoles lead.
    pub console: Vec<ConsoleValue>,
    /// Host ports that lead into the guest.
    #[serde(deserialize_with = "forwards")]
    pub forward: Vec<Forward>,
    /// Shared folders.
    pub share: Vec<ShareValue>,
    /// Disks.
    pub disk: Vec<DiskValue>,
    /// What the guest is to give of its memory by a balloon.
    pub balloon: Option<MemorySize>,
    /// The socket device.
    pub vsock: Option<VsockValue>,
    /// The context identifier of a socket device for which the user says none; not for files.
    #[serde(skip)]
    pub cid: Option<u32>,
}

fn forwards<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Forward>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let parse = |text: String| text.parse().map_err(serde::de::Error::custom);
    texts.into_iter().map(parse).collect()
}

impl Layer {
    /// The built-in values of a kernel that is run by itself: its serial port on the terminal, no
    /// other device.
    #[must_use]
    pub fn bare() -> Self {
        let console = |port, spec| ConsoleValue { port, spec };
        Self {
            name: Some("vm".to_owned()),
            cmdline: Some("console=ttyS0 reboot=t panic=-1".to_owned()),
            net: Some(NetChoice::None),
            rng: Some(false),
            console: vec![
                console(ConsolePort::Serial, ConsoleSpec::Stdio),
                console(ConsolePort::Virtio, ConsoleSpec::None),
            ],
            ..Self::common()
        }
    }

    /// The built-in values under a bundle's.
    #[must_use]
    pub fn under_bundle() -> Self {
        Self {
            net: Some(NetChoice::User(UserChoice::default())),
            rng: Some(true),
            ..Self::common()
        }
    }

    fn common() -> Self {
        Self {
            memory: Some(MemorySize(1024 << 20)),
            cpus: Some(4),
            mac: "02:00:00:0a:cb:01".parse().ok(),
            ..Self::default()
        }
    }

    /// What a bundle says.
    #[must_use]
    pub fn from_bundle(bundle: &Bundle) -> Self {
        let share = |share: &bundle::Share| {
            ShareValue(FsSpec {
                read_only: share.read_only,
                protocol: match share.proto {
                    bundle::ShareProtocol::VirtioFs => ShareProtocol::VirtioFs,
                    bundle::ShareProtocol::P9 => ShareProtocol::P9,
                },
                // Nobody changes a read-only share of a bundle while a guest uses it.
                cache: if share.read_only {
                    Cache::Always
                } else {
                    Cache::Auto
                },
                ..FsSpec::new(share.tag.clone(), bundle.resolve(&share.path))
            })
        };
        let mut shares = Vec::new();
        let mut disks = Vec::new();
        match &bundle.root {
            Root::Share(root) => shares.push(share(root)),
            Root::Disk {
                path, read_only, ..
            } => disks.push(DiskValue(BlkSpec {
                format: Some(DiskFormat::Raw),
                read_only: *read_only,
                // The kernel command line finds the disk by it (docs/bundle.md, "root").
                serial: Some("root".to_owned()),
                ..BlkSpec::new(bundle.resolve(path))
            })),
            Root::Initrd => {}
        }
        shares.extend(bundle.shares.iter().map(share));
        Self {
            name: Some(bundle.hostname.clone()),
            process_name: Some(bundle.process.clone()),
            memory: Some(MemorySize(bundle.memory_mib.saturating_mul(1 << 20))),
            cpus: Some(u8::try_from(bundle.cpus).unwrap_or(u8::MAX)),
            kernel: Some(bundle.kernel_path()),
            initrd: bundle.initrd_path(),
            cmdline: Some(bundle.cmdline.clone()),
            mac: Some(bundle.mac),
            console: bundle.consoles.iter().map(console).collect(),
            forward: bundle.forwards.iter().map(forward).collect(),
            share: shares,
            disk: disks,
            ..Self::default()
        }
    }
}

fn console(console: &bundle::Console) -> ConsoleValue {
    ConsoleValue {
        port: match console.device {
            ConsoleDevice::TtyS0 => ConsolePort::Serial,
            ConsoleDevice::Hvc0 => ConsolePort::Virtio,
        },
        spec: ConsoleSpec::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, console.port))),
    }
}

fn forward(forward: &bundle::Forward) -> Forward {
    Forward {
        protocol: match forward.protocol {
            bundle::Protocol::Tcp => Protocol::Tcp,
            bundle::Protocol::Udp => Protocol::Udp,
        },
        host: SocketAddr::from((forward.address, forward.host)),
        guest_port: forward.guest,
    }
}

/// A value of the resolved configuration, for people and for `--json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The part of the spec.
    pub field: Field,
    /// The value.
    pub value: String,
    /// Where it comes from.
    pub origin: String,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {} ({})", self.field, self.value, self.origin)
    }
}

//! What machine to build: [`VmSpec`], the one list of its devices, and its validation.
//!
//! A spec is plain data: making one opens nothing. `cli` makes it from a bundle, a configuration
//! file and flags; `builder` turns it into a machine.

mod identity;
mod layer;
mod monitor;
mod resolve;
mod validate;
pub mod value;

use std::fmt;
use std::path::PathBuf;

pub use devices::backend::block::{BlkSpec, CacheMode, DiskFormat, IoMode};
pub use devices::backend::console::{ConsoleSpec, ConsoleSpecError};
pub use devices::backend::fs::{Cache, FsSpec, Protocol as ShareProtocol, Security};
pub use devices::backend::net::user::{
    DNS as USER_DNS, GATEWAY as USER_GATEWAY, GUEST as USER_GUEST, NETMASK as USER_NETMASK,
};
pub use devices::backend::net::{
    Forward, ForwardError, NetBackendSpec, NetSpec, Protocol, TapSource, TapSpec, UserSpec,
    VhostChoice,
};
pub use devices::virtio::balloon::BalloonSpec;
pub use devices::virtio::vsock::VsockSpec;
pub use identity::{
    Credential, CredentialError, CredentialSource, MAX_CREDENTIAL, MAX_FILE_CREDENTIAL_NAME, Uuid,
};
pub use layer::{Layer, Origin, Setting};
pub use monitor::{MonitorLanguage, MonitorSpec};
pub use resolve::Resolved;
use serde::{Deserialize, Serialize};
pub use validate::{NAME_HINT, Problem, is_name};

use self::value::GuestAddress;
use crate::layout::VirtioMmioPlace;
use crate::sandbox::SandboxMode;

/// The least memory that a guest gets: 128 MiB.
pub const MIN_MEMORY: u64 = 128 << 20;
/// The most memory that a guest gets: 512 GiB.
pub const MAX_MEMORY: u64 = 512 << 30;
/// The most vCPUs of a guest.
pub const MAX_CPUS: u8 = 64;
/// The longest kernel command line: Linux x86 keeps 2048 bytes, the last one a NUL
/// (Linux `arch/x86/include/asm/setup.h`, `COMMAND_LINE_SIZE`).
pub const MAX_CMDLINE: usize = 2047;

/// A whole virtual machine, as the user asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VmSpec {
    /// The name of the VM; the guest's host name where nothing else says it.
    pub name: String,
    /// The name by which PCP's scripts find the process, as `pcp-vm`.
    pub process_name: String,
    /// Guest RAM in bytes.
    pub memory: u64,
    /// The number of vCPUs.
    pub cpus: u8,
    /// The kernel image: a bzImage or an ELF vmlinux.
    pub kernel: PathBuf,
    /// The initial RAM disk.
    pub initrd: Option<PathBuf>,
    /// The kernel command line.
    pub cmdline: String,
    /// Where the serial port (ttyS0) leads.
    pub serial: ConsoleSpec,
    /// How the guest reaches the virtio devices.
    pub transport: Transport,
    /// The virtio devices, in the order of their places on the transport.
    pub devices: Vec<DeviceSpec>,
    /// A folder where unpacked kernels are kept; without one, a kernel is unpacked at every start.
    pub kernel_cache: Option<PathBuf>,
    /// How strict the sandbox is.
    #[serde(default)]
    pub sandbox: SandboxMode,
    /// The machine's UUID, if it has one.
    #[serde(default)]
    pub uuid: Option<Uuid>,
    /// Credentials for the guest's service manager.
    #[serde(default)]
    pub credentials: Vec<Credential>,
    /// Where the control socket is, if there is one.
    #[serde(default)]
    pub control: Option<PathBuf>,
    /// Sockets by which programs made for QEMU manage the machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub monitors: Vec<MonitorSpec>,
    /// The file with the process's number, which goes at its end.
    #[serde(default)]
    pub pid_file: Option<PathBuf>,
    /// The guest's address on its network, if it is known here.
    #[serde(default)]
    pub guest_address: Option<GuestAddress>,
    /// The machine's folder in the runtime directory, which goes at its end.
    #[serde(default)]
    pub instance: Option<PathBuf>,
    /// The folder of the consoles' logs; without one there are none.
    #[serde(default)]
    pub console_logs: Option<PathBuf>,
}

impl VmSpec {
    /// The kernel command line with what the transport adds to it.
    #[must_use]
    pub fn kernel_cmdline(&self) -> String {
        let mut cmdline = self.cmdline.clone();
        if self.transport == Transport::MmioCmdline {
            let count = u32::try_from(self.devices.len()).unwrap_or(u32::MAX);
            for place in (0..count).map_while(VirtioMmioPlace::new) {
                let (len, start) = (place.range.len >> 10, place.range.start);
                let word = format!(" virtio_mmio.device={len}K@{start:#x}:{}", place.gsi);
                cmdline.push_str(&word);
            }
        }
        cmdline
    }
}

/// How the guest reaches the virtio devices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// Functions of a PCI bus.
    #[default]
    Pci,
    /// Pages of virtio-mmio registers, found by ACPI; there is no PCI.
    Mmio,
    /// The same, found by the kernel command line.
    MmioCmdline,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pci => "pci",
            Self::Mmio => "mmio",
            Self::MmioCmdline => "mmio-cmdline",
        })
    }
}

/// One device. This enum is the only list of all devices in the program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceSpec {
    /// A virtio console (hvc0).
    Console(ConsoleSpec),
    /// A virtio network card.
    Net(NetSpec),
    /// A shared folder, over virtio-fs or 9p.
    Fs(FsSpec),
    /// A virtio disk.
    Blk(BlkSpec),
    /// A virtio entropy source.
    Rng,
    /// A virtio memory balloon.
    Balloon(BalloonSpec),
    /// A virtio socket device.
    Vsock(VsockSpec),
}

impl VmSpec {
    /// Whether somebody can ask the machine for something while it runs.
    #[must_use]
    pub fn is_controlled(&self) -> bool {
        self.control.is_some() || !self.monitors.is_empty()
    }

    /// Whether another process works in the guest's memory.
    #[must_use]
    pub fn shares_memory(&self) -> bool {
        self.devices.iter().any(|device| match device {
            DeviceSpec::Net(net) => matches!(net.backend, NetBackendSpec::VhostUser { .. }),
            DeviceSpec::Fs(fs) => fs.protocol == ShareProtocol::VhostUser,
            _ => false,
        })
    }
}

impl DeviceSpec {
    /// The device's kind in one word, as in `net`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Console(_) => "console",
            Self::Net(_) => "net",
            Self::Fs(_) => "fs",
            Self::Blk(_) => "blk",
            Self::Rng => "rng",
            Self::Balloon(_) => "balloon",
            Self::Vsock(_) => "vsock",
        }
    }
}

/// The part of a [`VmSpec`] that a value or a problem belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// [`VmSpec::name`].
    Name,
    /// [`VmSpec::process_name`].
    ProcessName,
    /// [`VmSpec::memory`].
    Memory,
    /// [`VmSpec::cpus`].
    Cpus,
    /// [`VmSpec::kernel`].
    Kernel,
    /// [`VmSpec::initrd`].
    Initrd,
    /// [`VmSpec::cmdline`].
    Cmdline,
    /// [`VmSpec::transport`].
    Transport,
    /// The serial port and the virtio consoles.
    Console,
    /// The network card.
    Net,
    /// The host forwards of the user-mode network.
    Forward,
    /// The shared folders.
    Share,
    /// The disks.
    Disk,
    /// The memory balloon.
    Balloon,
    /// The socket device.
    Vsock,
    /// [`VmSpec::sandbox`].
    Sandbox,
    /// [`VmSpec::uuid`].
    Uuid,
    /// [`VmSpec::credentials`].
    Credential,
    /// [`VmSpec::control`].
    Control,
    /// [`VmSpec::monitors`].
    Monitor,
}

impl Field {
    /// The field's name in messages, flags and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::ProcessName => "process-name",
            Self::Memory => "memory",
            Self::Cpus => "cpus",
            Self::Kernel => "kernel",
            Self::Initrd => "initrd",
            Self::Cmdline => "cmdline",
            Self::Transport => "transport",
            Self::Console => "console",
            Self::Net => "net",
            Self::Forward => "forward",
            Self::Share => "share",
            Self::Disk => "disk",
            Self::Balloon => "balloon",
            Self::Vsock => "vsock",
            Self::Sandbox => "sandbox",
            Self::Uuid => "uuid",
            Self::Credential => "credential",
            Self::Control => "control",
            Self::Monitor => "monitor",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

//! The manifest's fields as types; `docs/bundle.md` is the prose to them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::Serialize;

use crate::MacAddress;

/// How to start one guest, and what it offers once it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bundle {
    /// The folder that relative paths start in; not part of the manifest.
    #[serde(skip)]
    pub dir: PathBuf,
    /// Always [`SCHEMA_VERSION`](super::SCHEMA_VERSION).
    pub schema_version: u64,
    /// The variant's name, such as `base`.
    pub variant: String,
    /// The guest's host name.
    pub hostname: String,
    /// The name that the VM's process carries (`process=NAME`).
    pub process: String,
    /// The kernel image: bzImage or ELF.
    pub kernel: PathBuf,
    /// The initrd, if the kernel needs one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initrd: Option<PathBuf>,
    /// The kernel's command line, whole.
    pub cmdline: String,
    /// Where the guest's root file system comes from.
    pub root: Root,
    /// Further folders of the host that the guest expects.
    pub shares: Vec<Share>,
    /// Guest RAM in MiB.
    pub memory_mib: u64,
    /// Number of vCPUs.
    pub cpus: u32,
    /// The network card's address.
    pub mac: MacAddress,
    /// Host ports that lead into the guest.
    pub forwards: Vec<Forward>,
    /// The guest's consoles and the host ports that show them.
    pub consoles: Vec<Console>,
    /// systemd units that are active once the guest is ready.
    pub services: Vec<String>,
    /// PCP metrics that have values once the guest is ready.
    pub metrics: Vec<String>,
    /// HTTP endpoints that answer once the guest is ready.
    pub http_checks: Vec<HttpCheck>,
    /// How to log in.
    pub logins: Logins,
    /// Whether the guest runs commands for the host, where it has a socket device.
    #[serde(skip_serializing_if = "is_false")]
    pub agent: bool,
    /// What the bundle was made from.
    pub build: BuildInfo,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// Where the guest's root file system comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Root {
    /// A folder that the VMM serves over virtio-fs.
    Share(Share),
    /// A disk image, given as the first virtio-blk disk.
    Disk {
        /// The image.
        path: PathBuf,
        /// The file system in it.
        format: DiskFormat,
        /// Whether the guest may only read it.
        read_only: bool,
    },
    /// The initrd finds or is the root by itself.
    Initrd,
}

/// The file system in a root disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskFormat {
    /// EROFS: compact, read-only.
    Erofs,
    /// ext4: writable by the host's tools.
    Ext4,
}

impl DiskFormat {
    /// The name that the kernel and `mkfs` know it by.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Erofs => "erofs",
            Self::Ext4 => "ext4",
        }
    }
}

/// A folder of the host that the guest mounts by its tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Share {
    /// The tag by which the guest mounts it.
    pub tag: String,
    /// The folder.
    pub path: PathBuf,
    /// Whether the guest may only read it; enforced by the VMM.
    pub read_only: bool,
    /// The protocol by which the guest mounts it.
    #[serde(skip_serializing_if = "ShareProtocol::is_default")]
    pub proto: ShareProtocol,
}

/// How a guest mounts a share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum ShareProtocol {
    /// virtio-fs.
    #[default]
    #[serde(rename = "virtiofs")]
    VirtioFs,
    /// 9P2000.L over virtio.
    #[serde(rename = "9p")]
    P9,
}

impl ShareProtocol {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The transport of a forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A host port that leads to a guest port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Forward {
    /// What is reached, such as `ssh`.
    pub name: String,
    /// The transport.
    pub protocol: Protocol,
    /// The host's address to listen on.
    pub address: Ipv4Addr,
    /// The host's port.
    pub host: u16,
    /// The guest's port.
    pub guest: u16,
}

/// A console of the guest and the TCP port on 127.0.0.1 that serves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Console {
    /// The device as Linux names it.
    pub device: ConsoleDevice,
    /// The host's port.
    pub port: u16,
}

/// A console device as Linux names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum ConsoleDevice {
    /// The 16550 at I/O port 0x3f8.
    #[serde(rename = "ttyS0")]
    TtyS0,
    /// The virtio console.
    #[serde(rename = "hvc0")]
    Hvc0,
}

/// An HTTP endpoint that must answer with status 200, asked from inside the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HttpCheck {
    /// What is asked, such as `pmproxy`.
    pub name: String,
    /// The guest's port.
    pub port: u16,
    /// Path and query.
    pub path: String,
}

/// How to log in; absent where the image allows no such login.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Logins {
    /// On the consoles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console: Option<ConsoleLogin>,
    /// Over SSH.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh: Option<SshLogin>,
}

/// A login with user name and password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConsoleLogin {
    /// The user.
    pub user: String,
    /// The password; only debug images have one.
    pub password: String,
}

/// A login over SSH by password, by key, or by either.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SshLogin {
    /// The user.
    pub user: String,
    /// The password, if the image accepts one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The private key's file, if the image accepts a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// The credential in which the guest looks for public keys of the user, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorized_keys: Option<String>,
}

/// What a bundle was made from; for people and reports, nothing depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BuildInfo {
    /// The builder, such as `pcp-vmm 0.1.0` or `nix`.
    pub builder: String,
    /// The distribution and its suite, such as `debian trixie`.
    pub suite: String,
    /// The kernel's release, as `uname -r` will say it.
    pub kernel_release: String,
    /// Versions of the packages that matter, by name.
    pub packages: BTreeMap<String, String>,
}

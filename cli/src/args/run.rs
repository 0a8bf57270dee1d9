//! `pcp-vmm run`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use guest::MacAddress;
use vmm::config::value::{ConsoleValue, DiskValue, MemorySize, NetChoice, ShareValue, VsockValue};
use vmm::config::{Credential, Forward, MonitorSpec, Transport, Uuid};

use vmm::sandbox::SandboxMode;

use super::{TEMPLATE, seconds};
use crate::env;
use crate::exit::Exit;

const EXAMPLES: &str = "\
Examples:
  pcp-vmm run                                     the base guest; its image is built at first
  pcp-vmm run --variant bpf --memory 2G --cpus 2
  pcp-vmm run --share src=$PWD,ro --forward 8080:80
  pcp-vmm run --kernel vmlinux --initrd initrd    a kernel of your own, ttyS0 on this terminal
  pcp-vmm run --variant base --dry-run            show the machine, start nothing
";

const LONG: &str = "\
Start a VM and stay with it until it ends.

Without --kernel, the VM is one of PCP's documented guests, started from a bundle: a folder with a \
kernel, an initrd, a root file system and `bundle.json`, which also gives the defaults for memory, \
vCPUs, ports and consoles. The bundle of a variant is built at its first use and kept. The process \
is then called `microvm@NAME` and has the argument `process=NAME`, by which PCP's scripts find it.

With --kernel and neither --variant nor --bundle, the kernel runs by itself: its serial port is \
this terminal, and it has no device but those that are asked for.

A guest that powers off or reboots ends the VM. Ctrl-C asks the guest to shut down, a second one \
ends the VM at once. Where this terminal is the guest's console, Ctrl-C goes to the guest and Ctrl-] \
takes its place.";

/// Start a VM and stay with it until it ends.
#[derive(Debug, Args)]
#[command(
    help_template = TEMPLATE,
    before_help = EXAMPLES,
    long_about = LONG,
    after_help = Exit::HELP
)]
pub(crate) struct RunArgs {
    /// The guest: base, eval, grafana or bpf [default: base].
    #[arg(long, value_name = "NAME", env = env::VARIANT, hide_env_values = true, help_heading = "Guest")]
    pub(crate) variant: Option<String>,

    /// A folder with a bundle to start instead of the variant's own.
    #[arg(long, value_name = "DIR", env = env::BUNDLE, hide_env_values = true, help_heading = "Guest")]
    pub(crate) bundle: Option<PathBuf>,

    /// The kernel: a bzImage or an ELF vmlinux.
    #[arg(long, value_name = "FILE", help_heading = "Guest")]
    pub(crate) kernel: Option<PathBuf>,

    /// The initial RAM disk.
    #[arg(long, value_name = "FILE", help_heading = "Guest")]
    pub(crate) initrd: Option<PathBuf>,

    /// The whole kernel command line, in place of the default.
    #[arg(
        long,
        value_name = "TEXT",
        allow_hyphen_values = true,
        help_heading = "Guest"
    )]
    pub(crate) cmdline: Option<String>,

    /// More words for the end of the kernel command line.
    #[arg(
        long,
        value_name = "TEXT",
        allow_hyphen_values = true,
        help_heading = "Guest"
    )]
    pub(crate) append: Option<String>,

    /// The VM's name [default: the guest's host name]. With another name than its bundle's, the VM has ports and
    /// console ports of its own (`pcp-vmm ids`), and its process is called after it.
    #[arg(long, value_name = "NAME", help_heading = "Guest")]
    pub(crate) name: Option<String>,

    /// Guest memory: a number with K, M, G or T; M by default [default: 1G].
    #[arg(
        short,
        long,
        value_name = "SIZE",
        env = env::MEMORY, hide_env_values = true,
        allow_hyphen_values = true,
        help_heading = "Machine"
    )]
    pub(crate) memory: Option<MemorySize>,

    /// The machine's UUID; the guest finds it in `/sys/class/dmi/id/product_uuid`.
    #[arg(
        long,
        value_name = "UUID",
        hide_short_help = true,
        help_heading = "Machine"
    )]
    pub(crate) uuid: Option<Uuid>,

    /// A credential for the guest's systemd, up to 1 MiB; what others may not see belongs in a file.
    ///
    /// It lies in the SMBIOS tables (type 11), which have room for 55 KiB, and systemd finds it there with
    /// any kernel. What is up to 4 KiB, or has no room there, is also a file of the firmware configuration
    /// device (fw_cfg), if its name has at most 28 characters; systemd looks there first, where the kernel
    /// has the module qemu_fw_cfg.
    #[arg(long, value_name = "NAME=VALUE|NAME=@FILE", help_heading = "Guest")]
    pub(crate) credential: Vec<Credential>,

    /// The number of vCPUs, 1 to 64 [default: 4].
    #[arg(short, long, value_name = "N", env = env::CPUS, hide_env_values = true, value_parser = cpus,
        allow_hyphen_values = true, help_heading = "Machine")]
    pub(crate) cpus: Option<u8>,

    /// How the guest reaches its devices: by PCI, or by virtio-mmio registers that ACPI or (for
    /// kernels that look there) the kernel command line tells of.
    #[arg(
        long,
        value_name = "pci|mmio|mmio-cmdline",
        hide_short_help = true,
        help_heading = "Machine"
    )]
    pub(crate) transport: Option<Transport>,

    /// The network: none, or user (in the VMM, no privilege needed). `restrict=on`: the guest reaches nothing, forwards
    /// still reach it; `host=off`: 10.0.2.2 does not lead to the host's loopback address; `ipv6=off`: IPv4 alone.
    ///
    /// Or tap, a TAP of the host's, pcptap0 unless `ifname=NAME` says another. One that exists is used as it is, with
    /// a queue for each vCPU if it has several (`queues=N`: so many); else it is made, brought up, put into
    /// `bridge=NAME`, and gone when the VM ends, which needs root. `fd=N[:N]` takes descriptors that the caller opened. `vhost=on|off|auto`: the
    /// kernel's vhost-net moves the packets; auto, if it can be had. `address=IP/LENGTH|dhcp`: what a bundle's guest is told
    /// of its address, on pcptap0 10.177.0.20/24.
    ///
    /// Or `vhost-user,socket=PATH`: another process, such as passt, takes the packets.
    #[arg(long, value_name = "KIND[,OPTION=VALUE]", env = env::NET, hide_env_values = true, help_heading = "Devices")]
    pub(crate) net: Option<NetChoice>,

    /// Lead a host port into the guest; also replaces a port of the bundle.
    #[arg(
        short,
        long,
        value_name = "[tcp:|udp:][ADDR:]HOST:GUEST",
        help_heading = "Devices"
    )]
    pub(crate) forward: Vec<Forward>,

    /// Add a number to every host port of the bundle, and have no ports assigned.
    #[arg(long, value_name = "N", env = env::PORT_OFFSET, hide_env_values = true, help_heading = "Devices")]
    pub(crate) port_offset: Option<u16>,

    /// The network card's address.
    #[arg(
        long,
        value_name = "MAC",
        hide_short_help = true,
        help_heading = "Devices"
    )]
    pub(crate) mac: Option<MacAddress>,

    /// The network card's largest packet in bytes.
    #[arg(
        long,
        value_name = "BYTES",
        hide_short_help = true,
        help_heading = "Devices"
    )]
    pub(crate) mtu: Option<u16>,

    /// Share a folder over virtio-fs (`mount -t virtiofs TAG /mnt`) or, with `proto=9p`, over 9p
    /// (`mount -t 9p -o trans=virtio,version=9p2000.L TAG /mnt`). Further options:
    /// `cache=never|auto|always`, `security=none|passthrough|mapped-xattr` (9p), `uidmap=` and
    /// `gidmap=GUEST:HOST:COUNT`, and `only=FILE`, a list of the paths that alone are visible at the
    /// top. A comma in the path is doubled.
    /// With `proto=vhost-user` another process serves it over virtio-fs, such as virtiofsd: the path is its socket.
    #[arg(
        short,
        long,
        value_name = "TAG=PATH[,ro][,proto=9p][,OPTION]...",
        help_heading = "Devices"
    )]
    pub(crate) share: Vec<ShareValue>,

    /// Add a disk: an image, raw unless `format=qcow2` says otherwise (it is never guessed), or a
    /// block device. Further options: `queues=N`, `io=uring|threads`,
    /// `cache=writeback|writethrough|unsafe`. A comma in the path is doubled.
    #[arg(
        long,
        value_name = "PATH[,format=raw|qcow2][,ro][,serial=TEXT]",
        help_heading = "Devices"
    )]
    pub(crate) disk: Vec<DiskValue>,

    /// Where ttyS0 (serial, the default) or hvc0 (virtio) leads: stdio, file=PATH, unix=PATH, connect=PATH (a Unix socket where
    /// somebody else listens), tcp=[ADDR:]PORT, none, or fd=N: a listening socket that the caller opened, as systemd does (the first is 3).
    #[arg(long, value_name = "[serial=|virtio=]PLACE", help_heading = "Devices")]
    pub(crate) console: Vec<ConsoleValue>,

    /// Have a memory balloon: what the guest does not use goes back to the host; with SIZE, it is
    /// asked to give as much as that at first.
    #[arg(
        long,
        value_name = "SIZE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "0",
        help_heading = "Devices"
    )]
    pub(crate) balloon: Option<MemorySize>,

    /// Have a socket device (vsock), with a context identifier of its own unless `cid=` says which. The Unix socket PATH leads into the guest: write `CONNECT PORT`
    /// and an end of line first. The guest reaches the Unix socket PATH_P as port P of context 2.
    ///
    /// With `vhost` instead of a path, the kernel's vhost-vsock (`/dev/vhost-vsock`) connects the guest with the host's own
    /// sockets of this kind (AF_VSOCK): port P of context 2 is the host's, and the host finds the guest as context N.
    #[arg(
        long,
        value_name = "[cid=N,]socket=PATH|vhost",
        help_heading = "Devices"
    )]
    pub(crate) vsock: Option<VsockValue>,

    /// Have an entropy device [default: with a bundle].
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        hide_short_help = true,
        help_heading = "Devices"
    )]
    pub(crate) rng: Option<bool>,

    /// Have the control socket at PATH instead of in the VM's folder in the runtime directory.
    /// `docs/control.md` has its protocol.
    #[arg(long, value_name = "PATH", help_heading = "Running")]
    pub(crate) control: Option<PathBuf>,

    /// Serve QEMU's monitor at the Unix socket PATH for programs made for QEMU: its machine protocol (qmp) or its prompt (hmp).
    /// With `connect`, somebody listens there already. `docs/qemu-compat.md` lists what is understood.
    #[arg(
        long,
        value_name = "qmp|hmp=PATH[,connect]",
        hide_short_help = true,
        help_heading = "Running"
    )]
    pub(crate) monitor: Vec<MonitorSpec>,

    /// What the process may do on the host: `on` ends it at a system call that its work does not
    /// need, `audit` only has the kernel log it, `off` allows all [default: on].
    #[arg(long, value_name = "MODE", env = env::SANDBOX, hide_env_values = true, help_heading = "Running")]
    pub(crate) sandbox: Option<SandboxMode>,

    /// Call the process `microvm@NAME`, for scripts that look for it.
    #[arg(long, value_name = "NAME", help_heading = "Running")]
    pub(crate) process_name: Option<String>,

    /// Give up if the guest has not reached user space after this many seconds; 0: never
    /// [default: 900 with a bundle, else 0].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=86400), help_heading = "Running")]
    pub(crate) boot_timeout: Option<u64>,

    /// End the VM, as by SIGTERM, when the process that started this one ends; with that one's number, even if it has ended already.
    #[arg(long, value_name = "PID", num_args = 0..=1, require_equals = true, default_missing_value = "0", help_heading = "Running")]
    pub(crate) end_with_parent: Option<u32>,

    /// Let the VM go on by itself; return when its guest is ready, as its bundle says, or, without a bundle, when the machine
    /// runs. Its log is NAME.log in the log folder.
    #[arg(short = 'D', long, conflicts_with_all = ["dry_run", "end_with_parent"], help_heading = "Running")]
    pub(crate) daemon: bool,

    /// Write the process's number to this file, with --daemon once the guest is ready; the file goes with the VM.
    #[arg(long, value_name = "FILE", help_heading = "Running")]
    pub(crate) pid_file: Option<PathBuf>,

    /// With --daemon: how long the guest has to be ready; then the VM is ended.
    #[arg(long, value_name = "SECONDS", default_value = "900", value_parser = seconds, hide_short_help = true,
        help_heading = "Running")]
    pub(crate) ready_timeout: Duration,

    /// The process of a VM that goes on by itself.
    #[arg(long, hide = true)]
    pub(crate) detached: bool,

    /// Show the machine and where each value comes from; start nothing.
    #[arg(long, help_heading = "Running")]
    pub(crate) dry_run: bool,
}

fn cpus(text: &str) -> Result<u8, String> {
    let number = text.parse::<u8>().ok();
    number.ok_or_else(|| "not a number from 1 to 64".to_owned())
}

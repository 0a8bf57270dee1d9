//! `pcp-vmm exec`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use vmm::config::value::MemorySize;

use super::TEMPLATE;

const ABOUT: &str = "\
Run a command in a VM of its own, and end as it ends.

The VM has this machine's root file system, or that of --root, as its root. What the command changes goes to RAM and ends with the VM, but in \
folders of --rw and --share, and with --overlay DIR. The command runs in the same folder, as the same user and with the same environment, its standard input, output and error are \
this program's, and signals reach it. Where standard input and output are a terminal, it gets one.

The kernel is the one that runs here, one of Debian's that `pcp-vmm kernel add VERSION` fetched, or any bzImage or ELF vmlinux with virtio on PCI, vsock, virtio-fs and overlayfs, built \
in or as modules in /lib/modules/VERSION, beside the kernel, or in --modules.

With --in the command runs in a VM that is there, as its superuser, with a plain environment, in its root folder; any number at once. The guest is one of `pcp-vmm image build`, with the socket device that `run` gives it.";

const EXAMPLES: &str = "\
Examples:
  pcp-vmm exec -- uname -a
  pcp-vmm exec --kernel ./bzImage -- make -C tests
  pcp-vmm exec --kernel 6.12 -- uname -r
  pcp-vmm exec --rw . -- make
  pcp-vmm exec --root ./debian --share .:/src -- make -C /src
  pcp-vmm exec --in base -- systemctl --failed
  pcp-vmm exec --memory 2G --timeout 60 -- bpftrace -e 'BEGIN { exit() }'
";

const STATUS: &str = "\
Exit status: the command's own; 128+N if signal N ended it; 124 if its time was up; 125 if the VM or its kernel failed; 126 if \
the command cannot be executed; 127 if there is none of that name; 2 if the command line is wrong.";

/// The network of a guest that runs one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExecNet {
    /// In the VMM.
    User,
    /// No card.
    None,
}

/// Run a command in a VM of its own, and end as it ends.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE, long_about = ABOUT, before_help = EXAMPLES, after_help = STATUS)]
pub(crate) struct ExecArgs {
    /// Run the command in this VM, which runs already, in place of one of its own: its name, variant or process name.
    #[arg(
        long = "in",
        value_name = "NAME",
        conflicts_with_all = [
            "kernel", "modules", "module", "kernel_arg", "memory", "cpus", "root", "rw", "share", "disk",
            "net", "console", "overlay", "boot_timeout", "debug_shell_on_failure",
        ],
        help_heading = "Guest"
    )]
    pub(crate) vm: Option<String>,

    /// The kernel: `host`, a version that `pcp-vmm kernel` has in the cache (the newest of that name), or a file.
    #[arg(
        short,
        long,
        value_name = "host|VERSION|FILE",
        default_value = "host",
        help_heading = "Guest"
    )]
    pub(crate) kernel: PathBuf,

    /// The folder of the kernel's modules, with `modules.dep` in it.
    #[arg(long, value_name = "DIR", help_heading = "Guest")]
    pub(crate) modules: Option<PathBuf>,

    /// Load this module before the command runs; may be given several times.
    #[arg(long, value_name = "NAME", help_heading = "Guest")]
    pub(crate) module: Vec<String>,

    /// More words for the kernel command line.
    #[arg(long, value_name = "TEXT", help_heading = "Guest")]
    pub(crate) kernel_arg: Vec<String>,

    /// Guest memory: a number with K, M, G or T; M by default.
    #[arg(
        short,
        long,
        value_name = "SIZE",
        default_value = "512M",
        help_heading = "Machine"
    )]
    pub(crate) memory: MemorySize,

    /// The number of vCPUs, 1 to 64.
    #[arg(
        short,
        long,
        value_name = "N",
        default_value = "1",
        help_heading = "Machine"
    )]
    pub(crate) cpus: u32,

    /// The guest's root: a folder of this machine, a bundle, or the image of a file system (ext4, erofs, squashfs, xfs or btrfs, raw
    /// or in qcow2), which is not written to; `/` without. Changes go to RAM, or as `--overlay` says.
    #[arg(long, value_name = "DIR|BUNDLE|IMAGE", help_heading = "Guest")]
    pub(crate) root: Option<PathBuf>,

    /// Where changes to the root go: to RAM, or to this folder, which keeps them for the next guest with the same root: they are in its
    /// `upper`, in overlayfs's form.
    #[arg(
        long,
        value_name = "tmpfs|DIR",
        default_value = "tmpfs",
        help_heading = "Guest"
    )]
    pub(crate) overlay: PathBuf,

    /// Let changes in this folder reach the host; may be given several times.
    #[arg(long, value_name = "DIR", help_heading = "Guest")]
    pub(crate) rw: Vec<PathBuf>,

    /// Show the folder DIR of this machine as FOLDER, which is made if it is missing; changes reach DIR, but not with `:ro`. May be
    /// given several times.
    #[arg(long, value_name = "DIR:FOLDER[:ro]", help_heading = "Guest")]
    pub(crate) share: Vec<String>,

    /// Attach a disk image, the first as /dev/vda: as `--disk` of `pcp-vmm run`; may be given several times.
    #[arg(long, value_name = "PATH[,OPTION]...", help_heading = "Guest")]
    pub(crate) disk: Vec<String>,

    /// The network: `user` (in the VMM, no privilege needed; the host is 10.0.2.2) or `none`.
    #[arg(
        long,
        value_name = "KIND",
        default_value = "user",
        help_heading = "Guest"
    )]
    pub(crate) net: ExecNet,

    /// The user and group to run as, by number; the caller's without, and 0 with `--in`.
    #[arg(short, long, value_name = "UID[:GID]", help_heading = "Command")]
    pub(crate) user: Option<String>,

    /// Set a variable of the environment, or, without a value, leave it out; may be given several times.
    #[arg(short, long, value_name = "NAME[=VALUE]", help_heading = "Command")]
    pub(crate) env: Vec<OsString>,

    /// The folder that the command starts in; the caller's without, and `/` with `--root` or `--in`.
    #[arg(long, value_name = "DIR", help_heading = "Command")]
    pub(crate) cwd: Option<PathBuf>,

    /// End the VM after so many seconds, with status 124.
    #[arg(short, long, value_name = "SECONDS", help_heading = "Command")]
    pub(crate) timeout: Option<f64>,

    /// End a VM whose command does not run after so many seconds, with status 125.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "60",
        help_heading = "Command"
    )]
    pub(crate) boot_timeout: f64,

    /// If the command fails, open a shell in its guest, on this terminal, before the VM ends.
    #[arg(long, help_heading = "Command")]
    pub(crate) debug_shell_on_failure: bool,

    /// Keep what the kernel prints in this file.
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub(crate) console: Option<PathBuf>,

    /// Write the whole outcome to this file, as JSON.
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub(crate) report: Option<PathBuf>,

    /// End at once with the process that started this, however that ends; with its number, even if it has ended already.
    #[arg(long, value_name = "PID", num_args = 0..=1, require_equals = true, default_missing_value = "0", hide_short_help = true, help_heading = "Command")]
    pub(crate) end_with_parent: Option<u32>,

    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

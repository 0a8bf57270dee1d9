//! `pcp-vmm sandbox`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use vmm::config::value::MemorySize;

use super::TEMPLATE;

const ABOUT: &str = "\
Run a derivation's builder in a VM.

It is a derivation's builder itself, as nixpkgs' vmTools have QEMU: it finds in its environment what the derivation says (origBuilder, origArgs, memSize, \
diskImage, enableParallelBuilding, ...), runs that in a VM which shares the store and the folder for exchange, and ends as it ended. The flags go before the \
environment. `lib.runInLinuxVM` of the flake makes such derivations.

It needs /dev/kvm and no other privilege: no other device, no /sys, no network. docs/sandbox.md describes what the builder finds in the VM.";

const EXAMPLES: &str = "\
Examples:
  pcp-vmm sandbox --kernel bzImage --modules lib/modules/6.12.57
  pcp-vmm sandbox --kernel bzImage --memory 2G --timeout 600 -- /nix/store/...-bash/bin/bash -e builder.sh
";

const STATUS: &str = "\
Exit status: the builder's own; 128+N if signal N ended it; 124 if its time was up; 125 if the VM or its kernel failed, or the builder gave no status; 126 if \
the builder cannot be executed; 127 if there is none; 2 if the command line or the derivation is wrong.";

/// Run a derivation's builder in a VM.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE, long_about = ABOUT, before_help = EXAMPLES, after_help = STATUS)]
pub(crate) struct SandboxArgs {
    /// The kernel: `host`, a version that `pcp-vmm kernel` has in the cache, or a file.
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

    /// Load this module before the builder runs; may be given several times.
    #[arg(long, value_name = "NAME", help_heading = "Guest")]
    pub(crate) module: Vec<String>,

    /// More words for the kernel command line.
    #[arg(
        long,
        value_name = "TEXT",
        allow_hyphen_values = true,
        help_heading = "Guest"
    )]
    pub(crate) kernel_arg: Vec<String>,

    /// Guest memory [default: memSize, in MiB, else 512M].
    #[arg(short, long, value_name = "SIZE", help_heading = "Machine")]
    pub(crate) memory: Option<MemorySize>,

    /// The number of vCPUs, 1 to 64 [default: NIX_BUILD_CORES if enableParallelBuilding is 1, else 1].
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64), help_heading = "Machine")]
    pub(crate) cpus: Option<u32>,

    /// The disk image /dev/vda, raw or qcow2 [default: diskImage].
    #[arg(long, value_name = "FILE", help_heading = "Machine")]
    pub(crate) disk_image: Option<PathBuf>,

    /// Make /dev/vda the guest's root, which is else empty and in RAM [default: if mountDisk is set].
    #[arg(long, help_heading = "Machine")]
    pub(crate) mount_disk: bool,

    /// Attach one more disk, as `--disk` of `pcp-vmm run`; may be given several times.
    #[arg(long, value_name = "PATH[,OPTION]...", help_heading = "Machine")]
    pub(crate) disk: Vec<String>,

    /// The store [default: NIX_STORE, else /nix/store].
    #[arg(long, value_name = "DIR", help_heading = "Guest")]
    pub(crate) store: Option<PathBuf>,

    /// The folder for exchange, which is made if it is missing; the guest has it as /tmp/xchg.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "xchg",
        help_heading = "Guest"
    )]
    pub(crate) xchg: PathBuf,

    /// Take the environment from this file, whose variables each end with NUL, and not this program's: /proc/$$/environ is what a shell
    /// was started with.
    #[arg(long, value_name = "FILE", help_heading = "Builder")]
    pub(crate) environment: Option<PathBuf>,

    /// What the guest has as /bin/sh, where its root has none.
    #[arg(long, value_name = "PATH", help_heading = "Guest")]
    pub(crate) shell: Option<PathBuf>,

    /// End the VM after so many seconds, with status 124.
    #[arg(short, long, value_name = "SECONDS", help_heading = "Builder")]
    pub(crate) timeout: Option<f64>,

    /// Keep what the kernel prints in this file.
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub(crate) console: Option<PathBuf>,

    /// The builder and its arguments [default: origBuilder and origArgs].
    #[arg(last = true, value_name = "BUILDER")]
    pub(crate) builder: Vec<OsString>,
}

//! `pcp-vmm kernel`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{KernelArg, TEMPLATE};

const EXAMPLES: &str = "\
Examples:
  pcp-vmm kernel add 6.12
  pcp-vmm kernel ls --available
  pcp-vmm exec --kernel 6.12 -- uname -r
";

/// Fetch, list, check and remove Debian's kernels.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE, before_help = EXAMPLES)]
pub(crate) struct KernelArgs {
    #[command(subcommand)]
    pub(crate) verb: KernelVerb,
}

/// What to do with kernels.
#[derive(Debug, Subcommand)]
pub(crate) enum KernelVerb {
    Ls(KernelLsArgs),
    Add(KernelAddArgs),
    Show(KernelShowArgs),
    Check(KernelCheckArgs),
    Unpack(KernelUnpackArgs),
    Rm(KernelRmArgs),
}

/// Which mirror kernels come from.
#[derive(Debug, Args)]
pub(crate) struct MirrorArgs {
    /// The Debian suite [default: trixie, bookworm, trixie-backports and sid, in this order].
    #[arg(long, value_name = "SUITE")]
    pub(crate) suite: Option<String>,

    /// The package mirror [default: that of the machine's own apt].
    #[arg(long, value_name = "URL")]
    pub(crate) mirror: Option<String>,

    /// The keys that sign the mirror's suites [default: those of Debian's archive].
    #[arg(long, value_name = "FILE")]
    pub(crate) keyring: Option<PathBuf>,
}

/// List the kernels in the cache, the newest first.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE)]
pub(crate) struct KernelLsArgs {
    /// List what can be added instead.
    #[arg(long)]
    pub(crate) available: bool,

    #[command(flatten)]
    pub(crate) from: MirrorArgs,
}

const ADD_EXAMPLES: &str = "\
Examples:
  pcp-vmm kernel add 6.1 6.12 7.2
  pcp-vmm kernel add 6.12.57-1 --flavour standard
  pcp-vmm kernel add 6.12.57+deb13-amd64
";

/// Fetch kernels with their modules into the cache.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE, before_help = ADD_EXAMPLES)]
pub(crate) struct KernelAddArgs {
    /// The kernels: versions of Debian's packages or releases as `uname -r` tells them, or how one begins; the newest of that
    /// name is taken.
    #[arg(value_name = "VERSION", required = true)]
    pub(crate) versions: Vec<String>,

    /// Which of Debian's kernels, unless VERSION is a release.
    #[arg(long, value_name = "FLAVOUR", default_value = "cloud")]
    pub(crate) flavour: KernelArg,

    #[command(flatten)]
    pub(crate) from: MirrorArgs,
}

/// Show where a kernel of the cache is and what it was unpacked from.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE)]
pub(crate) struct KernelShowArgs {
    /// The kernel: a version or a release, or how one begins; the newest of that name.
    #[arg(value_name = "VERSION")]
    pub(crate) version: String,
}

const CHECK_EXAMPLES: &str = "\
Examples:
  pcp-vmm kernel check                          this machine's kernel, for exec
  pcp-vmm kernel check 6.12 --for bpf
  pcp-vmm kernel check ./vmlinux --config .config --for run,exec
";

/// What a kernel is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PurposeArg {
    /// Be the kernel of a VM.
    Run,
    /// Run commands by `pcp-vmm exec`.
    Exec,
    /// Run BPF programs.
    Bpf,
}

/// Tell whether a kernel was built with what a guest needs.
#[derive(Debug, Args)]
#[command(
    help_template = TEMPLATE,
    before_help = CHECK_EXAMPLES,
    after_help = "Exit status: 0 if nothing needed is missing, 1 if something is, 2 if the command line is wrong."
)]
pub(crate) struct KernelCheckArgs {
    /// The kernel: `host`, a version in the cache (the newest of that name), or the file of a kernel or of a configuration.
    #[arg(value_name = "KERNEL", default_value = "host")]
    pub(crate) kernel: PathBuf,

    /// What for; several with commas between.
    #[arg(
        long = "for",
        value_name = "PURPOSE",
        value_delimiter = ',',
        default_value = "exec"
    )]
    pub(crate) purposes: Vec<PurposeArg>,

    /// The kernel's configuration [default: the one beside it, in /boot, with its modules, or in itself].
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// The folder of its modules, with `modules.dep` in it.
    #[arg(long, value_name = "DIR")]
    pub(crate) modules: Option<PathBuf>,
}

/// Write the ELF file that a bzImage holds: a VM starts faster from it where no cache keeps it.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE)]
pub(crate) struct KernelUnpackArgs {
    /// The kernel: `host`, a version in the cache (the newest of that name), or the file of one.
    #[arg(value_name = "KERNEL")]
    pub(crate) kernel: PathBuf,

    /// The file to write.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
}

/// Remove kernels from the cache.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE)]
pub(crate) struct KernelRmArgs {
    /// The kernels: versions or releases, or how one begins, if that is only one.
    #[arg(value_name = "VERSION", required_unless_present = "all")]
    pub(crate) versions: Vec<String>,

    /// Remove all kernels.
    #[arg(long, conflicts_with = "versions")]
    pub(crate) all: bool,
}

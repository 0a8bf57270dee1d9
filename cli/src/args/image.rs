//! `pcp-vmm image`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use guest::image::KernelFlavour;

use super::TEMPLATE;

/// Build, list and remove guest images.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE)]
pub(crate) struct ImageArgs {
    #[command(subcommand)]
    pub(crate) verb: ImageVerb,
}

/// What to do with images.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageVerb {
    Build(BuildArgs),
    /// List the images in the cache.
    #[command(help_template = TEMPLATE)]
    Ls,
    Rm(RemoveArgs),
}

const EXAMPLES: &str = "\
Examples:
  pcp-vmm image build --variant base
  pcp-vmm image build --variant bpf --suite trixie --output ./bpf
";

/// Build a guest image from Debian packages.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE, before_help = EXAMPLES)]
pub(crate) struct BuildArgs {
    /// The guest: base, eval, grafana or bpf.
    #[arg(long, value_name = "NAME", default_value = "base")]
    pub(crate) variant: String,

    /// The Debian suite.
    #[arg(long, value_name = "SUITE", default_value = guest::image::ImageSpec::DEFAULT_SUITE)]
    pub(crate) suite: String,

    /// The folder to write; one in the cache by default.
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,

    /// Which of Debian's kernels.
    #[arg(long, value_name = "FLAVOUR", default_value = "cloud")]
    pub(crate) kernel: KernelArg,

    /// Put the root file system into a disk image [default: a shared folder; erofs if not root].
    #[arg(long, value_name = "FORMAT")]
    pub(crate) root_disk: Option<RootDiskArg>,

    /// The package mirror [default: that of the machine's own apt].
    #[arg(long, value_name = "URL")]
    pub(crate) mirror: Option<String>,

    /// A package file to install besides, such as Grafana's; may be given several times.
    #[arg(long, value_name = "FILE")]
    pub(crate) package: Vec<PathBuf>,

    /// Install missing tools of this machine with apt (as root).
    #[arg(long)]
    pub(crate) install_missing: bool,

    /// Build even if the image is there and up to date.
    #[arg(long)]
    pub(crate) force: bool,
}

/// Which of Debian's kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KernelArg {
    /// Small, with the drivers of virtual hardware.
    Cloud,
    /// With the drivers of all hardware.
    Standard,
}

impl From<KernelArg> for KernelFlavour {
    fn from(arg: KernelArg) -> Self {
        match arg {
            KernelArg::Cloud => Self::Cloud,
            KernelArg::Standard => Self::Standard,
        }
    }
}

/// The file system of a root disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RootDiskArg {
    /// Compact and read-only.
    Erofs,
    /// Writable.
    Ext4,
}

/// Remove images from the cache.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE)]
pub(crate) struct RemoveArgs {
    /// The images' names, as `image ls` shows them.
    #[arg(value_name = "NAME", required_unless_present = "all")]
    pub(crate) names: Vec<String>,

    /// Remove all images.
    #[arg(long, conflicts_with = "names")]
    pub(crate) all: bool,

    /// Also remove what builds share, such as downloaded packages.
    #[arg(long, requires = "all")]
    pub(crate) downloads: bool,

    /// Do not ask.
    #[arg(short = 'y', long, alias = "yes")]
    pub(crate) force: bool,
}

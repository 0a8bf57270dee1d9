//! What is asked of the image builder, and what it tells while it works.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::bundle::DiskFormat;
use crate::variant::Variant;

/// One image to build.
#[derive(Clone, Debug)]
pub struct ImageSpec {
    /// The variant to build.
    pub variant: Variant,
    /// The Debian suite, such as `trixie`.
    pub suite: String,
    /// Which of the suite's kernels goes in.
    pub kernel: KernelFlavour,
    /// How the root file system is delivered.
    pub root: RootForm,
    /// The bundle's folder; created, or replaced if it holds a bundle already.
    pub output: PathBuf,
    /// The folder for what several builds share.
    pub cache: PathBuf,
    /// Where what a build needs only meanwhile is put together, some 2 GiB; in the cache unless it is named.
    pub work: Option<PathBuf>,
    /// The package mirror's URL; by default the one that the machine's own apt uses for Debian.
    pub mirror: Option<String>,
    /// Package files to install besides, such as Grafana's.
    pub extra_packages: Vec<PathBuf>,
    /// Install the host's missing tools with apt (as root only) instead of stopping.
    pub install_missing: bool,
    /// Build even if the bundle that is there was built from the same recipe.
    pub force: bool,
}

impl ImageSpec {
    /// The suite that is built unless another is asked for.
    pub const DEFAULT_SUITE: &'static str = "trixie";

    /// A build of `variant` with the defaults for all else.
    #[must_use]
    pub fn new(variant: Variant, output: PathBuf, cache: PathBuf) -> Self {
        Self {
            variant,
            suite: Self::DEFAULT_SUITE.to_owned(),
            kernel: KernelFlavour::Cloud,
            root: RootForm::for_this_user(),
            output,
            cache,
            work: None,
            mirror: None,
            extra_packages: Vec::new(),
            install_missing: false,
            force: false,
        }
    }
}

/// Which of Debian's kernel packages is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KernelFlavour {
    /// `linux-image-cloud-amd64`: small, with the virtio drivers that a guest needs.
    Cloud,
    /// `linux-image-amd64`: with the drivers of all hardware, and 9p.
    Standard,
}

impl KernelFlavour {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cloud => "cloud",
            Self::Standard => "standard",
        }
    }
}

/// How an image's root file system is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootForm {
    /// A folder, served read-only over virtio-fs. Only root can build one: its files keep their owners.
    Share,
    /// A disk image.
    Disk(DiskFormat),
}

impl RootForm {
    /// The form that this user can build: root a share, others an EROFS disk.
    #[must_use]
    pub fn for_this_user() -> Self {
        if rustix::process::geteuid().is_root() {
            Self::Share
        } else {
            Self::Disk(DiskFormat::Erofs)
        }
    }
}

/// Hears how a build goes on.
pub trait Progress {
    /// Takes note of `event`; called on the thread that builds.
    fn event(&mut self, event: Event<'_>);
}

/// One piece of news from a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A step begins.
    Step {
        /// Its number, from 1.
        number: usize,
        /// How many there are.
        count: usize,
        /// What it does, such as `installing packages`.
        title: &'a str,
    },
    /// The step is not needed: its result of an earlier build is still good.
    Reused,
    /// A line from the tool that does the step.
    Detail(&'a str),
    /// How many packages the step has dealt with: each is unpacked, then set up.
    Packages {
        /// Unpackings and set-ups done.
        done: u64,
        /// Those in all, as far as is known yet.
        total: u64,
    },
    /// How far the step is.
    Bytes {
        /// Bytes done.
        done: u64,
        /// Bytes in all, roughly.
        total: u64,
    },
    /// Something that the user should know: an insecure login, a package that is not there.
    Warning(&'a str),
}

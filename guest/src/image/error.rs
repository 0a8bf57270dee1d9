//! What can go wrong while an image is built.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use super::recipe::RecipeError;
use crate::bundle::BundleError;
use crate::initramfs::InitramfsError;
use crate::modules::ModuleError;

/// Why an image cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Programs that the build needs are not installed.
    #[error("the build needs {}", missing.iter().map(Tool::to_string).collect::<Vec<_>>().join(", "))]
    MissingTools {
        /// The programs, each with the package that brings it.
        missing: Vec<Tool>,
    },
    /// The machine's apt knows no Debian mirror.
    #[error("no Debian mirror is configured on this machine")]
    NoMirror,
    /// A root share keeps the owners of its files, which only root can give them.
    #[error("a root share can only be built by root")]
    ShareNeedsRoot,
    /// A program failed.
    #[error("`{program}` failed ({status}){}", said(tail))]
    Program {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines that it wrote.
        tail: Vec<String>,
        /// Whether any of its lines told of a full disk.
        disk_full: bool,
    },
    /// A program cannot be started.
    #[error("cannot start `{program}`")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file or folder cannot be worked on.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The output folder holds something that is not a bundle.
    #[error("`{}` is there and is no bundle", .0.display())]
    OutputInUse(PathBuf),
    /// The tree of packages has no kernel.
    #[error("the packages brought no kernel")]
    NoKernel,
    /// The recipe cannot be put together.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The kernel lacks a module that the guest needs.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// The initrd cannot be written.
    #[error(transparent)]
    Initramfs(#[from] InitramfsError),
    /// The manifest cannot be written.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

impl ImageError {
    /// Adds what was done to which file to an error of the system.
    pub(super) fn file(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }

    /// Whether a disk that is full explains the failure.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::File { source, .. }
            | Self::Initramfs(InitramfsError::Write(source))
            | Self::Bundle(BundleError::Write { source, .. }) => {
                source.kind() == io::ErrorKind::StorageFull
            }
            Self::Program { disk_full, .. } => *disk_full,
            _ => false,
        }
    }

    /// What the user can do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::MissingTools { missing } => {
                let mut packages: Vec<_> = missing.iter().map(|tool| tool.package).collect();
                packages.dedup();
                let packages = packages.join(" ");
                Some(format!(
                    "apt-get install {packages}, or build as root with --install-missing"
                ))
            }
            Self::NoMirror => Some("name one with --mirror URL".to_owned()),
            Self::ShareNeedsRoot => {
                Some("build as root, or make a disk: --root-disk erofs".to_owned())
            }
            Self::OutputInUse(_) => Some("choose another folder with --output".to_owned()),
            _ if self.is_disk_full() => {
                Some("make room and run the same command again; it goes on where it can".to_owned())
            }
            _ => None,
        }
    }
}

/// A program of the host and the Debian package that brings it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tool {
    /// The program.
    pub program: &'static str,
    /// The package.
    pub package: &'static str,
}

impl std::fmt::Display for Tool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` (package {})", self.program, self.package)
    }
}

/// Whether a program's line tells of a full disk, in the system's words or in apt's.
pub(super) fn tells_of_full_disk(line: &str) -> bool {
    line.contains("No space left on device") || line.contains("You don't have enough free space")
}

fn said(tail: &[String]) -> String {
    if tail.is_empty() {
        String::new()
    } else {
        format!(": {}", tail.join(" | "))
    }
}

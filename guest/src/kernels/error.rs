//! What can go wrong with the cache of Debian's kernels.

use std::io;
use std::path::{Path, PathBuf};

use crate::image::{ImageError, Tool};

/// Why a kernel cannot be had, or not be removed.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// Programs that fetch packages are not installed.
    #[error("kernels are fetched by {}", missing.iter().map(Tool::to_string).collect::<Vec<_>>().join(", "))]
    MissingTools {
        /// The programs, each with the package that brings it.
        missing: Vec<Tool>,
    },
    /// There are no keys to check packages with.
    #[error("the archive's keys `{}` are not there", .0.display())]
    NoKeyring(PathBuf),
    /// The name of a suite or the address of a mirror cannot be one.
    #[error("`{}` is no {what}", text.escape_debug())]
    Malformed {
        /// What it should be.
        what: &'static str,
        /// What it is.
        text: String,
    },
    /// The lists of a suite cannot be fetched or read.
    #[error("cannot read the package lists of {suite}")]
    Lists {
        /// The suite.
        suite: String,
        /// What happened.
        source: ImageError,
    },
    /// No suite has such a kernel.
    #[error("{} no kernel {wanted} of the flavour {flavour}", have(suites))]
    NotOffered {
        /// What was asked for.
        wanted: String,
        /// The flavour.
        flavour: &'static str,
        /// Where it was looked for.
        suites: Vec<String>,
        /// The versions that there are, the newest first.
        offered: Vec<String>,
    },
    /// A package cannot be fetched, or is not what its list says.
    #[error("cannot fetch the packages of {release}")]
    Fetch {
        /// The kernel.
        release: String,
        /// What happened.
        source: ImageError,
    },
    /// The packages cannot be unpacked or their modules not be indexed.
    #[error("cannot unpack the packages of {release}")]
    Unpack {
        /// The kernel.
        release: String,
        /// What happened.
        source: ImageError,
    },
    /// The packages lack a part of a kernel.
    #[error("the packages of {release} have no {part}")]
    Incomplete {
        /// The kernel.
        release: String,
        /// What is not there.
        part: &'static str,
    },
    /// The record of a kernel in the cache cannot be read.
    #[error("`{}` is no kernel's record", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A kernel is in use.
    #[error("the kernel {0} is in use")]
    InUse(String),
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
    /// A mirror cannot be told, or a program of apt's not be started.
    #[error(transparent)]
    Host(#[from] ImageError),
}

fn have(suites: &[String]) -> String {
    match suites {
        [one] => format!("{one} has"),
        [all @ .., last] => format!("{} and {last} have", all.join(", ")),
        [] => "there is".to_owned(),
    }
}

impl KernelError {
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

    /// What the user can do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::MissingTools { missing } => {
                let mut packages: Vec<_> = missing.iter().map(|tool| tool.package).collect();
                packages.dedup();
                Some(format!("apt-get install {}", packages.join(" ")))
            }
            Self::NoKeyring(_) => Some(
                "apt-get install debian-archive-keyring, or name the mirror's keys with `--keyring FILE`"
                    .to_owned(),
            ),
            Self::Lists { .. } => Some(
                "`--mirror URL` names another mirror, `--suite NAME` another suite; what is cached is used without a network"
                    .to_owned(),
            ),
            Self::Fetch { source, .. } | Self::Unpack { source, .. } if source.is_disk_full() => {
                Some("make room; `pcp-vmm kernel rm` removes kernels".to_owned())
            }
            Self::Fetch { .. } => {
                Some("the same command again fetches what is missing".to_owned())
            }
            Self::NotOffered { offered, .. } if offered.is_empty() => {
                Some("`pcp-vmm kernel ls --available` lists what there is".to_owned())
            }
            Self::NotOffered { offered, .. } => {
                let shown: Vec<_> = offered.iter().take(5).map(String::as_str).collect();
                Some(format!(
                    "there are {}; `pcp-vmm kernel ls --available` lists all",
                    shown.join(", ")
                ))
            }
            Self::InUse(_) => Some("it can be removed once the VMs with it have ended".to_owned()),
            Self::Host(error) => error.hint(),
            _ => None,
        }
    }
}

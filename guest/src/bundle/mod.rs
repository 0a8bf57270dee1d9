//! The bundle: a folder whose `bundle.json` says how to start one guest and what it then offers.
//!
//! The Debian image builder writes it, a Nix build can write the same format, and `run` reads it.
//! `docs/bundle.md` describes every field. [`Bundle::load`] reports all problems of a manifest at
//! once, each with the field it comes from; a `Bundle` in hand is therefore a checked one.

mod decode;
mod fields;
mod types;

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub use types::{
    BuildInfo, Bundle, Console, ConsoleDevice, ConsoleLogin, DiskFormat, Forward, HttpCheck,
    Logins, Protocol, Root, Share, ShareProtocol, SshLogin,
};

/// The version of the manifest's format that this program reads and writes.
pub const SCHEMA_VERSION: u64 = 1;

/// The manifest's name inside the bundle's folder.
pub const MANIFEST: &str = "bundle.json";

/// The tag of the root share that the Debian builder writes, and the serial number of every root
/// disk.
pub const ROOT_TAG: &str = "root";

/// Manifests above this size are refused unread: the real ones have a few kilobytes.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// A fault in a manifest and the field that it was found in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field, as in `forwards[1].host`; empty for the manifest as a whole.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "`{}`: {}", self.field, self.message)
        }
    }
}

/// Why a bundle cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The manifest cannot be read.
    #[error("cannot read bundle manifest `{}`", path.display())]
    Read {
        /// The manifest.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The manifest is not JSON.
    #[error("bundle manifest `{}` is not valid JSON", path.display())]
    Syntax {
        /// The manifest.
        path: PathBuf,
        /// Where reading stopped.
        source: serde_json::Error,
    },
    /// The manifest is JSON but describes no bundle.
    #[error("bundle manifest `{}` has {}", path.display(), list(problems))]
    Invalid {
        /// The manifest.
        path: PathBuf,
        /// Everything that is wrong with it, in the order of the fields.
        problems: Vec<Problem>,
    },
    /// The manifest cannot be written.
    #[error("cannot write bundle manifest `{}`", path.display())]
    Write {
        /// The manifest.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn list(problems: &[Problem]) -> String {
    let all: Vec<String> = problems.iter().map(Problem::to_string).collect();
    let noun = if all.len() == 1 {
        "problem"
    } else {
        "problems"
    };
    format!("{} {noun}: {}", all.len(), all.join("; "))
}

impl Bundle {
    /// Reads and checks the bundle in `dir`.
    ///
    /// # Errors
    /// If the manifest cannot be read, is not JSON, or has problems, all of which are listed:
    /// unknown and missing fields, wrong types, values out of range, names or ports used twice,
    /// files that are not there.
    pub fn load(dir: &Path) -> Result<Self, BundleError> {
        let path = dir.join(MANIFEST);
        let text = read(&path).map_err(|source| BundleError::Read {
            path: path.clone(),
            source,
        })?;
        let value = serde_json::from_slice(&text).map_err(|source| BundleError::Syntax {
            path: path.clone(),
            source,
        })?;
        decode::bundle(dir, value).map_err(|problems| BundleError::Invalid { path, problems })
    }

    /// Writes the manifest into the bundle's folder, in one step: a reader sees the old manifest or
    /// the new one, and after a crash one of the two is there whole.
    ///
    /// # Errors
    /// If the bundle would not load again (a value out of range, a file missing), or the manifest
    /// cannot be written.
    pub fn write(&self) -> Result<(), BundleError> {
        let path = self.dir.join(MANIFEST);
        let value = serde_json::to_value(self).map_err(|source| BundleError::Syntax {
            path: path.clone(),
            source,
        })?;
        let mut text = serde_json::to_vec_pretty(&value).map_err(|source| BundleError::Syntax {
            path: path.clone(),
            source,
        })?;
        text.push(b'\n');
        decode::bundle(&self.dir, value).map_err(|problems| BundleError::Invalid {
            path: path.clone(),
            problems,
        })?;
        replace(&path, &text).map_err(|source| BundleError::Write { path, source })
    }

    /// Where a path of the manifest leads: relative ones start in the bundle's folder.
    #[must_use]
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.dir.join(path)
    }

    /// The kernel image.
    #[must_use]
    pub fn kernel_path(&self) -> PathBuf {
        self.resolve(&self.kernel)
    }

    /// The initrd, if the guest has one.
    #[must_use]
    pub fn initrd_path(&self) -> Option<PathBuf> {
        self.initrd.as_deref().map(|path| self.resolve(path))
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let size = fs::metadata(path)?.len();
    if size > MAX_MANIFEST_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "larger than 1 MiB",
        ));
    }
    fs::read(path)
}

/// Replaces `path` by a file with these contents: written beside it, flushed, renamed over it.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let partial = path.with_extension(format!("partial-{}", std::process::id()));
    let written = File::create(&partial).and_then(|mut file| {
        file.write_all(contents)?;
        file.sync_all()
    });
    let done = written.and_then(|()| fs::rename(&partial, path));
    if done.is_err() {
        // The write's own error is the one to report.
        let _ = fs::remove_file(&partial);
    }
    done
}

#[cfg(test)]
mod tests;

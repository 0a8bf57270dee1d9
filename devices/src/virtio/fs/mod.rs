//! virtio-fs (VIRTIO 1.3 §5.11): a shared directory, served by our own FUSE server in this process.
//!
//! The device moves requests between its queues and the server; the server translates FUSE into
//! calls of `Share`, where all that touches the host's files lives. Everything runs on
//! a thread of the device's own, because file systems block.
//!
//! Whoever may write to the share may, if we run as root, leave files there with any owner, mode
//! and attribute, set-user-id programs included: share with root's rights only what may hold them.

mod attr;
mod device;
mod dirs;
mod init;
mod io;
mod locks;
mod names;
mod protocol;
mod request;
mod server;
mod xattrs;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::backend::fs::ShareError;

pub use device::Fs;

/// The longest tag in bytes (VIRTIO 1.3 §5.11.4).
const TAG_MAX: usize = 36;

/// How far the guest may rely on what it has seen of the share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cache {
    /// Not at all: each access asks the host.
    Never,
    /// For a second, and what it has read of a file for as long as the file does not change. What
    /// the host changes shows in the guest within that second.
    #[default]
    Auto,
    /// For good: nobody but this guest changes the tree (or nobody at all, for a read-only share).
    /// By far the quickest, and right for the root of an image.
    Always,
}

impl FromStr for Cache {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "never" => Ok(Self::Never),
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            _ => Err(format!("`{text}` is none of never, auto, always")),
        }
    }
}

impl fmt::Display for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "never",
            Self::Auto => "auto",
            Self::Always => "always",
        })
    }
}

/// A directory to share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FsSpec {
    /// The name by which the guest mounts it, 1 to 36 bytes.
    pub tag: String,
    /// The directory on the host.
    pub path: PathBuf,
    /// Whether the guest may change nothing.
    #[serde(default)]
    pub read_only: bool,
    /// How far the guest may cache.
    #[serde(default)]
    pub cache: Cache,
}

/// Why a directory cannot be shared.
#[derive(Debug, thiserror::Error)]
pub enum FsError {
    /// The tag is empty, too long, or holds a NUL.
    #[error("share tag {tag:?} is not 1 to 36 bytes without a NUL")]
    Tag {
        /// The tag.
        tag: String,
    },
    /// The directory cannot be opened.
    #[error("cannot share with tag {tag:?}")]
    Share {
        /// The tag.
        tag: String,
        /// Why.
        source: ShareError,
    },
    /// No timer for requests that wait.
    #[error("cannot create a timer for share {tag:?}")]
    Timer {
        /// The tag.
        tag: String,
        /// What the system said.
        source: std::io::Error,
    },
}

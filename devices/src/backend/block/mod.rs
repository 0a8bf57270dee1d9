//! Disks: what a block device stores its sectors in.

mod raw;

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::port_owner::PortOwner;

pub use self::raw::RawImage;

/// The unit in which drivers count (VIRTIO 1.3 §5.2.4), whatever the block size.
pub const SECTOR: u64 = 512;

/// A disk of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlkSpec {
    /// A raw image or a block device of the host.
    pub path: PathBuf,
    /// The guest may not write.
    #[serde(default)]
    pub read_only: bool,
    /// The serial number that the guest sees (20 bytes at most).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
}

/// Why a disk cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// The image cannot be opened or looked at.
    #[error("cannot open disk image {}", path.display())]
    Open {
        /// The image.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is a folder, a socket or the like.
    #[error("disk image {} is neither a file nor a block device", path.display())]
    Kind {
        /// The image.
        path: PathBuf,
    },
    /// Another process uses the image in a way that excludes ours.
    #[error(
        "disk image {} is in use{}",
        path.display(),
        owner.as_ref().map_or(String::new(), |owner| format!(" by {owner}"))
    )]
    Locked {
        /// The image.
        path: PathBuf,
        /// Who has it open, if `/proc` tells.
        owner: Option<PortOwner>,
    },
}

//! The specs of disks.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlkSpec {
    /// The raw image or block device.
    pub path: PathBuf,
    /// Whether the guest may not write.
    pub read_only: bool,
    /// The disk's serial number as the guest sees it.
    pub serial: Option<String>,
}

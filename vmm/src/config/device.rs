//! The specs of single devices.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A shared folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FsSpec {
    /// The name by which the guest mounts it.
    pub tag: String,
    /// The host's folder.
    pub path: PathBuf,
    /// Whether the guest may not write.
    pub read_only: bool,
    /// How much the guest may cache.
    pub cache: CachePolicy,
}

/// How much of a shared folder the guest may cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CachePolicy {
    /// Nothing.
    None,
    /// For a moment, as a network file system does.
    #[default]
    Auto,
    /// For ever: nobody else changes the folder.
    Always,
}

impl FromStr for CachePolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self::None),
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            _ => Err(format!("`{text}` is none of none, auto, always")),
        }
    }
}

impl fmt::Display for CachePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Auto => "auto",
            Self::Always => "always",
        })
    }
}

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

//! What is shared, and how.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ids::IdRange;

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

/// How a guest mounts a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Protocol {
    /// virtio-fs: `mount -t virtiofs TAG /mnt`.
    #[default]
    #[serde(rename = "virtiofs")]
    VirtioFs,
    /// 9P2000.L: `mount -t 9p -o trans=virtio,version=9p2000.L TAG /mnt`.
    #[serde(rename = "9p")]
    P9,
    /// virtio-fs, served by another process: the path is its socket.
    #[serde(rename = "vhost-user")]
    VhostUser,
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "virtiofs" => Ok(Self::VirtioFs),
            "9p" => Ok(Self::P9),
            "vhost-user" => Ok(Self::VhostUser),
            _ => Err(format!("`{text}` is none of virtiofs, 9p, vhost-user")),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::VirtioFs => "virtiofs",
            Self::P9 => "9p",
            Self::VhostUser => "vhost-user",
        })
    }
}

/// Where the owners, modes and device numbers that a guest sets are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Security {
    /// In the files themselves, as far as we may: a new file whose owner we may not set is ours.
    #[default]
    None,
    /// In the files themselves; what we may not set is the guest's error.
    Passthrough,
    /// In extended attributes (`user.virtfs.*`, as QEMU has them): every file is ours, and special
    /// files are plain ones.
    MappedXattr,
}

impl FromStr for Security {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self::None),
            "passthrough" => Ok(Self::Passthrough),
            "mapped-xattr" => Ok(Self::MappedXattr),
            _ => Err(format!(
                "`{text}` is none of none, passthrough, mapped-xattr"
            )),
        }
    }
}

impl fmt::Display for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Passthrough => "passthrough",
            Self::MappedXattr => "mapped-xattr",
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
    /// How far the guest may cache; of virtio-fs alone, for over 9p the guest decides.
    #[serde(default)]
    pub cache: Cache,
    /// The protocol by which the guest mounts it.
    #[serde(default)]
    pub protocol: Protocol,
    /// How the guest's owners and modes are kept; of 9p alone.
    #[serde(default)]
    pub security: Security,
    /// The guest's users and the host's that they stand for; if empty, each is itself.
    #[serde(default)]
    pub uid_map: Vec<IdRange>,
    /// The same for groups.
    #[serde(default)]
    pub gid_map: Vec<IdRange>,
    /// A file that lists the names, or paths, which alone are visible at the top.
    #[serde(default)]
    pub only: Option<PathBuf>,
}

impl FsSpec {
    /// The directory `path`, writable, over virtio-fs under the name `tag`.
    #[must_use]
    pub fn new(tag: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self {
            tag: tag.into(),
            path: path.into(),
            read_only: false,
            cache: Cache::default(),
            protocol: Protocol::default(),
            security: Security::default(),
            uid_map: Vec::new(),
            gid_map: Vec::new(),
            only: None,
        }
    }
}

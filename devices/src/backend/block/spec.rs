//! A disk as it is asked for.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A disk of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlkSpec {
    /// An image or a block device of the host.
    pub path: PathBuf,
    /// How the image is to be read. It is never guessed: a guest can write any header into a raw
    /// disk, and a qcow2 header names other files of the host. Without a word it is raw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<DiskFormat>,
    /// The guest may not write.
    #[serde(default)]
    pub read_only: bool,
    /// The serial number that the guest sees (20 bytes at most).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// The number of virtqueues; one for each vCPU, up to a few, if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queues: Option<u16>,
    /// Who carries out the requests.
    #[serde(default)]
    pub io: IoMode,
    /// When a write is durable.
    #[serde(default)]
    pub cache: CacheMode,
}

impl BlkSpec {
    /// A writable raw disk at `path`, with no serial number.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            format: None,
            read_only: false,
            serial: None,
            queues: None,
            io: IoMode::default(),
            cache: CacheMode::default(),
        }
    }
}

/// A text that names none of the choices.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is none of {known}")]
pub struct UnknownChoice {
    text: String,
    known: &'static str,
}

// Each choice is an enum with its words: `FromStr`, `Display` and serde all speak them.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident, $known:literal, { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $($(#[$variant_doc])* $variant),*
        }

        impl FromStr for $name {
            type Err = UnknownChoice;

            fn from_str(text: &str) -> Result<Self, UnknownChoice> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(UnknownChoice { text: text.to_owned(), known: $known }),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$variant => $word),*
                })
            }
        }
    };
}

choice!(
    /// The format of an image.
    DiskFormat, "raw, qcow2", {
        /// Sector N of the disk is bytes N × 512 and on of the file.
        Raw = "raw",
        /// QEMU's format (QEMU `docs/interop/qcow2.rst`).
        Qcow2 = "qcow2"
    }
);

choice!(
    /// Who carries out the requests of a disk.
    IoMode, "uring, threads", {
        /// The kernel by io_uring, where it and the image allow it; else threads.
        Uring = "uring",
        /// A few threads that block in system calls.
        Threads = "threads"
    }
);

choice!(
    /// When what a guest writes is durable.
    CacheMode, "writeback, writethrough, unsafe", {
        /// After a flush of the guest's.
        Writeback = "writeback",
        /// At once.
        Writethrough = "writethrough",
        /// Some time: flushes do nothing, and a crash of the host may destroy the disk.
        Unsafe = "unsafe"
    }
);

#[allow(clippy::derivable_impls, reason = "the macro knows no default")]
impl Default for IoMode {
    fn default() -> Self {
        Self::Uring
    }
}

#[allow(clippy::derivable_impls, reason = "the macro knows no default")]
impl Default for CacheMode {
    fn default() -> Self {
        Self::Writeback
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spec_reads_as_it_is_written() {
        let spec: BlkSpec = serde_json::from_str(r#"{"path":"/disk"}"#).unwrap();
        assert_eq!(spec, BlkSpec::new("/disk"));
        let text = r#"{"path":"/d","format":"qcow2","read_only":true,"serial":"s","queues":2,"io":"threads","cache":"unsafe"}"#;
        let spec: BlkSpec = serde_json::from_str(text).unwrap();
        assert_eq!(spec.format, Some(DiskFormat::Qcow2));
        assert_eq!(serde_json::to_string(&spec).unwrap(), text);
        assert!(serde_json::from_str::<BlkSpec>(r#"{"path":"/disk","ro":true}"#).is_err());
    }

    #[test]
    fn choices_are_said_in_their_own_words() {
        assert_eq!("qcow2".parse(), Ok(DiskFormat::Qcow2));
        assert_eq!(CacheMode::Writethrough.to_string(), "writethrough");
        let error = "auto".parse::<IoMode>().unwrap_err();
        assert_eq!(error.to_string(), "`auto` is none of uring, threads");
    }
}

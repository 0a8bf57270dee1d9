//! Disks: what a block device stores its sectors in.

mod file;
mod qcow2;
mod raw;
mod spec;

use std::fmt::Debug;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;

use self::qcow2::Qcow2Image;
use self::raw::RawImage;
pub use self::spec::{BlkSpec, CacheMode, DiskFormat, IoMode};
use super::port_owner::PortOwner;
use crate::virtio::queue::{Reader, Writer};

/// The unit in which drivers count (VIRTIO 1.3 §5.2.4), whatever the block size.
pub const SECTOR: u64 = 512;

/// What an image can do for its disk. Its calls block, and several threads make them at once.
pub trait Image: Send + Sync + Debug {
    /// Reads at byte `offset` into all of `to`.
    ///
    /// # Errors
    /// What the system says, or the image has become shorter.
    fn read(&self, to: &mut Writer<'_>, offset: u64) -> io::Result<()>;

    /// Writes all of `from` at byte `offset`.
    ///
    /// # Errors
    /// What the system says.
    fn write(&self, from: &mut Reader<'_>, offset: u64) -> io::Result<()>;

    /// Makes what was written durable.
    ///
    /// # Errors
    /// What the system says.
    fn flush(&self) -> io::Result<()>;

    /// Frees the space of a range, whose content is then undefined. An image that cannot does
    /// nothing.
    ///
    /// # Errors
    /// What the system says.
    fn discard(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Zeroes a range; with `unmap` its space may be freed.
    ///
    /// # Errors
    /// What the system says.
    fn write_zeroes(&self, offset: u64, len: u64, unmap: bool) -> io::Result<()>;

    /// The file whose byte N is byte N of the disk, and its length, if there is such a file.
    fn plain_file(&self) -> Option<(BorrowedFd<'_>, u64)> {
        None
    }

    /// Hands what only this process knows to the system, as the run ends.
    ///
    /// # Errors
    /// What the system says.
    fn settle(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The size of a disk and the units in which its image is best used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Sectors of 512 bytes.
    pub sectors: u64,
    /// The bytes that are best written together, a power of two from 512 to 64 KiB.
    pub block_size: u64,
    /// The bytes that are freed together, a power of two.
    pub discard_unit: u64,
}

/// An open disk, its files locked: shared if read-only, for us alone if not.
#[derive(Debug, Clone)]
pub struct Disk {
    /// Where its sectors are.
    pub image: Arc<dyn Image>,
    /// The path, for messages.
    pub name: String,
    /// The serial number, empty if none was given.
    pub serial: String,
    /// The guest may not write.
    pub read_only: bool,
    /// Its size and units.
    pub geometry: Geometry,
    /// When a write is durable.
    pub cache: CacheMode,
    /// Who carries out the requests.
    pub io: IoMode,
}

impl Disk {
    /// Opens and locks the image of `spec`, and those that it is based on.
    ///
    /// # Errors
    /// See [`BlockError`].
    pub fn open(spec: &BlkSpec) -> Result<Self, BlockError> {
        let (image, geometry): (Arc<dyn Image>, _) = match spec.format {
            Some(DiskFormat::Qcow2) => {
                let (image, geometry) = Qcow2Image::open(spec)?;
                (Arc::new(image), geometry)
            }
            Some(DiskFormat::Raw) | None => {
                let (image, geometry) = RawImage::open(spec)?;
                (Arc::new(image), geometry)
            }
        };
        Ok(Self {
            image,
            name: spec.path.display().to_string(),
            serial: spec.serial.clone().unwrap_or_default(),
            read_only: spec.read_only,
            geometry,
            cache: spec.cache,
            io: spec.io,
        })
    }
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
    /// The image asks for what is not done for it.
    #[error("disk image {} {what}", path.display())]
    Unsupported {
        /// The image.
        path: PathBuf,
        /// What it asks for.
        what: &'static str,
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

impl BlockError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Open { .. } => "check the path, the permissions and the format (`format=qcow2`)",
            Self::Kind { .. } => "name a disk image or a block device",
            Self::Unsupported { .. } => {
                "`qemu-img info IMAGE` shows how it is made, `qemu-img rebase -u -F FORMAT -b BACKING \
                 IMAGE` names its backing image's format"
            }
            Self::Locked { .. } => {
                "end who uses it, or have all its users open it read-only (`--disk PATH,ro`)"
            }
        }
    }
}

//! qcow2 images (QEMU `docs/interop/qcow2.rst`), with images that they are based on.
//!
//! The format is `imago`'s; which files are opened, and as what, is decided here. A backing image
//! is opened only if its header's owner says in which format, and for reading alone.

mod counts;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use imago::file::File;
use imago::io_buffers::{IoVector, IoVectorMut};
use imago::qcow2::Qcow2;
use imago::raw::Raw;
use imago::{FormatAccess, StorageOpenOptions};

use super::{BlkSpec, BlockError, Geometry, Image, SECTOR, file};
use crate::virtio::queue::{Reader, Writer};

/// The most images that one is based on; a chain that leads back to itself ends here.
const MAX_BACKING: u32 = 32;
/// What is told as the block size: less makes the guest write parts of the host's pages.
const BLOCK_SIZE: u64 = 4096;

/// An open qcow2 image.
#[derive(Debug)]
pub(super) struct Qcow2Image {
    /// Freeing clusters excludes all other use.
    format: RwLock<FormatAccess<File>>,
    read_only: bool,
}

impl Qcow2Image {
    /// Opens and locks the image of `spec` and those that it is based on.
    pub(super) fn open(spec: &BlkSpec) -> Result<(Self, Geometry), BlockError> {
        let format = open_layer(&spec.path, !spec.read_only, 0)?;
        let clusters = format.inner().zero_granularity();
        let geometry = Geometry {
            sectors: format.size() / SECTOR,
            block_size: BLOCK_SIZE,
            discard_unit: clusters
                .filter(|unit| unit.is_power_of_two())
                .unwrap_or(65536),
        };
        let image = Self {
            format: RwLock::new(format),
            read_only: spec.read_only,
        };
        Ok((image, geometry))
    }

    fn shared(&self) -> RwLockReadGuard<'_, FormatAccess<File>> {
        self.format.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn alone(&self) -> RwLockWriteGuard<'_, FormatAccess<File>> {
        self.format.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open_storage(path: &Path, write: bool) -> Result<File, BlockError> {
    storage(path, file::open(path, write)?, write)
}

fn storage(path: &Path, file: fs::File, write: bool) -> Result<File, BlockError> {
    let options = StorageOpenOptions::new().filename(path).write(write);
    File::from_open_file(file, options).map_err(|source| failed(path, source))
}

fn failed(path: &Path, source: io::Error) -> BlockError {
    let path = path.to_owned();
    BlockError::Open { path, source }
}

fn open_layer(path: &Path, write: bool, depth: u32) -> Result<FormatAccess<File>, BlockError> {
    let unsupported = |what| BlockError::Unsupported {
        path: path.to_owned(),
        what,
    };
    if depth > MAX_BACKING {
        return Err(unsupported("is based on too many others"));
    }
    let file = file::open(path, write)?;
    if write && !counts::header_is_counted(&file).map_err(|source| failed(path, source))? {
        return Err(unsupported(
            "is damaged: it does not count its header as used",
        ));
    }
    let storage = storage(path, file, write)?;
    let opened = Qcow2::<File>::open_image(storage, write);
    let mut image = opened.map_err(|source| failed(path, source))?;
    if image.requires_external_data_file() {
        return Err(unsupported("keeps its data in another file"));
    }
    image.set_data_file(None);
    let backing = image.implicit_backing_file().map(|name| beside(path, name));
    let backing = match (backing, image.implicit_backing_format().map(String::as_str)) {
        (None, _) => None,
        (Some(path), Some("qcow2")) => Some(open_layer(&path, false, depth + 1)?),
        (Some(path), Some("raw" | "file")) => {
            let storage = open_storage(&path, false)?;
            let raw = Raw::open_image(storage, false).map_err(|source| failed(&path, source))?;
            Some(FormatAccess::new(raw))
        }
        (Some(_), Some(_)) => return Err(unsupported("is based on an image of unknown format")),
        (Some(_), None) => {
            return Err(unsupported(
                "does not say which format its backing image has",
            ));
        }
    };
    image.set_backing(backing);
    Ok(FormatAccess::new(image))
}

/// The file that the image at `path` calls `name`.
fn beside(path: &Path, name: &str) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).join(name)
}

impl Image for Qcow2Image {
    fn read(&self, to: &mut Writer<'_>, offset: u64) -> io::Result<()> {
        {
            let (buffers, _guard) = IoVectorMut::from_volatile_slice(to.slices());
            self.shared().readv(buffers, offset)?;
        }
        to.advance(to.available());
        Ok(())
    }

    fn write(&self, from: &mut Reader<'_>, offset: u64) -> io::Result<()> {
        {
            let (buffers, _guard) = IoVector::from_volatile_slice(from.slices());
            self.shared().writev(buffers, offset)?;
        }
        from.advance(from.available());
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        if self.read_only {
            return Ok(());
        }
        let format = self.shared();
        format.flush()?;
        format.sync()
    }

    fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        match self.alone().discard_to_any(offset, len) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
            other => other,
        }
    }

    fn write_zeroes(&self, offset: u64, len: u64, unmap: bool) -> io::Result<()> {
        if unmap {
            match self.alone().discard_to_zero(offset, len) {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
                other => return other,
            }
        }
        self.shared().write_zeroes(offset, len)
    }

    fn settle(&self) -> io::Result<()> {
        if self.read_only {
            return Ok(());
        }
        self.shared().flush()
    }
}

#[cfg(test)]
mod tests;

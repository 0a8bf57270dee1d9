//! Raw images: sector N of the disk is bytes N × 512 and on of a file or block device.
//!
//! Data goes straight between the page cache and guest memory. A file whose length is no multiple
//! of 512 is rounded up, as QEMU does: what lies past its end reads as zeros, and a write there
//! extends it.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::{BlkSpec, BlockError, SECTOR};
use crate::backend::port_owner::file_owner;
use crate::sys;
use crate::sys::fs::{FileLock, LockKind, lock_range};
use crate::virtio::queue::{Reader, Writer};

/// What is written at once where a file system cannot zero a range by itself.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// An open raw image, locked: shared if read-only, for us alone if not.
#[derive(Debug)]
pub struct RawImage {
    file: File,
    name: String,
    serial: String,
    read_only: bool,
    /// Bytes at the time of opening.
    len: u64,
    block_size: u64,
}

impl RawImage {
    /// Opens and locks the image of `spec`.
    ///
    /// # Errors
    /// See [`BlockError`].
    pub fn open(spec: &BlkSpec) -> Result<Self, BlockError> {
        let path = spec.path.as_path();
        let failed = |source| BlockError::Open {
            path: path.to_owned(),
            source,
        };
        // Looked at first, since opening a FIFO would wait.
        let metadata = fs::metadata(path).map_err(failed)?;
        if !metadata.is_file() && !metadata.file_type().is_block_device() {
            let path = path.to_owned();
            return Err(BlockError::Kind { path });
        }
        let mut options = File::options();
        let mut file = options
            .read(true)
            .write(!spec.read_only)
            .open(path)
            .map_err(failed)?;
        claim(&file, path, !spec.read_only)?;
        Ok(Self {
            len: file.seek(SeekFrom::End(0)).map_err(failed)?,
            file,
            name: path.display().to_string(),
            serial: spec.serial.clone().unwrap_or_default(),
            read_only: spec.read_only,
            block_size: metadata.blksize(),
        })
    }

    /// The path, for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The serial number, empty if none was given.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// Whether it may not be written.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// The size in sectors of 512 bytes, the last one possibly in part past the end of the file.
    #[must_use]
    pub fn sectors(&self) -> u64 {
        self.len.div_ceil(SECTOR)
    }

    /// The block size that suits the file system, a power of two from 512 to 64 KiB.
    #[must_use]
    pub fn block_size(&self) -> u64 {
        let size = self.block_size.clamp(SECTOR, 64 * 1024);
        if size.is_power_of_two() { size } else { 4096 }
    }

    /// Reads at byte `offset` into all of `to`.
    ///
    /// # Errors
    /// What the system says, or the file has become shorter.
    pub fn read(&self, to: &mut Writer<'_>, offset: u64) -> io::Result<()> {
        let mut at = offset;
        while to.available() > 0 {
            let limit = to.available();
            match sys::read_vectored(self.file.as_fd(), to.slices(), limit, Some(at)) {
                Ok(0) if at >= self.len => {
                    let n = to.available().min(ZEROS.len());
                    to.write(&ZEROS[..n]);
                }
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    to.advance(n);
                    at += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes all of `from` at byte `offset`.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, from: &mut Reader<'_>, offset: u64) -> io::Result<()> {
        let mut at = offset;
        while from.available() > 0 {
            let limit = from.available();
            match sys::write_vectored(self.file.as_fd(), from.slices(), limit, Some(at)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    from.advance(n);
                    at += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// What the system says.
    pub fn flush(&self) -> io::Result<()> {
        if self.read_only {
            return Ok(());
        }
        self.file.sync_data()
    }

    /// Frees the space of a range, whose content is then undefined. A file system that cannot does
    /// nothing.
    ///
    /// # Errors
    /// What the system says.
    pub fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        match self.allocate(FallocateFlags::PUNCH_HOLE, offset, len) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Zeroes a range; with `unmap` its space may be freed.
    ///
    /// # Errors
    /// What the system says.
    pub fn write_zeroes(&self, offset: u64, len: u64, unmap: bool) -> io::Result<()> {
        let preferred = if unmap {
            FallocateFlags::PUNCH_HOLE
        } else {
            FallocateFlags::ZERO_RANGE
        };
        match self.allocate(preferred, offset, len) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.write_zeroes_plainly(offset, len),
            other => Ok(other?),
        }
    }

    fn allocate(&self, how: FallocateFlags, offset: u64, len: u64) -> Result<(), Errno> {
        if len == 0 {
            return Ok(());
        }
        let how = how | FallocateFlags::KEEP_SIZE;
        rustix::io::retry_on_intr(|| rustix::fs::fallocate(&self.file, how, offset, len))
    }

    fn write_zeroes_plainly(&self, offset: u64, len: u64) -> io::Result<()> {
        let end = offset.saturating_add(len);
        let mut at = offset;
        while at < end {
            let n = usize::try_from(end - at)
                .unwrap_or(usize::MAX)
                .min(ZEROS.len());
            self.file.write_all_at(&ZEROS[..n], at)?;
            at += n as u64;
        }
        Ok(())
    }
}

fn claim(file: &File, path: &Path, exclusive: bool) -> Result<(), BlockError> {
    let whole = FileLock {
        kind: if exclusive {
            LockKind::Write
        } else {
            LockKind::Read
        },
        start: 0,
        end: FileLock::END,
    };
    let Err(error) = lock_range(file.as_fd(), whole) else {
        return Ok(());
    };
    if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) {
        return Err(BlockError::Locked {
            path: path.to_owned(),
            owner: file_owner(path),
        });
    }
    let path = path.display();
    log::warn!("disk image {path}: cannot be locked against other users: {error}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(path: &Path, read_only: bool) -> BlkSpec {
        BlkSpec {
            path: path.to_owned(),
            read_only,
            serial: None,
        }
    }

    #[test]
    fn one_writer_or_many_readers() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(4096).unwrap();
        let writer = RawImage::open(&spec(file.path(), false)).unwrap();
        for read_only in [false, true] {
            let error = RawImage::open(&spec(file.path(), read_only)).unwrap_err();
            assert!(matches!(error, BlockError::Locked { .. }), "{error}");
        }
        drop(writer);
        let readers = [(); 2].map(|()| RawImage::open(&spec(file.path(), true)).unwrap());
        assert!(RawImage::open(&spec(file.path(), false)).is_err());
        drop(readers);
        assert!(RawImage::open(&spec(file.path(), false)).is_ok());
    }

    #[test]
    fn what_is_no_image_is_refused_without_a_wait() {
        let folder = tempfile::tempdir().unwrap();
        let error = RawImage::open(&spec(folder.path(), true)).unwrap_err();
        assert!(matches!(error, BlockError::Kind { .. }), "{error}");
        let fifo = folder.path().join("fifo");
        let mode = rustix::fs::Mode::RUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let error = RawImage::open(&spec(&fifo, true)).unwrap_err();
        assert!(matches!(error, BlockError::Kind { .. }), "{error}");
        let error = RawImage::open(&spec(&folder.path().join("none"), true)).unwrap_err();
        assert!(error.to_string().ends_with("none"), "{error}");
    }

    #[test]
    fn sizes_are_rounded_up_to_sectors() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (len, sectors) in [(0, 0), (1, 1), (512, 1), (513, 2), (1 << 40, 1 << 31)] {
            file.as_file().set_len(len).unwrap();
            let image = RawImage::open(&spec(file.path(), true)).unwrap();
            assert_eq!(image.sectors(), sectors);
        }
    }

    #[test]
    fn a_range_is_zeroed_where_the_file_system_cannot_do_it_by_itself() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().write_all_at(&[7; 200_000], 0).unwrap();
        let image = RawImage::open(&spec(file.path(), false)).unwrap();
        image.write_zeroes_plainly(1000, 150_000).unwrap();
        let found = fs::read(file.path()).unwrap();
        assert_eq!(found.len(), 200_000);
        assert!(found[1000..151_000].iter().all(|&byte| byte == 0));
        assert!(
            found[..1000]
                .iter()
                .chain(&found[151_000..])
                .all(|&byte| byte == 7)
        );
    }

    #[test]
    fn the_spec_reads_as_it_is_written() {
        let spec: BlkSpec = serde_json::from_str(r#"{"path":"/disk"}"#).unwrap();
        assert_eq!((spec.read_only, &spec.serial), (false, &None));
        assert!(serde_json::from_str::<BlkSpec>(r#"{"path":"/disk","ro":true}"#).is_err());
    }
}

//! Raw images: sector N of the disk is bytes N × 512 and on of a file or block device.
//!
//! Data goes straight between the page cache and guest memory. A file whose length is no multiple
//! of 512 is rounded up, as QEMU does: what lies past its end reads as zeros, and a write there
//! extends it.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::{BlkSpec, BlockError, Geometry, Image, SECTOR, file};
use crate::sys;
use crate::virtio::queue::{Reader, Writer};

/// What is written at once where a file system cannot zero a range by itself.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
/// How a qcow2 image begins (QEMU `docs/interop/qcow2.rst`, "Header").
const QCOW2_MAGIC: [u8; 4] = *b"QFI\xfb";

/// An open raw image.
#[derive(Debug)]
pub(super) struct RawImage {
    file: File,
    /// Bytes at the time of opening.
    len: u64,
}

impl RawImage {
    /// Opens and locks the image of `spec`.
    pub(super) fn open(spec: &BlkSpec) -> Result<(Self, Geometry), BlockError> {
        let path = spec.path.as_path();
        let failed = |source| BlockError::Open {
            path: path.to_owned(),
            source,
        };
        let mut file = file::open(path, !spec.read_only)?;
        let len = file.seek(SeekFrom::End(0)).map_err(failed)?;
        if spec.format.is_none() {
            warn_of_qcow2(&file, path);
        }
        let block_size = block_size(file.metadata().map_err(failed)?.blksize());
        let geometry = Geometry {
            sectors: len.div_ceil(SECTOR),
            block_size,
            discard_unit: block_size,
        };
        Ok((Self { file, len }, geometry))
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

impl Image for RawImage {
    fn read(&self, to: &mut Writer<'_>, offset: u64) -> io::Result<()> {
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

    fn write(&self, from: &mut Reader<'_>, offset: u64) -> io::Result<()> {
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

    fn flush(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        match self.allocate(FallocateFlags::PUNCH_HOLE, offset, len) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            other => Ok(other?),
        }
    }

    fn write_zeroes(&self, offset: u64, len: u64, unmap: bool) -> io::Result<()> {
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

    fn plain_file(&self) -> Option<(BorrowedFd<'_>, u64)> {
        Some((self.file.as_fd(), self.len))
    }
}

/// The block size that suits the file system, a power of two from 512 to 64 KiB.
fn block_size(of_file: u64) -> u64 {
    let size = of_file.clamp(SECTOR, 64 * 1024);
    if size.is_power_of_two() { size } else { 4096 }
}

fn warn_of_qcow2(file: &File, path: &Path) {
    let mut magic = [0; 4];
    if file.read_exact_at(&mut magic, 0).is_ok() && magic == QCOW2_MAGIC {
        let path = path.display();
        log::warn!(
            "disk image {path} looks like qcow2 and is used as raw; say `format=qcow2` or `format=raw`"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn sizes_are_rounded_up_to_sectors() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (len, sectors) in [(0, 0), (1, 1), (512, 1), (513, 2), (1 << 40, 1 << 31)] {
            file.as_file().set_len(len).unwrap();
            let (_, geometry) = RawImage::open(&BlkSpec::new(file.path())).unwrap();
            assert_eq!(geometry.sectors, sectors);
        }
    }

    #[test]
    fn odd_block_sizes_are_not_told() {
        for (size, told) in [(1, 512), (4096, 4096), (1 << 20, 65536), (12288, 4096)] {
            assert_eq!(block_size(size), told);
        }
    }

    #[test]
    fn a_range_is_zeroed_where_the_file_system_cannot_do_it_by_itself() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().write_all_at(&[7; 200_000], 0).unwrap();
        let (image, _) = RawImage::open(&BlkSpec::new(file.path())).unwrap();
        image.write_zeroes_plainly(1000, 150_000).unwrap();
        let found = fs::read(file.path()).unwrap();
        assert_eq!(found.len(), 200_000);
        assert!(found[1000..151_000].iter().all(|&byte| byte == 0));
        let rest = found[..1000].iter().chain(&found[151_000..]);
        assert!(rest.copied().all(|byte| byte == 7));
    }

    #[test]
    fn a_qcow2_header_that_a_guest_wrote_stays_data() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().write_all_at(&QCOW2_MAGIC, 0).unwrap();
        file.as_file().set_len(4096).unwrap();
        let (image, geometry) = RawImage::open(&BlkSpec::new(file.path())).unwrap();
        let mut data = [0; 512];
        image.read(&mut Writer::from(&mut data[..]), 0).unwrap();
        assert_eq!((geometry.sectors, &data[..4]), (8, &QCOW2_MAGIC[..]));
    }
}

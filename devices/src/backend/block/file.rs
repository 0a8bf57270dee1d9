//! Opening the files behind a disk: what they may be, and the locks that keep two machines apart.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use super::BlockError;
use crate::backend::port_owner::file_owner;
use crate::sys::fs::{FileLock, LockKind, lock_range};

/// Opens the file or block device at `path` and locks it: shared to read it, for us alone to write.
pub(super) fn open(path: &Path, write: bool) -> Result<File, BlockError> {
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
    let file = options.read(true).write(write).open(path).map_err(failed)?;
    claim(&file, path, write)?;
    Ok(file)
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

    #[test]
    fn one_writer_or_many_readers() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let writer = open(file.path(), true).unwrap();
        for write in [true, false] {
            let error = open(file.path(), write).unwrap_err();
            assert!(matches!(error, BlockError::Locked { .. }), "{error}");
        }
        drop(writer);
        let readers = [(); 2].map(|()| open(file.path(), false).unwrap());
        assert!(open(file.path(), true).is_err());
        drop(readers);
        assert!(open(file.path(), true).is_ok());
    }

    #[test]
    fn what_is_no_image_is_refused_without_a_wait() {
        let folder = tempfile::tempdir().unwrap();
        let error = open(folder.path(), false).unwrap_err();
        assert!(matches!(error, BlockError::Kind { .. }), "{error}");
        let fifo = folder.path().join("fifo");
        let mode = rustix::fs::Mode::RUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let error = open(&fifo, false).unwrap_err();
        assert!(matches!(error, BlockError::Kind { .. }), "{error}");
        let error = open(&folder.path().join("none"), false).unwrap_err();
        assert!(error.to_string().ends_with("none"), "{error}");
    }
}

//! System calls of file sharing that no safe crate offers: byte-range locks that belong to an open
//! file description, and appending writes out of guest memory.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use vm_memory::VolatileSlice;

use super::{check, iovecs};

/// What a byte-range lock does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    /// Shared (`F_RDLCK`).
    Read,
    /// Exclusive (`F_WRLCK`).
    Write,
    /// None: gives the range up (`F_UNLCK`).
    Unlock,
}

/// A lock on the bytes `start..=end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileLock {
    /// Shared, exclusive or none.
    pub kind: LockKind,
    /// The first byte.
    pub start: u64,
    /// The last byte; [`FileLock::END`] means all that follows.
    pub end: u64,
}

impl FileLock {
    /// The last byte that a file can have.
    pub const END: u64 = i64::MAX as u64;

    fn to_raw(self) -> io::Result<libc::flock> {
        let invalid = || io::Error::from_raw_os_error(libc::EINVAL);
        if self.end < self.start {
            return Err(invalid());
        }
        let start = i64::try_from(self.start).map_err(|_| invalid())?;
        // A length of zero reaches to the end of the file, however far it grows.
        let len = match self.end {
            Self::END.. => 0,
            end => i64::try_from(end - self.start + 1).map_err(|_| invalid())?,
        };
        let kind = match self.kind {
            LockKind::Read => libc::F_RDLCK,
            LockKind::Write => libc::F_WRLCK,
            LockKind::Unlock => libc::F_UNLCK,
        };
        Ok(libc::flock {
            l_type: kind as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: start,
            l_len: len,
            l_pid: 0,
        })
    }

    fn from_raw(raw: &libc::flock) -> Self {
        let start = u64::try_from(raw.l_start).unwrap_or(0);
        let kind = match libc::c_int::from(raw.l_type) {
            libc::F_RDLCK => LockKind::Read,
            libc::F_WRLCK => LockKind::Write,
            _ => LockKind::Unlock,
        };
        let end = match u64::try_from(raw.l_len) {
            Ok(len @ 1..) => start.saturating_add(len - 1),
            _ => Self::END,
        };
        Self { kind, start, end }
    }
}

/// Takes or gives up `lock` for the open file description behind `fd` without waiting
/// (`F_OFD_SETLK`).
///
/// # Errors
/// `EAGAIN` when another holder is in the way, else what `fcntl(2)` says.
pub fn lock_range(fd: BorrowedFd<'_>, lock: FileLock) -> io::Result<()> {
    let mut raw = lock.to_raw()?;
    // SAFETY: `raw` is a live, writable `flock`.
    let n = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_SETLK, &raw mut raw) };
    check(n as isize).map(drop)
}

/// The lock, held by another open file description or process, that keeps `lock` from being taken
/// through `fd` (`F_OFD_GETLK`); `None` if it could be taken.
///
/// # Errors
/// What `fcntl(2)` says.
pub fn query_range(fd: BorrowedFd<'_>, lock: FileLock) -> io::Result<Option<FileLock>> {
    let mut raw = lock.to_raw()?;
    // SAFETY: `raw` is a live, writable `flock`.
    let n = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_GETLK, &raw mut raw) };
    check(n as isize)?;
    let found = FileLock::from_raw(&raw);
    Ok((found.kind != LockKind::Unlock).then_some(found))
}

/// Appends up to `limit` bytes of guest memory to `fd`, wherever its end is by then (`pwritev2(2)`
/// with `RWF_APPEND`).
///
/// # Errors
/// What the system call says.
pub fn append_vectored(
    fd: BorrowedFd<'_>,
    slices: &[VolatileSlice<'_>],
    limit: usize,
) -> io::Result<usize> {
    let iov = iovecs(slices, limit);
    let position: libc::c_long = 0;
    // SAFETY: every iovec is a live guest buffer; the kernel only reads it.
    let n = unsafe {
        libc::syscall(
            libc::SYS_pwritev2,
            libc::c_long::from(fd.as_raw_fd()),
            iov.as_ptr(),
            iov.len(),
            position,
            position,
            libc::c_long::from(libc::RWF_APPEND),
        )
    };
    check(n as isize)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_lock_of_one_description_is_in_the_way_of_another() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (first, second) = (file.reopen().unwrap(), file.reopen().unwrap());
        let lock = |kind, start, end| FileLock { kind, start, end };
        lock_range(first.as_fd(), lock(LockKind::Write, 10, 19)).unwrap();
        let refused = lock_range(second.as_fd(), lock(LockKind::Read, 19, FileLock::END));
        assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EAGAIN));
        let other = query_range(second.as_fd(), lock(LockKind::Read, 0, FileLock::END)).unwrap();
        assert_eq!(other, Some(lock(LockKind::Write, 10, 19)));
        lock_range(second.as_fd(), lock(LockKind::Write, 20, FileLock::END)).unwrap();
        lock_range(first.as_fd(), lock(LockKind::Unlock, 0, FileLock::END)).unwrap();
        lock_range(second.as_fd(), lock(LockKind::Read, 10, 19)).unwrap();
    }

    #[test]
    fn a_backward_or_too_distant_range_is_invalid() {
        let file = tempfile::tempfile().unwrap();
        for (start, end) in [(2, 1), (u64::MAX, u64::MAX)] {
            let lock = FileLock {
                kind: LockKind::Read,
                start,
                end,
            };
            let error = lock_range(file.as_fd(), lock).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        }
    }
}

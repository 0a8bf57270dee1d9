//! The crate's `unsafe` system calls: vectored I/O between descriptors and guest memory.
#![allow(
    unsafe_code,
    reason = "guest memory is handed to the kernel as raw pointers"
)]

pub mod fs;
pub mod held;
pub mod net;
pub mod ram;
pub mod uring;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use smallvec::SmallVec;
use vm_memory::VolatileSlice;

/// The most buffers that one call takes (Linux `UIO_MAXIOV`).
pub(crate) const IOV_MAX: usize = 1024;

type Iovecs = SmallVec<[libc::iovec; 24]>;

fn iovecs(slices: &[VolatileSlice<'_>], limit: usize) -> Iovecs {
    let mut left = limit;
    let mut out = Iovecs::new();
    for slice in slices.iter().take(IOV_MAX) {
        if left == 0 {
            break;
        }
        let len = slice.len().min(left);
        out.push(libc::iovec {
            iov_base: slice.ptr_guard_mut().as_ptr().cast(),
            iov_len: len,
        });
        left -= len;
    }
    out
}

fn check(n: isize) -> io::Result<usize> {
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// Reads up to `limit` bytes at `offset` of `fd` into guest memory (`preadv(2)`); without an
/// offset, from the current position (`readv(2)`).
///
/// # Errors
/// What the system call says.
pub fn read_vectored(
    fd: BorrowedFd<'_>,
    slices: &[VolatileSlice<'_>],
    limit: usize,
    offset: Option<u64>,
) -> io::Result<usize> {
    let iov = iovecs(slices, limit);
    let count = libc::c_int::try_from(iov.len()).unwrap_or(libc::c_int::MAX);
    match offset {
        Some(offset) => {
            let offset = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
            // SAFETY: every iovec is a live guest buffer; guest memory may change under the kernel.
            check(unsafe { libc::preadv(fd.as_raw_fd(), iov.as_ptr(), count, offset) })
        }
        // SAFETY: as above.
        None => check(unsafe { libc::readv(fd.as_raw_fd(), iov.as_ptr(), count) }),
    }
}

/// Writes up to `limit` bytes of guest memory at `offset` of `fd` (`pwritev(2)`); without an
/// offset, at the current position (`writev(2)`).
///
/// # Errors
/// What the system call says.
pub fn write_vectored(
    fd: BorrowedFd<'_>,
    slices: &[VolatileSlice<'_>],
    limit: usize,
    offset: Option<u64>,
) -> io::Result<usize> {
    let iov = iovecs(slices, limit);
    let count = libc::c_int::try_from(iov.len()).unwrap_or(libc::c_int::MAX);
    match offset {
        Some(offset) => {
            let offset = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
            // SAFETY: every iovec is a live guest buffer; the kernel only reads it.
            check(unsafe { libc::pwritev(fd.as_raw_fd(), iov.as_ptr(), count, offset) })
        }
        // SAFETY: as above.
        None => check(unsafe { libc::writev(fd.as_raw_fd(), iov.as_ptr(), count) }),
    }
}

//! Waiting for one of two descriptors (poll(2)).

use std::ffi::{c_int, c_short, c_ulong};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

const POLLIN: c_short = 1;

/// `struct pollfd`.
#[repr(C)]
struct PollFd {
    fd: c_int,
    events: c_short,
    found: c_short,
}

unsafe extern "C" {
    fn poll(descriptors: *mut PollFd, count: c_ulong, milliseconds: c_int) -> c_int;
}

/// Waits until one of the two can be read or has ended, or looks at once if `wait` is not set: which have.
pub(crate) fn readable(first: &impl AsFd, second: &impl AsFd, wait: bool) -> io::Result<[bool; 2]> {
    let watched = |fd: c_int| PollFd {
        fd,
        events: POLLIN,
        found: 0,
    };
    let mut both = [
        watched(first.as_fd().as_raw_fd()),
        watched(second.as_fd().as_raw_fd()),
    ];
    let patience = if wait { -1 } else { 0 };
    // SAFETY: both entries outlive the call, which writes to nothing else.
    let result = unsafe { poll(both.as_mut_ptr(), 2, patience) };
    if result >= 0 {
        return Ok(both.map(|it| it.found != 0));
    }
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::Interrupted {
        return Ok([false, false]);
    }
    Err(error)
}

//! The loopback device (netdevice(7)).

use std::ffi::{c_int, c_short, c_ulong, c_void};
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

const SIOCSIFFLAGS: c_ulong = 0x8914;
const AF_INET: c_int = 2;
const SOCK_DGRAM: c_int = 2;
const UP_AND_RUNNING: c_short = 0x41;

/// `struct ifreq` with flags.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: c_short,
    rest: [u8; 22],
}

unsafe extern "C" {
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn ioctl(fd: c_int, request: c_ulong, argument: *mut c_void) -> c_int;
}

/// Switches `lo` on.
pub(crate) fn loopback_up() -> io::Result<()> {
    // SAFETY: takes numbers alone.
    let fd = unsafe { socket(AF_INET, SOCK_DGRAM, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    let socket = UdpSocket::from(unsafe { OwnedFd::from_raw_fd(fd) });
    let mut name = [0; 16];
    name[..2].copy_from_slice(b"lo");
    let mut request = Request {
        name,
        flags: UP_AND_RUNNING,
        rest: [0; 22],
    };
    // SAFETY: `request` is a whole `ifreq` and outlives the call.
    let result = unsafe { ioctl(socket.as_raw_fd(), SIOCSIFFLAGS, (&raw mut request).cast()) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

//! Connections to the host by vsock (vsock(7)).

use std::ffi::{c_int, c_uint, c_void};
use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// Linux's numbers (include/linux/socket.h, include/uapi/linux/vm_sockets.h).
const AF_VSOCK: c_int = 40;
const SOCK_STREAM: c_int = 1;
const SOCK_CLOEXEC: c_int = 0o2_000_000;
const HOST: u32 = 2;

/// `struct sockaddr_vm`.
#[repr(C)]
struct Address {
    family: u16,
    reserved: u16,
    port: u32,
    cid: u32,
    flags: u8,
    zero: [u8; 3],
}

unsafe extern "C" {
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    #[link_name = "connect"]
    fn raw_connect(fd: c_int, address: *const c_void, length: c_uint) -> c_int;
}

/// Connects to `port` of the host.
pub(crate) fn connect(port: u32) -> io::Result<File> {
    // SAFETY: takes numbers alone.
    let fd = unsafe { socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    let address = Address {
        family: AF_VSOCK as u16,
        reserved: 0,
        port,
        cid: HOST,
        flags: 0,
        zero: [0; 3],
    };
    let length = size_of::<Address>() as c_uint;
    // SAFETY: `address` is a whole `sockaddr_vm` of that length, and outlives the call.
    let result = unsafe { raw_connect(fd, (&raw const address).cast(), length) };
    if result == 0 {
        Ok(File::from(owned))
    } else {
        Err(io::Error::last_os_error())
    }
}

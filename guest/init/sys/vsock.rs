//! Connections to the host and from it by vsock (vsock(7)).

use std::ffi::{c_int, c_uint, c_void};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::{SOCK_CLOEXEC, check, made, open_socket};

/// Linux's numbers (include/linux/socket.h, include/uapi/linux/vm_sockets.h).
const AF_VSOCK: c_int = 40;
const SOCK_STREAM: c_int = 1;
pub(crate) const HOST: u32 = 2;
/// Any address of the guest's own.
const ANY: u32 = u32::MAX;
/// Both directions.
const SHUT_RDWR: c_int = 2;
/// How many connections may wait to be taken.
const BACKLOG: c_int = 128;

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
    fn bind(fd: c_int, address: *const c_void, length: c_uint) -> c_int;
    #[link_name = "shutdown"]
    fn raw_shutdown(fd: c_int, how: c_int) -> c_int;
    fn listen(fd: c_int, backlog: c_int) -> c_int;
    fn accept4(fd: c_int, address: *mut c_void, length: *mut c_uint, flags: c_int) -> c_int;
    #[link_name = "connect"]
    fn raw_connect(fd: c_int, address: *const c_void, length: c_uint) -> c_int;
}

impl Address {
    fn new(cid: u32, port: u32) -> Self {
        Self {
            family: AF_VSOCK as u16,
            reserved: 0,
            port,
            cid,
            flags: 0,
            zero: [0; 3],
        }
    }
}

const LENGTH: c_uint = size_of::<Address>() as c_uint;

fn stream() -> io::Result<OwnedFd> {
    open_socket(AF_VSOCK, SOCK_STREAM)
}

/// Ends a connection in both directions, whoever still has it; what was written before arrives.
pub(crate) fn end(stream: &File) {
    // SAFETY: the descriptor is open for the call, which takes numbers alone.
    unsafe { raw_shutdown(stream.as_raw_fd(), SHUT_RDWR) };
}

/// Connects to `port` of the host.
pub(crate) fn connect(port: u32) -> io::Result<File> {
    let owned = stream()?;
    let address = Address::new(HOST, port);
    // SAFETY: `address` is a whole `sockaddr_vm` of that length, and outlives the call.
    check(unsafe { raw_connect(owned.as_raw_fd(), (&raw const address).cast(), LENGTH) })?;
    Ok(File::from(owned))
}

/// A port of the guest that takes connections.
pub(crate) struct Listener(OwnedFd);

impl Listener {
    /// Listens at `port`.
    pub(crate) fn at(port: u32) -> io::Result<Self> {
        let owned = stream()?;
        let address = Address::new(ANY, port);
        // SAFETY: `address` is a whole `sockaddr_vm` of that length, and outlives the call.
        check(unsafe { bind(owned.as_raw_fd(), (&raw const address).cast(), LENGTH) })?;
        // SAFETY: takes numbers alone.
        check(unsafe { listen(owned.as_raw_fd(), BACKLOG) })?;
        Ok(Self(owned))
    }

    /// The next connection, and the address that it is from.
    pub(crate) fn accept(&self) -> io::Result<(OwnedFd, u32)> {
        let mut address = Address::new(0, 0);
        let mut length = LENGTH;
        // SAFETY: both outlive the call, which writes at most `length` bytes of an address.
        let fd = unsafe {
            accept4(
                self.0.as_raw_fd(),
                (&raw mut address).cast(),
                &raw mut length,
                SOCK_CLOEXEC,
            )
        };
        // SAFETY: that call makes a descriptor.
        let owned = unsafe { made(fd) }?;
        Ok((owned, address.cid))
    }
}

//! The few system calls that the standard library lacks.
#![allow(
    unsafe_code,
    reason = "mounts, modules, vsock, terminals, process groups and the end of the machine have no safe form in std"
)]

pub(crate) mod network;
pub(crate) mod poll;
pub(crate) mod process;
pub(crate) mod terminal;
pub(crate) mod vsock;

pub(crate) use process::{power_off, signal, signal_all, signal_group, sync};

use std::ffi::{CString, c_char, c_int, c_long, c_ulong, c_void};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

/// finit_module's number on x86-64 (Linux arch/x86/entry/syscalls/syscall_64.tbl).
const SYS_FINIT_MODULE: c_long = 313;

/// Linux's number (include/linux/net.h).
const SOCK_CLOEXEC: c_int = 0o2_000_000;

unsafe extern "C" {
    #[link_name = "mount"]
    fn raw_mount(
        source: *const c_char,
        target: *const c_char,
        kind: *const c_char,
        flags: c_ulong,
        data: *const c_void,
    ) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
}

/// Mount flags (Linux include/uapi/linux/mount.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flags(c_ulong);

impl Flags {
    /// Read-only.
    pub(crate) const RDONLY: Self = Self(1);
    /// Without set-user-ID programs.
    pub(crate) const NOSUID: Self = Self(2);
    /// Without set-user-ID programs and device files.
    pub(crate) const NOSUID_NODEV: Self = Self(2 | 4);
    /// Another state of a mount that is there.
    const REMOUNT: Self = Self(32);
    const BIND: Self = Self(4096);
    const MOVE: Self = Self(8192);

    /// No flag.
    pub(crate) const fn empty() -> Self {
        Self(0)
    }
}

/// What a system call returned that returns 0 if all is well.
fn check(result: c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Takes over the descriptor that a system call has just made.
///
/// # Safety
/// `fd` is what a call returned that makes a descriptor or fails, and nobody else has it.
unsafe fn made(fd: c_int) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's, as the caller promises.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A new socket.
fn open_socket(domain: c_int, kind: c_int) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers alone.
    let fd = unsafe { socket(domain, kind | SOCK_CLOEXEC, 0) };
    // SAFETY: that call makes a descriptor.
    unsafe { made(fd) }
}

/// Mounts `source` on `target`, which is created if need be.
pub(crate) fn mount(
    source: &str,
    target: &str,
    kind: &str,
    flags: Flags,
    data: &str,
) -> io::Result<()> {
    if !Path::new(target).is_dir() {
        std::fs::create_dir(target)?;
    }
    attach(source, target, kind, flags, data)
}

/// Shows a file in the place of another one.
pub(crate) fn bind(source: &str, target: &str) -> io::Result<()> {
    attach(source, target, "", Flags::BIND, "")
}

/// Moves a mount to another place.
pub(crate) fn move_mount(source: &str, target: &str) -> io::Result<()> {
    attach(source, target, "", Flags::MOVE, "")
}

/// Lets nobody change the mounted file system at `target` any more.
pub(crate) fn freeze(target: &str) -> io::Result<()> {
    attach(
        "",
        target,
        "",
        Flags(Flags::REMOUNT.0 | Flags::RDONLY.0),
        "",
    )
}

fn attach(source: &str, target: &str, kind: &str, flags: Flags, data: &str) -> io::Result<()> {
    let source = CString::new(source)?;
    let target = CString::new(target)?;
    let kind = CString::new(kind)?;
    let data = CString::new(data)?;
    // SAFETY: all four are NUL-terminated and outlive the call, which writes to none of them.
    check(unsafe {
        raw_mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags.0,
            data.as_ptr().cast(),
        )
    })
}

/// Gives the uncompressed module in the file `path` to the kernel.
pub(crate) fn load_module(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let parameters = CString::default();
    // SAFETY: finit_module(fd, parameters, flags) reads a NUL-terminated string that outlives it.
    let result = unsafe { syscall(SYS_FINIT_MODULE, file.as_raw_fd(), parameters.as_ptr(), 0) };
    // It is 0 or -1.
    check(result as c_int)
}

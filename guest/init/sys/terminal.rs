//! A terminal for the command (pty(7)).

use std::ffi::{c_int, c_ulong, c_void};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use super::check;

/// Linux's requests (include/uapi/asm-generic/ioctls.h), and a flag of open(2).
const TIOCSCTTY: c_ulong = 0x540e;
const TIOCSWINSZ: c_ulong = 0x5414;
const TIOCGPTN: c_ulong = 0x8004_5430;
const TIOCSPTLCK: c_ulong = 0x4004_5431;
const O_NOCTTY: c_int = 0o400;

unsafe extern "C" {
    fn ioctl(fd: c_int, request: c_ulong, argument: *mut c_void) -> c_int;
    fn setsid() -> c_int;
}

/// A request with a structure that the kernel reads or fills.
fn request<T>(file: &File, request: c_ulong, argument: &mut T) -> io::Result<()> {
    // SAFETY: each caller hands over the structure that its request is about, which outlives the call.
    check(unsafe { ioctl(file.as_raw_fd(), request, (&raw mut *argument).cast()) })
}

/// Makes a terminal: the side that sees what is printed, and the command's.
pub(crate) fn open() -> io::Result<(File, File)> {
    let options = || {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(O_NOCTTY);
        options
    };
    let master = options().open("/dev/ptmx")?;
    let (mut lock, mut number): (c_int, c_int) = (0, 0);
    request(&master, TIOCSPTLCK, &mut lock)?;
    request(&master, TIOCGPTN, &mut number)?;
    let command = options().open(format!("/dev/pts/{number}"))?;
    Ok((master, command))
}

/// Gives the terminal a size; its foreground processes are told.
pub(crate) fn resize(terminal: &File, rows: u16, columns: u16) -> io::Result<()> {
    // `struct winsize`: rows, columns, and two that nobody reads.
    let mut size = [rows, columns, 0, 0];
    request(terminal, TIOCSWINSZ, &mut size)
}

/// Makes the caller the leader of a session, whose terminal is its standard input if `terminal`. For the time between
/// fork and exec: it allocates nothing.
pub(super) fn lead_session(terminal: bool) -> io::Result<()> {
    // SAFETY: takes nothing.
    if unsafe { setsid() } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: this request takes a number.
    if terminal && unsafe { ioctl(0, TIOCSCTTY, std::ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

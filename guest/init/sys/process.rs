//! Processes: as whom they run, how they end, and the end of the machine.

use std::ffi::{c_int, c_long, c_uint};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::check;
use super::terminal::lead_session;

/// Linux's numbers (include/uapi/linux/reboot.h).
const POWER_OFF: c_int = 0x4321_fedc;
const EINTR: i32 = 4;

/// `struct rusage`: two times, each seconds and microseconds, the most memory in KiB, and thirteen counters.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct RawUsage {
    user: [c_long; 2],
    kernel: [c_long; 2],
    most: c_long,
    rest: [c_long; 13],
    /// musl keeps room for more.
    reserved: [c_long; 16],
}

unsafe extern "C" {
    fn wait4(pid: c_int, status: *mut c_int, options: c_int, usage: *mut RawUsage) -> c_int;
    fn kill(pid: c_int, signal: c_int) -> c_int;
    fn reboot(how: c_int) -> c_int;
    #[link_name = "sync"]
    fn raw_sync();
    fn setgroups(count: usize, groups: *const c_uint) -> c_int;
    fn setgid(group: c_uint) -> c_int;
    fn setuid(user: c_uint) -> c_int;
}

/// A child that ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) pid: u32,
    /// Its status, or the signal that ended it.
    pub(crate) status: Result<u8, u8>,
    pub(crate) user_us: u64,
    pub(crate) kernel_us: u64,
    pub(crate) most_kib: u64,
}

/// Waits for any child to end.
pub(crate) fn wait() -> io::Result<Ended> {
    loop {
        let (mut status, mut usage) = (0, RawUsage::default());
        // SAFETY: both outlive the call, and are as wait4(2) describes them, the second with room to spare.
        let pid = unsafe { wait4(-1, &raw mut status, 0, &raw mut usage) };
        if pid < 0 {
            let error = io::Error::last_os_error();
            if error.raw_os_error() == Some(EINTR) {
                continue;
            }
            return Err(error);
        }
        let micros = |[seconds, micros]: [c_long; 2]| (seconds * 1_000_000 + micros) as u64;
        // wait(2): the low seven bits are the signal, or 0 and the status is above them.
        let signal = (status & 0x7f) as u8;
        return Ok(Ended {
            pid: pid as u32,
            status: match signal {
                0 => Ok((status >> 8) as u8),
                signal => Err(signal),
            },
            user_us: micros(usage.user),
            kernel_us: micros(usage.kernel),
            most_kib: usage.most as u64,
        });
    }
}

/// Has the command lead a session of its own, on its standard input's terminal if `terminal`, and run as `user`.
pub(crate) fn prepare(
    command: &mut Command,
    terminal: bool,
    user: u32,
    group: u32,
    groups: &[u32],
) {
    let groups = groups.to_vec();
    let become_user = move || {
        lead_session(terminal)?;
        // SAFETY: the groups outlive the call, which reads that many.
        check(unsafe { setgroups(groups.len(), groups.as_ptr()) })?;
        // SAFETY: takes a number.
        check(unsafe { setgid(group) })?;
        // SAFETY: takes a number.
        check(unsafe { setuid(user) })
    };
    // SAFETY: between fork and exec it makes system calls alone, and allocates nothing.
    unsafe { command.pre_exec(become_user) };
}

/// Sends a signal to a process, if it is still there.
pub(crate) fn signal(pid: u32, signal: u8) {
    // SAFETY: takes numbers alone.
    unsafe { kill(pid as c_int, c_int::from(signal)) };
}

/// Sends a signal to all of a process group, if there is any left.
pub(crate) fn signal_group(group: u32, signal: u8) {
    // A group of 0 or 1 would be everything.
    if group > 1 {
        // SAFETY: takes numbers alone.
        unsafe { kill(-(group as c_int), c_int::from(signal)) };
    }
}

/// Sends a signal to every process but the first, which this is.
pub(crate) fn signal_all(signal: u8) {
    // SAFETY: takes numbers alone.
    unsafe { kill(-1, c_int::from(signal)) };
}

/// Has everything written that was not yet.
pub(crate) fn sync() {
    // SAFETY: takes nothing.
    unsafe { raw_sync() };
}

/// Switches the machine off.
pub(crate) fn power_off() {
    // SAFETY: takes a number.
    unsafe { reboot(POWER_OFF) };
}

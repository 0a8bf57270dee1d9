//! The sandbox's `unsafe` system calls: filters, the handler of SIGSYS, Landlock's version.
#![allow(
    unsafe_code,
    reason = "seccomp, signal handlers and Landlock have no safe interface"
)]

use std::io::{self, Write};
use std::mem::{self, MaybeUninit};
use std::ptr;
use std::sync::OnceLock;

use libc::{c_int, c_void, siginfo_t};

use super::Notice;
use super::bpf::Program;
use super::names;

/// `si_code` of a SIGSYS that a filter made (Linux `include/uapi/asm-generic/siginfo.h`).
const SYS_SECCOMP: c_int = 1;
/// Where `si_syscall` is in a `siginfo_t` of 64-bit machines.
const SI_SYSCALL: usize = 24;

/// What the handler says and does; set before the first filter.
struct Answer {
    notice: Notice,
    terminal: Option<libc::termios>,
}

static ANSWER: OnceLock<Answer> = OnceLock::new();

/// The state of the terminal at standard input, if it is one.
fn terminal() -> Option<libc::termios> {
    let mut state = MaybeUninit::uninit();
    // SAFETY: `state` is room for what the call writes.
    let result = unsafe { libc::tcgetattr(libc::STDIN_FILENO, state.as_mut_ptr()) };
    // SAFETY: the call succeeded and has filled `state`.
    (result == 0).then(|| unsafe { state.assume_init() })
}

/// Keeps the terminal's present state and what is to be said when a filter is hit, and installs
/// the handler.
pub(super) fn catch_forbidden_calls(notice: Notice) -> io::Result<()> {
    ANSWER.get_or_init(|| Answer {
        notice,
        terminal: terminal(),
    });
    // SAFETY: an all-zero `sigaction` is valid.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = on_forbidden_call as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: `action` is complete, and the handler does only what a handler may.
    let result = unsafe { libc::sigaction(libc::SIGSYS, &raw const action, ptr::null_mut()) };
    checked(result.into()).map(drop)
}

/// Ends the process with a message that names the system call.
extern "C" fn on_forbidden_call(_: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel gives a handler with SA_SIGINFO a filled `siginfo_t`.
    if unsafe { (*info).si_code } != SYS_SECCOMP {
        return;
    }
    let at = info.wrapping_byte_add(SI_SYSCALL).cast::<c_int>();
    // SAFETY: for this code, `si_syscall` is there; its offset is the ABI's.
    let number = unsafe { at.read() };
    // SAFETY: the kernel gives a handler with SA_SIGINFO its `ucontext_t`.
    let registers = unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let argument = |register: c_int| registers.get(register as usize).copied().unwrap_or(0);
    let arguments = [libc::REG_RDI, libc::REG_RSI, libc::REG_RDX].map(argument);
    if let Some(answer) = ANSWER.get() {
        let mut text = [0; 1024];
        let mut rest = text.as_mut_slice();
        // A message that does not fit is cut.
        let _ = describe(&mut rest, &answer.notice, number, arguments);
        let len = 1024 - rest.len();
        if let Some(state) = &answer.terminal {
            // SAFETY: `state` is what the terminal gave.
            unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, state) };
        }
        // SAFETY: `text` has `len` bytes.
        unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), len) };
    }
    let status = ANSWER.get().map_or(1, |answer| answer.notice.status);
    // SAFETY: ends the process, handlers and destructors left out.
    unsafe { libc::_exit(status.into()) };
}

fn describe(
    to: &mut &mut [u8],
    notice: &Notice,
    number: c_int,
    [a, b, c]: [i64; 3],
) -> io::Result<()> {
    let mut name = [0_u8; 16];
    // SAFETY: the kernel writes at most 16 bytes; every filter lets this call through.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    to.write_all(notice.head.as_bytes())?;
    to.write_all(b"thread `")?;
    to.write_all(name)?;
    let call = names::name(number).unwrap_or("unknown");
    write!(
        to,
        "` made the system call `{call}` ({number}) with the arguments {a:#x}, {b:#x}, {c:#x}"
    )?;
    to.write_all(notice.tail.as_bytes())
}

/// Puts the calling thread, and those that it starts, under `program` for good.
pub(super) fn install(program: &Program) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog {
        len,
        // The kernel only reads it.
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: `program` describes a live array of instructions.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0_u64,
            &raw const program,
        )
    };
    checked(result).map(drop)
}

/// Whether the kernel has the filters' answer `action`.
pub(super) fn has_action(action: u32) -> bool {
    const NO_FLAGS: u64 = 0;
    // SAFETY: the kernel reads the four bytes of `action`.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_GET_ACTION_AVAIL,
            NO_FLAGS,
            &raw const action,
        )
    };
    result == 0
}

/// The version of Landlock's interface, if the kernel has it switched on.
pub(super) fn landlock_version() -> io::Result<u32> {
    const VERSION: u32 = 1;
    // SAFETY: with this flag the call takes no attributes.
    let result = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            ptr::null::<c_void>(),
            0_usize,
            VERSION,
        )
    };
    checked(result).map(|version| u32::try_from(version).unwrap_or(0))
}

fn checked(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

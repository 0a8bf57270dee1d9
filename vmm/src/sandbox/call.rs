//! One line of an allow list: a system call and what its arguments may be.

use libc::c_long;

/// What a filter answers to a call that its list has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The kernel does it.
    Allow,
    /// The caller gets this error and goes on: what a C library tries first and can do without.
    Refuse(u16),
}

/// A condition on one argument. The kernel uses the low half alone of the arguments that are
/// compared here, except of pointers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    /// The low half of argument `.0` is `.1`.
    Is(u8, u32),
    /// Of the bits `.1` of the low half of argument `.0`, exactly `.2` are set.
    Bits(u8, u32, u32),
    /// The low half of argument `.0` is the number of the process that the filter is made for.
    OwnProcess(u8),
    /// All 64 bits of argument `.0` are zero.
    Null(u8),
}

/// A system call, its answer, and the conditions for it, of which all must hold. A list may have a
/// call several times: then one line must fit, and allowing goes before refusing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) number: u32,
    pub(super) when: &'static [Test],
    pub(super) answer: Answer,
}

/// `number`, whatever its arguments.
pub(super) const fn any(number: c_long) -> Call {
    when(number, &[])
}

/// `number`, if its arguments fit.
pub(super) const fn when(number: c_long, when: &'static [Test]) -> Call {
    Call {
        number: number as u32,
        when,
        answer: Answer::Allow,
    }
}

/// `number` fails with `errno`.
pub(super) const fn refuse(number: c_long, errno: i32) -> Call {
    Call {
        number: number as u32,
        when: &[],
        answer: Answer::Refuse(errno as u16),
    }
}

/// An `ioctl` with this request, on any descriptor.
macro_rules! ioctl {
    ($request:expr) => {
        $crate::sandbox::call::when(
            libc::SYS_ioctl,
            &[$crate::sandbox::call::Test::Is(1, $request as u32)],
        )
    };
}
pub(super) use ioctl;

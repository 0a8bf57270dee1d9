//! What the host's kernel offers to a sandbox.

use super::sys;

/// What there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Support {
    /// Filters of system calls that can say which call they met.
    pub filters: bool,
    /// Filters that only log (`--sandbox audit`).
    pub audit: bool,
    /// Landlock's version, where it is switched on.
    pub landlock: Option<u32>,
}

/// Asks the kernel.
#[must_use]
pub fn now() -> Support {
    Support {
        filters: sys::has_action(libc::SECCOMP_RET_TRAP),
        audit: sys::has_action(libc::SECCOMP_RET_LOG),
        landlock: sys::landlock_version().ok(),
    }
}

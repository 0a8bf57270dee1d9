//! How many descriptors the shares of this process may hold at once.
//!
//! The limit belongs to the process (`RLIMIT_NOFILE`), so the count does too: a guest that opens
//! files without end meets `ENFILE`, and what else the process opens still finds room.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Left to the rest of the process: consoles, network, disks, the hypervisor.
const RESERVE: usize = 256;

/// More than any guest needs, and what the kernel allows by default (`fs.nr_open`).
const ENOUGH: u64 = 1 << 20;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static LIMIT: OnceLock<usize> = OnceLock::new();

/// The most descriptors that all shares may hold. The first call raises the soft limit of the
/// process as far as the hard one allows.
fn limit() -> usize {
    *LIMIT.get_or_init(|| {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let wanted = maximum.unwrap_or(ENOUGH).min(ENOUGH);
        let mut current = current.unwrap_or(ENOUGH);
        let raised = Rlimit {
            current: Some(wanted),
            maximum,
        };
        if current < wanted && setrlimit(Resource::Nofile, raised).is_ok() {
            current = wanted;
        }
        let current = usize::try_from(current).unwrap_or(usize::MAX);
        current.saturating_sub(RESERVE).max(current / 4)
    })
}

/// The right to hold some descriptors; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit(usize);

impl Permit {
    /// The right to hold `count` more.
    pub(super) fn take(count: usize) -> Result<Self, Errno> {
        let limit = limit();
        let add = |used: usize| used.checked_add(count).filter(|sum| *sum <= limit);
        IN_USE
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .map(|_| Self(count))
            .map_err(|_| Errno::NFILE)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        IN_USE.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// How many descriptors each cache of a share may keep.
#[derive(Debug, Clone, Copy)]
pub(super) struct CacheSizes {
    /// Directories, as starting points of look-ups.
    pub(super) dirs: usize,
    /// Removed files that the guest still refers to.
    pub(super) orphans: usize,
    /// Files and directories read without being opened first.
    pub(super) readers: usize,
}

impl CacheSizes {
    /// Sizes that fit the process's limit: at most 704 together, at most half of what there is.
    pub(super) fn fitting() -> Self {
        let share = (limit() / 2).clamp(16, 704);
        Self {
            dirs: share / 2,
            orphans: share / 8,
            readers: share / 4 + share / 8,
        }
    }

    pub(super) fn total(self) -> usize {
        self.dirs + self.orphans + self.readers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_run_out_and_come_back() {
        assert_eq!(Permit::take(usize::MAX).unwrap_err(), Errno::NFILE);
        let half = limit() / 2 + 1;
        let first = Permit::take(half).unwrap();
        assert_eq!(Permit::take(half).unwrap_err(), Errno::NFILE);
        drop(first);
        assert!(Permit::take(half).is_ok());
    }

    #[test]
    fn the_caches_together_stay_well_below_a_thousand() {
        assert!(CacheSizes::fitting().total() <= 704);
    }
}

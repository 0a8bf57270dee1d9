//! Locks that guest and host share: whole files (`flock(2)`) and byte ranges (POSIX).
//!
//! A whole-file lock belongs to an open file, as on the host, and is taken through the handle. A
//! byte range belongs to a process of the guest (its *owner*), whichever handle it came by; each
//! owner therefore has an open file description of its own for each file it locks, and the host
//! sees each as a different holder. No call here waits.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use super::Share;
use super::budget::Permit;
use super::handle::{Flock, HandleId};
use super::node::NodeId;
use crate::sys::fs::{FileLock, LockKind, lock_range, query_range};

/// The most ranges that a share's guest may hold: each costs the host kernel memory.
const MAX_RANGES: usize = 1 << 16;

/// A process of the guest that holds or wants a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockOwner {
    /// What tells it from others.
    pub id: u64,
    /// Its process id, to tell others.
    pub pid: u32,
}

#[derive(Debug)]
pub(super) struct Held {
    pub(super) fd: OwnedFd,
    pub(super) pid: u32,
    pub(super) ranges: Vec<FileLock>,
    _permit: Permit,
}

/// The owners of byte ranges.
#[derive(Debug, Default)]
pub(super) struct Locks {
    owners: HashMap<(NodeId, u64), Held>,
    /// How many ranges all owners hold together.
    ranges: usize,
}

impl Locks {
    pub(super) fn clear(&mut self) {
        self.owners.clear();
        self.ranges = 0;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, u64, &Held)> {
        self.owners
            .iter()
            .map(|((node, owner), held)| (*node, *owner, held))
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::NOLCK)
}

/// Lays `lock` over `ranges`, as the kernel does: what it covers is its own, the rest stays.
fn overlay(ranges: &mut Vec<FileLock>, lock: FileLock) {
    let mut rest = Vec::with_capacity(ranges.len() + 2);
    for range in ranges.drain(..) {
        if range.end < lock.start || range.start > lock.end {
            rest.push(range);
            continue;
        }
        if range.start < lock.start {
            let end = lock.start - 1;
            rest.push(FileLock { end, ..range });
        }
        if range.end > lock.end {
            let start = lock.end + 1;
            rest.push(FileLock { start, ..range });
        }
    }
    if lock.kind != LockKind::Unlock {
        rest.push(lock);
    }
    rest.sort_unstable_by_key(|range| range.start);
    for range in rest {
        match ranges.last_mut() {
            Some(last) if last.kind == range.kind && last.end.wrapping_add(1) == range.start => {
                last.end = range.end;
            }
            _ => ranges.push(range),
        }
    }
}

impl Share {
    /// Takes, changes or gives up a byte-range lock, without waiting.
    ///
    /// # Errors
    /// `EAGAIN` when another holder is in the way, `ENOLCK` when there are too many locks; the
    /// handle is none of the file's or does not allow this kind of lock.
    pub fn lock(
        &mut self,
        node: NodeId,
        handle: HandleId,
        owner: LockOwner,
        lock: FileLock,
    ) -> Result<(), Errno> {
        let key = (node, owner.id);
        let known = self.locks.owners.contains_key(&key);
        if lock.kind == LockKind::Unlock && !known {
            self.handle_fd(node, handle)?;
            return Ok(());
        }
        if lock.kind != LockKind::Unlock && self.locks.ranges >= MAX_RANGES {
            return Err(Errno::NOLCK);
        }
        if !known {
            let held = self.open_for_locks(node, handle, owner)?;
            self.locks.owners.insert(key, held);
            self.nodes.pin(node);
        }
        let held = self.locks.owners.get_mut(&key).ok_or(Errno::NOLCK)?;
        held.pid = owner.pid;
        let taken = lock_range(held.fd.as_fd(), lock).map_err(|error| errno(&error));
        if taken.is_ok() {
            self.locks.ranges -= held.ranges.len();
            overlay(&mut held.ranges, lock);
            self.locks.ranges += held.ranges.len();
        }
        if held.ranges.is_empty() {
            self.release_locks(node, owner.id);
        }
        taken
    }

    /// The lock that keeps `lock` from being taken and its holder's process id (0 if that is no
    /// process of this guest), if there is one.
    ///
    /// # Errors
    /// The handle is none of the file's.
    pub fn query_lock(
        &mut self,
        node: NodeId,
        handle: HandleId,
        owner: LockOwner,
        lock: FileLock,
    ) -> Result<Option<(FileLock, u32)>, Errno> {
        let found = match self.locks.owners.get(&(node, owner.id)) {
            Some(held) => query_range(held.fd.as_fd(), lock),
            None => {
                let held = self.open_for_locks(node, handle, owner)?;
                query_range(held.fd.as_fd(), lock)
            }
        };
        let found = found.map_err(|error| errno(&error))?;
        Ok(found.map(|found| (found, self.holder(node, owner.id, found))))
    }

    fn holder(&self, node: NodeId, asking: u64, found: FileLock) -> u32 {
        let mut held = self.locks.iter().filter(|(on, owner, held)| {
            let overlaps = |range: &FileLock| range.start <= found.end && found.start <= range.end;
            *on == node && *owner != asking && held.ranges.iter().any(overlaps)
        });
        held.next().map_or(0, |(_, _, held)| held.pid)
    }

    fn open_for_locks(
        &mut self,
        node: NodeId,
        handle: HandleId,
        owner: LockOwner,
    ) -> Result<Held, Errno> {
        let permit = Permit::take(1)?;
        let handle = self.handles.get(handle)?;
        if handle.node != node || handle.is_dir {
            return Err(Errno::BADF);
        }
        let access = handle.flags.intersection(OFlags::ACCMODE);
        let wanted = if self.read_only { access } else { OFlags::RDWR };
        let fd = match self.open_file(node, wanted) {
            Err(_) if wanted != access => self.open_file(node, access)?,
            opened => opened?,
        };
        Ok(Held {
            fd,
            pid: owner.pid,
            ranges: Vec::new(),
            _permit: permit,
        })
    }

    /// Gives up all byte ranges that `owner` holds of `node`, as the closing of any of its handles
    /// does.
    pub fn release_locks(&mut self, node: NodeId, owner: u64) {
        if let Some(held) = self.locks.owners.remove(&(node, owner)) {
            self.locks.ranges -= held.ranges.len();
            self.nodes.unpin(node);
            self.close_freed();
        }
    }

    /// Whether `owner` holds a byte range of `node`.
    #[must_use]
    pub fn holds_lock(&self, node: NodeId, owner: u64) -> bool {
        self.locks.owners.contains_key(&(node, owner))
    }

    /// Gives up all byte ranges of `node`, whose last handle was closed.
    pub(super) fn release_all_locks(&mut self, node: NodeId) {
        if self.locks.owners.is_empty() {
            return;
        }
        let owners: Vec<u64> = self
            .locks
            .iter()
            .filter(|(on, ..)| *on == node)
            .map(|(_, owner, _)| owner)
            .collect();
        for owner in owners {
            self.release_locks(node, owner);
        }
    }

    /// Takes or gives up a whole-file lock through `handle`, without waiting.
    ///
    /// # Errors
    /// `EWOULDBLOCK` when another holder is in the way; the handle is none of the file's.
    pub fn lock_whole(
        &mut self,
        node: NodeId,
        handle: HandleId,
        kind: LockKind,
    ) -> Result<(), Errno> {
        let fd = self.handle_fd(node, handle)?;
        let (operation, held) = match kind {
            LockKind::Read => (FlockOperation::NonBlockingLockShared, Flock::Shared),
            LockKind::Write => (FlockOperation::NonBlockingLockExclusive, Flock::Exclusive),
            LockKind::Unlock => (FlockOperation::NonBlockingUnlock, Flock::None),
        };
        let taken = flock(&fd, operation);
        // A change of kind that fails costs the lock held before (`flock(2)`).
        let held = if taken.is_ok() { held } else { Flock::None };
        self.handles.get_mut(handle)?.flock = held;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(kind: LockKind, start: u64, end: u64) -> FileLock {
        FileLock { kind, start, end }
    }

    #[test]
    fn ranges_split_and_join_as_locks_are_laid_over_them() {
        use LockKind::{Read, Unlock, Write};
        let mut ranges = Vec::new();
        overlay(&mut ranges, lock(Read, 0, 99));
        overlay(&mut ranges, lock(Write, 10, 19));
        assert_eq!(
            ranges,
            [lock(Read, 0, 9), lock(Write, 10, 19), lock(Read, 20, 99)]
        );
        overlay(&mut ranges, lock(Read, 10, 19));
        assert_eq!(ranges, [lock(Read, 0, 99)]);
        overlay(&mut ranges, lock(Unlock, 50, FileLock::END));
        assert_eq!(ranges, [lock(Read, 0, 49)]);
        overlay(&mut ranges, lock(Unlock, 0, FileLock::END));
        assert!(ranges.is_empty());
    }
}

//! Requests about locks.
//!
//! The protocol tells the holder by a process id and the name of its machine, for locks of
//! processes and whole files (`flock(2)`) alike; the guest's kernel keeps the two apart among its
//! own processes. What a file's last close gives up is given up when its fid is clunked.

use rustix::io::Errno;

use super::protocol::{LOCK_BLOCK, LockStatus, kind, lock_type};
use super::request::{Answer, Ended, Request, close};
use super::server::Server;
use crate::backend::fs::{HandleId, LockOwner, NodeId};
use crate::sys::fs::{FileLock, LockKind};
use crate::virtio::device::DeviceError;
use crate::virtio::queue::Writer;

/// The most pairs of fids and owners remembered.
const MAX_LOCKERS: usize = 1 << 16;

/// The part that LOCK and GETLOCK have in common.
struct Args<'a> {
    lock: FileLock,
    owner: LockOwner,
    client: &'a [u8],
}

impl Server {
    pub(super) fn lock(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let number = request.body.u32()?;
        let kind = request.body.u8()?;
        let flags = request.body.u32()?;
        let args = args(request, kind)?;
        let (node, handle) = self.locked(number)?;
        if !self.lockers.contains(&(number, args.owner.id)) && self.lockers.len() >= MAX_LOCKERS {
            return Err(Errno::NOLCK);
        }
        let taken = self.share.lock(node, handle, args.owner, args.lock);
        if self.share.holds_lock(node, args.owner.id) {
            self.lockers.insert((number, args.owner.id));
        } else {
            self.lockers.remove(&(number, args.owner.id));
        }
        self.freed = true;
        let status = match taken {
            Ok(()) => LockStatus::Success,
            Err(Errno::AGAIN | Errno::ACCESS) if flags & LOCK_BLOCK != 0 => return Ok(Ended::Wait),
            Err(Errno::AGAIN | Errno::ACCESS) => LockStatus::Blocked,
            Err(errno) => return Err(errno),
        };
        request.reply.u8(status as u8);
        Ok(Ended::Reply)
    }

    pub(super) fn getlock(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let number = request.body.u32()?;
        let kind = request.body.u8()?;
        let args = args(request, kind)?;
        let (node, handle) = self.locked(number)?;
        let found = self.share.query_lock(node, handle, args.owner, args.lock)?;
        let (kind, lock, pid) = match found {
            Some((lock, pid)) if lock.kind == LockKind::Read => (lock_type::READ, lock, pid),
            Some((lock, pid)) => (lock_type::WRITE, lock, pid),
            None => (lock_type::UNLOCK, args.lock, args.owner.pid),
        };
        let len = match lock.end {
            FileLock::END.. => 0,
            end => end - lock.start + 1,
        };
        request.reply.u8(kind).u64(lock.start).u64(len);
        request.reply.u32(pid).text(args.client);
        Ok(Ended::Reply)
    }

    fn locked(&self, number: u32) -> Result<(NodeId, HandleId), Errno> {
        let fid = self.fids.get(number)?;
        Ok((fid.node, fid.file()?.handle))
    }

    /// Gives up the locks of `node` that were taken through the fid `number`.
    pub(super) fn release_locks(&mut self, number: u32, node: NodeId) {
        while let Some(&(fid, owner)) = self.lockers.range((number, 0)..=(number, u64::MAX)).next()
        {
            self.lockers.remove(&(fid, owner));
            self.share.release_locks(node, owner);
            self.freed = true;
        }
    }
}

fn args<'a>(request: &mut Request<'a, '_>, kind: u8) -> Result<Args<'a>, Errno> {
    let (start, len) = (request.body.u64()?, request.body.u64()?);
    let pid = request.body.u32()?;
    let client = request.body.text()?;
    let kind = match kind {
        lock_type::READ => LockKind::Read,
        lock_type::WRITE => LockKind::Write,
        lock_type::UNLOCK => LockKind::Unlock,
        _ => return Err(Errno::INVAL),
    };
    let end = match len {
        0 => FileLock::END,
        len => start.checked_add(len - 1).ok_or(Errno::OVERFLOW)?,
    };
    // The machine's name in the upper half, by FNV-1a.
    let machine = client.iter().fold(0x811c_9dc5_u32, |sum, byte| {
        (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    Ok(Args {
        lock: FileLock { kind, start, end },
        owner: LockOwner {
            id: u64::from(machine) << 32 | u64::from(pid),
            pid,
        },
        client,
    })
}

/// Answers a lock that came to nothing: Linux tries again later by itself.
pub(super) fn tell_blocked(output: &mut Writer<'_>, tag: u16) -> Result<(), DeviceError> {
    close(output, kind::LOCK + 1, tag, 1)?;
    if output.write_all(&[LockStatus::Blocked as u8]) {
        return Ok(());
    }
    Err(DeviceError::Request("no room for a 9p answer"))
}

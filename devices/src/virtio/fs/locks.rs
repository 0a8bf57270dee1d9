//! Requests about locks.

use rustix::io::Errno;

use super::protocol::{FileLockWire, InterruptIn, LK_FLOCK, LkIn, LkOut};
use super::request::{Answer, Ended, Request};
use super::server::Server;
use crate::backend::fs::{HandleId, LockOwner};
use crate::sys::fs::{FileLock, LockKind};

/// Lock types as `fcntl(2)` numbers them on Linux.
const F_RDLCK: u32 = 0;
const F_WRLCK: u32 = 1;
const F_UNLCK: u32 = 2;

impl Server {
    pub(super) fn getlk(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let args: LkIn = request.args()?;
        let handle = HandleId::from_raw(args.fh);
        let (owner, wanted) = (owner(&args), lock(&args.lk)?);
        let found = self
            .share
            .query_lock(request.node(), handle, owner, wanted)?;
        let lk = match found {
            Some((found, pid)) => FileLockWire {
                start: found.start,
                end: found.end,
                kind: if found.kind == LockKind::Read {
                    F_RDLCK
                } else {
                    F_WRLCK
                },
                pid,
            },
            None => FileLockWire {
                kind: F_UNLCK,
                ..args.lk
            },
        };
        request.answer(&LkOut { lk })
    }

    pub(super) fn setlk(&mut self, request: &mut Request<'_, '_>, wait: bool) -> Answer {
        let args: LkIn = request.args()?;
        let (node, handle) = (request.node(), HandleId::from_raw(args.fh));
        let wanted = lock(&args.lk)?;
        let taken = if args.lk_flags & LK_FLOCK != 0 {
            self.share.lock_whole(node, handle, wanted.kind)
        } else {
            self.share.lock(node, handle, owner(&args), wanted)
        };
        // Even one that fails: an attempt to change a whole-file lock gives the old one up.
        self.freed = true;
        match taken {
            Err(Errno::AGAIN | Errno::ACCESS) if wait => Ok(Ended::Wait),
            taken => taken.map(|()| Ended::Answer),
        }
    }

    pub(super) fn interrupt(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let args: InterruptIn = request.args()?;
        Ok(Ended::Interrupt(args.unique))
    }
}

fn owner(args: &LkIn) -> LockOwner {
    LockOwner {
        id: args.owner,
        pid: args.lk.pid,
    }
}

fn lock(wire: &FileLockWire) -> Result<FileLock, Errno> {
    let kind = match wire.kind {
        F_RDLCK => LockKind::Read,
        F_WRLCK => LockKind::Write,
        F_UNLCK => LockKind::Unlock,
        _ => return Err(Errno::INVAL),
    };
    Ok(FileLock {
        kind,
        start: wire.start,
        end: wire.end,
    })
}

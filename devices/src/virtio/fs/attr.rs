//! Requests about attributes, links, access and the file system.

use rustix::fs::Access;
use rustix::io::Errno;

use super::protocol::{AccessIn, GETATTR_FH, GetattrIn, SetattrIn, SetattrValid, StatfsOut};
use super::request::{Answer, Ended, Request, handle};
use super::server::Server;
use crate::backend::fs::{Change, Time};

/// The longest target of a symbolic link (Linux `PATH_MAX`).
const LINK_MAX: usize = 4096;

impl Server {
    pub(super) fn getattr(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let args: GetattrIn = request.args()?;
        let by_handle = args.getattr_flags & GETATTR_FH != 0;
        let stat = match handle(args.fh).filter(|_| by_handle) {
            Some(handle) => self.share.handle_attributes(request.node(), handle)?,
            None => self.share.attributes(request.node())?,
        };
        let answer = self.attr_out(request, stat);
        request.answer(&answer)
    }

    pub(super) fn setattr(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let args: SetattrIn = request.args()?;
        let valid = SetattrValid::from_bits_truncate(args.valid);
        let has = |flag| valid.contains(flag);
        let time = |set, now, seconds: u64, nanoseconds| {
            let time = if has(now) {
                Time::Now
            } else {
                Time::At(seconds as i64, nanoseconds)
            };
            has(set).then_some(time)
        };
        let change = Change {
            mode: has(SetattrValid::MODE).then_some(args.mode),
            uid: has(SetattrValid::UID).then_some(args.uid),
            gid: has(SetattrValid::GID).then_some(args.gid),
            size: has(SetattrValid::SIZE).then_some(args.size),
            atime: time(
                SetattrValid::ATIME,
                SetattrValid::ATIME_NOW,
                args.atime,
                args.atimensec,
            ),
            mtime: time(
                SetattrValid::MTIME,
                SetattrValid::MTIME_NOW,
                args.mtime,
                args.mtimensec,
            ),
            drop_setid: has(SetattrValid::KILL_SUIDGID),
        };
        let handle = handle(args.fh).filter(|_| has(SetattrValid::FH));
        let stat = self.share.change(request.node(), handle, &change)?;
        let answer = self.attr_out(request, stat);
        request.answer(&answer)
    }

    pub(super) fn readlink(&mut self, request: &mut Request<'_, '_>) -> Answer {
        request.text.clear();
        request.text.resize(LINK_MAX, 0);
        let len = self.share.read_link(request.node(), request.text)?;
        let target = request.text.get(..len).unwrap_or_default();
        let fits = request.output.write_all(target);
        if fits {
            Ok(Ended::Answer)
        } else {
            Err(Errno::OVERFLOW)
        }
    }

    pub(super) fn access(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let args: AccessIn = request.args()?;
        let mask = Access::from_bits(args.mask).ok_or(Errno::INVAL)?;
        let (uid, gid) = (request.header.uid, request.header.gid);
        self.share.access(request.node(), mask, uid, gid)?;
        Ok(Ended::Answer)
    }

    pub(super) fn statfs(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let stat = self.share.statfs(request.node())?;
        request.answer(&StatfsOut {
            blocks: stat.f_blocks,
            bfree: stat.f_bfree,
            bavail: stat.f_bavail,
            files: stat.f_files,
            ffree: stat.f_ffree,
            bsize: stat.f_bsize as u32,
            namelen: stat.f_namemax as u32,
            frsize: stat.f_frsize as u32,
            ..StatfsOut::default()
        })
    }
}

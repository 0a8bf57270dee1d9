//! Requests about attributes, links and the file system.

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::protocol::{STATS_BASIC, SetattrValid};
use super::request::{Answer, Ended, Request};
use super::server::Server;
use crate::backend::fs::{Change, HandleId, NodeId, Time};

/// The longest target of a symbolic link (Linux `PATH_MAX`).
const LINK_MAX: usize = 4096;
/// What `statfs(2)` says of 9p (`V9FS_MAGIC`).
const MAGIC: u32 = 0x0102_1997;

impl Server {
    /// The attributes of a fid's file: by its handle, if it has one.
    pub(super) fn stat(&mut self, node: NodeId, handle: Option<HandleId>) -> Result<Stat, Errno> {
        match handle {
            Some(handle) => self.share.handle_attributes(node, handle),
            None => self.share.attributes(node),
        }
    }

    pub(super) fn getattr(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let fid = self.fids.get(request.body.u32()?)?;
        let (node, handle) = (fid.node, fid.handle());
        let stat = self.stat(node, handle)?;
        self.share.tell(node, &stat);
        let qid = self.qid(&stat);
        let reply = &mut *request.reply;
        reply.u64(STATS_BASIC).qid(qid);
        reply.u32(stat.st_mode).u32(stat.st_uid).u32(stat.st_gid);
        reply.u64(stat.st_nlink).u64(stat.st_rdev);
        reply.u64(stat.st_size as u64).u64(stat.st_blksize as u64);
        reply.u64(stat.st_blocks as u64);
        reply.u64(stat.st_atime as u64).u64(stat.st_atime_nsec);
        reply.u64(stat.st_mtime as u64).u64(stat.st_mtime_nsec);
        reply.u64(stat.st_ctime as u64).u64(stat.st_ctime_nsec);
        // Time of birth, generation and version of the data: not in the valid mask.
        reply.u64(0).u64(0).u64(0).u64(0);
        Ok(Ended::Reply)
    }

    pub(super) fn setattr(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let body = &mut request.body;
        let number = body.u32()?;
        let valid = SetattrValid::from_bits_truncate(body.u32()?);
        let has = |flag| valid.contains(flag);
        let (mode, uid, gid, size) = (body.u32()?, body.u32()?, body.u32()?, body.u64()?);
        let mut time = |set, given| -> Result<Option<Time>, Errno> {
            let (seconds, nanoseconds) = (body.u64()?, body.u64()?);
            let at = Time::At(
                seconds.cast_signed(),
                u32::try_from(nanoseconds).unwrap_or(u32::MAX),
            );
            Ok(has(set).then_some(if has(given) { at } else { Time::Now }))
        };
        let atime = time(SetattrValid::ATIME, SetattrValid::ATIME_SET)?;
        let mtime = time(SetattrValid::MTIME, SetattrValid::MTIME_SET)?;
        let fid = self.fids.get(number)?;
        let mut change = Change {
            mode: has(SetattrValid::MODE).then_some(mode),
            uid: has(SetattrValid::UID).then_some(uid),
            gid: has(SetattrValid::GID).then_some(gid),
            size: has(SetattrValid::SIZE).then_some(size),
            atime,
            mtime,
            drop_setid: fid.uid != 0,
        };
        if valid == SetattrValid::CTIME {
            // A change of owner to nobody changes that time alone.
            change.uid = Some(u32::MAX);
        }
        let (node, handle) = (fid.node, fid.handle());
        self.share.change(node, handle, &change)?;
        Ok(Ended::Reply)
    }

    pub(super) fn readlink(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let node = self.fids.get(request.body.u32()?)?.node;
        let mut target = vec![0; LINK_MAX];
        let len = self.share.read_link(node, &mut target)?;
        target.truncate(len);
        request.reply.text(&target);
        Ok(Ended::Reply)
    }

    pub(super) fn statfs(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let node = self.fids.get(request.body.u32()?)?.node;
        let stat = self.share.statfs(node)?;
        let reply = &mut *request.reply;
        reply.u32(MAGIC).u32(stat.f_bsize as u32);
        reply.u64(stat.f_blocks).u64(stat.f_bfree);
        reply.u64(stat.f_bavail).u64(stat.f_files);
        reply.u64(stat.f_ffree).u64(stat.f_fsid);
        reply.u32(stat.f_namemax as u32);
        Ok(Ended::Reply)
    }
}

/// The type of an entry as `getdents(2)` gives it (`DT_*`): that of the mode, shifted.
pub(super) fn entry_kind(kind: FileType) -> u8 {
    match kind {
        FileType::Unknown => 0,
        kind => (kind.as_raw_mode() >> 12) as u8,
    }
}

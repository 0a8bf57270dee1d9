//! Requests about directory entries: making, moving and removing.

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::protocol::c_string;
use super::request::{Answer, Ended, Request};
use super::server::Server;
use crate::backend::fs::{Found, NewFile, NodeId};

/// The longest target of a symbolic link, without its NUL (Linux `PATH_MAX`).
const TARGET_MAX: usize = 4095;

impl Server {
    /// Node and user of a fid that names a file.
    fn named(&self, number: u32) -> Result<(NodeId, u32), Errno> {
        let fid = self.fids.get(number)?;
        Ok((fid.node, fid.uid))
    }

    /// Answers with the qid of a new file, which no fid stands for yet.
    fn made(&mut self, request: &mut Request<'_, '_>, found: &Found) -> Answer {
        let qid = self.qid(&found.stat);
        self.share.forget(found.node, 1);
        request.reply.qid(qid);
        Ok(Ended::Reply)
    }

    pub(super) fn mkdir(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let body = &mut request.body;
        let (parent, uid) = self.named(body.u32()?)?;
        let name = body.name()?;
        let (mode, gid) = (body.u32()?, body.u32()?);
        let found = self
            .share
            .make_dir(parent, &name, NewFile { uid, gid, mode })?;
        self.made(request, &found)
    }

    pub(super) fn mknod(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let body = &mut request.body;
        let (parent, uid) = self.named(body.u32()?)?;
        let name = body.name()?;
        let mode = body.u32()?;
        let device = (body.u32()?, body.u32()?);
        let gid = body.u32()?;
        let new = NewFile { uid, gid, mode };
        let found = self.share.make_node(parent, &name, new, device)?;
        self.made(request, &found)
    }

    pub(super) fn symlink(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let body = &mut request.body;
        let (parent, uid) = self.named(body.u32()?)?;
        let name = body.name()?;
        let target = body.text()?;
        let gid = body.u32()?;
        if target.len() > TARGET_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        let new = NewFile { uid, gid, mode: 0 };
        let target = c_string(target)?;
        let found = self.share.make_symlink(parent, &name, &target, new)?;
        self.made(request, &found)
    }

    pub(super) fn link(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let body = &mut request.body;
        let (parent, _) = self.named(body.u32()?)?;
        let (node, _) = self.named(body.u32()?)?;
        let name = body.name()?;
        let found = self.share.make_link(node, parent, &name)?;
        self.share.forget(found.node, 1);
        Ok(Ended::Reply)
    }

    /// Renames the file of a fid, by the name under which it was seen last.
    pub(super) fn rename(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let body = &mut request.body;
        let (node, _) = self.named(body.u32()?)?;
        let (to, _) = self.named(body.u32()?)?;
        let name = body.name()?;
        let (from, old) = self.share.entry_of(node)?;
        self.share.rename((from, &old), (to, &name), 0)?;
        Ok(Ended::Reply)
    }

    pub(super) fn renameat(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let body = &mut request.body;
        let (from, _) = self.named(body.u32()?)?;
        let old = body.name()?;
        let (to, _) = self.named(body.u32()?)?;
        let new = body.name()?;
        self.share.rename((from, &old), (to, &new), 0)?;
        Ok(Ended::Reply)
    }

    pub(super) fn unlinkat(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let body = &mut request.body;
        let (parent, _) = self.named(body.u32()?)?;
        let name = body.name()?;
        let flags = AtFlags::from_bits_retain(body.u32()?);
        if flags.contains(AtFlags::REMOVEDIR) {
            self.share.remove_dir(parent, &name)?;
        } else {
            self.share.unlink(parent, &name)?;
        }
        Ok(Ended::Reply)
    }

    /// Removes the file of a fid, by the name under which it was seen last; the fid is gone in any
    /// case.
    pub(super) fn remove(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let number = request.body.u32()?;
        let fid = self.fids.remove(number)?;
        let removed = self.remove_node(fid.node);
        self.let_go(number, &fid);
        removed.map(|()| Ended::Reply)
    }

    fn remove_node(&mut self, node: NodeId) -> Result<(), Errno> {
        let is_dir = self.share.is_dir(node)?;
        let (parent, name) = self.share.entry_of(node)?;
        if is_dir {
            self.share.remove_dir(parent, &name)
        } else {
            self.share.unlink(parent, &name)
        }
    }
}

//! Requests about directory entries: look-up, making, moving and removing.

use rustix::io::Errno;

use super::Cache;
use super::protocol::{
    BatchForgetIn, CreateIn, EntryOut, ForgetIn, ForgetOne, LinkIn, MkdirIn, MknodIn, OpenOut,
    Rename2In, RenameIn, decode_dev,
};
use super::request::{Answer, Ended, Request, split_name, take};
use super::server::Server;
use crate::backend::fs::{Found, HandleId, NewFile, NodeId};

/// Room for two names of the longest kind.
const NAMES_MAX: usize = 2 * 256;

/// Room for a name and the target of a symbolic link (Linux `PATH_MAX`).
const SYMLINK_MAX: usize = 256 + 4096;

impl Request<'_, '_> {
    fn new_file(&self, mode: u32) -> NewFile {
        NewFile {
            uid: self.header.uid,
            gid: self.header.gid,
            mode,
        }
    }
}

impl Server {
    pub(super) fn lookup(&mut self, request: &mut Request<'_, '_>) -> Answer {
        request.read_text(NAMES_MAX)?;
        let (name, _) = split_name(request.text)?;
        match self.share.lookup(request.node(), name) {
            Ok(found) => self.answer_entry(request, &found),
            Err(Errno::NOENT) if self.cache == Cache::Always => {
                // The guest may remember that there is no such name.
                let absent = EntryOut {
                    entry_valid: self.validity(),
                    ..EntryOut::default()
                };
                request.answer(&absent)
            }
            Err(errno) => Err(errno),
        }
    }

    fn answer_entry(&mut self, request: &mut Request<'_, '_>, found: &Found) -> Answer {
        let entry = self.entry(found);
        let answer = request.answer(&entry);
        if answer.is_err() {
            self.share.forget(found.node, 1);
        }
        answer
    }

    pub(super) fn forget(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let args: ForgetIn = request.args()?;
        self.share.forget(request.node(), args.nlookup);
        Ok(Ended::Silence)
    }

    pub(super) fn batch_forget(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let args: BatchForgetIn = request.args()?;
        for _ in 0..args.count {
            let Some(one) = take::<ForgetOne>(request.input) else {
                break;
            };
            self.share.forget(NodeId::from_raw(one.nodeid), one.nlookup);
        }
        Ok(Ended::Silence)
    }

    pub(super) fn mkdir(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let args: MkdirIn = request.args()?;
        request.read_text(NAMES_MAX)?;
        let (name, _) = split_name(request.text)?;
        let new = request.new_file(args.mode);
        let found = self.share.make_dir(request.node(), name, new)?;
        self.answer_entry(request, &found)
    }

    pub(super) fn mknod(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let args: MknodIn = request.args()?;
        request.read_text(NAMES_MAX)?;
        let (name, _) = split_name(request.text)?;
        let new = request.new_file(args.mode);
        let device = decode_dev(args.rdev);
        let found = self.share.make_node(request.node(), name, new, device)?;
        self.answer_entry(request, &found)
    }

    pub(super) fn symlink(&mut self, request: &mut Request<'_, '_>) -> Answer {
        request.read_text(SYMLINK_MAX)?;
        let (name, rest) = split_name(request.text)?;
        let (target, _) = split_name(rest)?;
        let new = request.new_file(0);
        let found = self.share.make_symlink(request.node(), name, target, new)?;
        self.answer_entry(request, &found)
    }

    pub(super) fn link(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let args: LinkIn = request.args()?;
        request.read_text(NAMES_MAX)?;
        let (name, _) = split_name(request.text)?;
        let node = NodeId::from_raw(args.oldnodeid);
        let found = self.share.make_link(node, request.node(), name)?;
        self.answer_entry(request, &found)
    }

    pub(super) fn unlink(&mut self, request: &mut Request<'_, '_>) -> Answer {
        request.read_text(NAMES_MAX)?;
        let (name, _) = split_name(request.text)?;
        self.share.unlink(request.node(), name)?;
        Ok(Ended::Answer)
    }

    pub(super) fn rmdir(&mut self, request: &mut Request<'_, '_>) -> Answer {
        request.read_text(NAMES_MAX)?;
        let (name, _) = split_name(request.text)?;
        self.share.remove_dir(request.node(), name)?;
        Ok(Ended::Answer)
    }

    pub(super) fn rename(&mut self, request: &mut Request<'_, '_>, has_flags: bool) -> Answer {
        let args = if has_flags {
            request.args::<Rename2In>()?
        } else {
            Rename2In {
                newdir: request.args::<RenameIn>()?.newdir,
                ..Rename2In::default()
            }
        };
        request.read_text(NAMES_MAX)?;
        let (old, rest) = split_name(request.text)?;
        let (new, _) = split_name(rest)?;
        let (from, to) = (request.node(), NodeId::from_raw(args.newdir));
        self.share.rename((from, old), (to, new), args.flags)?;
        Ok(Ended::Answer)
    }

    pub(super) fn create(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let args: CreateIn = request.args()?;
        request.read_text(NAMES_MAX)?;
        let (name, _) = split_name(request.text)?;
        let flags = self.open_flags(args.flags);
        let new = request.new_file(args.mode);
        let (found, handle) = self.share.create(request.node(), name, flags, new)?;
        self.answer_created(request, &found, handle)
    }

    pub(super) fn tmpfile(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let args: CreateIn = request.args()?;
        let flags = self.open_flags(args.flags);
        let new = request.new_file(args.mode);
        let (found, handle) = self.share.create_unnamed(request.node(), flags, new)?;
        self.answer_created(request, &found, handle)
    }

    fn answer_created(
        &mut self,
        request: &mut Request<'_, '_>,
        found: &Found,
        handle: HandleId,
    ) -> Answer {
        let entry = self.entry(found);
        let opened = OpenOut {
            fh: handle.raw(),
            open_flags: self.caching(true),
            padding: 0,
        };
        let room = size_of::<EntryOut>() + size_of::<OpenOut>();
        if request.output.available() < room {
            self.share.close_handle(handle)?;
            self.share.forget(found.node, 1);
            return Err(Errno::OVERFLOW);
        }
        request.put(&entry)?;
        request.answer(&opened)
    }
}

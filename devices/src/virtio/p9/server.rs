//! The 9P server: what every request has in common, and which function answers which.

use std::collections::BTreeSet;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::fid::{Fid, Fids, Open};
use super::protocol::{
    Body, HEADER, MSIZE_MAX, MSIZE_MIN, Qid, Reply, UNKNOWN, VERSION, WRITE_FIXED, kind,
};
use super::request::{Answer, Ended, Header, Request, close, open, refuse};
use crate::backend::fs::Share;
use crate::virtio::device::DeviceError;
use crate::virtio::fs::requests::{FileServer, GivenUp, Outcome};
use crate::virtio::queue::{Reader, Writer};

/// The longest message without data: a walk of names of the greatest length.
const TEXT_MAX: usize = 16 << 10;
/// An error with its header.
const ERROR: usize = HEADER + 4;

/// A share and the guest's session with it.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) share: Share,
    pub(super) fids: Fids,
    /// The longest message; `None` until the guest has sent VERSION.
    pub(super) msize: Option<u32>,
    /// The owners of locks, by the fid through which they took them.
    pub(super) lockers: BTreeSet<(u32, u64)>,
    /// The bytes of extended attributes that fids hold.
    pub(super) weight: usize,
    /// Whether a lock may have been given up.
    pub(super) freed: bool,
    text: Vec<u8>,
    reply: Reply,
}

impl Server {
    pub(super) fn new(share: Share) -> Self {
        Self {
            share,
            fids: Fids::default(),
            msize: None,
            lockers: BTreeSet::new(),
            weight: 0,
            freed: false,
            text: Vec::new(),
            reply: Reply::default(),
        }
    }

    /// Ends the session.
    pub(super) fn clear(&mut self) {
        self.msize = None;
        self.fids.clear();
        self.lockers.clear();
        self.weight = 0;
        self.freed = true;
        self.text = Vec::new();
        self.share.clear();
    }

    /// Reads what follows the header and lets the right function answer.
    fn answer<'m>(
        &mut self,
        header: Header,
        input: &mut Reader<'m>,
        output: &mut Writer<'m>,
        text: &mut Vec<u8>,
        reply: &mut Reply,
    ) -> Answer {
        let len = (header.size as usize).checked_sub(HEADER);
        let len = len
            .filter(|len| *len <= input.available())
            .ok_or(Errno::INVAL)?;
        if header.size > self.msize.unwrap_or(MSIZE_MIN) {
            return Err(Errno::MSGSIZE);
        }
        // What lies behind the stated length is not looked at.
        let _ = input.split_off(len);
        let plain = match header.kind {
            kind::WRITE => len.min(WRITE_FIXED),
            _ if len > TEXT_MAX => return Err(Errno::MSGSIZE),
            _ => len,
        };
        text.clear();
        text.resize(plain, 0);
        input.read(text);
        let mut request = Request {
            body: Body(text),
            input,
            output,
            reply,
        };
        let ended = self.dispatch(header.kind, &mut request)?;
        if ended != Ended::Reply {
            return Ok(ended);
        }
        if !output.write_all(&reply.0) {
            return Err(Errno::MSGSIZE);
        }
        Ok(Ended::Written(reply.0.len() as u32))
    }

    fn dispatch(&mut self, kind: u8, request: &mut Request<'_, '_>) -> Answer {
        if kind == kind::VERSION {
            return self.version(request);
        }
        if self.msize.is_none() {
            return Err(Errno::IO);
        }
        match kind {
            kind::READ => self.read(request),
            kind::WRITE => self.write(request),
            kind::WALK => self.walk(request),
            kind::GETATTR => self.getattr(request),
            kind::CLUNK => self.clunk(request),
            kind::LOPEN => self.lopen(request),
            kind::READDIR => self.readdir(request),
            kind::FLUSH => Ok(Ended::Flush(request.body.u16()?)),
            kind::ATTACH => self.attach(request),
            // There is nobody to ask.
            kind::AUTH => Err(Errno::OPNOTSUPP),
            _ => self.dispatch_names(kind, request),
        }
    }

    fn dispatch_names(&mut self, kind: u8, request: &mut Request<'_, '_>) -> Answer {
        match kind {
            kind::LCREATE => self.lcreate(request),
            kind::SYMLINK => self.symlink(request),
            kind::MKNOD => self.mknod(request),
            kind::MKDIR => self.mkdir(request),
            kind::LINK => self.link(request),
            kind::RENAME => self.rename(request),
            kind::RENAMEAT => self.renameat(request),
            kind::UNLINKAT => self.unlinkat(request),
            kind::REMOVE => self.remove(request),
            _ => self.dispatch_rest(kind, request),
        }
    }

    fn dispatch_rest(&mut self, kind: u8, request: &mut Request<'_, '_>) -> Answer {
        match kind {
            kind::SETATTR => self.setattr(request),
            kind::STATFS => self.statfs(request),
            kind::READLINK => self.readlink(request),
            kind::FSYNC => self.fsync(request),
            kind::XATTRWALK => self.xattrwalk(request),
            kind::XATTRCREATE => self.xattrcreate(request),
            kind::LOCK => self.lock(request),
            kind::GETLOCK => self.getlock(request),
            _ => Err(Errno::OPNOTSUPP),
        }
    }

    fn version(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let msize = request.body.u32()?;
        let version = request.body.text()?;
        // A new mount of the same device starts over.
        self.clear();
        if version != VERSION {
            request.reply.u32(msize.min(MSIZE_MAX)).text(UNKNOWN);
            return Ok(Ended::Reply);
        }
        if msize < MSIZE_MIN {
            return Err(Errno::MSGSIZE);
        }
        let msize = msize.min(MSIZE_MAX);
        self.msize = Some(msize);
        request.reply.u32(msize).text(VERSION);
        Ok(Ended::Reply)
    }

    fn clunk(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let number = request.body.u32()?;
        let fid = self.fids.remove(number)?;
        // The fid is gone even if its attribute cannot be set.
        let set = self.finish_xattr(&fid);
        self.let_go(number, &fid);
        set.map(|()| Ended::Reply)
    }

    /// Closes and forgets what a fid stood for.
    pub(super) fn let_go(&mut self, number: u32, fid: &Fid) {
        self.weight -= fid.weight();
        if let Open::File(_) = fid.open {
            self.release_locks(number, fid.node);
        }
        if let Some(handle) = fid.handle()
            && self.share.close_handle(handle).is_ok()
        {
            self.freed = true;
        }
        self.share.forget(fid.node, 1);
    }

    /// The qid of a file with these attributes.
    pub(super) fn qid(&self, stat: &Stat) -> Qid {
        // Changes with the data; never zero, by which Linux knows files not to be cached.
        let version = (stat.st_mtime as u64)
            .wrapping_mul(1_000_000_007)
            .wrapping_add(stat.st_mtime_nsec)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ (stat.st_size as u64).wrapping_mul(0xff51_afd7_ed55_8ccd);
        Qid {
            kind: Qid::kind_of(FileType::from_raw_mode(stat.st_mode)),
            version: (version >> 32) as u32 | 1,
            path: self.share.shown_ino(stat.st_dev, stat.st_ino),
        }
    }
}

impl FileServer for Server {
    fn serve<'m>(
        &mut self,
        input: &mut Reader<'m>,
        output: &mut Writer<'m>,
    ) -> Result<(Outcome, u32), DeviceError> {
        let header = open(input)?;
        if output.available() < ERROR {
            return Err(DeviceError::Request("no room for a 9p answer"));
        }
        let mut body = output.split_off(HEADER);
        let mut text = std::mem::take(&mut self.text);
        let mut reply = std::mem::take(&mut self.reply);
        reply.0.clear();
        let ended = self.answer(header, input, &mut body, &mut text, &mut reply);
        (self.text, self.reply) = (text, reply);
        let unique = u64::from(header.tag);
        let (outcome, kind, len) = match ended {
            Ok(Ended::Wait) => return Ok((Outcome::Wait { unique }, 0)),
            Ok(Ended::Flush(tag)) => {
                let unique = u64::from(tag);
                (Outcome::Interrupt { unique }, header.kind + 1, 0)
            }
            Ok(Ended::Reply) => (Outcome::Done, header.kind + 1, 0),
            Ok(Ended::Written(len)) => (Outcome::Done, header.kind + 1, len),
            Err(errno) => {
                let code = errno.raw_os_error().cast_unsigned();
                if !body.write_all(&code.to_le_bytes()) {
                    return Err(DeviceError::Request("no room for a 9p answer"));
                }
                (Outcome::Done, kind::RLERROR, 4)
            }
        };
        close(output, kind, header.tag, len)?;
        Ok((outcome, len.saturating_add(HEADER as u32)))
    }

    fn give_up(
        &mut self,
        output: &mut Writer<'_>,
        unique: u64,
        why: GivenUp,
    ) -> Result<(), DeviceError> {
        let tag = unique as u16;
        match why {
            GivenUp::Interrupted => refuse(output, tag, Errno::INTR),
            GivenUp::Expired => super::lock::tell_blocked(output, tag),
        }
    }

    fn take_freed(&mut self) -> bool {
        std::mem::take(&mut self.freed)
    }
}

//! The FUSE server: what every request has in common, and which function answers which.

use rustix::fs::Stat;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::Cache;
use super::protocol::{Attr, AttrOut, EntryOut, InHeader, InitFlags, OutHeader, opcode};
use super::request::{Answer, Ended, Request, close, open};
use super::requests::{FileServer, GivenUp, Outcome};
use crate::backend::fs::{Found, Share};
use crate::virtio::device::DeviceError;
use crate::virtio::queue::{Reader, Writer};

/// How long, in seconds, the guest may believe what it was told, where it may at all.
const SHORT: u64 = 1;
/// The same for a tree that nobody else changes.
const LONG: u64 = 24 * 60 * 60;

/// What guest and server agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Session {
    pub(super) flags: u64,
}

impl Session {
    pub(super) fn has(self, flag: InitFlags) -> bool {
        InitFlags::from_bits_retain(self.flags).contains(flag)
    }
}

/// A share and the guest's session with it.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) share: Share,
    pub(super) cache: Cache,
    /// `None` until the guest has sent INIT.
    pub(super) session: Option<Session>,
    /// Whether a lock may have been given up.
    pub(super) freed: bool,
    text: Vec<u8>,
}

impl Server {
    pub(super) fn new(share: Share, cache: Cache) -> Self {
        Self {
            share,
            cache,
            session: None,
            freed: false,
            text: Vec::new(),
        }
    }

    /// Ends the session.
    pub(super) fn clear(&mut self) {
        self.session = None;
        self.text = Vec::new();
        self.share.clear();
    }

    pub(super) fn agreed(&self, flag: InitFlags) -> bool {
        self.session.is_some_and(|session| session.has(flag))
    }

    fn dispatch(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let opcode = request.header.opcode;
        if opcode == opcode::INIT {
            return self.init(request);
        }
        if self.session.is_none() {
            return Err(Errno::IO);
        }
        match opcode {
            opcode::READ => self.read(request),
            opcode::WRITE => self.write(request),
            opcode::LOOKUP => self.lookup(request),
            opcode::GETATTR => self.getattr(request),
            opcode::FORGET => self.forget(request),
            opcode::BATCH_FORGET => self.batch_forget(request),
            opcode::OPEN => self.open(request),
            opcode::RELEASE | opcode::RELEASEDIR => self.release(request),
            opcode::OPENDIR => self.opendir(request),
            opcode::READDIR => self.readdir(request, false),
            opcode::READDIRPLUS => self.readdir(request, true),
            opcode::INTERRUPT => self.interrupt(request),
            opcode::DESTROY => {
                self.clear();
                Ok(Ended::Answer)
            }
            _ => self.dispatch_names(request),
        }
    }

    fn dispatch_names(&mut self, request: &mut Request<'_, '_>) -> Answer {
        match request.header.opcode {
            opcode::READLINK => self.readlink(request),
            opcode::SYMLINK => self.symlink(request),
            opcode::MKNOD => self.mknod(request),
            opcode::MKDIR => self.mkdir(request),
            opcode::UNLINK => self.unlink(request),
            opcode::RMDIR => self.rmdir(request),
            opcode::RENAME => self.rename(request, false),
            opcode::RENAME2 => self.rename(request, true),
            opcode::LINK => self.link(request),
            opcode::CREATE => self.create(request),
            opcode::TMPFILE => self.tmpfile(request),
            opcode::SETATTR => self.setattr(request),
            opcode::ACCESS => self.access(request),
            opcode::STATFS => self.statfs(request),
            _ => self.dispatch_rest(request),
        }
    }

    fn dispatch_rest(&mut self, request: &mut Request<'_, '_>) -> Answer {
        match request.header.opcode {
            opcode::FLUSH => self.flush(request),
            opcode::FSYNC | opcode::FSYNCDIR => self.fsync(request),
            opcode::SYNCFS => self.syncfs(),
            opcode::FALLOCATE => self.fallocate(request),
            opcode::LSEEK => self.lseek(request),
            opcode::COPY_FILE_RANGE => self.copy_file_range(request),
            opcode::GETXATTR => self.getxattr(request),
            opcode::LISTXATTR => self.listxattr(request),
            opcode::SETXATTR => self.setxattr(request),
            opcode::REMOVEXATTR => self.removexattr(request),
            opcode::GETLK => self.getlk(request),
            opcode::SETLK => self.setlk(request, false),
            opcode::SETLKW => self.setlk(request, true),
            _ => Err(Errno::NOSYS),
        }
    }

    /// How long names and attributes hold.
    pub(super) fn validity(&self) -> u64 {
        match self.cache {
            Cache::Never => 0,
            Cache::Auto => SHORT,
            Cache::Always => LONG,
        }
    }

    /// Tells the guest of a file that it now knows.
    pub(super) fn entry(&mut self, found: &Found) -> EntryOut {
        EntryOut {
            nodeid: found.node.raw(),
            generation: 0,
            entry_valid: self.validity(),
            attr_valid: self.validity(),
            entry_valid_nsec: 0,
            attr_valid_nsec: 0,
            attr: self.attr(found),
        }
    }

    pub(super) fn attr(&mut self, found: &Found) -> Attr {
        self.share.tell(found.node, &found.stat);
        let ino = self.share.shown_ino(found.stat.st_dev, found.stat.st_ino);
        Attr::new(&found.stat, ino)
    }

    pub(super) fn attr_out(&mut self, request: &Request<'_, '_>, stat: Stat) -> AttrOut {
        let node = request.node();
        AttrOut {
            attr_valid: self.validity(),
            attr_valid_nsec: 0,
            dummy: 0,
            attr: self.attr(&Found { node, stat }),
        }
    }
}

impl FileServer for Server {
    fn serve<'m>(
        &mut self,
        input: &mut Reader<'m>,
        output: &mut Writer<'m>,
    ) -> Result<(Outcome, u32), DeviceError> {
        let (header, sound) = open(input)?;
        let unique = header.unique;
        let body = output.split_off(size_of::<OutHeader>());
        let mut text = std::mem::take(&mut self.text);
        let mut request = Request {
            header,
            input,
            output: body,
            text: &mut text,
        };
        let ended = sound.and_then(|()| self.dispatch(&mut request));
        let len = request.output.written();
        self.text = text;
        let result = match ended {
            Ok(Ended::Wait) => return Ok((Outcome::Wait { unique }, 0)),
            Ok(Ended::Interrupt(unique)) => return Ok((Outcome::Interrupt { unique }, 0)),
            Ok(Ended::Silence) => return Ok((Outcome::Done, 0)),
            Err(_) if is_silent(&header) => return Ok((Outcome::Done, 0)),
            Ok(Ended::Answer) => Ok(len),
            Err(errno) => Err(errno),
        };
        close(output, unique, result)?;
        Ok((
            Outcome::Done,
            output.written().saturating_add(result.unwrap_or(0)),
        ))
    }

    fn give_up(
        &mut self,
        output: &mut Writer<'_>,
        unique: u64,
        _why: GivenUp,
    ) -> Result<(), DeviceError> {
        close(output, unique, Err(Errno::INTR))
    }

    fn take_freed(&mut self) -> bool {
        std::mem::take(&mut self.freed)
    }
}

/// Whether the guest reads no answer to this request.
fn is_silent(header: &InHeader) -> bool {
    matches!(
        header.opcode,
        opcode::FORGET | opcode::BATCH_FORGET | opcode::INTERRUPT
    )
}

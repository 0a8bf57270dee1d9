//! Requests about open files and directories: their data never passes through a buffer of ours.

use rustix::fs::{OFlags, Stat};
use rustix::io::Errno;

use super::attr::entry_kind;
use super::fid::{Open, OpenFile};
use super::protocol::{IO_HEADER, MSIZE_MIN, Qid, Reply, bytes};
use super::request::{Answer, Ended, Request};
use super::server::Server;
use crate::backend::fs::{HandleId, Listing, NewFile, NodeId};
use crate::sys::IOV_MAX;

/// The count before the data of an answer.
const COUNT: usize = 4;
/// A directory entry without its name: qid, offset, type and the name's length.
const ENTRY: usize = 13 + 8 + 1 + 2;

impl Server {
    fn io_unit(&self) -> u32 {
        self.msize.unwrap_or(MSIZE_MIN) - IO_HEADER
    }

    fn opened(&self, request: &mut Request<'_, '_>, stat: &Stat) -> Answer {
        request.reply.qid(self.qid(stat)).u32(self.io_unit());
        Ok(Ended::Reply)
    }

    pub(super) fn lopen(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let number = request.body.u32()?;
        let flags = request.body.u32()?;
        let fid = self.fids.get(number)?;
        fid.not_open()?;
        let (node, uid) = (fid.node, fid.uid);
        let asked = OFlags::from_bits_retain(flags);
        let (open, stat) = if self.share.is_dir(node)? {
            if asked & OFlags::ACCMODE != OFlags::RDONLY || asked.contains(OFlags::TRUNC) {
                return Err(Errno::ISDIR);
            }
            let stat = self.share.attributes(node)?;
            (Open::Dir(self.share.open_dir_handle(node)?), stat)
        } else {
            if asked.contains(OFlags::DIRECTORY) {
                return Err(Errno::NOTDIR);
            }
            let (handle, stat) = self.share.open_handle(node, flags)?;
            let file = open_file(handle, flags, uid);
            if file.drop_setid && asked.contains(OFlags::TRUNC) {
                self.share.drop_setid(node, handle)?;
            }
            (Open::File(file), stat)
        };
        self.fids.get_mut(number)?.open = open;
        self.opened(request, &stat)
    }

    pub(super) fn lcreate(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let number = request.body.u32()?;
        let name = request.body.name()?;
        let flags = request.body.u32()?;
        let (mode, gid) = (request.body.u32()?, request.body.u32()?);
        let fid = self.fids.get(number)?;
        fid.not_open()?;
        let (parent, uid) = (fid.node, fid.uid);
        let new = NewFile { uid, gid, mode };
        let (found, handle) = self.share.create(parent, &name, flags, new)?;
        let fid = self.fids.get_mut(number)?;
        fid.node = found.node;
        fid.open = Open::File(open_file(handle, flags, uid));
        self.share.forget(parent, 1);
        self.opened(request, &found.stat)
    }

    pub(super) fn read(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let number = request.body.u32()?;
        let offset = request.body.u64()?;
        let count = request.body.u32()?.min(self.io_unit()) as usize;
        let mut data = request.output.split_off(COUNT);
        let count = count.min(data.available());
        let fid = self.fids.get(number)?;
        let node = fid.node;
        let done = match &fid.open {
            Open::File(file) => {
                let handle = Some(file.handle);
                let (mut left, mut at) = (count, offset);
                while left > 0 {
                    let slices = data.slices();
                    let n = match self.share.read(node, handle, slices, left, at) {
                        Err(errno) if left == count => return Err(errno),
                        read => read.unwrap_or(0),
                    };
                    let whole = n == reach(slices).min(left);
                    data.advance(n);
                    at = at.saturating_add(n as u64);
                    left -= n;
                    if !whole {
                        break;
                    }
                }
                count - left
            }
            Open::XattrRead(value) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let rest = value.get(start.min(value.len())..).unwrap_or_default();
                data.write(rest.get(..count).unwrap_or(rest))
            }
            Open::Dir(_) => return Err(Errno::ISDIR),
            Open::No | Open::XattrWrite(_) => return Err(Errno::BADF),
        };
        end_data(request, done)
    }

    pub(super) fn write(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let number = request.body.u32()?;
        let offset = request.body.u64()?;
        let count = request.body.u32()? as usize;
        if count > request.input.available() {
            return Err(Errno::INVAL);
        }
        let fid = self.fids.get_mut(number)?;
        let done = match &mut fid.open {
            Open::File(file) => {
                let (node, file) = (fid.node, *file);
                self.write_file(request, node, file, offset, count)?
            }
            Open::XattrWrite(write) => write.take(request.input, offset, count)?,
            Open::Dir(_) => return Err(Errno::ISDIR),
            Open::No | Open::XattrRead(_) => return Err(Errno::BADF),
        };
        request.reply.u32(done as u32);
        Ok(Ended::Reply)
    }

    fn write_file(
        &mut self,
        request: &mut Request<'_, '_>,
        node: NodeId,
        file: OpenFile,
        offset: u64,
        count: usize,
    ) -> Result<usize, Errno> {
        let append = file.append && self.is_at_end(node, file.handle, offset)?;
        let mut done = 0;
        while done < count {
            let slices = request.input.slices();
            let place = (!append).then_some(offset.saturating_add(done as u64));
            let n = match self
                .share
                .write(node, file.handle, slices, count - done, place)
            {
                Err(errno) if done == 0 => return Err(errno),
                written => written.unwrap_or(0),
            };
            let whole = n > 0 && n == reach(slices).min(count - done);
            request.input.advance(n);
            done += n;
            if !whole {
                break;
            }
        }
        if file.drop_setid {
            self.share.drop_setid(node, file.handle)?;
        }
        Ok(done)
    }

    /// Whether a write at `offset` through a handle that appends is meant for the file's end: at
    /// what the guest takes for it. (A page that it writes back has its place before that.)
    fn is_at_end(&mut self, node: NodeId, handle: HandleId, offset: u64) -> Result<bool, Errno> {
        let stat = self.share.handle_attributes(node, handle)?;
        Ok(offset >= stat.st_size as u64)
    }

    pub(super) fn fsync(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let number = request.body.u32()?;
        let data_only = request.body.u32().is_ok_and(|flag| flag != 0);
        let fid = self.fids.get(number)?;
        let (node, handle) = (fid.node, fid.handle().ok_or(Errno::BADF)?);
        self.share.sync(node, handle, data_only)?;
        Ok(Ended::Reply)
    }

    pub(super) fn readdir(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let number = request.body.u32()?;
        let offset = request.body.u64()?;
        let count = request.body.u32()?.min(self.io_unit()) as usize;
        let fid = self.fids.get(number)?;
        let Open::Dir(handle) = fid.open else {
            return Err(Errno::BADF);
        };
        let node = fid.node;
        let mut data = request.output.split_off(COUNT);
        let mut room = count.min(data.available());
        let mut listing = self.share.listing(node, Some(handle), offset)?;
        let mut done = 0;
        let mut failed = None;
        loop {
            match self.put_entry(request.reply, &mut listing, room) {
                Ok(0) => break,
                Ok(len) => {
                    data.write(&request.reply.0);
                    room -= len;
                    done += len;
                }
                Err(errno) => {
                    failed = Some(errno);
                    break;
                }
            }
        }
        self.share.put_back(listing);
        match failed {
            // What was written so far is told first; the error comes next time.
            Some(errno) if done == 0 => Err(errno),
            _ => end_data(request, done),
        }
    }

    /// Makes the current entry of `listing` the reply and moves past it; its length, 0 at the end
    /// or if there is no room.
    fn put_entry(
        &self,
        reply: &mut Reply,
        listing: &mut Listing,
        room: usize,
    ) -> Result<usize, Errno> {
        let Some(entry) = listing.peek(&self.share)? else {
            return Ok(0);
        };
        let name = bytes(entry.name);
        let len = ENTRY + name.len();
        if len > room {
            return Ok(0);
        }
        let qid = Qid {
            kind: Qid::kind_of(entry.kind),
            version: 0,
            path: entry.ino,
        };
        reply.0.clear();
        reply.qid(qid).u64(entry.next);
        reply.u8(entry_kind(entry.kind)).text(name);
        listing.advance();
        Ok(len)
    }
}

fn open_file(handle: HandleId, flags: u32, uid: u32) -> OpenFile {
    let flags = OFlags::from_bits_retain(flags);
    OpenFile {
        handle,
        append: flags.contains(OFlags::APPEND),
        drop_setid: uid != 0,
    }
}

/// Ends an answer whose data is in place with the count before it.
fn end_data(request: &mut Request<'_, '_>, done: usize) -> Answer {
    let count = done as u32;
    if !request.output.write_all(&count.to_le_bytes()) {
        return Err(Errno::MSGSIZE);
    }
    Ok(Ended::Written(COUNT as u32 + count))
}

/// How many bytes one vectored call reaches.
fn reach(slices: &[vm_memory::VolatileSlice<'_>]) -> usize {
    let reached = slices.iter().take(IOV_MAX);
    reached.map(vm_memory::VolatileSlice::len).sum()
}

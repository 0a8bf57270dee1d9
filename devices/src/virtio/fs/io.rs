//! Requests about open files: their data never passes through a buffer of ours.

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::Cache;
use super::protocol::{
    CopyFileRangeIn, FSYNC_FDATASYNC, FallocateIn, FlushIn, FsyncIn, InitFlags, LseekIn, LseekOut,
    OPEN_KILL_SUIDGID, OpenIn, OpenOut, ReadIn, ReleaseIn, WRITE_CACHE, WRITE_KILL_SUIDGID,
    WriteIn, WriteOut, fopen, opcode,
};
use super::request::{Answer, Ended, Request, handle};
use super::server::Server;
use crate::backend::fs::{HandleId, NodeId, Sought};

const SEEK_DATA: u32 = 3;
const SEEK_HOLE: u32 = 4;

impl Server {
    /// The flags to open with for a guest's `flags`.
    pub(super) fn open_flags(&self, flags: u32) -> u32 {
        let asked = OFlags::from_bits_retain(flags);
        if !self.agreed(InitFlags::WRITEBACK_CACHE) || asked & OFlags::ACCMODE != OFlags::WRONLY {
            return flags;
        }
        // To write part of a page back, the guest reads the rest of it first.
        (asked.difference(OFlags::ACCMODE) | OFlags::RDWR).bits()
    }

    /// How the guest may cache a file opened now, `same` being whether it has not changed since
    /// the guest last heard of it.
    pub(super) fn caching(&self, same: bool) -> u32 {
        match self.cache {
            Cache::Never => fopen::DIRECT_IO | fopen::PARALLEL_DIRECT_WRITES,
            Cache::Auto if !same => 0,
            Cache::Auto | Cache::Always => fopen::KEEP_CACHE,
        }
    }

    pub(super) fn open(&mut self, request: &mut Request<'_, '_>) -> Answer {
        if self.agreed(InitFlags::NO_OPEN_SUPPORT) {
            return Err(Errno::NOSYS);
        }
        let args: OpenIn = request.args()?;
        let node = request.node();
        let flags = self.open_flags(args.flags);
        let (handle, stat) = match self.share.open_handle(node, flags) {
            // Not ours to read: then the guest's partial pages are lost to it, no more.
            Err(Errno::ACCESS) if flags != args.flags => {
                self.share.open_handle(node, args.flags)?
            }
            opened => opened?,
        };
        let truncated = OFlags::from_bits_retain(flags).contains(OFlags::TRUNC);
        if truncated && args.open_flags & OPEN_KILL_SUIDGID != 0 {
            self.share.drop_setid(node, handle)?;
        }
        let same = self.share.tell(node, &stat);
        let answer = request.answer(&OpenOut {
            fh: handle.raw(),
            open_flags: self.caching(same),
            padding: 0,
        });
        if answer.is_err() {
            self.share.close_handle(handle)?;
        }
        answer
    }

    pub(super) fn release(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let args: ReleaseIn = request.args()?;
        self.share.close_handle(HandleId::from_raw(args.fh))?;
        self.freed = true;
        Ok(Ended::Answer)
    }

    pub(super) fn read(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let args: ReadIn = request.args()?;
        let (node, handle) = (request.node(), handle(args.fh));
        let mut left = (args.size as usize).min(request.output.available());
        let mut offset = args.offset;
        while left > 0 {
            let slices = request.output.slices();
            let n = match self.share.read(node, handle, slices, left, offset) {
                Err(errno) if request.output.written() == 0 => return Err(errno),
                read => read.unwrap_or(0),
            };
            let whole = n == reach(slices).min(left);
            request.output.advance(n);
            offset = offset.saturating_add(n as u64);
            left -= n;
            if !whole {
                break;
            }
        }
        Ok(Ended::Answer)
    }

    pub(super) fn write(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let args: WriteIn = request.args()?;
        let (node, handle) = (request.node(), HandleId::from_raw(args.fh));
        let size = args.size as usize;
        if size > request.input.available() {
            return Err(Errno::INVAL);
        }
        // What comes from the guest's page cache has its place; an appending write goes wherever
        // the file ends by now, which the host may have moved.
        let append = OFlags::from_bits_retain(args.flags).contains(OFlags::APPEND)
            && args.write_flags & WRITE_CACHE == 0
            && !self.agreed(InitFlags::WRITEBACK_CACHE);
        let mut done = 0;
        while done < size {
            let slices = request.input.slices();
            let offset = args.offset.saturating_add(done as u64);
            let place = (!append).then_some(offset);
            let n = match self.share.write(node, handle, slices, size - done, place) {
                Err(errno) if done == 0 => return Err(errno),
                written => written.unwrap_or(0),
            };
            let whole = n > 0 && n == reach(slices).min(size - done);
            request.input.advance(n);
            done += n;
            if !whole {
                break;
            }
        }
        if args.write_flags & WRITE_KILL_SUIDGID != 0 {
            self.share.drop_setid(node, handle)?;
        }
        let size = u32::try_from(done).map_err(|_| Errno::INVAL)?;
        request.answer(&WriteOut { size, padding: 0 })
    }

    pub(super) fn flush(&mut self, request: &mut Request<'_, '_>) -> Answer {
        if !self.agreed(InitFlags::POSIX_LOCKS) {
            return Err(Errno::NOSYS);
        }
        let args: FlushIn = request.args()?;
        self.share.release_locks(request.node(), args.lock_owner);
        self.freed = true;
        Ok(Ended::Answer)
    }

    pub(super) fn fsync(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let args: FsyncIn = request.args()?;
        let data_only = args.fsync_flags & FSYNC_FDATASYNC != 0;
        let handle = HandleId::from_raw(args.fh);
        if request.header.opcode == opcode::FSYNCDIR && args.fh == 0 {
            return Err(Errno::NOSYS);
        }
        self.share.sync(request.node(), handle, data_only)?;
        Ok(Ended::Answer)
    }

    pub(super) fn syncfs(&mut self) -> Answer {
        self.share.sync_all()?;
        Ok(Ended::Answer)
    }

    pub(super) fn fallocate(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let args: FallocateIn = request.args()?;
        let handle = HandleId::from_raw(args.fh);
        let (mode, offset, len) = (args.mode, args.offset, args.length);
        self.share
            .allocate(request.node(), handle, mode, offset, len)?;
        Ok(Ended::Answer)
    }

    pub(super) fn lseek(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let args: LseekIn = request.args()?;
        let sought = match args.whence {
            SEEK_DATA => Sought::Data,
            SEEK_HOLE => Sought::Hole,
            _ => return Err(Errno::INVAL),
        };
        let (node, handle) = (request.node(), handle(args.fh));
        let offset = self.share.seek(node, handle, args.offset, sought)?;
        request.answer(&LseekOut { offset })
    }

    pub(super) fn copy_file_range(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let args: CopyFileRangeIn = request.args()?;
        if args.flags != 0 {
            return Err(Errno::INVAL);
        }
        let source = HandleId::from_raw(args.fh_in);
        let target = HandleId::from_raw(args.fh_out);
        let from = (request.node(), source, args.off_in);
        let to = (NodeId::from_raw(args.nodeid_out), target, args.off_out);
        let n = self.share.copy(from, to, args.len)?;
        let size = u32::try_from(n).unwrap_or(u32::MAX);
        request.answer(&WriteOut { size, padding: 0 })
    }
}

/// How many bytes one vectored call reaches.
fn reach(slices: &[vm_memory::VolatileSlice<'_>]) -> usize {
    let reached = slices.iter().take(crate::sys::IOV_MAX);
    reached.map(vm_memory::VolatileSlice::len).sum()
}

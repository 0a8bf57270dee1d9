//! Open files: their data goes straight between the host's file and the guest's memory.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::fs::{
    FallocateFlags, Mode, OFlags, SeekFrom, Stat, copy_file_range, fallocate, fchmod, fdatasync,
    fstat, fsync, seek,
};
use rustix::io::Errno;
use vm_memory::VolatileSlice;

use super::Share;
use super::budget::Permit;
use super::fds::Fd;
use super::handle::{Handle, HandleId};
use super::node::NodeId;
use super::setattr::Change;
use crate::sys;

/// What of a guest's `open` flags reaches the host: the others are the guest's own affair, or
/// change how a descriptor of ours behaves.
const PASSED: OFlags = OFlags::ACCMODE
    .union(OFlags::TRUNC)
    .union(OFlags::SYNC)
    .union(OFlags::DSYNC);

/// The most bytes that one copy between two files moves, so that a huge one keeps nobody waiting.
const COPY_LIMIT: u64 = 64 << 20;

/// What [`Share::seek`] looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sought {
    /// Bytes that the file stores (`SEEK_DATA`).
    Data,
    /// A range that it does not (`SEEK_HOLE`).
    Hole,
}

/// The flags with which to open for a guest that asked for `flags`.
pub(super) fn passed(flags: u32) -> OFlags {
    OFlags::from_bits_retain(flags).intersection(PASSED)
}

/// Whether opening with `flags` can change the file.
pub(super) fn writes(flags: OFlags) -> bool {
    flags.intersects(OFlags::WRONLY | OFlags::RDWR | OFlags::TRUNC | OFlags::CREATE)
}

fn errno(error: &io::Error) -> Errno {
    let ours = match error.kind() {
        // An offset that no file can have.
        io::ErrorKind::InvalidInput => Errno::INVAL,
        _ => Errno::IO,
    };
    Errno::from_io_error(error).unwrap_or(ours)
}

/// Runs `call` until no signal interrupts it.
fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> Result<usize, Errno> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map_err(|error| errno(&error)),
        }
    }
}

impl Share {
    /// Opens the regular file `node` with a guest's `open(2)` flags.
    ///
    /// # Errors
    /// The file is no regular file, gone, or may not be opened so.
    pub fn open_handle(&mut self, node: NodeId, flags: u32) -> Result<(HandleId, Stat), Errno> {
        let flags = passed(flags);
        if writes(flags) {
            self.writable()?;
        }
        let permit = Permit::take(1)?;
        let fd = self.open_file(node, flags)?;
        let stat = fstat(&fd)?;
        let stat = self.shown_fd(&fd, stat);
        let flags = flags.difference(OFlags::TRUNC);
        let handle = self.add_handle(Handle::new(fd, node, flags, permit));
        Ok((handle, stat))
    }

    pub(super) fn add_handle(&mut self, handle: Handle) -> HandleId {
        self.nodes.pin(handle.node);
        self.handles.insert(handle)
    }

    /// Closes a handle, giving up its whole-file lock.
    ///
    /// # Errors
    /// There is no such handle.
    pub fn close_handle(&mut self, handle: HandleId) -> Result<(), Errno> {
        let (closed, last) = self.handles.remove(handle)?;
        self.listings.retain(|listing| !listing.is_of(handle));
        if last {
            self.release_all_locks(closed.node);
        }
        self.nodes.unpin(closed.node);
        self.close_freed();
        Ok(())
    }

    /// The descriptor of `handle`, which must be one of `node`.
    pub(super) fn handle_fd(&self, node: NodeId, handle: HandleId) -> Result<Fd, Errno> {
        let handle = self.handles.get(handle)?;
        if handle.node != node {
            return Err(Errno::BADF);
        }
        Ok(Arc::clone(&handle.fd))
    }

    /// The attributes of the file that `handle` has open.
    ///
    /// # Errors
    /// The handle is none of the file's.
    pub fn handle_attributes(&mut self, node: NodeId, handle: HandleId) -> Result<Stat, Errno> {
        let fd = self.handle_fd(node, handle)?;
        let stat = fstat(&fd)?;
        Ok(self.shown_fd(&fd, stat))
    }

    /// The descriptor to read `node` by: that of its handle or, if the guest opened none, a cached
    /// one.
    fn reader(&mut self, node: NodeId, handle: Option<HandleId>) -> Result<Fd, Errno> {
        if let Some(handle) = handle {
            return self.handle_fd(node, handle);
        }
        if let Some(fd) = self.readers.get(node) {
            return Ok(fd);
        }
        let fd = Arc::new(self.open_file(node, OFlags::RDONLY)?);
        self.readers.insert(node, Arc::clone(&fd));
        Ok(fd)
    }

    /// Reads up to `limit` bytes at `offset` into `slices`; fewer only at the end of the file or
    /// if there are more slices than one call takes.
    ///
    /// # Errors
    /// The handle is none of the file's, or reading failed.
    pub fn read(
        &mut self,
        node: NodeId,
        handle: Option<HandleId>,
        slices: &[VolatileSlice<'_>],
        limit: usize,
        offset: u64,
    ) -> Result<usize, Errno> {
        let fd = self.reader(node, handle)?;
        uninterrupted(|| sys::read_vectored(fd.as_fd(), slices, limit, Some(offset)))
    }

    /// Writes up to `limit` bytes of `slices` at `offset`, or at the file's end without one.
    ///
    /// # Errors
    /// The share is read-only, the handle is none of the file's, or writing failed.
    pub fn write(
        &mut self,
        node: NodeId,
        handle: HandleId,
        slices: &[VolatileSlice<'_>],
        limit: usize,
        offset: Option<u64>,
    ) -> Result<usize, Errno> {
        self.writable()?;
        let fd = self.handle_fd(node, handle)?;
        match offset {
            Some(_) => uninterrupted(|| sys::write_vectored(fd.as_fd(), slices, limit, offset)),
            None => uninterrupted(|| sys::fs::append_vectored(fd.as_fd(), slices, limit)),
        }
    }

    /// Clears the set-user-id bit, and the set-group-id bit of a group-executable file, as a write
    /// by a user without privilege does. The kernel does it for us unless we have the privilege.
    ///
    /// # Errors
    /// The handle is none of the file's, or the change was refused.
    pub fn drop_setid(&mut self, node: NodeId, handle: HandleId) -> Result<(), Errno> {
        if !self.privileged && !self.is_mapped() {
            return Ok(());
        }
        let fd = self.handle_fd(node, handle)?;
        let mode = self.shown_fd(&fd, fstat(&fd)?).st_mode & 0o7777;
        let kept = without_setid(mode);
        if kept != mode {
            self.writable()?;
            if self.is_mapped() {
                let mode = Some(kept);
                return self.map_change(
                    &fd,
                    &Change {
                        mode,
                        ..Change::default()
                    },
                );
            }
            fchmod(&fd, Mode::from_raw_mode(kept))?;
        }
        Ok(())
    }

    /// Writes back what the host has cached of the file, without the times if `data_only`.
    ///
    /// # Errors
    /// The handle is none of the file's, or an earlier write failed.
    pub fn sync(&mut self, node: NodeId, handle: HandleId, data_only: bool) -> Result<(), Errno> {
        if self.read_only {
            return Ok(());
        }
        let fd = self.handle_fd(node, handle)?;
        if data_only {
            fdatasync(&fd)
        } else {
            fsync(&fd)
        }
    }

    /// Writes back all that the host has cached of the share's file system.
    ///
    /// # Errors
    /// What `syncfs(2)` says.
    pub fn sync_all(&mut self) -> Result<(), Errno> {
        if self.read_only {
            return Ok(());
        }
        let root = self.open_dir(NodeId::ROOT)?;
        rustix::fs::syncfs(&root)
    }

    /// Reserves, punches or zeroes a range of the file, as `fallocate(2)` does.
    ///
    /// # Errors
    /// The share is read-only, the handle is none of the file's, or the file system refused.
    pub fn allocate(
        &mut self,
        node: NodeId,
        handle: HandleId,
        mode: u32,
        offset: u64,
        len: u64,
    ) -> Result<(), Errno> {
        self.writable()?;
        let mode = FallocateFlags::from_bits(mode).ok_or(Errno::OPNOTSUPP)?;
        fallocate(self.handle_fd(node, handle)?, mode, offset, len)
    }

    /// The start of the next data at or after `offset`, or of the next hole.
    ///
    /// # Errors
    /// `ENXIO` past the end; the handle is none of the file's.
    pub fn seek(
        &mut self,
        node: NodeId,
        handle: Option<HandleId>,
        offset: u64,
        sought: Sought,
    ) -> Result<u64, Errno> {
        let fd = self.reader(node, handle)?;
        let from = match sought {
            Sought::Data => SeekFrom::Data(offset),
            Sought::Hole => SeekFrom::Hole(offset),
        };
        seek(&fd, from)
    }

    /// Copies up to `len` bytes from one open file (at `from.2`) to another (at `to.2`) on the
    /// host; the number copied, which may be less.
    ///
    /// # Errors
    /// The share is read-only, a handle is none of its file's, or the file system refused.
    pub fn copy(
        &mut self,
        from: (NodeId, HandleId, u64),
        to: (NodeId, HandleId, u64),
        len: u64,
    ) -> Result<usize, Errno> {
        self.writable()?;
        let source = self.handle_fd(from.0, from.1)?;
        let target = self.handle_fd(to.0, to.1)?;
        let len = usize::try_from(len.min(COPY_LIMIT)).unwrap_or(usize::MAX);
        let (mut read, mut written) = (from.2, to.2);
        copy_file_range(&source, Some(&mut read), &target, Some(&mut written), len)
    }
}

/// The mode left when a user without privilege has changed a file.
pub(super) fn without_setid(mode: u32) -> u32 {
    let group_executable = mode & 0o010 != 0;
    mode & !0o4000 & !(if group_executable { 0o2000 } else { 0 })
}

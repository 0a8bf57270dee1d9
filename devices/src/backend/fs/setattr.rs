//! Changes of attributes: owner, mode, size and times.

use rustix::fs::{
    AtFlags, FileType, Gid, OFlags, Stat, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid,
    chownat, fstat, ftruncate, utimensat,
};
use rustix::io::Errno;
use rustix::path::DecInt;

use super::Share;
use super::fds::Fd;
use super::file::without_setid;
use super::handle::HandleId;
use super::node::NodeId;

/// A time to set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// The host's clock.
    Now,
    /// Seconds and nanoseconds since 1970.
    At(i64, u32),
}

/// What is to change; `None` stays.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Length.
    pub size: Option<u64>,
    /// Time of the last access.
    pub atime: Option<Time>,
    /// Time of the last change of the data.
    pub mtime: Option<Time>,
    /// Whether the user has no privilege to keep set-user-id and set-group-id bits.
    pub drop_setid: bool,
}

impl Share {
    /// Changes the attributes of `node`, by one of its handles if there is one; those that it has
    /// then.
    ///
    /// # Errors
    /// The share is read-only, the file is gone, or the system refused.
    pub fn change(
        &mut self,
        node: NodeId,
        handle: Option<HandleId>,
        change: &Change,
    ) -> Result<Stat, Errno> {
        self.writable()?;
        let fd = match handle {
            Some(handle) => self.handle_fd(node, handle)?,
            None => self.path_fd(node)?,
        };
        let change = &self.change_on_host(change)?;
        if self.is_mapped() {
            self.map_change(&fd, change)?;
            return self.change_data(node, handle, &fd, change);
        }
        if change.uid.is_some() || change.gid.is_some() {
            let owner = change.uid.filter(|id| *id != u32::MAX).map(Uid::from_raw);
            let group = change.gid.filter(|id| *id != u32::MAX).map(Gid::from_raw);
            chownat(&fd, c"", owner, group, AtFlags::EMPTY_PATH)?;
        }
        if let Some(mode) = change.mode {
            if self.nodes.get(node)?.kind == FileType::Symlink {
                return Err(Errno::OPNOTSUPP);
            }
            self.set_mode(node, &fd, mode & 0o7777)?;
        }
        self.change_data(node, handle, &fd, change)
    }

    /// Changes size and times.
    fn change_data(
        &mut self,
        node: NodeId,
        handle: Option<HandleId>,
        fd: &Fd,
        change: &Change,
    ) -> Result<Stat, Errno> {
        if let Some(size) = change.size {
            self.resize(node, handle, size)?;
            if change.drop_setid {
                self.drop_setid_of(node, fd)?;
            }
        }
        if change.atime.is_some() || change.mtime.is_some() {
            self.set_times(fd, change)?;
        }
        let stat = fstat(fd)?;
        Ok(self.shown_fd(fd, stat))
    }

    /// Clears set-user-id and set-group-id bits, where the kernel does not do it for us.
    fn drop_setid_of(&mut self, node: NodeId, fd: &Fd) -> Result<(), Errno> {
        let mode = self.shown_fd(fd, fstat(fd)?).st_mode & 0o7777;
        let kept = without_setid(mode);
        if kept == mode {
            return Ok(());
        }
        if self.is_mapped() {
            let mode = Some(kept);
            return self.map_change(
                fd,
                &Change {
                    mode,
                    ..Change::default()
                },
            );
        }
        if self.privileged {
            self.set_mode(node, fd, kept)?;
        }
        Ok(())
    }

    fn set_mode(&mut self, node: NodeId, fd: &Fd, mode: u32) -> Result<(), Errno> {
        match self.chmod(fd, mode) {
            Err(Errno::OPNOTSUPP) if self.proc_fds.is_none() => {
                let file = self.open_file(node, OFlags::RDONLY)?;
                self.chmod(&file, mode)
            }
            done => done,
        }
    }

    fn resize(&mut self, node: NodeId, handle: Option<HandleId>, size: u64) -> Result<(), Errno> {
        if let Some(handle) = handle
            && self
                .handles
                .get(handle)?
                .flags
                .intersects(OFlags::WRONLY | OFlags::RDWR)
        {
            return ftruncate(self.handle_fd(node, handle)?, size);
        }
        ftruncate(self.open_file(node, OFlags::WRONLY)?, size)
    }

    fn set_times(&self, fd: &Fd, change: &Change) -> Result<(), Errno> {
        let times = Timestamps {
            last_access: timespec(change.atime)?,
            last_modification: timespec(change.mtime)?,
        };
        match &self.proc_fds {
            Some(proc_fds) => utimensat(proc_fds, DecInt::from_fd(fd), &times, AtFlags::empty()),
            None => utimensat(fd, c"", &times, AtFlags::EMPTY_PATH),
        }
    }
}

fn timespec(time: Option<Time>) -> Result<Timespec, Errno> {
    let (tv_sec, tv_nsec) = match time {
        None => (0, UTIME_OMIT),
        Some(Time::Now) => (0, UTIME_NOW),
        Some(Time::At(_, 1_000_000_000..)) => return Err(Errno::INVAL),
        Some(Time::At(seconds, nanoseconds)) => (seconds, i64::from(nanoseconds)),
    };
    Ok(Timespec { tv_sec, tv_nsec })
}

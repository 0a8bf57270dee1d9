//! Plain files, by the system's own calls.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
    chmodat, chownat, fdatasync, fstat, fsync, ftruncate, lgetxattr, linkat, llistxattr,
    lremovexattr, lsetxattr, mkdirat, mknodat, openat, readlinkat, renameat, statat, symlinkat,
    unlinkat, utimensat,
};
use rustix::io::{Errno, pread, pwrite};

use super::{Meta, Side};

type At<'a> = (usize, &'a str);

pub(super) struct Native {
    base: PathBuf,
    /// Directories walked to, the sequence's folder first.
    nodes: Vec<OwnedFd>,
    files: HashMap<u64, OwnedFd>,
    next: u64,
}

fn meta(stat: &Stat) -> Meta {
    Meta {
        mode: stat.st_mode,
        nlink: stat.st_nlink,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: stat.st_size as u64,
        mtime: stat.st_mtime,
    }
}

impl Native {
    pub(super) fn new(base: &Path) -> Self {
        Self {
            base: base.to_owned(),
            nodes: Vec::new(),
            files: HashMap::new(),
            next: 0,
        }
    }

    fn path(&self, at: At<'_>) -> Result<PathBuf, Errno> {
        let dir = &self.nodes[at.0];
        if FileType::from_raw_mode(fstat(dir)?.st_mode) != FileType::Directory {
            return Err(Errno::NOTDIR);
        }
        Ok(format!("/proc/self/fd/{}/{}", dir.as_raw_fd(), at.1).into())
    }

    fn keep(&mut self, fd: OwnedFd) -> Result<u64, Errno> {
        if FileType::from_raw_mode(fstat(&fd)?.st_mode) == FileType::Directory {
            return Err(Errno::ISDIR);
        }
        self.next += 1;
        self.files.insert(self.next, fd);
        Ok(self.next)
    }
}

const FLAGS: OFlags = OFlags::NOFOLLOW
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK);

impl Side for Native {
    type Node = usize;

    fn begin(&mut self, name: &str) -> usize {
        let path = self.base.join(name);
        let fd = openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty());
        self.nodes = vec![fd.unwrap()];
        0
    }

    fn child(&mut self, parent: usize, name: &str) -> Result<usize, Errno> {
        let flags = OFlags::PATH | FLAGS;
        let fd = openat(&self.nodes[parent], name, flags, Mode::empty())?;
        self.nodes.push(fd);
        Ok(self.nodes.len() - 1)
    }

    fn forget(&mut self) {
        self.nodes.truncate(1);
    }

    fn end(&mut self) {
        self.nodes.clear();
        assert!(self.files.is_empty());
    }

    fn stat(&mut self, at: At<'_>) -> Result<Meta, Errno> {
        let stat = statat(&self.nodes[at.0], at.1, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(meta(&stat))
    }

    fn chmod(&mut self, at: At<'_>, mode: u32) -> Result<(), Errno> {
        let mode = Mode::from_raw_mode(mode);
        chmodat(&self.nodes[at.0], at.1, mode, AtFlags::empty())
    }

    fn chown(&mut self, at: At<'_>, uid: u32, gid: u32) -> Result<(), Errno> {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        chownat(
            &self.nodes[at.0],
            at.1,
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )
    }

    fn truncate(&mut self, at: At<'_>, size: u64) -> Result<(), Errno> {
        let flags = OFlags::WRONLY | FLAGS;
        ftruncate(openat(&self.nodes[at.0], at.1, flags, Mode::empty())?, size)
    }

    fn set_times(&mut self, at: At<'_>, seconds: i64) -> Result<(), Errno> {
        let time = Timespec {
            tv_sec: seconds,
            tv_nsec: 0,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        utimensat(&self.nodes[at.0], at.1, &times, AtFlags::SYMLINK_NOFOLLOW)
    }

    fn mkdir(&mut self, at: At<'_>, mode: u32) -> Result<(), Errno> {
        mkdirat(&self.nodes[at.0], at.1, Mode::from_raw_mode(mode))
    }

    fn mkfifo(&mut self, at: At<'_>, mode: u32) -> Result<(), Errno> {
        let mode = Mode::from_raw_mode(mode);
        mknodat(&self.nodes[at.0], at.1, FileType::Fifo, mode, 0)
    }

    fn symlink(&mut self, at: At<'_>, target: &str) -> Result<(), Errno> {
        symlinkat(target, &self.nodes[at.0], at.1)
    }

    fn readlink(&mut self, at: At<'_>) -> Result<String, Errno> {
        let target = readlinkat(&self.nodes[at.0], at.1, Vec::new())?;
        Ok(target.into_string().unwrap())
    }

    fn link(&mut self, from: At<'_>, to: At<'_>) -> Result<(), Errno> {
        let (old, new) = (&self.nodes[from.0], &self.nodes[to.0]);
        linkat(old, from.1, new, to.1, AtFlags::empty())
    }

    fn rename(&mut self, from: At<'_>, to: At<'_>) -> Result<(), Errno> {
        renameat(&self.nodes[from.0], from.1, &self.nodes[to.0], to.1)
    }

    fn unlink(&mut self, at: At<'_>) -> Result<(), Errno> {
        unlinkat(&self.nodes[at.0], at.1, AtFlags::empty())
    }

    fn rmdir(&mut self, at: At<'_>) -> Result<(), Errno> {
        unlinkat(&self.nodes[at.0], at.1, AtFlags::REMOVEDIR)
    }

    fn list(&mut self, at: At<'_>) -> Result<Vec<(String, u8)>, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | FLAGS;
        let fd = openat(&self.nodes[at.0], at.1, flags, Mode::empty())?;
        let mut names = Vec::new();
        for entry in Dir::new(fd)? {
            let entry = entry?;
            let name = entry.file_name().to_str().unwrap().to_owned();
            let kind = entry.file_type().as_raw_mode() >> 12;
            names.push((name, kind as u8));
        }
        names.retain(|(name, _)| name != "." && name != "..");
        Ok(names)
    }

    fn set_xattr(&mut self, at: At<'_>, name: &str, value: &[u8], flags: u32) -> Result<(), Errno> {
        let flags = XattrFlags::from_bits_retain(flags);
        lsetxattr(self.path(at)?, name, value, flags)
    }

    fn get_xattr(&mut self, at: At<'_>, name: &str) -> Result<Vec<u8>, Errno> {
        let mut value = vec![0; 1024];
        let len = lgetxattr(self.path(at)?, name, &mut value[..])?;
        value.truncate(len);
        Ok(value)
    }

    fn list_xattrs(&mut self, at: At<'_>) -> Result<Vec<u8>, Errno> {
        let mut list = vec![0; 1024];
        let len = llistxattr(self.path(at)?, &mut list[..])?;
        list.truncate(len);
        Ok(list)
    }

    fn remove_xattr(&mut self, at: At<'_>, name: &str) -> Result<(), Errno> {
        lremovexattr(self.path(at)?, name)
    }

    fn create(&mut self, at: At<'_>, flags: i32, mode: u32) -> Result<u64, Errno> {
        let flags = OFlags::from_bits_retain(flags as u32) | OFlags::CREATE | FLAGS;
        let mode = Mode::from_raw_mode(mode);
        let fd = openat(&self.nodes[at.0], at.1, flags, mode)?;
        self.keep(fd)
    }

    fn open(&mut self, at: At<'_>, flags: i32) -> Result<u64, Errno> {
        let flags = OFlags::from_bits_retain(flags as u32) | FLAGS;
        let fd = openat(&self.nodes[at.0], at.1, flags, Mode::empty())?;
        self.keep(fd)
    }

    fn close(&mut self, file: u64) -> Result<(), Errno> {
        self.files.remove(&file).map(drop).ok_or(Errno::BADF)
    }

    fn read(&mut self, file: u64, offset: u64, len: u32) -> Result<Vec<u8>, Errno> {
        let mut data = vec![0; len as usize];
        let len = pread(&self.files[&file], &mut data[..], offset)?;
        data.truncate(len);
        Ok(data)
    }

    fn write(&mut self, file: u64, offset: u64, data: &[u8]) -> Result<u32, Errno> {
        Ok(pwrite(&self.files[&file], data, offset)? as u32)
    }

    fn fstat(&mut self, file: u64) -> Result<Meta, Errno> {
        Ok(meta(&fstat(&self.files[&file])?))
    }

    fn ftruncate(&mut self, file: u64, size: u64) -> Result<(), Errno> {
        ftruncate(&self.files[&file], size)
    }

    fn fsync(&mut self, file: u64, data_only: bool) -> Result<(), Errno> {
        if data_only {
            fdatasync(&self.files[&file])
        } else {
            fsync(&self.files[&file])
        }
    }
}

//! New files, directories, links and nodes, with the owner and mode that the guest asked for.

use std::ffi::CStr;
use std::os::fd::AsFd;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, chmodat, chownat, fchmod, fstat,
    getxattr_query, linkat, makedev, mkdirat, mknodat, openat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use rustix::path::DecInt;

use super::Share;
use super::budget::Permit;
use super::fds::Fd;
use super::file::passed;
use super::handle::{Handle, HandleId};
use super::lookup::{Found, check_name};
use super::node::{Key, NodeId};
use super::owner::FILE_MODE;
use super::resolve::{NAME_ITSELF, proc_path};
use super::spec::Security;

/// What a new file is to be.
#[derive(Debug, Clone, Copy)]
pub struct NewFile {
    /// The user who makes it.
    pub uid: u32,
    /// The user's group.
    pub gid: u32,
    /// Type and permission bits, the user's umask already taken off.
    pub mode: u32,
}

impl NewFile {
    fn permissions(self) -> Mode {
        Mode::from_raw_mode(self.mode & 0o7777)
    }
}

impl Share {
    /// Makes a directory.
    ///
    /// # Errors
    /// The share is read-only, the name is taken or invalid, or the system refused.
    pub fn make_dir(&mut self, parent: NodeId, name: &CStr, new: NewFile) -> Result<Found, Errno> {
        if self.is_mapped() {
            let mode = new.mode & 0o7777 | FileType::Directory.as_raw_mode();
            return self.make_mapped_dir(parent, name, NewFile { mode, ..new });
        }
        let new = NewFile {
            mode: new.mode & 0o1777,
            ..self.on_host(new)?
        };
        let dir = self.dir_to_change(parent, name)?;
        mkdirat(&dir, name, new.permissions())?;
        self.settle_named(parent, &dir, name, new)
    }

    /// Makes a file, pipe, socket or device node (`mknod(2)`). Devices are made only if the system
    /// lets us, and never opened.
    ///
    /// # Errors
    /// As [`Share::make_dir`].
    pub fn make_node(
        &mut self,
        parent: NodeId,
        name: &CStr,
        new: NewFile,
        device: (u32, u32),
    ) -> Result<Found, Errno> {
        let kind = match FileType::from_raw_mode(new.mode) {
            FileType::Unknown => FileType::RegularFile,
            FileType::Directory | FileType::Symlink => return Err(Errno::INVAL),
            kind => kind,
        };
        if self.is_mapped() {
            let mode = new.mode & 0o7777 | kind.as_raw_mode();
            return self.make_mapped(parent, name, NewFile { mode, ..new }, Some(device), b"");
        }
        let new = self.on_host(new)?;
        let dir = self.dir_to_change(parent, name)?;
        let device = makedev(device.0, device.1);
        mknodat(&dir, name, kind, new.permissions(), device)?;
        self.settle_named(parent, &dir, name, new)
    }

    /// Makes a symbolic link to `target`, which is never followed on the host.
    ///
    /// # Errors
    /// As [`Share::make_dir`].
    pub fn make_symlink(
        &mut self,
        parent: NodeId,
        name: &CStr,
        target: &CStr,
        new: NewFile,
    ) -> Result<Found, Errno> {
        if self.is_mapped() {
            let mode = 0o777 | FileType::Symlink.as_raw_mode();
            let new = NewFile { mode, ..new };
            return self.make_mapped(parent, name, new, None, target.to_bytes());
        }
        let new = self.on_host(new)?;
        let dir = self.dir_to_change(parent, name)?;
        symlinkat(target, &dir, name)?;
        self.settle_named(parent, &dir, name, NewFile { mode: 0, ..new })
    }

    /// Gives the file `node` one more name.
    ///
    /// # Errors
    /// As [`Share::make_dir`]; directories have one name only.
    pub fn make_link(&mut self, node: NodeId, parent: NodeId, name: &CStr) -> Result<Found, Errno> {
        let dir = self.dir_to_change(parent, name)?;
        let fd = self.path_fd(node)?;
        match &self.proc_fds {
            Some(proc_fds) => {
                let flags = AtFlags::SYMLINK_FOLLOW;
                linkat(proc_fds, DecInt::from_fd(&fd), &dir, name, flags)?;
            }
            None => linkat(&fd, c"", &dir, name, AtFlags::EMPTY_PATH)?,
        }
        let stat = statat(&dir, name, NAME_ITSELF)?;
        let found = self.found(parent, name, stat)?;
        if found.node == node {
            self.orphans.remove(node);
        }
        Ok(found)
    }

    /// Makes and opens a regular file; one that exists is opened instead, unless `flags` has
    /// `O_EXCL`.
    ///
    /// # Errors
    /// As [`Share::make_dir`] and [`Share::open_handle`].
    pub fn create(
        &mut self,
        parent: NodeId,
        name: &CStr,
        flags: u32,
        new: NewFile,
    ) -> Result<(Found, HandleId), Errno> {
        let dir = self.dir_to_change(parent, name)?;
        let permit = Permit::take(1)?;
        let exclusive = OFlags::from_bits_retain(flags).contains(OFlags::EXCL);
        let flags = passed(flags);
        let host = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = if self.is_mapped() {
            FILE_MODE
        } else {
            new.permissions()
        };
        let owner = self.on_host(new)?;
        let fd = match openat(&dir, name, flags | host, mode) {
            Err(Errno::EXIST) if !exclusive => {
                drop(permit);
                return self.open_existing(parent, name, flags);
            }
            opened => opened?,
        };
        let settled = if self.is_mapped() {
            let mode = new.mode & 0o7777 | FileType::RegularFile.as_raw_mode();
            self.map_new(&fd, NewFile { mode, ..new }, None)
                .and_then(|()| fstat(&fd))
        } else {
            self.settle(&dir, &fd, owner, fstat(&fd)?)
        };
        let stat = match settled {
            Ok(stat) => stat,
            Err(error) => {
                let _ = unlinkat(&dir, name, AtFlags::empty());
                return Err(error);
            }
        };
        let found = self.found(parent, name, stat)?;
        let flags = flags.difference(OFlags::TRUNC);
        let handle = self.add_handle(Handle::new(fd, found.node, flags, permit));
        Ok((found, handle))
    }

    fn open_existing(
        &mut self,
        parent: NodeId,
        name: &CStr,
        flags: OFlags,
    ) -> Result<(Found, HandleId), Errno> {
        let found = self.lookup(parent, name)?;
        match self.open_handle(found.node, flags.bits()) {
            Ok((handle, stat)) => Ok((Found { stat, ..found }, handle)),
            Err(error) => {
                self.forget(found.node, 1);
                Err(error)
            }
        }
    }

    /// Makes and opens a regular file without a name in the file system of `parent`.
    ///
    /// # Errors
    /// As [`Share::make_dir`]; the file system may not know such files.
    pub fn create_unnamed(
        &mut self,
        parent: NodeId,
        flags: u32,
        new: NewFile,
    ) -> Result<(Found, HandleId), Errno> {
        self.writable()?;
        let dir = self.dir_fd(parent)?;
        let permit = Permit::take(1)?;
        let linkable = !OFlags::from_bits_retain(flags).contains(OFlags::EXCL);
        let flags = passed(flags).difference(OFlags::TRUNC);
        let excl = if linkable {
            OFlags::empty()
        } else {
            OFlags::EXCL
        };
        let host = OFlags::TMPFILE | OFlags::CLOEXEC | excl;
        if self.is_mapped() {
            return Err(Errno::OPNOTSUPP);
        }
        let new = self.on_host(new)?;
        let fd = openat(&dir, c".", flags | host, new.permissions())?;
        let stat = self.settle(&dir, &fd, new, fstat(&fd)?)?;
        let node = self.nodes.intern(None, &stat)?;
        let stat = self.shown_fd(&fd, stat);
        let handle = self.add_handle(Handle::new(fd, node, flags, permit));
        Ok((Found { node, stat }, handle))
    }

    /// The directory in which `name` is about to be changed.
    pub(super) fn dir_to_change(&mut self, parent: NodeId, name: &CStr) -> Result<Fd, Errno> {
        check_name(name)?;
        self.writable()?;
        self.check_visible(parent, name)?;
        self.dir_fd(parent)
    }

    /// Gives the file just made as `name` its owner and mode, and counts it as looked up.
    fn settle_named(
        &mut self,
        parent: NodeId,
        dir: &Fd,
        name: &CStr,
        new: NewFile,
    ) -> Result<Found, Errno> {
        let stat = statat(dir, name, NAME_ITSELF)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let settled = if self.is_settled(&stat, new) {
            Ok(stat)
        } else {
            openat(dir, name, flags, Mode::empty()).and_then(|fd| {
                let found = fstat(&fd)?;
                if Key::of(&found) == Key::of(&stat) {
                    self.settle(dir, &fd, new, found)
                } else {
                    Ok(found)
                }
            })
        };
        match settled {
            Ok(stat) => self.found(parent, name, stat),
            Err(error) => {
                let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
                let flags = if is_dir {
                    AtFlags::REMOVEDIR
                } else {
                    AtFlags::empty()
                };
                let _ = unlinkat(dir, name, flags);
                Err(error)
            }
        }
    }

    fn is_settled(&self, stat: &Stat, new: NewFile) -> bool {
        let owned = stat.st_uid == new.uid && stat.st_gid == new.gid;
        let masked = new.mode & 0o777 & !stat.st_mode;
        (owned || !self.owns()) && masked == 0
    }

    /// Whether new files are to get the guest's owner.
    fn owns(&self) -> bool {
        self.privileged || self.security == Security::Passthrough
    }

    /// Gives a new file its owner, if we may, and the permission bits that our own umask took.
    fn settle(&self, dir: &Fd, fd: &impl AsFd, new: NewFile, stat: Stat) -> Result<Stat, Errno> {
        if self.is_settled(&stat, new) {
            return Ok(stat);
        }
        let mut mode = stat.st_mode & 0o7777;
        if self.owns() {
            // A set-group-id directory hands its group down.
            let inherits = fstat(dir)?.st_mode & 0o2000 != 0;
            let group = (!inherits).then(|| Gid::from_raw(new.gid));
            let owner = Some(Uid::from_raw(new.uid));
            match chownat(fd, c"", owner, group, AtFlags::EMPTY_PATH) {
                Ok(()) => {}
                // A root in name only, of a user namespace: the file stays ours.
                Err(Errno::PERM | Errno::INVAL) if self.security != Security::Passthrough => {}
                Err(error) => return Err(error),
            }
            mode |= new.mode & 0o7000;
        }
        let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        let masked = new.mode & 0o777 & !mode;
        if masked != 0 && !self.has_default_acl(dir) {
            mode |= masked;
        }
        if !is_link && (mode != stat.st_mode & 0o7777 || mode & 0o6000 != 0) {
            match self.chmod(fd, mode) {
                // It stays as our umask made it.
                Ok(()) | Err(Errno::OPNOTSUPP) => {}
                Err(error) => return Err(error),
            }
        }
        fstat(fd)
    }

    /// Whether the directory decides by itself what new files allow (`acl(5)`).
    fn has_default_acl(&self, dir: &Fd) -> bool {
        self.proc_fds.is_some()
            && getxattr_query(proc_path(dir), c"system.posix_acl_default").is_ok()
    }

    /// Sets permission bits by a descriptor of any kind; without `/proc`, one that identifies a
    /// file will not do, only a directory or an open file.
    pub(super) fn chmod(&self, fd: &impl AsFd, mode: u32) -> Result<(), Errno> {
        let mode = Mode::from_raw_mode(mode);
        if let Some(proc_fds) = &self.proc_fds {
            return chmodat(proc_fds, DecInt::from_fd(fd), mode, AtFlags::empty());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match fchmod(fd, mode) {
            Err(Errno::BADF) => match openat(fd, c".", flags, Mode::empty()) {
                Ok(dir) => fchmod(dir, mode),
                Err(_) => Err(Errno::OPNOTSUPP),
            },
            done => done,
        }
    }
}

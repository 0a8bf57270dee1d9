//! Owners and modes as the guest sees them, where they are not those of the host's files: ids
//! translated, or everything kept in extended attributes.
//!
//! The attributes are those of QEMU's `mapped-xattr` (`hw/9pfs/9p-local.c`): `user.virtfs.uid`,
//! `.gid` and `.mode` of 32 bits, `.rdev` of 64, little-endian. Files are ours and have no rights
//! for others; links, pipes, sockets and devices are plain files, a link's text being its target.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, XattrFlags, fstat, getxattr, lgetxattr, makedev,
    mkdirat, openat, setxattr, unlinkat,
};
use rustix::io::Errno;

use super::Share;
use super::create::NewFile;
use super::fds::Fd;
use super::lookup::Found;
use super::node::NodeId;
use super::resolve::proc_path;
use super::setattr::Change;
use super::spec::Security;

const UID: &CStr = c"user.virtfs.uid";
const GID: &CStr = c"user.virtfs.gid";
const MODE: &CStr = c"user.virtfs.mode";
const RDEV: &CStr = c"user.virtfs.rdev";

/// How the names of these attributes begin.
const PREFIX: &[u8] = b"user.virtfs.";

/// The host's modes of mapped files and directories.
pub(super) const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
pub(super) const DIR_MODE: Mode = Mode::RWXU;

/// Whose attributes are meant: those of a name, or of what a descriptor's path leads to.
#[derive(Debug, Clone, Copy)]
enum At<'a> {
    Name(&'a [u8]),
    Descriptor(&'a str),
}

impl At<'_> {
    fn get<const N: usize>(self, name: &CStr) -> Option<[u8; N]> {
        let mut value = [0; N];
        let len = match self {
            At::Name(path) => lgetxattr(path, name, &mut value),
            At::Descriptor(path) => getxattr(path, name, &mut value),
        };
        (len == Ok(N)).then_some(value)
    }

    fn get_u32(self, name: &CStr) -> Option<u32> {
        self.get(name).map(u32::from_le_bytes)
    }
}

/// Lays the attributes of a file over `stat`.
fn overlay(at: At<'_>, stat: &mut Stat) {
    let kind = FileType::from_raw_mode(stat.st_mode);
    if !matches!(kind, FileType::RegularFile | FileType::Directory) {
        return;
    }
    if let Some(uid) = at.get_u32(UID) {
        stat.st_uid = uid;
    }
    if let Some(gid) = at.get_u32(GID) {
        stat.st_gid = gid;
    }
    if let Some(mode) = at.get_u32(MODE) {
        // A directory is one whatever the attribute says, and nothing else is.
        let is_dir = FileType::from_raw_mode(mode) == FileType::Directory;
        if is_dir == (kind == FileType::Directory) && mode >> 16 == 0 {
            stat.st_mode = mode;
        }
    }
    if let Some(rdev) = at.get(RDEV) {
        stat.st_rdev = u64::from_le_bytes(rdev);
    }
}

impl Share {
    /// Whether owners and modes are kept in attributes.
    pub(super) fn is_mapped(&self) -> bool {
        self.security == Security::MappedXattr
    }

    /// Whether the guest may not know of the attribute `name`.
    pub(super) fn hides_xattr(&self, name: &[u8]) -> bool {
        self.is_mapped() && name.starts_with(PREFIX)
    }

    /// The attributes `stat` of `name` in `parent`, as the guest sees them.
    pub(super) fn shown_at(&mut self, parent: NodeId, name: &CStr, mut stat: Stat) -> Stat {
        if self.is_mapped()
            && let Ok(dir) = self.dir_fd(parent)
        {
            let path = [proc_path(&dir).as_bytes(), b"/", name.to_bytes()].concat();
            overlay(At::Name(&path), &mut stat);
            return stat;
        }
        self.translated(stat)
    }

    /// The attributes `stat` of what `fd` refers to, as the guest sees them.
    pub(super) fn shown_fd(&self, fd: &impl AsRawFd, mut stat: Stat) -> Stat {
        if self.is_mapped() {
            overlay(At::Descriptor(&proc_path(fd)), &mut stat);
            return stat;
        }
        self.translated(stat)
    }

    pub(super) fn translated(&self, mut stat: Stat) -> Stat {
        stat.st_uid = self.uids.to_guest(stat.st_uid);
        stat.st_gid = self.gids.to_guest(stat.st_gid);
        stat
    }

    /// A new file's owner as the host is to know it.
    ///
    /// # Errors
    /// The guest's user has no counterpart.
    pub(super) fn on_host(&self, new: NewFile) -> Result<NewFile, Errno> {
        Ok(NewFile {
            uid: self.uids.to_host(new.uid).ok_or(Errno::OVERFLOW)?,
            gid: self.gids.to_host(new.gid).ok_or(Errno::OVERFLOW)?,
            ..new
        })
    }

    /// A change of owner as the host is to make it.
    pub(super) fn change_on_host(&self, change: &Change) -> Result<Change, Errno> {
        let mut change = *change;
        if let Some(uid) = change.uid.filter(|uid| *uid != u32::MAX) {
            change.uid = Some(self.uids.to_host(uid).ok_or(Errno::INVAL)?);
        }
        if let Some(gid) = change.gid.filter(|gid| *gid != u32::MAX) {
            change.gid = Some(self.gids.to_host(gid).ok_or(Errno::INVAL)?);
        }
        Ok(change)
    }

    /// Writes the attributes of the new file behind `fd`, which may be open or not.
    pub(super) fn map_new(
        &self,
        fd: &impl AsRawFd,
        new: NewFile,
        device: Option<(u32, u32)>,
    ) -> Result<(), Errno> {
        let path = proc_path(fd);
        let set = |name, value: &[u8]| setxattr(&path, name, value, XattrFlags::empty());
        set(UID, &new.uid.to_le_bytes())?;
        set(GID, &new.gid.to_le_bytes())?;
        set(MODE, &new.mode.to_le_bytes())?;
        match device {
            Some((major, minor)) => set(RDEV, &makedev(major, minor).to_le_bytes()),
            None => Ok(()),
        }
    }

    /// Writes a change of owner or mode to the attributes of the file behind `fd`.
    pub(super) fn map_change(&self, fd: &Fd, change: &Change) -> Result<(), Errno> {
        let path = proc_path(fd);
        let set =
            |name, value: u32| setxattr(&path, name, &value.to_le_bytes(), XattrFlags::empty());
        if let Some(uid) = change.uid.filter(|uid| *uid != u32::MAX) {
            set(UID, uid)?;
        }
        if let Some(gid) = change.gid.filter(|gid| *gid != u32::MAX) {
            set(GID, gid)?;
        }
        if let Some(mode) = change.mode {
            let shown = self.shown_fd(fd, fstat(fd)?);
            set(MODE, shown.st_mode & !0o7777 | mode & 0o7777)?;
        }
        Ok(())
    }

    /// Makes a mapped file that is no directory, holding `content`.
    pub(super) fn make_mapped(
        &mut self,
        parent: NodeId,
        name: &CStr,
        new: NewFile,
        device: Option<(u32, u32)>,
        content: &[u8],
    ) -> Result<Found, Errno> {
        let dir = self.dir_to_change(parent, name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let fd = openat(&dir, name, flags | OFlags::CLOEXEC, FILE_MODE)?;
        let filled = write_all(&fd, content).and_then(|()| self.map_new(&fd, new, device));
        if let Err(errno) = filled {
            let _ = unlinkat(&dir, name, AtFlags::empty());
            return Err(errno);
        }
        self.found(parent, name, fstat(&fd)?)
    }

    /// Makes a mapped directory.
    pub(super) fn make_mapped_dir(
        &mut self,
        parent: NodeId,
        name: &CStr,
        new: NewFile,
    ) -> Result<Found, Errno> {
        let dir = self.dir_to_change(parent, name)?;
        mkdirat(&dir, name, DIR_MODE)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mapped = openat(&dir, name, flags, Mode::empty()).and_then(|fd| {
            self.map_new(&fd, new, None)?;
            fstat(&fd)
        });
        match mapped {
            Ok(stat) => self.found(parent, name, stat),
            Err(errno) => {
                let _ = unlinkat(&dir, name, AtFlags::REMOVEDIR);
                Err(errno)
            }
        }
    }

    /// Whether the mapped file `node` is a link, its text being the target.
    pub(super) fn is_mapped_link(&mut self, node: NodeId) -> Result<bool, Errno> {
        if !self.is_mapped() {
            return Ok(false);
        }
        let mode = self.attributes(node)?.st_mode;
        Ok(FileType::from_raw_mode(mode) == FileType::Symlink)
    }

    /// Reads the target of a mapped link.
    pub(super) fn read_mapped_link(
        &mut self,
        node: NodeId,
        buffer: &mut [u8],
    ) -> Result<usize, Errno> {
        let fd = self.open_file(node, OFlags::RDONLY)?;
        rustix::io::pread(&fd, buffer, 0)
    }
}

fn write_all(fd: &OwnedFd, mut content: &[u8]) -> Result<(), Errno> {
    while !content.is_empty() {
        let n = rustix::io::write(fd, content)?;
        content = content.get(n..).unwrap_or_default();
    }
    Ok(())
}

/// Takes the names that the guest may not know out of a list of attributes; what is left.
pub(super) fn without_hidden(list: &[u8]) -> Vec<u8> {
    let names = list.split_inclusive(|byte| *byte == 0);
    names
        .filter(|name| !name.starts_with(PREFIX))
        .flatten()
        .copied()
        .collect()
}

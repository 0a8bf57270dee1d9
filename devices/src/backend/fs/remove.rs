//! Names taken away or moved: the table follows, and what the guest still uses stays in reach.

use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RenameFlags, Stat, fstat, openat, renameat_with, statat,
    unlinkat,
};
use rustix::io::Errno;

use super::Share;
use super::fds::Fd;
use super::lookup::check_name;
use super::node::NodeId;
use super::resolve::NAME_ITSELF;

impl Share {
    /// Removes the name of a file that is no directory.
    ///
    /// # Errors
    /// The share is read-only, there is no such file, or the system refused.
    pub fn unlink(&mut self, parent: NodeId, name: &CStr) -> Result<(), Errno> {
        self.remove(parent, name, AtFlags::empty())
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// As [`Share::unlink`].
    pub fn remove_dir(&mut self, parent: NodeId, name: &CStr) -> Result<(), Errno> {
        self.remove(parent, name, AtFlags::REMOVEDIR)
    }

    fn remove(&mut self, parent: NodeId, name: &CStr, flags: AtFlags) -> Result<(), Errno> {
        let dir = self.dir_to_change(parent, name)?;
        let stat = statat(&dir, name, NAME_ITSELF)?;
        let known = self.nodes.find(&stat);
        let spare = known.and_then(|id| self.spare(id, parent, &dir, name));
        unlinkat(&dir, name, flags)?;
        self.disown_last(known, &stat);
        self.removed(known, parent, name, spare);
        Ok(())
    }

    /// Renames as `renameat2(2)` does, with its flags.
    ///
    /// # Errors
    /// The share is read-only, a name is missing, taken or invalid, or the system refused.
    pub fn rename(
        &mut self,
        from: (NodeId, &CStr),
        to: (NodeId, &CStr),
        flags: u32,
    ) -> Result<(), Errno> {
        let flags = RenameFlags::from_bits(flags).ok_or(Errno::INVAL)?;
        check_name(to.1)?;
        self.check_visible(to.0, to.1)?;
        let from_dir = self.dir_to_change(from.0, from.1)?;
        let to_dir = self.dir_fd(to.0)?;
        let stat = statat(&from_dir, from.1, NAME_ITSELF)?;
        let replaced = statat(&to_dir, to.1, NAME_ITSELF).ok();
        let moved = self.nodes.find(&stat);
        let other = replaced.and_then(|stat| self.nodes.find(&stat));
        let exchange = flags.contains(RenameFlags::EXCHANGE);
        let spare = match other {
            Some(id) if !exchange => self.spare(id, to.0, &to_dir, to.1),
            _ => None,
        };
        renameat_with(&from_dir, from.1, &to_dir, to.1, flags)?;
        if same_file(&stat, replaced.as_ref()) {
            // Two names of one file: nothing happened, or nothing that shows.
            return Ok(());
        }
        if let Some(id) = moved {
            self.nodes.pin(id);
            self.nodes.drop_place(id, from.0, from.1.to_bytes());
        }
        if let Some(replaced) = replaced.filter(|_| !exchange) {
            self.disown_last(other, &replaced);
        }
        self.removed(other, to.0, to.1, spare);
        if let Some(id) = moved {
            self.nodes.add_place(id, to.0, to.1.to_bytes());
            self.nodes.unpin(id);
        }
        if let Some(id) = other.filter(|_| exchange) {
            self.nodes.add_place(id, from.0, from.1.to_bytes());
        }
        self.close_freed();
        Ok(())
    }

    /// A descriptor for the file `id`, which is about to lose the one name by which we can find
    /// it, so that a guest that goes on using it can.
    fn spare(&mut self, id: NodeId, parent: NodeId, dir: &Fd, name: &CStr) -> Option<OwnedFd> {
        let node = self.nodes.get(id).ok()?;
        let name = name.to_bytes();
        let other_name = node
            .places()
            .any(|place| place.parent != parent || *place.name != *name);
        if node.lookups == 0 || other_name || self.handles.of_node(id).is_some() {
            return None;
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(dir, name, flags, Mode::empty()).ok()?;
        let node = self.nodes.get(id).ok()?;
        fstat(&fd).is_ok_and(|stat| node.is(&stat)).then_some(fd)
    }

    /// Notes that a name of the file `stat` is gone, which may have been its last: until the
    /// guest has forgotten the file, no other is to be taken for it.
    fn disown_last(&mut self, known: Option<NodeId>, stat: &Stat) {
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if let Some(id) = known.filter(|_| is_dir || stat.st_nlink <= 1) {
            self.nodes.disown(id);
        }
    }

    fn removed(
        &mut self,
        known: Option<NodeId>,
        parent: NodeId,
        name: &CStr,
        spare: Option<OwnedFd>,
    ) {
        if let Some(id) = known {
            self.nodes.drop_place(id, parent, name.to_bytes());
            if let Some(fd) = spare {
                self.dirs.remove(id);
                self.orphans.insert(id, Arc::new(fd));
            }
            self.close_freed();
        }
    }
}

fn same_file(one: &Stat, other: Option<&Stat>) -> bool {
    other.is_some_and(|other| one.st_dev == other.st_dev && one.st_ino == other.st_ino)
}

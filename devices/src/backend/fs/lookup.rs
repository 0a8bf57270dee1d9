//! Names to files: look-up, attributes, links, and the guest's count of what it remembers.

use std::ffi::{CStr, CString};

use rustix::fs::{Access, FileType, Stat, StatVfs, fstat, fstatvfs, readlinkat_raw, statat};
use rustix::io::Errno;
use rustix::time::{ClockId, Timespec, clock_gettime};

use super::Share;
use super::node::NodeId;
use super::resolve::NAME_ITSELF;

/// Longer than a tick of the clock by which file systems note changes, in nanoseconds.
const GRAIN: i128 = 20_000_000;

/// The longest name (Linux `NAME_MAX`).
const NAME_MAX: usize = 255;

/// A file that a look-up found, counted as known to the guest once more.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// Its number.
    pub node: NodeId,
    /// Its attributes.
    pub stat: Stat,
}

/// Checks that a name of the guest's is one directory entry, and no way up or down.
pub(super) fn check_name(name: &CStr) -> Result<(), Errno> {
    let bytes = name.to_bytes();
    match bytes {
        [] => Err(Errno::NOENT),
        b"." | b".." => Err(Errno::INVAL),
        _ if bytes.len() > NAME_MAX => Err(Errno::NAMETOOLONG),
        _ if bytes.contains(&b'/') => Err(Errno::INVAL),
        _ => Ok(()),
    }
}

impl Share {
    /// Finds `name` in the directory `parent`. A match is one more look-up that the guest has to
    /// [forget](Share::forget).
    ///
    /// # Errors
    /// There is no such name, it is not a plain name, or the directory cannot be searched.
    pub fn lookup(&mut self, parent: NodeId, name: &CStr) -> Result<Found, Errno> {
        check_name(name)?;
        if !self.is_visible(parent, name.to_bytes()) {
            return Err(Errno::NOENT);
        }
        let dir = self.dir_fd(parent)?;
        let stat = statat(&dir, name, NAME_ITSELF)?;
        self.found(parent, name, stat)
    }

    /// Counts the file `stat`, just seen as `name` in `parent`.
    pub(super) fn found(
        &mut self,
        parent: NodeId,
        name: &CStr,
        stat: Stat,
    ) -> Result<Found, Errno> {
        self.note_device(stat.st_dev);
        let node = self.nodes.intern(Some((parent, name.to_bytes())), &stat)?;
        self.close_freed();
        let stat = self.shown_at(parent, name, stat);
        Ok(Found { node, stat })
    }

    /// Takes back `count` look-ups of `node`; ids that nobody knows are ignored.
    pub fn forget(&mut self, node: NodeId, count: u64) {
        self.nodes.forget(node, count);
        self.close_freed();
    }

    /// How many files the guest knows, the root included.
    #[must_use]
    pub fn known(&self) -> usize {
        self.nodes.len()
    }

    /// The attributes of `node`.
    ///
    /// # Errors
    /// The file is gone (`ESTALE`) or out of reach.
    pub fn attributes(&mut self, node: NodeId) -> Result<Stat, Errno> {
        if self.is_mapped() {
            let fd = self.path_fd(node)?;
            let stat = fstat(&fd)?;
            return Ok(self.shown_fd(&fd, stat));
        }
        let stat = self.stat_node(node)?;
        Ok(self.translated(stat))
    }

    /// Notes that the guest is told these attributes now; whether they are those that it was told
    /// last, so that what it cached of the file's data still holds.
    pub fn tell(&mut self, node: NodeId, stat: &Stat) -> bool {
        let digest = digest(stat);
        // What changed this moment may change again without a later time to show for it.
        let settled = is_settled(stat, clock_gettime(ClockId::Realtime));
        self.nodes.get_mut(node).is_ok_and(|node| {
            let same = node.told == digest;
            node.told = if settled { digest } else { 0 };
            same
        })
    }

    /// Reads the target of the symbolic link `node` into `buffer`; the number of bytes.
    ///
    /// # Errors
    /// The file is no symbolic link, or gone.
    pub fn read_link(&mut self, node: NodeId, buffer: &mut [u8]) -> Result<usize, Errno> {
        if self.is_mapped_link(node)? {
            return self.read_mapped_link(node, buffer);
        }
        if self.nodes.get(node)?.kind != FileType::Symlink {
            return Err(Errno::INVAL);
        }
        let fd = self.path_fd(node)?;
        readlinkat_raw(&fd, c"", &mut *buffer)
    }

    /// Whether a user of the guest may access `node` as its permission bits say.
    ///
    /// # Errors
    /// `EACCES`, or `EROFS` for writing to a read-only share.
    pub fn access(&mut self, node: NodeId, mask: Access, uid: u32, gid: u32) -> Result<(), Errno> {
        let stat = self.attributes(node)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let on_disk = matches!(
            kind,
            FileType::RegularFile | FileType::Directory | FileType::Symlink
        );
        if mask.contains(Access::WRITE_OK) && self.read_only && on_disk {
            return Err(Errno::ROFS);
        }
        let shift = match (stat.st_uid == uid, stat.st_gid == gid) {
            (true, _) => 6,
            (false, true) => 3,
            (false, false) => 0,
        };
        let granted = if uid == 0 {
            let executable = kind == FileType::Directory || stat.st_mode & 0o111 != 0;
            0o6 | u32::from(executable)
        } else {
            stat.st_mode >> shift & 0o7
        };
        if mask.bits() & 0o7 & !granted != 0 {
            return Err(Errno::ACCESS);
        }
        Ok(())
    }

    /// The numbers of the file system on which `node` lies.
    ///
    /// # Errors
    /// The file is gone.
    pub fn statfs(&mut self, node: NodeId) -> Result<StatVfs, Errno> {
        let fd = self.path_fd(node)?;
        fstatvfs(&fd)
    }

    /// The inode number to show for `ino` of device `dev`, one that no other file of the share has.
    ///
    /// Numbers of the root's device stay as they are. Those of file systems mounted beneath get the
    /// place of their device above bit 56. What does not fit is mixed to a number above bit 63.
    #[must_use]
    pub fn shown_ino(&self, dev: u64, ino: u64) -> u64 {
        let place = self.devices.iter().position(|known| *known == dev);
        match place {
            Some(place) if place < MAX_DEVICES && ino >> 56 == 0 => (place as u64) << 56 | ino,
            Some(0) if ino >> 63 == 0 && ino >> 56 >= MAX_DEVICES as u64 => ino,
            _ => mixed(dev, ino) | 1 << 63,
        }
    }

    /// Gives the device `dev` its place.
    fn note_device(&mut self, dev: u64) {
        if !self.devices.contains(&dev) && self.devices.len() < MAX_DEVICES {
            self.devices.push(dev);
        }
    }

    /// Counts one more look-up of `node`.
    ///
    /// # Errors
    /// There is no such node.
    pub fn remember(&mut self, node: NodeId) -> Result<(), Errno> {
        let node = self.nodes.get_mut(node)?;
        node.lookups = node.lookups.saturating_add(1);
        Ok(())
    }

    /// The directory that holds the directory `node`, the root's being the root itself: counted as
    /// looked up.
    ///
    /// # Errors
    /// `node` is no directory, or gone.
    pub fn parent(&mut self, node: NodeId) -> Result<Found, Errno> {
        self.dir_fd(node)?;
        let place = self.nodes.get(node)?.place.as_ref();
        let parent = match place {
            Some(place) => place.parent,
            None if node == NodeId::ROOT => node,
            None => return Err(Errno::NOENT),
        };
        let stat = self.attributes(parent)?;
        self.remember(parent)?;
        Ok(Found { node: parent, stat })
    }

    /// The directory entry by which `node` was seen last.
    ///
    /// # Errors
    /// It has none, or is gone.
    pub fn entry_of(&mut self, node: NodeId) -> Result<(NodeId, CString), Errno> {
        self.stat_node(node)?;
        let place = self.nodes.get(node)?.place.as_ref().ok_or(Errno::NOENT)?;
        let name = CString::new(&*place.name).map_err(|_| Errno::INVAL)?;
        Ok((place.parent, name))
    }

    /// Whether `node` is a directory.
    ///
    /// # Errors
    /// There is no such node.
    pub fn is_dir(&self, node: NodeId) -> Result<bool, Errno> {
        Ok(self.nodes.get(node)?.kind == FileType::Directory)
    }
}

/// The most devices whose inode numbers are told apart by their place.
const MAX_DEVICES: usize = 64;

/// A number that differs for different files with all likelihood (SplitMix64's mixing).
fn mixed(dev: u64, ino: u64) -> u64 {
    let mut sum = ino ^ dev.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for factor in [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb] {
        sum = (sum ^ sum >> 29).wrapping_mul(factor);
    }
    sum ^ sum >> 32
}

/// Whether the last change lies back by more than the grain of the file system's clock. The time of
/// the last change of any kind tells: that of the data can be set.
fn is_settled(stat: &Stat, now: Timespec) -> bool {
    let nanoseconds =
        |seconds: i64, part: i64| i128::from(seconds) * 1_000_000_000 + i128::from(part);
    let changed = nanoseconds(stat.st_ctime, stat.st_ctime_nsec.cast_signed());
    let age = nanoseconds(now.tv_sec, now.tv_nsec) - changed;
    !(0..GRAIN).contains(&age)
}

/// A number that changes with a file's data: of the times of its last change and its size.
fn digest(stat: &Stat) -> u64 {
    let mut sum: u64 = 0xcbf2_9ce4_8422_2325;
    let parts = [
        stat.st_mtime as u64,
        stat.st_mtime_nsec,
        stat.st_ctime as u64,
        stat.st_ctime_nsec,
        stat.st_size as u64,
    ];
    for part in parts {
        sum = (sum ^ part)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29);
    }
    sum | 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_within_the_clocks_grain_is_not_settled() {
        let file = tempfile::tempfile().unwrap();
        // The data's own time can be set back, and says nothing then.
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        let stat = fstat(&file).unwrap();
        let after = |nanoseconds: i64| {
            let sum = stat.st_ctime_nsec.cast_signed() + nanoseconds;
            Timespec {
                tv_sec: stat.st_ctime + sum.div_euclid(1_000_000_000),
                tv_nsec: sum.rem_euclid(1_000_000_000),
            }
        };
        for (nanoseconds, settled) in [
            (0, false),
            (19_999_999, false),
            (20_000_000, true),
            (1_000_000_000_000, true),
            // The clock was set back: it will not come by for long.
            (-1, true),
        ] {
            assert_eq!(
                is_settled(&stat, after(nanoseconds)),
                settled,
                "{nanoseconds}"
            );
        }
    }
}

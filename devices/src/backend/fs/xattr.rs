//! Extended attributes, as the host's file system keeps them.
//!
//! There is no form of these calls that takes an `O_PATH` descriptor, so they go by
//! `/proc/self/fd`; without it, files and directories are opened for the purpose.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use rustix::fs::{
    FileType, OFlags, XattrFlags, fgetxattr, fgetxattr_query, flistxattr, flistxattr_query,
    fremovexattr, fsetxattr, getxattr, getxattr_query, listxattr, listxattr_query, removexattr,
    setxattr,
};
use rustix::io::Errno;

use super::Share;
use super::fds::Fd;
use super::node::NodeId;
use super::owner::without_hidden;
use super::resolve::proc_path;

/// The longest list of names (Linux `XATTR_LIST_MAX`).
const LIST_MAX: usize = 64 << 10;

/// How a file's attributes are reached. The descriptor is kept open for as long.
enum Reach {
    Path(String, Fd),
    Descriptor(OwnedFd),
}

impl Share {
    fn reach(&mut self, node: NodeId) -> Result<Reach, Errno> {
        if self.proc_fds.is_some() {
            let fd = self.path_fd(node)?;
            return Ok(Reach::Path(proc_path(&fd), fd));
        }
        let fd = match self.nodes.get(node)?.kind {
            FileType::RegularFile => self.open_file(node, OFlags::RDONLY)?,
            FileType::Directory => self.open_dir(node)?,
            _ => return Err(Errno::OPNOTSUPP),
        };
        Ok(Reach::Descriptor(fd))
    }

    /// Reads the attribute `name` into `buffer`; its length. An empty buffer asks for that alone.
    ///
    /// # Errors
    /// `ENODATA` if there is none, `ERANGE` if the buffer is too small.
    pub fn get_xattr(
        &mut self,
        node: NodeId,
        name: &CStr,
        buffer: &mut [u8],
    ) -> Result<usize, Errno> {
        if self.hides_xattr(name.to_bytes()) {
            return Err(Errno::NODATA);
        }
        match (self.reach(node)?, buffer.is_empty()) {
            (Reach::Path(path, _fd), true) => getxattr_query(path, name),
            (Reach::Path(path, _fd), false) => getxattr(path, name, &mut *buffer),
            (Reach::Descriptor(fd), true) => fgetxattr_query(fd, name),
            (Reach::Descriptor(fd), false) => fgetxattr(fd, name, &mut *buffer),
        }
    }

    /// Reads the names of all attributes, each ended by a NUL, into `buffer`; their length. An
    /// empty buffer asks for that alone.
    ///
    /// # Errors
    /// `ERANGE` if the buffer is too small.
    pub fn list_xattrs(&mut self, node: NodeId, buffer: &mut [u8]) -> Result<usize, Errno> {
        if self.is_mapped() {
            return self.list_mapped(node, buffer);
        }
        self.list_all(node, buffer)
    }

    /// The list without the attributes that are for us.
    fn list_mapped(&mut self, node: NodeId, buffer: &mut [u8]) -> Result<usize, Errno> {
        let mut all = vec![0; LIST_MAX];
        let len = self.list_all(node, &mut all)?;
        all.truncate(len);
        let shown = without_hidden(&all);
        if buffer.is_empty() {
            return Ok(shown.len());
        }
        let room = buffer.get_mut(..shown.len()).ok_or(Errno::RANGE)?;
        room.copy_from_slice(&shown);
        Ok(shown.len())
    }

    fn list_all(&mut self, node: NodeId, buffer: &mut [u8]) -> Result<usize, Errno> {
        match (self.reach(node)?, buffer.is_empty()) {
            (Reach::Path(path, _fd), true) => listxattr_query(path),
            (Reach::Path(path, _fd), false) => listxattr(path, &mut *buffer),
            (Reach::Descriptor(fd), true) => flistxattr_query(fd),
            (Reach::Descriptor(fd), false) => flistxattr(fd, &mut *buffer),
        }
    }

    /// Sets an attribute, with the flags of `setxattr(2)`.
    ///
    /// # Errors
    /// The share is read-only, or the file system refused.
    pub fn set_xattr(
        &mut self,
        node: NodeId,
        name: &CStr,
        value: &[u8],
        flags: u32,
    ) -> Result<(), Errno> {
        self.writable()?;
        if self.hides_xattr(name.to_bytes()) {
            return Err(Errno::ACCESS);
        }
        let flags = XattrFlags::from_bits(flags).ok_or(Errno::INVAL)?;
        match self.reach(node)? {
            Reach::Path(path, _fd) => setxattr(path, name, value, flags),
            Reach::Descriptor(fd) => fsetxattr(fd, name, value, flags),
        }
    }

    /// Removes an attribute.
    ///
    /// # Errors
    /// The share is read-only, or there is no such attribute.
    pub fn remove_xattr(&mut self, node: NodeId, name: &CStr) -> Result<(), Errno> {
        self.writable()?;
        if self.hides_xattr(name.to_bytes()) {
            return Err(Errno::ACCESS);
        }
        match self.reach(node)? {
            Reach::Path(path, _fd) => removexattr(path, name),
            Reach::Descriptor(fd) => fremovexattr(fd, name),
        }
    }
}

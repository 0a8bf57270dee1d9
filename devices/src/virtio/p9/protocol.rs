//! 9P2000.L on the wire: the messages' numbers, and their parts (Linux `include/net/9p/9p.h`).

use std::ffi::{CStr, CString};

use rustix::fs::FileType;
use rustix::io::Errno;

/// The one version spoken here.
pub(super) const VERSION: &[u8] = b"9P2000.L";
/// What a server says to any other.
pub(super) const UNKNOWN: &[u8] = b"unknown";

/// The longest message.
pub(super) const MSIZE_MAX: u32 = 1 << 20;
/// The shortest that a session may be limited to.
pub(super) const MSIZE_MIN: u32 = 4096;

/// Size, type and tag.
pub(super) const HEADER: usize = 7;
/// The fixed part of a write, and of the answer to a read, rounded up (`P9_IOHDRSZ`).
pub(super) const IO_HEADER: u32 = 24;
/// The fixed part of a write after the header.
pub(super) const WRITE_FIXED: usize = 16;

/// No fid (`P9_NOFID`).
pub(super) const NOFID: u32 = u32::MAX;
/// The most names in one walk (`P9_MAXWELEM`).
pub(super) const WALK_MAX: usize = 16;

/// The longest name of a directory entry (Linux `NAME_MAX`).
const NAME_MAX: usize = 255;

/// Types of requests; an answer's is one more.
pub(super) mod kind {
    pub(crate) const RLERROR: u8 = 7;
    pub(crate) const STATFS: u8 = 8;
    pub(crate) const LOPEN: u8 = 12;
    pub(crate) const LCREATE: u8 = 14;
    pub(crate) const SYMLINK: u8 = 16;
    pub(crate) const MKNOD: u8 = 18;
    pub(crate) const RENAME: u8 = 20;
    pub(crate) const READLINK: u8 = 22;
    pub(crate) const GETATTR: u8 = 24;
    pub(crate) const SETATTR: u8 = 26;
    pub(crate) const XATTRWALK: u8 = 30;
    pub(crate) const XATTRCREATE: u8 = 32;
    pub(crate) const READDIR: u8 = 40;
    pub(crate) const FSYNC: u8 = 50;
    pub(crate) const LOCK: u8 = 52;
    pub(crate) const GETLOCK: u8 = 54;
    pub(crate) const LINK: u8 = 70;
    pub(crate) const MKDIR: u8 = 72;
    pub(crate) const RENAMEAT: u8 = 74;
    pub(crate) const UNLINKAT: u8 = 76;
    pub(crate) const VERSION: u8 = 100;
    pub(crate) const AUTH: u8 = 102;
    pub(crate) const ATTACH: u8 = 104;
    pub(crate) const FLUSH: u8 = 108;
    pub(crate) const WALK: u8 = 110;
    pub(crate) const READ: u8 = 116;
    pub(crate) const WRITE: u8 = 118;
    pub(crate) const CLUNK: u8 = 120;
    pub(crate) const REMOVE: u8 = 122;
}

bitflags::bitflags! {
    /// Which fields of a SETATTR count (`P9_ATTR_*`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) struct SetattrValid: u32 {
        const MODE = 1 << 0;
        const UID = 1 << 1;
        const GID = 1 << 2;
        const SIZE = 1 << 3;
        const ATIME = 1 << 4;
        const MTIME = 1 << 5;
        const CTIME = 1 << 6;
        const ATIME_SET = 1 << 7;
        const MTIME_SET = 1 << 8;
    }
}

/// The attributes that GETATTR gives (`P9_STATS_BASIC`).
pub(super) const STATS_BASIC: u64 = 0x7ff;

/// `P9_LOCK_FLAGS_BLOCK`: the guest wants to wait.
pub(super) const LOCK_BLOCK: u32 = 1;

/// The types of a lock (`P9_LOCK_TYPE_*`).
pub(super) mod lock_type {
    pub(crate) const READ: u8 = 0;
    pub(crate) const WRITE: u8 = 1;
    pub(crate) const UNLOCK: u8 = 2;
}

/// What became of a lock (`P9_LOCK_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum LockStatus {
    Success = 0,
    Blocked = 1,
}

/// What tells a file from all others, and one of its states from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Qid {
    pub(super) kind: u8,
    pub(super) version: u32,
    pub(super) path: u64,
}

impl Qid {
    /// The type of a qid (`P9_QTDIR`, `P9_QTSYMLINK`, `P9_QTFILE`).
    pub(super) fn kind_of(kind: FileType) -> u8 {
        match kind {
            FileType::Directory => 0x80,
            FileType::Symlink => 0x02,
            _ => 0,
        }
    }
}

/// What is left to read of a message.
#[derive(Debug)]
pub(super) struct Body<'a>(pub(super) &'a [u8]);

impl<'a> Body<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Errno> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Errno> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Errno> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Errno> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Errno> {
        self.array().map(u64::from_le_bytes)
    }

    /// A string: its length, then its bytes.
    pub(super) fn text(&mut self) -> Result<&'a [u8], Errno> {
        let len = usize::from(self.u16()?);
        let (text, rest) = self.0.split_at_checked(len).ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(text)
    }

    /// A string that is one name.
    pub(super) fn name(&mut self) -> Result<CString, Errno> {
        let text = self.text()?;
        if text.len() > NAME_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        c_string(text)
    }
}

/// `text` with a NUL behind it.
pub(super) fn c_string(text: &[u8]) -> Result<CString, Errno> {
    CString::new(text).map_err(|_| Errno::INVAL)
}

/// An answer as it grows.
#[derive(Debug, Default)]
pub(super) struct Reply(pub(super) Vec<u8>);

impl Reply {
    pub(super) fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    pub(super) fn u16(&mut self, value: u16) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn text(&mut self, text: &[u8]) -> &mut Self {
        self.u16(u16::try_from(text.len()).unwrap_or(u16::MAX));
        self.0.extend(text.iter().take(usize::from(u16::MAX)));
        self
    }

    pub(super) fn qid(&mut self, qid: Qid) -> &mut Self {
        self.u8(qid.kind).u32(qid.version).u64(qid.path)
    }
}

/// The name without its NUL.
pub(super) fn bytes(name: &CStr) -> &[u8] {
    name.to_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back() {
        let mut reply = Reply::default();
        reply.u8(1).u16(2).u32(3).u64(4).text(b"name");
        let mut body = Body(&reply.0);
        assert_eq!((body.u8(), body.u16(), body.u32()), (Ok(1), Ok(2), Ok(3)));
        assert_eq!((body.u64(), body.name()), (Ok(4), Ok(c"name".to_owned())));
        assert_eq!(body.u8(), Err(Errno::INVAL));
    }

    #[test]
    fn a_string_longer_than_its_message_is_invalid() {
        assert_eq!(Body(&[5, 0, b'x']).text(), Err(Errno::INVAL));
        assert_eq!(Body(&[1, 0, 0]).name(), Err(Errno::INVAL));
        let long = [&[0, 1][..], &[b'x'; 256]].concat();
        assert_eq!(Body(&long).name(), Err(Errno::NAMETOOLONG));
    }
}

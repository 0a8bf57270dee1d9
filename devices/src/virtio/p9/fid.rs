//! The guest's names for files: fids.

use std::collections::HashMap;
use std::ffi::CString;

use rustix::io::Errno;

use crate::backend::fs::{HandleId, NodeId};

/// The most fids of a session: Linux has one for each name that it remembers.
const LIMIT: usize = 1 << 20;

/// What a fid has open.
#[derive(Debug, Clone)]
pub(super) enum Open {
    /// Nothing: it only names a file.
    No,
    /// A regular file.
    File(OpenFile),
    /// A directory.
    Dir(HandleId),
    /// The value of an extended attribute, or the names of all.
    XattrRead(Box<[u8]>),
    /// An extended attribute on its way in.
    XattrWrite(Box<XattrWrite>),
}

/// An open regular file.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenFile {
    pub(super) handle: HandleId,
    /// Whether each write goes to the file's end.
    pub(super) append: bool,
    /// Whether a write takes set-user-id and set-group-id bits away.
    pub(super) drop_setid: bool,
}

/// An extended attribute that is set once the fid is clunked.
#[derive(Debug, Clone)]
pub(super) struct XattrWrite {
    pub(super) name: CString,
    pub(super) size: usize,
    pub(super) flags: u32,
    pub(super) value: Vec<u8>,
}

/// A fid: one look-up of a file, by a user.
#[derive(Debug, Clone)]
pub(super) struct Fid {
    pub(super) node: NodeId,
    pub(super) uid: u32,
    pub(super) open: Open,
}

impl Fid {
    /// The handle of what is open.
    pub(super) fn handle(&self) -> Option<HandleId> {
        match &self.open {
            Open::File(file) => Some(file.handle),
            Open::Dir(handle) => Some(*handle),
            Open::No | Open::XattrRead(_) | Open::XattrWrite(_) => None,
        }
    }

    /// The open regular file.
    pub(super) fn file(&self) -> Result<OpenFile, Errno> {
        match &self.open {
            Open::File(file) => Ok(*file),
            _ => Err(Errno::BADF),
        }
    }

    /// Refuses a fid that is open already.
    pub(super) fn not_open(&self) -> Result<(), Errno> {
        match &self.open {
            Open::No => Ok(()),
            _ => Err(Errno::BADF),
        }
    }

    /// The bytes of extended attributes that the fid holds.
    pub(super) fn weight(&self) -> usize {
        match &self.open {
            Open::XattrRead(value) => value.len(),
            Open::XattrWrite(write) => write.size,
            _ => 0,
        }
    }
}

/// The table of fids.
#[derive(Debug, Default)]
pub(super) struct Fids {
    by_number: HashMap<u32, Fid>,
}

impl Fids {
    pub(super) fn get(&self, number: u32) -> Result<&Fid, Errno> {
        self.by_number.get(&number).ok_or(Errno::BADF)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Result<&mut Fid, Errno> {
        self.by_number.get_mut(&number).ok_or(Errno::BADF)
    }

    /// Refuses a number that is in use, or any if there are too many.
    pub(super) fn check_new(&self, number: u32) -> Result<(), Errno> {
        if number == super::protocol::NOFID || self.by_number.contains_key(&number) {
            return Err(Errno::BADF);
        }
        if self.by_number.len() >= LIMIT {
            return Err(Errno::NFILE);
        }
        Ok(())
    }

    /// Puts a fid under a number; the one that had it before.
    pub(super) fn insert(&mut self, number: u32, fid: Fid) -> Option<Fid> {
        self.by_number.insert(number, fid)
    }

    pub(super) fn remove(&mut self, number: u32) -> Result<Fid, Errno> {
        self.by_number.remove(&number).ok_or(Errno::BADF)
    }

    pub(super) fn clear(&mut self) {
        self.by_number = HashMap::new();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Fid)> {
        self.by_number.iter().map(|(number, fid)| (*number, fid))
    }
}

//! Open directories and the reading of their entries.

use std::ffi::CStr;
use std::sync::Arc;

use rustix::fs::{FileType, OFlags, RawDir, SeekFrom, seek, statat};
use rustix::io::Errno;

use super::Share;
use super::budget::Permit;
use super::fds::Fd;
use super::handle::{Handle, HandleId};
use super::lookup::Found;
use super::node::NodeId;
use super::resolve::NAME_ITSELF;

/// How much of a directory is read at once.
const CHUNK: usize = 16 << 10;

/// How many directories may have entries read ahead and not yet handed out.
const LISTINGS: usize = 4;

/// One entry of a directory.
#[derive(Debug, Clone, Copy)]
pub struct DirEntry<'a> {
    /// The name.
    pub name: &'a CStr,
    /// The inode number to show.
    pub ino: u64,
    /// The type, `Unknown` where the file system does not say.
    pub kind: FileType,
    /// Where the next entry is: the offset to go on from.
    pub next: u64,
}

#[derive(Debug)]
struct Raw {
    ino: u64,
    next: u64,
    kind: FileType,
    name: usize,
}

/// Whose entries a listing holds: those of an open handle, or of a directory that the guest reads
/// without opening it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Handle(HandleId),
    Node(NodeId),
}

/// A position in a directory, with the entries read ahead from there.
#[derive(Debug)]
pub struct Listing {
    owner: Owner,
    node: NodeId,
    dev: u64,
    fd: Fd,
    entries: Vec<Raw>,
    names: Vec<u8>,
    at: usize,
    /// The offset of the entry at `at`.
    offset: u64,
    end: bool,
}

impl Listing {
    pub(super) fn is_of(&self, handle: HandleId) -> bool {
        self.owner == Owner::Handle(handle)
    }

    /// The entry at the current position; `None` at the end of the directory.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn peek(&mut self, share: &Share) -> Result<Option<DirEntry<'_>>, Errno> {
        while self.at >= self.entries.len() && !self.end {
            self.fill(share)?;
        }
        let Some(raw) = self.entries.get(self.at) else {
            return Ok(None);
        };
        let bytes = self.names.get(raw.name..).unwrap_or_default();
        let name = CStr::from_bytes_until_nul(bytes).map_err(|_| Errno::IO)?;
        // What lies above the share is nobody's business.
        let up = self.node == NodeId::ROOT && name == c"..";
        let ino = if up { share.root_stat.st_ino } else { raw.ino };
        Ok(Some(DirEntry {
            name,
            ino: share.shown_ino(self.dev, ino),
            kind: match raw.kind {
                // What it is to the guest is in its attributes.
                FileType::RegularFile if share.is_mapped() => FileType::Unknown,
                kind => kind,
            },
            next: raw.next,
        }))
    }

    /// Moves past the current entry.
    pub fn advance(&mut self) {
        if let Some(raw) = self.entries.get(self.at) {
            self.offset = raw.next;
            self.at += 1;
        }
    }

    /// Counts the current entry's file as looked up, for readers that want attributes with the
    /// names. `None` if the file is gone meanwhile, or the entry is `.` or `..`.
    ///
    /// # Errors
    /// The table of files is full.
    pub fn lookup(&self, share: &mut Share) -> Result<Option<Found>, Errno> {
        let bytes = self
            .entries
            .get(self.at)
            .and_then(|raw| self.names.get(raw.name..));
        let name = bytes.and_then(|bytes| CStr::from_bytes_until_nul(bytes).ok());
        let Some(name) = name.filter(|name| *name != c"." && *name != c"..") else {
            return Ok(None);
        };
        match statat(&self.fd, name, NAME_ITSELF) {
            Ok(stat) => share.found(self.node, name, stat).map(Some),
            Err(_) => Ok(None),
        }
    }

    fn fill(&mut self, share: &Share) -> Result<(), Errno> {
        self.entries.clear();
        self.names.clear();
        self.at = 0;
        let mut buffer = Vec::with_capacity(CHUNK);
        let mut raw = RawDir::new(&self.fd, buffer.spare_capacity_mut());
        loop {
            let Some(entry) = raw.next() else {
                self.end = true;
                break;
            };
            let entry = entry?;
            if !share.is_visible(self.node, entry.file_name().to_bytes()) {
                if raw.is_buffer_empty() {
                    break;
                }
                continue;
            }
            self.entries.push(Raw {
                ino: entry.ino(),
                next: entry.next_entry_cookie(),
                kind: entry.file_type(),
                name: self.names.len(),
            });
            self.names
                .extend_from_slice(entry.file_name().to_bytes_with_nul());
            if raw.is_buffer_empty() {
                break;
            }
        }
        for index in 0..self.entries.len() {
            self.find_kind(index);
        }
        Ok(())
    }

    /// Asks for the type of an entry whose directory does not store it.
    fn find_kind(&mut self, index: usize) {
        let Some(raw) = self.entries.get_mut(index) else {
            return;
        };
        if raw.kind == FileType::Unknown
            && let Some(bytes) = self.names.get(raw.name..)
            && let Ok(name) = CStr::from_bytes_until_nul(bytes)
            && let Ok(stat) = statat(&self.fd, name, NAME_ITSELF)
        {
            raw.kind = FileType::from_raw_mode(stat.st_mode);
        }
    }
}

impl Share {
    /// Opens the directory `node`.
    ///
    /// # Errors
    /// It is no directory, gone, or may not be read.
    pub fn open_dir_handle(&mut self, node: NodeId) -> Result<HandleId, Errno> {
        let permit = Permit::take(1)?;
        let fd = self.open_dir(node)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        Ok(self.add_handle(Handle::new(fd, node, flags, permit)))
    }

    /// The entries of the directory `node` from `offset` on; to be [given back](Share::put_back)
    /// after use. Without a handle the directory is read by a cached descriptor.
    ///
    /// # Errors
    /// The handle is no directory's or none of `node`'s, or the directory is gone.
    pub fn listing(
        &mut self,
        node: NodeId,
        handle: Option<HandleId>,
        offset: u64,
    ) -> Result<Listing, Errno> {
        let (owner, fd) = match handle {
            Some(id) => {
                if !self.handles.get(id)?.is_dir {
                    return Err(Errno::NOTDIR);
                }
                (Owner::Handle(id), self.handle_fd(node, id)?)
            }
            None => (Owner::Node(node), self.dir_reader(node)?),
        };
        let known = self.listings.iter().position(|known| known.owner == owner);
        let known = known.map(|at| self.listings.swap_remove(at));
        if let Some(known) = known
            && known.offset == offset
            && offset != 0
            && Arc::ptr_eq(&known.fd, &fd)
        {
            return Ok(known);
        }
        seek(&fd, SeekFrom::Start(offset))?;
        Ok(Listing {
            owner,
            node,
            dev: self.nodes.get(node)?.key.dev,
            fd,
            entries: Vec::new(),
            names: Vec::new(),
            at: 0,
            offset,
            end: false,
        })
    }

    /// Keeps what `listing` has read ahead for the next call.
    pub fn put_back(&mut self, listing: Listing) {
        if listing.at < listing.entries.len() {
            if self.listings.len() >= LISTINGS {
                self.listings.remove(0);
            }
            self.listings.push(listing);
        }
    }

    fn dir_reader(&mut self, node: NodeId) -> Result<Fd, Errno> {
        if let Some(fd) = self.readers.get(node) {
            return Ok(fd);
        }
        let fd = Arc::new(self.open_dir(node)?);
        self.readers.insert(node, Arc::clone(&fd));
        Ok(fd)
    }
}

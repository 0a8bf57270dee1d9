//! A shared directory: passthrough to the host's files, confined to one tree, for virtio-fs and 9p.
//!
//! * **Confined.** Names are single components and are looked up in directories that are known to
//!   lie in the share; a path is resolved with `openat2(2)` beneath the root, through no symbolic
//!   link. Symbolic links are the guest's to follow: the host never does.
//! * **Bounded.** A file that the guest knows costs an entry in [a table](NodeId), not a
//!   descriptor; descriptors of directories are cached, the least recently used closed first.
//! * **Unprivileged.** Run as root, new files get the guest's owner; otherwise they are ours. No
//!   credentials are switched, nothing of the process (working directory, umask) is changed.
//! * **`/proc/self/fd`** serves to open again what is already identified by a descriptor. Where it
//!   is missing, files are opened by name and verified afterwards; what has no name is out of
//!   reach then.
//!
//! A share is owned by one thread; errors are what the system said, for the guest to see.

mod budget;
mod create;
mod dir;
mod fds;
mod file;
mod handle;
mod ids;
mod lock;
mod lookup;
mod node;
mod only;
mod owner;
mod place;
mod remove;
mod resolve;
mod setattr;
mod spec;
mod state;
mod xattr;

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, PROC_SUPER_MAGIC, Stat, fstat, fstatfs, openat};
use rustix::io::Errno;
use rustix::process::geteuid;

use budget::{CacheSizes, Permit};
pub use create::NewFile;
pub use dir::{DirEntry, Listing};
use fds::{Fd, FdCache};
pub use file::Sought;
pub use handle::HandleId;
use handle::Handles;
use ids::IdMap;
pub use ids::IdRange;
pub use lock::LockOwner;
use lock::Locks;
pub use lookup::Found;
pub use node::NodeId;
use node::Nodes;
use only::Only;
pub use setattr::{Change, Time};
pub use spec::{Cache, FsSpec, Protocol, Security};
pub use state::{ShareState, StateError};

/// Why a directory cannot be shared.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// It is missing, or we may not enter it.
    #[error("cannot open shared directory {path}")]
    Open {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is a file.
    #[error("{path} is not a directory")]
    NotADirectory {
        /// The file.
        path: PathBuf,
    },
    /// Too few descriptors are left to the process (`ulimit -n`).
    #[error("too few file descriptors to share {path}")]
    Descriptors {
        /// The directory.
        path: PathBuf,
    },
    /// The list of what is visible cannot be read.
    #[error("cannot read list of visible paths {path}")]
    List {
        /// The list.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The list of what is visible names something else than an entry of the shared directory.
    #[error("{entry:?} in {path} is not directly in the shared directory")]
    ListEntry {
        /// The list.
        path: PathBuf,
        /// The line.
        entry: String,
    },
    /// Owners are to be kept in extended attributes, which needs `/proc`.
    #[error("cannot keep owners of {path} in attributes without /proc")]
    Mapped {
        /// The directory.
        path: PathBuf,
    },
}

/// A directory that a guest shares with the host.
#[derive(Debug)]
pub struct Share {
    root: Fd,
    root_stat: Stat,
    proc_fds: Option<OwnedFd>,
    openat2: bool,
    read_only: bool,
    privileged: bool,
    nodes: Nodes,
    handles: Handles,
    locks: Locks,
    dirs: FdCache,
    orphans: FdCache,
    readers: FdCache,
    listings: Vec<Listing>,
    /// The devices of the files known so far, the root's first: their places tell inode numbers
    /// apart.
    devices: Vec<u64>,
    security: Security,
    uids: IdMap,
    gids: IdMap,
    only: Option<Only>,
    _permit: Permit,
}

impl Share {
    /// Shares the directory that `spec` names.
    ///
    /// # Errors
    /// See [`ShareError`].
    pub fn open(spec: &FsSpec) -> Result<Self, ShareError> {
        let path = spec.path.as_path();
        let failed = |error: Errno| match error {
            Errno::NOTDIR if path.exists() => ShareError::NotADirectory {
                path: path.to_owned(),
            },
            error => ShareError::Open {
                path: path.to_owned(),
                source: error.into(),
            },
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, path, flags, Mode::empty()).map_err(failed)?;
        let root_stat = fstat(&root).map_err(failed)?;
        let only = spec.only.as_ref().map(|file| Only::read(file, path));
        let only = only.transpose()?;
        let proc_fds = open_proc_fds();
        if proc_fds.is_none() && spec.security == Security::MappedXattr {
            return Err(ShareError::Mapped {
                path: path.to_owned(),
            });
        }
        let sizes = CacheSizes::fitting();
        let permit = Permit::take(sizes.total()).map_err(|_| ShareError::Descriptors {
            path: path.to_owned(),
        })?;
        Ok(Self {
            nodes: Nodes::new(&root_stat),
            root_stat,
            openat2: resolve::has_openat2(&root),
            read_only: spec.read_only,
            privileged: geteuid().is_root(),
            handles: Handles::default(),
            locks: Locks::default(),
            dirs: FdCache::new(sizes.dirs),
            orphans: FdCache::new(sizes.orphans),
            readers: FdCache::new(sizes.readers),
            listings: Vec::new(),
            devices: vec![root_stat.st_dev],
            security: spec.security,
            uids: IdMap(spec.uid_map.clone()),
            gids: IdMap(spec.gid_map.clone()),
            only,
            proc_fds,
            root: Arc::new(root),
            _permit: permit,
        })
    }

    /// Whether nothing in the share may be changed.
    #[must_use]
    pub fn read_only(&self) -> bool {
        self.read_only
    }

    /// Forgets all that the guest did: its files, handles and locks. The share stays open.
    pub fn clear(&mut self) {
        self.listings.clear();
        self.locks.clear();
        self.handles.clear();
        self.nodes.clear();
        self.dirs.clear();
        self.orphans.clear();
        self.readers.clear();
    }

    /// Refuses to change a read-only share.
    fn writable(&self) -> Result<(), Errno> {
        if self.read_only {
            return Err(Errno::ROFS);
        }
        Ok(())
    }

    /// Closes the descriptors of nodes that left the table.
    fn close_freed(&mut self) {
        while let Some(id) = self.nodes.next_freed() {
            self.dirs.remove(id);
            self.orphans.remove(id);
            self.readers.remove(id);
        }
    }
}

/// `/proc/self/fd`, if it is what it should be.
fn open_proc_fds() -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = openat(CWD, c"/proc/self/fd", flags, Mode::empty()).ok()?;
    (fstatfs(&fd).ok()?.f_type == PROC_SUPER_MAGIC).then_some(fd)
}

#[cfg(test)]
impl Share {
    /// Closes every cached descriptor, as use of many others would.
    pub(crate) fn forget_descriptors(&mut self) {
        self.dirs.clear();
        self.orphans.clear();
        self.readers.clear();
    }

    /// Does without `/proc` and `openat2(2)`.
    pub(crate) fn do_without(&mut self) {
        self.proc_fds = None;
        self.openat2 = false;
    }
}

//! From a node of the table to a descriptor: the one place where paths are walked.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2, statat,
};
use rustix::io::Errno;
use rustix::path::DecInt;

use super::Share;
use super::fds::Fd;
use super::node::NodeId;

/// The longest piece of a path walked in one call (Linux `PATH_MAX` less the NUL).
const PIECE: usize = 4095;

/// How `statat` is to look at a name: at the name itself.
pub(super) const NAME_ITSELF: AtFlags = AtFlags::SYMLINK_NOFOLLOW.union(AtFlags::NO_AUTOMOUNT);

/// What a node whose name leads elsewhere by now is: out of date.
fn stale(error: Errno) -> Errno {
    match error {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV => Errno::STALE,
        error => error,
    }
}

/// Whether the system knows `openat2(2)` (Linux 5.6) and lets us use it.
pub(super) fn has_openat2(root: &OwnedFd) -> bool {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(root, c".", flags, Mode::empty(), ResolveFlags::BENEATH).is_ok()
}

impl Share {
    /// A descriptor of the directory `id`, to look names up in.
    pub(super) fn dir_fd(&mut self, id: NodeId) -> Result<Fd, Errno> {
        if id == NodeId::ROOT {
            return Ok(Arc::clone(&self.root));
        }
        if let Some(fd) = self.dirs.get(id) {
            return Ok(fd);
        }
        let node = self.nodes.get(id)?;
        if node.kind != FileType::Directory {
            return Err(Errno::NOTDIR);
        }
        if let Some(fd) = self.handles.of_node(id).or_else(|| self.orphans.get(id)) {
            return Ok(fd);
        }
        let (base, names) = self.nodes.path(id, |id| self.dirs.contains(id))?;
        let base = match base {
            NodeId::ROOT => Arc::clone(&self.root),
            base => self.dirs.get(base).ok_or(Errno::STALE)?,
        };
        let fd = self.walk(base, &names).map_err(stale)?;
        if !self.nodes.get(id)?.is(&fstat(&fd)?) {
            return Err(Errno::STALE);
        }
        self.dirs.insert(id, Arc::clone(&fd));
        Ok(fd)
    }

    /// Opens the directory at `names` beneath `base`, through directories alone.
    fn walk(&self, base: Fd, names: &[&[u8]]) -> Result<Fd, Errno> {
        let mut at = base;
        let mut rest = names;
        let mut path = Vec::new();
        while !rest.is_empty() {
            path.clear();
            while let Some((name, after)) = rest.split_first() {
                if !path.is_empty() && (!self.openat2 || path.len() + 1 + name.len() > PIECE) {
                    break;
                }
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(name);
                rest = after;
            }
            at = Arc::new(self.step(&at, &path)?);
        }
        Ok(at)
    }

    fn step(&self, base: &Fd, path: &[u8]) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if !self.openat2 {
            // A single name: no link is followed and nothing above is reached.
            return openat(base, path, flags, Mode::empty());
        }
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
        openat2(base, path, flags, Mode::empty(), how)
    }

    /// A descriptor that identifies `id` and need not allow any I/O (`O_PATH`).
    pub(super) fn path_fd(&mut self, id: NodeId) -> Result<Fd, Errno> {
        if self.nodes.get(id)?.kind == FileType::Directory {
            return self.dir_fd(id);
        }
        if let Some(fd) = self.handles.of_node(id).or_else(|| self.orphans.get(id)) {
            return Ok(fd);
        }
        self.open_place(id, OFlags::PATH).map(Arc::new)
    }

    /// Opens `id` by one of its names, and makes sure that it still is what it was.
    fn open_place(&mut self, id: NodeId, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.at_place(id, |dir, name| {
            let fd = openat(dir, name, flags, Mode::empty())?;
            let stat = fstat(&fd)?;
            Ok((fd, stat))
        })
    }

    /// What `look` finds under the first of the names of `id` that still leads to it.
    fn at_place<T>(
        &mut self,
        id: NodeId,
        look: impl Fn(&Fd, &[u8]) -> Result<(T, Stat), Errno>,
    ) -> Result<T, Errno> {
        let mut error = Errno::STALE;
        for index in 0.. {
            let Some(place) = self.nodes.get(id)?.places().nth(index) else {
                break;
            };
            let parent = place.parent;
            let found = self.dir_fd(parent).and_then(|dir| {
                let place = self.nodes.get(id)?.places().nth(index);
                let (found, stat) = look(&dir, &place.ok_or(Errno::STALE)?.name)?;
                let same = self.nodes.get(id)?.is(&stat);
                if same { Ok(found) } else { Err(Errno::STALE) }
            });
            match found.map_err(stale) {
                Ok(found) => return Ok(found),
                Err(Errno::STALE) => {}
                Err(other) => error = other,
            }
        }
        Err(error)
    }

    /// The attributes of `id`.
    pub(super) fn stat_node(&mut self, id: NodeId) -> Result<Stat, Errno> {
        if id == NodeId::ROOT {
            return fstat(&self.root);
        }
        let open = self.handles.of_node(id);
        let open = open
            .or_else(|| self.dirs.get(id))
            .or_else(|| self.orphans.get(id));
        if let Some(fd) = open {
            return fstat(&fd);
        }
        self.at_place(id, |dir, name| {
            let stat = statat(dir, name, NAME_ITSELF)?;
            Ok((stat, stat))
        })
    }

    /// Opens the regular file `id` for I/O.
    pub(super) fn open_file(&mut self, id: NodeId, flags: OFlags) -> Result<OwnedFd, Errno> {
        match self.nodes.get(id)?.kind {
            FileType::RegularFile => {}
            FileType::Directory => return Err(Errno::ISDIR),
            FileType::Symlink => return Err(Errno::LOOP),
            // Devices, pipes and sockets are the guest's own affair: opening ours would reach
            // through the share into the host.
            _ => return Err(Errno::NXIO),
        }
        if self.proc_fds.is_some() {
            let fd = self.path_fd(id)?;
            return self.reopen(&fd, flags);
        }
        // By name, then: a pipe put there this moment must not block us.
        let truncate = flags.contains(OFlags::TRUNC);
        let flags = flags.difference(OFlags::TRUNC) | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = self.open_place(id, flags)?;
        if truncate {
            rustix::fs::ftruncate(&fd, 0)?;
        }
        Ok(fd)
    }

    /// Opens the directory `id` for reading.
    pub(super) fn open_dir(&mut self, id: NodeId) -> Result<OwnedFd, Errno> {
        let fd = self.dir_fd(id)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match openat(&fd, c".", flags, Mode::empty()) {
            // The way by a name in the directory needs the right to search it, reading does not.
            Err(Errno::ACCESS) if self.proc_fds.is_some() => self.reopen(&fd, flags),
            opened => opened,
        }
    }

    /// Opens anew what `fd` refers to, by way of `/proc/self/fd`.
    pub(super) fn reopen(&self, fd: &impl AsFd, flags: OFlags) -> Result<OwnedFd, Errno> {
        let proc_fds = self.proc_fds.as_ref().ok_or(Errno::OPNOTSUPP)?;
        let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
        if self.read_only {
            // Reading is not to change the files' access times, where the system lets us say so.
            match openat(
                proc_fds,
                DecInt::from_fd(fd),
                flags | OFlags::NOATIME,
                Mode::empty(),
            ) {
                Err(Errno::PERM) => {}
                opened => return opened,
            }
        }
        openat(proc_fds, DecInt::from_fd(fd), flags, Mode::empty())
    }
}

/// The path by which calls that take no descriptor reach what `fd` refers to.
pub(super) fn proc_path(fd: &impl AsRawFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

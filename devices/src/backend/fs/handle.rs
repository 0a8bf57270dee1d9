//! The table of open files and directories.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;
use smallvec::SmallVec;

use super::budget::Permit;
use super::fds::Fd;
use super::node::NodeId;

/// An open file's number: what FUSE calls a file handle. Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HandleId(u64);

impl HandleId {
    /// The number that a guest sent.
    #[must_use]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The number to send to the guest.
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }

    fn new(index: usize, generation: u32) -> Self {
        Self(u64::from(generation) << 32 | (index as u64 + 1))
    }

    fn index(self) -> usize {
        ((self.0 & 0xffff_ffff) as usize).wrapping_sub(1)
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// How strong a whole-file lock (`flock(2)`) a handle holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Flock {
    None,
    Shared,
    Exclusive,
}

/// One open file or directory.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) fd: Fd,
    pub(super) node: NodeId,
    pub(super) flags: OFlags,
    pub(super) is_dir: bool,
    pub(super) flock: Flock,
    /// Where it stands among the handles of its node.
    at: usize,
    _permit: Permit,
}

impl Handle {
    pub(super) fn new(fd: OwnedFd, node: NodeId, flags: OFlags, permit: Permit) -> Self {
        Self {
            fd: Arc::new(fd),
            node,
            flags,
            is_dir: flags.contains(OFlags::DIRECTORY),
            flock: Flock::None,
            at: 0,
            _permit: permit,
        }
    }
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    handle: Option<Handle>,
}

/// The table.
#[derive(Debug, Default)]
pub(super) struct Handles {
    slots: Vec<Slot>,
    free: Vec<usize>,
    by_node: HashMap<NodeId, SmallVec<[HandleId; 2]>>,
}

impl Handles {
    pub(super) fn insert(&mut self, handle: Handle) -> HandleId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        let generation = self.slots.get(index).map_or(0, |slot| slot.generation);
        let id = HandleId::new(index, generation);
        self.put(id, handle);
        id
    }

    fn put(&mut self, id: HandleId, mut handle: Handle) {
        let of_node = self.by_node.entry(handle.node).or_default();
        handle.at = of_node.len();
        of_node.push(id);
        if let Some(slot) = self.slots.get_mut(id.index()) {
            slot.generation = id.generation();
            slot.handle = Some(handle);
        }
    }

    /// Puts back a saved handle under its old number.
    pub(super) fn restore(&mut self, id: HandleId, handle: Handle) -> Result<(), Errno> {
        // More slots than handles ever open at once can only come from a forged state.
        if id.index() > 1 << 20 {
            return Err(Errno::INVAL);
        }
        while self.slots.len() <= id.index() {
            self.free.push(self.slots.len());
            self.slots.push(Slot::default());
        }
        if self.get(id).is_ok() {
            return Err(Errno::INVAL);
        }
        self.free.retain(|index| *index != id.index());
        self.put(id, handle);
        Ok(())
    }

    pub(super) fn get(&self, id: HandleId) -> Result<&Handle, Errno> {
        self.slots
            .get(id.index())
            .filter(|slot| slot.generation == id.generation())
            .and_then(|slot| slot.handle.as_ref())
            .ok_or(Errno::BADF)
    }

    pub(super) fn get_mut(&mut self, id: HandleId) -> Result<&mut Handle, Errno> {
        self.slots
            .get_mut(id.index())
            .filter(|slot| slot.generation == id.generation())
            .and_then(|slot| slot.handle.as_mut())
            .ok_or(Errno::BADF)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (HandleId, &Handle)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let handle = slot.handle.as_ref()?;
            Some((HandleId::new(index, slot.generation), handle))
        })
    }

    /// A descriptor of an open handle of `node`.
    pub(super) fn of_node(&self, node: NodeId) -> Option<Fd> {
        let id = *self.by_node.get(&node)?.first()?;
        self.get(id).ok().map(|handle| Arc::clone(&handle.fd))
    }

    /// Closes a handle; `true` with it if it was its node's last.
    pub(super) fn remove(&mut self, id: HandleId) -> Result<(Handle, bool), Errno> {
        self.get(id)?;
        let slot = self.slots.get_mut(id.index()).ok_or(Errno::BADF)?;
        let handle = slot.handle.take().ok_or(Errno::BADF)?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.index());
        let Some(of_node) = self.by_node.get_mut(&handle.node) else {
            return Ok((handle, true));
        };
        if handle.at < of_node.len() {
            of_node.swap_remove(handle.at);
        }
        let last = of_node.is_empty();
        match of_node.get(handle.at).copied() {
            Some(moved) => self.get_mut(moved)?.at = handle.at,
            None if last => drop(self.by_node.remove(&handle.node)),
            None => {}
        }
        Ok((handle, last))
    }

    pub(super) fn clear(&mut self) {
        self.by_node.clear();
        self.free.clear();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if slot.handle.take().is_some() {
                slot.generation = slot.generation.wrapping_add(1);
            }
            self.free.push(index);
        }
    }
}

//! The table of the files that the guest knows: identity, where each was last seen, and what keeps
//! it in the table. Holds no descriptor.
//!
//! A file is identified by device and inode number, and found again by the name under which it was
//! last seen in its parent, which is in the table too. The table therefore costs memory per file
//! that the guest remembers, never a descriptor.

use std::collections::HashMap;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::place::Place;

/// The most files that a guest may remember at once (a guest with as many cached inodes has spent
/// several GiB on them).
const LIMIT: usize = 4 << 20;

/// A file's number in the table: what FUSE calls a node id. Never reused within a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u64);

impl NodeId {
    /// The directory that is shared (Linux `FUSE_ROOT_ID`).
    pub const ROOT: Self = Self(1);

    /// The id that a guest sent.
    #[must_use]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The id to send to the guest.
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }

    fn new(index: usize, generation: u32) -> Self {
        Self(u64::from(generation) << 32 | index as u64)
    }

    fn index(self) -> usize {
        (self.0 & 0xffff_ffff) as usize
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// What makes a file the same file: device and inode number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) dev: u64,
    pub(super) ino: u64,
}

impl Key {
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            dev: stat.st_dev,
            ino: stat.st_ino,
        }
    }
}

/// One file that the guest knows.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) key: Key,
    pub(super) kind: FileType,
    /// The place seen last; `None` once the file was removed by the guest.
    pub(super) place: Option<Place>,
    /// Further places of a file with hard links, oldest first.
    pub(super) links: Vec<Place>,
    /// How often the guest was told of the file and has not forgotten it.
    pub(super) lookups: u64,
    /// Places beneath this directory, open handles and lock owners.
    pub(super) pins: u32,
    /// A digest of the attributes last told to the guest.
    pub(super) told: u64,
}

impl Node {
    pub(super) fn places(&self) -> impl Iterator<Item = &Place> {
        self.place.iter().chain(self.links.iter().rev())
    }

    pub(super) fn is(&self, stat: &Stat) -> bool {
        self.key == Key::of(stat) && self.kind == FileType::from_raw_mode(stat.st_mode)
    }
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    node: Option<Node>,
}

/// The table.
#[derive(Debug)]
pub(super) struct Nodes {
    slots: Vec<Slot>,
    free: Vec<u32>,
    pub(super) by_key: HashMap<Key, NodeId>,
    freed: Vec<NodeId>,
    /// The generation of slots never used: above all those of a restored table.
    first_generation: u32,
    limit: usize,
}

impl Nodes {
    /// A table that holds the root alone.
    pub(super) fn new(root: &Stat) -> Self {
        let root = Node {
            key: Key::of(root),
            kind: FileType::Directory,
            place: None,
            links: Vec::new(),
            lookups: 1,
            pins: 0,
            told: 0,
        };
        let by_key = HashMap::from([(root.key, NodeId::ROOT)]);
        let root = Slot {
            generation: 0,
            node: Some(root),
        };
        Self {
            slots: vec![Slot::default(), root],
            free: Vec::new(),
            by_key,
            freed: Vec::new(),
            first_generation: 0,
            limit: LIMIT,
        }
    }

    fn empty_slot(&self) -> Slot {
        Slot {
            generation: self.first_generation,
            node: None,
        }
    }

    /// A generation that no id given out so far has.
    pub(super) fn next_generation(&self) -> u32 {
        let used = self.slots.iter().map(|slot| slot.generation);
        used.max().unwrap_or(0).wrapping_add(1)
    }

    /// Forgets everything but the root; ids given out before stay invalid.
    pub(super) fn clear(&mut self) {
        let ids: Vec<NodeId> = self.iter().map(|(id, _)| id).collect();
        for id in ids {
            if id != NodeId::ROOT {
                self.release(id);
            }
        }
        self.freed.clear();
        self.free.shrink_to_fit();
        if let Ok(root) = self.get_mut(NodeId::ROOT) {
            root.pins = 0;
            root.lookups = 1;
            root.told = 0;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - 1 - self.free.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let node = slot.node.as_ref()?;
            Some((NodeId::new(index, slot.generation), node))
        })
    }

    /// The node behind an id that the guest sent.
    pub(super) fn get(&self, id: NodeId) -> Result<&Node, Errno> {
        self.slots
            .get(id.index())
            .filter(|slot| slot.generation == id.generation())
            .and_then(|slot| slot.node.as_ref())
            .ok_or(Errno::STALE)
    }

    pub(super) fn get_mut(&mut self, id: NodeId) -> Result<&mut Node, Errno> {
        self.slots
            .get_mut(id.index())
            .filter(|slot| slot.generation == id.generation())
            .and_then(|slot| slot.node.as_mut())
            .ok_or(Errno::STALE)
    }

    /// The node of a file, if the guest knows it.
    pub(super) fn find(&self, stat: &Stat) -> Option<NodeId> {
        let id = *self.by_key.get(&Key::of(stat))?;
        self.get(id).ok()?.is(stat).then_some(id)
    }

    /// Counts one more look-up of the file described by `stat`, seen as `name` in `parent` (or
    /// nowhere, if it has no name).
    pub(super) fn intern(
        &mut self,
        place: Option<(NodeId, &[u8])>,
        stat: &Stat,
    ) -> Result<NodeId, Errno> {
        let id = match self.find(stat) {
            Some(id) => id,
            None => self.insert(stat)?,
        };
        if let Some((parent, name)) = place {
            self.add_place(id, parent, name);
        }
        let node = self.get_mut(id)?;
        node.lookups = node.lookups.saturating_add(1);
        Ok(id)
    }

    fn insert(&mut self, stat: &Stat) -> Result<NodeId, Errno> {
        if self.len() >= self.limit {
            return Err(Errno::NFILE);
        }
        let node = Node {
            key: Key::of(stat),
            kind: FileType::from_raw_mode(stat.st_mode),
            place: None,
            links: Vec::new(),
            lookups: 0,
            pins: 0,
            told: 0,
        };
        let index = match self.free.pop() {
            Some(index) => index as usize,
            None => {
                let slot = self.empty_slot();
                self.slots.push(slot);
                self.slots.len() - 1
            }
        };
        let slot = self.slots.get_mut(index).ok_or(Errno::NFILE)?;
        let id = NodeId::new(index, slot.generation);
        self.by_key.insert(node.key, id);
        slot.node = Some(node);
        Ok(id)
    }

    /// Prepares an empty table for the nodes of a saved one, whose
    /// [next generation](Nodes::next_generation) was `generation`.
    pub(super) fn begin_restore(&mut self, generation: u32) {
        self.first_generation = generation;
    }

    /// Puts back a node of a saved table under its old id.
    pub(super) fn restore(&mut self, id: NodeId, node: Node) -> Result<(), Errno> {
        if id.index() == 0 || id == NodeId::ROOT || id.index() > self.limit {
            return Err(Errno::INVAL);
        }
        while self.slots.len() <= id.index() {
            let index = u32::try_from(self.slots.len()).map_err(|_| Errno::INVAL)?;
            self.free.push(index);
            let slot = self.empty_slot();
            self.slots.push(slot);
        }
        let slot = self.slots.get_mut(id.index()).ok_or(Errno::INVAL)?;
        if slot.node.is_some() {
            return Err(Errno::INVAL);
        }
        slot.generation = id.generation();
        self.by_key.insert(node.key, id);
        slot.node = Some(node);
        Ok(())
    }

    /// After [`Nodes::restore`]: drops the indices in use from the free list and counts the pins
    /// that places make.
    pub(super) fn finish_restore(&mut self) -> Result<(), Errno> {
        let slots = &self.slots;
        self.free.retain(|index| {
            let slot = slots.get(*index as usize);
            slot.is_some_and(|slot| slot.node.is_none())
        });
        let parents: Vec<NodeId> = self
            .iter()
            .flat_map(|(_, node)| node.places().map(|place| place.parent))
            .collect();
        for parent in parents {
            let parent = self.get_mut(parent)?;
            if parent.kind != FileType::Directory {
                return Err(Errno::INVAL);
            }
            parent.pins += 1;
        }
        Ok(())
    }

    /// Keeps `id` in the table until [`Nodes::unpin`].
    pub(super) fn pin(&mut self, id: NodeId) {
        if let Ok(node) = self.get_mut(id) {
            node.pins = node.pins.saturating_add(1);
        }
    }

    /// Undoes [`Nodes::pin`].
    pub(super) fn unpin(&mut self, id: NodeId) {
        if let Ok(node) = self.get_mut(id) {
            node.pins = node.pins.saturating_sub(1);
        }
        self.sweep(id);
    }

    /// Takes `count` look-ups back.
    pub(super) fn forget(&mut self, id: NodeId, count: u64) {
        if let Ok(node) = self.get_mut(id) {
            node.lookups = node.lookups.saturating_sub(count);
        }
        self.sweep(id);
    }

    /// The nodes freed since the last call; their descriptors are to be closed.
    pub(super) fn next_freed(&mut self) -> Option<NodeId> {
        self.freed.pop()
    }

    /// Frees `id` if nothing keeps it, and so on upwards.
    fn sweep(&mut self, id: NodeId) {
        let mut idle = vec![];
        let mut next = Some(id);
        while let Some(id) = next {
            let unused = |node: &Node| node.lookups == 0 && node.pins == 0;
            if id != NodeId::ROOT && self.get(id).is_ok_and(unused) {
                for place in self.release(id) {
                    if let Ok(parent) = self.get_mut(place.parent) {
                        parent.pins = parent.pins.saturating_sub(1);
                        idle.push(place.parent);
                    }
                }
            }
            next = idle.pop();
        }
    }

    fn release(&mut self, id: NodeId) -> Vec<Place> {
        let Some(slot) = self.slots.get_mut(id.index()) else {
            return Vec::new();
        };
        let Some(node) = slot.node.take() else {
            return Vec::new();
        };
        slot.generation = slot.generation.wrapping_add(1);
        if self.by_key.get(&node.key) == Some(&id) {
            self.by_key.remove(&node.key);
        }
        self.free.extend(u32::try_from(id.index()));
        self.freed.push(id);
        node.place.into_iter().chain(node.links).collect()
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, statat};

    use super::super::resolve::NAME_ITSELF;
    use super::*;

    fn stat(path: &str) -> Stat {
        statat(CWD, path, NAME_ITSELF).unwrap()
    }

    #[test]
    fn a_number_that_another_file_takes_over_makes_a_new_node() {
        let mut nodes = Nodes::new(&stat("/"));
        let file = stat("/proc/version");
        let place = Some((NodeId::ROOT, b"file".as_slice()));
        let old = nodes.intern(place, &file).unwrap();
        assert_eq!(nodes.intern(place, &file), Ok(old));
        nodes.disown(old);
        nodes.drop_place(old, NodeId::ROOT, b"file");
        let new = nodes.intern(place, &file).unwrap();
        assert_ne!(new, old);
        assert!(nodes.get(old).is_ok());
        nodes.forget(old, 2);
        assert!(nodes.get(old).is_err());
        assert_eq!(nodes.find(&file), Some(new));
    }

    #[test]
    fn a_directory_stays_as_long_as_something_beneath_it_is_known() {
        let mut nodes = Nodes::new(&stat("/"));
        let dir = nodes
            .intern(Some((NodeId::ROOT, b"proc")), &stat("/proc"))
            .unwrap();
        let file = nodes
            .intern(Some((dir, b"version")), &stat("/proc/version"))
            .unwrap();
        nodes.forget(dir, 1);
        assert!(nodes.get(dir).is_ok());
        nodes.forget(file, 1);
        assert!(nodes.get(dir).is_err());
        assert_eq!(nodes.len(), 1);
        assert_eq!(nodes.next_freed(), Some(dir));
        assert_eq!(nodes.next_freed(), Some(file));
    }

    #[test]
    fn a_full_table_takes_no_more() {
        let mut nodes = Nodes::new(&stat("/"));
        nodes.limit = 2;
        nodes.intern(None, &stat("/proc")).unwrap();
        assert_eq!(
            nodes.intern(None, &stat("/proc/version")),
            Err(Errno::NFILE)
        );
        assert!(nodes.intern(None, &stat("/proc")).is_ok());
    }
}

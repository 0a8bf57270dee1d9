//! A bounded set of open descriptors, the least recently used of which is closed first.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::node::NodeId;

/// A descriptor that whoever uses it keeps open, even if the cache drops it meanwhile.
pub(super) type Fd = Arc<OwnedFd>;

/// No entry: the end of the list.
const NONE: usize = usize::MAX;

#[derive(Debug)]
struct Entry {
    owner: NodeId,
    fd: Fd,
    newer: usize,
    older: usize,
}

/// Descriptors by node, at most `capacity` of them.
#[derive(Debug)]
pub(super) struct FdCache {
    capacity: usize,
    by_owner: HashMap<NodeId, usize>,
    entries: Vec<Entry>,
    newest: usize,
    oldest: usize,
}

impl FdCache {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            by_owner: HashMap::new(),
            entries: Vec::new(),
            newest: NONE,
            oldest: NONE,
        }
    }

    pub(super) fn contains(&self, owner: NodeId) -> bool {
        self.by_owner.contains_key(&owner)
    }

    /// The descriptor of `owner`, now the most recently used.
    pub(super) fn get(&mut self, owner: NodeId) -> Option<Fd> {
        let at = *self.by_owner.get(&owner)?;
        if at != self.newest {
            self.unlink(at);
            self.push_newest(at);
        }
        self.entries.get(at).map(|entry| Arc::clone(&entry.fd))
    }

    /// Adds the descriptor of `owner`, closing the least recently used one if the cache is full.
    pub(super) fn insert(&mut self, owner: NodeId, fd: Fd) {
        self.remove(owner);
        if self.entries.len() >= self.capacity
            && let Some(oldest) = self.entries.get(self.oldest).map(|entry| entry.owner)
        {
            self.remove(oldest);
        }
        let at = self.entries.len();
        self.entries.push(Entry {
            owner,
            fd,
            newer: NONE,
            older: NONE,
        });
        self.by_owner.insert(owner, at);
        self.push_newest(at);
    }

    pub(super) fn remove(&mut self, owner: NodeId) {
        let Some(at) = self.by_owner.remove(&owner) else {
            return;
        };
        self.unlink(at);
        let last = self.entries.len() - 1;
        if at != last {
            // The last entry is about to take the place of the removed one.
            self.relink(last, at);
        }
        self.entries.swap_remove(at);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.capacity);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn neighbours(&self, at: usize) -> (usize, usize) {
        let entry = self.entries.get(at);
        entry.map_or((NONE, NONE), |entry| (entry.newer, entry.older))
    }

    fn set_older(&mut self, at: usize, older: usize) {
        match self.entries.get_mut(at) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
    }

    fn set_newer(&mut self, at: usize, newer: usize) {
        match self.entries.get_mut(at) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
    }

    fn unlink(&mut self, at: usize) {
        let (newer, older) = self.neighbours(at);
        self.set_older(newer, older);
        self.set_newer(older, newer);
    }

    fn push_newest(&mut self, at: usize) {
        let older = self.newest;
        if let Some(entry) = self.entries.get_mut(at) {
            entry.newer = NONE;
            entry.older = older;
        }
        self.set_newer(older, at);
        self.newest = at;
    }

    /// Makes everything that points at entry `from` point at `to`.
    fn relink(&mut self, from: usize, to: usize) {
        let (newer, older) = self.neighbours(from);
        self.set_older(newer, to);
        self.set_newer(older, to);
        if let Some(entry) = self.entries.get(from) {
            self.by_owner.insert(entry.owner, to);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::fs::File;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_cache_keeps_the_most_recently_used(
            steps in proptest::collection::vec((0_u8..3, 0_u64..8), 1..200),
        ) {
            let fd: Fd = Arc::new(File::open("/").unwrap().into());
            let mut cache = FdCache::new(4);
            let mut model: VecDeque<NodeId> = VecDeque::new();
            for (step, owner) in steps {
                let owner = NodeId::from_raw(owner);
                let known = model.contains(&owner);
                model.retain(|other| *other != owner);
                match step {
                    0 => {
                        cache.insert(owner, Arc::clone(&fd));
                        model.push_back(owner);
                        if model.len() > 4 {
                            model.pop_front();
                        }
                    }
                    1 => {
                        prop_assert_eq!(cache.get(owner).is_some(), known);
                        if known {
                            model.push_back(owner);
                        }
                    }
                    _ => cache.remove(owner),
                }
                prop_assert_eq!(cache.len(), model.len());
                prop_assert!(model.iter().all(|owner| cache.contains(*owner)));
            }
        }
    }
}

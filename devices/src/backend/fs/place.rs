//! Where the files of the table are: names in directories, as last seen.
//!
//! The host may move things without telling. A place is therefore where to look, and whoever
//! looks makes sure of what is found; nothing here may loop or leak when places contradict each
//! other.

use rustix::fs::FileType;
use rustix::io::Errno;

use super::node::{NodeId, Nodes};

/// The most further names kept for a file with hard links.
const MAX_LINKS: usize = 8;

/// The most directories between a file and the root of the share.
const MAX_DEPTH: usize = 4096;

/// A directory entry: where a file was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) parent: NodeId,
    pub(super) name: Box<[u8]>,
}

impl Place {
    fn is(&self, parent: NodeId, name: &[u8]) -> bool {
        self.parent == parent && *self.name == *name
    }
}

impl Nodes {
    /// Notes that the file `id` was seen as `name` in `parent`.
    pub(super) fn add_place(&mut self, id: NodeId, parent: NodeId, name: &[u8]) {
        let Ok(node) = self.get(id) else { return };
        let known = node.place.as_ref().is_some_and(|p| p.is(parent, name));
        if known || id == NodeId::ROOT || self.get(parent).is_err() {
            return;
        }
        let is_dir = node.kind == FileType::Directory;
        if is_dir && self.is_beneath(parent, id) {
            // Some place between the two is out of date, moved behind our back. Whoever comes by
            // `parent` next has to look it up again.
            self.drop_all_places(parent);
        }
        let place = Place {
            parent,
            name: name.into(),
        };
        self.pin(parent);
        let Ok(node) = self.get_mut(id) else { return };
        let before = node.place.replace(place);
        let mut dropped = Vec::new();
        if is_dir {
            dropped.extend(before);
        } else {
            let (again, links): (Vec<_>, Vec<_>) = std::mem::take(&mut node.links)
                .into_iter()
                .partition(|p| p.is(parent, name));
            node.links = links;
            node.links.extend(before);
            dropped.extend(again);
            if node.links.len() > MAX_LINKS {
                dropped.push(node.links.remove(0));
            }
        }
        for place in dropped {
            self.unpin(place.parent);
        }
    }

    /// Notes that `name` in `parent` is no longer the file `id`.
    pub(super) fn drop_place(&mut self, id: NodeId, parent: NodeId, name: &[u8]) {
        let Ok(node) = self.get_mut(id) else { return };
        if node.place.as_ref().is_some_and(|p| p.is(parent, name)) {
            node.place = node.links.pop();
        } else if let Some(at) = node.links.iter().position(|p| p.is(parent, name)) {
            node.links.remove(at);
        } else {
            return;
        }
        self.unpin(parent);
    }

    /// Notes that the file `id` is gone from the host: its number may soon be another file's.
    pub(super) fn disown(&mut self, id: NodeId) {
        if let Ok(node) = self.get(id)
            && self.by_key.get(&node.key) == Some(&id)
        {
            let key = node.key;
            self.by_key.remove(&key);
        }
    }

    fn drop_all_places(&mut self, id: NodeId) {
        let Ok(node) = self.get_mut(id) else { return };
        let places: Vec<Place> = node
            .place
            .take()
            .into_iter()
            .chain(node.links.drain(..))
            .collect();
        for place in places {
            self.unpin(place.parent);
        }
    }

    /// Whether `id` is `ancestor` or lies beneath it, as far as the table knows.
    fn is_beneath(&self, id: NodeId, ancestor: NodeId) -> bool {
        let mut at = id;
        for _ in 0..MAX_DEPTH {
            if at == ancestor {
                return true;
            }
            match self.get(at).ok().and_then(|node| node.place.as_ref()) {
                Some(place) => at = place.parent,
                None => return false,
            }
        }
        true
    }

    /// The names to walk from the nearest ancestor for which `is_base` holds (the root at the
    /// latest) to the directory `id`.
    pub(super) fn path(
        &self,
        id: NodeId,
        is_base: impl Fn(NodeId) -> bool,
    ) -> Result<(NodeId, Vec<&[u8]>), Errno> {
        let (mut at, mut names) = (id, Vec::new());
        while at != NodeId::ROOT && !is_base(at) {
            let place = self.get(at)?.place.as_ref().ok_or(Errno::STALE)?;
            names.push(&*place.name);
            at = place.parent;
            if names.len() > MAX_DEPTH {
                return Err(Errno::STALE);
            }
        }
        names.reverse();
        Ok((at, names))
    }
}

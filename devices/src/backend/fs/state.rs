//! What of a share outlives its process: the files that the guest knows, as paths, what it has
//! open, and its locks.
//!
//! Files are not opened on restoring (there may be hundreds of thousands): each is found by its
//! path, and verified, when it is next used. Open files are opened at once. One that has lost its
//! path since (it was removed while open) cannot be had back: its handle is gone, and the guest
//! sees `EBADF` from that file alone.

use std::fmt::Write as _;

use rustix::fs::{FileType, OFlags};
use serde::{Deserialize, Serialize};

use super::Share;
use super::budget::Permit;
use super::handle::{Flock, Handle, HandleId};
use super::lock::LockOwner;
use super::node::{Key, Node, NodeId};
use super::place::Place;
use crate::sys::fs::{FileLock, LockKind};

/// Why a saved share cannot be taken back.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The share is in use already.
    #[error("share is in use")]
    Busy,
    /// An id occurs twice, or a file lies in no known directory.
    #[error("table of files is inconsistent at node {0}")]
    Node(u64),
    /// A name is not one directory entry.
    #[error("table of files has an invalid name")]
    Name,
}

/// A share's saved state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareState {
    /// The device of the root, whose number may be another on restoring.
    root_dev: u64,
    generation: u32,
    nodes: Vec<NodeState>,
    handles: Vec<HandleState>,
    locks: Vec<LockState>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeState {
    id: u64,
    dev: u64,
    ino: u64,
    /// The type bits of the mode.
    kind: u32,
    lookups: u64,
    told: u64,
    /// Parents and names, the current one last.
    places: Vec<(u64, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HandleState {
    id: u64,
    node: u64,
    flags: u32,
    flock: Flock,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LockState {
    node: u64,
    owner: u64,
    pid: u32,
    /// First byte, last byte, and whether exclusive.
    ranges: Vec<(u64, u64, bool)>,
}

impl Share {
    /// What a later [`Share::restore`] needs.
    #[must_use]
    pub fn save(&self) -> ShareState {
        let nodes = self.nodes.iter().filter(|(id, _)| *id != NodeId::ROOT);
        let nodes = nodes.map(|(id, node)| NodeState {
            id: id.raw(),
            dev: node.key.dev,
            ino: node.key.ino,
            kind: node.kind.as_raw_mode(),
            lookups: node.lookups,
            told: node.told,
            places: node
                .links
                .iter()
                .chain(&node.place)
                .map(|place| (place.parent.raw(), escape(&place.name)))
                .collect(),
        });
        let handles = self.handles.iter().map(|(id, handle)| HandleState {
            id: id.raw(),
            node: handle.node.raw(),
            flags: handle.flags.bits(),
            flock: handle.flock,
        });
        let locks = self.locks.iter().map(|(node, owner, held)| LockState {
            node: node.raw(),
            owner,
            pid: held.pid,
            ranges: held
                .ranges
                .iter()
                .map(|range| (range.start, range.end, range.kind == LockKind::Write))
                .collect(),
        });
        ShareState {
            root_dev: self.root_stat.st_dev,
            generation: self.nodes.next_generation(),
            nodes: nodes.collect(),
            handles: handles.collect(),
            locks: locks.collect(),
        }
    }

    /// Takes back a saved state into a fresh share of the same directory; the number of open files
    /// and locks that could not be had back.
    ///
    /// # Errors
    /// The share is in use, or the state contradicts itself.
    pub fn restore(&mut self, state: &ShareState) -> Result<usize, StateError> {
        if self.nodes.len() > 1 {
            return Err(StateError::Busy);
        }
        self.nodes.begin_restore(state.generation);
        for node in &state.nodes {
            self.restore_node(node, state.root_dev)?;
        }
        self.nodes
            .finish_restore()
            .map_err(|_| StateError::Node(0))?;
        let mut lost = 0;
        for handle in &state.handles {
            lost += usize::from(self.restore_handle(handle).is_none());
        }
        for lock in &state.locks {
            lost += usize::from(self.restore_locks(lock).is_none());
        }
        Ok(lost)
    }

    fn restore_node(&mut self, state: &NodeState, root_dev: u64) -> Result<(), StateError> {
        let on_root = state.dev == root_dev;
        let dev = if on_root {
            self.root_stat.st_dev
        } else {
            state.dev
        };
        let mut places = Vec::with_capacity(state.places.len());
        for (parent, name) in &state.places {
            let name = unescape(name).ok_or(StateError::Name)?;
            if !self.is_visible(NodeId::from_raw(*parent), &name) {
                return Err(StateError::Name);
            }
            places.push(Place {
                parent: NodeId::from_raw(*parent),
                name: name.into(),
            });
        }
        let node = Node {
            key: Key {
                dev,
                ino: state.ino,
            },
            kind: FileType::from_raw_mode(state.kind),
            place: places.pop(),
            links: places,
            lookups: state.lookups,
            pins: 0,
            told: state.told,
        };
        let id = NodeId::from_raw(state.id);
        let inserted = self.nodes.restore(id, node);
        inserted.map_err(|_| StateError::Node(state.id))
    }

    fn restore_handle(&mut self, state: &HandleState) -> Option<()> {
        let node = NodeId::from_raw(state.node);
        let flags = OFlags::from_bits_retain(state.flags);
        if super::file::writes(flags) && self.read_only {
            return None;
        }
        let permit = Permit::take(1).ok()?;
        let opened = if flags.contains(OFlags::DIRECTORY) {
            self.open_dir(node)
        } else {
            self.open_file(node, super::file::passed(flags.bits()) - OFlags::TRUNC)
        };
        let id = HandleId::from_raw(state.id);
        let handle = Handle::new(opened.ok()?, node, flags, permit);
        self.handles.restore(id, handle).ok()?;
        self.nodes.pin(node);
        let kind = match state.flock {
            Flock::None => return Some(()),
            Flock::Shared => LockKind::Read,
            Flock::Exclusive => LockKind::Write,
        };
        self.lock_whole(node, id, kind).ok()
    }

    fn restore_locks(&mut self, state: &LockState) -> Option<()> {
        let node = NodeId::from_raw(state.node);
        let (handle, _) = self
            .handles
            .iter()
            .find(|(_, handle)| handle.node == node)?;
        let owner = LockOwner {
            id: state.owner,
            pid: state.pid,
        };
        for (start, end, exclusive) in &state.ranges {
            let kind = if *exclusive {
                LockKind::Write
            } else {
                LockKind::Read
            };
            let (start, end) = (*start, *end);
            let lock = FileLock { kind, start, end };
            self.lock(node, handle, owner, lock).ok()?;
        }
        Some(())
    }
}

/// A name as text: what is not UTF-8, and `%`, as `%XX`.
fn escape(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for piece in chunk.valid().split_inclusive('%') {
            text.push_str(piece);
            if piece.ends_with('%') {
                text.push_str("25");
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// The name behind [`escape`]; `None` if it is none.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut name = Vec::with_capacity(text.len());
    let mut pieces = text.split('%');
    name.extend_from_slice(pieces.next()?.as_bytes());
    for piece in pieces {
        let byte = u8::from_str_radix(piece.get(..2)?, 16).ok()?;
        name.push(byte);
        name.extend_from_slice(piece.get(2..)?.as_bytes());
    }
    let plain = !name.is_empty() && name.len() <= 255 && name != b"." && name != b"..";
    (plain && !name.contains(&b'/') && !name.contains(&0)).then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_name_comes_back_from_its_text(name in proptest::collection::vec(1_u8.., 1..255)) {
            prop_assume!(!name.contains(&b'/') && name != b"." && name != b"..");
            prop_assert_eq!(unescape(&escape(&name)), Some(name));
        }
    }

    #[test]
    fn a_text_that_is_no_single_name_is_refused() {
        for text in [
            "",
            ".",
            "..",
            "a/b",
            "%2",
            "%zz",
            "a%00",
            "%2F",
            "\u{e9}%\u{e9}",
        ] {
            assert_eq!(unescape(text), None, "{text}");
        }
    }
}

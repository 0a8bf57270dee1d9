//! A shared folder, over FUSE and over 9p. Beside the folder lies what the guest must not reach.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use devices::backend::fs::{Cache, FsSpec, Protocol, Security};
use devices::virtio::fs::Fs;
use devices::virtio::p9::P9;

use super::Subject;
use crate::ground::Folder;

const SECRET: &[u8] = b"not the guest's";

/// The share and what is beside it.
#[derive(Debug)]
struct Tree {
    folder: Folder,
    read_only: bool,
}

impl Tree {
    fn new() -> Self {
        let folder = Folder::new();
        let share = folder.path().join("share");
        let made = fs::create_dir(&share)
            .and_then(|()| fs::create_dir(share.join("dir")))
            .and_then(|()| fs::write(share.join("file"), b"0123456789abcdef"))
            .and_then(|()| fs::write(share.join("dir/inner"), b"inner"))
            .and_then(|()| symlink("../outside", share.join("link")))
            .and_then(|()| fs::write(folder.path().join("outside"), SECRET));
        made.expect("the share");
        Self {
            folder,
            read_only: false,
        }
    }

    fn share(&self) -> PathBuf {
        self.folder.path().join("share")
    }

    /// Nothing beside the share was touched, and nothing in a share that is read-only.
    fn check(&self) {
        let outside = fs::read(self.folder.path().join("outside"));
        assert_eq!(outside.ok().as_deref(), Some(SECRET), "the file outside");
        let beside = fs::read_dir(self.folder.path()).map(Iterator::count);
        assert_eq!(beside.ok(), Some(2), "files beside the share");
        if self.read_only {
            let file = fs::read(self.share().join("file"));
            assert_eq!(file.ok().as_deref(), Some(&b"0123456789abcdef"[..]));
            let entries = fs::read_dir(self.share()).map(Iterator::count);
            assert_eq!(entries.ok(), Some(3), "files in a read-only share");
        }
    }
}

/// A share over virtio-fs.
#[derive(Debug)]
pub struct Fuse {
    tree: Tree,
    /// Requests under way, by their number.
    opcodes: BTreeMap<u64, u32>,
    /// Numbers that the server gave to files.
    nodes: Vec<u64>,
    /// Numbers that it gave to what is open.
    handles: Vec<u64>,
}

impl Default for Fuse {
    fn default() -> Self {
        Self {
            tree: Tree::new(),
            opcodes: BTreeMap::new(),
            nodes: Vec::new(),
            handles: Vec::new(),
        }
    }
}

/// What a request's body begins with, or holds further on.
const OF_NODES: [u32; 3] = [12, 13, 45];
const OF_HANDLES: [u32; 15] = [15, 16, 18, 20, 25, 28, 29, 30, 31, 32, 33, 43, 44, 46, 47];
/// Names a second file and what is open of it.
const COPY_FILE_RANGE: u32 = 47;
/// Requests that are answered by a file's number: LOOKUP, SYMLINK, MKNOD, MKDIR, LINK, CREATE, TMPFILE.
const GIVES_NODE: [u32; 7] = [1, 6, 8, 9, 13, 35, 51];
/// Those that are answered by that of something open, at this place: OPEN, OPENDIR, CREATE, TMPFILE.
const GIVES_HANDLE: [(u32, usize); 4] = [(14, 16), (27, 16), (35, 144), (51, 144)];
/// What an input can name, of either kind.
const NAMED: u64 = 0x40;

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + 8)?.try_into().ok()?;
    Some(u64::from_le_bytes(bytes))
}

/// Puts the one of `known` that the number at `at` counts to, from `first` on, in its place.
fn mend_number(request: &mut [u8], at: usize, first: u64, known: &[u64]) {
    let named = number(request, at).filter(|named| (first..NAMED).contains(named));
    if let Some(named) = named
        && let Ok(index) = usize::try_from(named - first)
        && let Some(known) = known.get(index % known.len().max(1))
    {
        request[at..at + 8].copy_from_slice(&known.to_le_bytes());
    }
}

impl Subject for Fuse {
    type Device = Fs;

    fn device(&mut self, choice: u8) -> Fs {
        let caches = [Cache::Auto, Cache::Never, Cache::Always];
        let spec = FsSpec {
            read_only: choice & 1 != 0,
            cache: caches[usize::from(choice >> 1) % caches.len()],
            ..FsSpec::new("share", self.tree.share())
        };
        self.tree.read_only = spec.read_only;
        Fs::new(0, &spec).expect("the share")
    }

    /// Puts in the length, and the server's numbers of files.
    fn mend(&mut self, _queue: u16, request: &mut Vec<u8>) {
        let len = u32::try_from(request.len()).unwrap_or(u32::MAX);
        let Some(head) = request.get_mut(..8) else {
            return;
        };
        head[..4].copy_from_slice(&len.to_le_bytes());
        let opcode = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        if let Some(unique) = number(request, 8) {
            self.opcodes.insert(unique, opcode);
        }
        // The root is 1, of which everybody knows.
        mend_number(request, 16, 2, &self.nodes);
        if OF_NODES.contains(&opcode) {
            mend_number(request, 40, 2, &self.nodes);
        }
        if OF_HANDLES.contains(&opcode) {
            mend_number(request, 40, 0, &self.handles);
        }
        if opcode == COPY_FILE_RANGE {
            mend_number(request, 56, 2, &self.nodes);
            mend_number(request, 64, 0, &self.handles);
        }
    }

    fn learn(&mut self, _queue: u16, answer: &[u8]) {
        let opcode = number(answer, 8).and_then(|unique| self.opcodes.remove(&unique));
        let Some(opcode) = opcode.filter(|_| answer[4..8] == [0; 4]) else {
            return;
        };
        if GIVES_NODE.contains(&opcode) {
            self.nodes.extend(number(answer, 16));
        }
        for (_, at) in GIVES_HANDLE.iter().filter(|(it, _)| *it == opcode) {
            self.handles.extend(number(answer, *at));
        }
    }

    fn check(&mut self) {
        self.tree.check();
    }

    fn is_success(&self, _queue: u16, answer: &[u8]) -> bool {
        answer.get(4..8) == Some(&[0; 4])
    }
}

/// A share over virtio-9p.
#[derive(Debug)]
pub struct NineP {
    tree: Tree,
}

impl Default for NineP {
    fn default() -> Self {
        Self { tree: Tree::new() }
    }
}

impl Subject for NineP {
    type Device = P9;

    fn device(&mut self, choice: u8) -> P9 {
        let models = [Security::None, Security::Passthrough, Security::MappedXattr];
        let spec = FsSpec {
            read_only: choice & 1 != 0,
            protocol: Protocol::P9,
            security: models[usize::from(choice >> 1) % models.len()],
            ..FsSpec::new("share", self.tree.share())
        };
        self.tree.read_only = spec.read_only;
        P9::new(0, &spec).expect("the share")
    }

    /// Puts in the length.
    fn mend(&mut self, _queue: u16, request: &mut Vec<u8>) {
        let len = u32::try_from(request.len()).unwrap_or(u32::MAX);
        if let Some(head) = request.get_mut(..4) {
            head.copy_from_slice(&len.to_le_bytes());
        }
    }

    fn check(&mut self) {
        self.tree.check();
    }

    fn is_success(&self, _queue: u16, answer: &[u8]) -> bool {
        answer.get(4).is_some_and(|&kind| kind != 7)
    }
}

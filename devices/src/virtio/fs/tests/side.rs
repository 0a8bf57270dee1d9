//! The FUSE server as a side of the comparison with plain files.

use std::collections::HashMap;
use std::path::Path;

use rustix::io::Errno;
use zerocopy::IntoBytes;

use super::client::{Client, ROOT, named, spec, with_names};
use crate::virtio::fs::Cache;
use crate::virtio::fs::protocol::*;
use crate::virtio::semantics::{Meta, Side};

type At<'a> = (u64, &'a str);

pub(in crate::virtio) struct FuseSide {
    client: Client,
    top: u64,
    /// Nodes looked up and not yet forgotten.
    known: Vec<u64>,
    /// Node, handle and flags of open files.
    files: HashMap<u64, (u64, u64, i32)>,
    next: u64,
    lists: u32,
}

fn meta(attr: &Attr) -> Meta {
    Meta {
        mode: attr.mode,
        nlink: u64::from(attr.nlink),
        uid: attr.uid,
        gid: attr.gid,
        size: attr.size,
        mtime: attr.mtime.cast_signed(),
    }
}

impl FuseSide {
    pub(in crate::virtio) fn new(base: &Path) -> Self {
        Self {
            client: Client::of(&spec(base, false, Cache::Auto)),
            top: 0,
            known: Vec::new(),
            files: HashMap::new(),
            next: 0,
            lists: 0,
        }
    }

    fn entry(&mut self, entry: Result<EntryOut, Errno>) -> Result<EntryOut, Errno> {
        let entry = entry?;
        self.known.push(entry.nodeid);
        Ok(entry)
    }

    fn node(&mut self, at: At<'_>) -> Result<u64, Errno> {
        let entry = self.client.lookup(at.0, at.1);
        Ok(self.entry(entry)?.nodeid)
    }

    fn set(&mut self, at: At<'_>, args: SetattrIn) -> Result<(), Errno> {
        let node = self.node(at)?;
        self.client.setattr(node, args).map(drop)
    }

    fn keep(&mut self, node: u64, fh: u64, flags: i32) -> u64 {
        self.next += 1;
        self.files.insert(self.next, (node, fh, flags));
        self.next
    }

    /// An attribute's value, or the list, by its length first, as programs ask.
    fn sized(&mut self, opcode: u32, node: u64, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let ask = |size| {
            let args = GetxattrIn { size, padding: 0 };
            [args.as_bytes(), name].concat()
        };
        let size: GetxattrOut = self.client.ask(opcode, node, &ask(0))?;
        if size.size == 0 {
            return Ok(Vec::new());
        }
        self.client.raw(opcode, node, &ask(size.size), size.size)
    }
}

impl Side for FuseSide {
    type Node = u64;

    fn begin(&mut self, name: &str) -> u64 {
        self.top = self.client.lookup(ROOT, name).unwrap().nodeid;
        self.top
    }

    fn child(&mut self, parent: u64, name: &str) -> Result<u64, Errno> {
        self.node((parent, name))
    }

    fn forget(&mut self) {
        for node in std::mem::take(&mut self.known) {
            self.client.forget(node, 1);
        }
    }

    fn end(&mut self) {
        assert!(self.files.is_empty());
        self.forget();
        self.client.forget(self.top, 1);
    }

    fn stat(&mut self, at: At<'_>) -> Result<Meta, Errno> {
        let node = self.node(at)?;
        Ok(meta(&self.client.getattr(node)?))
    }

    fn chmod(&mut self, at: At<'_>, mode: u32) -> Result<(), Errno> {
        let args = SetattrIn {
            valid: SetattrValid::MODE.bits(),
            mode,
            ..SetattrIn::default()
        };
        self.set(at, args)
    }

    fn chown(&mut self, at: At<'_>, uid: u32, gid: u32) -> Result<(), Errno> {
        let args = SetattrIn {
            valid: (SetattrValid::UID | SetattrValid::GID).bits(),
            uid,
            gid,
            ..SetattrIn::default()
        };
        self.set(at, args)
    }

    fn truncate(&mut self, at: At<'_>, size: u64) -> Result<(), Errno> {
        let args = SetattrIn {
            valid: SetattrValid::SIZE.bits(),
            size,
            ..SetattrIn::default()
        };
        self.set(at, args)
    }

    fn set_times(&mut self, at: At<'_>, seconds: i64) -> Result<(), Errno> {
        let args = SetattrIn {
            valid: (SetattrValid::ATIME | SetattrValid::MTIME).bits(),
            atime: seconds.cast_unsigned(),
            mtime: seconds.cast_unsigned(),
            ..SetattrIn::default()
        };
        self.set(at, args)
    }

    fn mkdir(&mut self, at: At<'_>, mode: u32) -> Result<(), Errno> {
        let args = MkdirIn { mode, umask: 0 };
        let body = with_names(&args, &[at.1]);
        let entry = self.client.ask(opcode::MKDIR, at.0, &body);
        self.entry(entry).map(drop)
    }

    fn mkfifo(&mut self, at: At<'_>, mode: u32) -> Result<(), Errno> {
        let args = MknodIn {
            mode: libc::S_IFIFO | mode,
            ..MknodIn::default()
        };
        let body = with_names(&args, &[at.1]);
        let entry = self.client.ask(opcode::MKNOD, at.0, &body);
        self.entry(entry).map(drop)
    }

    fn symlink(&mut self, at: At<'_>, target: &str) -> Result<(), Errno> {
        let entry = self.client.symlink(at.0, at.1, target);
        self.entry(entry).map(drop)
    }

    fn readlink(&mut self, at: At<'_>) -> Result<String, Errno> {
        let node = self.node(at)?;
        self.client.readlink(node)
    }

    fn link(&mut self, from: At<'_>, to: At<'_>) -> Result<(), Errno> {
        let node = self.node(from)?;
        let entry = self.client.link(node, to.0, to.1);
        self.entry(entry).map(drop)
    }

    fn rename(&mut self, from: At<'_>, to: At<'_>) -> Result<(), Errno> {
        self.client.rename(from, to, 0)
    }

    fn unlink(&mut self, at: At<'_>) -> Result<(), Errno> {
        self.client.unlink(at.0, at.1)
    }

    fn rmdir(&mut self, at: At<'_>) -> Result<(), Errno> {
        self.client.rmdir(at.0, at.1)
    }

    fn list(&mut self, at: At<'_>) -> Result<Vec<(String, u8)>, Errno> {
        let node = self.node(at)?;
        if self.client.getattr(node)?.mode & libc::S_IFMT != libc::S_IFDIR {
            return Err(self.client.opendir(node).unwrap_err());
        }
        self.lists += 1;
        let (plus, size) = (
            self.lists.is_multiple_of(2),
            [300, 4096][self.lists as usize / 2 % 2],
        );
        let mut names = Vec::new();
        for listed in self.client.try_list(node, size, plus)? {
            if let Some(entry) = listed.entry {
                self.known.push(entry.nodeid);
            }
            names.push((listed.name, listed.dirent.kind as u8));
        }
        Ok(names)
    }

    fn set_xattr(&mut self, at: At<'_>, name: &str, value: &[u8], flags: u32) -> Result<(), Errno> {
        let node = self.node(at)?;
        let args = SetxattrIn {
            size: value.len() as u32,
            flags,
            ..SetxattrIn::default()
        };
        let body = [args.as_bytes(), &named(name), value].concat();
        self.client.order(opcode::SETXATTR, node, &body)
    }

    fn get_xattr(&mut self, at: At<'_>, name: &str) -> Result<Vec<u8>, Errno> {
        let node = self.node(at)?;
        self.sized(opcode::GETXATTR, node, &named(name))
    }

    fn list_xattrs(&mut self, at: At<'_>) -> Result<Vec<u8>, Errno> {
        let node = self.node(at)?;
        self.sized(opcode::LISTXATTR, node, &[])
    }

    fn remove_xattr(&mut self, at: At<'_>, name: &str) -> Result<(), Errno> {
        let node = self.node(at)?;
        self.client.order(opcode::REMOVEXATTR, node, &named(name))
    }

    fn create(&mut self, at: At<'_>, flags: i32, mode: u32) -> Result<u64, Errno> {
        let (entry, opened) = self
            .client
            .create(at.0, at.1, flags | libc::O_CREAT, mode)?;
        self.known.push(entry.nodeid);
        Ok(self.keep(entry.nodeid, opened.fh, flags))
    }

    fn open(&mut self, at: At<'_>, flags: i32) -> Result<u64, Errno> {
        let node = self.node(at)?;
        let opened = self.client.open(node, flags)?;
        Ok(self.keep(node, opened.fh, flags))
    }

    fn close(&mut self, file: u64) -> Result<(), Errno> {
        let (node, fh, _) = self.files.remove(&file).ok_or(Errno::BADF)?;
        self.client.release(node, fh)
    }

    fn read(&mut self, file: u64, offset: u64, len: u32) -> Result<Vec<u8>, Errno> {
        let (node, fh, _) = self.files[&file];
        self.client.read(node, fh, offset, len)
    }

    fn write(&mut self, file: u64, offset: u64, data: &[u8]) -> Result<u32, Errno> {
        let (node, fh, flags) = self.files[&file];
        let args = WriteIn {
            fh,
            offset,
            flags: flags as u32,
            ..WriteIn::default()
        };
        self.client.write_with(node, data, args)
    }

    fn fstat(&mut self, file: u64) -> Result<Meta, Errno> {
        let (node, _, _) = self.files[&file];
        Ok(meta(&self.client.getattr(node)?))
    }

    fn ftruncate(&mut self, file: u64, size: u64) -> Result<(), Errno> {
        let (node, fh, _) = self.files[&file];
        let args = SetattrIn {
            valid: (SetattrValid::SIZE | SetattrValid::FH).bits(),
            fh,
            size,
            ..SetattrIn::default()
        };
        self.client.setattr(node, args).map(drop)
    }

    fn fsync(&mut self, file: u64, data_only: bool) -> Result<(), Errno> {
        let (node, fh, _) = self.files[&file];
        let args = FsyncIn {
            fh,
            fsync_flags: u32::from(data_only),
            ..FsyncIn::default()
        };
        self.client.order(opcode::FSYNC, node, args.as_bytes())
    }
}

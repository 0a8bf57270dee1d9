//! A guest's FUSE client, in bytes: what Linux would send.

use std::path::Path;

use rustix::io::Errno;
use tempfile::TempDir;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::virtio::fs::protocol::*;
use crate::virtio::fs::{Cache, Fs, FsSpec};
use crate::virtio::testing::Driver;

pub(in crate::virtio) const ROOT: u64 = 1;
pub(in crate::virtio) const HIPRIO: u16 = 0;
pub(in crate::virtio) const REQUESTS: u16 = 1;

/// The flags that Linux 6.12 offers, those that we know of.
pub(in crate::virtio) const OFFERED: u64 = InitFlags::all().bits();

pub(in crate::virtio) struct Client {
    pub(in crate::virtio) driver: Driver<Fs>,
    unique: u64,
    pub(in crate::virtio) uid: u32,
    pub(in crate::virtio) gid: u32,
    /// The share, if this client made it.
    dir: Option<TempDir>,
}

pub(in crate::virtio) fn spec(path: &Path, read_only: bool, cache: Cache) -> FsSpec {
    FsSpec {
        read_only,
        cache,
        ..FsSpec::new("share", path)
    }
}

impl Client {
    /// A client of a new, empty, writable share.
    pub(in crate::virtio) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut client = Self::of(&spec(dir.path(), false, Cache::Auto));
        client.dir = Some(dir);
        client
    }

    pub(in crate::virtio) fn of(spec: &FsSpec) -> Self {
        let mut client = Self::silent(Fs::new(0, spec).unwrap());
        client.init(OFFERED);
        client
    }

    /// A client that has not said INIT.
    pub(in crate::virtio) fn silent(device: Fs) -> Self {
        Self {
            driver: Driver::new(device),
            unique: 1,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            dir: None,
        }
    }

    pub(in crate::virtio) fn path(&self) -> &Path {
        self.dir.as_ref().unwrap().path()
    }

    pub(in crate::virtio) fn init(&mut self, offered: u64) -> InitOut {
        let args = InitIn {
            major: 7,
            minor: 38,
            max_readahead: 128 << 10,
            flags: offered as u32,
        };
        let more = InitInExt {
            flags2: (offered >> 32) as u32,
            unused: [0; 11],
        };
        let both = [args.as_bytes(), more.as_bytes()].concat();
        self.ask(opcode::INIT, 0, &both).unwrap()
    }

    /// The header and body of a request, with its number.
    pub(in crate::virtio) fn message(
        &mut self,
        opcode: u32,
        node: u64,
        body: &[u8],
    ) -> (u64, Vec<u8>) {
        self.unique += 2;
        let header = InHeader {
            len: (size_of::<InHeader>() + body.len()) as u32,
            opcode,
            unique: self.unique,
            nodeid: node,
            uid: self.uid,
            gid: self.gid,
            pid: 42,
            ..InHeader::default()
        };
        (self.unique, [header.as_bytes(), body].concat())
    }

    /// Sends a request and returns the body of the answer, of at most `room` bytes.
    pub(in crate::virtio) fn raw(
        &mut self,
        opcode: u32,
        node: u64,
        body: &[u8],
        room: u32,
    ) -> Result<Vec<u8>, Errno> {
        let (unique, message) = self.message(opcode, node, body);
        let (head, rest) = message.split_at(size_of::<InHeader>());
        let answer = self.driver.request(REQUESTS, &[head, rest], &[16, room]);
        body_of(unique, &answer)
    }

    /// Sends a request whose answer is a plain value.
    pub(in crate::virtio) fn ask<T: FromBytes>(
        &mut self,
        opcode: u32,
        node: u64,
        body: &[u8],
    ) -> Result<T, Errno> {
        let body = self.raw(opcode, node, body, size_of::<T>() as u32)?;
        Ok(T::read_from_bytes(&body).expect("an answer of another length"))
    }

    /// Sends a request whose answer is empty.
    pub(in crate::virtio) fn order(
        &mut self,
        opcode: u32,
        node: u64,
        body: &[u8],
    ) -> Result<(), Errno> {
        let body = self.raw(opcode, node, body, 0)?;
        assert!(body.is_empty());
        Ok(())
    }

    pub(in crate::virtio) fn lookup(&mut self, parent: u64, name: &str) -> Result<EntryOut, Errno> {
        self.ask(opcode::LOOKUP, parent, &named(name))
    }

    /// The node at a path of plain names.
    pub(in crate::virtio) fn walk(&mut self, path: &str) -> Result<u64, Errno> {
        path.split('/')
            .try_fold(ROOT, |node, name| Ok(self.lookup(node, name)?.nodeid))
    }

    pub(in crate::virtio) fn forget(&mut self, node: u64, nlookup: u64) {
        let args = ForgetIn { nlookup };
        let (_, message) = self.message(opcode::FORGET, node, args.as_bytes());
        let answer = self.driver.request(HIPRIO, &[&message], &[]);
        assert!(answer.is_empty());
    }

    pub(in crate::virtio) fn getattr(&mut self, node: u64) -> Result<Attr, Errno> {
        let args = GetattrIn::default();
        let out: AttrOut = self.ask(opcode::GETATTR, node, args.as_bytes())?;
        Ok(out.attr)
    }

    pub(in crate::virtio) fn setattr(&mut self, node: u64, args: SetattrIn) -> Result<Attr, Errno> {
        let out: AttrOut = self.ask(opcode::SETATTR, node, args.as_bytes())?;
        Ok(out.attr)
    }

    pub(in crate::virtio) fn open(&mut self, node: u64, flags: i32) -> Result<OpenOut, Errno> {
        let args = OpenIn {
            flags: flags as u32,
            open_flags: 0,
        };
        self.ask(opcode::OPEN, node, args.as_bytes())
    }

    pub(in crate::virtio) fn create(
        &mut self,
        parent: u64,
        name: &str,
        flags: i32,
        mode: u32,
    ) -> Result<(EntryOut, OpenOut), Errno> {
        let args = CreateIn {
            flags: (flags | libc::O_CREAT) as u32,
            mode: libc::S_IFREG | mode,
            umask: 0o022,
            open_flags: 0,
        };
        let body = [args.as_bytes(), &named(name)].concat();
        let out = self.raw(opcode::CREATE, parent, &body, 128 + 16)?;
        let (entry, opened) = EntryOut::read_from_prefix(&out).unwrap();
        Ok((entry, OpenOut::read_from_bytes(opened).unwrap()))
    }

    /// Makes a file that holds `data`, and forgets nothing.
    pub(in crate::virtio) fn put(&mut self, parent: u64, name: &str, data: &[u8]) -> u64 {
        let (entry, opened) = self.create(parent, name, libc::O_RDWR, 0o644).unwrap();
        assert_eq!(
            self.write(entry.nodeid, opened.fh, 0, data),
            Ok(data.len() as u32)
        );
        self.release(entry.nodeid, opened.fh).unwrap();
        entry.nodeid
    }

    pub(in crate::virtio) fn release(&mut self, node: u64, fh: u64) -> Result<(), Errno> {
        let args = ReleaseIn {
            fh,
            ..ReleaseIn::default()
        };
        self.order(opcode::RELEASE, node, args.as_bytes())
    }

    pub(in crate::virtio) fn read(
        &mut self,
        node: u64,
        fh: u64,
        offset: u64,
        size: u32,
    ) -> Result<Vec<u8>, Errno> {
        let args = ReadIn {
            fh,
            offset,
            size,
            ..ReadIn::default()
        };
        self.raw(opcode::READ, node, args.as_bytes(), size)
    }

    pub(in crate::virtio) fn write(
        &mut self,
        node: u64,
        fh: u64,
        offset: u64,
        data: &[u8],
    ) -> Result<u32, Errno> {
        self.write_with(
            node,
            data,
            WriteIn {
                fh,
                offset,
                ..WriteIn::default()
            },
        )
    }

    pub(in crate::virtio) fn write_with(
        &mut self,
        node: u64,
        data: &[u8],
        args: WriteIn,
    ) -> Result<u32, Errno> {
        let args = WriteIn {
            size: data.len() as u32,
            ..args
        };
        let body = [args.as_bytes(), data].concat();
        let out: WriteOut = self.ask(opcode::WRITE, node, &body)?;
        Ok(out.size)
    }

    /// The whole content of a file.
    pub(in crate::virtio) fn content(&mut self, node: u64) -> Result<Vec<u8>, Errno> {
        let opened = self.open(node, libc::O_RDONLY)?;
        let data = self.read(node, opened.fh, 0, 1 << 16)?;
        self.release(node, opened.fh)?;
        Ok(data)
    }

    pub(in crate::virtio) fn opendir(&mut self, node: u64) -> Result<u64, Errno> {
        let opened: OpenOut = self.ask(opcode::OPENDIR, node, OpenIn::default().as_bytes())?;
        Ok(opened.fh)
    }

    /// One READDIR or READDIRPLUS: the entries, each with its own look-up if asked for.
    pub(in crate::virtio) fn readdir_at(
        &mut self,
        node: u64,
        fh: u64,
        offset: u64,
        size: u32,
        plus: bool,
    ) -> Result<Vec<Listed>, Errno> {
        let args = ReadIn {
            fh,
            offset,
            size,
            ..ReadIn::default()
        };
        let opcode = if plus {
            opcode::READDIRPLUS
        } else {
            opcode::READDIR
        };
        let bytes = self.raw(opcode, node, args.as_bytes(), size)?;
        Ok(listed(&bytes, plus))
    }

    /// Every entry of a directory but `.` and `..`, read in pieces of `size` bytes.
    pub(in crate::virtio) fn list(&mut self, node: u64, size: u32, plus: bool) -> Vec<Listed> {
        self.try_list(node, size, plus).unwrap()
    }

    pub(in crate::virtio) fn try_list(
        &mut self,
        node: u64,
        size: u32,
        plus: bool,
    ) -> Result<Vec<Listed>, Errno> {
        let fh = self.opendir(node).unwrap_or(0);
        let (mut all, mut offset) = (Vec::new(), 0);
        let read = loop {
            let some = match self.readdir_at(node, fh, offset, size, plus) {
                Ok(some) => some,
                Err(errno) => break Err(errno),
            };
            let Some(last) = some.last() else {
                break Ok(());
            };
            offset = last.dirent.off;
            all.extend(some);
        };
        if fh != 0 {
            let args = ReleaseIn {
                fh,
                ..ReleaseIn::default()
            };
            self.order(opcode::RELEASEDIR, node, args.as_bytes())
                .unwrap();
        }
        all.retain(|entry| entry.name != "." && entry.name != "..");
        read.map(|()| all)
    }

    pub(in crate::virtio) fn mkdir(&mut self, parent: u64, name: &str) -> Result<EntryOut, Errno> {
        let args = MkdirIn {
            mode: 0o755,
            umask: 0o022,
        };
        self.ask(opcode::MKDIR, parent, &with_names(&args, &[name]))
    }

    pub(in crate::virtio) fn symlink(
        &mut self,
        parent: u64,
        name: &str,
        target: &str,
    ) -> Result<EntryOut, Errno> {
        let body = [named(name), named(target)].concat();
        self.ask(opcode::SYMLINK, parent, &body)
    }

    pub(in crate::virtio) fn link(
        &mut self,
        node: u64,
        parent: u64,
        name: &str,
    ) -> Result<EntryOut, Errno> {
        let args = LinkIn { oldnodeid: node };
        self.ask(opcode::LINK, parent, &with_names(&args, &[name]))
    }

    pub(in crate::virtio) fn unlink(&mut self, parent: u64, name: &str) -> Result<(), Errno> {
        self.order(opcode::UNLINK, parent, &named(name))
    }

    pub(in crate::virtio) fn rmdir(&mut self, parent: u64, name: &str) -> Result<(), Errno> {
        self.order(opcode::RMDIR, parent, &named(name))
    }

    pub(in crate::virtio) fn rename(
        &mut self,
        from: (u64, &str),
        to: (u64, &str),
        flags: u32,
    ) -> Result<(), Errno> {
        let args = Rename2In {
            newdir: to.0,
            flags,
            padding: 0,
        };
        self.order(opcode::RENAME2, from.0, &with_names(&args, &[from.1, to.1]))
    }

    pub(in crate::virtio) fn readlink(&mut self, node: u64) -> Result<String, Errno> {
        let target = self.raw(opcode::READLINK, node, &[], 4096)?;
        Ok(String::from_utf8(target).unwrap())
    }
}

/// One entry of a directory.
#[derive(Debug)]
pub(in crate::virtio) struct Listed {
    pub(in crate::virtio) name: String,
    pub(in crate::virtio) dirent: Dirent,
    pub(in crate::virtio) entry: Option<EntryOut>,
}

pub(in crate::virtio) fn listed(mut bytes: &[u8], plus: bool) -> Vec<Listed> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let before = bytes.len();
        let mut entry = None;
        if plus {
            let (out, rest) = EntryOut::read_from_prefix(bytes).unwrap();
            entry = Some(out);
            bytes = rest;
        }
        let (dirent, rest) = Dirent::read_from_prefix(bytes).unwrap();
        let (name, rest) = rest.split_at(dirent.namelen as usize);
        let used = before - rest.len();
        bytes = &rest[padded(used) - used..];
        all.push(Listed {
            name: String::from_utf8(name.to_vec()).unwrap(),
            dirent,
            entry,
        });
    }
    all
}

pub(in crate::virtio) fn named(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[0]].concat()
}

pub(in crate::virtio) fn with_names<T: IntoBytes + Immutable>(args: &T, names: &[&str]) -> Vec<u8> {
    let names = names.iter().flat_map(|name| named(name));
    args.as_bytes().iter().copied().chain(names).collect()
}

/// The body of an answer to request `unique`, or its error.
pub(in crate::virtio) fn body_of(unique: u64, answer: &[u8]) -> Result<Vec<u8>, Errno> {
    let (header, body) = OutHeader::read_from_prefix(answer).expect("no answer");
    assert_eq!(header.unique, unique);
    assert_eq!(header.len as usize, answer.len(), "length in the header");
    match header.error {
        0 => Ok(body.to_vec()),
        error => {
            assert!(body.is_empty(), "an error with a body");
            Err(Errno::from_raw_os_error(-error))
        }
    }
}

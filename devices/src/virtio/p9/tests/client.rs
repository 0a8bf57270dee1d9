//! A guest's 9P client, in bytes: what Linux would send.

use std::path::Path;

use rustix::io::Errno;
use tempfile::TempDir;

use crate::backend::fs::{FsSpec, Protocol};
use crate::virtio::p9::P9;
use crate::virtio::p9::protocol::{Body, NOFID, Qid, Reply, kind};
use crate::virtio::testing::Driver;

/// The fid of the root, attached by every client.
pub(in crate::virtio) const ROOT: u32 = 0;
pub(in crate::virtio) const QUEUE: u16 = 0;
pub(in crate::virtio) const MSIZE: u32 = 512_000;

/// Linux's flags of LOPEN and LCREATE, those of `open(2)`.
pub(in crate::virtio) const RDONLY: u32 = libc::O_RDONLY as u32;
pub(in crate::virtio) const RDWR: u32 = libc::O_RDWR as u32;

pub(in crate::virtio) struct Client {
    pub(in crate::virtio) driver: Driver<P9>,
    tag: u16,
    next_fid: u32,
    pub(in crate::virtio) uid: u32,
    pub(in crate::virtio) gid: u32,
    /// The share, if this client made it.
    dir: Option<TempDir>,
}

/// The attributes of a file, those that tests look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::virtio) struct Attr {
    pub(in crate::virtio) qid: Qid,
    pub(in crate::virtio) mode: u32,
    pub(in crate::virtio) uid: u32,
    pub(in crate::virtio) gid: u32,
    pub(in crate::virtio) nlink: u64,
    pub(in crate::virtio) rdev: u64,
    pub(in crate::virtio) size: u64,
    pub(in crate::virtio) mtime: (u64, u64),
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::virtio) struct Entry {
    pub(in crate::virtio) qid: Qid,
    pub(in crate::virtio) offset: u64,
    pub(in crate::virtio) kind: u8,
    pub(in crate::virtio) name: String,
}

pub(in crate::virtio) fn spec(path: &Path) -> FsSpec {
    FsSpec {
        protocol: Protocol::P9,
        ..FsSpec::new("share", path)
    }
}

pub(in crate::virtio) fn qid(body: &mut Body<'_>) -> Qid {
    Qid {
        kind: body.u8().unwrap(),
        version: body.u32().unwrap(),
        path: body.u64().unwrap(),
    }
}

impl Client {
    /// A client of a new, empty, writable share.
    pub(in crate::virtio) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut client = Self::of(&spec(dir.path()));
        client.dir = Some(dir);
        client
    }

    pub(in crate::virtio) fn of(spec: &FsSpec) -> Self {
        let mut client = Self::silent(P9::new(0, spec).unwrap());
        assert_eq!(client.version(MSIZE, "9P2000.L").unwrap().0, MSIZE);
        client.attach(ROOT).unwrap();
        client
    }

    /// A client that has said nothing.
    pub(in crate::virtio) fn silent(device: P9) -> Self {
        Self {
            driver: Driver::new(device),
            tag: 0,
            next_fid: 1,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            dir: None,
        }
    }

    pub(in crate::virtio) fn path(&self) -> &Path {
        self.dir.as_ref().unwrap().path()
    }

    pub(in crate::virtio) fn fid(&mut self) -> u32 {
        self.next_fid += 1;
        self.next_fid
    }

    /// A whole message with its tag.
    pub(in crate::virtio) fn message(&mut self, kind: u8, body: &[u8]) -> (u16, Vec<u8>) {
        self.tag = self.tag.wrapping_add(1);
        let mut message = Reply::default();
        message.u32(body.len() as u32 + 7).u8(kind).u16(self.tag);
        message.0.extend(body);
        (self.tag, message.0)
    }

    /// Sends a request, with data in a buffer of its own, and returns the body of the answer, of at
    /// most `room` bytes.
    pub(in crate::virtio) fn raw(
        &mut self,
        kind: u8,
        fixed: &[u8],
        data: &[u8],
        room: u32,
    ) -> Result<Vec<u8>, Errno> {
        let (tag, message) = self.message(kind, &[fixed, data].concat());
        let (head, rest) = message.split_at(message.len() - data.len());
        let answer = match data {
            [] => self.driver.request(QUEUE, &[head], &[11, room]),
            _ => self.driver.request(QUEUE, &[head, rest], &[11, room]),
        };
        body_of(tag, kind, &answer)
    }

    pub(in crate::virtio) fn ask(&mut self, kind: u8, body: &Reply) -> Result<Vec<u8>, Errno> {
        self.raw(kind, &body.0, &[], 8192)
    }

    /// Sends a request whose answer is empty.
    pub(in crate::virtio) fn order(&mut self, kind: u8, body: &Reply) -> Result<(), Errno> {
        self.ask(kind, body).map(|rest| assert!(rest.is_empty()))
    }

    /// The same, for one that returns a qid alone.
    fn make(&mut self, kind: u8, body: &Reply) -> Result<Qid, Errno> {
        let out = self.ask(kind, body)?;
        assert_eq!(out.len(), 13);
        Ok(qid(&mut Body(&out)))
    }

    pub(in crate::virtio) fn version(
        &mut self,
        msize: u32,
        text: &str,
    ) -> Result<(u32, String), Errno> {
        let mut args = Reply::default();
        args.u32(msize).text(text.as_bytes());
        let out = self.ask(kind::VERSION, &args)?;
        let mut body = Body(&out);
        let msize = body.u32().unwrap();
        let text = String::from_utf8(body.text().unwrap().to_vec()).unwrap();
        Ok((msize, text))
    }

    pub(in crate::virtio) fn attach(&mut self, fid: u32) -> Result<Qid, Errno> {
        let mut args = Reply::default();
        args.u32(fid).u32(NOFID).text(b"root").text(b"");
        args.u32(self.uid);
        self.make(kind::ATTACH, &args)
    }

    /// Walks to a new fid, as far as there are names.
    pub(in crate::virtio) fn walk_to(
        &mut self,
        from: u32,
        new: u32,
        names: &[&str],
    ) -> Result<Vec<Qid>, Errno> {
        let mut args = Reply::default();
        args.u32(from).u32(new).u16(names.len() as u16);
        for name in names {
            args.text(name.as_bytes());
        }
        let out = self.ask(kind::WALK, &args)?;
        let mut body = Body(&out);
        let count = body.u16().unwrap();
        Ok((0..count).map(|_| qid(&mut body)).collect())
    }

    /// Walks to a new fid, whole.
    pub(in crate::virtio) fn walk(&mut self, from: u32, names: &[&str]) -> Result<u32, Errno> {
        let new = self.fid();
        let qids = self.walk_to(from, new, names)?;
        if qids.len() < names.len() {
            return Err(Errno::NOENT);
        }
        Ok(new)
    }

    pub(in crate::virtio) fn clunk(&mut self, fid: u32) -> Result<(), Errno> {
        let mut args = Reply::default();
        args.u32(fid);
        self.order(kind::CLUNK, &args)
    }

    pub(in crate::virtio) fn getattr(&mut self, fid: u32) -> Result<Attr, Errno> {
        let mut args = Reply::default();
        args.u32(fid).u64(0x7ff);
        let out = self.ask(kind::GETATTR, &args)?;
        assert_eq!(out.len(), 153);
        let mut body = Body(&out);
        assert_eq!(body.u64(), Ok(0x7ff));
        let attr = Attr {
            qid: qid(&mut body),
            mode: body.u32().unwrap(),
            uid: body.u32().unwrap(),
            gid: body.u32().unwrap(),
            nlink: body.u64().unwrap(),
            rdev: body.u64().unwrap(),
            size: body.u64().unwrap(),
            mtime: {
                for _ in 0..4 {
                    body.u64().unwrap();
                }
                (body.u64().unwrap(), body.u64().unwrap())
            },
        };
        Ok(attr)
    }

    /// The attributes of a name.
    pub(in crate::virtio) fn stat(&mut self, from: u32, names: &[&str]) -> Result<Attr, Errno> {
        let fid = self.walk(from, names)?;
        let attr = self.getattr(fid);
        self.clunk(fid).unwrap();
        attr
    }

    pub(in crate::virtio) fn open(&mut self, fid: u32, flags: u32) -> Result<Qid, Errno> {
        let mut args = Reply::default();
        args.u32(fid).u32(flags);
        let out = self.ask(kind::LOPEN, &args)?;
        let mut body = Body(&out);
        let qid = qid(&mut body);
        assert!(body.u32().unwrap() < MSIZE);
        Ok(qid)
    }

    /// Walks to a file and opens it.
    pub(in crate::virtio) fn open_at(
        &mut self,
        from: u32,
        names: &[&str],
        flags: u32,
    ) -> Result<u32, Errno> {
        let fid = self.walk(from, names)?;
        match self.open(fid, flags) {
            Ok(_) => Ok(fid),
            Err(errno) => {
                self.clunk(fid).unwrap();
                Err(errno)
            }
        }
    }

    /// Makes and opens a file; its fid.
    pub(in crate::virtio) fn create(
        &mut self,
        parent: u32,
        name: &str,
        flags: u32,
        mode: u32,
    ) -> Result<u32, Errno> {
        let fid = self.walk(parent, &[])?;
        let mut args = Reply::default();
        args.u32(fid).text(name.as_bytes());
        args.u32(flags | libc::O_CREAT as u32)
            .u32(mode)
            .u32(self.gid);
        match self.ask(kind::LCREATE, &args) {
            Ok(_) => Ok(fid),
            Err(errno) => {
                self.clunk(fid).unwrap();
                Err(errno)
            }
        }
    }

    /// Makes a file that holds `data`.
    pub(in crate::virtio) fn put(&mut self, parent: u32, name: &str, data: &[u8]) {
        let fid = self.create(parent, name, RDWR, 0o644).unwrap();
        assert_eq!(self.write(fid, 0, data), Ok(data.len() as u32));
        self.clunk(fid).unwrap();
    }

    pub(in crate::virtio) fn read(
        &mut self,
        fid: u32,
        offset: u64,
        count: u32,
    ) -> Result<Vec<u8>, Errno> {
        let mut args = Reply::default();
        args.u32(fid).u64(offset).u32(count);
        let out = self.raw(kind::READ, &args.0, &[], count)?;
        let mut body = Body(&out);
        assert_eq!(body.u32().unwrap() as usize, body.0.len());
        Ok(body.0.to_vec())
    }

    pub(in crate::virtio) fn write(
        &mut self,
        fid: u32,
        offset: u64,
        data: &[u8],
    ) -> Result<u32, Errno> {
        let mut args = Reply::default();
        args.u32(fid).u64(offset).u32(data.len() as u32);
        let out = self.raw(kind::WRITE, &args.0, data, 16)?;
        Body(&out).u32()
    }

    /// The whole content of a file.
    pub(in crate::virtio) fn content(
        &mut self,
        from: u32,
        names: &[&str],
    ) -> Result<Vec<u8>, Errno> {
        let fid = self.open_at(from, names, RDONLY)?;
        let data = self.read(fid, 0, 1 << 16);
        self.clunk(fid).unwrap();
        data
    }

    pub(in crate::virtio) fn readdir_at(
        &mut self,
        fid: u32,
        offset: u64,
        count: u32,
    ) -> Result<Vec<Entry>, Errno> {
        let mut args = Reply::default();
        args.u32(fid).u64(offset).u32(count);
        let out = self.raw(kind::READDIR, &args.0, &[], count)?;
        let mut body = Body(&out);
        assert_eq!(body.u32().unwrap() as usize, body.0.len());
        let mut entries = Vec::new();
        while !body.0.is_empty() {
            entries.push(Entry {
                qid: qid(&mut body),
                offset: body.u64().unwrap(),
                kind: body.u8().unwrap(),
                name: String::from_utf8(body.text().unwrap().to_vec()).unwrap(),
            });
        }
        Ok(entries)
    }

    /// Every entry of a directory but `.` and `..`, read in pieces of `count` bytes.
    pub(in crate::virtio) fn list(&mut self, fid: u32, count: u32) -> Vec<Entry> {
        self.try_list(fid, count).unwrap()
    }

    /// The same of a directory that may not be opened for reading.
    pub(in crate::virtio) fn try_list(
        &mut self,
        fid: u32,
        count: u32,
    ) -> Result<Vec<Entry>, Errno> {
        let fid = self.open_at(fid, &[], RDONLY)?;
        let (mut all, mut offset) = (Vec::new(), 0);
        loop {
            let some = self.readdir_at(fid, offset, count).unwrap();
            let Some(last) = some.last() else { break };
            offset = last.offset;
            all.extend(some);
        }
        self.clunk(fid).unwrap();
        all.retain(|entry| entry.name != "." && entry.name != "..");
        Ok(all)
    }

    pub(in crate::virtio) fn mkdir(&mut self, parent: u32, name: &str) -> Result<Qid, Errno> {
        self.mkdir_with(parent, name, 0o755)
    }

    pub(in crate::virtio) fn mkdir_with(
        &mut self,
        parent: u32,
        name: &str,
        mode: u32,
    ) -> Result<Qid, Errno> {
        let mut args = Reply::default();
        args.u32(parent).text(name.as_bytes());
        args.u32(mode).u32(self.gid);
        self.make(kind::MKDIR, &args)
    }

    pub(in crate::virtio) fn mknod(
        &mut self,
        parent: u32,
        name: &str,
        mode: u32,
        device: (u32, u32),
    ) -> Result<Qid, Errno> {
        let mut args = Reply::default();
        args.u32(parent).text(name.as_bytes()).u32(mode);
        args.u32(device.0).u32(device.1).u32(self.gid);
        self.make(kind::MKNOD, &args)
    }

    pub(in crate::virtio) fn symlink(
        &mut self,
        parent: u32,
        name: &str,
        target: &str,
    ) -> Result<Qid, Errno> {
        let mut args = Reply::default();
        args.u32(parent).text(name.as_bytes());
        args.text(target.as_bytes()).u32(self.gid);
        self.make(kind::SYMLINK, &args)
    }

    pub(in crate::virtio) fn readlink(
        &mut self,
        from: u32,
        names: &[&str],
    ) -> Result<String, Errno> {
        let fid = self.walk(from, names)?;
        let mut args = Reply::default();
        args.u32(fid);
        let out = self.ask(kind::READLINK, &args);
        self.clunk(fid).unwrap();
        let out = out?;
        let target = Body(&out).text().unwrap().to_vec();
        Ok(String::from_utf8(target).unwrap())
    }

    pub(in crate::virtio) fn link(
        &mut self,
        fid: u32,
        parent: u32,
        name: &str,
    ) -> Result<(), Errno> {
        let mut args = Reply::default();
        args.u32(parent).u32(fid).text(name.as_bytes());
        self.order(kind::LINK, &args)
    }

    pub(in crate::virtio) fn rename(
        &mut self,
        from: (u32, &str),
        to: (u32, &str),
    ) -> Result<(), Errno> {
        let mut args = Reply::default();
        args.u32(from.0).text(from.1.as_bytes());
        args.u32(to.0).text(to.1.as_bytes());
        self.order(kind::RENAMEAT, &args)
    }

    pub(in crate::virtio) fn unlink(&mut self, parent: u32, name: &str) -> Result<(), Errno> {
        self.unlink_with(parent, name, 0)
    }

    pub(in crate::virtio) fn rmdir(&mut self, parent: u32, name: &str) -> Result<(), Errno> {
        self.unlink_with(parent, name, libc::AT_REMOVEDIR as u32)
    }

    fn unlink_with(&mut self, parent: u32, name: &str, flags: u32) -> Result<(), Errno> {
        let mut args = Reply::default();
        args.u32(parent).text(name.as_bytes()).u32(flags);
        self.order(kind::UNLINKAT, &args)
    }

    /// SETATTR of the fields in `valid`, each of which gets `value`.
    pub(in crate::virtio) fn setattr(
        &mut self,
        fid: u32,
        valid: u32,
        value: u32,
    ) -> Result<(), Errno> {
        let mut args = Reply::default();
        args.u32(fid).u32(valid);
        args.u32(value).u32(value).u32(value).u64(u64::from(value));
        for _ in 0..4 {
            args.u64(u64::from(value));
        }
        self.order(kind::SETATTR, &args)
    }

    /// Gives a file to a user and to a group.
    pub(in crate::virtio) fn set_owners(
        &mut self,
        fid: u32,
        uid: u32,
        gid: u32,
    ) -> Result<(), Errno> {
        let mut args = Reply::default();
        args.u32(fid).u32(2 | 4);
        args.u32(0).u32(uid).u32(gid).u64(0);
        for _ in 0..4 {
            args.u64(0);
        }
        self.order(kind::SETATTR, &args)
    }
}

/// The body of an answer to request `tag`, or its error.
pub(in crate::virtio) fn body_of(tag: u16, kind: u8, answer: &[u8]) -> Result<Vec<u8>, Errno> {
    let mut body = Body(answer);
    assert_eq!(body.u32().unwrap() as usize, answer.len(), "size");
    let got = body.u8().unwrap();
    assert_eq!(body.u16(), Ok(tag));
    if got == kind::RLERROR {
        let code = body.u32().unwrap();
        assert!(body.0.is_empty(), "an error with a body");
        return Err(Errno::from_raw_os_error(code as i32));
    }
    assert_eq!(got, kind + 1);
    Ok(body.0.to_vec())
}

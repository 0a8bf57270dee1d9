//! The 9P server as a side of the comparison with plain files.

use std::path::Path;

use rustix::io::Errno;

use super::client::{Attr, Client, ROOT, spec};
use super::xattrs::get;
use crate::virtio::p9::protocol::{Reply, kind};
use crate::virtio::semantics::{Meta, Side};

type At<'a> = (u32, &'a str);

const MODE: u32 = 1;
const SIZE: u32 = 8;
const TIMES: u32 = 0x10 | 0x20 | 0x80 | 0x100;
/// `XATTR_REPLACE`.
const REPLACE: u32 = 2;

pub(in crate::virtio) struct P9Side {
    client: Client,
    top: u32,
    /// Fids walked to and not yet clunked.
    known: Vec<u32>,
    lists: u32,
}

fn meta(attr: &Attr) -> Meta {
    Meta {
        mode: attr.mode,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        size: attr.size,
        mtime: attr.mtime.0.cast_signed(),
    }
}

impl P9Side {
    pub(in crate::virtio) fn new(base: &Path) -> Self {
        Self {
            client: Client::of(&spec(base)),
            top: ROOT,
            known: Vec::new(),
            lists: 0,
        }
    }

    /// Runs `call` with a fid of its own of the file.
    fn with<T>(
        &mut self,
        at: At<'_>,
        call: impl FnOnce(&mut Client, u32) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let fid = self.client.walk(at.0, &[at.1])?;
        let result = call(&mut self.client, fid);
        self.client.clunk(fid).unwrap();
        result
    }

    fn xattr(&mut self, at: At<'_>, name: &str) -> Result<Vec<u8>, Errno> {
        self.with(at, |client, fid| get(client, fid, name))
    }

    fn put_xattr(&mut self, at: At<'_>, name: &str, value: &[u8], flags: u32) -> Result<(), Errno> {
        let fid = self.client.walk(at.0, &[at.1])?;
        let mut args = Reply::default();
        args.u32(fid).text(name.as_bytes());
        args.u64(value.len() as u64).u32(flags);
        self.client.order(kind::XATTRCREATE, &args).unwrap();
        if !value.is_empty() {
            self.client.write(fid, 0, value).unwrap();
        }
        self.client.clunk(fid)
    }
}

impl Side for P9Side {
    type Node = u32;

    fn begin(&mut self, name: &str) -> u32 {
        self.top = self.client.walk(ROOT, &[name]).unwrap();
        self.top
    }

    fn child(&mut self, parent: u32, name: &str) -> Result<u32, Errno> {
        let fid = self.client.walk(parent, &[name])?;
        self.known.push(fid);
        Ok(fid)
    }

    fn forget(&mut self) {
        for fid in std::mem::take(&mut self.known) {
            self.client.clunk(fid).unwrap();
        }
    }

    fn end(&mut self) {
        self.forget();
        self.client.clunk(self.top).unwrap();
    }

    fn stat(&mut self, at: At<'_>) -> Result<Meta, Errno> {
        self.with(at, |client, fid| {
            client.getattr(fid).map(|attr| meta(&attr))
        })
    }

    fn chmod(&mut self, at: At<'_>, mode: u32) -> Result<(), Errno> {
        self.with(at, |client, fid| client.setattr(fid, MODE, mode))
    }

    fn chown(&mut self, at: At<'_>, uid: u32, gid: u32) -> Result<(), Errno> {
        self.with(at, |client, fid| client.set_owners(fid, uid, gid))
    }

    fn truncate(&mut self, at: At<'_>, size: u64) -> Result<(), Errno> {
        self.with(at, |client, fid| client.setattr(fid, SIZE, size as u32))
    }

    fn set_times(&mut self, at: At<'_>, seconds: i64) -> Result<(), Errno> {
        self.with(at, |client, fid| client.setattr(fid, TIMES, seconds as u32))
    }

    fn mkdir(&mut self, at: At<'_>, mode: u32) -> Result<(), Errno> {
        self.client.mkdir_with(at.0, at.1, mode).map(drop)
    }

    fn mkfifo(&mut self, at: At<'_>, mode: u32) -> Result<(), Errno> {
        let made = self.client.mknod(at.0, at.1, libc::S_IFIFO | mode, (0, 0));
        made.map(drop)
    }

    fn symlink(&mut self, at: At<'_>, target: &str) -> Result<(), Errno> {
        self.client.symlink(at.0, at.1, target).map(drop)
    }

    fn readlink(&mut self, at: At<'_>) -> Result<String, Errno> {
        self.client.readlink(at.0, &[at.1])
    }

    fn link(&mut self, from: At<'_>, to: At<'_>) -> Result<(), Errno> {
        self.with(from, |client, fid| client.link(fid, to.0, to.1))
    }

    fn rename(&mut self, from: At<'_>, to: At<'_>) -> Result<(), Errno> {
        self.client.rename(from, to)
    }

    fn unlink(&mut self, at: At<'_>) -> Result<(), Errno> {
        self.client.unlink(at.0, at.1)
    }

    fn rmdir(&mut self, at: At<'_>) -> Result<(), Errno> {
        self.client.rmdir(at.0, at.1)
    }

    fn list(&mut self, at: At<'_>) -> Result<Vec<(String, u8)>, Errno> {
        self.lists += 1;
        let count = [300, 4096][self.lists as usize % 2];
        self.with(at, |client, fid| {
            if client.getattr(fid)?.mode & libc::S_IFMT != libc::S_IFDIR {
                return Err(client
                    .open_at(fid, &[], libc::O_DIRECTORY as u32)
                    .unwrap_err());
            }
            let entries = client.try_list(fid, count)?;
            Ok(entries.into_iter().map(|e| (e.name, e.kind)).collect())
        })
    }

    fn set_xattr(&mut self, at: At<'_>, name: &str, value: &[u8], flags: u32) -> Result<(), Errno> {
        self.put_xattr(at, name, value, flags)
    }

    fn get_xattr(&mut self, at: At<'_>, name: &str) -> Result<Vec<u8>, Errno> {
        self.xattr(at, name)
    }

    fn list_xattrs(&mut self, at: At<'_>) -> Result<Vec<u8>, Errno> {
        self.xattr(at, "")
    }

    fn remove_xattr(&mut self, at: At<'_>, name: &str) -> Result<(), Errno> {
        self.put_xattr(at, name, &[], REPLACE)
    }

    fn create(&mut self, at: At<'_>, flags: i32, mode: u32) -> Result<u64, Errno> {
        let fid = self.client.create(at.0, at.1, flags as u32, mode)?;
        Ok(u64::from(fid))
    }

    fn open(&mut self, at: At<'_>, flags: i32) -> Result<u64, Errno> {
        let fid = self.client.open_at(at.0, &[at.1], flags as u32)?;
        Ok(u64::from(fid))
    }

    fn close(&mut self, file: u64) -> Result<(), Errno> {
        self.client.clunk(file as u32)
    }

    fn read(&mut self, file: u64, offset: u64, len: u32) -> Result<Vec<u8>, Errno> {
        self.client.read(file as u32, offset, len)
    }

    fn write(&mut self, file: u64, offset: u64, data: &[u8]) -> Result<u32, Errno> {
        self.client.write(file as u32, offset, data)
    }

    fn fstat(&mut self, file: u64) -> Result<Meta, Errno> {
        self.client.getattr(file as u32).map(|attr| meta(&attr))
    }

    fn ftruncate(&mut self, file: u64, size: u64) -> Result<(), Errno> {
        self.client.setattr(file as u32, SIZE, size as u32)
    }

    fn fsync(&mut self, file: u64, data_only: bool) -> Result<(), Errno> {
        let mut args = Reply::default();
        args.u32(file as u32).u32(u32::from(data_only));
        self.client.order(kind::FSYNC, &args)
    }
}

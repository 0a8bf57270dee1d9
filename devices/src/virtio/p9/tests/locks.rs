//! Locks between processes of the guest, and between guest and host.

use std::fs::File;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::client::{Client, QUEUE, RDWR, ROOT, body_of};
use crate::sys::fs::{FileLock, LockKind, lock_range};
use crate::virtio::p9::protocol::{Body, Reply, kind};

const READ: u8 = 0;
const WRITE: u8 = 1;
const UNLOCK: u8 = 2;
const BLOCK: u32 = 1;

struct Held {
    client: Client,
    fid: u32,
}

impl Held {
    fn new() -> Self {
        let mut client = Client::new();
        client.put(ROOT, "file", b"0123456789");
        let fid = client.open_at(ROOT, &["file"], RDWR).unwrap();
        Self { client, fid }
    }

    fn host(&self) -> File {
        let path = self.client.path().join("file");
        File::options().read(true).write(true).open(path).unwrap()
    }

    fn args(&self, kind: u8, flags: u32, range: (u64, u64), pid: u32) -> Reply {
        let mut args = Reply::default();
        args.u32(self.fid).u8(kind).u32(flags);
        args.u64(range.0).u64(range.1).u32(pid).text(b"guest");
        args
    }

    /// Whether process `pid` got the lock.
    fn set(&mut self, pid: u32, kind: u8, start: u64, len: u64) -> Result<bool, Errno> {
        let args = self.args(kind, 0, (start, len), pid);
        let out = self.client.ask(kind::LOCK, &args)?;
        Ok(out == [0])
    }

    /// Type, start, length and process of what is in the way.
    fn get(&mut self, pid: u32, kind: u8, start: u64, len: u64) -> (u8, u64, u64, u32) {
        let mut args = Reply::default();
        args.u32(self.fid).u8(kind).u64(start).u64(len);
        args.u32(pid).text(b"guest");
        let out = self.client.ask(kind::GETLOCK, &args).unwrap();
        let mut body = Body(&out);
        let kind = body.u8().unwrap();
        let (start, len) = (body.u64().unwrap(), body.u64().unwrap());
        let pid = body.u32().unwrap();
        assert_eq!(body.text(), Ok(&b"guest"[..]));
        (kind, start, len, pid)
    }

    /// Begins to wait for a lock; its tag.
    fn wait(&mut self, pid: u32) -> u16 {
        let args = self.args(WRITE, BLOCK, (0, 0), pid);
        let (tag, message) = self.client.message(kind::LOCK, &args.0);
        self.client.driver.add(QUEUE, &[&message], &[64]);
        self.client.driver.kick(QUEUE).unwrap();
        assert!(self.client.driver.pop_used(QUEUE).is_none(), "it waits");
        tag
    }
}

#[test]
fn processes_of_the_guest_keep_each_other_out() {
    let mut held = Held::new();
    assert_eq!(held.set(1, WRITE, 0, 10), Ok(true));
    assert_eq!(held.set(2, READ, 9, 1), Ok(false));
    assert_eq!(held.set(2, READ, 10, 0), Ok(true));
    assert_eq!(held.get(2, WRITE, 0, 0), (WRITE, 0, 10, 1));
    assert_eq!(held.get(1, WRITE, 0, 0), (READ, 10, 0, 2));
    assert_eq!(held.get(1, READ, 20, 5), (UNLOCK, 20, 5, 1));
    assert_eq!(held.set(1, UNLOCK, 0, 0), Ok(true));
    assert_eq!(held.set(2, WRITE, 0, 0), Ok(true));
}

#[test]
fn guest_and_host_keep_each_other_out() {
    let mut held = Held::new();
    let host = held.host();
    let lock = |kind| FileLock {
        kind,
        start: 0,
        end: 4,
    };
    lock_range(host.as_fd(), lock(LockKind::Write)).unwrap();
    assert_eq!(held.set(1, READ, 0, 1), Ok(false));
    assert_eq!(held.get(1, WRITE, 0, 0), (WRITE, 0, 5, 0));
    lock_range(host.as_fd(), lock(LockKind::Unlock)).unwrap();
    assert_eq!(held.set(1, WRITE, 0, 1), Ok(true));
    assert!(lock_range(host.as_fd(), lock(LockKind::Read)).is_err());
}

#[test]
fn the_last_of_a_fid_gives_up_the_locks_taken_through_it() {
    let mut held = Held::new();
    let host = held.host();
    let lock = FileLock {
        kind: LockKind::Write,
        start: 0,
        end: FileLock::END,
    };
    assert_eq!(held.set(1, WRITE, 0, 0), Ok(true));
    let other = held.client.open_at(ROOT, &["file"], RDWR).unwrap();
    held.client.clunk(other).unwrap();
    assert!(lock_range(host.as_fd(), lock).is_err());
    let fid = held.fid;
    held.client.clunk(fid).unwrap();
    lock_range(host.as_fd(), lock).unwrap();
}

#[test]
fn a_request_waits_until_the_lock_is_free() {
    let mut held = Held::new();
    assert_eq!(held.set(1, WRITE, 0, 0), Ok(true));
    let tag = held.wait(2);
    let (own, message) = {
        let args = held.args(UNLOCK, 0, (0, 0), 1);
        held.client.message(kind::LOCK, &args.0)
    };
    held.client.driver.add(QUEUE, &[&message], &[64]);
    held.client.driver.kick(QUEUE).unwrap();
    let first = held.client.driver.pop_used(QUEUE).unwrap();
    assert_eq!(body_of(own, kind::LOCK, &first.data), Ok(vec![0]));
    let second = held.client.driver.pop_used(QUEUE).unwrap();
    assert_eq!(body_of(tag, kind::LOCK, &second.data), Ok(vec![0]));
    assert_eq!(held.set(1, READ, 0, 1), Ok(false));
}

#[test]
fn a_request_that_waits_for_the_host_is_tried_again() {
    let mut held = Held::new();
    let host = held.host();
    let mut lock = FileLock {
        kind: LockKind::Write,
        start: 3,
        end: 3,
    };
    lock_range(host.as_fd(), lock).unwrap();
    let tag = held.wait(2);
    lock.kind = LockKind::Unlock;
    lock_range(host.as_fd(), lock).unwrap();
    let begin = Instant::now();
    let answer = loop {
        assert!(begin.elapsed() < Duration::from_secs(10), "no answer");
        held.client.driver.poll(Duration::from_millis(100)).unwrap();
        if let Some(used) = held.client.driver.pop_used(QUEUE) {
            break used;
        }
    };
    assert_eq!(body_of(tag, kind::LOCK, &answer.data), Ok(vec![0]));
}

#[test]
fn a_request_that_waits_can_be_flushed() {
    let mut held = Held::new();
    assert_eq!(held.set(1, WRITE, 0, 0), Ok(true));
    let tag = held.wait(2);
    let (own, message) = held.client.message(kind::FLUSH, &tag.to_le_bytes());
    held.client.driver.add(QUEUE, &[&message], &[64]);
    held.client.driver.kick(QUEUE).unwrap();
    let first = held.client.driver.pop_used(QUEUE).unwrap();
    assert_eq!(body_of(tag, kind::LOCK, &first.data), Err(Errno::INTR));
    let second = held.client.driver.pop_used(QUEUE).unwrap();
    assert_eq!(body_of(own, kind::FLUSH, &second.data), Ok(vec![]));
}

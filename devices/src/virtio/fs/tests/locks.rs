//! Locks between processes of the guest, and between guest and host.

use std::fs::File;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use zerocopy::IntoBytes;

use super::client::{Client, REQUESTS, ROOT, body_of};
use crate::sys::fs::{FileLock, LockKind, lock_range};
use crate::virtio::fs::protocol::*;

const READ: u32 = 0;
const WRITE: u32 = 1;
const UNLOCK: u32 = 2;

struct Held {
    client: Client,
    node: u64,
    fh: u64,
}

impl Held {
    fn new() -> Self {
        let mut client = Client::new();
        let node = client.put(ROOT, "file", b"0123456789");
        let fh = client.open(node, libc::O_RDWR).unwrap().fh;
        Self { client, node, fh }
    }

    fn host(&self) -> File {
        let path = self.client.path().join("file");
        File::options().read(true).write(true).open(path).unwrap()
    }

    fn args(&self, owner: u64, kind: u32, start: u64, end: u64) -> LkIn {
        LkIn {
            fh: self.fh,
            owner,
            lk: FileLockWire {
                start,
                end,
                kind,
                pid: 100 + owner as u32,
            },
            ..LkIn::default()
        }
    }

    fn set(&mut self, owner: u64, kind: u32, start: u64, end: u64) -> Result<(), Errno> {
        let args = self.args(owner, kind, start, end);
        self.client.order(opcode::SETLK, self.node, args.as_bytes())
    }

    fn flock(&mut self, kind: u32) -> Result<(), Errno> {
        let args = LkIn {
            lk_flags: LK_FLOCK,
            ..self.args(1, kind, 0, u64::MAX)
        };
        self.client.order(opcode::SETLK, self.node, args.as_bytes())
    }

    fn get(&mut self, owner: u64, kind: u32, start: u64, end: u64) -> FileLockWire {
        let args = self.args(owner, kind, start, end);
        let out: LkOut = self
            .client
            .ask(opcode::GETLK, self.node, args.as_bytes())
            .unwrap();
        out.lk
    }

    fn flush(&mut self, owner: u64) {
        let args = FlushIn {
            fh: self.fh,
            lock_owner: owner,
            ..FlushIn::default()
        };
        self.client
            .order(opcode::FLUSH, self.node, args.as_bytes())
            .unwrap();
    }

    /// Sends a lock request that may wait; its number and the chain's head.
    fn begin(&mut self, args: LkIn) -> u64 {
        let (unique, message) = self
            .client
            .message(opcode::SETLKW, self.node, args.as_bytes());
        self.client.driver.add(REQUESTS, &[&message], &[16]);
        self.client.driver.kick(REQUESTS).unwrap();
        unique
    }

    fn answered(&mut self, unique: u64) -> Option<Result<(), Errno>> {
        let used = self.client.driver.pop_used(REQUESTS)?;
        Some(body_of(unique, &used.data).map(drop))
    }

    fn wait(&mut self, unique: u64) -> Result<(), Errno> {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(5) {
            if let Some(answer) = self.answered(unique) {
                return answer;
            }
            self.client.driver.poll(Duration::from_millis(100)).unwrap();
        }
        panic!("no answer");
    }
}

#[test]
fn a_range_belongs_to_a_process_whatever_handle_it_comes_by() {
    let mut held = Held::new();
    held.set(1, WRITE, 0, 4).unwrap();
    assert_eq!(held.set(2, READ, 4, 9), Err(Errno::AGAIN));
    held.set(2, READ, 5, 9).unwrap();
    // The same process by another handle: no conflict with itself.
    let second = held.client.open(held.node, libc::O_RDWR).unwrap().fh;
    let first = std::mem::replace(&mut held.fh, second);
    held.set(1, WRITE, 2, 4).unwrap();
    // Closing any handle of the process gives all its ranges up, and only its own.
    held.flush(1);
    held.fh = first;
    held.set(3, WRITE, 0, 4).unwrap();
    assert_eq!(held.set(3, WRITE, 5, 5), Err(Errno::AGAIN));
    held.set(2, UNLOCK, 0, FileLock::END).unwrap();
    held.set(3, WRITE, 5, 5).unwrap();
}

#[test]
fn the_lock_in_the_way_is_told_with_its_holder() {
    let mut held = Held::new();
    assert_eq!(held.get(1, WRITE, 0, 9).kind, UNLOCK);
    held.set(1, READ, 3, 5).unwrap();
    assert_eq!(
        held.get(1, WRITE, 0, 9).kind,
        UNLOCK,
        "one's own is in nobody's way"
    );
    assert_eq!(held.get(2, READ, 0, 9).kind, UNLOCK);
    let found = held.get(2, WRITE, 0, FileLock::END);
    assert_eq!(
        (found.start, found.end, found.kind, found.pid),
        (3, 5, READ, 101)
    );
    let host = held.host();
    let lock = FileLock {
        kind: LockKind::Write,
        start: 8,
        end: FileLock::END,
    };
    lock_range(host.as_fd(), lock).unwrap();
    let found = held.get(2, READ, 6, 9);
    assert_eq!(
        (found.start, found.end, found.kind, found.pid),
        (8, FileLock::END, WRITE, 0)
    );
}

#[test]
fn guest_and_host_see_each_others_locks() {
    let mut held = Held::new();
    let host = held.host();
    let lock = |kind| FileLock {
        kind,
        start: 0,
        end: 9,
    };
    held.set(1, WRITE, 0, 9).unwrap();
    assert!(lock_range(host.as_fd(), lock(LockKind::Read)).is_err());
    held.set(1, UNLOCK, 0, 9).unwrap();
    lock_range(host.as_fd(), lock(LockKind::Read)).unwrap();
    assert_eq!(held.set(1, WRITE, 0, 0), Err(Errno::AGAIN));
    held.set(1, READ, 0, 0).unwrap();

    held.flock(WRITE).unwrap();
    let refused = flock(&host, FlockOperation::NonBlockingLockShared);
    assert_eq!(refused, Err(Errno::WOULDBLOCK));
    // Closing the file gives the lock up.
    held.client.release(held.node, held.fh).unwrap();
    flock(&host, FlockOperation::NonBlockingLockShared).unwrap();
    held.fh = held.client.open(held.node, libc::O_RDONLY).unwrap().fh;
    held.flock(READ).unwrap();
    assert_eq!(held.flock(WRITE), Err(Errno::WOULDBLOCK));
}

#[test]
fn closing_the_last_handle_gives_up_what_a_guest_forgot_to() {
    let mut held = Held::new();
    held.set(1, WRITE, 0, 9).unwrap();
    held.client.release(held.node, held.fh).unwrap();
    let lock = FileLock {
        kind: LockKind::Write,
        start: 0,
        end: 9,
    };
    lock_range(held.host().as_fd(), lock).unwrap();
}

#[test]
fn a_request_waits_until_another_process_gives_its_lock_up() {
    let mut held = Held::new();
    held.set(1, WRITE, 0, 9).unwrap();
    let waiting = held.begin(held.args(2, WRITE, 0, 0));
    assert_eq!(held.answered(waiting), None);
    // Others are served meanwhile.
    assert_eq!(held.client.read(held.node, held.fh, 0, 3).unwrap(), b"012");
    assert_eq!(held.answered(waiting), None);
    let args = held.args(1, UNLOCK, 0, 9);
    let (unlock, message) = held
        .client
        .message(opcode::SETLK, held.node, args.as_bytes());
    held.client.driver.add(REQUESTS, &[&message], &[16]);
    held.client.driver.kick(REQUESTS).unwrap();
    assert_eq!(held.answered(unlock), Some(Ok(())));
    assert_eq!(
        held.answered(waiting),
        Some(Ok(())),
        "granted in the same breath"
    );
    assert_eq!(held.set(1, READ, 0, 0), Err(Errno::AGAIN));
}

#[test]
fn a_request_waits_until_the_host_gives_its_lock_up() {
    let mut held = Held::new();
    let host = held.host();
    flock(&host, FlockOperation::NonBlockingLockExclusive).unwrap();
    let args = LkIn {
        lk_flags: LK_FLOCK,
        ..held.args(1, WRITE, 0, u64::MAX)
    };
    let waiting = held.begin(args);
    held.client.driver.poll(Duration::from_millis(100)).unwrap();
    assert_eq!(held.answered(waiting), None);
    drop(host);
    assert_eq!(held.wait(waiting), Ok(()));
    // Nothing waits any more, so nothing wakes us.
    held.client.driver.poll(Duration::ZERO).unwrap();
    assert_eq!(
        held.client.driver.poll(Duration::from_millis(60)).unwrap(),
        0
    );
}

#[test]
fn an_interrupted_request_ends_and_takes_no_lock() {
    let mut held = Held::new();
    held.set(1, WRITE, 0, 9).unwrap();
    let other = held.begin(held.args(3, WRITE, 9, 9));
    let waiting = held.begin(held.args(2, WRITE, 0, 0));
    let args = InterruptIn { unique: waiting };
    let (_, message) = held.client.message(opcode::INTERRUPT, 0, args.as_bytes());
    held.client.driver.add(REQUESTS, &[&message], &[]);
    held.client.driver.kick(REQUESTS).unwrap();
    let used: Vec<_> = std::iter::from_fn(|| held.client.driver.pop_used(REQUESTS)).collect();
    assert_eq!(used.len(), 2, "the interruption, and what was interrupted");
    let answer = used.iter().find(|used| !used.data.is_empty()).unwrap();
    assert_eq!(body_of(waiting, &answer.data), Err(Errno::INTR));
    held.client.driver.poll(Duration::from_millis(50)).unwrap();
    assert_eq!(held.answered(other), None);
}

#[test]
fn a_reset_forgets_what_waits() {
    let mut held = Held::new();
    held.set(1, WRITE, 0, 9).unwrap();
    held.begin(held.args(2, WRITE, 0, 0));
    held.client.driver.quiesce();
    crate::virtio::device::VirtioDevice::reset(&mut held.client.driver.device);
    assert!(held.client.driver.events.watched().is_empty());
    held.client.driver.set_up_queues();
    held.client.driver.activate().unwrap();
    held.client.init(super::client::OFFERED);
    held.node = held.client.walk("file").unwrap();
    held.fh = held.client.open(held.node, libc::O_RDWR).unwrap().fh;
    held.set(3, WRITE, 0, 9).unwrap();
}

#[test]
fn locks_that_make_no_sense_are_refused() {
    let mut held = Held::new();
    assert_eq!(held.set(1, 7, 0, 9), Err(Errno::INVAL));
    assert_eq!(held.set(1, READ, 9, 0), Err(Errno::INVAL));
    assert_eq!(held.set(1, READ, u64::MAX, u64::MAX), Err(Errno::INVAL));
    let dir = held.client.opendir(ROOT).unwrap();
    let args = LkIn {
        fh: dir,
        ..held.args(1, READ, 0, 9)
    };
    let on_dir = held.client.order(opcode::SETLK, ROOT, args.as_bytes());
    assert_eq!(on_dir, Err(Errno::BADF));
    let of_other = held.client.order(opcode::SETLK, held.node, args.as_bytes());
    assert_eq!(of_other, Err(Errno::BADF));
}

//! Random sequences of file operations, each run on plain files, through the FUSE server and through
//! the 9P server: results and trees have to be the same.
//!
//! `SEQUENCES=100000 cargo test -p devices semantics` runs as many as that; `SEED` begins elsewhere.
//!
//! What a guest's kernel decides before it asks a server is decided in [`run`], for all alike:
//!
//! * a pipe is never opened, and only regular files are truncated by name;
//! * an open file is truncated only if it is open for writing;
//! * the mode of a link does not change.
//!
//! Not compared, for what is behind it is not the server's to keep:
//!
//! * times that were not set explicitly (the sides run one after the other);
//! * numbers of inodes and devices (the trees are different ones);
//! * sizes and numbers of blocks of directories (the file system's affair).

mod native;
mod ops;
mod run;
mod tree;

use std::io::{Write, stderr};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::process::geteuid;
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::fs::tests::side::FuseSide;
use super::p9::tests::side::P9Side;
use native::Native;
use ops::{Op, Random};
use run::Runner;

/// Sequences of a usual run.
const USUAL: u64 = 300;
/// Sequences with the same devices; others begin anew, with nothing cached.
const DEVICES_LAST: u64 = 200;

/// What a file's attributes are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::virtio) struct Meta {
    pub(in crate::virtio) mode: u32,
    pub(in crate::virtio) nlink: u64,
    pub(in crate::virtio) uid: u32,
    pub(in crate::virtio) gid: u32,
    pub(in crate::virtio) size: u64,
    pub(in crate::virtio) mtime: i64,
}

impl Meta {
    /// Without what is not compared.
    fn compared(self) -> Self {
        let is_dir = self.mode & libc::S_IFMT == libc::S_IFDIR;
        Self {
            size: if is_dir { 0 } else { self.size },
            mtime: if self.mtime < ops::TIMES {
                self.mtime
            } else {
                -1
            },
            ..self
        }
    }
}

/// One way to reach a tree. Files are named by a directory that was walked to, and a name in it;
/// open files by a number.
pub(in crate::virtio) trait Side {
    /// A file that was walked to.
    type Node: Copy;

    /// Enters the folder `name` of the share for a new sequence.
    fn begin(&mut self, name: &str) -> Self::Node;
    /// Walks on.
    fn child(&mut self, parent: Self::Node, name: &str) -> Result<Self::Node, Errno>;
    /// Forgets all that was walked to since the last call, but not the folder.
    fn forget(&mut self);
    /// Leaves the folder; every file is closed.
    fn end(&mut self);

    fn stat(&mut self, at: (Self::Node, &str)) -> Result<Meta, Errno>;
    fn chmod(&mut self, at: (Self::Node, &str), mode: u32) -> Result<(), Errno>;
    /// Gives the file to a user and to a group.
    fn chown(&mut self, at: (Self::Node, &str), uid: u32, gid: u32) -> Result<(), Errno>;
    fn truncate(&mut self, at: (Self::Node, &str), size: u64) -> Result<(), Errno>;
    fn set_times(&mut self, at: (Self::Node, &str), seconds: i64) -> Result<(), Errno>;
    fn mkdir(&mut self, at: (Self::Node, &str), mode: u32) -> Result<(), Errno>;
    fn mkfifo(&mut self, at: (Self::Node, &str), mode: u32) -> Result<(), Errno>;
    fn symlink(&mut self, at: (Self::Node, &str), target: &str) -> Result<(), Errno>;
    fn readlink(&mut self, at: (Self::Node, &str)) -> Result<String, Errno>;
    fn link(&mut self, from: (Self::Node, &str), to: (Self::Node, &str)) -> Result<(), Errno>;
    fn rename(&mut self, from: (Self::Node, &str), to: (Self::Node, &str)) -> Result<(), Errno>;
    fn unlink(&mut self, at: (Self::Node, &str)) -> Result<(), Errno>;
    fn rmdir(&mut self, at: (Self::Node, &str)) -> Result<(), Errno>;
    /// Names and types, `.` and `..` left out, in any order.
    fn list(&mut self, at: (Self::Node, &str)) -> Result<Vec<(String, u8)>, Errno>;
    fn set_xattr(
        &mut self,
        at: (Self::Node, &str),
        name: &str,
        value: &[u8],
        flags: u32,
    ) -> Result<(), Errno>;
    fn get_xattr(&mut self, at: (Self::Node, &str), name: &str) -> Result<Vec<u8>, Errno>;
    fn list_xattrs(&mut self, at: (Self::Node, &str)) -> Result<Vec<u8>, Errno>;
    fn remove_xattr(&mut self, at: (Self::Node, &str), name: &str) -> Result<(), Errno>;

    fn create(&mut self, at: (Self::Node, &str), flags: i32, mode: u32) -> Result<u64, Errno>;
    fn open(&mut self, at: (Self::Node, &str), flags: i32) -> Result<u64, Errno>;
    fn close(&mut self, file: u64) -> Result<(), Errno>;
    fn read(&mut self, file: u64, offset: u64, len: u32) -> Result<Vec<u8>, Errno>;
    fn write(&mut self, file: u64, offset: u64, data: &[u8]) -> Result<u32, Errno>;
    fn fstat(&mut self, file: u64) -> Result<Meta, Errno>;
    fn ftruncate(&mut self, file: u64, size: u64) -> Result<(), Errno>;
    fn fsync(&mut self, file: u64, data_only: bool) -> Result<(), Errno>;
}

/// What all operations of a sequence came to on one side.
fn outcomes<S: Side>(side: &mut S, folder: &str, ops: &[Op]) -> Vec<Result<String, Errno>> {
    let mut runner = Runner::new(side, folder);
    let results = ops.iter().map(|op| runner.apply(op)).collect();
    runner.end();
    results
}

/// Runs the sequence of `seed` on all sides, whose folders lie in `base`; the number of operations,
/// and of those that succeeded.
fn compare(base: &Path, seed: u64, sides: &mut (Native, FuseSide, P9Side)) -> (usize, usize) {
    let ops = ops::sequence(&mut Random::new(seed));
    let folder = format!("s{seed}");
    let at = |side: &str| base.join(side).join(&folder);
    for side in ["native", "fuse", "p9"] {
        std::fs::create_dir(at(side)).unwrap();
    }
    let native = outcomes(&mut sides.0, &folder, &ops);
    let fuse = outcomes(&mut sides.1, &folder, &ops);
    let p9 = outcomes(&mut sides.2, &folder, &ops);
    // What the user may not read is compared too.
    let tree = as_root(|| tree::describe(&at("native")));
    for (name, results) in [("fuse", fuse), ("p9", p9)] {
        for (index, result) in results.iter().enumerate() {
            assert_eq!(
                result,
                &native[index],
                "sequence {seed}, operation {index} by {name}; all up to it: {:#?}",
                &ops[..=index]
            );
        }
        let other = as_root(|| tree::describe(&at(name)));
        assert_eq!(other, tree, "tree of sequence {seed} by {name}: {ops:#?}");
    }
    for side in ["native", "fuse", "p9"] {
        as_root(|| std::fs::remove_dir_all(at(side)).unwrap());
    }
    let succeeded = native.iter().filter(|result| result.is_ok()).count();
    (ops.len(), succeeded)
}

/// Does `work` as root, where this thread was root.
fn as_root<T>(work: impl FnOnce() -> T) -> T {
    let user = geteuid();
    let is_root = set_thread_res_uid(None, Uid::ROOT, None).is_ok();
    let done = work();
    if is_root {
        set_thread_res_uid(None, user, None).unwrap();
    }
    done
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn random_sequences_come_to_the_same_natively_and_through_both_servers() {
    let dir = tempfile::tempdir().unwrap();
    run_in(dir.path());
}

/// Who gives a file to a group, keeps its set-group-id bit or works in a folder of the group's, is the
/// group's member or not, and no more than a user. Begun by root alone can a thread become one; a user's
/// own run above has at least the user's first group.
#[test]
fn so_do_those_of_a_user_with_groups() {
    if !geteuid().is_root() {
        // Past the test harness, which would keep it to itself.
        writeln!(
            stderr(),
            "SKIPPED: sequences of a user with groups: only root can become one"
        )
        .unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (uid, gid) = (Uid::from_raw(ops::USER), Gid::from_raw(ops::GROUP));
    rustix::fs::chown(dir.path(), Some(uid), Some(gid)).unwrap();
    // Credentials are the thread's own.
    let run = thread::scope(|scope| {
        let user = scope.spawn(|| {
            set_thread_groups(&[Gid::from_raw(ops::OTHER_GROUP)]).unwrap();
            set_thread_res_gid(gid, gid, gid).unwrap();
            // Root stays behind, for what is not compared.
            set_thread_res_uid(uid, uid, Uid::ROOT).unwrap();
            run_in(dir.path());
        });
        user.join()
    });
    run.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

fn run_in(dir: &Path) {
    let count = number("SEQUENCES").unwrap_or(USUAL);
    let first = number("SEED").unwrap_or(1);
    for side in ["native", "fuse", "p9"] {
        std::fs::create_dir(dir.join(side)).unwrap();
    }
    let (begin, mut told) = (Instant::now(), Instant::now());
    let (mut operations, mut successes) = (0, 0);
    let mut seed = first;
    while seed < first + count {
        let mut sides = (
            Native::new(&dir.join("native")),
            FuseSide::new(&dir.join("fuse")),
            P9Side::new(&dir.join("p9")),
        );
        for _ in 0..DEVICES_LAST.min(first + count - seed) {
            let (made, succeeded) = compare(dir, seed, &mut sides);
            operations += made;
            successes += succeeded;
            seed += 1;
        }
        if told.elapsed() > Duration::from_secs(30) {
            told = Instant::now();
            writeln!(stderr(), "{} sequences", seed - first).unwrap();
        }
    }
    let elapsed = begin.elapsed().as_secs();
    // A long run's figures are for whoever began it.
    writeln!(
        stderr(),
        "{count} sequences of {operations} operations alike ({successes} succeeded), in {elapsed} s"
    )
    .unwrap();
    assert!(successes > operations / 4, "operations hardly meet");
}

//! Many files: memory by the file, descriptors by the constant.

use std::fs::{self, File};
use std::process::Command;

use rustix::io::Errno;

use super::client::{Client, ROOT, spec};
use crate::virtio::fs::Cache;

const DIRS: usize = 1000;
const FILES: usize = 100;

/// A tree of many files, in RAM where there is a file system for that.
fn tree() -> tempfile::TempDir {
    let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let root = root.unwrap();
    for dir in 0..DIRS {
        let path = root.path().join(format!("dir{dir}"));
        fs::create_dir(&path).unwrap();
        for file in 0..FILES {
            File::create(path.join(format!("file{file}"))).unwrap();
        }
    }
    root
}

/// Descriptors of this process that lead into `root`.
fn open_in(root: &std::path::Path) -> usize {
    let fds = fs::read_dir("/proc/self/fd").unwrap();
    fds.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok())
        .filter(|target| target.starts_with(root))
        .count()
}

#[test]
fn a_walk_over_a_hundred_thousand_files_keeps_few_open() {
    let root = tree();
    for (cache, dirs) in [(Cache::Auto, DIRS), (Cache::Always, DIRS / 4)] {
        let mut client = Client::of(&spec(root.path(), true, cache));
        let mut nodes = Vec::new();
        for dir in client.list(ROOT, 4096, true).into_iter().take(dirs) {
            let dir = dir.entry.unwrap().nodeid;
            let files = client.list(dir, 4096, true);
            assert_eq!(files.len(), FILES);
            nodes.extend(files.into_iter().map(|file| file.entry.unwrap().nodeid));
            assert!(open_in(root.path()) < 1000);
        }
        assert_eq!(nodes.len(), dirs * FILES);
        // Files looked at long ago are still in reach, in any order.
        for node in nodes
            .iter()
            .step_by(997)
            .rev()
            .chain(nodes.iter().step_by(1009))
        {
            client.getattr(*node).unwrap();
            if cache == Cache::Always {
                client.read(*node, 0, 0, 16).unwrap();
            }
        }
        assert!(open_in(root.path()) < 1000);
        for node in nodes {
            client.forget(node, 1);
        }
        let open = open_in(root.path());
        assert!(open < 1000, "{open} open");
    }
}

const ALONE: &str =
    "virtio::fs::tests::walk::a_guest_that_opens_without_end_is_stopped_and_nobody_else";

#[test]
fn a_guest_that_opens_without_end_is_stopped_and_nobody_else() {
    // In a process of its own: the limit is one for all tests that run at once.
    if std::env::var_os("TEST_ALONE").is_some() {
        return open_without_end();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", ALONE, "--nocapture"])
        .env("TEST_ALONE", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

fn open_without_end() {
    let mut client = Client::new();
    let node = client.put(ROOT, "file", b"x");
    let mut handles = Vec::new();
    let error = loop {
        match client.open(node, libc::O_RDONLY) {
            Ok(opened) => handles.push(opened.fh),
            Err(error) => break error,
        }
        assert!(handles.len() < 2_000_000);
    };
    assert_eq!(error, Errno::NFILE);
    // There is room left for the rest of the process.
    let others: Vec<File> = (0..64).map(|_| File::open("/dev/null").unwrap()).collect();
    drop(others);
    assert_eq!(client.opendir(ROOT).unwrap_err(), Errno::NFILE);
    assert!(client.getattr(node).is_ok());
    for fh in handles {
        client.release(node, fh).unwrap();
    }
    client.open(node, libc::O_RDONLY).unwrap();
}

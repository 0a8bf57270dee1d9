//! The share where less is allowed: served by a user who is not root, or without `/proc` and
//! `openat2(2)`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::Errno;
use zerocopy::IntoBytes;

use super::client::{Client, ROOT};
use crate::virtio::fs::protocol::*;

const NOBODY: u32 = 65534;
const NAME: &str = "virtio::fs::tests::unprivileged::an_ordinary_user_can_share_a_directory";

#[test]
fn an_ordinary_user_can_share_a_directory() {
    if !rustix::process::geteuid().is_root() {
        return serve();
    }
    // As root: the same test once more, as a user without rights, where that user can run it.
    let own = std::env::current_exe().unwrap();
    let temp = tempfile::tempdir().unwrap();
    fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let copy = temp.path().join("tests");
    fs::copy(own, &copy).unwrap();
    let output = Command::new(copy)
        .args(["--exact", NAME, "--nocapture"])
        .env("TMPDIR", temp.path())
        .current_dir(temp.path())
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

fn serve() {
    let mut client = Client::new();
    let own = rustix::process::geteuid().as_raw();
    // Root of the guest is us on the host.
    (client.uid, client.gid) = (0, 0);
    let dir = client.mkdir(ROOT, "dir").unwrap();
    assert_eq!(dir.attr.uid, own);
    let (file, opened) = client
        .create(dir.nodeid, "file", libc::O_RDWR, 0o644)
        .unwrap();
    assert_eq!(file.attr.uid, own);
    client.write(file.nodeid, opened.fh, 0, b"hello").unwrap();
    client.unlink(dir.nodeid, "file").unwrap();
    assert_eq!(client.getattr(file.nodeid).unwrap().size, 5);
    client.release(file.nodeid, opened.fh).unwrap();
    let file = client.put(dir.nodeid, "file", b"hello");
    client.link(file, ROOT, "link").unwrap();
    client
        .rename((ROOT, "link"), (dir.nodeid, "link"), 0)
        .unwrap();
    client.symlink(ROOT, "soft", "/etc/shadow").unwrap();
    client.driver.device.forget_descriptors();
    assert_eq!(client.content(file).unwrap(), b"hello");
    let chown = |uid| SetattrIn {
        valid: SetattrValid::UID.bits(),
        uid,
        ..SetattrIn::default()
    };
    assert_eq!(client.setattr(file, chown(1)).unwrap_err(), Errno::PERM);
    assert_eq!(client.setattr(file, chown(own)).unwrap().uid, own);
    let chmod = SetattrIn {
        valid: SetattrValid::MODE.bits(),
        mode: 0o200,
        ..SetattrIn::default()
    };
    client.setattr(file, chmod).unwrap();
    assert_eq!(
        client.open(file, libc::O_RDONLY).unwrap_err(),
        Errno::ACCESS
    );
    let meta = fs::metadata(client.path().join("dir/file")).unwrap();
    assert_eq!(meta.mode() & 0o777, 0o200);
    let device = MknodIn {
        mode: libc::S_IFBLK | 0o600,
        rdev: 0x801,
        ..MknodIn::default()
    };
    let body = super::client::with_names(&device, &["disk"]);
    assert_eq!(
        client.raw(opcode::MKNOD, ROOT, &body, 128),
        Err(Errno::PERM)
    );
    // The mark that overlay file systems leave for a removed file takes no privilege.
    let whiteout = MknodIn {
        mode: libc::S_IFCHR,
        ..device
    };
    let whiteout = MknodIn {
        rdev: 0,
        ..whiteout
    };
    let body = super::client::with_names(&whiteout, &["gone"]);
    let made = client.raw(opcode::MKNOD, ROOT, &body, 128);
    assert!(made.is_ok());
    let names: Vec<String> = client
        .list(ROOT, 4096, true)
        .into_iter()
        .map(|e| e.name)
        .collect();
    assert_eq!(names.len(), 3);
    let args = GetxattrIn {
        size: 64,
        padding: 0,
    };
    let body = [args.as_bytes(), b"trusted.overlay.opaque\0"].concat();
    let trusted = client.raw(opcode::GETXATTR, dir.nodeid, &body, 64);
    assert_eq!(trusted, Err(Errno::NODATA));
}

#[test]
fn a_share_does_without_proc_and_new_system_calls() {
    let mut client = Client::new();
    client.driver.device.do_without();
    let outer = client.mkdir(ROOT, "outer").unwrap().nodeid;
    let inner = client.mkdir(outer, "inner").unwrap().nodeid;
    let file = client.put(inner, "file", b"hello");
    client.driver.device.forget_descriptors();
    assert_eq!(client.content(file).unwrap(), b"hello");
    client.rename((ROOT, "outer"), (ROOT, "moved"), 0).unwrap();
    client.driver.device.forget_descriptors();
    assert_eq!(client.getattr(file).unwrap().size, 5);
    let change = SetattrIn {
        valid: (SetattrValid::MODE | SetattrValid::SIZE | SetattrValid::MTIME).bits(),
        mode: 0o640,
        size: 2,
        mtime: 7,
        ..SetattrIn::default()
    };
    let attr = client.setattr(file, change).unwrap();
    assert_eq!((attr.mode & 0o777, attr.size, attr.mtime), (0o640, 2, 7));
    let args = GetxattrIn {
        size: 64,
        padding: 0,
    };
    let body = super::client::with_names(&args, &["user.none"]);
    assert_eq!(
        client.raw(opcode::GETXATTR, file, &body, 64),
        Err(Errno::NODATA)
    );
    let shared = MkdirIn {
        mode: 0o777,
        umask: 0,
    };
    let body = super::client::with_names(&shared, &["shared"]);
    let dir: EntryOut = client.ask(opcode::MKDIR, ROOT, &body).unwrap();
    assert_eq!(dir.attr.mode & 0o777, 0o777);

    // A directory swapped for a link leads nowhere, this way too.
    let path = client.path().to_owned();
    client.driver.device.forget_descriptors();
    fs::rename(path.join("moved/inner"), path.join("inner")).unwrap();
    std::os::unix::fs::symlink("../inner", path.join("moved/inner")).unwrap();
    assert_eq!(client.lookup(inner, "file").unwrap_err(), Errno::STALE);
    assert_eq!(client.open(file, libc::O_RDONLY).unwrap_err(), Errno::STALE);
    let fifo = path.join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, 0o644.into()).unwrap();
    let fifo = client.walk("fifo").unwrap();
    assert_eq!(client.open(fifo, libc::O_RDONLY).unwrap_err(), Errno::NXIO);
}

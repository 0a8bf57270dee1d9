//! Walks, and names made, moved and removed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;

use rustix::io::Errno;

use super::client::{Client, RDONLY, RDWR, ROOT, spec};
use crate::virtio::p9::protocol::{NOFID, Reply, kind};

#[test]
fn a_walk_goes_as_far_as_there_are_names() {
    let mut client = Client::new();
    fs::create_dir_all(client.path().join("a/b/c")).unwrap();
    fs::write(client.path().join("a/b/file"), "").unwrap();
    let qids = client.walk_to(ROOT, 10, &["a", "b", "file"]).unwrap();
    let kinds: Vec<u8> = qids.iter().map(|qid| qid.kind).collect();
    assert_eq!(kinds, [0x80, 0x80, 0]);
    // A walk that ends early makes no fid.
    assert_eq!(client.walk_to(ROOT, 11, &["a", "x", "b"]).unwrap().len(), 1);
    assert_eq!(client.getattr(11).unwrap_err(), Errno::BADF);
    assert_eq!(client.walk_to(ROOT, 11, &["x"]).unwrap_err(), Errno::NOENT);
    let not_a_dir = client.walk_to(10, 11, &["x"]);
    assert_eq!(not_a_dir.unwrap_err(), Errno::NOTDIR);
    // No names: another fid of the same file; the same number: it moves.
    assert_eq!(client.walk_to(10, 12, &[]).unwrap(), []);
    assert_eq!(client.getattr(12).unwrap(), client.getattr(10).unwrap());
    client.walk_to(12, 12, &[]).unwrap();
    assert_eq!(client.walk_to(ROOT, 12, &["a"]).unwrap_err(), Errno::BADF);
}

#[test]
fn the_way_up_ends_at_the_root() {
    let mut client = Client::new();
    fs::create_dir_all(client.path().join("a/b")).unwrap();
    let root = client.getattr(ROOT).unwrap();
    let up = ["a", "b", "..", "..", "..", ".."];
    assert_eq!(client.stat(ROOT, &up).unwrap(), root);
    for name in [".", "", "a/b"] {
        assert!(client.walk(ROOT, &[name]).is_err(), "{name}");
    }
}

#[test]
fn a_link_is_not_followed() {
    let mut client = Client::new();
    symlink("/etc", client.path().join("out")).unwrap();
    let attr = client.stat(ROOT, &["out"]).unwrap();
    assert_eq!(
        (attr.qid.kind, attr.mode & libc::S_IFMT),
        (2, libc::S_IFLNK)
    );
    assert!(client.walk(ROOT, &["out", "passwd"]).is_err());
    let opened = client.open_at(ROOT, &["out"], RDONLY);
    assert_eq!(opened.unwrap_err(), Errno::LOOP);
    assert_eq!(client.readlink(ROOT, &["out"]).unwrap(), "/etc");
}

#[test]
fn files_of_every_kind_are_made() {
    let mut client = Client::new();
    assert_eq!(client.mkdir(ROOT, "dir").unwrap().kind, 0x80);
    assert_eq!(client.symlink(ROOT, "soft", "dir/file").unwrap().kind, 2);
    let mode = libc::S_IFIFO | 0o640;
    client.mknod(ROOT, "pipe", mode, (0, 0)).unwrap();
    client.put(ROOT, "file", b"x");
    let file = client.walk(ROOT, &["file"]).unwrap();
    let dir = client.walk(ROOT, &["dir"]).unwrap();
    client.link(file, dir, "hard").unwrap();
    assert_eq!(client.getattr(file).unwrap().nlink, 2);
    let at = |name: &str| fs::symlink_metadata(client.path().join(name)).unwrap();
    assert!(at("pipe").file_type().is_fifo());
    assert_eq!(at("dir/hard").ino(), at("file").ino());
    let target = fs::read_link(client.path().join("soft")).unwrap();
    assert_eq!(target.to_str(), Some("dir/file"));
    let taken = client.mkdir(ROOT, "file");
    assert_eq!(taken.unwrap_err(), Errno::EXIST);
    let exclusive = RDWR | libc::O_EXCL as u32;
    let taken = client.create(ROOT, "file", exclusive, 0o644);
    assert_eq!(taken.unwrap_err(), Errno::EXIST);
    let long = "x".repeat(256);
    assert_eq!(client.mkdir(ROOT, &long).unwrap_err(), Errno::NAMETOOLONG);
}

#[test]
fn names_move_and_go() {
    let mut client = Client::new();
    client.mkdir(ROOT, "dir").unwrap();
    client.put(ROOT, "file", b"x");
    let dir = client.walk(ROOT, &["dir"]).unwrap();
    let file = client.walk(ROOT, &["file"]).unwrap();
    client.rename((ROOT, "file"), (dir, "moved")).unwrap();
    assert_eq!(client.stat(ROOT, &["dir", "moved"]).unwrap().size, 1);
    assert_eq!(client.getattr(file).unwrap().size, 1);
    assert_eq!(client.rmdir(ROOT, "dir").unwrap_err(), Errno::NOTEMPTY);
    assert_eq!(client.unlink(ROOT, "dir").unwrap_err(), Errno::ISDIR);
    // The older forms, by fid.
    let mut args = Reply::default();
    args.u32(file).u32(ROOT).text(b"back");
    client.order(kind::RENAME, &args).unwrap();
    assert_eq!(client.stat(ROOT, &["back"]).unwrap().size, 1);
    let mut args = Reply::default();
    args.u32(file);
    client.order(kind::REMOVE, &args).unwrap();
    assert_eq!(client.getattr(file).unwrap_err(), Errno::BADF);
    client.rmdir(ROOT, "dir").unwrap();
    assert_eq!(fs::read_dir(client.path()).unwrap().count(), 0);
    // A fid is gone even if its file cannot be removed.
    let root = client.walk(ROOT, &[]).unwrap();
    let mut args = Reply::default();
    args.u32(root);
    assert!(client.order(kind::REMOVE, &args).is_err());
    assert_eq!(client.getattr(root).unwrap_err(), Errno::BADF);
}

#[test]
fn a_folder_of_the_share_can_be_attached_alone() {
    let mut client = Client::new();
    fs::create_dir_all(client.path().join("a/b")).unwrap();
    fs::write(client.path().join("a/b/file"), "x").unwrap();
    let attach = |client: &mut Client, fid, folder: &[u8]| {
        let mut args = Reply::default();
        args.u32(fid).u32(NOFID).text(b"").text(folder).u32(0);
        client.ask(kind::ATTACH, &args)
    };
    attach(&mut client, 50, b"/a/b").unwrap();
    assert_eq!(client.content(50, &["file"]).unwrap(), b"x");
    assert_eq!(attach(&mut client, 51, b"x").unwrap_err(), Errno::NOENT);
    assert_eq!(attach(&mut client, 50, b"").unwrap_err(), Errno::BADF);
}

#[test]
fn files_of_different_mounts_never_share_a_qid() {
    // These are mounts of their own on any Linux, and the roots of all have the same inode number.
    let mut client = Client::of(&spec(Path::new("/dev")));
    let host = |name: &str| fs::metadata(Path::new("/dev").join(name)).unwrap();
    let (pts, shm) = (host("pts"), host("shm"));
    assert_ne!(pts.dev(), shm.dev());
    let mut seen = BTreeMap::new();
    for names in [&[][..], &["pts"], &["shm"], &["pts", "ptmx"], &["null"]] {
        let attr = client.stat(ROOT, names).unwrap();
        let before = seen.insert(attr.qid.path, names);
        assert_eq!(before, None, "{names:?}");
        // The same file is the same one again.
        assert_eq!(client.stat(ROOT, names).unwrap().qid, attr.qid);
    }
    // Those of the root's own mount are the host's.
    let root = client.stat(ROOT, &[]).unwrap().qid.path;
    assert_eq!(root, host("").ino());
}

#[test]
fn devices_are_made_where_the_host_allows_it() {
    let mut client = Client::new();
    let mode = libc::S_IFCHR | 0o600;
    let made = client.mknod(ROOT, "null", mode, (1, 3)).map(drop);
    let path = client.path().join("null");
    let own = rustix::fs::mknodat(
        rustix::fs::CWD,
        client.path().join("own"),
        rustix::fs::FileType::CharacterDevice,
        0o600.into(),
        rustix::fs::makedev(1, 3),
    );
    assert_eq!(made, own);
    if own.is_ok() {
        let attr = client.stat(ROOT, &["null"]).unwrap();
        assert_eq!((attr.mode, attr.rdev), (mode, libc::makedev(1, 3)));
        assert_eq!(
            fs::symlink_metadata(path).unwrap().rdev(),
            libc::makedev(1, 3)
        );
        // Known, and never opened: it would be the host's.
        assert_eq!(
            client.open_at(ROOT, &["null"], RDWR).unwrap_err(),
            Errno::NXIO
        );
    }
}

//! Owners and modes: translated, kept in attributes, or not; and what is visible at all.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{XattrFlags, getxattr, setxattr};
use rustix::io::Errno;
use tempfile::TempDir;

use super::client::{Client, RDWR, ROOT, spec};
use crate::backend::fs::{FsSpec, Security, ShareError};
use crate::virtio::p9::protocol::{Reply, kind};
use crate::virtio::p9::{P9, P9Error};

const MODE: u32 = 1;
const UID: u32 = 2;

/// A client of a share with attributes, if this file system has them.
fn mapped() -> Option<(TempDir, Client)> {
    let dir = tempfile::tempdir().unwrap();
    setxattr(dir.path(), "user.test", b"x", XattrFlags::empty()).ok()?;
    let mut client = Client::of(&FsSpec {
        security: Security::MappedXattr,
        ..spec(dir.path())
    });
    (client.uid, client.gid) = (1234, 5678);
    client.clunk(ROOT).unwrap();
    client.attach(ROOT).unwrap();
    Some((dir, client))
}

fn attribute(path: &Path, name: &str) -> Vec<u8> {
    let mut value = [0; 16];
    let len = getxattr(path, name, &mut value).unwrap();
    value[..len].to_vec()
}

#[test]
fn mapped_owners_and_modes_are_in_attributes_as_of_qemu() {
    let Some((dir, mut client)) = mapped() else {
        return;
    };
    let path = dir.path().join("file");
    let fid = client.create(ROOT, "file", RDWR, 0o4711).unwrap();
    let attr = client.getattr(fid).unwrap();
    assert_eq!((attr.uid, attr.gid), (1234, 5678));
    assert_eq!(attr.mode, libc::S_IFREG | 0o4711);
    let meta = fs::metadata(&path).unwrap();
    assert_eq!(meta.mode() & 0o7777, 0o600);
    assert_eq!(meta.uid(), rustix::process::geteuid().as_raw());
    assert_eq!(attribute(&path, "user.virtfs.uid"), 1234_u32.to_le_bytes());
    assert_eq!(attribute(&path, "user.virtfs.gid"), 5678_u32.to_le_bytes());
    let mode = (libc::S_IFREG | 0o4711).to_le_bytes();
    assert_eq!(attribute(&path, "user.virtfs.mode"), mode);

    client.setattr(fid, MODE, 0o640).unwrap();
    client.setattr(fid, UID, 7).unwrap();
    let attr = client.stat(ROOT, &["file"]).unwrap();
    assert_eq!((attr.uid, attr.mode), (7, libc::S_IFREG | 0o640));
    // What another server has written counts.
    let name = "user.virtfs.gid";
    setxattr(&path, name, &9_u32.to_le_bytes(), XattrFlags::empty()).unwrap();
    assert_eq!(client.getattr(fid).unwrap().gid, 9);
}

#[test]
fn mapped_special_files_are_plain_ones() {
    let Some((dir, mut client)) = mapped() else {
        return;
    };
    let mode = libc::S_IFBLK | 0o660;
    client.mknod(ROOT, "disk", mode, (8, 17)).unwrap();
    let attr = client.stat(ROOT, &["disk"]).unwrap();
    assert_eq!((attr.mode, attr.rdev), (mode, libc::makedev(8, 17)));
    assert_eq!(client.symlink(ROOT, "link", "a/target").unwrap().kind, 2);
    assert_eq!(client.readlink(ROOT, &["link"]).unwrap(), "a/target");
    let attr = client.stat(ROOT, &["link"]).unwrap();
    assert_eq!((attr.mode & libc::S_IFMT, attr.size), (libc::S_IFLNK, 8));
    assert_eq!(client.mkdir(ROOT, "dir").unwrap().kind, 0x80);
    let attr = client.stat(ROOT, &["dir"]).unwrap();
    assert_eq!((attr.mode, attr.uid), (libc::S_IFDIR | 0o755, 1234));
    for name in ["disk", "link"] {
        assert!(
            fs::symlink_metadata(dir.path().join(name))
                .unwrap()
                .is_file()
        );
    }
    // The listing does not claim to know what they are.
    let entries = client.list(ROOT, 4096);
    let kind = |name: &str| entries.iter().find(|e| e.name == name).unwrap().kind;
    assert_eq!(
        (kind("disk"), kind("dir")),
        (libc::DT_UNKNOWN, libc::DT_DIR)
    );
}

#[test]
fn a_guest_neither_sees_nor_sets_the_attributes_of_the_mapping() {
    let Some((_dir, mut client)) = mapped() else {
        return;
    };
    client.put(ROOT, "file", b"x");
    let file = client.walk(ROOT, &["file"]).unwrap();
    let mut walk = |name: &str| {
        let new = client.fid();
        let mut args = Reply::default();
        args.u32(file).u32(new).text(name.as_bytes());
        let out = client.ask(kind::XATTRWALK, &args)?;
        Ok((new, u64::from_le_bytes(out.try_into().unwrap())))
    };
    assert_eq!(walk("user.virtfs.mode"), Err(Errno::NODATA));
    let (list, len) = walk("").unwrap();
    let names = client.read(list, 0, 4096).unwrap();
    assert_eq!(names.len() as u64, len);
    assert!(!String::from_utf8(names).unwrap().contains("virtfs"));
    let mut args = Reply::default();
    args.u32(file).text(b"user.virtfs.uid").u64(0).u32(0);
    client.order(kind::XATTRCREATE, &args).unwrap();
    assert_eq!(client.clunk(file), Err(Errno::ACCESS));
}

#[test]
fn passthrough_fails_where_none_makes_do() {
    if rustix::process::geteuid().is_root() {
        return;
    }
    for security in [Security::None, Security::Passthrough] {
        let dir = tempfile::tempdir().unwrap();
        let mut client = Client::of(&FsSpec {
            security,
            ..spec(dir.path())
        });
        client.uid += 1;
        client.attach(50).unwrap();
        let made = client.mkdir(50, "dir").map(drop);
        match security {
            Security::Passthrough => assert_eq!(made, Err(Errno::PERM)),
            _ => assert_eq!(made, Ok(())),
        }
        assert_eq!(dir.path().join("dir").exists(), made.is_ok());
    }
}

#[test]
fn owners_are_translated_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let mut own = spec(dir.path());
    let (uid, gid) = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    own.uid_map = vec![format!("500:{uid}:1").parse().unwrap()];
    own.gid_map = vec![format!("600:{gid}:1").parse().unwrap()];
    let mut client = Client::of(&own);
    (client.uid, client.gid) = (500, 600);
    client.attach(50).unwrap();
    let fid = client.create(50, "file", RDWR, 0o644).unwrap();
    let attr = client.getattr(fid).unwrap();
    assert_eq!((attr.uid, attr.gid), (500, 600));
    let meta = fs::metadata(dir.path().join("file")).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (uid, gid));
    client.setattr(fid, UID, 500).unwrap();
    assert_eq!(client.setattr(fid, UID, 501), Err(Errno::INVAL));
    client.uid = 501;
    client.attach(51).unwrap();
    assert_eq!(client.mkdir(51, "dir").unwrap_err(), Errno::OVERFLOW);
    // Whoever has no counterpart is nobody.
    own.uid_map = vec![format!("500:{}:1", uid + 1).parse().unwrap()];
    let mut client = Client::of(&own);
    assert_eq!(client.stat(ROOT, &["file"]).unwrap().uid, 65_534);
}

#[test]
fn what_is_not_listed_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["one", "two", "hidden"] {
        fs::create_dir(dir.path().join(name)).unwrap();
        fs::write(dir.path().join(name).join("file"), "x").unwrap();
    }
    let list = tempfile::NamedTempFile::new().unwrap();
    let text = format!("{}/one\n\ntwo\nabsent\n", dir.path().display());
    fs::write(list.path(), text).unwrap();
    let only = FsSpec {
        only: Some(list.path().into()),
        ..spec(dir.path())
    };
    let mut client = Client::of(&only);
    let mut names: Vec<String> = client
        .list(ROOT, 4096)
        .into_iter()
        .map(|e| e.name)
        .collect();
    names.sort();
    assert_eq!(names, ["one", "two"]);
    assert_eq!(client.content(ROOT, &["one", "file"]).unwrap(), b"x");
    assert_eq!(client.walk(ROOT, &["hidden"]).unwrap_err(), Errno::NOENT);
    assert_eq!(
        client.walk(ROOT, &["one", "..", "hidden"]),
        Err(Errno::NOENT)
    );
    assert_eq!(client.mkdir(ROOT, "new").unwrap_err(), Errno::ACCESS);
    assert_eq!(client.rmdir(ROOT, "hidden"), Err(Errno::ACCESS));
    assert_eq!(
        client.rename((ROOT, "hidden"), (ROOT, "absent")),
        Err(Errno::ACCESS)
    );
    assert_eq!(
        client.rename((ROOT, "one"), (ROOT, "new")),
        Err(Errno::ACCESS)
    );
    client.mkdir(ROOT, "absent").unwrap();
    for bad in ["a/b", "/etc/passwd", "..", "/"] {
        fs::write(list.path(), bad).unwrap();
        let refused = P9::new(0, &only).unwrap_err();
        let P9Error::Share { source, .. } = refused else {
            panic!("{refused:?}")
        };
        assert!(matches!(source, ShareError::ListEntry { .. }), "{bad}");
    }
}

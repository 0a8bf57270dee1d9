//! Looking at a share: names, attributes, data, directories, and nothing outside of it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::Duration;

use rustix::io::Errno;
use zerocopy::IntoBytes;

use super::client::{Client, OFFERED, ROOT, named, spec};
use crate::virtio::fs::protocol::*;
use crate::virtio::fs::{Cache, Fs, FsError, FsSpec};

#[test]
fn a_file_is_found_read_and_forgotten() {
    let mut client = Client::new();
    fs::create_dir(client.path().join("dir")).unwrap();
    let data: Vec<u8> = (0..200_000_u32).map(|i| i as u8).collect();
    let path = client.path().join("dir/file");
    fs::write(&path, &data).unwrap();
    let meta = fs::metadata(&path).unwrap();

    let dir = client.lookup(ROOT, "dir").unwrap();
    let file = client.lookup(dir.nodeid, "file").unwrap();
    assert_eq!(file.attr.ino, meta.ino());
    assert_eq!(file.attr.size, meta.len());
    assert_eq!(file.attr.mode, meta.mode());
    assert_eq!(file.attr.mtime, meta.mtime() as u64);
    assert_eq!(file.attr.nlink, 1);

    let opened = client.open(file.nodeid, libc::O_RDONLY).unwrap();
    let read = client.read(file.nodeid, opened.fh, 100_000, 4096).unwrap();
    assert_eq!(read, data[100_000..104_096]);
    let tail = client.read(file.nodeid, opened.fh, 199_000, 4096).unwrap();
    assert_eq!(tail, data[199_000..]);
    assert_eq!(
        client.read(file.nodeid, opened.fh, 300_000, 4096),
        Ok(vec![])
    );
    client.release(file.nodeid, opened.fh).unwrap();
    assert_eq!(client.read(file.nodeid, opened.fh, 0, 1), Err(Errno::BADF));

    client.forget(file.nodeid, 1);
    assert_eq!(client.getattr(file.nodeid).unwrap_err(), Errno::STALE);
    client.forget(dir.nodeid, 1);
    assert_eq!(client.getattr(dir.nodeid).unwrap_err(), Errno::STALE);
}

#[test]
fn a_read_fills_every_buffer_of_a_long_chain() {
    let mut client = Client::new();
    let data: Vec<u8> = (0..1_000_000_u32).map(|i| (i / 7) as u8).collect();
    fs::write(client.path().join("file"), &data).unwrap();
    let node = client.walk("file").unwrap();
    let fh = client.open(node, libc::O_RDONLY).unwrap().fh;
    let args = ReadIn {
        fh,
        size: 1 << 20,
        ..ReadIn::default()
    };
    let (unique, message) = client.message(opcode::READ, node, args.as_bytes());
    let mut room = vec![16];
    room.extend([4096; 256]);
    let answer = client
        .driver
        .request(super::client::REQUESTS, &[&message], &room);
    assert_eq!(super::client::body_of(unique, &answer), Ok(data));
}

#[test]
fn what_is_not_there_is_an_error_that_only_a_lasting_cache_remembers() {
    let mut client = Client::new();
    assert_eq!(client.lookup(ROOT, "none").unwrap_err(), Errno::NOENT);
    let dir = tempfile::tempdir().unwrap();
    let mut client = Client::of(&spec(dir.path(), true, Cache::Always));
    let absent = client.lookup(ROOT, "none").unwrap();
    assert_eq!(absent.nodeid, 0);
    assert!(absent.entry_valid > 60);
}

#[test]
fn names_that_are_no_single_entry_are_refused() {
    let mut client = Client::new();
    fs::create_dir(client.path().join("dir")).unwrap();
    let dir = client.walk("dir").unwrap();
    for name in [".", "..", "/", "dir/x", "../x", "/etc/passwd"] {
        assert_eq!(
            client.lookup(dir, name).unwrap_err(),
            Errno::INVAL,
            "{name}"
        );
        assert_eq!(client.mkdir(dir, name).unwrap_err(), Errno::INVAL, "{name}");
        assert_eq!(
            client.unlink(dir, name).unwrap_err(),
            Errno::INVAL,
            "{name}"
        );
        let moved = client.rename((ROOT, "dir"), (ROOT, name), 0);
        assert_eq!(moved.unwrap_err(), Errno::INVAL, "{name}");
    }
    assert_eq!(client.lookup(dir, "").unwrap_err(), Errno::NOENT);
    let long = "x".repeat(256);
    assert_eq!(client.lookup(dir, &long).unwrap_err(), Errno::NAMETOOLONG);
    let unended = client.raw(opcode::LOOKUP, ROOT, b"dir", 128);
    assert_eq!(unended.unwrap_err(), Errno::INVAL);
}

#[test]
fn a_symbolic_link_is_read_and_never_followed() {
    let mut client = Client::new();
    symlink("/etc/passwd", client.path().join("absolute")).unwrap();
    symlink("../../../../etc", client.path().join("upward")).unwrap();
    let absolute = client.lookup(ROOT, "absolute").unwrap();
    assert_eq!(absolute.attr.mode & libc::S_IFMT, libc::S_IFLNK);
    assert_eq!(client.readlink(absolute.nodeid).unwrap(), "/etc/passwd");
    assert_eq!(
        client.open(absolute.nodeid, libc::O_RDONLY).unwrap_err(),
        Errno::LOOP
    );
    let upward = client.walk("upward").unwrap();
    assert_eq!(client.lookup(upward, "passwd").unwrap_err(), Errno::NOTDIR);
    assert_eq!(client.opendir(upward).unwrap_err(), Errno::NOTDIR);
    let created = client.create(ROOT, "absolute", libc::O_WRONLY, 0o644);
    assert_eq!(created.unwrap_err(), Errno::LOOP);
    let created = client.create(ROOT, "absolute", libc::O_WRONLY | libc::O_EXCL, 0o644);
    assert_eq!(created.unwrap_err(), Errno::EXIST);
}

#[test]
fn a_directory_swapped_for_a_link_leads_nowhere() {
    let mut client = Client::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "s").unwrap();
    fs::create_dir_all(client.path().join("a/b")).unwrap();
    fs::write(client.path().join("a/b/secret"), "mine").unwrap();
    let (a, b) = (client.walk("a").unwrap(), client.walk("a/b").unwrap());
    let file = client.walk("a/b/secret").unwrap();
    client.driver.device.forget_descriptors();

    fs::rename(client.path().join("a"), client.path().join("old")).unwrap();
    fs::create_dir(client.path().join("a")).unwrap();
    symlink(outside.path(), client.path().join("a/b")).unwrap();
    assert_eq!(client.getattr(file).unwrap_err(), Errno::STALE);
    assert_eq!(client.open(file, libc::O_RDONLY).unwrap_err(), Errno::STALE);
    assert_eq!(client.lookup(b, "secret").unwrap_err(), Errno::STALE);
    assert_eq!(client.lookup(a, "b").unwrap_err(), Errno::STALE);
    // Looked up again, it is where it is now.
    let again = client.walk("old/b/secret").unwrap();
    assert_eq!(again, file);
    assert_eq!(client.content(file).unwrap(), b"mine");
}

#[test]
fn a_directory_moved_away_under_a_handle_shows_its_own_entries_alone() {
    let mut client = Client::new();
    let outside = tempfile::tempdir_in(client.path().parent().unwrap()).unwrap();
    fs::create_dir(client.path().join("dir")).unwrap();
    fs::write(client.path().join("dir/file"), "x").unwrap();
    let dir = client.walk("dir").unwrap();
    let fh = client.opendir(dir).unwrap();
    fs::rename(client.path().join("dir"), outside.path().join("dir")).unwrap();
    let names = client.readdir_at(dir, fh, 0, 4096, false).unwrap();
    assert_eq!(names.len(), 3);
    assert_eq!(client.lookup(dir, "..").unwrap_err(), Errno::INVAL);
}

#[test]
fn special_files_are_shown_and_never_opened() {
    let mut client = Client::new();
    let fifo = client.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, 0o644.into()).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(client.path().join("socket")).unwrap();
    for (name, kind) in [("fifo", libc::S_IFIFO), ("socket", libc::S_IFSOCK)] {
        let entry = client.lookup(ROOT, name).unwrap();
        assert_eq!(entry.attr.mode & libc::S_IFMT, kind);
        assert_eq!(
            client.open(entry.nodeid, libc::O_RDONLY).unwrap_err(),
            Errno::NXIO
        );
        let created = client.create(ROOT, name, libc::O_RDWR, 0o644);
        assert_eq!(created.unwrap_err(), Errno::NXIO);
    }
}

#[test]
fn directories_list_types_numbers_and_attributes_in_pieces() {
    let mut client = Client::new();
    fs::create_dir(client.path().join("dir")).unwrap();
    symlink("x", client.path().join("link")).unwrap();
    for i in 0..300 {
        fs::write(client.path().join(format!("file{i:03}")), vec![0; i]).unwrap();
    }
    for plus in [false, true] {
        let mut all = client.list(ROOT, 4096, plus);
        all.sort_by(|one, other| one.name.cmp(&other.name));
        assert_eq!(all.len(), 302);
        for (listed, index) in all.iter().skip(1).zip(0..300_u64) {
            let meta = fs::symlink_metadata(client.path().join(&listed.name)).unwrap();
            assert_eq!(listed.name, format!("file{index:03}"));
            assert_eq!(listed.dirent.ino, meta.ino());
            assert_eq!(listed.dirent.kind, u32::from(libc::DT_REG));
            let size = listed.entry.map(|entry| entry.attr.size);
            assert_eq!(size, plus.then_some(index));
        }
        assert_eq!(all[0].dirent.kind, u32::from(libc::DT_DIR));
        assert_eq!(all[301].dirent.kind, u32::from(libc::DT_LNK));
        let node = all[5].entry.map_or(0, |entry| entry.nodeid);
        assert_eq!(client.getattr(node).is_ok(), plus);
    }
}

#[test]
fn a_listing_starts_over_and_goes_on_from_any_offset() {
    let mut client = Client::new();
    for i in 0..50 {
        fs::write(client.path().join(format!("{i}")), "").unwrap();
    }
    let fh = client.opendir(ROOT).unwrap();
    let names = |listed: Vec<super::client::Listed>| -> Vec<String> {
        listed.into_iter().map(|entry| entry.name).collect()
    };
    let first = client.readdir_at(ROOT, fh, 0, 400, false).unwrap();
    let offset = first.last().unwrap().dirent.off;
    let second = names(client.readdir_at(ROOT, fh, offset, 400, false).unwrap());
    let first = names(first);
    let again = names(client.readdir_at(ROOT, fh, 0, 400, false).unwrap());
    assert_eq!(again, first);
    let again = names(client.readdir_at(ROOT, fh, offset, 400, false).unwrap());
    assert_eq!(again, second);
    // A file made since shows when the directory is read anew.
    fs::write(client.path().join("new"), "").unwrap();
    let all = names(client.readdir_at(ROOT, fh, 0, 1 << 16, false).unwrap());
    assert!(all.contains(&"new".to_owned()));
    assert_eq!(all.len(), 53);
}

#[test]
fn the_entry_above_the_root_is_the_root() {
    let mut client = Client::new();
    let fh = client.opendir(ROOT).unwrap();
    let ino = fs::metadata(client.path()).unwrap().ino();
    let listed = client.readdir_at(ROOT, fh, 0, 4096, true).unwrap();
    assert_eq!(listed.len(), 2);
    for entry in listed {
        assert_eq!(entry.dirent.ino, ino, "{}", entry.name);
        assert_eq!(entry.entry.unwrap().nodeid, 0);
    }
}

#[test]
fn a_read_only_share_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "data").unwrap();
    fs::create_dir(dir.path().join("dir")).unwrap();
    let mut client = Client::of(&spec(dir.path(), true, Cache::Auto));
    let node = client.walk("file").unwrap();
    for flags in [libc::O_WRONLY, libc::O_RDWR, libc::O_RDONLY | libc::O_TRUNC] {
        assert_eq!(
            client.open(node, flags).unwrap_err(),
            Errno::ROFS,
            "{flags:#x}"
        );
    }
    let fh = client.open(node, libc::O_RDONLY).unwrap().fh;
    let refused = [
        client
            .create(ROOT, "new", libc::O_RDONLY, 0o644)
            .map(|_| ()),
        client
            .create(ROOT, "file", libc::O_RDONLY, 0o644)
            .map(|_| ()),
        client.mkdir(ROOT, "new").map(|_| ()),
        client.symlink(ROOT, "new", "x").map(|_| ()),
        client.link(node, ROOT, "new").map(|_| ()),
        client.unlink(ROOT, "file"),
        client.rmdir(ROOT, "dir"),
        client.rename((ROOT, "file"), (ROOT, "other"), 0),
        client.write(node, fh, 0, b"x").map(|_| ()),
        client.setattr(node, SetattrIn::default()).map(|_| ()),
        client.order(opcode::REMOVEXATTR, node, &named("user.x")),
    ];
    for (index, result) in refused.into_iter().enumerate() {
        assert_eq!(result, Err(Errno::ROFS), "operation {index}");
    }
    let mknod = [MknodIn::default().as_bytes(), &named("new")].concat();
    let fallocate = FallocateIn {
        fh,
        length: 10,
        ..FallocateIn::default()
    };
    let copy = CopyFileRangeIn {
        fh_in: fh,
        nodeid_out: node,
        fh_out: fh,
        len: 1,
        ..CopyFileRangeIn::default()
    };
    let setxattr = [SetxattrIn::default().as_bytes(), &named("user.x")].concat();
    let access = AccessIn {
        mask: libc::W_OK as u32,
        padding: 0,
    };
    for (opcode, body) in [
        (opcode::MKNOD, mknod.as_slice()),
        (opcode::FALLOCATE, fallocate.as_bytes()),
        (opcode::COPY_FILE_RANGE, copy.as_bytes()),
        (opcode::SETXATTR, &setxattr),
        (opcode::TMPFILE, CreateIn::default().as_bytes()),
        (opcode::ACCESS, access.as_bytes()),
    ] {
        assert_eq!(
            client.raw(opcode, node, body, 256),
            Err(Errno::ROFS),
            "{opcode}"
        );
    }
    assert_eq!(client.read(node, fh, 0, 10).unwrap(), b"data");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn a_lasting_read_only_share_is_read_without_being_opened() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("dir")).unwrap();
    fs::write(dir.path().join("dir/file"), "data").unwrap();
    let spec = spec(dir.path(), true, Cache::Always);
    let mut client = Client::silent(Fs::new(0, &spec).unwrap());
    let out = client.init(OFFERED);
    let flags = InitFlags::from_bits_retain(out.flags.into());
    assert!(flags.contains(InitFlags::NO_OPEN_SUPPORT | InitFlags::NO_OPENDIR_SUPPORT));
    assert!(!flags.intersects(InitFlags::WRITEBACK_CACHE | InitFlags::POSIX_LOCKS));
    let node = client.walk("dir/file").unwrap();
    let dir_node = client.walk("dir").unwrap();
    assert_eq!(client.open(node, libc::O_RDONLY).unwrap_err(), Errno::NOSYS);
    assert_eq!(client.opendir(dir_node).unwrap_err(), Errno::NOSYS);
    assert_eq!(client.read(node, 0, 1, 10).unwrap(), b"ata");
    assert_eq!(client.list(dir_node, 4096, true).len(), 1);
    assert_eq!(client.read(dir_node, 0, 0, 10).unwrap_err(), Errno::ISDIR);
    assert_eq!(client.write(node, 0, 0, b"x").unwrap_err(), Errno::ROFS);
    // A guest that cannot do without opening is served as any other.
    let plain = OFFERED & !(InitFlags::NO_OPEN_SUPPORT | InitFlags::NO_OPENDIR_SUPPORT).bits();
    client.init(plain);
    let node = client.walk("dir/file").unwrap();
    assert_eq!(client.content(node).unwrap(), b"data");
}

#[test]
fn a_specification_that_cannot_be_shared_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let text = |spec: &FsSpec| {
        let error = Fs::new(0, spec).unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", cause.unwrap_or_default())
    };
    let missing = text(&spec(&dir.path().join("none"), true, Cache::Auto));
    assert!(missing.contains("cannot open shared directory") && missing.contains("none"));
    assert!(text(&spec(&file, true, Cache::Auto)).contains("file is not a directory"));
    for tag in ["", "a\0b", &"x".repeat(37)] {
        let bad = FsSpec {
            tag: tag.into(),
            ..spec(dir.path(), true, Cache::Auto)
        };
        assert!(
            matches!(Fs::new(0, &bad), Err(FsError::Tag { .. })),
            "{tag}"
        );
    }
    let longest = FsSpec {
        tag: "x".repeat(36),
        ..spec(dir.path(), true, Cache::Auto)
    };
    assert!(Fs::new(0, &longest).is_ok());
}

#[test]
fn attributes_and_data_are_cached_as_far_as_the_share_says() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    // What changed a moment ago may change again without a later time to show for it.
    let settle = || std::thread::sleep(Duration::from_millis(50));
    fs::write(&path, "one").unwrap();
    settle();
    let mut client = Client::of(&spec(dir.path(), false, Cache::Never));
    let entry = client.lookup(ROOT, "file").unwrap();
    assert_eq!((entry.entry_valid, entry.attr_valid), (0, 0));
    let opened = client.open(entry.nodeid, libc::O_RDONLY).unwrap();
    assert_ne!(opened.open_flags & fopen::DIRECT_IO, 0);

    let mut client = Client::of(&spec(dir.path(), false, Cache::Auto));
    let entry = client.lookup(ROOT, "file").unwrap();
    assert_eq!((entry.entry_valid, entry.attr_valid), (1, 1));
    let opened = client.open(entry.nodeid, libc::O_RDONLY).unwrap();
    assert_eq!(opened.open_flags, fopen::KEEP_CACHE);
    fs::write(&path, "longer").unwrap();
    settle();
    let opened = client.open(entry.nodeid, libc::O_RDONLY).unwrap();
    assert_eq!(
        opened.open_flags, 0,
        "changed since the guest last heard of it"
    );
    let opened = client.open(entry.nodeid, libc::O_RDONLY).unwrap();
    assert_eq!(opened.open_flags, fopen::KEEP_CACHE);
}

#[test]
fn access_goes_by_the_permission_bits() {
    let mut client = Client::new();
    let path = client.path().join("file");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let node = client.walk("file").unwrap();
    let mut ask = |uid, gid, mask: i32| {
        (client.uid, client.gid) = (uid, gid);
        let args = AccessIn {
            mask: mask as u32,
            padding: 0,
        };
        client.order(opcode::ACCESS, node, args.as_bytes())
    };
    let meta = fs::metadata(&path).unwrap();
    let (uid, gid) = (meta.uid(), meta.gid());
    assert_eq!(ask(uid, gid, libc::R_OK | libc::W_OK), Ok(()));
    assert_eq!(ask(uid, gid, libc::X_OK), Err(Errno::ACCESS));
    assert_eq!(ask(uid + 1, gid, libc::R_OK), Ok(()));
    assert_eq!(ask(uid + 1, gid, libc::W_OK), Err(Errno::ACCESS));
    assert_eq!(ask(uid + 1, gid + 1, libc::R_OK), Err(Errno::ACCESS));
    assert_eq!(ask(uid + 1, gid + 1, libc::F_OK), Ok(()));
}

#[test]
fn the_file_system_has_numbers_and_a_config_space() {
    let mut client = Client::new();
    let out: StatfsOut = client.ask(opcode::STATFS, ROOT, &[]).unwrap();
    assert!(out.blocks > 0 && out.bsize > 0 && out.namelen >= 255);
    let mut config = [0xff; 44];
    let space = crate::virtio::device::VirtioDevice::config(&client.driver.device);
    space.read(0, &mut config);
    assert_eq!(&config[..36], [b"share".as_slice(), &[0; 31]].concat());
    assert_eq!(config[36..], [1, 0, 0, 0, 0, 0, 0, 0]);
}

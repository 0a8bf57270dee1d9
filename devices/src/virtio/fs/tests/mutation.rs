//! Changing a share: what the guest does is what the host sees.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use rustix::io::Errno;
use zerocopy::IntoBytes;

use super::client::{Client, ROOT, named, with_names};
use crate::virtio::fs::protocol::*;

const NOREPLACE: u32 = 1;
const EXCHANGE: u32 = 2;

#[test]
fn a_file_is_made_written_and_read_back() {
    let mut client = Client::new();
    let dir = client.mkdir(ROOT, "dir").unwrap().nodeid;
    let node = client.put(dir, "file", b"hello");
    assert_eq!(client.content(node).unwrap(), b"hello");
    assert_eq!(fs::read(client.path().join("dir/file")).unwrap(), b"hello");
    let opened = client.open(node, libc::O_RDWR | libc::O_TRUNC).unwrap();
    assert_eq!(client.getattr(node).unwrap().size, 0);
    assert_eq!(client.write(node, opened.fh, 3, b"xyz"), Ok(3));
    assert_eq!(client.content(node).unwrap(), b"\0\0\0xyz");
}

#[test]
fn create_opens_what_exists_unless_it_is_to_be_new() {
    let mut client = Client::new();
    let node = client.put(ROOT, "file", b"hello");
    let (entry, _) = client.create(ROOT, "file", libc::O_RDWR, 0o600).unwrap();
    assert_eq!(entry.nodeid, node);
    assert_eq!(entry.attr.size, 5);
    let (entry, _) = client
        .create(ROOT, "file", libc::O_RDWR | libc::O_TRUNC, 0o600)
        .unwrap();
    assert_eq!(entry.attr.size, 0);
    let taken = client.create(ROOT, "file", libc::O_RDWR | libc::O_EXCL, 0o600);
    assert_eq!(taken.unwrap_err(), Errno::EXIST);
    client.mkdir(ROOT, "dir").unwrap();
    let taken = client.create(ROOT, "dir", libc::O_RDONLY, 0o600);
    assert_eq!(taken.unwrap_err(), Errno::ISDIR);
}

#[test]
fn an_appending_write_goes_where_the_file_ends_by_now() {
    let mut client = Client::new();
    let node = client.put(ROOT, "log", b"one\n");
    let flags = libc::O_WRONLY | libc::O_APPEND;
    let fh = client.open(node, flags).unwrap().fh;
    fs::write(client.path().join("log"), "one\nhost\n").unwrap();
    let append = WriteIn {
        fh,
        offset: 4,
        flags: flags as u32,
        ..WriteIn::default()
    };
    assert_eq!(client.write_with(node, b"two\n", append), Ok(4));
    // A page written back has its place even so.
    let write_back = WriteIn {
        offset: 0,
        write_flags: WRITE_CACHE,
        ..append
    };
    assert_eq!(client.write_with(node, b"ONE", write_back), Ok(3));
    assert_eq!(client.content(node).unwrap(), b"ONE\nhost\ntwo\n");
}

#[test]
fn an_open_file_outlives_its_name() {
    let mut client = Client::new();
    let node = client.put(ROOT, "file", b"hello");
    let fh = client.open(node, libc::O_RDWR).unwrap().fh;
    client.unlink(ROOT, "file").unwrap();
    assert_eq!(client.lookup(ROOT, "file").unwrap_err(), Errno::NOENT);
    // By the node, as Linux's fstat asks, and by the handle.
    let attr = client.getattr(node).unwrap();
    assert_eq!((attr.nlink, attr.size), (0, 5));
    let truncate = SetattrIn {
        valid: (SetattrValid::SIZE | SetattrValid::FH).bits(),
        fh,
        size: 2,
        ..SetattrIn::default()
    };
    assert_eq!(client.setattr(node, truncate).unwrap().size, 2);
    let by_node = SetattrIn {
        valid: SetattrValid::SIZE.bits(),
        size: 4,
        ..SetattrIn::default()
    };
    assert_eq!(client.setattr(node, by_node).unwrap().size, 4);
    let chmod = SetattrIn {
        valid: SetattrValid::MODE.bits(),
        mode: 0o600,
        ..SetattrIn::default()
    };
    assert_eq!(client.setattr(node, chmod).unwrap().mode & 0o777, 0o600);
    assert_eq!(client.write(node, fh, 4, b"!"), Ok(1));
    assert_eq!(client.read(node, fh, 0, 10).unwrap(), b"he\0\0!");
    let again = client.open(node, libc::O_RDONLY).unwrap().fh;
    assert_eq!(client.read(node, again, 0, 2).unwrap(), b"he");
    client.release(node, fh).unwrap();
    client.release(node, again).unwrap();
    assert_eq!(client.getattr(node).unwrap_err(), Errno::STALE);
}

#[test]
fn a_removed_file_that_is_not_open_stays_in_reach_until_forgotten() {
    let mut client = Client::new();
    let file = client.put(ROOT, "file", b"x");
    let dir = client.mkdir(ROOT, "dir").unwrap().nodeid;
    let other = client.put(ROOT, "other", b"yy");
    client.unlink(ROOT, "file").unwrap();
    client.rmdir(ROOT, "dir").unwrap();
    client.rename((ROOT, "other"), (ROOT, "target"), 0).unwrap();
    client.put(ROOT, "new", b"zzz");
    client.rename((ROOT, "new"), (ROOT, "target"), 0).unwrap();
    assert_eq!(client.getattr(file).unwrap().nlink, 0);
    assert_eq!(client.getattr(dir).unwrap().nlink, 0);
    assert_eq!(client.getattr(other).unwrap().size, 2);
    assert_eq!(client.content(other).unwrap(), b"yy");
    assert_eq!(client.lookup(dir, "x").unwrap_err(), Errno::NOENT);
    client.forget(file, 1);
    assert_eq!(client.getattr(file).unwrap_err(), Errno::STALE);
}

#[test]
fn hard_links_are_one_file_under_several_names() {
    let mut client = Client::new();
    let dir = client.mkdir(ROOT, "dir").unwrap().nodeid;
    let node = client.put(ROOT, "one", b"x");
    let linked = client.link(node, dir, "two").unwrap();
    assert_eq!((linked.nodeid, linked.attr.nlink), (node, 2));
    assert_eq!(client.walk("dir/two").unwrap(), node);
    assert_eq!(client.link(dir, ROOT, "three").unwrap_err(), Errno::PERM);
    assert_eq!(client.link(node, dir, "two").unwrap_err(), Errno::EXIST);
    client.unlink(dir, "two").unwrap();
    client.driver.device.forget_descriptors();
    assert_eq!(client.getattr(node).unwrap().nlink, 1);
    client.link(node, dir, "two").unwrap();
    client.unlink(ROOT, "one").unwrap();
    client.driver.device.forget_descriptors();
    assert_eq!(client.getattr(node).unwrap().nlink, 1);
    assert_eq!(client.content(node).unwrap(), b"x");
    // A symbolic link can have several names too.
    let link = client.symlink(ROOT, "soft", "/nowhere").unwrap().nodeid;
    client.link(link, ROOT, "softer").unwrap();
    assert_eq!(
        fs::read_link(client.path().join("softer"))
            .unwrap()
            .to_str(),
        Some("/nowhere")
    );
}

#[test]
fn removal_fails_as_on_the_host() {
    let mut client = Client::new();
    let dir = client.mkdir(ROOT, "dir").unwrap().nodeid;
    client.put(dir, "file", b"");
    assert_eq!(client.rmdir(ROOT, "dir").unwrap_err(), Errno::NOTEMPTY);
    assert_eq!(client.unlink(ROOT, "dir").unwrap_err(), Errno::ISDIR);
    assert_eq!(client.rmdir(dir, "file").unwrap_err(), Errno::NOTDIR);
    assert_eq!(client.unlink(ROOT, "none").unwrap_err(), Errno::NOENT);
    client.unlink(dir, "file").unwrap();
    client.rmdir(ROOT, "dir").unwrap();
    assert_eq!(fs::read_dir(client.path()).unwrap().count(), 0);
    assert_eq!(client.mkdir(dir, "sub").unwrap_err(), Errno::NOENT);
}

#[test]
fn what_is_renamed_is_still_the_same_file() {
    let mut client = Client::new();
    let a = client.mkdir(ROOT, "a").unwrap().nodeid;
    let b = client.mkdir(ROOT, "b").unwrap().nodeid;
    let deep = client.mkdir(a, "deep").unwrap().nodeid;
    let file = client.put(deep, "file", b"x");
    client.rename((a, "deep"), (b, "moved"), 0).unwrap();
    client.driver.device.forget_descriptors();
    assert_eq!(client.content(file).unwrap(), b"x");
    assert_eq!(client.walk("b/moved/file").unwrap(), file);
    assert_eq!(client.lookup(a, "deep").unwrap_err(), Errno::NOENT);
    assert_eq!(
        client.rename((ROOT, "b"), (deep, "x"), 0).unwrap_err(),
        Errno::INVAL
    );

    let other = client.put(ROOT, "other", b"other");
    let taken = client.rename((deep, "file"), (ROOT, "other"), NOREPLACE);
    assert_eq!(taken.unwrap_err(), Errno::EXIST);
    client
        .rename((deep, "file"), (ROOT, "other"), EXCHANGE)
        .unwrap();
    client.driver.device.forget_descriptors();
    assert_eq!(client.walk("other").unwrap(), file);
    assert_eq!(client.content(other).unwrap(), b"other");
    assert_eq!(client.content(file).unwrap(), b"x");
    assert_eq!(
        client.rename((ROOT, "a"), (ROOT, "c"), 0x80).unwrap_err(),
        Errno::INVAL
    );
    client.rename((ROOT, "other"), (ROOT, "other"), 0).unwrap();
    client.driver.device.forget_descriptors();
    assert_eq!(client.content(file).unwrap(), b"x");
}

#[test]
fn directories_that_change_places_do_not_confuse_the_table() {
    let mut client = Client::new();
    let outer = client.mkdir(ROOT, "outer").unwrap().nodeid;
    let inner = client.mkdir(outer, "inner").unwrap().nodeid;
    let file = client.put(inner, "file", b"x");
    // Behind the guest's back, the inner directory becomes the outer one.
    let path = client.path().to_owned();
    fs::rename(path.join("outer/inner"), path.join("inner")).unwrap();
    fs::rename(path.join("outer"), path.join("inner/outer")).unwrap();
    assert_eq!(client.lookup(inner, "outer").unwrap().nodeid, outer);
    client.driver.device.forget_descriptors();
    assert_eq!(client.getattr(file).unwrap_err(), Errno::STALE);
    assert_eq!(client.walk("inner/outer").unwrap(), outer);
    client.driver.device.forget_descriptors();
    assert_eq!(client.content(file).unwrap(), b"x");
    // Nothing is kept for ever by the mix-up.
    for node in [outer, inner, file] {
        client.forget(node, 100);
    }
    for node in [outer, inner, file] {
        assert_eq!(client.getattr(node).unwrap_err(), Errno::STALE);
    }
}

#[test]
fn attributes_change_as_asked() {
    let mut client = Client::new();
    let node = client.put(ROOT, "file", b"hello");
    let args = SetattrIn {
        valid: (SetattrValid::MODE | SetattrValid::ATIME | SetattrValid::MTIME).bits(),
        mode: libc::S_IFREG | 0o640,
        atime: 1000,
        atimensec: 1,
        mtime: (-2_i64) as u64,
        mtimensec: 2,
        ..SetattrIn::default()
    };
    let attr = client.setattr(node, args).unwrap();
    assert_eq!(attr.mode & 0o7777, 0o640);
    assert_eq!((attr.atime, attr.atimensec), (1000, 1));
    let meta = fs::metadata(client.path().join("file")).unwrap();
    assert_eq!((meta.mtime(), meta.mtime_nsec()), (-2, 2));
    let now = SetattrIn {
        valid: (SetattrValid::MTIME | SetattrValid::MTIME_NOW).bits(),
        ..SetattrIn::default()
    };
    let attr = client.setattr(node, now).unwrap();
    assert!(attr.mtime > 1_700_000_000 && attr.atime == 1000);
    let bad = SetattrIn {
        valid: SetattrValid::MTIME.bits(),
        mtimensec: 1_000_000_000,
        ..SetattrIn::default()
    };
    assert_eq!(client.setattr(node, bad).unwrap_err(), Errno::INVAL);

    let link = client.symlink(ROOT, "link", "file").unwrap().nodeid;
    let chmod = SetattrIn {
        valid: SetattrValid::MODE.bits(),
        ..SetattrIn::default()
    };
    assert_eq!(client.setattr(link, chmod).unwrap_err(), Errno::OPNOTSUPP);
    let touch = SetattrIn {
        valid: SetattrValid::MTIME.bits(),
        mtime: 5,
        ..SetattrIn::default()
    };
    assert_eq!(client.setattr(link, touch).unwrap().mtime, 5);
    assert_ne!(client.getattr(node).unwrap().mtime, 5, "the link's target");
}

#[test]
fn new_files_have_the_mode_that_was_asked_for_whatever_our_umask() {
    let mut client = Client::new();
    let (file, _) = client.create(ROOT, "file", libc::O_RDWR, 0o666).unwrap();
    assert_eq!(file.attr.mode & 0o7777, 0o666);
    let args = MkdirIn {
        mode: 0o777,
        umask: 0,
    };
    let dir: EntryOut = client
        .ask(opcode::MKDIR, ROOT, &with_names(&args, &["dir"]))
        .unwrap();
    assert_eq!(dir.attr.mode & 0o7777, 0o777);
    let args = MknodIn {
        mode: libc::S_IFIFO | 0o622,
        ..MknodIn::default()
    };
    let fifo: EntryOut = client
        .ask(opcode::MKNOD, ROOT, &with_names(&args, &["fifo"]))
        .unwrap();
    assert_eq!(fifo.attr.mode, libc::S_IFIFO | 0o622);
    let meta = fs::metadata(client.path().join("fifo")).unwrap();
    assert!(meta.file_type().is_fifo());
}

#[test]
fn run_as_root_new_files_belong_to_the_guests_user() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mut client = Client::new();
    (client.uid, client.gid) = (1234, 2345);
    let owner = |entry: &EntryOut| (entry.attr.uid, entry.attr.gid);
    let dir = client.mkdir(ROOT, "dir").unwrap();
    assert_eq!(owner(&dir), (1234, 2345));
    let (file, _) = client
        .create(dir.nodeid, "f", libc::O_RDWR, 0o4755)
        .unwrap();
    assert_eq!(owner(&file), (1234, 2345));
    assert_eq!(file.attr.mode & 0o7777, 0o4755);
    let link = client.symlink(ROOT, "link", "x").unwrap();
    assert_eq!(owner(&link), (1234, 2345));
    // In a set-group-id directory, the group is the directory's.
    let shared = client.path().join("dir");
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o2775)).unwrap();
    client.gid = 999;
    let (file, _) = client.create(dir.nodeid, "g", libc::O_RDWR, 0o644).unwrap();
    assert_eq!(owner(&file), (1234, 2345));
    let sub = client.mkdir(dir.nodeid, "sub").unwrap();
    assert_eq!(sub.attr.mode & 0o7777, 0o2755);
    let chown = SetattrIn {
        valid: (SetattrValid::UID | SetattrValid::GID).bits(),
        uid: 7,
        gid: 8,
        ..SetattrIn::default()
    };
    let attr = client.setattr(file.nodeid, chown).unwrap();
    assert_eq!((attr.uid, attr.gid), (7, 8));
}

#[test]
fn a_write_without_privilege_takes_the_set_user_id_bit_away() {
    let mut client = Client::new();
    let node = client.put(ROOT, "file", b"x");
    let path = client.path().join("file");
    let fh = client.open(node, libc::O_RDWR).unwrap().fh;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o6755)).unwrap();
    let write = WriteIn {
        fh,
        write_flags: WRITE_KILL_SUIDGID,
        ..WriteIn::default()
    };
    client.write_with(node, b"y", write).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o755);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o6745)).unwrap();
    let truncate = SetattrIn {
        valid: (SetattrValid::SIZE | SetattrValid::KILL_SUIDGID).bits(),
        ..SetattrIn::default()
    };
    client.setattr(node, truncate).unwrap();
    // Without the group's execute bit, set-group-id means something else and stays.
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o2745);
}

#[test]
fn extended_attributes_are_kept_on_the_host() {
    let mut client = Client::new();
    let dir = client.mkdir(ROOT, "dir").unwrap().nodeid;
    let file = client.put(dir, "file", b"");
    for node in [dir, file] {
        let set = SetxattrIn {
            size: 5,
            ..SetxattrIn::default()
        };
        let body = [set.as_bytes(), &named("user.colour"), b"green"].concat();
        client.order(opcode::SETXATTR, node, &body).unwrap();
        let mut get = |name: &str, size| {
            let args = GetxattrIn { size, padding: 0 };
            client.raw(
                opcode::GETXATTR,
                node,
                &with_names(&args, &[name]),
                size.max(8),
            )
        };
        assert_eq!(get("user.colour", 64).unwrap(), b"green");
        assert_eq!(get("user.colour", 0).unwrap(), [5, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(get("user.colour", 4).unwrap_err(), Errno::RANGE);
        assert_eq!(get("user.none", 64).unwrap_err(), Errno::NODATA);
        assert_eq!(
            get("trusted.overlay.opaque", 64).unwrap_err(),
            Errno::NODATA
        );
        let args = GetxattrIn {
            size: 64,
            padding: 0,
        };
        let list = client
            .raw(opcode::LISTXATTR, node, args.as_bytes(), 64)
            .unwrap();
        assert_eq!(list, b"user.colour\0");
        client
            .order(opcode::REMOVEXATTR, node, &named("user.colour"))
            .unwrap();
        let gone = client.order(opcode::REMOVEXATTR, node, &named("user.colour"));
        assert_eq!(gone.unwrap_err(), Errno::NODATA);
    }
    let link = client.symlink(ROOT, "link", "dir/file").unwrap().nodeid;
    let body = [SetxattrIn::default().as_bytes(), &named("user.x")].concat();
    let on_link = client.order(opcode::SETXATTR, link, &body);
    assert_eq!(
        on_link.unwrap_err(),
        Errno::PERM,
        "it must not reach the target"
    );
}

#[test]
fn space_is_reserved_punched_and_found() {
    let mut client = Client::new();
    let node = client.put(ROOT, "file", &[1; 64 << 10]);
    let fh = client.open(node, libc::O_RDWR).unwrap().fh;
    let mut allocate = |mode: i32, offset, length| {
        let args = FallocateIn {
            fh,
            offset,
            length,
            mode: mode as u32,
            padding: 0,
        };
        client.order(opcode::FALLOCATE, node, args.as_bytes())
    };
    allocate(0, 0, 128 << 10).unwrap();
    allocate(
        libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE,
        0,
        32 << 10,
    )
    .unwrap();
    assert_eq!(allocate(0, 0, 0).unwrap_err(), Errno::INVAL);
    assert_eq!(allocate(1 << 30, 0, 1).unwrap_err(), Errno::OPNOTSUPP);
    assert_eq!(client.getattr(node).unwrap().size, 128 << 10);
    assert_eq!(client.read(node, fh, (32 << 10) - 1, 2).unwrap(), [0, 1]);
    let mut seek = |offset, whence| {
        let args = LseekIn {
            fh,
            offset,
            whence,
            padding: 0,
        };
        let out: Result<LseekOut, Errno> = client.ask(opcode::LSEEK, node, args.as_bytes());
        out.map(|out| out.offset)
    };
    assert_eq!(seek(0, libc::SEEK_DATA as u32), Ok(32 << 10));
    assert_eq!(seek(0, libc::SEEK_HOLE as u32), Ok(0));
    assert_eq!(seek(1 << 20, libc::SEEK_DATA as u32), Err(Errno::NXIO));
    assert_eq!(seek(0, libc::SEEK_SET as u32), Err(Errno::INVAL));
}

#[test]
fn a_range_is_copied_on_the_host() {
    let mut client = Client::new();
    let from = client.put(ROOT, "from", b"0123456789");
    let to = client.put(ROOT, "to", b"");
    let fh_in = client.open(from, libc::O_RDONLY).unwrap().fh;
    let fh_out = client.open(to, libc::O_WRONLY).unwrap().fh;
    let args = CopyFileRangeIn {
        fh_in,
        off_in: 2,
        nodeid_out: to,
        fh_out,
        off_out: 1,
        len: u64::MAX,
        flags: 0,
    };
    let out: WriteOut = client
        .ask(opcode::COPY_FILE_RANGE, from, args.as_bytes())
        .unwrap();
    assert_eq!(out.size, 8);
    assert_eq!(client.content(to).unwrap(), b"\x0023456789");
    let wrong = CopyFileRangeIn {
        nodeid_out: from,
        ..args
    };
    let refused = client.raw(opcode::COPY_FILE_RANGE, from, wrong.as_bytes(), 8);
    assert_eq!(refused.unwrap_err(), Errno::BADF);
}

#[test]
fn a_file_without_a_name_can_be_given_one() {
    let mut client = Client::new();
    let args = CreateIn {
        flags: libc::O_RDWR as u32,
        mode: libc::S_IFREG | 0o600,
        ..CreateIn::default()
    };
    let body = with_names(&args, &["/"]);
    let out = client.raw(opcode::TMPFILE, ROOT, &body, 144).unwrap();
    let (entry, opened) = zerocopy::FromBytes::read_from_prefix(&out).unwrap();
    let (entry, opened): (EntryOut, OpenOut) =
        (entry, zerocopy::FromBytes::read_from_bytes(opened).unwrap());
    assert_eq!(fs::read_dir(client.path()).unwrap().count(), 0);
    client.write(entry.nodeid, opened.fh, 0, b"data").unwrap();
    let linked = client.link(entry.nodeid, ROOT, "named").unwrap();
    assert_eq!(linked.nodeid, entry.nodeid);
    client.release(entry.nodeid, opened.fh).unwrap();
    assert_eq!(client.content(entry.nodeid).unwrap(), b"data");
}

#[test]
fn what_is_written_can_be_forced_to_disk() {
    let mut client = Client::new();
    let node = client.put(ROOT, "file", b"x");
    let fh = client.open(node, libc::O_RDWR).unwrap().fh;
    for fsync_flags in [0, FSYNC_FDATASYNC] {
        let args = FsyncIn {
            fh,
            fsync_flags,
            padding: 0,
        };
        client.order(opcode::FSYNC, node, args.as_bytes()).unwrap();
        assert_eq!(
            client.order(opcode::FSYNC, ROOT, args.as_bytes()),
            Err(Errno::BADF)
        );
    }
    let args = FsyncIn {
        fh: client.opendir(ROOT).unwrap(),
        ..FsyncIn::default()
    };
    client
        .order(opcode::FSYNCDIR, ROOT, args.as_bytes())
        .unwrap();
    client.order(opcode::SYNCFS, ROOT, &[0; 8]).unwrap();
}

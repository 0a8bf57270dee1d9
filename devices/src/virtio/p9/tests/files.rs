//! Data, attributes and directories.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};

use rustix::io::Errno;

use super::client::{Client, MSIZE, RDONLY, RDWR, ROOT, spec};
use crate::backend::fs::FsSpec;
use crate::virtio::p9::protocol::{Body, Reply, kind};

const MODE: u32 = 1;
const SIZE: u32 = 8;
const ATIME_SET: u32 = 0x80 | 0x10;
const MTIME_SET: u32 = 0x100 | 0x20;

#[test]
fn what_was_written_is_read_back_by_both() {
    let mut client = Client::new();
    client.mkdir(ROOT, "dir").unwrap();
    let dir = client.walk(ROOT, &["dir"]).unwrap();
    client.put(dir, "file", b"hello");
    assert_eq!(client.content(ROOT, &["dir", "file"]).unwrap(), b"hello");
    assert_eq!(fs::read(client.path().join("dir/file")).unwrap(), b"hello");
    fs::write(client.path().join("dir/file"), "from the host").unwrap();
    let fid = client.open_at(dir, &["file"], RDWR).unwrap();
    assert_eq!(client.read(fid, 5, 100).unwrap(), b"the host");
    assert_eq!(client.read(fid, 100, 100).unwrap(), b"");
    assert_eq!(client.write(fid, 9, b"home!"), Ok(5));
    assert_eq!(client.content(dir, &["file"]).unwrap(), b"from the home!");
}

#[test]
fn a_long_read_fills_the_message() {
    let mut client = Client::new();
    let data: Vec<u8> = (0..600_000_u32).map(|n| (n / 7) as u8).collect();
    fs::write(client.path().join("file"), &data).unwrap();
    let fid = client.open_at(ROOT, &["file"], RDONLY).unwrap();
    let most = (MSIZE - 24) as usize;
    assert_eq!(client.read(fid, 0, 1 << 20).unwrap(), &data[..most]);
    assert_eq!(
        client.read(fid, most as u64, 1 << 20).unwrap(),
        &data[most..]
    );
}

#[test]
fn an_appending_fid_writes_to_the_end_wherever_that_is_by_now() {
    let mut client = Client::new();
    client.put(ROOT, "file", b"12345");
    let flags = libc::O_WRONLY as u32 | libc::O_APPEND as u32;
    let fid = client.open_at(ROOT, &["file"], flags).unwrap();
    client.write(fid, 5, b"a").unwrap();
    client.write(fid, 6, b"b").unwrap();
    assert_eq!(client.content(ROOT, &["file"]).unwrap(), b"12345ab");
    // A page that the guest has cached and writes back keeps its place.
    client.write(fid, 0, b"page").unwrap();
    assert_eq!(client.content(ROOT, &["file"]).unwrap(), b"page5ab");
}

#[test]
fn a_write_beyond_the_largest_file_fails_as_on_the_host() {
    let mut client = Client::new();
    client.put(ROOT, "file", b"");
    let file = fs::File::options()
        .write(true)
        .open(client.path().join("file"))
        .unwrap();
    let fid = client.open_at(ROOT, &["file"], RDWR).unwrap();
    for offset in [(1 << 44) - 2, i64::MAX as u64 - 1] {
        let native = file.write_at(b"x", offset);
        let native = native.map_err(|error| error.raw_os_error().unwrap());
        let served = client.write(fid, offset, b"x");
        let served = served.map(|n| n as usize).map_err(Errno::raw_os_error);
        assert_eq!(served, native, "{offset:#x}");
    }
}

#[test]
fn attributes_are_told_and_changed() {
    let mut client = Client::new();
    client.put(ROOT, "file", b"12345");
    let fid = client.walk(ROOT, &["file"]).unwrap();
    client.setattr(fid, MODE, 0o640).unwrap();
    client.setattr(fid, SIZE, 3).unwrap();
    client.setattr(fid, ATIME_SET | MTIME_SET, 1000).unwrap();
    let attr = client.getattr(fid).unwrap();
    let meta = fs::metadata(client.path().join("file")).unwrap();
    assert_eq!(attr.mode, meta.mode());
    assert_eq!(meta.permissions().mode() & 0o7777, 0o640);
    assert_eq!((attr.size, meta.len()), (3, 3));
    assert_eq!((attr.mtime, meta.mtime()), ((1000, 1000), 1000));
    assert_eq!(attr.nlink, 1);
    assert_eq!(attr.qid.path, meta.ino());
    let mut args = Reply::default();
    args.u32(fid);
    let out = client.ask(kind::STATFS, &args).unwrap();
    assert_eq!(Body(&out).u32(), Ok(0x0102_1997));
    assert_eq!(out.len(), 60);
}

#[test]
fn a_qid_changes_with_the_data_and_is_never_zero() {
    let mut client = Client::new();
    client.put(ROOT, "file", b"12345");
    let first = client.stat(ROOT, &["file"]).unwrap().qid;
    fs::write(client.path().join("file"), "longer than before").unwrap();
    let second = client.stat(ROOT, &["file"]).unwrap().qid;
    assert_eq!(first.path, second.path);
    assert_ne!(first.version, second.version);
    assert_ne!(first.version, 0);
}

#[test]
fn a_file_lives_on_after_its_name() {
    let mut client = Client::new();
    let fid = client.create(ROOT, "file", RDWR, 0o644).unwrap();
    client.write(fid, 0, b"12345").unwrap();
    client.unlink(ROOT, "file").unwrap();
    assert_eq!(client.getattr(fid).unwrap().nlink, 0);
    assert_eq!(client.getattr(fid).unwrap().size, 5);
    client.setattr(fid, SIZE, 2).unwrap();
    assert_eq!(client.read(fid, 0, 100).unwrap(), b"12");
    // A fid that has nothing open knows the file still.
    client.put(ROOT, "other", b"x");
    let other = client.walk(ROOT, &["other"]).unwrap();
    client.unlink(ROOT, "other").unwrap();
    assert_eq!(client.getattr(other).unwrap().size, 1);
    assert_eq!(client.stat(ROOT, &["other"]).unwrap_err(), Errno::NOENT);
}

#[test]
fn a_directory_is_read_in_pieces_of_any_size() {
    let mut client = Client::new();
    let mut names: Vec<String> = (0..300).map(|n| format!("file{n}")).collect();
    names.sort();
    for name in &names {
        fs::write(client.path().join(name), "").unwrap();
    }
    fs::create_dir(client.path().join("dir")).unwrap();
    for count in [64, 200, 4096, 1 << 20] {
        let mut entries = client.list(ROOT, count);
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(entries.remove(0).kind, libc::DT_DIR);
        let read: Vec<_> = entries.iter().map(|entry| entry.name.clone()).collect();
        assert_eq!(read, names, "{count}");
        let stat = client.stat(ROOT, &["file7"]).unwrap();
        let entry = entries.iter().find(|entry| entry.name == "file7").unwrap();
        assert_eq!((entry.qid.path, entry.kind), (stat.qid.path, libc::DT_REG));
    }
}

#[test]
fn a_read_only_share_is_changed_by_nobody() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "12345").unwrap();
    let mut client = Client::of(&FsSpec {
        read_only: true,
        ..spec(dir.path())
    });
    let file = client.walk(ROOT, &["file"]).unwrap();
    let refused = [
        client.mkdir(ROOT, "x").map(drop),
        client.create(ROOT, "x", RDWR, 0o644).map(drop),
        client.symlink(ROOT, "x", "y").map(drop),
        client
            .mknod(ROOT, "x", libc::S_IFIFO | 0o644, (0, 0))
            .map(drop),
        client.link(file, ROOT, "x"),
        client.unlink(ROOT, "file"),
        client.rename((ROOT, "file"), (ROOT, "x")),
        client.setattr(file, MODE, 0o600),
        client.open(file, RDWR).map(drop),
        client.open(file, libc::O_TRUNC as u32).map(drop),
    ];
    assert_eq!(refused, [Err(Errno::ROFS); 10]);
    client.open(file, RDONLY).unwrap();
    assert_eq!(client.write(file, 0, b"x"), Err(Errno::ROFS));
    assert_eq!(client.read(file, 0, 100).unwrap(), b"12345");
    let mut args = Reply::default();
    args.u32(file).u32(0);
    client.order(kind::FSYNC, &args).unwrap();
}

#[test]
fn a_write_by_a_user_takes_the_set_user_id_bit() {
    let mut client = Client::new();
    client.put(ROOT, "file", b"x");
    let path = client.path().join("file");
    let set = || fs::set_permissions(&path, fs::Permissions::from_mode(0o4755)).unwrap();
    let mode = || fs::metadata(&path).unwrap().mode() & 0o7777;
    set();
    let fid = client.open_at(ROOT, &["file"], RDWR).unwrap();
    client.write(fid, 0, b"y").unwrap();
    if rustix::process::geteuid().is_root() {
        assert_eq!(mode(), 0o4755);
    }
    set();
    client.uid = 1000;
    client.attach(77).unwrap();
    let fid = client.open_at(77, &["file"], RDWR).unwrap();
    client.write(fid, 0, b"y").unwrap();
    assert_eq!(mode(), 0o755);
}

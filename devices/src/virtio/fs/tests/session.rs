//! INIT, DESTROY, and a session that outlives its process.

use std::fs;

use rustix::io::Errno;
use zerocopy::IntoBytes;

use super::client::{Client, OFFERED, REQUESTS, ROOT, body_of, spec};
use crate::persist::{Payload, PersistError};
use crate::sys::fs::FileLock;
use crate::virtio::device::VirtioDevice;
use crate::virtio::fs::protocol::*;
use crate::virtio::fs::{Cache, Fs};

#[test]
fn nothing_is_served_before_init() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let device = Fs::new(0, &spec(dir.path(), false, Cache::Auto)).unwrap();
    let mut client = Client::silent(device);
    assert_eq!(client.lookup(ROOT, "file").unwrap_err(), Errno::IO);
    client.init(OFFERED);
    client.lookup(ROOT, "file").unwrap();
    client.order(opcode::DESTROY, 0, &[]).unwrap();
    assert_eq!(client.lookup(ROOT, "file").unwrap_err(), Errno::IO);
}

#[test]
fn init_agrees_on_what_both_know() {
    let dir = tempfile::tempdir().unwrap();
    let device = Fs::new(0, &spec(dir.path(), false, Cache::Auto)).unwrap();
    let mut client = Client::silent(device);
    let out = client.init(u64::MAX);
    assert_eq!((out.major, out.minor), (7, 38));
    assert_eq!((out.max_write, out.max_pages), (1 << 20, 256));
    let flags = InitFlags::from_bits_retain(u64::from(out.flags) | u64::from(out.flags2) << 32);
    assert!(
        InitFlags::all().contains(flags),
        "no flag that is unknown to us"
    );
    assert!(flags.contains(InitFlags::MAX_PAGES | InitFlags::DO_READDIRPLUS));
    assert!(
        !flags.contains(InitFlags::WRITEBACK_CACHE),
        "the host may write too"
    );
    let out = client.init(InitFlags::INIT_EXT.bits());
    assert_eq!(u64::from(out.flags), InitFlags::INIT_EXT.bits());
}

#[test]
fn a_guest_of_another_protocol_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let device = Fs::new(0, &spec(dir.path(), false, Cache::Auto)).unwrap();
    let mut client = Client::silent(device);
    let mut ask = |major, minor| {
        let args = InitIn {
            major,
            minor,
            ..InitIn::default()
        };
        client.ask::<InitOut>(opcode::INIT, 0, args.as_bytes())
    };
    assert_eq!(ask(6, 38).unwrap_err(), Errno::PROTO);
    assert_eq!(ask(7, 26).unwrap_err(), Errno::PROTO);
    assert_eq!(ask(8, 0).unwrap().major, 7);
    assert_eq!(ask(7, 31).unwrap().minor, 38);
}

#[test]
fn a_new_mount_starts_over() {
    let mut client = Client::new();
    let node = client.put(ROOT, "file", b"x");
    let fh = client.open(node, libc::O_RDONLY).unwrap().fh;
    client.init(OFFERED);
    assert_eq!(client.getattr(node).unwrap_err(), Errno::STALE);
    assert_eq!(client.read(node, fh, 0, 1).unwrap_err(), Errno::BADF);
    let again = client.walk("file").unwrap();
    assert_ne!(again, node, "an id is not used twice");
    assert_eq!(client.content(again).unwrap(), b"x");
}

/// A client of the same share in a new device that took over what the old one saved.
fn taken_over(mut client: Client) -> Client {
    client.driver.quiesce();
    let state = client.driver.device.save().unwrap().unwrap();
    // The process that saved is gone, and its locks with it.
    client.driver.device.reset();
    let mut device = Fs::new(0, &spec(client.path(), false, Cache::Auto)).unwrap();
    device.restore(state).unwrap();
    client.driver.device = device;
    client.driver.activate().unwrap();
    client
}

#[test]
fn a_session_goes_on_in_another_process() {
    let mut client = Client::new();
    let dir = client.mkdir(ROOT, "100% \u{e9}\n").unwrap().nodeid;
    let file = client.put(dir, "file", b"hello");
    let forgotten = client.put(ROOT, "forgotten", b"");
    client.forget(forgotten, 1);
    let link = client.link(file, ROOT, "link").unwrap().nodeid;
    assert_eq!(link, file);
    let opened = client.open(file, libc::O_RDWR).unwrap().fh;
    let listed = client.opendir(dir).unwrap();
    let lock = LkIn {
        fh: opened,
        owner: 1,
        lk: FileLockWire {
            start: 2,
            end: 3,
            kind: 1,
            pid: 9,
        },
        ..LkIn::default()
    };
    client.order(opcode::SETLK, file, lock.as_bytes()).unwrap();

    let mut client = taken_over(client);
    assert_eq!(client.read(file, opened, 1, 10).unwrap(), b"ello");
    assert_eq!(client.write(file, opened, 0, b"H"), Ok(1));
    assert_eq!(
        client
            .readdir_at(dir, listed, 0, 4096, false)
            .unwrap()
            .len(),
        3
    );
    assert_eq!(client.walk("100% \u{e9}\n/file").unwrap(), file);
    assert_eq!(client.getattr(forgotten).unwrap_err(), Errno::STALE);
    let asked = LkIn {
        owner: 2,
        lk: FileLockWire {
            end: 100,
            pid: 0,
            ..lock.lk
        },
        ..lock
    };
    let out: LkOut = client.ask(opcode::GETLK, file, asked.as_bytes()).unwrap();
    assert_eq!(
        (out.lk.start, out.lk.end, out.lk.kind, out.lk.pid),
        (2, 3, 1, 9)
    );
    // Ids go on where they were: a new file has one that no other had.
    let new = client.put(ROOT, "new", b"");
    assert!(![dir, file, forgotten].contains(&new));
    // What the guest forgets, now or before, frees what was restored.
    client.release(file, opened).unwrap();
    client.forget(file, 3);
    assert_eq!(client.getattr(file).unwrap_err(), Errno::STALE);
}

#[test]
fn a_request_that_waits_goes_on_waiting_in_another_process() {
    let mut client = Client::new();
    let file = client.put(ROOT, "file", b"hello");
    let opened = client.open(file, libc::O_RDWR).unwrap().fh;
    let lock = |owner, kind| LkIn {
        fh: opened,
        owner,
        lk: FileLockWire {
            end: FileLock::END,
            kind,
            ..FileLockWire::default()
        },
        ..LkIn::default()
    };
    client
        .order(opcode::SETLK, file, lock(1, 1).as_bytes())
        .unwrap();
    let (waiting, message) = client.message(opcode::SETLKW, file, lock(2, 1).as_bytes());
    client.driver.add(REQUESTS, &[&message], &[16]);
    client.driver.kick(REQUESTS).unwrap();

    let mut client = taken_over(client);
    assert!(client.driver.pop_used(REQUESTS).is_none());
    let (_, message) = client.message(opcode::SETLK, file, lock(1, 2).as_bytes());
    client.driver.add(REQUESTS, &[&message], &[16]);
    client.driver.kick(REQUESTS).unwrap();
    client.driver.pop_used(REQUESTS).unwrap();
    let used = client.driver.pop_used(REQUESTS).unwrap();
    assert_eq!(body_of(waiting, &used.data), Ok(vec![]));
}

#[test]
fn what_changed_while_a_session_was_away_is_out_of_date_and_no_more() {
    let mut client = Client::new();
    let gone = client.put(ROOT, "gone", b"gone");
    let kept = client.put(ROOT, "kept", b"kept");
    let replaced = client.put(ROOT, "replaced", b"old");
    let lost = client.open(gone, libc::O_RDONLY).unwrap().fh;
    let open = client.open(kept, libc::O_RDONLY).unwrap().fh;
    let path = client.path().to_owned();
    client.driver.quiesce();
    let state = client.driver.device.save().unwrap().unwrap();
    client.driver.device.reset();
    fs::remove_file(path.join("gone")).unwrap();
    fs::write(path.join("other"), "new").unwrap();
    fs::rename(path.join("other"), path.join("replaced")).unwrap();

    let mut device = Fs::new(0, &spec(&path, false, Cache::Auto)).unwrap();
    device.restore(state.clone()).unwrap();
    client.driver.device = device;
    client.driver.activate().unwrap();
    assert_eq!(client.read(gone, lost, 0, 4).unwrap_err(), Errno::BADF);
    assert_eq!(client.getattr(gone).unwrap_err(), Errno::STALE);
    assert_eq!(client.getattr(replaced).unwrap_err(), Errno::STALE);
    assert_eq!(client.read(kept, open, 0, 4).unwrap(), b"kept");
    let again = client.driver.device.restore(state).unwrap_err();
    assert!(matches!(again, PersistError::Invalid(_)), "in use");
}

#[test]
fn a_state_that_contradicts_itself_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let device = || Fs::new(0, &spec(dir.path(), false, Cache::Auto)).unwrap();
    let node = r#"{"id":ID,"dev":1,"ino":2,"kind":16384,"lookups":1,"told":0,"places":[PLACES]}"#;
    let node = |id: &str, places: &str| node.replace("ID", id).replace("PLACES", places);
    let state = |nodes: String| Payload {
        kind: "virtio-fs".into(),
        version: 1,
        data: format!(
            r#"{{"session":null,"share":{{"root_dev":1,"generation":1,"nodes":[{nodes}],
            "handles":[],"locks":[]}},"waiting":[]}}"#
        )
        .into_bytes(),
    };
    device().restore(state(node("2", r#"[1,"a"]"#))).unwrap();
    for nodes in [
        node("1", ""),
        node("0", ""),
        node("4294967295", ""),
        node("2", r#"[1,".."]"#),
        node("2", r#"[1,"a/b"]"#),
        node("2", r#"[7,"a"]"#),
        format!("{},{}", node("2", r#"[1,"a"]"#), node("2", r#"[1,"b"]"#)),
    ] {
        let refused = device().restore(state(nodes.clone()));
        assert!(matches!(refused, Err(PersistError::Invalid(_))), "{nodes}");
    }
    // Two directories that lie in each other are out of date, not a hang.
    let circle = format!("{},{}", node("2", r#"[3,"a"]"#), node("3", r#"[2,"b"]"#));
    let mut device = device();
    device.restore(state(circle)).unwrap();
    let mut client = Client::silent(device);
    assert_eq!(client.getattr(2).unwrap_err(), Errno::IO, "no session");
    client.init(OFFERED);
    assert_eq!(client.getattr(2).unwrap_err(), Errno::STALE);
}

//! A driver that breaks the rules: an error for it, nothing for anybody else.

use std::fs;

use proptest::prelude::*;
use rustix::io::Errno;
use zerocopy::{FromBytes, IntoBytes};

use super::client::{Client, HIPRIO, OFFERED, REQUESTS, ROOT, named, spec};
use crate::virtio::fs::protocol::*;
use crate::virtio::fs::{Cache, Fs};

#[test]
fn a_request_without_a_whole_header_stops_the_device() {
    for len in [1, 8, 39] {
        let mut client = Client::new();
        client.driver.add(REQUESTS, &[&vec![0; len]], &[16]);
        assert!(client.driver.kick(REQUESTS).is_err());
    }
}

#[test]
fn a_request_without_room_for_an_answer_stops_the_device() {
    let mut client = Client::new();
    let (_, message) = client.message(opcode::GETATTR, ROOT, GetattrIn::default().as_bytes());
    client.driver.add(REQUESTS, &[&message], &[15]);
    assert!(client.driver.kick(REQUESTS).is_err());
}

#[test]
fn a_length_that_is_not_the_requests_is_an_error() {
    let mut client = Client::new();
    for len in [0, 39, 4096, u32::MAX] {
        let (_, mut message) = client.message(opcode::GETATTR, ROOT, &[0; 16]);
        message[..4].copy_from_slice(&len.to_le_bytes());
        let answer = client.driver.request(REQUESTS, &[&message], &[16, 256]);
        let header = OutHeader::read_from_bytes(&answer).unwrap();
        assert_eq!(header.error, -libc::EINVAL, "{len}");
    }
    // What lies behind the stated length is not looked at.
    let (_, mut message) = client.message(opcode::LOOKUP, ROOT, b"x\0");
    message[..4].copy_from_slice(&41_u32.to_le_bytes());
    let answer = client.driver.request(REQUESTS, &[&message], &[16, 256]);
    assert_eq!(
        OutHeader::read_from_bytes(&answer).unwrap().error,
        -libc::EINVAL
    );
}

#[test]
fn an_unknown_request_is_answered_so() {
    let mut client = Client::new();
    for opcode in [0, 7, 19, 37, 39, 40, 41, 48, 49, 52, 1000, 4096, u32::MAX] {
        assert_eq!(
            client.raw(opcode, ROOT, &[0; 64], 64),
            Err(Errno::NOSYS),
            "{opcode}"
        );
    }
}

#[test]
fn ids_that_were_never_given_out_are_errors() {
    let mut client = Client::new();
    let file = client.put(ROOT, "file", b"x");
    let fh = client.open(file, libc::O_RDWR).unwrap().fh;
    let dir = client.opendir(ROOT).unwrap();
    for node in [0, 3, 4, 1 << 32, 1 << 32 | 1, u64::MAX] {
        assert_eq!(client.getattr(node).unwrap_err(), Errno::STALE, "{node:#x}");
        assert_eq!(client.lookup(node, "x").unwrap_err(), Errno::STALE);
        assert_eq!(client.open(node, 0).unwrap_err(), Errno::STALE);
        assert_eq!(client.mkdir(node, "x").unwrap_err(), Errno::STALE);
        assert_eq!(client.link(node, ROOT, "x").unwrap_err(), Errno::STALE);
        assert_eq!(
            client.rename((ROOT, "file"), (node, "x"), 0).unwrap_err(),
            Errno::STALE
        );
        client.forget(node, 1);
    }
    for wrong in [2, fh + 100, fh ^ 1 << 33, u64::MAX, dir] {
        assert_eq!(
            client.read(file, wrong, 0, 1).unwrap_err(),
            Errno::BADF,
            "{wrong:#x}"
        );
        assert_eq!(client.write(file, wrong, 0, b"x").unwrap_err(), Errno::BADF);
    }
    assert_eq!(
        client.readdir_at(file, fh, 0, 64, false).unwrap_err(),
        Errno::NOTDIR
    );
    assert_eq!(
        client.readdir_at(file, dir, 0, 64, false).unwrap_err(),
        Errno::BADF
    );
    assert_eq!(client.release(file, 0).unwrap_err(), Errno::BADF);
    // The root cannot be forgotten.
    client.forget(ROOT, u64::MAX);
    client.getattr(ROOT).unwrap();
    let batch = BatchForgetIn {
        count: u32::MAX,
        dummy: 0,
    };
    let one = ForgetOne {
        nodeid: file,
        nlookup: u64::MAX,
    };
    let body = [batch.as_bytes(), one.as_bytes()].concat();
    let (_, message) = client.message(opcode::BATCH_FORGET, 0, &body);
    assert!(client.driver.request(HIPRIO, &[&message], &[]).is_empty());
    // Open, it stays until it is closed, forgotten as it is.
    assert_eq!(client.read(file, fh, 0, 1).unwrap(), b"x");
    client.release(file, fh).unwrap();
    assert_eq!(client.getattr(file).unwrap_err(), Errno::STALE);
}

#[test]
fn sizes_without_measure_take_no_memory_of_ours() {
    let mut client = Client::new();
    let file = client.put(ROOT, "file", b"0123456789");
    let fh = client.open(file, libc::O_RDWR).unwrap().fh;
    let read = ReadIn {
        fh,
        size: u32::MAX,
        ..ReadIn::default()
    };
    assert_eq!(
        client.raw(opcode::READ, file, read.as_bytes(), 4).unwrap(),
        b"0123"
    );
    let beyond = ReadIn {
        offset: u64::MAX,
        ..read
    };
    assert_eq!(
        client.raw(opcode::READ, file, beyond.as_bytes(), 4),
        Err(Errno::INVAL)
    );
    let write = WriteIn {
        fh,
        size: u32::MAX,
        ..WriteIn::default()
    };
    assert_eq!(
        client.raw(opcode::WRITE, file, write.as_bytes(), 8),
        Err(Errno::INVAL)
    );
    for opcode in [opcode::GETXATTR, opcode::LISTXATTR] {
        let args = GetxattrIn {
            size: u32::MAX,
            padding: 0,
        };
        let body = [args.as_bytes(), &named("user.none")].concat();
        let answer = client.raw(opcode, file, &body, 64);
        assert!(matches!(answer, Ok(_) | Err(Errno::NODATA)), "{answer:?}");
    }
    let set = SetxattrIn {
        size: u32::MAX,
        ..SetxattrIn::default()
    };
    let body = [set.as_bytes(), &named("user.x"), b"value"].concat();
    assert_eq!(
        client.raw(opcode::SETXATTR, file, &body, 0),
        Err(Errno::INVAL)
    );
    let long = vec![b'x'; 100_000];
    assert_eq!(
        client.raw(opcode::LOOKUP, ROOT, &long, 128),
        Err(Errno::NAMETOOLONG)
    );
    let dir = client.opendir(ROOT).unwrap();
    let listed = client.readdir_at(ROOT, dir, u64::MAX, 4096, true);
    assert!(listed.is_err() || listed.is_ok_and(|listed| listed.is_empty()));
}

#[test]
fn an_answer_that_does_not_fit_is_an_error_and_leaves_nothing_behind() {
    let mut client = Client::new();
    fs::write(client.path().join("file"), "x").unwrap();
    for _ in 0..3 {
        assert_eq!(
            client.raw(opcode::LOOKUP, ROOT, b"file\0", 127),
            Err(Errno::OVERFLOW)
        );
    }
    let node = client.walk("file").unwrap();
    client.forget(node, 1);
    assert_eq!(
        client.getattr(node).unwrap_err(),
        Errno::STALE,
        "looked up once, no more"
    );
    let node = client.walk("file").unwrap();
    let opened = client.raw(opcode::OPEN, node, OpenIn::default().as_bytes(), 15);
    assert_eq!(opened, Err(Errno::OVERFLOW));
    client.forget(node, 1);
    assert_eq!(client.getattr(node).unwrap_err(), Errno::STALE, "not open");
}

fn step() -> impl Strategy<Value = (u32, u64, Vec<u8>, u32)> {
    let opcode = prop_oneof![0_u32..55, any::<u32>()];
    let node = prop_oneof![0_u64..8, any::<u64>()];
    // Mostly small numbers, so that some of them are ids and sizes that mean something.
    let word = prop_oneof![4 => 0_u64..6, 1 => any::<u64>()];
    let names = prop_oneof![
        Just(b"a\0b\0".to_vec()),
        Just(b"b\0a\0".to_vec()),
        Just(b"dir\0sub\0".to_vec()),
        Just(b"..\0/etc/passwd\0".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..600),
    ];
    let body = (proptest::collection::vec(word, 0..12), names).prop_map(|(words, names)| {
        let words = words.iter().flat_map(|word| word.to_le_bytes());
        words.chain(names).collect()
    });
    (opcode, node, body, 0_u32..2048)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_requests_harms_the_server(
        steps in proptest::collection::vec(step(), 1..60),
        read_only: bool,
        cache in 0_usize..3,
    ) {
        let above = tempfile::tempdir().unwrap();
        let root = above.path().join("root");
        fs::create_dir_all(root.join("dir/sub")).unwrap();
        fs::write(root.join("a"), "data").unwrap();
        fs::write(above.path().join("outside"), "untouched").unwrap();
        let cache = [Cache::Never, Cache::Auto, Cache::Always][cache];
        let mut client = Client::silent(Fs::new(0, &spec(&root, read_only, cache)).unwrap());
        client.init(OFFERED);
        for (opcode, node, body, room) in steps {
            let (_, message) = client.message(opcode, node, &body);
            client.driver.add(REQUESTS, &[&message], &[16, room + 1]);
            client.driver.kick(REQUESTS).unwrap();
            while client.driver.pop_used(REQUESTS).is_some() {}
        }
        if read_only {
            prop_assert_eq!(fs::read(root.join("a")).unwrap(), b"data");
        }
        prop_assert_eq!(fs::read(above.path().join("outside")).unwrap(), b"untouched");
        prop_assert_eq!(fs::read_dir(above.path()).unwrap().count(), 2);
        client.init(OFFERED);
        prop_assert!(client.getattr(ROOT).is_ok());
    }

    #[test]
    fn no_bytes_in_a_request_harm_the_server(
        bytes in proptest::collection::vec(any::<u8>(), 40..400),
    ) {
        let mut client = Client::new();
        client.driver.add(REQUESTS, &[&bytes], &[16, 512]);
        client.driver.kick(REQUESTS).unwrap();
        client.driver.pop_used(REQUESTS);
        prop_assert!(client.getattr(ROOT).is_ok());
    }
}

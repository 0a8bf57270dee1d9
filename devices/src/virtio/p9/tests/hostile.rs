//! A driver that breaks the rules: an error for it, nothing for anybody else.

use proptest::prelude::*;
use rustix::io::Errno;

use super::client::{Client, QUEUE, RDONLY, RDWR, ROOT, body_of};
use crate::virtio::p9::protocol::{Body, Reply, kind};

#[test]
fn a_request_without_a_whole_header_stops_the_device() {
    for len in [1, 6] {
        let mut client = Client::new();
        client.driver.add(QUEUE, &[&vec![0; len]], &[64]);
        assert!(client.driver.kick(QUEUE).is_err());
    }
}

#[test]
fn a_request_without_room_for_an_error_stops_the_device() {
    for room in [1, 7, 10] {
        let mut client = Client::new();
        let (_, message) = client.message(kind::CLUNK, &[9, 0, 0, 0]);
        client.driver.add(QUEUE, &[&message], &[room]);
        assert!(client.driver.kick(QUEUE).is_err());
    }
}

#[test]
fn an_answer_that_does_not_fit_is_an_error() {
    let mut client = Client::new();
    let mut args = Reply::default();
    args.u32(ROOT).u64(0x7ff);
    let (tag, message) = client.message(kind::GETATTR, &args.0);
    let answer = client.driver.request(QUEUE, &[&message], &[20]);
    assert_eq!(body_of(tag, kind::GETATTR, &answer), Err(Errno::MSGSIZE));
}

#[test]
fn a_size_that_is_not_the_messages_is_an_error() {
    let mut client = Client::new();
    for size in [0, 6, 4096, u32::MAX] {
        let (tag, mut message) = client.message(kind::CLUNK, &[9, 0, 0, 0]);
        message[..4].copy_from_slice(&size.to_le_bytes());
        let answer = client.driver.request(QUEUE, &[&message], &[64]);
        assert_eq!(body_of(tag, kind::CLUNK, &answer), Err(Errno::INVAL));
    }
    let (tag, message) = client.message(kind::WALK, &vec![0; 20 << 10]);
    let answer = client.driver.request(QUEUE, &[&message], &[64]);
    assert_eq!(body_of(tag, kind::WALK, &answer), Err(Errno::MSGSIZE));
}

#[test]
fn a_new_file_cannot_belong_to_nobody() {
    let mut client = Client::new();
    client.gid = u32::MAX;
    assert_eq!(client.mkdir(ROOT, "dir"), Err(Errno::OVERFLOW));
    assert!(!client.path().join("dir").exists());
}

#[test]
fn an_unknown_request_is_answered_so() {
    let mut client = Client::new();
    for kind in [0, 2, 6, 10, 99, 106, 112, 124, 254] {
        let answer = client.raw(kind, &[0; 64], &[], 64);
        assert_eq!(answer, Err(Errno::OPNOTSUPP), "{kind}");
    }
    // Its answer's type does not exist.
    assert_eq!(client.raw(255, &[], &[], 64), Err(Errno::OPNOTSUPP));
}

#[test]
fn fids_that_are_not_what_is_asked_of_them_are_errors() {
    let mut client = Client::new();
    client.put(ROOT, "file", b"x");
    let file = client.walk(ROOT, &["file"]).unwrap();
    let open = client.open_at(ROOT, &["file"], RDWR).unwrap();
    let dir = client.open_at(ROOT, &[], RDONLY).unwrap();
    assert_eq!(client.read(file, 0, 10), Err(Errno::BADF));
    assert_eq!(client.write(file, 0, b"x"), Err(Errno::BADF));
    assert_eq!(client.read(dir, 0, 10), Err(Errno::ISDIR));
    assert_eq!(client.write(dir, 0, b"x"), Err(Errno::ISDIR));
    assert_eq!(client.open(open, RDONLY), Err(Errno::BADF));
    assert_eq!(client.readdir_at(open, 0, 100), Err(Errno::BADF));
    assert_eq!(client.readdir_at(ROOT, 0, 100), Err(Errno::BADF));
    assert_eq!(client.mkdir(file, "x"), Err(Errno::NOTDIR));
    assert_eq!(client.walk_to(open, open, &["x"]), Err(Errno::BADF));
    assert_eq!(client.walk_to(file, u32::MAX, &[]), Err(Errno::BADF));
    assert_eq!(client.clunk(12345), Err(Errno::BADF));
    assert_eq!(client.open(dir, RDWR), Err(Errno::BADF));
    assert_eq!(client.open(ROOT, RDWR), Err(Errno::ISDIR));
    let read = client.read(open, u64::MAX, 10);
    assert_eq!(read, Err(Errno::INVAL));
}

#[test]
fn a_walk_of_too_many_names_is_refused() {
    let mut client = Client::new();
    let names = ["x"; 17];
    assert_eq!(client.walk_to(ROOT, 5, &names), Err(Errno::INVAL));
    let mut args = Reply::default();
    args.u32(ROOT).u32(5).u16(16);
    assert_eq!(client.ask(kind::WALK, &args), Err(Errno::INVAL));
}

proptest! {
    #[test]
    fn no_message_is_too_strange(
        messages in proptest::collection::vec(
            (any::<u8>(), 0_u32..4, proptest::collection::vec(any::<u8>(), 0..64)),
            1..40,
        ),
    ) {
        let mut client = Client::new();
        client.put(ROOT, "file", b"x");
        let _ = client.walk_to(ROOT, 1, &["file"]);
        let _ = client.walk_to(ROOT, 2, &[]);
        for (kind, fid, rest) in messages {
            let body = [&fid.to_le_bytes()[..], &rest].concat();
            let (_, message) = client.message(kind & 0x7e, &body);
            client.driver.add(QUEUE, &[&message], &[11, 4096]);
            client.driver.kick(QUEUE).unwrap();
            while let Some(used) = client.driver.pop_used(QUEUE) {
                let size = Body(&used.data).u32().unwrap();
                prop_assert_eq!(size as usize, used.data.len());
            }
        }
    }
}

//! VERSION, ATTACH, and a session that outlives its process.

use std::fs;

use rustix::io::Errno;

use super::client::{Client, MSIZE, RDWR, ROOT, spec};
use crate::virtio::device::VirtioDevice;
use crate::virtio::p9::protocol::{Reply, kind};
use crate::virtio::p9::{P9, P9Error};

#[test]
fn nothing_is_served_before_version() {
    let dir = tempfile::tempdir().unwrap();
    let mut client = Client::silent(P9::new(0, &spec(dir.path())).unwrap());
    assert_eq!(client.attach(1).unwrap_err(), Errno::IO);
    let (msize, version) = client.version(MSIZE, "9P2000.u").unwrap();
    assert_eq!((msize, version.as_str()), (MSIZE, "unknown"));
    assert_eq!(client.attach(1).unwrap_err(), Errno::IO);
    assert_eq!(client.version(100, "9P2000.L").unwrap_err(), Errno::MSGSIZE);
    let (msize, version) = client.version(64 << 20, "9P2000.L").unwrap();
    assert_eq!((msize, version.as_str()), (1 << 20, "9P2000.L"));
    client.attach(1).unwrap();
    let mut args = Reply::default();
    args.u32(2).text(b"").text(b"").u32(0);
    assert_eq!(client.ask(kind::AUTH, &args).unwrap_err(), Errno::OPNOTSUPP);
}

#[test]
fn a_new_version_ends_the_session() {
    let mut client = Client::new();
    let fid = client.create(ROOT, "file", RDWR, 0o644).unwrap();
    client.version(MSIZE, "9P2000.L").unwrap();
    assert_eq!(client.getattr(fid).unwrap_err(), Errno::BADF);
    assert_eq!(client.getattr(ROOT).unwrap_err(), Errno::BADF);
    client.attach(ROOT).unwrap();
    client.stat(ROOT, &["file"]).unwrap();
}

#[test]
fn a_message_of_a_mebibyte_carries_all_but_its_header() {
    const MSIZE: u32 = 1 << 20;
    const MOST: usize = MSIZE as usize - 24;
    let mut client = Client::new();
    assert_eq!(client.version(MSIZE, "9P2000.L").unwrap().0, MSIZE);
    client.attach(ROOT).unwrap();
    let data: Vec<u8> = (0..MOST).map(|n| (n / 5) as u8).collect();
    let fid = client.create(ROOT, "file", RDWR, 0o644).unwrap();
    assert_eq!(client.write(fid, 0, &data), Ok(MOST as u32));
    assert_eq!(fs::read(client.path().join("file")).unwrap(), data);
    assert_eq!(client.write(fid, data.len() as u64, b"more"), Ok(4));
    assert_eq!(client.read(fid, 0, 2 * MSIZE).unwrap(), data);
    // One byte more than the session allows is refused, and the session goes on.
    let longer = [&data[..], &[0; 2]].concat();
    assert_eq!(client.write(fid, 0, &longer), Err(Errno::MSGSIZE));
    assert_eq!(client.getattr(fid).unwrap().size, MOST as u64 + 4);
}

#[test]
fn a_flush_of_what_was_answered_or_never_asked_is_answered() {
    let mut client = Client::new();
    client.stat(ROOT, &[]).unwrap();
    for tag in [0_u16, 1, 0x1234, 0xffff] {
        let mut args = Reply::default();
        args.u16(tag);
        client.order(kind::FLUSH, &args).unwrap();
    }
    client.stat(ROOT, &[]).unwrap();
}

#[test]
fn the_tag_is_in_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let device = P9::new(0, &spec(dir.path())).unwrap();
    assert_eq!((device.info().id, device.info().features), (9, 1));
    let mut config = [0xff; 9];
    device.config().read(0, &mut config);
    assert_eq!(&config, b"\x05\0share\0\0");
    let mut spec = spec(dir.path());
    spec.tag.clear();
    assert!(matches!(P9::new(0, &spec), Err(P9Error::Tag { .. })));
}

#[test]
fn a_session_goes_on_in_another_process() {
    let mut client = Client::new();
    client.mkdir(ROOT, "dir").unwrap();
    let dir = client.walk(ROOT, &["dir"]).unwrap();
    let file = client.create(dir, "file", RDWR, 0o644).unwrap();
    client.write(file, 0, b"12345").unwrap();
    client.driver.quiesce();
    let state = client.driver.device.save().unwrap().unwrap();
    let mut device = P9::new(0, &spec(client.path())).unwrap();
    device.restore(state).unwrap();
    client.driver.device = device;
    client.driver.set_up_queues();
    client.driver.activate().unwrap();
    assert_eq!(client.read(file, 0, 100).unwrap(), b"12345");
    client.write(file, 5, b"6").unwrap();
    assert_eq!(client.stat(dir, &["file"]).unwrap().size, 6);
    client.driver.device.forget_descriptors();
    assert_eq!(client.stat(dir, &["file"]).unwrap().size, 6);
    client.driver.device.reset();
    assert_eq!(client.getattr(ROOT).unwrap_err(), Errno::IO);
}

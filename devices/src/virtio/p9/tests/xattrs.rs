//! Extended attributes.

use rustix::io::Errno;

use super::client::{Client, ROOT};
use crate::virtio::p9::protocol::{Body, Reply, kind};

const CREATE: u32 = 1;
const REPLACE: u32 = 2;

/// The attribute `name` of the file `fid`, read whole and in part.
pub(super) fn get(client: &mut Client, fid: u32, name: &str) -> Result<Vec<u8>, Errno> {
    let new = client.fid();
    let mut args = Reply::default();
    args.u32(fid).u32(new).text(name.as_bytes());
    let out = client.ask(kind::XATTRWALK, &args)?;
    let size = Body(&out).u64().unwrap();
    let value = client.read(new, 0, 8000).unwrap();
    assert_eq!(value.len() as u64, size);
    assert_eq!(
        client.read(new, 1, 8000).unwrap(),
        value.get(1..).unwrap_or_default()
    );
    client.clunk(new).unwrap();
    Ok(value)
}

fn set(client: &mut Client, fid: u32, name: &str, value: &[u8], flags: u32) -> Result<(), Errno> {
    let new = client.walk(fid, &[]).unwrap();
    let mut args = Reply::default();
    args.u32(new).text(name.as_bytes());
    args.u64(value.len() as u64).u32(flags);
    client.order(kind::XATTRCREATE, &args)?;
    let (first, rest) = value.split_at(value.len() / 2);
    if !value.is_empty() {
        client.write(new, 0, first).unwrap();
        client.write(new, first.len() as u64, rest).unwrap();
    }
    client.clunk(new)
}

#[test]
fn attributes_are_set_read_listed_and_removed() {
    let mut client = Client::new();
    client.put(ROOT, "file", b"x");
    let file = client.walk(ROOT, &["file"]).unwrap();
    if set(&mut client, file, "user.a", b"value", 0) == Err(Errno::OPNOTSUPP) {
        return;
    }
    assert_eq!(get(&mut client, file, "user.a").unwrap(), b"value");
    assert_eq!(get(&mut client, file, "user.b"), Err(Errno::NODATA));
    let taken = set(&mut client, file, "user.a", b"again", CREATE);
    assert_eq!(taken, Err(Errno::EXIST));
    set(&mut client, file, "user.empty", b"", 0).unwrap();
    assert_eq!(get(&mut client, file, "user.empty").unwrap(), b"");
    let list = get(&mut client, file, "").unwrap();
    let list = String::from_utf8(list).unwrap();
    assert!(list.contains("user.a\0") && list.contains("user.empty\0"));
    // So Linux removes one.
    set(&mut client, file, "user.a", b"", REPLACE).unwrap();
    assert_eq!(get(&mut client, file, "user.a"), Err(Errno::NODATA));
}

#[test]
fn a_value_that_is_not_whole_is_not_set() {
    let mut client = Client::new();
    let fid = client.walk(ROOT, &[]).unwrap();
    let mut args = Reply::default();
    args.u32(fid).text(b"user.a").u64(10).u32(0);
    client.order(kind::XATTRCREATE, &args).unwrap();
    assert_eq!(client.write(fid, 1, b"x"), Err(Errno::INVAL));
    assert_eq!(client.write(fid, 0, &[0; 11]), Err(Errno::INVAL));
    client.write(fid, 0, b"half").unwrap();
    assert_eq!(client.clunk(fid), Err(Errno::INVAL));
    assert_eq!(client.getattr(fid).unwrap_err(), Errno::BADF);
}

#[test]
fn values_under_way_are_bounded() {
    let mut client = Client::new();
    let mut made = Vec::new();
    let refused = loop {
        let fid = client.walk(ROOT, &[]).unwrap();
        let mut args = Reply::default();
        args.u32(fid).text(b"user.a").u64(64 << 10).u32(0);
        match client.order(kind::XATTRCREATE, &args) {
            Ok(()) => made.push(fid),
            Err(errno) => break errno,
        }
        assert!(made.len() < 1000);
    };
    assert_eq!(refused, Errno::NOMEM);
    for fid in made {
        assert_eq!(client.clunk(fid), Err(Errno::INVAL));
    }
    let fid = client.walk(ROOT, &[]).unwrap();
    let mut args = Reply::default();
    args.u32(fid).text(b"user.a").u64(65 << 10).u32(0);
    assert_eq!(client.order(kind::XATTRCREATE, &args), Err(Errno::TOOBIG));
}

//! Changing a share: what the guest does is what the host sees.

use std::fs;

use super::client::{Client, ROOT};

#[test]
fn a_file_is_made_written_and_read_back() {
    let mut client = Client::new();
    let dir = client.mkdir(ROOT, "dir").unwrap().nodeid;
    let node = client.put(dir, "file", b"hello");
    assert_eq!(client.content(node).unwrap(), b"hello");
    assert_eq!(fs::read(client.path().join("dir/file")).unwrap(), b"hello");
}

//! A share served by virtiofsd, behind the device with a mock driver.
//!
//! Needs virtiofsd (of QEMU or the newer one) at the path in `VIRTIOFSD`:
//! `VIRTIOFSD=/usr/lib/qemu/virtiofsd cargo test -p devices fs::tests::external -- --ignored`.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::backend::vhost_user::VhostUserError;
use crate::virtio::core::F_RING_EVENT_IDX;
use crate::virtio::device::VirtioDevice;
use crate::virtio::fs::ExternalFs;
use crate::virtio::testing::Driver;

/// The queue of ordinary requests.
const REQUESTS: u16 = 1;
const LOOKUP: u32 = 1;
const INIT: u32 = 26;
/// `struct fuse_out_header`.
const OUT_HEADER: usize = 16;

struct Server(Child);

impl Server {
    fn start(share: &Path, socket: &Path) -> Self {
        let program = std::env::var("VIRTIOFSD").expect("VIRTIOFSD is not set");
        let child = Command::new(program)
            .arg(format!("--socket-path={}", socket.display()))
            .args(["-o", &format!("source={}", share.display())])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while !socket.exists() {
            assert!(Instant::now() < end, "virtiofsd does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Sends one FUSE request and waits for its answer's error and data.
fn ask(driver: &mut Driver<ExternalFs>, opcode: u32, node: u64, data: &[u8]) -> (i32, Vec<u8>) {
    let mut header = Vec::new();
    header.extend((40 + data.len() as u32).to_le_bytes());
    header.extend(opcode.to_le_bytes());
    header.extend(1_u64.to_le_bytes());
    header.extend(node.to_le_bytes());
    header.extend([0; 16]);
    driver.add(REQUESTS, &[&header, data], &[OUT_HEADER as u32, 256]);
    driver.doorbells[usize::from(REQUESTS)].write(1).unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(used) = driver.pop_used(REQUESTS) {
            let error = i32::from_le_bytes(used.data[4..8].try_into().unwrap());
            return (error, used.data[OUT_HEADER..].to_vec());
        }
        assert!(Instant::now() < end, "no answer");
        driver.poll(Duration::from_millis(100)).unwrap();
    }
}

fn init(driver: &mut Driver<ExternalFs>) {
    // struct fuse_init_in: version 7.31, readahead, flags.
    let data = [7_u32, 31, 65536, 0].map(u32::to_le_bytes).concat();
    let (error, answer) = ask(driver, INIT, 0, &data);
    assert_eq!((error, answer[..4].to_vec()), (0, vec![7, 0, 0, 0]));
}

#[test]
#[ignore = "needs root and virtiofsd"]
fn requests_are_answered_by_the_server_over_a_stop_and_a_start() {
    let temp = tempfile::tempdir().unwrap();
    let (share, socket) = (temp.path().join("share"), temp.path().join("socket"));
    fs::create_dir(&share).unwrap();
    fs::write(share.join("file"), "12345").unwrap();
    let _server = Server::start(&share, &socket);
    let device = ExternalFs::connect("tag", &socket).unwrap();
    let mut driver = Driver::with_features(device, !F_RING_EVENT_IDX);
    init(&mut driver);
    let (error, entry) = ask(&mut driver, LOOKUP, 1, b"file\0");
    // struct fuse_entry_out: the size lies in the attributes.
    assert_eq!((error, &entry[48..56]), (0, &5_u64.to_le_bytes()[..]));
    assert_eq!(ask(&mut driver, LOOKUP, 1, b"none\0").0, -libc::ENOENT);
    assert!(driver.interrupts(REQUESTS) > 0);

    driver.quiesce();
    assert!(driver.events.watched().keys().all(|&fd| {
        driver
            .doorbells
            .iter()
            .any(|bell| std::os::fd::AsRawFd::as_raw_fd(bell) == fd)
    }));
    driver.activate().unwrap();
    assert_eq!(ask(&mut driver, LOOKUP, 1, b"file\0").0, 0);
}

#[test]
#[ignore = "needs root and virtiofsd"]
fn a_server_that_dies_is_the_devices_failure_and_not_a_hang() {
    let temp = tempfile::tempdir().unwrap();
    let (share, socket) = (temp.path().join("share"), temp.path().join("socket"));
    fs::create_dir(&share).unwrap();
    let server = Server::start(&share, &socket);
    let device = ExternalFs::connect("tag", &socket).unwrap();
    let mut driver = Driver::with_features(device, u64::MAX);
    init(&mut driver);
    drop(server);
    let end = Instant::now() + Duration::from_secs(10);
    while driver.poll(Duration::from_millis(100)).is_ok() {
        assert!(Instant::now() < end, "the device does not notice");
    }
    driver.quiesce();
    driver.device.reset();
    driver.set_up_queues();
    assert!(driver.activate().is_err());
}

#[test]
fn nobody_at_the_socket_and_somebody_silent_are_told() {
    let temp = tempfile::tempdir().unwrap();
    let socket = temp.path().join("socket");
    let error = ExternalFs::connect("tag", &socket).unwrap_err();
    assert!(matches!(error, VhostUserError::Connect { .. }), "{error}");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let closing = std::thread::spawn(move || drop(listener.accept().unwrap()));
    let error = ExternalFs::connect("tag", &socket).unwrap_err();
    assert!(matches!(error, VhostUserError::Protocol { .. }), "{error}");
    assert!(error.hint().contains("back end"));
    closing.join().unwrap();
}

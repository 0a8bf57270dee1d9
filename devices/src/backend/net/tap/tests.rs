//! TAPs of this kernel, behind the card with a mock driver.
//!
//! Needs root, `/dev/net/tun`, `ip` and a network of its own:
//! `unshare -n cargo test -p devices tap::tests -- --ignored`.

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::{Duration, Instant};

use super::*;
use crate::backend::net::{
    F_CSUM, F_GUEST_TSO4, F_HOST_TSO4, HDR_F_NEEDS_CSUM, HDR_GSO_TCPV4, NetBackendSpec, NetSpec,
};
use crate::virtio::device::VirtioDevice;
use crate::virtio::net::Net;
use crate::virtio::testing::Driver;

const MAC: [u8; 6] = [2, 0, 0, 10, 0xcb, 1];
const RX: u16 = 0;
const TX: u16 = 1;

fn ip(arguments: &str) {
    let arguments: Vec<_> = arguments.split(' ').collect();
    let done = Command::new("ip").args(&arguments).status().unwrap();
    assert!(done.success(), "ip {arguments:?}");
}

fn exists(name: &str) -> bool {
    std::fs::read_to_string("/proc/net/dev")
        .unwrap()
        .contains(&format!("{name}:"))
}

fn spec(name: &str) -> TapSpec {
    TapSpec {
        source: TapSource::Name(name.to_owned()),
        queues: None,
        most_queues: 2,
        bridge: None,
        vhost: VhostChoice::Off,
    }
}

fn card(tap: TapSpec) -> Driver<Net> {
    let spec = NetSpec {
        mac: MAC,
        mtu: None,
        backend: NetBackendSpec::Tap(tap),
    };
    Driver::new(Net::new(&spec).unwrap())
}

/// Frames of `ethertype` that arrive, as long as none has `enough`; their headers are before them.
fn arriving(driver: &mut Driver<Net>, mut enough: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        while let Some(used) = driver.pop_used(RX) {
            if enough(&used.data[HEADER_LEN..]) {
                return used.data;
            }
            driver.add(RX, &[], &[65562]);
        }
        assert!(Instant::now() < end, "nothing arrived");
        driver.poll(Duration::from_millis(100)).unwrap();
    }
}

fn listen(driver: &mut Driver<Net>) {
    for _ in 0..16 {
        driver.add(RX, &[], &[65562]);
    }
    driver.kick(RX).unwrap();
}

fn arp_request(own: [u8; 4], wanted: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![0; HEADER_LEN];
    frame.extend([0xff; 6]);
    frame.extend(MAC);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(MAC);
    frame.extend(own);
    frame.extend([0; 6]);
    frame.extend(wanted);
    frame
}

fn is_arp(frame: &[u8], operation: u8) -> bool {
    frame[12..14] == [8, 6] && frame[21] == operation
}

#[test]
#[ignore = "needs root and a network of its own"]
fn a_tap_that_we_make_is_up_and_carries_frames_both_ways_and_goes_with_us() {
    ip("link add pcpt-br0 type bridge");
    let mut spec = spec("pcpt0");
    spec.bridge = Some("pcpt-br0".into());
    let mut driver = card(spec);
    assert!(exists("pcpt0"));
    ip("link set pcpt-br0 up");
    ip("addr add 10.99.0.1/24 dev pcpt-br0");
    listen(&mut driver);
    driver.add(TX, &[&arp_request([10, 99, 0, 2], [10, 99, 0, 1])], &[]);
    driver.kick(TX).unwrap();
    let reply = arriving(&mut driver, |frame| is_arp(frame, 2));
    assert_eq!(reply[HEADER_LEN + 28..HEADER_LEN + 32], [10, 99, 0, 1]);

    let socket = UdpSocket::bind("10.99.0.1:0").unwrap();
    socket.send_to(b"hello", "10.99.0.2:9").unwrap();
    let datagram = arriving(&mut driver, |frame| frame.ends_with(b"hello"));
    // The sum is left to the driver, who negotiated that.
    assert_eq!(datagram[0], HDR_F_NEEDS_CSUM);
    assert_eq!(driver.pop_used(TX).unwrap().len, 0);
    drop(driver);
    assert!(!exists("pcpt0"));
    ip("link del pcpt-br0");
}

#[test]
#[ignore = "needs root and a network of its own"]
fn a_tap_that_exists_is_used_with_the_queues_it_has_and_stays() {
    ip("tuntap add pcpt1 mode tap multi_queue");
    ip("tuntap add pcpt2 mode tap");
    let several = Tap::open(&spec("pcpt1"), None).unwrap();
    assert_eq!(several.len(), 2);
    // Another may have further queues of it.
    Tap::open(&spec("pcpt1"), None).unwrap();
    let one = Tap::open(&spec("pcpt2"), None).unwrap();
    assert_eq!(one.len(), 1);
    assert!(matches!(
        Tap::open(&spec("pcpt2"), None),
        Err(TapError::Attach { source, .. }) if source.raw_os_error() == Some(libc::EBUSY)
    ));
    drop((several, one));
    let mut two = spec("pcpt2");
    two.queues = Some(2);
    assert!(matches!(
        Tap::open(&two, None),
        Err(TapError::SingleQueue { queues: 2, .. })
    ));
    assert!(exists("pcpt1") && exists("pcpt2"));
    ip("tuntap del pcpt1 mode tap multi_queue");
    ip("tuntap del pcpt2 mode tap");
}

#[test]
#[ignore = "needs root and a network of its own"]
fn what_is_no_tap_is_refused_by_its_name() {
    ip("link add pcpt-br3 type bridge");
    for (name, message) in [
        ("pcpt-br3", "network interface `pcpt-br3` is no TAP"),
        ("a/b", "`a/b` is no name of a network interface"),
        (
            "sixteen-bytes-xx",
            "`sixteen-bytes-xx` is no name of a network interface",
        ),
    ] {
        let error = Tap::open(&spec(name), None).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert!(!error.hint().is_empty());
    }
    let mut unbridged = spec("pcpt3");
    unbridged.bridge = Some("pcpt-none".into());
    assert!(matches!(
        Tap::open(&unbridged, None),
        Err(TapError::Bridge { .. })
    ));
    assert!(!exists("pcpt3"));
    let file = File::open("/dev/null").unwrap();
    let mut other = spec("");
    other.source = TapSource::Fds(vec![file.as_raw_fd()]);
    assert!(matches!(
        Tap::open(&other, None),
        Err(TapError::Descriptor { .. })
    ));
    ip("link del pcpt-br3");
}

#[test]
#[ignore = "needs root and a network of its own"]
fn an_inherited_descriptor_works_as_a_name_does() {
    let mut made = Tap::open(&spec("pcpt4"), None).unwrap();
    let fds = made.iter().map(|tap| tap.file.as_raw_fd()).collect();
    let inherited = TapSpec {
        source: TapSource::Fds(fds),
        ..spec("")
    };
    let mut driver = card(inherited);
    made.clear();
    assert!(exists("pcpt4"));
    ip("addr add 10.99.4.1/24 dev pcpt4");
    listen(&mut driver);
    driver.add(TX, &[&arp_request([10, 99, 4, 2], [10, 99, 4, 1])], &[]);
    driver.kick(TX).unwrap();
    arriving(&mut driver, |frame| is_arp(frame, 2));
}

#[test]
#[ignore = "needs root and a network of its own"]
fn the_driver_sees_the_interface_go_down_and_up_and_away() {
    ip("tuntap add pcpt5 mode tap");
    let mut driver = card(spec("pcpt5"));
    let link = |driver: &Driver<Net>| {
        let mut status = [0];
        driver.device.config().read(6, &mut status);
        status[0]
    };
    let wait = |driver: &mut Driver<Net>, wanted: u8| {
        let end = Instant::now() + Duration::from_secs(10);
        while link(driver) != wanted {
            assert!(Instant::now() < end, "the link is {}", link(driver));
            driver.poll(Duration::from_millis(100)).unwrap();
        }
    };
    assert_eq!(link(&driver), 0);
    ip("link set pcpt5 up");
    wait(&mut driver, 1);
    ip("link set pcpt5 down");
    wait(&mut driver, 0);
    ip("link set pcpt5 up");
    wait(&mut driver, 1);
    assert!(driver.interrupt.config_count() >= 3);
    ip("link del pcpt5");
    wait(&mut driver, 0);
    let end = Instant::now() + Duration::from_secs(10);
    while driver.events.watched().len() > 1 {
        assert!(Instant::now() < end, "{:?}", driver.events);
        driver.poll(Duration::from_millis(100)).unwrap();
    }
}

#[test]
#[ignore = "needs root and a network of its own"]
fn a_large_segment_passes_whole_from_the_driver_to_a_host_socket() {
    let mut driver = card(spec("pcpt6"));
    assert_eq!(
        driver.features & (F_CSUM | F_HOST_TSO4 | F_GUEST_TSO4),
        F_CSUM | F_HOST_TSO4 | F_GUEST_TSO4
    );
    ip("addr add 10.99.6.1/24 dev pcpt6");
    // What the kernel takes for a packet socket is what came in: one packet of 40 KB.
    let before = received("pcpt6");
    let payload = 40_000_u16;
    let mut packet = vec![
        HDR_F_NEEDS_CSUM,
        HDR_GSO_TCPV4,
        54,
        0,
        0xb4,
        5,
        34,
        0,
        16,
        0,
        0,
        0,
    ];
    packet.extend([0xff; 6]);
    packet.extend(MAC);
    packet.extend([8, 0, 0x45, 0]);
    packet.extend((40 + payload).to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 6, 0, 0, 10, 99, 6, 2, 10, 99, 6, 1]);
    packet.extend([
        0, 9, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0,
    ]);
    packet.extend(vec![7; payload.into()]);
    driver.add(TX, &[&packet], &[]);
    driver.kick(TX).unwrap();
    let (bytes, packets) = received("pcpt6");
    assert_eq!((bytes - before.0, packets - before.1), (54 + 40_000, 1));
}

/// Bytes and packets that an interface received.
fn received(name: &str) -> (u64, u64) {
    let all = std::fs::read_to_string("/proc/net/dev").unwrap();
    let line = all
        .lines()
        .find_map(|line| line.trim().strip_prefix(&format!("{name}:")));
    let mut fields = line.unwrap().split_whitespace().map(|f| f.parse().unwrap());
    (fields.next().unwrap(), fields.next().unwrap())
}

#[test]
#[ignore = "needs root and a network of its own"]
fn a_card_that_takes_nothing_is_not_woken_and_gets_what_waited() {
    let mut driver = card(spec("pcpt7"));
    ip("addr add 10.99.7.1/24 dev pcpt7");
    let socket = UdpSocket::bind("10.99.7.1:0").unwrap();
    ip("neigh add 10.99.7.2 lladdr 02:00:00:0a:cb:01 dev pcpt7");
    socket.send_to(b"early", "10.99.7.2:9").unwrap();
    // The frame, and news of the interface; then nothing, though the frame still waits.
    let mut turns = 0;
    while driver.poll(Duration::from_millis(200)).unwrap() > 0 {
        turns += 1;
        assert!(turns < 10, "woken in vain");
    }
    listen(&mut driver);
    arriving(&mut driver, |frame| frame.ends_with(b"early"));
}

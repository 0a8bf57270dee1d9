//! The device as its driver sees it.

mod control;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};

use super::pair::TX_BURST;
use super::*;
use crate::backend::net::{
    F_CSUM, F_CTRL_GUEST_OFFLOADS, F_GUEST_CSUM, F_GUEST_TSO4, F_GUEST_TSO6, HDR_F_NEEDS_CSUM,
    HEADER_LEN, Packet, PacketHeader, UserSpec,
};
use crate::lock;
use crate::virtio::device::Registry;
use crate::virtio::queue::Reader;
use crate::virtio::testing::Driver;

const RX: u16 = 0;
const TX: u16 = 1;

const MAC: [u8; 6] = [2, 0, 0, 10, 0xcb, 1];

#[derive(Debug, Default)]
struct Shared {
    sent: Vec<(PacketHeader, Vec<u8>)>,
    waiting: VecDeque<Vec<u8>>,
    fetched: usize,
    flushes: usize,
    started: Option<u64>,
    offloads: Option<u64>,
    down: bool,
    held: usize,
}

/// A back end that keeps what it gets and gives what it is told to.
#[derive(Debug, Clone, Default)]
struct Fake(Arc<Mutex<Shared>>, Vec<u8>);

impl NetBackend for Fake {
    fn features(&self) -> u64 {
        F_CSUM | F_GUEST_CSUM | F_GUEST_TSO4 | F_GUEST_TSO6 | F_CTRL_GUEST_OFFLOADS
    }

    fn mtu(&self) -> u16 {
        9000
    }

    fn start(&mut self, features: u64, _: &mut dyn Registry) -> io::Result<()> {
        lock(&self.0).started = Some(features);
        Ok(())
    }

    fn stop(&mut self, _: &mut dyn Registry) {
        lock(&self.0).started = None;
    }

    fn reset(&mut self) {}

    fn send(&mut self, header: PacketHeader, frame: &mut Reader<'_>, _: &mut dyn Registry) {
        let mut data = vec![0; frame.available()];
        assert!(frame.read_exact(&mut data));
        lock(&self.0).sent.push((header, data));
    }

    fn flush(&mut self, _: &mut dyn Registry) {
        lock(&self.0).flushes += 1;
    }

    fn event(&mut self, _: Token, _: &mut dyn Registry) {}

    fn receive(&mut self, _: &mut dyn Registry) -> Option<Packet<'_>> {
        let mut shared = lock(&self.0);
        shared.fetched += 1;
        self.1 = shared.waiting.front()?.clone();
        Some(Packet {
            header: PacketHeader {
                flags: HDR_F_NEEDS_CSUM,
                csum_start: 34,
                csum_offset: 16,
                ..PacketHeader::default()
            },
            frame: &self.1,
            body: [&[], &[]],
        })
    }

    fn received(&mut self) {
        lock(&self.0).waiting.pop_front();
    }

    fn hold(&mut self, _: &mut dyn Registry) {
        lock(&self.0).held += 1;
    }

    fn set_offloads(&mut self, offloads: u64) -> io::Result<()> {
        lock(&self.0).offloads = Some(offloads);
        Ok(())
    }

    fn link_is_up(&self) -> bool {
        !lock(&self.0).down
    }
}

fn driver(wanted: u64) -> (Driver<Net>, Fake) {
    let fake = Fake::default();
    let net = Net::with_backend(MAC, Box::new(fake.clone()));
    (Driver::with_features(net, wanted), fake)
}

#[test]
fn the_configuration_tells_the_address_the_link_and_the_mtu() {
    let (driver, _) = driver(u64::MAX);
    let mut config = [0; 12];
    driver.device.config().read(0, &mut config);
    assert_eq!(config[..6], MAC);
    assert_eq!(config[6..], [1, 0, 1, 0, 0x28, 0x23]);
}

#[test]
fn packets_from_the_driver_reach_the_back_end_without_their_header() {
    let (mut driver, fake) = driver(u64::MAX);
    let header = [1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0];
    driver.add(TX, &[&header, b"one ", b"frame"], &[]);
    driver.add(TX, &[&[header.as_slice(), b"another"].concat()], &[]);
    driver.kick(TX).unwrap();
    let shared = lock(&fake.0);
    let [(first, one), (_, two)] = shared.sent.as_slice() else {
        panic!("{:?}", shared.sent);
    };
    assert_eq!(
        (one.as_slice(), two.as_slice()),
        (&b"one frame"[..], &b"another"[..])
    );
    assert_eq!(
        (first.flags, first.csum_start, first.csum_offset),
        (1, 34, 16)
    );
    assert_eq!(shared.flushes, 1);
    assert_eq!(driver.interrupts(TX), 1);
}

#[test]
fn a_packet_without_a_whole_header_needs_a_reset() {
    let (mut driver, _) = driver(u64::MAX);
    driver.add(TX, &[&[0; 11]], &[]);
    assert!(matches!(driver.kick(TX), Err(DeviceError::Request(_))));
}

#[test]
fn a_burst_leaves_room_for_others_and_goes_on_later() {
    let (mut driver, fake) = driver(u64::MAX);
    for _ in 0..TX_BURST + 10 {
        driver.add(TX, &[&[0; 30]], &[]);
    }
    driver.kick(TX).unwrap();
    let shared = lock(&fake.0);
    assert_eq!((shared.sent.len(), shared.flushes), (TX_BURST + 10, 2));
}

#[test]
fn a_long_packet_lies_in_several_buffers_and_appears_at_once() {
    let (mut driver, fake) = driver(u64::MAX);
    let frame: Vec<u8> = (0..4000_u32).map(|i| i as u8).collect();
    lock(&fake.0).waiting.push_back(frame.clone());
    for _ in 0..4 {
        driver.add(RX, &[], &[1500]);
    }
    driver.kick(RX).unwrap();
    let used: Vec<_> = std::iter::from_fn(|| driver.pop_used(RX)).collect();
    let lengths: Vec<u32> = used.iter().map(|used| used.len).collect();
    assert_eq!(lengths, [1500, 1500, 1012]);
    let data: Vec<u8> = used.into_iter().flat_map(|used| used.data).collect();
    assert_eq!(data[..HEADER_LEN], [1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 3, 0]);
    assert_eq!(data[HEADER_LEN..], frame);
    assert_eq!(driver.interrupts(RX), 1);
}

#[test]
fn a_packet_waits_until_the_driver_has_enough_buffers() {
    let (mut driver, fake) = driver(u64::MAX);
    lock(&fake.0).waiting.push_back(vec![7; 4000]);
    driver.add(RX, &[], &[1500]);
    driver.add(RX, &[], &[1500]);
    driver.kick(RX).unwrap();
    assert_eq!(driver.pop_used(RX), None);
    assert_eq!(driver.interrupts(RX), 0);
    // The driver must be asked to tell of the next buffer, the third.
    let ring = &driver.rings[usize::from(RX)];
    let avail_event = ring.read(ring.used + 4 + 8 * u64::from(ring.size), 2);
    assert_eq!(avail_event, [2, 0]);

    driver.add(RX, &[], &[1500]);
    driver.kick(RX).unwrap();
    let lengths: Vec<u32> = std::iter::from_fn(|| driver.pop_used(RX))
        .map(|used| used.len)
        .collect();
    assert_eq!(lengths, [1500, 1500, 1012]);
    assert!(lock(&fake.0).waiting.is_empty());
}

#[test]
fn without_buffers_nothing_is_fetched_from_the_back_end() {
    let (mut driver, fake) = driver(u64::MAX);
    lock(&fake.0).waiting.push_back(vec![7; 60]);
    driver.kick(RX).unwrap();
    driver.event(Token(1)).unwrap();
    assert_eq!(lock(&fake.0).fetched, 0);
}

#[test]
fn without_merging_a_packet_takes_one_buffer_and_a_longer_one_is_dropped() {
    let (mut driver, fake) = driver(!F_MRG_RXBUF);
    lock(&fake.0).waiting.extend([vec![7; 2000], vec![8; 1000]]);
    driver.add(RX, &[], &[12, 1514]);
    driver.kick(RX).unwrap();
    let used = driver.pop_used(RX).unwrap();
    assert_eq!(used.data[10..HEADER_LEN], [1, 0]);
    assert_eq!(used.data[HEADER_LEN..], [8; 1000]);
    assert!(lock(&fake.0).waiting.is_empty());
}

#[test]
fn a_receive_buffer_without_room_for_the_header_needs_a_reset() {
    let (mut driver, fake) = driver(u64::MAX);
    lock(&fake.0).waiting.push_back(vec![7; 60]);
    driver.add(RX, &[], &[11]);
    assert!(matches!(driver.kick(RX), Err(DeviceError::Request(_))));
}

#[test]
fn a_stopped_card_watches_nothing_and_its_state_goes_to_one_like_it_only() {
    let (mut driver, fake) = driver(u64::MAX);
    assert!(lock(&fake.0).started.is_some());
    driver.quiesce();
    assert_eq!(lock(&fake.0).started, None);

    let state = driver.device.save().unwrap().unwrap();
    let mut twin = Net::with_backend(MAC, Box::new(Fake::default()));
    twin.restore(state.clone()).unwrap();
    let mut other = Net::with_backend([2, 0, 0, 0, 0, 9], Box::new(Fake::default()));
    assert!(matches!(
        other.restore(state),
        Err(PersistError::Invalid(_))
    ));
}

/// What the driver reads of the link (VIRTIO 1.3 §5.1.4).
fn link_status(driver: &Driver<Net>) -> u8 {
    let mut status = [0];
    driver.device.config().read(6, &mut status);
    status[0]
}

#[test]
fn a_link_that_is_taken_down_from_outside_is_down_whatever_the_back_end_says() {
    let fake = Fake::default();
    let mut driver = Driver::new(Net::with_backend(MAC, Box::new(fake.clone())));
    let link = driver.device.link();
    assert_eq!((link_status(&driver), link.is_up()), (1, true));
    let before = driver.interrupt.config_count();
    link.set(false);
    link.set(false);
    assert_eq!((link_status(&driver), link.is_up()), (0, false));
    assert_eq!(driver.interrupt.config_count(), before + 1);
    // The back end's link goes and comes: it stays down.
    for down in [true, false] {
        lock(&fake.0).down = down;
        driver.event(Token(0)).unwrap();
        assert_eq!(link_status(&driver), 0);
    }
    assert_eq!(driver.interrupt.config_count(), before + 1);
    lock(&fake.0).down = true;
    driver.event(Token(0)).unwrap();
    link.set(true);
    assert_eq!((link_status(&driver), link.is_up()), (0, false));
    lock(&fake.0).down = false;
    driver.event(Token(0)).unwrap();
    assert_eq!((link_status(&driver), link.is_up()), (1, true));
    assert_eq!(driver.interrupt.config_count(), before + 2);
    // A driver that is gone hears nothing.
    driver.quiesce();
    link.set(false);
    assert_eq!(link_status(&driver), 0);
    assert_eq!(driver.interrupt.config_count(), before + 2);
}

/// A user-mode network without forwards, behind the card.
fn user_net() -> Driver<Net> {
    let spec = NetSpec {
        mac: MAC,
        mtu: None,
        backend: NetBackendSpec::User(UserSpec::default()),
    };
    Driver::new(Net::new(&spec).unwrap())
}

/// An ARP request of the guest's for the gateway, behind a packet header.
fn arp_request() -> Vec<u8> {
    let mut packet = vec![0; HEADER_LEN];
    packet.extend([0xff; 6]);
    packet.extend(MAC);
    packet.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    packet.extend(MAC);
    packet.extend([10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2]);
    packet
}

#[test]
fn the_user_mode_network_answers_through_the_queues() {
    let mut driver = user_net();
    for _ in 0..4 {
        driver.add(RX, &[], &[1526]);
    }
    driver.add(TX, &[&arp_request()], &[]);
    driver.kick(TX).unwrap();
    assert_eq!(driver.pop_used(TX).unwrap().len, 0);
    let announcement = driver.pop_used(RX).unwrap().data;
    assert_eq!(announcement[HEADER_LEN..HEADER_LEN + 6], [0xff; 6]);
    let reply = driver.pop_used(RX).unwrap().data;
    assert_eq!(reply[HEADER_LEN..HEADER_LEN + 6], MAC);
    assert_eq!(reply[HEADER_LEN + 28..HEADER_LEN + 32], [10, 0, 2, 2]);
    assert_eq!(driver.pop_used(RX), None);
}

#[test]
fn a_stopped_and_reset_card_starts_again() {
    let mut driver = user_net();
    assert!(!driver.events.watched().is_empty());
    driver.quiesce();
    assert!(driver.events.watched().is_empty());
    driver.device.reset();
    driver.set_up_queues();
    driver.activate().unwrap();
    for _ in 0..4 {
        driver.add(RX, &[], &[1526]);
    }
    driver.add(TX, &[&arp_request()], &[]);
    driver.kick(TX).unwrap();
    let frames = std::iter::from_fn(|| driver.pop_used(RX)).count();
    assert_eq!(frames, 2);
}

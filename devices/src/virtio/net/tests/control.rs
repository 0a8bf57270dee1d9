//! The control queue and several pairs of queues.

use super::super::control::{ERR, OK};
use super::*;
use crate::virtio::core::TRANSPORT_FEATURES;

/// The control queue of a card with three pairs.
const CONTROL: u16 = 6;

fn several(wanted: u64) -> (Driver<Net>, Vec<Fake>) {
    let fakes: Vec<Fake> = (0..3).map(|_| Fake::default()).collect();
    let backends = fakes
        .iter()
        .map(|fake| Box::new(fake.clone()) as Box<dyn NetBackend>)
        .collect();
    let net = Net::with_backends(MAC, backends, EventLoop::Shared);
    (Driver::with_features(net, wanted), fakes)
}

fn ask(driver: &mut Driver<Net>, class: u8, command: u8, data: &[u8]) -> u8 {
    let queue = driver.device.control_index().unwrap();
    let answer = driver.request(queue, &[&[class, command], data], &[1]);
    answer[0]
}

fn running(fakes: &[Fake]) -> Vec<bool> {
    let runs = |fake: &Fake| lock(&fake.0).started.is_some();
    fakes.iter().map(runs).collect()
}

#[test]
fn the_driver_turns_pairs_on_and_off() {
    let (mut driver, fakes) = several(u64::MAX);
    let mut pairs = [0; 2];
    driver.device.config().read(8, &mut pairs);
    assert_eq!(pairs, [3, 0]);
    assert_eq!(running(&fakes), [true, false, false]);
    assert_eq!(ask(&mut driver, 4, 0, &[3, 0]), OK);
    assert_eq!(running(&fakes), [true; 3]);
    for wrong in [[0, 0], [4, 0], [0, 0x80]] {
        assert_eq!(ask(&mut driver, 4, 0, &wrong), ERR);
    }
    assert_eq!(running(&fakes), [true; 3]);
    assert_eq!(ask(&mut driver, 4, 0, &[2, 0]), OK);
    assert_eq!(running(&fakes), [true, true, false]);
    driver.quiesce();
    assert_eq!(running(&fakes), [false; 3]);
    driver.activate().unwrap();
    assert_eq!(running(&fakes), [true, true, false]);
    driver.quiesce();
    driver.device.reset();
    driver.activate().unwrap();
    assert_eq!(running(&fakes), [true, false, false]);
}

#[test]
fn each_pair_has_its_own_packets_and_one_that_is_off_has_none() {
    let (mut driver, fakes) = several(u64::MAX);
    driver.add(5, &[&[0; 30]], &[]);
    driver.kick(5).unwrap();
    assert!(lock(&fakes[2].0).sent.is_empty());
    assert_eq!(ask(&mut driver, 4, 0, &[3, 0]), OK);
    // What was waiting there is looked at without another kick.
    assert!(driver.again.contains(5));
    driver.kick(5).unwrap();
    assert_eq!(lock(&fakes[2].0).sent.len(), 1);
    assert!(lock(&fakes[0].0).sent.is_empty());

    lock(&fakes[1].0).waiting.push_back(vec![7; 60]);
    driver.add(2, &[], &[1526]);
    driver.event(Token(1 << 24)).unwrap();
    assert_eq!(driver.pop_used(2).unwrap().len, 72);
    driver.event(Token(9 << 24)).unwrap();
}

#[test]
fn without_several_pairs_the_control_queue_is_the_third() {
    let (mut driver, _) = several(!F_MQ);
    assert_eq!(driver.device.control_index(), Some(2));
    assert_eq!(ask(&mut driver, 0, 0, &[1]), OK);
    assert_eq!(ask(&mut driver, 4, 0, &[2, 0]), ERR);
    let (driver, _) = several(!F_CTRL_VQ);
    assert_eq!(driver.device.control_index(), None);
}

#[test]
fn the_driver_chooses_what_it_receives() {
    let (mut driver, fake) = driver(u64::MAX);
    let other = [2, 0, 0, 0, 0, 9];
    let arrive = |driver: &mut Driver<Net>, to: [u8; 6]| {
        let mut frame = vec![0; 60];
        frame[..6].copy_from_slice(&to);
        lock(&fake.0).waiting.push_back(frame);
        driver.add(RX, &[], &[1526]);
        driver.kick(RX).unwrap();
        assert!(lock(&fake.0).waiting.is_empty());
        driver.pop_used(RX).is_some()
    };
    assert!(arrive(&mut driver, other));
    assert_eq!(ask(&mut driver, 0, 0, &[0]), OK);
    assert!(!arrive(&mut driver, other));
    assert!(arrive(&mut driver, MAC));
    let table = [&[1, 0, 0, 0], &other[..], &[0; 4]].concat();
    assert_eq!(ask(&mut driver, 1, 0, &table), OK);
    assert!(arrive(&mut driver, other));
    assert_eq!(ask(&mut driver, 1, 1, &[2, 0, 0, 0, 0, 5]), OK);
    assert!(arrive(&mut driver, [2, 0, 0, 0, 0, 5]));
    assert!(!arrive(&mut driver, MAC));
    let mut mac = [0; 6];
    driver.device.config().read(0, &mut mac);
    assert_eq!(mac, [2, 0, 0, 0, 0, 5]);
    driver.device.reset();
    driver.device.config().read(0, &mut mac);
    assert_eq!(mac, MAC);
}

#[test]
fn the_driver_changes_the_offloads_that_it_negotiated() {
    let (mut driver, fake) = driver(!F_GUEST_TSO6);
    let set = |driver: &mut Driver<Net>, bits: u64| ask(driver, 5, 0, &bits.to_le_bytes());
    assert_eq!(set(&mut driver, F_GUEST_CSUM), OK);
    assert_eq!(lock(&fake.0).offloads, Some(F_GUEST_CSUM));
    for wrong in [F_GUEST_TSO4, F_GUEST_CSUM | F_GUEST_TSO6, F_CSUM, u64::MAX] {
        assert_eq!(set(&mut driver, wrong), ERR, "{wrong:#x}");
    }
    lock(&fake.0).offloads = None;
    driver.quiesce();
    driver.activate().unwrap();
    assert_eq!(lock(&fake.0).offloads, Some(F_GUEST_CSUM));
}

#[test]
fn a_change_of_the_link_reaches_the_driver_once() {
    let (mut driver, fake) = driver(u64::MAX);
    let status = |driver: &Driver<Net>| {
        let mut status = [0];
        driver.device.config().read(6, &mut status);
        status[0]
    };
    assert_eq!(status(&driver), 1);
    lock(&fake.0).down = true;
    driver.event(Token(1)).unwrap();
    driver.event(Token(1)).unwrap();
    assert_eq!((status(&driver), driver.interrupt.config_count()), (0, 1));
    lock(&fake.0).down = false;
    driver.event(Token(1)).unwrap();
    assert_eq!((status(&driver), driver.interrupt.config_count()), (1, 2));
}

#[test]
fn a_restored_card_asks_the_driver_to_announce_itself() {
    let (mut driver, _) = driver(u64::MAX);
    assert_eq!(ask(&mut driver, 1, 1, &[2, 0, 0, 0, 0, 5]), OK);
    driver.quiesce();
    let state = driver.device.save().unwrap().unwrap();
    let mut twin = Net::with_backend(MAC, Box::new(Fake::default()));
    twin.restore(state).unwrap();
    let mut twin = Driver::with_features(twin, u64::MAX);
    let mut config = [0; 8];
    twin.device.config().read(0, &mut config);
    assert_eq!(config, [2, 0, 0, 0, 0, 5, 3, 0]);
    assert_eq!(twin.interrupt.config_count(), 1);
    assert_eq!(ask(&mut twin, 3, 0, &[]), OK);
    twin.device.config().read(0, &mut config);
    assert_eq!(config[6], 1);
}

#[test]
fn requests_that_make_no_sense_are_refused_and_one_without_room_needs_a_reset() {
    let (mut driver, _) = several(u64::MAX);
    let long = [&[0xff; 4][..], &[0; 64]].concat();
    let wrong: [(u8, u8, &[u8]); 8] = [
        (0, 0, &[]),
        (0, 6, &[1]),
        (1, 0, &[1, 0, 0, 0]),
        (1, 0, &long),
        (1, 1, &[2, 0]),
        (2, 0, &[1, 0]),
        (4, 0, &[1]),
        (9, 9, &[]),
    ];
    for (class, command, data) in wrong {
        assert_eq!(
            ask(&mut driver, class, command, data),
            ERR,
            "{class} {command}"
        );
    }
    driver.add(CONTROL, &[&[0, 0, 1]], &[]);
    assert!(matches!(driver.kick(CONTROL), Err(DeviceError::Request(_))));
}

#[test]
fn requests_need_their_features() {
    let wanted = TRANSPORT_FEATURES | F_CTRL_VQ;
    let (mut driver, _) = several(wanted);
    let all: [(u8, u8, &[u8]); 5] = [
        (0, 0, &[1]),
        (1, 1, &MAC),
        (3, 0, &[]),
        (4, 0, &[1, 0]),
        (5, 0, &[0; 8]),
    ];
    for (class, command, data) in all {
        assert_eq!(
            ask(&mut driver, class, command, data),
            ERR,
            "{class} {command}"
        );
    }
}

#[test]
fn a_back_end_is_held_while_the_driver_has_no_room() {
    let (mut driver, fake) = driver(u64::MAX);
    lock(&fake.0).waiting.push_back(vec![7; 4000]);
    driver.add(RX, &[], &[1500]);
    lock(&fake.0).held = 0;
    driver.event(Token(1)).unwrap();
    assert_eq!(lock(&fake.0).held, 1);
}

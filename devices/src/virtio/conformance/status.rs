//! Device status, feature negotiation and reset.

use super::devices::Subject;
use super::{MOMENT, works_after_reset};
use crate::virtio::core::{F_RING_EVENT_IDX, F_VERSION_1};
use crate::virtio::testing::TransportDriver;

/// The states in the order of VIRTIO 1.3 §3.1.1.
const STATES: [u8; 5] = [0, 1, 3, 11, 15];
const FAILED: u8 = 128;
const NEEDS_RESET: u8 = 64;

/// Brings the device into one of the states.
pub(super) fn enter<T: TransportDriver>(driver: &mut T, state: u8) {
    driver.set_device_status(0);
    if state == 15 {
        return driver.run();
    }
    for step in [1, 3] {
        if state >= step {
            driver.set_device_status(step);
        }
    }
    if state >= 11 {
        driver.accept(driver.offered() & !F_RING_EVENT_IDX);
        driver.set_device_status(11);
    }
    assert_eq!(driver.device_status(), state);
}

/// VIRTIO 1.3 §2.1.1: the driver sets bits in order and clears none but by a reset.
pub(super) fn every_status_write_is_a_legal_step_or_breaks_the_device<T: TransportDriver>(
    subject: &Subject,
) {
    let mut driver = T::with_device(subject.device());
    for state in STATES {
        for value in (0..=u8::MAX).filter(|value| value & 0x30 == 0) {
            enter(&mut driver, state);
            if state == 3 {
                driver.accept(F_VERSION_1);
            }
            driver.set_device_status(value);
            let known = value & 15;
            let legal = known & state == state && STATES.contains(&known);
            let now = driver.device_status();
            let want = if value == 0 {
                0
            } else if value & FAILED != 0 {
                state | FAILED
            } else if legal && !(state < 3 && known >= 11) {
                known
            } else {
                // Without a feature word FEATURES_OK is not set, and DRIVER_OK then out of order.
                assert_eq!(now & !NEEDS_RESET & !15, 0);
                let refused = known == 11 && now == 3;
                assert!(refused || now & NEEDS_RESET != 0, "{state} {value} {now}");
                continue;
            };
            assert_eq!(now, want, "{value} in state {state}");
        }
    }
    works_after_reset(&mut driver, subject);
}

/// VIRTIO 1.3 §2.2.1, §2.2.2: the device refuses FEATURES_OK for what it did not offer.
pub(super) fn features_that_were_not_offered_are_refused<T: TransportDriver>(subject: &Subject) {
    let mut driver = T::with_device(subject.device());
    let offered = driver.offered();
    assert_ne!(offered & F_VERSION_1, 0);
    for bit in (0..64).map(|bit| 1 << bit).filter(|bit| offered & bit == 0) {
        assert_eq!(driver.negotiate_all(F_VERSION_1 | bit), 3, "{bit:#x}");
        // The driver may go on with less.
        driver.accept(F_VERSION_1);
        driver.set_device_status(11);
        assert_eq!(driver.device_status(), 11);
    }
    assert_eq!(driver.device_features(2), 0);
    driver.set_device_status(0);
    driver.set_device_status(3);
    driver.set_driver_features(2, 1);
    driver.accept(F_VERSION_1);
    driver.set_device_status(11);
    assert_eq!(driver.device_status() & 8, 0);
    works_after_reset(&mut driver, subject);
}

/// VIRTIO 1.3 §6.2: a device may refuse a driver that does not accept VIRTIO_F_VERSION_1; ours do.
pub(super) fn a_driver_of_the_legacy_interface_is_refused<T: TransportDriver>(subject: &Subject) {
    let mut driver = T::with_device(subject.device());
    let offered = driver.offered();
    assert_eq!(driver.negotiate_all(offered & !F_VERSION_1), 3);
    driver.set_up_rings();
    driver.set_device_status(7);
    assert!(driver.needs_reset());
    works_after_reset(&mut driver, subject);
}

/// VIRTIO 1.3 §3.1.1: the driver must not accept new features after FEATURES_OK.
pub(super) fn features_are_fixed_after_features_ok<T: TransportDriver>(subject: &Subject) {
    for state in [11, 15] {
        let mut driver = T::with_device(subject.device());
        enter(&mut driver, state);
        driver.set_driver_features(0, 0);
        assert_eq!(driver.device_status(), state | NEEDS_RESET);
        works_after_reset(&mut driver, subject);
    }
}

/// VIRTIO 1.3 §2.4.1: a reset sets the status to 0 and stops all queues, whenever it comes.
pub(super) fn a_reset_in_every_state_gives_a_fresh_device<T: TransportDriver>(subject: &Subject) {
    let mut driver = T::with_device(subject.device());
    for state in STATES {
        for more in [0, FAILED] {
            enter(&mut driver, state);
            driver.set_device_status(state | more);
            driver.set_device_status(0);
            for queue in 0..subject.queues() {
                driver.select_queue(queue);
                assert!(!driver.queue_enabled());
            }
            works_after_reset(&mut driver, subject);
        }
    }
    // With a request on its way, and after a broken rule.
    driver.run();
    driver.rings()[usize::from(subject.queue)].add(&subject.parts(), &subject.writable);
    driver.notify(subject.queue);
    works_after_reset(&mut driver, subject);
    driver.run();
    driver.set_driver_features(0, 0);
    assert!(driver.needs_reset());
    works_after_reset(&mut driver, subject);
}

/// VIRTIO 1.3 §2.1.2: the device must not consume buffers before DRIVER_OK.
pub(super) fn nothing_runs_before_driver_ok<T: TransportDriver>(subject: &Subject) {
    let mut driver = T::with_device(subject.device());
    enter(&mut driver, 11);
    driver.set_up_rings();
    let queue = usize::from(subject.queue);
    driver.rings()[queue].add(&subject.parts(), &subject.writable);
    driver.notify(subject.queue);
    std::thread::sleep(MOMENT);
    assert_eq!(driver.rings()[queue].pop_used(), None);
    assert_eq!(driver.queue_interrupts(), 0);
    driver.set_device_status(15);
    subject.check(&driver.used(subject.queue).data);
}

/// Stopping a device, as around a snapshot, and running it again is no reset (VIRTIO 1.3 §2.4).
pub(super) fn a_pause_at_any_time_changes_nothing_that_the_driver_sees<T: TransportDriver>(
    subject: &Subject,
) {
    let mut driver = T::with_device(subject.device());
    for state in STATES {
        enter(&mut driver, state);
        driver.pause_and_resume();
        assert_eq!(driver.device_status(), state);
    }
    subject.probe(&mut driver);
    driver.pause_and_resume();
    if subject.queue != 1 || subject.writable.is_empty() {
        // A share's session allows one INIT only.
        subject.probe(&mut driver);
    }
    works_after_reset(&mut driver, subject);
}

//! Back ends, honest and not, behind a device that is driven through its transport.

use std::time::{Duration, Instant};

use super::VhostUserError;
use super::peer::{self, Fault, Manner, Peer};
use crate::virtio::fs::ExternalFs;
use crate::virtio::testing::pci::wait;
use crate::virtio::testing::{MmioDriver, PciDriver, TransportDriver};

/// The queue of ordinary requests.
const REQUESTS: u16 = 1;

const FAULTS: [Fault; 5] = [
    Fault::Silent,
    Fault::Dies,
    Fault::Refuses,
    Fault::Rubbish,
    Fault::Short,
];

/// One that waits for what does not come waits for each of its parts.
const LONG: Duration = Duration::from_secs(30);

fn driver<T: TransportDriver>(peer: &Peer) -> T {
    T::with_device(Box::new(ExternalFs::connect("tag", peer.path()).unwrap()))
}

fn echo<T: TransportDriver>(driver: &mut T, text: &[u8]) {
    let answer = driver.answer(REQUESTS, &[text], &[text.len() as u32]);
    assert_eq!(answer, text);
}

fn answers_over_pauses_and_resets<T: TransportDriver>() {
    for acknowledges in [true, false] {
        let peer = Peer::start(Manner {
            acknowledges,
            ..Manner::default()
        });
        let mut driver: T = driver(&peer);
        driver.run();
        for number in 0..300_u32 {
            echo(&mut driver, &number.to_le_bytes());
        }
        driver.pause_and_resume();
        echo(&mut driver, b"after a pause");
        driver.set_device_status(0);
        driver.run();
        echo(&mut driver, b"after a reset");
        assert!(driver.queue_interrupts() > 0);
    }
}

#[test]
fn a_back_end_answers_over_pauses_and_resets() {
    answers_over_pauses_and_resets::<PciDriver>();
    answers_over_pauses_and_resets::<MmioDriver>();
}

#[test]
fn a_back_end_that_does_not_speak_the_protocol_is_told_of_when_it_is_connected() {
    for request in [peer::GET_FEATURES, peer::GET_PROTOCOL_FEATURES] {
        for fault in FAULTS {
            // A number where a number is asked for can be right.
            if fault == Fault::Refuses {
                continue;
            }
            let peer = Peer::start(Manner::faulty(request, fault));
            let begin = Instant::now();
            let error = ExternalFs::connect("tag", peer.path()).unwrap_err();
            assert!(matches!(error, VhostUserError::Protocol { .. }), "{error}");
            assert!(error.hint().contains("back end"));
            assert!(begin.elapsed() < LONG, "{request} {fault:?}");
        }
    }
}

#[test]
fn a_back_end_that_lacks_what_every_device_needs_is_told_of() {
    let all = Manner::default().features;
    for (bit, what) in [(1 << 32, "VIRTIO 1"), (1 << 30, "protocol features")] {
        let features = all & !bit;
        let peer = Peer::start(Manner {
            features,
            ..Manner::default()
        });
        let error = ExternalFs::connect("tag", peer.path()).unwrap_err();
        assert!(error.to_string().ends_with(&format!("lacks {what}")));
    }
}

#[test]
fn features_beyond_the_devices_own_are_not_passed_on() {
    let peer = Peer::start(Manner {
        features: u64::MAX,
        ..Manner::default()
    });
    let mut driver: PciDriver = driver(&peer);
    let offered = driver.offered();
    // Of those for a device's own use the share has none (VIRTIO 1.3 §5.11.3).
    assert_eq!(offered & 0x00ff_ffff, 0, "{offered:#x}");
    driver.run();
    echo(&mut driver, b"works");
}

/// Sets the device up and lets it run, which it may not do for long.
fn try_to_run<T: TransportDriver>(driver: &mut T) {
    let offered = driver.offered();
    assert_eq!(driver.negotiate_all(offered), 11);
    driver.set_up_rings();
    driver.set_device_status(15);
}

/// The device is broken, in time, and stays so: who misbehaved is not asked again.
fn breaks<T: TransportDriver>(manner: Manner) {
    let peer = Peer::start(manner);
    let mut driver: T = driver(&peer);
    let begin = Instant::now();
    try_to_run(&mut driver);
    wait(|| driver.needs_reset());
    driver.set_device_status(0);
    assert_eq!(driver.device_status(), 0);
    try_to_run(&mut driver);
    wait(|| driver.needs_reset());
    assert!(begin.elapsed() < LONG, "{manner:?}");
}

#[test]
fn a_back_end_that_fails_at_the_start_breaks_the_device() {
    for fault in FAULTS {
        breaks::<PciDriver>(Manner::faulty(peer::SET_MEM_TABLE, fault));
        breaks::<MmioDriver>(Manner::faulty(peer::SET_VRING_ENABLE, fault));
    }
}

#[test]
fn a_back_end_that_fails_at_the_stop_does_not_hold_up_the_guest() {
    for fault in FAULTS {
        // A number where a number is asked for can be right.
        if fault == Fault::Refuses {
            continue;
        }
        let peer = Peer::start(Manner::faulty(peer::GET_VRING_BASE, fault));
        let mut driver: PciDriver = driver(&peer);
        driver.run();
        echo(&mut driver, b"works");
        let begin = Instant::now();
        driver.set_device_status(0);
        assert_eq!(driver.device_status(), 0);
        assert!(begin.elapsed() < LONG, "{fault:?}");
        try_to_run(&mut driver);
        wait(|| driver.needs_reset());
    }
}

#[test]
fn a_back_end_that_speaks_unasked_breaks_the_device() {
    let peer = Peer::start(Manner {
        unasked: true,
        ..Manner::default()
    });
    let mut driver: PciDriver = driver(&peer);
    driver.run();
    echo(&mut driver, b"works");
    wait(|| driver.needs_reset());
}

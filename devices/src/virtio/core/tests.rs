use std::sync::atomic::Ordering;

use super::health::MAX_REPORTS;
use super::*;
use crate::virtio::device::EventLoop;
use crate::virtio::testing::{FakeInterrupt, Ring, ram};

const F_DEVICE: u64 = 1 << 5;
const READY: u8 = 15;

struct Fixture {
    core: Core,
    interrupt: Arc<FakeInterrupt>,
    mem: GuestRam,
}

fn fixture() -> Fixture {
    let interrupt = Arc::new(FakeInterrupt::default());
    let info = DeviceInfo {
        id: 1,
        features: F_DEVICE,
        queue_sizes: vec![8, 16],
        runs_on: EventLoop::Shared,
    };
    let health = Arc::new(Health::new("test", interrupt.clone()));
    Fixture {
        core: Core::new(&info, health),
        interrupt,
        mem: ram(1 << 20),
    }
}

impl Fixture {
    fn features(&mut self, features: u64) {
        for select in 0..2 {
            self.core.select_driver_features(select);
            self.core
                .write_driver_features((features >> (32 * select)) as u32);
        }
    }

    fn agree(&mut self, features: u64) -> u8 {
        for status in [1, 3] {
            assert_eq!(self.core.write_status(status), Change::None);
        }
        self.features(features);
        assert_eq!(self.core.write_status(11), Change::None);
        self.core.status()
    }

    fn set_up_queue(&mut self, index: u16) -> Ring {
        self.core.select_queue(index);
        let size = self.core.queue().unwrap().size;
        let base = (1 << 16) * u64::from(index + 1);
        let ring = Ring::new(&self.mem, size, base, base + (1 << 16));
        let parts = [
            (Part::Desc, ring.desc),
            (Part::Avail, ring.avail),
            (Part::Used, ring.used),
        ];
        for (part, address) in parts {
            self.core.set_queue_address(part, false, address as u32);
            self.core
                .set_queue_address(part, true, (address >> 32) as u32);
        }
        self.core.enable_queue(1);
        ring
    }

    fn run(&mut self) {
        assert_eq!(self.agree(TRANSPORT_FEATURES), 11);
        self.set_up_queue(0);
        assert_eq!(self.core.write_status(READY), Change::Activate);
    }
}

const NEEDS_RESET: u8 = Status::NEEDS_RESET.bits();

#[test]
fn a_driver_that_follows_the_steps_activates_the_device_once() {
    let mut f = fixture();
    f.run();
    assert_eq!(f.core.status(), READY);
    assert_eq!(f.core.write_status(READY), Change::None);
    let queues = f.core.build_queues(&f.mem).unwrap();
    assert!(queues[0].is_valid(&f.mem));
    assert!(!queues[1].ready());
    assert_eq!(f.interrupt.config_count(), 0);
}

#[test]
fn the_offered_features_are_the_devices_and_the_frameworks() {
    let mut f = fixture();
    assert_eq!(
        f.core.device_features_word(),
        (F_DEVICE | F_RING_INDIRECT_DESC | F_RING_EVENT_IDX) as u32
    );
    f.core.select_device_features(1);
    assert_eq!(f.core.device_features_word(), 1);
    f.core.select_device_features(2);
    assert_eq!(f.core.device_features_word(), 0);
}

#[test]
fn features_ok_is_refused_for_what_was_not_offered_or_without_version_1() {
    for features in [F_VERSION_1 | 1, F_VERSION_1 | 1 << 63, F_DEVICE, 0] {
        let mut f = fixture();
        assert_eq!(f.agree(features), 3, "{features:#x}");
        // The driver may try again with less.
        f.features(F_VERSION_1);
        assert_eq!(f.core.write_status(11), Change::None);
        assert_eq!(f.core.status(), 11);
    }
}

#[test]
fn driver_ok_without_features_ok_is_refused() {
    let mut f = fixture();
    assert_eq!(f.agree(0), 3);
    assert_eq!(f.core.write_status(READY), Change::None);
    assert_eq!(f.core.status() & Status::DRIVER_OK.bits(), 0);
    assert_ne!(f.core.status() & NEEDS_RESET, 0);
}

#[test]
fn status_bits_out_of_order_or_cleared_need_a_reset() {
    for sequence in [&[2][..], &[1, 5], &[1, 9], &[1, 3, 1], &[1, 3, 7], &[4]] {
        let mut f = fixture();
        for &status in sequence {
            assert_eq!(f.core.write_status(status), Change::None);
        }
        assert_ne!(f.core.status() & NEEDS_RESET, 0, "{sequence:?}");
        assert_eq!(f.core.write_status(0), Change::Reset);
        f.core.reset();
        assert_eq!(f.core.status(), 0);
        f.run();
    }
}

#[test]
fn several_status_bits_may_come_in_one_write() {
    let mut f = fixture();
    f.features(F_VERSION_1);
    assert_eq!(f.core.write_status(READY), Change::Activate);
}

#[test]
fn a_driver_that_reads_needs_reset_and_writes_it_back_breaks_no_rule() {
    let mut f = fixture();
    f.run();
    f.core.health().fail(true, &"test");
    let status = f.core.status();
    assert_eq!(status, READY | NEEDS_RESET);
    let failed = status | Status::FAILED.bits();
    assert_eq!(f.core.write_status(failed), Change::None);
    assert_eq!(f.core.status(), failed);
    assert_eq!(f.interrupt.config_count(), 1);
}

#[test]
fn nothing_but_a_reset_follows_failed() {
    let mut f = fixture();
    assert_eq!(f.core.write_status(1), Change::None);
    assert_eq!(f.core.write_status(129), Change::None);
    assert_eq!(f.core.write_status(131), Change::None);
    assert_eq!(f.core.status(), 129);
}

#[test]
fn features_are_fixed_after_features_ok() {
    let mut f = fixture();
    f.run();
    f.features(u64::MAX);
    assert_eq!(f.core.driver_features(), TRANSPORT_FEATURES);
    assert_eq!(f.core.status(), READY | NEEDS_RESET);
    assert_eq!(f.interrupt.config_count(), 1);
}

#[test]
fn a_feature_above_bit_63_is_never_accepted() {
    let mut f = fixture();
    f.core.select_driver_features(2);
    f.core.write_driver_features(0);
    assert_eq!(f.core.status(), 0);
    f.core.write_driver_features(1);
    assert_eq!(f.core.status(), NEEDS_RESET);
}

#[test]
fn queue_registers_are_fixed_while_the_device_runs() {
    let writes: [fn(&mut Core); 4] = [
        |core| core.set_queue_size(4),
        |core| core.set_queue_address(Part::Used, false, 0x1000),
        |core| core.set_queue_address(Part::Desc, true, 1),
        |core| core.enable_queue(1),
    ];
    for write in writes {
        for index in 0..2 {
            let mut f = fixture();
            f.run();
            f.core.select_queue(index);
            let before = f.core.queue().cloned();
            write(&mut f.core);
            assert_eq!(f.core.queue().cloned(), before);
            assert_eq!(f.core.status(), READY | NEEDS_RESET);
        }
    }
}

#[test]
fn an_enabled_queue_is_fixed_and_stays_enabled() {
    let mut f = fixture();
    f.set_up_queue(1);
    f.core.enable_queue(0);
    assert!(f.core.queue_enabled(1));
    assert_eq!(f.core.status(), NEEDS_RESET);
}

#[test]
fn an_invalid_queue_size_has_no_effect() {
    for size in [0, 3, 16, 32768, 65535] {
        let mut f = fixture();
        f.core.set_queue_size(size);
        assert_eq!(f.core.queue().unwrap().size, 8);
        assert_eq!(f.core.status(), NEEDS_RESET);
    }
}

#[test]
fn a_queue_that_does_not_exist_reads_as_none_and_ignores_writes() {
    let mut f = fixture();
    f.core.select_queue(2);
    assert!(f.core.queue().is_none());
    f.core.set_queue_size(4);
    f.core.enable_queue(1);
    f.core.set_queue_address(Part::Desc, false, 1);
    assert_eq!(f.core.status(), 0);
}

#[test]
fn rings_outside_ram_or_misaligned_cannot_be_built() {
    let spots = [
        (Part::Desc, 0x10_0000_u64),
        (Part::Desc, 0xf_fff0),
        (Part::Avail, u64::MAX - 1),
        (Part::Used, 0xf_fffc),
        (Part::Desc, 0x1008),
        (Part::Avail, 0x1001),
        (Part::Used, 0x1002),
    ];
    for (part, address) in spots {
        let mut f = fixture();
        f.core.set_queue_address(part, false, address as u32);
        f.core.set_queue_address(part, true, (address >> 32) as u32);
        f.core.enable_queue(1);
        assert!(
            f.core.build_queues(&f.mem).is_err(),
            "{part:?} {address:#x}"
        );
    }
}

#[test]
fn reset_forgets_all_but_the_offer() {
    let mut f = fixture();
    f.run();
    f.core.health().fail(true, &"test");
    assert_eq!(f.core.write_status(0), Change::Reset);
    f.core.reset();
    assert_eq!(f.core.status(), 0);
    assert_eq!(f.core.driver_features(), 0);
    f.core.select_queue(0);
    assert_eq!(f.core.queue(), Some(&QueueRegs::new(8)));
    f.run();
}

#[test]
fn a_broken_driver_fills_the_log_only_so_far() {
    let mut f = fixture();
    for _ in 0..1000 {
        f.core.enable_queue(2);
        f.core.reset();
    }
    let reports = f.core.health().reports.load(Ordering::Relaxed);
    assert_eq!(reports, MAX_REPORTS);
}

#[test]
fn state_survives_a_round_trip() {
    let mut f = fixture();
    f.run();
    let mut ring = f.set_up_rings_after_run();
    let mut queues = f.core.build_queues(&f.mem).unwrap();
    ring.add(&[b"x"], &[]);
    let head = queues[0].pop(&f.mem).unwrap().unwrap().head;
    queues[0].add_used(&f.mem, head, 0).unwrap();
    f.core.park_queues(&queues);
    let state = f.core.save();
    let json = serde_json::to_string(&state).unwrap();
    let mut other = fixture();
    other
        .core
        .restore(&serde_json::from_str(&json).unwrap())
        .unwrap();
    assert_eq!(other.core.save(), state);
    assert_eq!(other.core.status(), READY);
    let restored = other.core.build_queues(&f.mem).unwrap();
    assert_eq!(restored[0].state(), queues[0].state());
    assert_eq!(restored[0].state().next_used, 1);
}

impl Fixture {
    /// The driver's half of queue 0, which [`Fixture::run`] set up.
    fn set_up_rings_after_run(&self) -> Ring {
        Ring::new(&self.mem, 8, 1 << 16, 1 << 17)
    }
}

#[test]
fn impossible_states_are_refused() {
    let mut f = fixture();
    f.run();
    let good = f.core.save();
    let spoil: [fn(&mut CoreStateV1); 6] = [
        |state| state.status = 4,
        |state| state.status = READY | 16,
        |state| state.driver_features |= 1,
        |state| state.queues[0].size = 3,
        |state| state.queues[0].size = 16,
        |state| state.queues.truncate(1),
    ];
    for (i, spoil) in spoil.iter().enumerate() {
        let mut state = good.clone();
        spoil(&mut state);
        assert!(fixture().core.restore(&state).is_err(), "{i}");
    }
    fixture().core.restore(&good).unwrap();
}

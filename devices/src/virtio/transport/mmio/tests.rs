use std::sync::Mutex;

use super::*;
use crate::lock;
use crate::virtio::core::{F_RING_EVENT_IDX, F_VERSION_1};
use crate::virtio::testing::mmio::{BASE, reg};
use crate::virtio::testing::pci::wait;
use crate::virtio::testing::{Echo, MmioDriver, TransportDriver};

fn echo() -> (Echo, MmioDriver) {
    let device = Echo {
        config: Arc::new(Mutex::new(vec![1, 2, 3, 4, 5, 6, 7, 8])),
        ..Echo::default()
    };
    let driver = MmioDriver::new(Box::new(device.clone()));
    (device, driver)
}

#[test]
fn the_registers_say_what_the_device_is() {
    let (_, driver) = echo();
    let identity = [0, 4, 8, 12].map(|register| driver.get(register));
    assert_eq!(identity, [MAGIC, 2, 3, VENDOR]);
    let sizes = [0, 1, 2].map(|queue| {
        driver.select_queue(queue);
        driver.queue_size_max()
    });
    assert_eq!(sizes, [16, 8, 0]);
    assert_eq!(
        driver.offered() & !F_RING_EVENT_IDX,
        F_VERSION_1 | 1 << 28 | 1 << 2
    );
    driver.set(reg::SHM_SEL, 0);
    for half in [0, 4] {
        assert_eq!(driver.get(reg::SHM_LEN + half), u32::MAX);
        assert_eq!(driver.get(reg::SHM_BASE + half), u32::MAX);
    }
}

#[test]
fn a_driver_runs_a_device() {
    let (_, mut driver) = echo();
    driver.run();
    assert_eq!(driver.answer(0, &[b"hello"], &[16]), b"hello");
    wait(|| driver.line.edges() == 1);
    assert_eq!(driver.get(reg::INTERRUPT_STATUS), 1);
    driver.set(reg::INTERRUPT_ACK, 1);
    assert_eq!(driver.get(reg::INTERRUPT_STATUS), 0);
    assert_eq!(driver.answer(1, &[b"on queue 1"], &[4]), b"on q");
    wait(|| driver.line.edges() == 2);
}

#[test]
fn an_interrupt_that_was_not_acknowledged_does_not_hold_the_next_up() {
    let (_, mut driver) = echo();
    driver.run();
    for n in 1..=3 {
        assert_eq!(driver.answer(0, &[b"x"], &[1]), b"x");
        wait(|| driver.line.edges() == n);
    }
}

#[test]
fn acknowledging_one_kind_of_interrupt_leaves_the_other() {
    let (_, mut driver) = echo();
    driver.run();
    assert_eq!(driver.answer(0, &[b"x"], &[1]), b"x");
    wait(|| driver.line.edges() == 1);
    driver.set(reg::QUEUE_SIZE, 4);
    assert_eq!(driver.get(reg::INTERRUPT_STATUS), 3);
    driver.set(reg::INTERRUPT_ACK, 1);
    assert_eq!(driver.get(reg::INTERRUPT_STATUS), 2);
    driver.set(reg::STATUS, 0);
    assert_eq!(driver.get(reg::INTERRUPT_STATUS), 0);
}

#[test]
fn doorbells_match_the_index_of_an_enabled_queue() {
    let (_, mut driver) = echo();
    assert_eq!(driver.negotiate_all(F_VERSION_1), 11);
    driver.set_up_ring(1);
    assert!(driver.platform.doorbells().is_empty());
    driver.set_device_status(15);
    let notify = (Space::Memory, BASE + reg::QUEUE_NOTIFY);
    assert!(driver.platform.ring(notify, 1));
    for absent in [0, 2, 0x1_0001] {
        assert!(!driver.platform.ring(notify, absent), "{absent}");
        driver.set(reg::QUEUE_NOTIFY, absent);
    }
    driver.set_device_status(0);
    assert!(driver.platform.doorbells().is_empty());
}

#[test]
fn a_queue_can_be_taken_out_of_use() {
    let (_, mut driver) = echo();
    driver.run();
    driver.select_queue(0);
    driver.enable_queue(0);
    assert!(!driver.queue_enabled());
    // The rest goes on, and nobody looks at the queue any more.
    driver.rings[0].add(&[b"ignored"], &[8]);
    driver.notify(0);
    assert_eq!(driver.answer(1, &[b"on"], &[4]), b"on");
    assert_eq!(driver.rings[0].pop_used(), None);
    assert_eq!(driver.device_status(), 15);
    // But it comes back with a reset only.
    driver.enable_queue(1);
    assert!(!driver.queue_enabled() && driver.needs_reset());
    driver.run();
    assert_eq!(driver.answer(0, &[b"again"], &[8]), b"again");
}

#[test]
fn a_queue_can_be_given_back_before_the_device_runs() {
    let (_, mut driver) = echo();
    assert_eq!(driver.negotiate_all(F_VERSION_1), 11);
    driver.set_up_rings();
    driver.select_queue(0);
    driver.enable_queue(0);
    assert!(!driver.queue_enabled());
    // As Linux does after a reset too.
    driver.enable_queue(0);
    driver.set_up_ring(0);
    driver.set_device_status(15);
    assert_eq!(driver.answer(0, &[b"x"], &[1]), b"x");
}

#[test]
fn values_that_no_register_holds_break_a_rule() {
    for (register, value) in [
        (reg::STATUS, 0x100),
        (reg::QUEUE_SIZE, 0x1_0008),
        (reg::QUEUE_READY, 2),
        (reg::QUEUE_READY, 0x1_0001),
    ] {
        let (_, driver) = echo();
        driver.set(reg::STATUS, 3);
        driver.select_queue(0);
        driver.set(register, value);
        assert_eq!(driver.get(reg::STATUS), 64 | 3, "{register:#x}");
    }
    let (_, driver) = echo();
    driver.set(reg::QUEUE_SEL, 0x1_0000);
    assert_eq!(driver.queue_size_max(), 0);
}

#[test]
fn registers_take_aligned_accesses_of_32_bits_alone() {
    let (_, driver) = echo();
    for (offset, len) in [(0, 1), (0, 2), (0, 8), (1, 4), (2, 4), (0xfe, 4)] {
        let mut data = vec![0xaa; len];
        driver.mmio.read(BASE + offset, &mut data);
        assert_eq!(data, vec![0; len], "{offset}+{len}");
    }
    driver.write(reg::STATUS, &[1]);
    driver.write(reg::STATUS, &[1, 0]);
    driver.write(reg::STATUS, &[1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(driver.device_status(), 0);
}

#[test]
fn the_configuration_is_read_and_written_in_any_width() {
    let (_, driver) = echo();
    let mut data = [0; 8];
    driver.read_device_config(0, &mut data);
    assert_eq!(data, [1, 2, 3, 4, 5, 6, 7, 8]);
    let mut data = [0; 2];
    driver.read_device_config(3, &mut data);
    assert_eq!(data, [4, 5]);
    let before = driver.generation();
    assert_eq!(driver.generation(), before);
    driver.write_device_config(1, &[9]);
    assert_ne!(driver.generation(), before);
    driver.read_device_config(0xe00, &mut data);
    assert_eq!(data, [0, 0]);
}

#[test]
fn state_moves_to_another_machine() {
    let (_, mut driver) = echo();
    driver.run();
    assert_eq!(driver.answer(0, &[b"one"], &[8]), b"one");
    wait(|| driver.line.edges() == 1);
    assert!(lock(&driver.transport).save().is_err());
    lock(&driver.transport).pause();
    let state = lock(&driver.transport).save().unwrap();

    let (_, mut other) = echo();
    lock(&other.transport).restore(&state).unwrap();
    assert_eq!(other.get(reg::INTERRUPT_STATUS), 1);
    other.set(reg::INTERRUPT_ACK, 1);
    lock(&other.transport).pause();
    assert_eq!(other.device_status(), 15);
    let mut spoiled = state.clone();
    spoiled.kind = "virtio-pci".to_owned();
    assert!(lock(&other.transport).restore(&spoiled).is_err());
    // The other machine's RAM has empty rings, which the saved place in them does not fit: what
    // counts here is that the device runs and may be reset.
    lock(&other.transport).resume();
    other.run();
    assert_eq!(other.answer(0, &[b"two"], &[8]), b"two");
}

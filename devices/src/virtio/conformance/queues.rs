//! Queue registers and the rings that they lead to.

use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

use super::devices::Subject;
use super::status::enter;
use super::{MOMENT, works_after_reset};
use crate::virtio::core::Part;
use crate::virtio::testing::TransportDriver;

const PARTS: [Part; 3] = [Part::Desc, Part::Avail, Part::Used];

/// VIRTIO 1.3 §4.1.4.3, §4.2.2: the size of a queue that is not available is zero.
pub(super) fn an_absent_queue_has_no_size_and_ignores_writes<T: TransportDriver>(
    subject: &Subject,
) {
    let mut driver = T::with_device(subject.device());
    enter(&mut driver, 11);
    for queue in [subject.queues(), 64, 0x8000, u16::MAX] {
        driver.select_queue(queue);
        assert_eq!(driver.queue_size_max(), 0);
        assert!(!driver.queue_enabled());
        driver.set_queue_size(8);
        for part in PARTS {
            driver.set_queue_address(part, 0x1000);
        }
        driver.enable_queue(1);
        assert!(!driver.queue_enabled());
        assert_eq!(driver.device_status(), 11);
    }
    works_after_reset(&mut driver, subject);
}

/// VIRTIO 1.3 §2.7, §4.1.4.3.2: the size of a split virtqueue is a power of two that the device
/// offers.
pub(super) fn powers_of_two_up_to_the_maximum_are_the_sizes<T: TransportDriver>(subject: &Subject) {
    let mut driver = T::with_device(subject.device());
    for queue in 0..subject.queues() {
        enter(&mut driver, 11);
        driver.select_queue(queue);
        let max = driver.queue_size_max();
        assert!(max.is_power_of_two() && max <= 32768);
        for size in (0..16).map(|bit| 1 << bit).filter(|size| *size <= max) {
            driver.set_queue_size(size);
            assert_eq!(driver.device_status(), 11, "{size}");
        }
        for size in [0, 3, max - 1, max + 1, u16::MAX] {
            if size.is_power_of_two() && size <= max {
                continue;
            }
            enter(&mut driver, 11);
            driver.select_queue(queue);
            driver.set_queue_size(size);
            assert!(driver.needs_reset(), "{size}");
        }
    }
    works_after_reset(&mut driver, subject);
}

/// VIRTIO 1.3 §4.1.4.3: the driver may choose any size that the device offers.
pub(super) fn small_queues_work<T: TransportDriver>(subject: &Subject) {
    let mut driver = T::with_device(subject.device());
    let parts = subject.readable.len() + subject.writable.len();
    let queue = usize::from(subject.queue);
    let max = driver.rings()[queue].size;
    let least = u16::try_from(parts.next_power_of_two()).unwrap();
    for size in [least, 2 * least, 8 * least] {
        driver.rings()[queue].size = size.min(max);
        for _ in 0..3 {
            driver.run();
            subject.probe(&mut driver);
        }
    }
    driver.rings()[queue].size = max;
    works_after_reset(&mut driver, subject);
}

/// VIRTIO 1.3 §4.1.4.3.2, §4.2.2.2: queue registers stand still while the queue is in use. A device
/// that took new ones would write where its driver does not expect it (as in CVE-2026-5747).
pub(super) fn queue_registers_are_fixed_while_the_device_runs<T: TransportDriver>(
    subject: &Subject,
) {
    let elsewhere = 0x8000_u64;
    let writes: [fn(&T); 6] = [
        |driver| driver.set_queue_size(1),
        |driver| driver.set_queue_address(Part::Desc, 0x8000),
        |driver| driver.set_queue_address(Part::Avail, 0x8000),
        |driver| driver.set_queue_address(Part::Used, 0x8000),
        |driver| driver.enable_queue(1),
        |driver| driver.enable_queue(2),
    ];
    let mut driver = T::with_device(subject.device());
    let pattern = [0xa5; 4096];
    for queue in 0..subject.queues() {
        for (number, write) in writes.iter().enumerate() {
            driver.run();
            let memory = driver.ram();
            memory
                .write_slice(&pattern, GuestAddress(elsewhere))
                .unwrap();
            driver.select_queue(queue);
            write(&driver);
            assert!(driver.needs_reset(), "write {number} to queue {queue}");
            assert!(driver.queue_enabled());
            driver.rings()[usize::from(subject.queue)].add(&subject.parts(), &subject.writable);
            driver.notify(subject.queue);
            // Whatever is done still, a reset waits for it.
            driver.set_device_status(0);
            let mut found = [0; 4096];
            driver
                .ram()
                .read_slice(&mut found, GuestAddress(elsewhere))
                .unwrap();
            assert!(found == pattern, "write {number} to queue {queue}");
        }
    }
    works_after_reset(&mut driver, subject);
}

fn with_ring_at<T: TransportDriver>(driver: &mut T, queue: u16, part: Part, address: u64) {
    enter(driver, 11);
    for index in 0..driver.rings().len() {
        if index != usize::from(queue) {
            driver.set_up_ring(index);
        }
    }
    let ring = &driver.rings()[usize::from(queue)];
    let (desc, avail, used) = (ring.desc, ring.avail, ring.used);
    driver.select_queue(queue);
    driver.set_queue_address(Part::Desc, desc);
    driver.set_queue_address(Part::Avail, avail);
    driver.set_queue_address(Part::Used, used);
    driver.set_queue_address(part, address);
    driver.enable_queue(1);
    driver.set_device_status(15);
}

/// VIRTIO 1.3 §2.7: the rings are in guest memory.
pub(super) fn rings_outside_ram_break_the_device<T: TransportDriver>(subject: &Subject) {
    let mut driver = T::with_device(subject.device());
    let end = driver.ram().last_addr().0 + 1;
    for queue in 0..subject.queues() {
        for part in PARTS {
            for address in [end, end - 16, end + (1 << 32), 1 << 63, u64::MAX - 15] {
                with_ring_at(&mut driver, queue, part, address);
                assert!(driver.needs_reset(), "{part:?} of {queue} at {address:#x}");
            }
        }
    }
    works_after_reset(&mut driver, subject);
}

/// VIRTIO 1.3 §2.7: descriptor table, available and used ring are aligned to 16, 2 and 4 bytes.
pub(super) fn misaligned_rings_break_the_device<T: TransportDriver>(subject: &Subject) {
    let mut driver = T::with_device(subject.device());
    for queue in 0..subject.queues() {
        for (part, offset) in [(Part::Desc, 8), (Part::Avail, 1), (Part::Used, 2)] {
            with_ring_at(&mut driver, queue, part, 0x4000 + offset);
            assert!(driver.needs_reset(), "{part:?} of {queue}");
        }
    }
    works_after_reset(&mut driver, subject);
}

/// VIRTIO 1.3 §2.7 does not forbid the rings to overlap; nobody gains by it, and only the driver
/// may lose.
pub(super) fn overlapping_rings_harm_nobody<T: TransportDriver>(subject: &Subject) {
    let mut driver = T::with_device(subject.device());
    for queue in 0..subject.queues() {
        let ring = &driver.rings()[usize::from(queue)];
        let (desc, avail, used) = (ring.desc, ring.avail, ring.used);
        for (part, address) in [
            (Part::Used, desc),
            (Part::Used, avail.next_multiple_of(4)),
            (Part::Avail, desc),
            (Part::Desc, used.next_multiple_of(16)),
        ] {
            driver.rings()[usize::from(queue)].reset();
            with_ring_at(&mut driver, queue, part, address);
            driver.rings()[usize::from(queue)].add(&subject.parts(), &subject.writable);
            driver.notify(queue);
            std::thread::sleep(MOMENT / 10);
            driver.set_device_status(0);
        }
    }
    works_after_reset(&mut driver, subject);
}

/// VIRTIO 1.3 §4.1.4.3, §4.2.2.1: the device must not touch a queue that is not enabled.
pub(super) fn queues_that_are_not_enabled_stay_untouched<T: TransportDriver>(subject: &Subject) {
    let mut driver = T::with_device(subject.device());
    enter(&mut driver, 11);
    driver.set_device_status(15);
    assert_eq!(driver.device_status(), 15);
    let queue = usize::from(subject.queue);
    driver.rings()[queue].add(&subject.parts(), &subject.writable);
    for queue in 0..subject.queues() {
        driver.notify(queue);
    }
    std::thread::sleep(MOMENT);
    assert_eq!(driver.rings()[queue].pop_used(), None);
    assert_eq!(driver.device_status(), 15);
    works_after_reset(&mut driver, subject);
}

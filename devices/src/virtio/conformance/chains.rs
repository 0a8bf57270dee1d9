//! Descriptor chains that break the rules.

use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

use super::devices::Subject;
use super::{MOMENT, wait_for_needs_reset, works_after_reset};
use crate::virtio::core::{F_RING_EVENT_IDX, F_RING_INDIRECT_DESC};
use crate::virtio::testing::{DESC_F_INDIRECT, DESC_F_NEXT, DESC_F_WRITE, Ring, TransportDriver};

/// A place in RAM that no queue has.
const SPARE: u64 = 0x1_0000;

/// One descriptor: address, length, flags, next.
type Descriptor = (u64, u32, u16, u16);

/// Has the device look at a chain in every queue, and sees that it breaks where chains are looked
/// at, and works again after a reset.
fn breaks<T: TransportDriver>(
    subject: &Subject,
    driver: &mut T,
    what: &str,
    make: impl Fn(&mut Ring),
) {
    for queue in 0..subject.queues() {
        driver.run();
        make(&mut driver.rings()[usize::from(queue)]);
        driver.notify(queue);
        if subject.eager.contains(&queue) {
            let mut waited = 0;
            while !driver.needs_reset() {
                waited += 1;
                assert!(waited < 2000, "{what} on queue {queue}");
                std::thread::sleep(MOMENT / 20);
            }
        }
        driver.set_device_status(0);
    }
    works_after_reset(driver, subject);
}

fn chain(ring: &mut Ring, descriptors: &[Descriptor]) {
    for (index, &(address, len, flags, next)) in (0..).zip(descriptors) {
        ring.set_descriptor(index, address, len, flags, next);
    }
    ring.push(0);
}

/// VIRTIO 1.3 §2.7.5: `next` and the available ring hold indices of the table.
pub(super) fn descriptor_indices_outside_the_table_break_the_device<T: TransportDriver>(
    subject: &Subject,
) {
    let mut driver = T::with_device(subject.device());
    breaks(subject, &mut driver, "head", |ring| ring.push(ring.size));
    breaks(subject, &mut driver, "head", |ring| ring.push(u16::MAX));
    for next in [0x7fff, u16::MAX] {
        breaks(subject, &mut driver, "next", |ring| {
            chain(ring, &[(SPARE, 1, DESC_F_NEXT, next)]);
        });
    }
}

/// VIRTIO 1.3 §2.7.5.2: the driver must not make a loop.
pub(super) fn loops_break_the_device<T: TransportDriver>(subject: &Subject) {
    let mut driver = T::with_device(subject.device());
    breaks(subject, &mut driver, "itself", |ring| {
        chain(ring, &[(SPARE, 1, DESC_F_NEXT, 0)]);
    });
    breaks(subject, &mut driver, "empty", |ring| {
        chain(ring, &[(SPARE, 0, DESC_F_NEXT, 0)]);
    });
    let flags = DESC_F_NEXT | DESC_F_WRITE;
    breaks(subject, &mut driver, "two", |ring| {
        chain(ring, &[(SPARE, 1, flags, 1), (SPARE, 1, flags, 0)]);
    });
}

/// VIRTIO 1.3 §2.7.5: `addr` is guest-physical, of memory.
pub(super) fn buffers_outside_ram_break_the_device<T: TransportDriver>(subject: &Subject) {
    let mut driver = T::with_device(subject.device());
    let end = driver.ram().last_addr().0 + 1;
    for flags in [0, DESC_F_WRITE] {
        for (address, len) in [
            (end, 1),
            (end - 4, 8),
            (u64::MAX, 1),
            (u64::MAX - 3, 16),
            (0xf000_0000, 4),
            (0, u32::MAX),
        ] {
            breaks(subject, &mut driver, "address", |ring| {
                chain(ring, &[(address, len, flags, 0)]);
            });
        }
    }
}

/// VIRTIO 1.3 §2.7.4.2: device-readable buffers come before device-writable ones.
pub(super) fn readable_after_writable_breaks_the_device<T: TransportDriver>(subject: &Subject) {
    let mut driver = T::with_device(subject.device());
    breaks(subject, &mut driver, "order", |ring| {
        let first = (SPARE, 8, DESC_F_WRITE | DESC_F_NEXT, 1);
        chain(ring, &[first, (SPARE, 8, 0, 0)]);
    });
}

fn table(ring: &Ring, descriptors: &[Descriptor]) {
    for (index, &(address, len, flags, next)) in (0..).zip(descriptors) {
        let mut bytes = address.to_le_bytes().to_vec();
        bytes.extend(len.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes.extend(next.to_le_bytes());
        ring.write(SPARE + 16 * index, &bytes);
    }
}

/// VIRTIO 1.3 §2.7.5.3.1: a table is a whole number of descriptors, in memory, not nested; the
/// descriptor that leads to it ends its chain.
pub(super) fn malformed_indirect_tables_break_the_device<T: TransportDriver>(subject: &Subject) {
    let mut driver = T::with_device(subject.device());
    let end = driver.ram().last_addr().0 + 1;
    for (address, len, flags) in [
        (SPARE, 0, DESC_F_INDIRECT),
        (SPARE, 15, DESC_F_INDIRECT),
        (SPARE, 17, DESC_F_INDIRECT),
        (SPARE, 0xffff_fff0, DESC_F_INDIRECT),
        (end, 16, DESC_F_INDIRECT),
        (u64::MAX - 15, 32, DESC_F_INDIRECT),
        (SPARE, 16, DESC_F_INDIRECT | DESC_F_NEXT),
    ] {
        breaks(subject, &mut driver, "table", |ring| {
            table(ring, &[(SPARE, 4, 0, 0)]);
            chain(ring, &[(address, len, flags, 1), (SPARE, 4, 0, 0)]);
        });
    }
    for inside in [
        vec![(SPARE, 16, DESC_F_INDIRECT, 0)],
        vec![(SPARE, 4, DESC_F_NEXT, 0)],
        vec![(SPARE, 4, DESC_F_NEXT, 1), (SPARE, 4, DESC_F_NEXT, 0)],
        vec![(SPARE, 4, DESC_F_NEXT, 2), (SPARE, 4, 0, 0)],
    ] {
        breaks(subject, &mut driver, "inside", |ring| {
            table(ring, &inside);
            let len = 16 * u32::try_from(inside.len()).unwrap();
            chain(ring, &[(SPARE, len, DESC_F_INDIRECT, 0)]);
        });
    }
}

/// VIRTIO 1.3 §2.7.5.3: a chain may be in a table of its own.
pub(super) fn indirect_tables_work<T: TransportDriver>(subject: &Subject) {
    let mut driver = T::with_device(subject.device());
    driver.run();
    let queue = usize::from(subject.queue);
    driver.rings()[queue].add_indirect(&subject.parts(), &subject.writable);
    driver.notify(subject.queue);
    subject.check(&driver.used(subject.queue).data);
    works_after_reset(&mut driver, subject);
}

/// VIRTIO 1.3 §2.7.5.3.1: no indirect descriptor without VIRTIO_F_INDIRECT_DESC.
pub(super) fn indirect_tables_must_be_negotiated<T: TransportDriver>(subject: &Subject) {
    let mut driver = T::with_device(subject.device());
    driver.run_without(F_RING_INDIRECT_DESC | F_RING_EVENT_IDX);
    let queue = usize::from(subject.queue);
    driver.rings()[queue].add_indirect(&subject.parts(), &subject.writable);
    driver.notify(subject.queue);
    wait_for_needs_reset(&driver);
    works_after_reset(&mut driver, subject);
}

/// VIRTIO 1.3 §2.7.5.2: a chain has less than 4 GiB in all.
pub(super) fn chains_of_4_gib_break_the_device<T: TransportDriver>(subject: &Subject) {
    let mut driver = T::with_device(subject.device());
    breaks(subject, &mut driver, "length", |ring| {
        let flags = DESC_F_NEXT | DESC_F_WRITE;
        chain(
            ring,
            &[
                (SPARE, 0x1000, flags, 1),
                (SPARE, u32::MAX, DESC_F_WRITE, 0),
            ],
        );
    });
}

/// VIRTIO 1.3 §2.7.13.3: the driver advances the available index by the chains that it added, of
/// which the ring holds no more than its size.
pub(super) fn jumping_available_indices_break_the_device<T: TransportDriver>(subject: &Subject) {
    let mut driver = T::with_device(subject.device());
    breaks(subject, &mut driver, "jump", |ring| {
        ring.set_avail_idx(ring.size + 1);
    });
    breaks(subject, &mut driver, "back", |ring| {
        ring.set_avail_idx(0x8000);
    });
    breaks(subject, &mut driver, "below", |ring| {
        ring.set_avail_idx(u16::MAX);
    });
}

/// Chains without a byte, or with buffers of one kind alone, are answered or break the device.
pub(super) fn empty_and_wrong_way_buffers_harm_nobody<T: TransportDriver>(subject: &Subject) {
    let mut driver = T::with_device(subject.device());
    let cases: [&[Descriptor]; 8] = [
        &[(SPARE, 0, 0, 0)],
        &[(SPARE, 0, DESC_F_WRITE, 0)],
        &[(u64::MAX, 0, 0, 0)],
        &[(SPARE, 0, DESC_F_NEXT, 1), (SPARE, 0, DESC_F_WRITE, 0)],
        &[(SPARE, 1, 0, 0)],
        &[(SPARE, 1, DESC_F_WRITE, 0)],
        &[(SPARE, 4096, 0, 0)],
        &[(SPARE, 4096, DESC_F_WRITE, 0)],
    ];
    for case in cases {
        for queue in 0..subject.queues() {
            driver.run();
            let ring = &mut driver.rings()[usize::from(queue)];
            chain(ring, case);
            driver.notify(queue);
            std::thread::sleep(MOMENT / 10);
            driver.set_device_status(0);
        }
    }
    works_after_reset(&mut driver, subject);
}

/// A driver may write to what it made available, against VIRTIO 1.3 §2.7.13: the device looks at
/// each thing once.
pub(super) fn descriptors_that_change_under_the_device_harm_nobody<T: TransportDriver>(
    subject: &Subject,
) {
    let mut driver = T::with_device(subject.device());
    let end = driver.ram().last_addr().0 + 1;
    driver.run();
    let queue = usize::from(subject.queue);
    driver.rings()[queue].add(&subject.parts(), &subject.writable);
    let (desc, memory) = (driver.rings()[queue].desc, driver.ram().clone());
    driver.notify(subject.queue);
    // Not even a racing driver gets the device out of RAM.
    for round in 0..2000_u64 {
        let address = if round % 2 == 0 { end - 1 } else { SPARE };
        for index in 0..4 {
            let at = GuestAddress(desc + 16 * index);
            memory.write_obj(address, at).unwrap();
        }
        driver.rings()[queue].set_avail_idx(u16::try_from(round).unwrap());
        driver.notify(subject.queue);
    }
    works_after_reset(&mut driver, subject);
}

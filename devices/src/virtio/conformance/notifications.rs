//! Notifications both ways.

use vm_memory::{Bytes, GuestAddress};

use super::devices::Subject;
use super::status::enter;
use super::{MOMENT, works_after_reset};
use crate::virtio::testing::TransportDriver;
use crate::virtio::testing::pci::wait;

/// VIRTIO 1.3 §2.9 knows no notification of a queue that is not there: it is nothing.
pub(super) fn absent_queues_can_be_notified_in_every_state<T: TransportDriver>(subject: &Subject) {
    let mut driver = T::with_device(subject.device());
    for state in [0, 1, 3, 11, 15] {
        enter(&mut driver, state);
        for queue in 0..=subject.queues() {
            driver.notify(queue);
        }
        for queue in [63, 64, 255] {
            driver.notify(queue);
        }
        std::thread::sleep(MOMENT / 10);
        assert_eq!(driver.device_status(), state);
    }
    subject.probe(&mut driver);
    works_after_reset(&mut driver, subject);
}

/// VIRTIO 1.3 §2.7.7.2: VIRTQ_AVAIL_F_NO_INTERRUPT, where the event index was not negotiated.
pub(super) fn a_driver_that_wants_no_interrupts_gets_none<T: TransportDriver>(subject: &Subject) {
    let mut driver = T::with_device(subject.device());
    driver.run();
    let before = driver.queue_interrupts();
    subject.probe(&mut driver);
    wait(|| driver.queue_interrupts() > before);
    driver.run();
    let avail = driver.rings()[usize::from(subject.queue)].avail;
    driver.ram().write_obj(1_u16, GuestAddress(avail)).unwrap();
    let before = driver.queue_interrupts();
    subject.probe(&mut driver);
    std::thread::sleep(MOMENT);
    assert_eq!(driver.queue_interrupts(), before);
    works_after_reset(&mut driver, subject);
}

/// VIRTIO 1.3 §2.7.7.2: an interrupt when the used index passes `used_event`, none before.
pub(super) fn an_interrupt_comes_at_the_used_event<T: TransportDriver>(subject: &Subject) {
    let mut driver = T::with_device(subject.device());
    let queue = usize::from(subject.queue);
    for (event, interrupts) in [(0_u16, true), (1, false), (5, false), (u16::MAX, false)] {
        driver.run_without(0);
        let ring = &driver.rings()[queue];
        let used_event = ring.avail + 4 + 2 * u64::from(ring.size);
        driver
            .ram()
            .write_obj(event, GuestAddress(used_event))
            .unwrap();
        let before = driver.queue_interrupts();
        driver.rings()[queue].add(&subject.parts(), &subject.writable);
        driver.notify(subject.queue);
        if interrupts {
            // Before the chain is taken, which asks for the next one's interrupt instead.
            wait(|| driver.queue_interrupts() > before);
        }
        subject.check(&driver.used(subject.queue).data);
        if !interrupts {
            std::thread::sleep(MOMENT);
            assert_eq!(driver.queue_interrupts(), before, "used_event {event}");
        }
    }
    works_after_reset(&mut driver, subject);
}

/// VIRTIO 1.3 §3.1.1: buffers that are available when the driver sets DRIVER_OK need no
/// notification that came too early.
pub(super) fn buffers_available_before_driver_ok_are_used<T: TransportDriver>(subject: &Subject) {
    let mut driver = T::with_device(subject.device());
    enter(&mut driver, 11);
    driver.set_up_rings();
    driver.rings()[usize::from(subject.queue)].add(&subject.parts(), &subject.writable);
    driver.set_device_status(15);
    subject.check(&driver.used(subject.queue).data);
    works_after_reset(&mut driver, subject);
}

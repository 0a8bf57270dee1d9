//! Message-signalled interrupts, of the PCI transport alone.

use super::devices::Subject;
use super::{MOMENT, works_after_reset};
use crate::virtio::testing::pci::{MSI_ADDRESS, MSI_DATA, common, wait};
use crate::virtio::testing::{PciDriver, TransportDriver};

/// The machine of these tests.
pub(super) trait Functions: TransportDriver {
    /// The driver, as what it is.
    fn pci(&self) -> &PciDriver;
}

impl Functions for PciDriver {
    fn pci(&self) -> &PciDriver {
        self
    }
}

fn mask<T: Functions>(driver: &T, vector: u32, masked: bool) {
    let entry = driver.pci().at.table + 16 * u64::from(vector);
    driver
        .pci()
        .write(entry + 12, &u32::from(masked).to_le_bytes());
}

fn pending<T: Functions>(driver: &T, vector: u32) -> bool {
    let bits = u64::from_le_bytes(driver.pci().read(driver.pci().at.pending));
    bits & (1 << vector) != 0
}

/// PCI 3.0 §6.8.3.5: a masked vector's message waits in the pending bits.
pub(super) fn a_masked_vector_is_pending_until_it_is_unmasked<T: Functions>(subject: &Subject) {
    let mut driver = T::with_device(subject.device());
    driver.run();
    let vector = u32::from(subject.queue) + 1;
    mask(&driver, vector, true);
    subject.probe(&mut driver);
    wait(|| pending(&driver, vector));
    assert_eq!(driver.pci().messages(vector), 0);
    mask(&driver, vector, false);
    assert_eq!(driver.pci().messages(vector), 1);
    assert!(!pending(&driver, vector));
    // The function's own mask holds for every vector.
    driver.run();
    let msix = driver.pci().at.msix + 2;
    driver.pci().write_config(msix, &0xc000_u16.to_le_bytes());
    subject.probe(&mut driver);
    wait(|| pending(&driver, vector));
    assert_eq!(driver.pci().messages(vector), 1);
    driver.pci().write_config(msix, &0x8000_u16.to_le_bytes());
    assert_eq!(driver.pci().messages(vector), 2);
    works_after_reset(&mut driver, subject);
}

fn assign<T: Functions>(driver: &T, queue: u16, vector: u16) -> u16 {
    driver.select_queue(queue);
    let register = common::QUEUE_MSIX_VECTOR;
    driver.pci().set_common(register, &vector.to_le_bytes());
    driver.pci().common16(register)
}

/// VIRTIO 1.3 §4.1.5.1.2: the driver maps a queue to a vector, at any time; and where the vector's
/// message goes is the table's matter.
pub(super) fn a_vector_can_be_reassigned_while_the_device_runs<T: Functions>(subject: &Subject) {
    let mut driver = T::with_device(subject.device());
    driver.run();
    assert_eq!(assign(&driver, subject.queue, 0), 0);
    subject.probe(&mut driver);
    wait(|| driver.pci().messages(0) == 1);
    assert_eq!(driver.pci().messages(u32::from(subject.queue) + 1), 0);
    driver.run();
    let entry = driver.pci().at.table + 16 * (u64::from(subject.queue) + 1);
    driver.pci().write(entry + 8, &0x4321_u32.to_le_bytes());
    subject.probe(&mut driver);
    wait(|| driver.pci().platform.messages(MSI_ADDRESS, 0x4321) == 1);
    let data = MSI_DATA + u32::from(subject.queue) + 1;
    assert_eq!(driver.pci().platform.messages(MSI_ADDRESS, data), 0);
    works_after_reset(&mut driver, subject);
}

/// VIRTIO 1.3 §4.1.5.1.2: VIRTIO_MSI_NO_VECTOR unmaps a queue.
pub(super) fn without_a_vector_there_is_no_message<T: Functions>(subject: &Subject) {
    let mut driver = T::with_device(subject.device());
    driver.run();
    assert_eq!(assign(&driver, subject.queue, 0xffff), 0xffff);
    let before = driver.pci().platform.all_messages();
    subject.probe(&mut driver);
    std::thread::sleep(MOMENT);
    assert_eq!(driver.pci().platform.all_messages(), before);
    works_after_reset(&mut driver, subject);
}

/// VIRTIO 1.3 §4.1.5.1.2.1: what cannot be mapped reads back as VIRTIO_MSI_NO_VECTOR.
pub(super) fn an_impossible_vector_is_refused<T: Functions>(subject: &Subject) {
    let driver = T::with_device(subject.device());
    let count = u16::try_from(driver.pci().vectors()).unwrap();
    for queue in 0..subject.queues() {
        for vector in [count, 0x7fff, 0xfffe] {
            assert_eq!(assign(&driver, queue, vector), 0xffff);
        }
        assert_eq!(assign(&driver, queue, count - 1), count - 1);
    }
    driver
        .pci()
        .set_common(common::CONFIG_MSIX_VECTOR, &count.to_le_bytes());
    assert_eq!(driver.pci().common16(common::CONFIG_MSIX_VECTOR), 0xffff);
    assert_eq!(assign(&driver, subject.queues(), 0), 0xffff);
}

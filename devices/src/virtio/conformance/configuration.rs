//! The device-specific configuration.

use super::devices::Subject;
use super::status::enter;
use super::works_after_reset;
use crate::virtio::testing::TransportDriver;

/// More than any device has.
const LEN: u64 = 288;

fn bytes<T: TransportDriver>(driver: &T) -> Vec<u8> {
    let mut all = Vec::new();
    for offset in 0..LEN {
        let mut byte = [0xaa];
        driver.read_device_config(offset, &mut byte);
        all.extend(byte);
    }
    all
}

/// VIRTIO 1.3 §2.5, §4.1.3.1, §4.2.2.2: fields are little-endian and read in their own width or less.
pub(super) fn the_configuration_reads_the_same_in_every_width<T: TransportDriver>(
    subject: &Subject,
) {
    let mut driver = T::with_device(subject.device());
    for state in [0, 15] {
        enter(&mut driver, state);
        let all = bytes(&driver);
        for width in [1_usize, 2, 4, 8] {
            for offset in 0..all.len() - width {
                let mut data = vec![0xaa; width];
                driver.read_device_config(offset as u64, &mut data);
                assert_eq!(data, all[offset..offset + width], "{offset}+{width}");
            }
        }
    }
}

/// VIRTIO 1.3 §2.5.2: the driver writes only what the device type lets it; the rest is ignored.
pub(super) fn garbage_in_the_configuration_harms_nobody<T: TransportDriver>(subject: &Subject) {
    let mut driver = T::with_device(subject.device());
    for state in [0, 3, 11, 15] {
        enter(&mut driver, state);
        for offset in (0..LEN).chain([0xe00]) {
            for width in [1, 2, 4, 8] {
                driver.write_device_config(offset, &[0xff, 1, 0x80, 0, 0xaa, 0x55, 7, 9][..width]);
            }
        }
        assert_eq!(driver.device_status(), state);
    }
    works_after_reset(&mut driver, subject);
}

/// VIRTIO 1.3 §2.5, §4.1.4.3.1, §4.2.2.1: another generation tells of a change, and the same of none.
pub(super) fn the_generation_stands_still_with_the_configuration<T: TransportDriver>(
    subject: &Subject,
) {
    let mut driver = T::with_device(subject.device());
    driver.run();
    let (before, was) = (driver.generation(), bytes(&driver));
    subject.probe(&mut driver);
    let (now, is) = (driver.generation(), bytes(&driver));
    assert_eq!(before == now, was == is);
    assert_eq!(driver.generation(), now);
}

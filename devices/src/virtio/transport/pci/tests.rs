use super::*;
use crate::virtio::rng::Rng;
use crate::virtio::testing::PciDriver;

#[test]
fn a_driver_finds_and_runs_a_device() {
    let mut driver = PciDriver::new(Box::new(Rng));
    assert_eq!(driver.read_config(0), [0xf4, 0x1a, 0x44, 0x10]);
    assert_eq!(driver.read_config(8), [0x01, 0x00, 0xff, 0x00]);
    assert!(driver.platform.doorbells().is_empty());
    driver.start();
    assert_eq!(driver.platform.doorbells(), [driver.doorbell(0)]);
    let data = driver.request(0, &[], &[32]);
    assert_eq!(data.len(), 32);
    crate::virtio::testing::pci::wait(|| driver.messages(1) == 1);
}

#[test]
fn offsets_are_those_of_the_capabilities() {
    let driver = PciDriver::new(Box::new(Rng));
    let bar = driver.bar();
    assert_eq!(driver.at.table, bar + u64::from(TABLE));
    assert_eq!(driver.vectors(), 2);
}

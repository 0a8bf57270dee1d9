//! What the drivers of all transports have in common, so that one test runs over each.

use super::mmio::{MmioDriver, reg};
use super::pci::{PciDriver, common, wait};
use super::{Ring, Used};
use crate::GuestRam;
use crate::bus::Space;
use crate::virtio::core::{F_RING_EVENT_IDX, Part};
use crate::virtio::device::VirtioDevice;

/// Status after which a device runs: ACKNOWLEDGE, DRIVER, FEATURES_OK and DRIVER_OK.
pub const RUNNING: u8 = 15;

/// A driver and the machine around it, whatever its transport.
pub trait TransportDriver {
    /// The transport's name.
    const NAME: &'static str;

    /// A machine with `device` in it; no virtio register is written yet.
    fn with_device(device: Box<dyn VirtioDevice>) -> Self
    where
        Self: Sized;

    /// Guest RAM, from address 0.
    fn ram(&self) -> &GuestRam;
    /// The driver's half of the queues.
    fn rings(&mut self) -> &mut Vec<Ring>;

    /// The device status.
    fn device_status(&self) -> u8;
    /// Writes the device status.
    fn set_device_status(&self, status: u8);
    /// 32 of the offered features.
    fn device_features(&self, word: u32) -> u32;
    /// Accepts 32 of the features.
    fn set_driver_features(&self, word: u32, features: u32);
    /// Selects the queue that the calls below are about.
    fn select_queue(&self, index: u16);
    /// The largest size of the selected queue; 0 if there is none.
    fn queue_size_max(&self) -> u16;
    /// Chooses the selected queue's size.
    fn set_queue_size(&self, size: u16);
    /// Writes one of the selected queue's addresses.
    fn set_queue_address(&self, part: Part, address: u64);
    /// Writes the selected queue's enable register.
    fn enable_queue(&self, value: u16);
    /// Whether the selected queue is enabled.
    fn queue_enabled(&self) -> bool;
    /// Rings the doorbell of a queue, absent ones included.
    fn notify(&self, queue: u16);
    /// The generation of the configuration.
    fn generation(&self) -> u32;
    /// Reads the device's configuration.
    fn read_device_config(&self, offset: u64, data: &mut [u8]);
    /// Writes the device's configuration.
    fn write_device_config(&self, offset: u64, data: &[u8]);
    /// Used buffer notifications that arrived so far, for any queue.
    fn queue_interrupts(&self) -> usize;
    /// Configuration change notifications that arrived so far. A transport with one line counts
    /// all notifications.
    fn config_interrupts(&self) -> usize;
    /// Stops the device and lets it run again, as around a snapshot.
    fn pause_and_resume(&self);

    /// The offered features.
    fn offered(&self) -> u64 {
        u64::from(self.device_features(0)) | (u64::from(self.device_features(1)) << 32)
    }

    /// Writes all of the accepted features.
    fn accept(&self, features: u64) {
        self.set_driver_features(0, features as u32);
        self.set_driver_features(1, (features >> 32) as u32);
    }

    /// Resets the device and negotiates `features`; the status read back.
    fn negotiate_all(&self, features: u64) -> u8 {
        self.set_device_status(0);
        self.set_device_status(1);
        self.set_device_status(3);
        self.accept(features);
        self.set_device_status(11);
        self.device_status()
    }

    /// Empties every ring and sets its queue up.
    fn set_up_rings(&mut self) {
        for index in 0..self.rings().len() {
            self.set_up_ring(index);
        }
    }

    /// Empties the ring of one queue, at its present size, and sets the queue up.
    fn set_up_ring(&mut self, index: usize) {
        let ring = &mut self.rings()[index];
        ring.reset();
        let (size, desc, avail, used) = (ring.size, ring.desc, ring.avail, ring.used);
        self.select_queue(u16::try_from(index).unwrap());
        self.set_queue_size(size);
        self.set_queue_address(Part::Desc, desc);
        self.set_queue_address(Part::Avail, avail);
        self.set_queue_address(Part::Used, used);
        self.enable_queue(1);
    }

    /// Sets the device up with all it offers that is not in `without`, and runs it.
    fn run_without(&mut self, without: u64) {
        let features = self.offered() & !without;
        assert_eq!(self.negotiate_all(features), 11, "{}", Self::NAME);
        self.set_up_rings();
        self.set_device_status(RUNNING);
        assert_eq!(self.device_status(), RUNNING, "{}", Self::NAME);
    }

    /// Sets the device up with all it offers, and runs it. Index-based notification suppression is
    /// left out: it would make the number of interrupts depend on time.
    fn run(&mut self) {
        self.run_without(F_RING_EVENT_IDX);
    }

    /// Whether the device asks for a reset.
    fn needs_reset(&self) -> bool {
        self.device_status() & 64 != 0
    }

    /// The next used chain of `queue`, waiting for it.
    fn used(&mut self, queue: u16) -> Used {
        let mut used = None;
        let ring = &mut self.rings()[usize::from(queue)];
        wait(|| {
            used = ring.pop_used();
            used.is_some()
        });
        used.unwrap()
    }

    /// Sends a request and returns what the device wrote.
    fn answer(&mut self, queue: u16, readable: &[&[u8]], writable: &[u32]) -> Vec<u8> {
        self.rings()[usize::from(queue)].add(readable, writable);
        self.notify(queue);
        self.used(queue).data
    }
}

impl TransportDriver for PciDriver {
    const NAME: &'static str = "pci";

    fn with_device(device: Box<dyn VirtioDevice>) -> Self {
        let driver = Self::new(device);
        driver.set_common(common::CONFIG_MSIX_VECTOR, &0_u16.to_le_bytes());
        driver
    }

    fn ram(&self) -> &GuestRam {
        &self.mem
    }

    fn rings(&mut self) -> &mut Vec<Ring> {
        &mut self.rings
    }

    fn device_status(&self) -> u8 {
        self.status()
    }

    fn set_device_status(&self, status: u8) {
        self.set_status(status);
        if status == 0 {
            // A reset takes the vectors away (VIRTIO 1.3 §4.1.5.1.2.1).
            self.set_common(common::CONFIG_MSIX_VECTOR, &0_u16.to_le_bytes());
        }
    }

    fn device_features(&self, word: u32) -> u32 {
        self.set_common(common::DEVICE_FEATURE_SELECT, &word.to_le_bytes());
        u32::from_le_bytes(self.read(self.at.common + common::DEVICE_FEATURE))
    }

    fn set_driver_features(&self, word: u32, features: u32) {
        self.set_common(common::DRIVER_FEATURE_SELECT, &word.to_le_bytes());
        self.set_common(common::DRIVER_FEATURE, &features.to_le_bytes());
    }

    fn select_queue(&self, index: u16) {
        self.set_common(common::QUEUE_SELECT, &index.to_le_bytes());
    }

    fn queue_size_max(&self) -> u16 {
        self.common16(common::QUEUE_SIZE)
    }

    fn set_queue_size(&self, size: u16) {
        self.set_common(common::QUEUE_SIZE, &size.to_le_bytes());
    }

    fn set_queue_address(&self, part: Part, address: u64) {
        let offset = match part {
            Part::Desc => common::QUEUE_DESC,
            Part::Avail => common::QUEUE_DRIVER,
            Part::Used => common::QUEUE_DEVICE,
        };
        self.set_common(offset, &address.to_le_bytes());
    }

    fn enable_queue(&self, value: u16) {
        let index = self.common16(common::QUEUE_SELECT);
        self.set_common(
            common::QUEUE_MSIX_VECTOR,
            &index.wrapping_add(1).to_le_bytes(),
        );
        self.set_common(common::QUEUE_ENABLE, &value.to_le_bytes());
    }

    fn queue_enabled(&self) -> bool {
        self.common16(common::QUEUE_ENABLE) == 1
    }

    fn notify(&self, queue: u16) {
        self.kick(queue);
    }

    fn generation(&self) -> u32 {
        let [generation] = self.read(self.at.common + common::CONFIG_GENERATION);
        generation.into()
    }

    fn read_device_config(&self, offset: u64, data: &mut [u8]) {
        self.mmio.read(self.at.device + offset, data);
    }

    fn write_device_config(&self, offset: u64, data: &[u8]) {
        self.write(self.at.device + offset, data);
    }

    fn queue_interrupts(&self) -> usize {
        (1..self.vectors())
            .map(|vector| self.messages(vector))
            .sum()
    }

    fn config_interrupts(&self) -> usize {
        self.messages(0)
    }

    fn pause_and_resume(&self) {
        self.pci.pause();
        self.pci.resume();
    }
}

impl TransportDriver for MmioDriver {
    const NAME: &'static str = "mmio";

    fn with_device(device: Box<dyn VirtioDevice>) -> Self {
        Self::new(device)
    }

    fn ram(&self) -> &GuestRam {
        &self.mem
    }

    fn rings(&mut self) -> &mut Vec<Ring> {
        &mut self.rings
    }

    fn device_status(&self) -> u8 {
        u8::try_from(self.get(reg::STATUS)).unwrap()
    }

    fn set_device_status(&self, status: u8) {
        self.set(reg::STATUS, status.into());
    }

    fn device_features(&self, word: u32) -> u32 {
        self.set(reg::DEVICE_FEATURES_SEL, word);
        self.get(reg::DEVICE_FEATURES)
    }

    fn set_driver_features(&self, word: u32, features: u32) {
        self.set(reg::DRIVER_FEATURES_SEL, word);
        self.set(reg::DRIVER_FEATURES, features);
    }

    fn select_queue(&self, index: u16) {
        self.set(reg::QUEUE_SEL, index.into());
    }

    fn queue_size_max(&self) -> u16 {
        u16::try_from(self.get(reg::QUEUE_SIZE_MAX)).unwrap()
    }

    fn set_queue_size(&self, size: u16) {
        self.set(reg::QUEUE_SIZE, size.into());
    }

    fn set_queue_address(&self, part: Part, address: u64) {
        let register = match part {
            Part::Desc => reg::QUEUE_DESC,
            Part::Avail => reg::QUEUE_DRIVER,
            Part::Used => reg::QUEUE_DEVICE,
        };
        self.set_64(register, address);
    }

    fn enable_queue(&self, value: u16) {
        self.set(reg::QUEUE_READY, value.into());
    }

    fn queue_enabled(&self) -> bool {
        self.get(reg::QUEUE_READY) == 1
    }

    fn notify(&self, queue: u16) {
        let taken = self.platform.ring(
            (Space::Memory, super::mmio::BASE + reg::QUEUE_NOTIFY),
            queue.into(),
        );
        if !taken {
            self.set(reg::QUEUE_NOTIFY, queue.into());
        }
    }

    fn generation(&self) -> u32 {
        self.get(reg::CONFIG_GENERATION)
    }

    fn read_device_config(&self, offset: u64, data: &mut [u8]) {
        self.mmio
            .read(super::mmio::BASE + reg::CONFIG + offset, data);
    }

    fn write_device_config(&self, offset: u64, data: &[u8]) {
        self.write(reg::CONFIG + offset, data);
    }

    fn queue_interrupts(&self) -> usize {
        self.line.edges()
    }

    fn config_interrupts(&self) -> usize {
        self.line.edges()
    }

    fn pause_and_resume(&self) {
        MmioDriver::pause_and_resume(self);
    }
}

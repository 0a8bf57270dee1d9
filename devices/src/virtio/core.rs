//! What every virtio transport shares: feature negotiation, the device status and the queue
//! registers (VIRTIO 1.3 §2.1, §2.2, §3.1.1), as a pure state machine.
//!
//! A transport decodes its accesses into calls of [`Core`]. A driver that breaks a rule finds its
//! write without effect and `DEVICE_NEEDS_RESET` in the status; only a reset leads on from there.

mod health;
mod queues;

pub use health::Health;
pub use queues::{Part, QueueRegs, QueueStateV1};

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::GuestRam;
use crate::persist::PersistError;
use crate::virtio::device::DeviceInfo;
use crate::virtio::queue::{QueueError, VirtQueue};

/// The driver may hang a table of descriptors from one descriptor (VIRTIO 1.3 §6).
pub const F_RING_INDIRECT_DESC: u64 = 1 << 28;
/// Both sides suppress notifications by index (VIRTIO 1.3 §6).
pub const F_RING_EVENT_IDX: u64 = 1 << 29;
/// The device follows VIRTIO 1.x and not the legacy interface (VIRTIO 1.3 §6).
pub const F_VERSION_1: u64 = 1 << 32;

/// The feature bits that the framework offers for every device.
pub const TRANSPORT_FEATURES: u64 = F_RING_INDIRECT_DESC | F_RING_EVENT_IDX | F_VERSION_1;

bitflags::bitflags! {
    /// The device status (VIRTIO 1.3 §2.1).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Status: u8 {
        /// The guest found the device.
        const ACKNOWLEDGE = 1;
        /// The guest has a driver for it.
        const DRIVER = 2;
        /// The driver is ready; the device runs.
        const DRIVER_OK = 4;
        /// Features are agreed on.
        const FEATURES_OK = 8;
        /// The device cannot go on.
        const NEEDS_RESET = 64;
        /// The driver gave up.
        const FAILED = 128;
    }
}

/// What a write to the status asks of the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Change {
    /// Nothing.
    None,
    /// The device is reset: take it back.
    Reset,
    /// The driver is ready: run the device.
    Activate,
}

/// The registers of a device.
#[derive(Debug)]
pub struct Core {
    offered: u64,
    driver_features: u64,
    device_features_select: u32,
    driver_features_select: u32,
    status: Status,
    queue_select: u16,
    queues: Vec<QueueRegs>,
    health: Arc<Health>,
}

impl Core {
    /// The registers of a device that was just reset.
    pub fn new(info: &DeviceInfo, health: Arc<Health>) -> Self {
        Self {
            offered: info.features | TRANSPORT_FEATURES,
            driver_features: 0,
            device_features_select: 0,
            driver_features_select: 0,
            status: Status::empty(),
            queue_select: 0,
            queues: info
                .queue_sizes
                .iter()
                .copied()
                .map(QueueRegs::new)
                .collect(),
            health,
        }
    }

    /// Offers the framework's `features` no longer.
    pub(crate) fn withhold(&mut self, features: u64) {
        self.offered &= !features;
    }

    /// Whether the device can go on.
    #[must_use]
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// The driver broke a rule: the device needs a reset.
    pub(in crate::virtio) fn violation(&self, why: &'static str) {
        self.health.fail(self.running(), &why);
    }

    /// Whether the driver set `DRIVER_OK`.
    #[must_use]
    pub fn running(&self) -> bool {
        self.status.contains(Status::DRIVER_OK)
    }

    /// The device status register.
    #[must_use]
    pub fn status(&self) -> u8 {
        let mut status = self.status;
        status.set(Status::NEEDS_RESET, self.health.needs_reset());
        status.bits()
    }

    /// Takes a write of the device status register.
    pub fn write_status(&mut self, value: u8) -> Change {
        if value == 0 {
            return Change::Reset;
        }
        let value = Status::from_bits_retain(value) - Status::NEEDS_RESET;
        let new = value - self.status;
        if new.contains(Status::FAILED) {
            self.status |= Status::FAILED;
        }
        if self.health.needs_reset() || self.status.contains(Status::FAILED) {
            return Change::None;
        }
        if !value.contains(self.status) {
            self.violation("the driver cleared a status bit");
            return Change::None;
        }
        let steps = [
            (Status::ACKNOWLEDGE, Status::empty()),
            (Status::DRIVER, Status::ACKNOWLEDGE),
            (Status::FEATURES_OK, Status::DRIVER),
            (Status::DRIVER_OK, Status::FEATURES_OK),
        ];
        for (step, after) in steps {
            if !new.contains(step) {
                continue;
            }
            if !self.status.contains(after) {
                self.violation("the driver set status bits out of order");
                return Change::None;
            }
            if step == Status::FEATURES_OK && !self.features_acceptable() {
                // The driver finds the bit missing when it reads back (VIRTIO 1.3 §3.1.1).
                continue;
            }
            self.status |= step;
        }
        if new.contains(Status::DRIVER_OK) {
            Change::Activate
        } else {
            Change::None
        }
    }

    /// Puts every register back to its value at power-on.
    pub fn reset(&mut self) {
        self.driver_features = 0;
        self.device_features_select = 0;
        self.driver_features_select = 0;
        self.status = Status::empty();
        self.queue_select = 0;
        for queue in &mut self.queues {
            *queue = QueueRegs::new(queue.max_size);
        }
        self.health.set(false);
    }

    fn features_acceptable(&self) -> bool {
        self.driver_features & !self.offered == 0 && self.driver_features & F_VERSION_1 != 0
    }

    /// The features that the driver accepted.
    #[must_use]
    pub fn driver_features(&self) -> u64 {
        self.driver_features
    }

    /// The selector of [`Core::device_features_word`].
    #[must_use]
    pub fn device_features_select(&self) -> u32 {
        self.device_features_select
    }

    /// Selects 32 of the offered features.
    pub fn select_device_features(&mut self, select: u32) {
        self.device_features_select = select;
    }

    /// The offered features selected; words past the second read as zero.
    #[must_use]
    pub fn device_features_word(&self) -> u32 {
        word(self.offered, self.device_features_select)
    }

    /// The selector of [`Core::driver_features_word`].
    #[must_use]
    pub fn driver_features_select(&self) -> u32 {
        self.driver_features_select
    }

    /// Selects 32 of the accepted features.
    pub fn select_driver_features(&mut self, select: u32) {
        self.driver_features_select = select;
    }

    /// The accepted features selected.
    #[must_use]
    pub fn driver_features_word(&self) -> u32 {
        word(self.driver_features, self.driver_features_select)
    }

    /// Takes the driver's choice of the selected 32 features; bits that were not offered are
    /// remembered, and refuse `FEATURES_OK`. There is no third word: a bit in one is refused so too.
    pub fn write_driver_features(&mut self, value: u32) {
        if self.status.contains(Status::FEATURES_OK) {
            self.violation("the driver changed features after FEATURES_OK");
            return;
        }
        let value = u64::from(value);
        match self.driver_features_select {
            0 => self.driver_features = (self.driver_features & !0xffff_ffff) | value,
            1 => self.driver_features = (self.driver_features & 0xffff_ffff) | (value << 32),
            _ if value != 0 => self.violation("the driver accepted a feature above bit 63"),
            _ => {}
        }
    }

    /// The number of queues.
    #[must_use]
    pub fn queue_count(&self) -> u16 {
        u16::try_from(self.queues.len()).unwrap_or(u16::MAX)
    }

    /// The queue selector.
    #[must_use]
    pub fn queue_select(&self) -> u16 {
        self.queue_select
    }

    /// Selects the queue that the queue registers show; any value is allowed.
    pub fn select_queue(&mut self, index: u16) {
        self.queue_select = index;
    }

    /// The selected queue's registers; `None` if there is no such queue.
    #[must_use]
    pub fn queue(&self) -> Option<&QueueRegs> {
        self.queues.get(usize::from(self.queue_select))
    }

    /// Whether queue `index` is enabled.
    #[must_use]
    pub fn queue_enabled(&self, index: u16) -> bool {
        let queue = self.queues.get(usize::from(index));
        queue.is_some_and(|queue| queue.enabled)
    }

    /// The selected queue's registers for a write. Once the queue is enabled or the device runs,
    /// they are fixed until the next reset (VIRTIO 1.3 §4.1.4.3.2).
    fn queue_mut(&mut self) -> Option<&mut QueueRegs> {
        let enabled = self.queue()?.enabled;
        if self.health.needs_reset() {
            return None;
        }
        if self.running() || enabled {
            self.violation("the driver changed a queue in use");
            return None;
        }
        self.queues.get_mut(usize::from(self.queue_select))
    }

    /// Takes a write of the selected queue's size.
    pub fn set_queue_size(&mut self, size: u16) {
        let Some(queue) = self.queue_mut() else {
            return;
        };
        if size.is_power_of_two() && size <= queue.max_size {
            queue.size = size;
        } else {
            self.violation("the driver chose an invalid queue size");
        }
    }

    /// Takes a write of 32 bits of one of the selected queue's addresses.
    pub fn set_queue_address(&mut self, part: Part, high: bool, value: u32) {
        let Some(queue) = self.queue_mut() else {
            return;
        };
        let address = queue.address_mut(part);
        *address = if high {
            (*address & 0xffff_ffff) | (u64::from(value) << 32)
        } else {
            (*address & !0xffff_ffff) | u64::from(value)
        };
    }

    /// Takes a write of the selected queue's enable register.
    pub fn enable_queue(&mut self, value: u16) {
        let Some(queue) = self.queue_mut() else {
            return;
        };
        if value == 1 {
            queue.enabled = true;
        } else {
            self.violation("the driver disabled a queue");
        }
    }

    /// Takes the selected queue out of use, of a device that does not run at the moment. Where that
    /// is for good ([`Core::running`]), its registers stay fixed until the next reset.
    pub fn disable_queue(&mut self) {
        let index = usize::from(self.queue_select);
        if let Some(queue) = self.queues.get_mut(index) {
            queue.enabled = false;
        }
    }

    /// The queues as the driver set them up, to lend to the device.
    ///
    /// # Errors
    /// An enabled queue's rings are misaligned or not in guest RAM.
    pub fn build_queues(&self, mem: &GuestRam) -> Result<Vec<VirtQueue>, QueueError> {
        let build = |queue: &QueueRegs| queue.build(self.driver_features, mem);
        self.queues.iter().map(build).collect()
    }

    /// Notes where the device stopped in the rings.
    pub fn park_queues(&mut self, stopped: &[VirtQueue]) {
        for (regs, queue) in self.queues.iter_mut().zip(stopped) {
            regs.park(&queue.state());
        }
    }

    /// The state to save, of a device that does not run.
    #[must_use]
    pub fn save(&self) -> CoreStateV1 {
        CoreStateV1 {
            status: self.status(),
            driver_features: self.driver_features,
            device_features_select: self.device_features_select,
            driver_features_select: self.driver_features_select,
            queue_select: self.queue_select,
            queues: self.queues.iter().map(QueueRegs::save).collect(),
        }
    }

    /// Takes back what [`Core::save`] wrote.
    ///
    /// # Errors
    /// The state is not one that a driver could have brought about.
    pub fn restore(&mut self, state: &CoreStateV1) -> Result<(), PersistError> {
        let invalid = |what: &str| Err(PersistError::Invalid(what.to_owned()));
        let status = Status::from_bits_retain(state.status);
        if status.contains(Status::FEATURES_OK) {
            self.driver_features = state.driver_features;
            if !self.features_acceptable() {
                return invalid("features were never offered");
            }
        }
        let order = [
            Status::DRIVER_OK,
            Status::FEATURES_OK,
            Status::DRIVER,
            Status::ACKNOWLEDGE,
        ];
        let ordered = order
            .windows(2)
            .all(|pair| !status.contains(pair[0]) || status.contains(pair[1]));
        if !ordered || Status::from_bits(state.status).is_none() {
            return invalid("device status");
        }
        if state.queues.len() != self.queues.len() {
            return invalid("number of queues");
        }
        for (regs, saved) in self.queues.iter_mut().zip(&state.queues) {
            if !regs.restore(saved) {
                return invalid("queue size");
            }
        }
        self.driver_features = state.driver_features;
        self.device_features_select = state.device_features_select;
        self.driver_features_select = state.driver_features_select;
        self.queue_select = state.queue_select;
        self.health.set(status.contains(Status::NEEDS_RESET));
        self.status = status - Status::NEEDS_RESET;
        Ok(())
    }
}

fn word(features: u64, select: u32) -> u32 {
    match select {
        0 => features as u32,
        1 => (features >> 32) as u32,
        _ => 0,
    }
}

/// The saved registers of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoreStateV1 {
    /// The device status.
    pub status: u8,
    /// The accepted features.
    pub driver_features: u64,
    /// The feature selectors.
    pub device_features_select: u32,
    /// The selector of the accepted features.
    pub driver_features_select: u32,
    /// The queue selector.
    pub queue_select: u16,
    /// The queues.
    pub queues: Vec<QueueStateV1>,
}

#[cfg(test)]
mod tests;

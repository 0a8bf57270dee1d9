//! Virtio over MMIO (VIRTIO 1.3 §4.2), version 2 only: one page of registers and one wired
//! interrupt.
//!
//! The interrupt is edge-triggered: each notification is an edge of its own. A driver reads and
//! acknowledges the status before it looks into the rings, so no edge is ever missed for good.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};

use super::doorbells::{PlacedDoorbells, Row};
use super::{Attached, AttachedStateV1, VirtioContext};
use crate::bus::{BusDevice, Effect, Space};
use crate::persist::{Payload, PersistError};
use crate::platform::{DoorbellPlace, InterruptLine};
use crate::virtio::core::Part;
use crate::virtio::device::{Interrupt, VirtioDevice};
use crate::virtio::queue::QueueError;

/// "virt" (VIRTIO 1.3 §4.2.2).
const MAGIC: u32 = 0x7472_6976;
const VERSION: u32 = 2;
const VENDOR: u32 = u32::from_le_bytes(*b"PCPV");

/// The registers (VIRTIO 1.3 §4.2.2).
mod reg {
    pub(super) const MAGIC: u64 = 0x000;
    pub(super) const VERSION: u64 = 0x004;
    pub(super) const DEVICE_ID: u64 = 0x008;
    pub(super) const VENDOR_ID: u64 = 0x00c;
    pub(super) const DEVICE_FEATURES: u64 = 0x010;
    pub(super) const DEVICE_FEATURES_SEL: u64 = 0x014;
    pub(super) const DRIVER_FEATURES: u64 = 0x020;
    pub(super) const DRIVER_FEATURES_SEL: u64 = 0x024;
    pub(super) const QUEUE_SEL: u64 = 0x030;
    pub(super) const QUEUE_SIZE_MAX: u64 = 0x034;
    pub(super) const QUEUE_SIZE: u64 = 0x038;
    pub(super) const QUEUE_READY: u64 = 0x044;
    pub(super) const QUEUE_NOTIFY: u64 = 0x050;
    pub(super) const INTERRUPT_STATUS: u64 = 0x060;
    pub(super) const INTERRUPT_ACK: u64 = 0x064;
    pub(super) const STATUS: u64 = 0x070;
    pub(super) const QUEUE_DESC_LOW: u64 = 0x080;
    pub(super) const QUEUE_DESC_HIGH: u64 = 0x084;
    pub(super) const QUEUE_DRIVER_LOW: u64 = 0x090;
    pub(super) const QUEUE_DRIVER_HIGH: u64 = 0x094;
    pub(super) const QUEUE_DEVICE_LOW: u64 = 0x0a0;
    pub(super) const QUEUE_DEVICE_HIGH: u64 = 0x0a4;
    /// Length and base of a shared memory region; all ones where there is none.
    pub(super) const SHM_LEN_LOW: u64 = 0x0b0;
    pub(super) const SHM_BASE_HIGH: u64 = 0x0bc;
    pub(super) const CONFIG_GENERATION: u64 = 0x0fc;
    pub(super) const CONFIG: u64 = 0x100;
}

/// Interrupt status bits (VIRTIO 1.3 §4.2.2).
const USED_BUFFER: u32 = 1;
const CONFIG_CHANGE: u32 = 2;

struct MmioInterrupt {
    status: AtomicU32,
    line: Box<dyn InterruptLine>,
}

impl fmt::Debug for MmioInterrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MmioInterrupt").field(&self.line).finish()
    }
}

impl MmioInterrupt {
    fn raise(&self, bit: u32) {
        self.status.fetch_or(bit, Ordering::AcqRel);
        if let Err(error) = self.line.pulse() {
            log::debug!("virtio-mmio interrupt: {error}");
        }
    }
}

impl Interrupt for MmioInterrupt {
    fn queue(&self, _index: u16) {
        self.raise(USED_BUFFER);
    }

    fn config(&self) {
        self.raise(CONFIG_CHANGE);
    }
}

/// A virtio device behind a page of registers.
#[derive(Debug)]
pub struct VirtioMmio {
    id: u32,
    address: u64,
    attached: Attached,
    interrupt: Arc<MmioInterrupt>,
    doorbells: PlacedDoorbells,
}

impl VirtioMmio {
    /// The length of the registers.
    pub const LEN: u64 = 0x1000;

    /// Puts `device` behind the registers at guest-physical `address`; it interrupts by `line`.
    ///
    /// # Errors
    /// The device asks for an impossible queue size.
    pub fn new(
        name: &str,
        device: Box<dyn VirtioDevice>,
        address: u64,
        line: Box<dyn InterruptLine>,
        ctx: &VirtioContext,
    ) -> Result<Self, QueueError> {
        let interrupt = Arc::new(MmioInterrupt {
            status: AtomicU32::new(0),
            line,
        });
        Ok(Self {
            id: device.info().id,
            address,
            attached: Attached::new(name, device, interrupt.clone(), ctx)?,
            interrupt,
            doorbells: PlacedDoorbells::new(Arc::clone(&ctx.platform)),
        })
    }

    fn sync_doorbells(&mut self) {
        let first = DoorbellPlace {
            space: Space::Memory,
            address: self.address + reg::QUEUE_NOTIFY,
            value: Some(0),
        };
        self.doorbells
            .sync(&self.attached, Some(Row { first, stride: 0 }));
    }

    fn read_register(&mut self, offset: u64) -> u32 {
        let core = &self.attached.core;
        match offset {
            reg::MAGIC => MAGIC,
            reg::VERSION => VERSION,
            reg::DEVICE_ID => self.id,
            reg::VENDOR_ID => VENDOR,
            reg::DEVICE_FEATURES => core.device_features_word(),
            reg::QUEUE_SIZE_MAX => core.queue().map_or(0, |queue| queue.max_size.into()),
            reg::QUEUE_READY => core.queue().map_or(0, |queue| queue.enabled.into()),
            reg::INTERRUPT_STATUS => self.interrupt.status.load(Ordering::Acquire),
            reg::STATUS => core.status().into(),
            reg::SHM_LEN_LOW..=reg::SHM_BASE_HIGH => u32::MAX,
            reg::CONFIG_GENERATION => self.attached.config_generation().into(),
            _ => 0,
        }
    }

    fn write_register(&mut self, offset: u64, value: u32) {
        let core = &mut self.attached.core;
        match offset {
            reg::DEVICE_FEATURES_SEL => core.select_device_features(value),
            reg::DRIVER_FEATURES => core.write_driver_features(value),
            reg::DRIVER_FEATURES_SEL => core.select_driver_features(value),
            // No device has so many queues that the last index is one of them.
            reg::QUEUE_SEL => core.select_queue(u16::try_from(value).unwrap_or(u16::MAX)),
            reg::QUEUE_SIZE => core.set_queue_size(u16::try_from(value).unwrap_or(0)),
            reg::QUEUE_READY => self.write_ready(value),
            reg::QUEUE_NOTIFY => self.attached.ring(value as usize),
            reg::INTERRUPT_ACK => {
                self.interrupt.status.fetch_and(!value, Ordering::AcqRel);
            }
            reg::STATUS => self.write_status(value),
            reg::QUEUE_DESC_LOW => core.set_queue_address(Part::Desc, false, value),
            reg::QUEUE_DESC_HIGH => core.set_queue_address(Part::Desc, true, value),
            reg::QUEUE_DRIVER_LOW => core.set_queue_address(Part::Avail, false, value),
            reg::QUEUE_DRIVER_HIGH => core.set_queue_address(Part::Avail, true, value),
            reg::QUEUE_DEVICE_LOW => core.set_queue_address(Part::Used, false, value),
            reg::QUEUE_DEVICE_HIGH => core.set_queue_address(Part::Used, true, value),
            _ => {}
        }
    }

    /// One puts the queue into use; zero takes it out, even of a device that runs
    /// (VIRTIO 1.3 §4.2.2.2).
    fn write_ready(&mut self, value: u32) {
        let core = &mut self.attached.core;
        if value != 0 {
            return core.enable_queue(u16::try_from(value).unwrap_or(u16::MAX));
        }
        if !core.queue().is_some_and(|queue| queue.enabled) || core.health().needs_reset() {
            return;
        }
        self.attached.pause();
        self.attached.core.disable_queue();
        self.attached.resume();
        self.sync_doorbells();
    }

    fn write_status(&mut self, value: u32) {
        let Ok(value) = u8::try_from(value) else {
            self.attached
                .core
                .violation("the driver wrote a status of more than 8 bits");
            return;
        };
        if self.attached.write_status(value) {
            self.interrupt.status.store(0, Ordering::Release);
        }
        self.sync_doorbells();
    }

    /// Stops the device for a pause, a snapshot or an unplug.
    pub fn pause(&mut self) {
        self.attached.pause();
        self.sync_doorbells();
    }

    /// Runs it again if its driver had it running.
    pub fn resume(&mut self) {
        self.attached.resume();
        self.sync_doorbells();
    }

    /// The state to save, of a paused device.
    ///
    /// # Errors
    /// The device runs or cannot be saved.
    pub fn save(&self) -> Result<Payload, PersistError> {
        let state = VirtioMmioStateV1 {
            attached: self.attached.save()?,
            interrupt: self.interrupt.status.load(Ordering::Acquire),
        };
        Payload::pack(KIND, 1, &state)
    }

    /// Takes back what [`VirtioMmio::save`] wrote.
    ///
    /// # Errors
    /// The state is of another device or breaks a rule.
    pub fn restore(&mut self, state: &Payload) -> Result<(), PersistError> {
        let state: VirtioMmioStateV1 = state.unpack(KIND, 1)?;
        if state.interrupt & !(USED_BUFFER | CONFIG_CHANGE) != 0 {
            return Err(PersistError::Invalid("interrupt status".to_owned()));
        }
        self.attached.restore(state.attached)?;
        let status = &self.interrupt.status;
        status.store(state.interrupt, Ordering::Release);
        Ok(())
    }
}

impl BusDevice for VirtioMmio {
    /// Registers are read by aligned accesses of 32 bits (VIRTIO 1.3 §4.2.2.2); any other reads as
    /// zero.
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        if let Some(offset) = offset.checked_sub(reg::CONFIG) {
            return self.attached.read_config(offset, data);
        }
        match <&mut [u8; 4]>::try_from(&mut *data) {
            Ok(word) if offset.is_multiple_of(4) => {
                *word = self.read_register(offset).to_le_bytes();
            }
            _ => data.fill(0),
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Effect {
        if let Some(offset) = offset.checked_sub(reg::CONFIG) {
            self.attached.write_config(offset, data);
        } else if let Ok(word) = <[u8; 4]>::try_from(data)
            && offset.is_multiple_of(4)
        {
            self.write_register(offset, u32::from_le_bytes(word));
        }
        Effect::None
    }
}

const KIND: &str = "virtio-mmio";

/// The saved state of a device behind registers.
#[derive(Debug, Serialize, Deserialize)]
struct VirtioMmioStateV1 {
    attached: AttachedStateV1,
    interrupt: u32,
}

#[cfg(test)]
mod tests;

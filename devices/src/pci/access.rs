//! The ways to a bus: ECAM, the configuration ports and the windows of the BARs.

use std::sync::{Arc, Mutex};

use super::bus::{ECAM_BUS_SIZE, Root};
use crate::bus::{BusDevice, Effect, Space};
use crate::lock;

/// Configuration space in memory (PCI Express 5.0 §7.2.2).
pub(super) struct Ecam(pub(super) Arc<Mutex<Root>>);

impl BusDevice for Ecam {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        if offset < ECAM_BUS_SIZE {
            lock(&self.0).read_config(offset, data);
        } else {
            data.fill(0xff);
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Effect {
        if offset < ECAM_BUS_SIZE {
            lock(&self.0).write_config(offset, data);
        }
        Effect::None
    }
}

/// Configuration space by ports 0xcf8 and 0xcfc (PCI 3.0 §3.2.2.3.2), with the reset control
/// register that chip sets keep in between at 0xcf9.
pub(super) struct Ports {
    root: Arc<Mutex<Root>>,
    address: u32,
}

const ENABLE: u32 = 1 << 31;
const RESET_CONTROL: u64 = 1;
const RESET_CPU: u8 = 1 << 2;
const DATA: u64 = 4;

impl Ports {
    pub(super) fn new(root: Arc<Mutex<Root>>) -> Self {
        Self { root, address: 0 }
    }

    /// The address selected, as ECAM counts, for an access of `len` bytes at port `offset`.
    fn target(&self, offset: u64, len: usize) -> Option<u64> {
        let lane = offset.checked_sub(DATA)?;
        let bus = (self.address >> 16) & 0xff;
        if self.address & ENABLE == 0 || bus != 0 || lane + len as u64 > 4 {
            return None;
        }
        let function = u64::from((self.address >> 8) & 0xff);
        Some((function << 12) | u64::from(self.address & 0xfc) | lane)
    }
}

impl BusDevice for Ports {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        data.fill(0xff);
        if offset == 0 && data.len() == 4 {
            for (to, from) in data.iter_mut().zip(self.address.to_le_bytes()) {
                *to = from;
            }
        } else if offset == RESET_CONTROL && data.len() == 1 {
            data.fill(0);
        } else if let Some(address) = self.target(offset, data.len()) {
            lock(&self.root).read_config(address, data);
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Effect {
        match (offset, data) {
            (0, &[a, b, c, d]) => self.address = u32::from_le_bytes([a, b, c, d]),
            (RESET_CONTROL, &[value]) if value & RESET_CPU != 0 => return Effect::Reset,
            _ => {
                if let Some(address) = self.target(offset, data.len()) {
                    lock(&self.root).write_config(address, data);
                }
            }
        }
        Effect::None
    }
}

/// A window: whichever BAR is at the address takes the access.
pub(super) struct Window {
    pub(super) root: Arc<Mutex<Root>>,
    pub(super) space: Space,
    pub(super) start: u64,
}

impl BusDevice for Window {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        let address = self.start.wrapping_add(offset);
        lock(&self.root).read(self.space, address, data);
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Effect {
        let address = self.start.wrapping_add(offset);
        lock(&self.root).write(self.space, address, data);
        Effect::None
    }
}

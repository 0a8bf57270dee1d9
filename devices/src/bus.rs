//! The port-I/O and MMIO buses: from an address to the device that claims it.
//!
//! Used by vCPU threads. The map is fixed once the machine is built, so a look-up takes no lock;
//! each device sits in a slot of its own mutex.

use std::fmt;
use std::sync::{Arc, Mutex};

use crate::lock;

/// What an access asks of the whole machine. An effect is a value, so that no device needs a
/// handle to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Effect {
    /// Nothing beyond the device.
    #[default]
    None,
    /// The guest asked for a reset.
    Reset,
    /// The guest asked to be powered off.
    Shutdown,
    /// The guest's kernel panicked.
    Panic,
    /// The guest's kernel panicked and starts another that it had ready.
    CrashLoaded,
}

/// The two address spaces of a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// Guest-physical memory.
    Memory,
    /// I/O ports, 0 to 0xffff.
    Port,
}

/// A device reached by port or memory accesses.
pub trait BusDevice: Send {
    /// Answers a read of `data.len()` bytes at `offset` from the start of the device's range.
    fn read(&mut self, offset: u64, data: &mut [u8]);

    /// Takes a write of `data.len()` bytes at `offset` from the start of the device's range.
    fn write(&mut self, offset: u64, data: &[u8]) -> Effect;
}

/// A device that a bus and its other users share.
pub type BusSlot = Arc<Mutex<dyn BusDevice>>;

/// Why a range could not be claimed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("range {start:#x}+{len:#x} of {name} overlaps that of {other}")]
pub struct Overlap {
    name: String,
    start: u64,
    len: u64,
    other: String,
}

struct Entry {
    start: u64,
    len: u64,
    name: String,
    device: BusSlot,
}

/// One address space: sorted ranges, each with its device.
#[derive(Default)]
pub struct Bus {
    entries: Vec<Entry>,
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges = self
            .entries
            .iter()
            .map(|e| (format!("{:#x}+{:#x}", e.start, e.len), &e.name));
        f.debug_map().entries(ranges).finish()
    }
}

impl Bus {
    /// An empty bus.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives `start..start + len` to `device`.
    ///
    /// # Errors
    /// Another device has a part of the range.
    pub fn insert(
        &mut self,
        name: &str,
        start: u64,
        len: u64,
        device: BusSlot,
    ) -> Result<(), Overlap> {
        let at = self.entries.partition_point(|e| e.start < start);
        let before = at.checked_sub(1).and_then(|i| self.entries.get(i));
        let clash = before
            .filter(|e| start < e.start.saturating_add(e.len))
            .or_else(|| {
                self.entries
                    .get(at)
                    .filter(|e| e.start < start.saturating_add(len))
            });
        if let Some(other) = clash {
            let other = other.name.clone();
            return Err(Overlap {
                name: name.to_owned(),
                start,
                len,
                other,
            });
        }
        self.entries.insert(
            at,
            Entry {
                start,
                len,
                name: name.to_owned(),
                device,
            },
        );
        Ok(())
    }

    /// Reads from whatever claims `address`; an unclaimed address reads all ones.
    pub fn read(&self, address: u64, data: &mut [u8]) {
        match self.find(address) {
            Some((offset, device)) => lock(device).read(offset, data),
            None => data.fill(0xff),
        }
    }

    /// Writes to whatever claims `address`; a write that nobody claims is dropped.
    pub fn write(&self, address: u64, data: &[u8]) -> Effect {
        self.find(address).map_or(Effect::None, |(offset, device)| {
            lock(device).write(offset, data)
        })
    }

    fn find(&self, address: u64) -> Option<(u64, &BusSlot)> {
        let at = self
            .entries
            .partition_point(|e| e.start <= address)
            .checked_sub(1)?;
        let entry = self.entries.get(at)?;
        let offset = address - entry.start;
        (offset < entry.len).then_some((offset, &entry.device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Echo(u8);

    impl BusDevice for Echo {
        fn read(&mut self, offset: u64, data: &mut [u8]) {
            data.fill(self.0.wrapping_add(offset as u8));
        }

        fn write(&mut self, _offset: u64, _data: &[u8]) -> Effect {
            Effect::Reset
        }
    }

    fn echo(value: u8) -> BusSlot {
        Arc::new(Mutex::new(Echo(value)))
    }

    #[test]
    fn an_access_reaches_the_device_that_claims_it() {
        let mut bus = Bus::new();
        bus.insert("b", 0x20, 0x10, echo(2)).unwrap();
        bus.insert("a", 0x10, 0x10, echo(1)).unwrap();
        let mut data = [0];
        bus.read(0x13, &mut data);
        assert_eq!(data, [4]);
        bus.read(0x20, &mut data);
        assert_eq!(data, [2]);
        assert_eq!(bus.write(0x1f, &[0]), Effect::Reset);
    }

    #[test]
    fn an_unclaimed_address_reads_all_ones_and_drops_writes() {
        let mut bus = Bus::new();
        bus.insert("a", 0x10, 0x10, echo(1)).unwrap();
        let mut data = [0, 0];
        bus.read(0x20, &mut data);
        assert_eq!(data, [0xff, 0xff]);
        bus.read(0x0f, &mut data);
        assert_eq!(data, [0xff, 0xff]);
        assert_eq!(bus.write(u64::MAX, &[1]), Effect::None);
    }

    #[test]
    fn overlapping_ranges_are_refused_by_name() {
        let mut bus = Bus::new();
        bus.insert("a", 0x10, 0x10, echo(1)).unwrap();
        let clash = bus.insert("b", 0x1f, 1, echo(2)).unwrap_err();
        assert!(clash.to_string().contains("overlaps that of a"), "{clash}");
        assert!(bus.insert("c", 0x8, 9, echo(2)).is_err());
        assert!(bus.insert("d", 0x8, 8, echo(2)).is_ok());
    }
}

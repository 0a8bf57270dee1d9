//! The configuration space of one function: type 0 header, BARs and the capability list
//! (PCI 3.0 §6.1, §6.2, §6.7).
//!
//! Registers are bytes with a mask of the bits that software may write, so that an access of any
//! size at any offset has one meaning. What lies past the first 256 bytes (the extended space of
//! PCI Express) reads as zero: no extended capabilities.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::bus::Space;
use crate::persist::PersistError;

/// Bytes of configuration space that have registers.
pub const CONFIG_SIZE: usize = 256;

const VENDOR_ID: usize = 0x00;
const DEVICE_ID: usize = 0x02;
const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const REVISION: usize = 0x08;
const CLASS: usize = 0x09;
const BARS: usize = 0x10;
const SUBSYSTEM_VENDOR_ID: usize = 0x2c;
const SUBSYSTEM_ID: usize = 0x2e;
const CAPABILITIES: usize = 0x34;
const INTERRUPT_LINE: usize = 0x3c;
const FIRST_CAPABILITY: usize = 0x40;

const COMMAND_IO: u8 = 1 << 0;
const COMMAND_MEMORY: u8 = 1 << 1;
/// I/O space, memory space, bus master, parity error response; SERR, interrupt disable.
const COMMAND_WRITABLE: u16 = 0x0547;
const STATUS_CAPABILITIES: u16 = 1 << 4;

/// Who a function says it is.
#[derive(Debug, Clone, Copy)]
pub struct PciIds {
    /// Vendor and device.
    pub id: (u16, u16),
    /// Subsystem vendor and subsystem.
    pub subsystem: (u16, u16),
    /// Base class, subclass and programming interface, as 24 bits.
    pub class: u32,
    /// Revision.
    pub revision: u8,
}

/// The kind of a BAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BarKind {
    /// 32-bit memory, not prefetchable.
    Memory32,
    /// 64-bit memory, prefetchable; takes two BARs.
    Memory64,
    /// I/O ports, at most 256 (PCI 3.0 §6.2.5.1).
    Io,
}

impl BarKind {
    /// The BAR's bytes, and its lowest bits, which are fixed (PCI 3.0 §6.2.5.1).
    fn shape(self) -> (usize, u8) {
        match self {
            Self::Memory32 => (4, 0x0),
            Self::Memory64 => (8, 0xc),
            Self::Io => (4, 0x1),
        }
    }

    /// Whether a BAR of this kind can be BAR `index`, of `size` bytes.
    fn admits(self, index: usize, size: u64) -> bool {
        let (last, sizes) = match self {
            Self::Memory32 => (5, 16..=1 << 31),
            Self::Memory64 => (4, 16..=1 << 63),
            Self::Io => (5, 4..=256),
        };
        index <= last && sizes.contains(&size) && size.is_power_of_two()
    }

    /// The address space that it decodes.
    fn space(self) -> Space {
        match self {
            Self::Memory32 | Self::Memory64 => Space::Memory,
            Self::Io => Space::Port,
        }
    }
}

/// Where BARs decode; outside these windows they have no effect.
#[derive(Debug, Clone, Default)]
pub struct Windows {
    /// Below and above 4 GiB.
    pub memory: [Range<u64>; 2],
    /// I/O ports.
    pub ports: Range<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Bar {
    size: u64,
    kind: BarKind,
}

/// The configuration space of one function.
#[derive(Debug, Clone)]
pub struct PciConfig {
    registers: [u8; CONFIG_SIZE],
    writable: [u8; CONFIG_SIZE],
    bars: [Option<Bar>; 6],
    windows: Windows,
    last_capability: usize,
    end: usize,
}

impl PciConfig {
    /// A space with a header and nothing else.
    #[must_use]
    pub fn new(ids: &PciIds) -> Self {
        let mut config = Self {
            registers: [0; CONFIG_SIZE],
            writable: [0; CONFIG_SIZE],
            bars: [None; 6],
            windows: Windows::default(),
            last_capability: CAPABILITIES,
            end: FIRST_CAPABILITY,
        };
        let registers = &mut config.registers;
        put(registers, VENDOR_ID, &ids.id.0.to_le_bytes());
        put(registers, DEVICE_ID, &ids.id.1.to_le_bytes());
        put(registers, REVISION, &[ids.revision]);
        let [class @ .., _] = ids.class.to_le_bytes();
        put(registers, CLASS, &class);
        put(
            registers,
            SUBSYSTEM_VENDOR_ID,
            &ids.subsystem.0.to_le_bytes(),
        );
        put(registers, SUBSYSTEM_ID, &ids.subsystem.1.to_le_bytes());
        let writable = &mut config.writable;
        put(writable, COMMAND, &COMMAND_WRITABLE.to_le_bytes());
        put(writable, INTERRUPT_LINE, &[0xff]);
        config
    }

    /// Adds BAR `index` of `size` bytes, a power of two of at least 16 (ports: 4); it has no address yet.
    /// A BAR that does not fit is left out.
    pub fn add_bar(&mut self, index: usize, size: u64, kind: BarKind) {
        if !kind.admits(index, size) {
            debug_assert!(false, "BAR {index} of {size:#x} bytes");
            return;
        }
        if let Some(bar) = self.bars.get_mut(index) {
            *bar = Some(Bar { size, kind });
        }
        let mask = (!(size - 1)).to_le_bytes();
        let (width, flags) = kind.shape();
        let at = BARS + 4 * index;
        put(
            &mut self.writable,
            at,
            mask.get(..width).unwrap_or_default(),
        );
        put(&mut self.registers, at, &[flags]);
    }

    /// The BARs: index, size, kind.
    pub fn bars(&self) -> impl Iterator<Item = (usize, u64, BarKind)> + '_ {
        let bar = |(i, bar): (usize, &Option<Bar>)| bar.map(|bar| (i, bar.size, bar.kind));
        self.bars.iter().enumerate().filter_map(bar)
    }

    /// Says where BARs decode.
    pub fn set_windows(&mut self, windows: Windows) {
        self.windows = windows;
    }

    /// Gives BAR `index` its first address, as firmware does.
    pub fn set_bar_address(&mut self, index: usize, address: u64) {
        let bytes = address.to_le_bytes();
        let Some(Some(bar)) = self.bars.get(index) else {
            return;
        };
        let (width, _) = bar.kind.shape();
        self.write(BARS + 4 * index, bytes.get(..width).unwrap_or_default());
    }

    fn bar_base(&self, index: usize, kind: BarKind) -> u64 {
        let mut bytes = [0; 8];
        let (width, _) = kind.shape();
        let field = bytes.get_mut(..width).unwrap_or_default();
        self.read(BARS + 4 * index, field);
        let low = match kind.space() {
            Space::Memory => 0xf,
            Space::Port => 0x3,
        };
        u64::from_le_bytes(bytes) & !low
    }

    /// Where BAR `index` is decoded now, if it is: its space is enabled and the address is inside a
    /// window.
    #[must_use]
    pub fn bar_address(&self, index: usize) -> Option<u64> {
        let bar = (*self.bars.get(index)?)?;
        let (enable, windows) = match bar.kind.space() {
            Space::Memory => (COMMAND_MEMORY, self.windows.memory.as_slice()),
            Space::Port => (COMMAND_IO, std::slice::from_ref(&self.windows.ports)),
        };
        if self.registers.get(COMMAND)? & enable == 0 {
            return None;
        }
        let base = self.bar_base(index, bar.kind);
        let end = base.checked_add(bar.size)?;
        let inside = |window: &Range<u64>| window.start <= base && end <= window.end;
        windows.iter().any(inside).then_some(base)
    }

    /// The BAR that claims `address` of `space`, and the offset in it.
    #[must_use]
    pub fn claims(&self, space: Space, address: u64) -> Option<(usize, u64)> {
        let mut bars = self.bars().filter(|(_, _, kind)| kind.space() == space);
        bars.find_map(|(index, size, _)| {
            let offset = address.checked_sub(self.bar_address(index)?)?;
            (offset < size).then_some((index, offset))
        })
    }

    /// Appends capability `id` with `body` after its two-byte header. `writable` masks the body's
    /// first bytes. Returns the capability's offset; `None` if the space is full.
    pub fn add_capability(&mut self, id: u8, body: &[u8], writable: &[u8]) -> Option<usize> {
        let at = self.end;
        let end = at + 2 + body.len();
        if end > CONFIG_SIZE {
            return None;
        }
        put(&mut self.registers, at, &[id, 0]);
        put(&mut self.registers, at + 2, body);
        put(&mut self.writable, at + 2, writable);
        let pointer = u8::try_from(at).ok()?;
        let previous = match self.last_capability {
            CAPABILITIES => CAPABILITIES,
            capability => capability + 1,
        };
        put(&mut self.registers, previous, &[pointer]);
        put(
            &mut self.registers,
            STATUS,
            &STATUS_CAPABILITIES.to_le_bytes(),
        );
        self.last_capability = at;
        self.end = end.next_multiple_of(4);
        Some(at)
    }

    /// Reads any bytes; those past the registers are zero.
    pub fn read(&self, offset: usize, data: &mut [u8]) {
        for (i, byte) in data.iter_mut().enumerate() {
            *byte = self.registers.get(offset + i).copied().unwrap_or(0);
        }
    }

    /// Writes any bytes; only writable bits change.
    pub fn write(&mut self, offset: usize, data: &[u8]) {
        let registers = self.registers.iter_mut().zip(&self.writable).skip(offset);
        for ((register, mask), value) in registers.zip(data) {
            *register = (*register & !mask) | (value & mask);
        }
    }

    /// Writes any bytes, read-only or not: the function's own side.
    pub(crate) fn set(&mut self, offset: usize, data: &[u8]) {
        put(&mut self.registers, offset, data);
    }

    /// The state to save.
    #[must_use]
    pub fn save(&self) -> PciConfigStateV1 {
        PciConfigStateV1 {
            registers: self.registers.to_vec(),
        }
    }

    /// Takes back what [`PciConfig::save`] wrote.
    ///
    /// # Errors
    /// The state is of another function: its read-only bits differ.
    pub fn restore(&mut self, state: &PciConfigStateV1) -> Result<(), PersistError> {
        let fixed = |(i, &saved): (usize, &u8)| {
            let mask = !self.writable.get(i).copied().unwrap_or(0);
            saved & mask == self.registers.get(i).copied().unwrap_or(0) & mask
        };
        if state.registers.len() != CONFIG_SIZE || !state.registers.iter().enumerate().all(fixed) {
            let what = "configuration space of another function".to_owned();
            return Err(PersistError::Invalid(what));
        }
        put(&mut self.registers, 0, &state.registers);
        Ok(())
    }
}

fn put(registers: &mut [u8; CONFIG_SIZE], offset: usize, data: &[u8]) {
    for (register, value) in registers.iter_mut().skip(offset).zip(data) {
        *register = *value;
    }
}

/// The saved configuration space of a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PciConfigStateV1 {
    /// Every register.
    pub registers: Vec<u8>,
}

#[cfg(test)]
mod tests;

//! The root bus: which function is in which slot, and where its BARs are.
//!
//! Functions get their BARs when they are added, as firmware would do; a guest that moves them
//! finds them where it put them, because every access is matched against the BARs as they are now.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use super::access::{Ecam, Ports, Window};
use super::config::{BarKind, PciConfig, Windows};
use crate::bus::{Bus, BusSlot, Overlap, Space};
use crate::lock;
use crate::persist::{Payload, PersistError};
use crate::virtio::device::VirtioDevice;
use crate::virtio::queue::QueueError;
use crate::virtio::transport::{VirtioContext, VirtioPci};

/// The number of slots of a bus.
pub const SLOTS: u8 = 32;

/// Bytes of ECAM for one bus (PCI Express 5.0 §7.2.2).
pub const ECAM_BUS_SIZE: u64 = 1 << 20;

/// Where the bus is in guest-physical memory and among the ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PciLayout {
    /// Configuration space; buses past the first are empty.
    pub ecam: Range<u64>,
    /// The window for 32-bit BARs.
    pub mmio32: Range<u64>,
    /// The window for 64-bit BARs.
    pub mmio64: Range<u64>,
    /// The window for BARs of ports.
    pub ports: Range<u64>,
}

/// One PCI function (function 0 of its slot).
pub trait PciFunction: Send {
    /// The configuration space.
    fn config(&self) -> &PciConfig;

    /// The configuration space, for writes.
    fn config_mut(&mut self) -> &mut PciConfig;

    /// Reads configuration space; `offset + data.len()` is at most 4096.
    fn read_config(&mut self, offset: usize, data: &mut [u8]) {
        self.config().read(offset, data);
    }

    /// Writes configuration space; `offset + data.len()` is at most 4096.
    fn write_config(&mut self, offset: usize, data: &[u8]) {
        self.config_mut().write(offset, data);
    }

    /// Reads at `offset` of BAR `bar`; the access may reach past its end.
    fn read_bar(&mut self, bar: usize, offset: u64, data: &mut [u8]) {
        let _ = (bar, offset);
        data.fill(0xff);
    }

    /// Writes at `offset` of BAR `bar`; the access may reach past its end.
    fn write_bar(&mut self, bar: usize, offset: u64, data: &[u8]) {
        let _ = (bar, offset, data);
    }

    /// Stops what the function has running, for a pause, a snapshot or an unplug.
    fn pause(&mut self) {}

    /// Runs again what [`PciFunction::pause`] stopped.
    fn resume(&mut self) {}

    /// The state to save, of a paused function.
    ///
    /// # Errors
    /// The state cannot be written.
    fn save(&self) -> Result<Payload, PersistError> {
        Payload::pack(CONFIG_KIND, 1, &self.config().save())
    }

    /// Takes back what [`PciFunction::save`] wrote.
    ///
    /// # Errors
    /// The state is of another function or breaks a rule.
    fn restore(&mut self, state: &Payload) -> Result<(), PersistError> {
        let state = state.unpack(CONFIG_KIND, 1)?;
        self.config_mut().restore(&state)
    }
}

const CONFIG_KIND: &str = "pci-config";

/// Why a function could not be added.
#[derive(Debug, thiserror::Error)]
pub enum PciError {
    /// There is no such slot, or it has a function.
    #[error("pci slot {slot} for {name} is not free")]
    Slot {
        /// The slot.
        slot: u8,
        /// The function.
        name: String,
    },
    /// A window has no room for a BAR.
    #[error("no room for {size:#x} bytes of {name} in the pci window")]
    Window {
        /// The BAR's size.
        size: u64,
        /// The function.
        name: String,
    },
    /// A virtio device asks for an impossible queue.
    #[error("queue size of {name} is invalid")]
    Queue {
        /// The device.
        name: String,
        /// What is wrong with it.
        source: QueueError,
    },
    /// The hypervisor gave no interrupt vectors.
    #[error("cannot allocate interrupt vectors for {name}")]
    Interrupt {
        /// The device.
        name: String,
        /// What it said.
        source: io::Error,
    },
    /// The device is too large for the transport.
    #[error("{name} has too many queues for its transport")]
    TooManyQueues {
        /// The device.
        name: String,
    },
}

struct Slot {
    name: String,
    function: Box<dyn PciFunction>,
}

/// The functions, behind the lock that all accesses take.
pub(super) struct Root {
    slots: Vec<Option<Slot>>,
    layout: PciLayout,
    next32: u64,
    next64: u64,
    next_port: u64,
}

impl Root {
    fn place(&mut self, name: &str, function: &mut dyn PciFunction) -> Result<(), PciError> {
        let windows = Windows {
            memory: [self.layout.mmio32.clone(), self.layout.mmio64.clone()],
            ports: self.layout.ports.clone(),
        };
        let bars: Vec<_> = function.config().bars().collect();
        function.config_mut().set_windows(windows);
        for (index, size, kind) in bars {
            let (next, end) = match kind {
                BarKind::Memory32 => (&mut self.next32, self.layout.mmio32.end),
                BarKind::Memory64 => (&mut self.next64, self.layout.mmio64.end),
                BarKind::Io => (&mut self.next_port, self.layout.ports.end),
            };
            let address = next.checked_next_multiple_of(size);
            let fits = |address: &u64| address.checked_add(size).is_some_and(|top| top <= end);
            let address = address.filter(fits).ok_or_else(|| PciError::Window {
                size,
                name: name.to_owned(),
            })?;
            *next = address + size;
            function.config_mut().set_bar_address(index, address);
        }
        Ok(())
    }

    /// The function at `device`, function 0, of bus 0.
    fn function(&mut self, device: usize) -> Option<&mut dyn PciFunction> {
        match self.slots.get_mut(device)? {
            Some(slot) => Some(slot.function.as_mut()),
            None => None,
        }
    }

    /// `address` counts as ECAM does: bus, device, function, register.
    pub(super) fn read_config(&mut self, address: u64, data: &mut [u8]) {
        match self.decode(address, data.len()) {
            Some((function, offset)) => function.read_config(offset, data),
            None => data.fill(0xff),
        }
    }

    pub(super) fn write_config(&mut self, address: u64, data: &[u8]) {
        if let Some((function, offset)) = self.decode(address, data.len()) {
            function.write_config(offset, data);
        }
    }

    fn decode(&mut self, address: u64, len: usize) -> Option<(&mut dyn PciFunction, usize)> {
        let offset = usize::try_from(address & 0xfff).ok()?;
        let number = usize::try_from((address >> 12) & 0x7).ok()?;
        let device = usize::try_from(address >> 15).ok()?;
        if number != 0 || offset + len > 0x1000 {
            return None;
        }
        Some((self.function(device)?, offset))
    }

    pub(super) fn read(&mut self, space: Space, address: u64, data: &mut [u8]) {
        match self.claim(space, address) {
            Some((function, bar, offset)) => function.read_bar(bar, offset, data),
            None => data.fill(0xff),
        }
    }

    pub(super) fn write(&mut self, space: Space, address: u64, data: &[u8]) {
        if let Some((function, bar, offset)) = self.claim(space, address) {
            function.write_bar(bar, offset, data);
        }
    }

    fn claim(&mut self, space: Space, address: u64) -> Option<(&mut dyn PciFunction, usize, u64)> {
        for slot in self.slots.iter_mut().flatten() {
            if let Some((bar, offset)) = slot.function.config().claims(space, address) {
                return Some((slot.function.as_mut(), bar, offset));
            }
        }
        None
    }
}

/// The root bus.
///
/// The host bridge to it is no function of the bus: a guest learns of it from ACPI,
/// and would read and size some hundred registers of a function that has nothing to drive.
#[derive(Clone)]
pub struct PciBus {
    root: Arc<Mutex<Root>>,
    layout: PciLayout,
}

impl fmt::Debug for PciBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = lock(&self.root);
        let slots = root.slots.iter().enumerate();
        let taken = slots.filter_map(|(i, slot)| slot.as_ref().map(|slot| (i, &slot.name)));
        f.debug_map().entries(taken).finish()
    }
}

impl PciBus {
    /// An empty bus.
    #[must_use]
    pub fn new(layout: PciLayout) -> Self {
        let slots = std::iter::repeat_with(|| None)
            .take(usize::from(SLOTS))
            .collect();
        let root = Root {
            slots,
            next32: layout.mmio32.start,
            next64: layout.mmio64.start,
            next_port: layout.ports.start,
            layout: layout.clone(),
        };
        Self {
            root: Arc::new(Mutex::new(root)),
            layout,
        }
    }

    /// Puts `function` into `slot` and gives addresses to its BARs.
    ///
    /// # Errors
    /// The slot is taken or there is none such, or a window is full.
    pub fn add(
        &self,
        name: &str,
        slot: u8,
        mut function: Box<dyn PciFunction>,
    ) -> Result<(), PciError> {
        let mut root = lock(&self.root);
        if !matches!(root.slots.get(usize::from(slot)), Some(None)) {
            let name = name.to_owned();
            return Err(PciError::Slot { slot, name });
        }
        root.place(name, function.as_mut())?;
        if let Some(empty) = root.slots.get_mut(usize::from(slot)) {
            *empty = Some(Slot {
                name: name.to_owned(),
                function,
            });
        }
        Ok(())
    }

    /// Puts a virtio device into `slot`.
    ///
    /// # Errors
    /// As [`PciBus::add`], or the device does not fit the transport.
    pub fn add_virtio(
        &self,
        name: &str,
        device: Box<dyn VirtioDevice>,
        slot: u8,
        ctx: &VirtioContext,
    ) -> Result<(), PciError> {
        let function = VirtioPci::new(name, device, ctx)?;
        self.add(name, slot, Box::new(function))
    }

    /// Configuration space by memory accesses: at `layout.ecam.start`.
    #[must_use]
    pub fn ecam(&self) -> BusSlot {
        Arc::new(Mutex::new(Ecam(Arc::clone(&self.root))))
    }

    /// Configuration space by ports: 8 of them, at 0xcf8.
    #[must_use]
    pub fn cf8(&self) -> BusSlot {
        Arc::new(Mutex::new(Ports::new(Arc::clone(&self.root))))
    }

    /// What is behind the 32-bit window, at `layout.mmio32.start`.
    #[must_use]
    pub fn window32(&self) -> BusSlot {
        self.window(Space::Memory, &self.layout.mmio32)
    }

    /// What is behind the 64-bit window, at `layout.mmio64.start`.
    #[must_use]
    pub fn window64(&self) -> BusSlot {
        self.window(Space::Memory, &self.layout.mmio64)
    }

    /// What is behind the window of ports, at `layout.ports.start`.
    #[must_use]
    pub fn ports(&self) -> BusSlot {
        self.window(Space::Port, &self.layout.ports)
    }

    fn window(&self, space: Space, range: &Range<u64>) -> BusSlot {
        Arc::new(Mutex::new(Window {
            root: Arc::clone(&self.root),
            space,
            start: range.start,
        }))
    }

    /// Claims ECAM, the windows and the configuration ports.
    ///
    /// # Errors
    /// Another device has a part of one of them.
    pub fn attach(&self, mmio: &mut Bus, pio: &mut Bus) -> Result<(), Overlap> {
        let PciLayout {
            ecam,
            mmio32,
            mmio64,
            ports,
        } = &self.layout;
        let len = |range: &Range<u64>| range.end.saturating_sub(range.start);
        mmio.insert("pci config", ecam.start, len(ecam), self.ecam())?;
        mmio.insert("pci 32-bit", mmio32.start, len(mmio32), self.window32())?;
        mmio.insert("pci 64-bit", mmio64.start, len(mmio64), self.window64())?;
        pio.insert("pci config", 0xcf8, 8, self.cf8())?;
        pio.insert("pci ports", ports.start, len(ports), self.ports())
    }

    /// Stops every function. The vCPUs stand still meanwhile and until [`PciBus::resume`].
    pub fn pause(&self) {
        for slot in lock(&self.root).slots.iter_mut().flatten() {
            slot.function.pause();
        }
    }

    /// Runs what [`PciBus::pause`] stopped.
    pub fn resume(&self) {
        for slot in lock(&self.root).slots.iter_mut().flatten() {
            slot.function.resume();
        }
    }

    /// The state of every function of a paused bus, by name.
    ///
    /// # Errors
    /// A function cannot be saved.
    pub fn save(&self) -> Result<Vec<(String, Payload)>, PersistError> {
        let root = lock(&self.root);
        let slots = root.slots.iter().flatten();
        slots
            .map(|slot| Ok((slot.name.clone(), slot.function.save()?)))
            .collect()
    }

    /// Takes back what [`PciBus::save`] wrote, into a paused bus with the same functions.
    ///
    /// # Errors
    /// The functions differ, or a state breaks a rule.
    pub fn restore(&self, states: &[(String, Payload)]) -> Result<(), PersistError> {
        let mut root = lock(&self.root);
        let slots: Vec<_> = root.slots.iter_mut().flatten().collect();
        let names = slots.iter().map(|slot| &slot.name);
        if !names.eq(states.iter().map(|(name, _)| name)) {
            let what = "other pci functions than there are".to_owned();
            return Err(PersistError::Invalid(what));
        }
        for (slot, (_, state)) in slots.into_iter().zip(states) {
            slot.function.restore(state)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

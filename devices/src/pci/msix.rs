//! MSI-X: the vector table, the pending bits and the masks (PCI 3.0 §6.8.2).
//!
//! The table belongs to the transport; the [`Vectors`] are shared with whoever interrupts, without
//! a lock. Masking is ours: a masked vector's signal stays here as a pending bit, and the hypervisor
//! hears of a vector only when the driver unmasks it with a message it did not have before.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use vmm_sys_util::eventfd::EventFd;

use super::config::PciConfig;
use crate::lock;
use crate::persist::PersistError;
use crate::platform::{Msi, Platform};

const CAP_ID: u8 = 0x11;
const CONTROL_ENABLE: u16 = 1 << 15;
const CONTROL_MASK: u16 = 1 << 14;
const ENTRY_SIZE: u64 = 16;
const ENTRY_MASKED: u32 = 1;

/// The most vectors of a function.
pub const MAX_VECTORS: u16 = 256;

const MAX_REPORTS: u32 = 8;

/// The signal must wait: the vector or the function is masked, or MSI-X is off.
const BLOCKED: u8 = 1;
/// A signal waits.
const PENDING: u8 = 2;

/// An eventfd whose writes are to send a vector, and whether they do so by themselves now.
#[derive(Debug)]
struct Bound {
    event: Arc<EventFd>,
    direct: bool,
}

#[derive(Debug)]
struct Vector {
    msi: Box<dyn Msi>,
    state: AtomicU8,
    bound: Mutex<Vec<Bound>>,
}

impl Vector {
    fn signal(&self) {
        if self.state.load(Ordering::Acquire) & BLOCKED == 0 {
            self.trigger();
        } else if self.state.fetch_or(PENDING, Ordering::AcqRel) & BLOCKED == 0 {
            // It was unblocked between the two looks: whoever clears the bit sends.
            self.deliver();
        }
    }

    fn deliver(&self) {
        if self.state.fetch_and(!PENDING, Ordering::AcqRel) & PENDING != 0 {
            self.trigger();
        }
    }

    fn trigger(&self) {
        if let Err(error) = self.msi.trigger() {
            log::debug!("interrupt is lost: {error}");
        }
    }

    fn block(&self) {
        self.state.fetch_or(BLOCKED, Ordering::AcqRel);
        self.sync(&mut lock(&self.bound));
    }

    fn unblock(&self) {
        if self.state.fetch_and(!BLOCKED, Ordering::AcqRel) & PENDING != 0 {
            self.deliver();
        }
        self.sync(&mut lock(&self.bound));
    }

    /// Forgets what waits; nothing is sent until it is unblocked.
    fn turn_off(&self) {
        self.state.store(BLOCKED, Ordering::Release);
        self.sync(&mut lock(&self.bound));
    }

    fn bind(&self, event: Arc<EventFd>) {
        let mut bound = lock(&self.bound);
        bound.push(Bound {
            event,
            direct: false,
        });
        self.sync(&mut bound);
    }

    fn unbind(&self, event: &Arc<EventFd>) {
        let mut bound = lock(&self.bound);
        let place = bound.iter().position(|it| Arc::ptr_eq(&it.event, event));
        if let Some(old) = place.map(|place| bound.swap_remove(place))
            && old.direct
        {
            self.release(&old.event);
        }
    }

    /// Has bound events go past this process while nothing blocks the vector. Every change of the state
    /// is followed by this, so that the last one counts.
    fn sync(&self, bound: &mut [Bound]) {
        let free = self.state.load(Ordering::Acquire) & BLOCKED == 0;
        for it in bound.iter_mut().filter(|it| it.direct != free) {
            if free {
                // Where it cannot be, whoever watches the event signals.
                it.direct = self.msi.bind(&it.event).is_ok();
            } else {
                self.release(&it.event);
                it.direct = false;
            }
        }
    }

    fn release(&self, event: &EventFd) {
        if let Err(error) = self.msi.unbind(event) {
            log::debug!("event stays bound to its interrupt: {error}");
        }
    }

    fn pending(&self) -> bool {
        self.state.load(Ordering::Acquire) & PENDING != 0
    }
}

/// A function's vectors, for whoever interrupts.
#[derive(Debug)]
pub struct Vectors {
    vectors: Vec<Vector>,
    enabled: AtomicBool,
}

impl Vectors {
    /// Whether the driver turned MSI-X on.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.enabled.load(Ordering::Acquire)
    }

    /// The number of vectors.
    #[must_use]
    pub fn count(&self) -> u16 {
        u16::try_from(self.vectors.len()).unwrap_or(u16::MAX)
    }

    /// Sends vector `index`, or notes that it is due. Nothing happens while MSI-X is off.
    pub fn signal(&self, index: u16) {
        if self.enabled()
            && let Some(vector) = self.vectors.get(usize::from(index))
        {
            vector.signal();
        }
    }

    /// Has writes to `event` send vector `index`, past this process where and when that can be.
    pub(crate) fn bind(&self, index: u16, event: &Arc<EventFd>) {
        if let Some(vector) = self.vectors.get(usize::from(index)) {
            vector.bind(Arc::clone(event));
        }
    }

    /// Undoes [`Vectors::bind`].
    pub(crate) fn unbind(&self, index: u16, event: &Arc<EventFd>) {
        if let Some(vector) = self.vectors.get(usize::from(index)) {
            vector.unbind(event);
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    address: u64,
    data: u32,
    control: u32,
    /// The message that the hypervisor has.
    configured: Option<(u64, u32)>,
}

/// The driver's side: table, pending bits and control register of one function.
pub struct Msix {
    capability: usize,
    entries: Vec<Entry>,
    control: u16,
    vectors: Arc<Vectors>,
    refused: u32,
}

impl fmt::Debug for Msix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Msix")
            .field("entries", &self.entries.len())
            .field("control", &self.control)
            .finish_non_exhaustive()
    }
}

impl Msix {
    /// Adds the capability to `config`, with `count` vectors and the table and the pending bits at
    /// the given offsets of BAR `bar`.
    ///
    /// # Errors
    /// The hypervisor has no vector left, or `count` or the capability does not fit.
    pub fn new(
        config: &mut PciConfig,
        count: u16,
        bar: u8,
        (table, pending): (u32, u32),
        platform: &dyn Platform,
    ) -> io::Result<Self> {
        if count == 0 || count > MAX_VECTORS {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut body = [0; 10];
        let fields = (count - 1)
            .to_le_bytes()
            .into_iter()
            .chain((table | u32::from(bar)).to_le_bytes())
            .chain((pending | u32::from(bar)).to_le_bytes());
        for (to, from) in body.iter_mut().zip(fields) {
            *to = from;
        }
        let writable = (CONTROL_ENABLE | CONTROL_MASK).to_le_bytes();
        let capability = config
            .add_capability(CAP_ID, &body, &writable)
            .ok_or(io::ErrorKind::OutOfMemory)?;
        let vector = |_| {
            Ok(Vector {
                msi: platform.allocate_msi()?,
                state: AtomicU8::new(BLOCKED),
                bound: Mutex::default(),
            })
        };
        let vectors: io::Result<Vec<_>> = (0..count).map(vector).collect();
        let masked = Entry {
            control: ENTRY_MASKED,
            ..Entry::default()
        };
        Ok(Self {
            capability,
            entries: vec![masked; usize::from(count)],
            control: 0,
            vectors: Arc::new(Vectors {
                vectors: vectors?,
                enabled: AtomicBool::new(false),
            }),
            refused: 0,
        })
    }

    /// The vectors, for whoever interrupts.
    #[must_use]
    pub fn vectors(&self) -> &Arc<Vectors> {
        &self.vectors
    }

    /// Looks at the control register after a write to configuration space.
    pub fn config_written(&mut self, config: &PciConfig) {
        let mut control = [0; 2];
        config.read(self.capability + 2, &mut control);
        let control = u16::from_le_bytes(control) & (CONTROL_ENABLE | CONTROL_MASK);
        if control != self.control {
            self.control = control;
            self.apply_all();
        }
    }

    fn apply_all(&mut self) {
        let enabled = self.control & CONTROL_ENABLE != 0;
        self.vectors.enabled.store(enabled, Ordering::Release);
        for index in 0..self.entries.len() {
            self.apply(index);
        }
    }

    /// Brings one vector in line with the masks.
    fn apply(&mut self, index: usize) {
        let (Some(entry), Some(vector)) =
            (self.entries.get_mut(index), self.vectors.vectors.get(index))
        else {
            return;
        };
        if self.control & CONTROL_ENABLE == 0 {
            vector.turn_off();
            return;
        }
        if self.control & CONTROL_MASK != 0 || entry.control & ENTRY_MASKED != 0 {
            vector.block();
            return;
        }
        let message = (entry.address, entry.data);
        if entry.configured != Some(message) {
            if let Err(error) = vector.msi.configure(message.0, message.1, false) {
                // The driver can ask as often as it likes; the log hears of it only so far.
                if self.refused < MAX_REPORTS {
                    self.refused += 1;
                    log::warn!("interrupt vector {index} cannot be set up: {error}");
                }
                entry.configured = None;
                vector.block();
                return;
            }
            entry.configured = Some(message);
        }
        vector.unblock();
    }

    /// Reads the table.
    pub fn read_table(&self, offset: u64, data: &mut [u8]) {
        for (offset, byte) in (offset..).zip(data.iter_mut()) {
            let index = usize::try_from(offset / ENTRY_SIZE).unwrap_or(usize::MAX);
            let entry = self.entries.get(index).copied().unwrap_or_default();
            let register = match (offset % ENTRY_SIZE) / 4 {
                0 => entry.address as u32,
                1 => (entry.address >> 32) as u32,
                2 => entry.data,
                _ => entry.control,
            };
            *byte = (register >> (8 * (offset % 4))) as u8;
        }
    }

    /// Writes the table: aligned accesses of 4 or 8 bytes, as PCI 3.0 §6.8.2 wants; others have no
    /// effect.
    pub fn write_table(&mut self, offset: u64, data: &[u8]) {
        let index = usize::try_from(offset / ENTRY_SIZE).unwrap_or(usize::MAX);
        let register = (offset % ENTRY_SIZE) / 4;
        if !offset.is_multiple_of(4) {
            return;
        }
        match *data {
            [a, b, c, d] => self.write_register(index, register, u32::from_le_bytes([a, b, c, d])),
            [a, b, c, d, e, f, g, h] if offset.is_multiple_of(8) => {
                self.write_register(index, register, u32::from_le_bytes([a, b, c, d]));
                self.write_register(index, register + 1, u32::from_le_bytes([e, f, g, h]));
            }
            _ => return,
        }
        self.apply(index);
    }

    fn write_register(&mut self, index: usize, register: u64, value: u32) {
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        let low = entry.address & 0xffff_ffff;
        let high = entry.address & !0xffff_ffff;
        match register {
            0 => entry.address = high | u64::from(value & !3),
            1 => entry.address = low | (u64::from(value) << 32),
            2 => entry.data = value,
            _ => entry.control = value & ENTRY_MASKED,
        }
    }

    /// Reads the pending bits.
    pub fn read_pending(&self, offset: u64, data: &mut [u8]) {
        for (offset, byte) in (offset..).zip(data.iter_mut()) {
            let first = usize::try_from(offset)
                .unwrap_or(usize::MAX)
                .saturating_mul(8);
            let vectors = self.vectors.vectors.iter().skip(first).take(8);
            *byte = (0..).zip(vectors).fold(0, |bits, (i, vector)| {
                bits | (u8::from(vector.pending()) << i)
            });
        }
    }

    /// The state to save, of a function whose device does not run.
    #[must_use]
    pub fn save(&self) -> MsixStateV1 {
        let vectors = self.entries.iter().zip(&self.vectors.vectors);
        MsixStateV1 {
            vectors: vectors
                .map(|(entry, vector)| VectorStateV1 {
                    address: entry.address,
                    data: entry.data,
                    control: entry.control,
                    pending: vector.pending(),
                })
                .collect(),
        }
    }

    /// Takes back what [`Msix::save`] wrote, after `config` was restored.
    ///
    /// # Errors
    /// The number of vectors differs.
    pub fn restore(&mut self, state: &MsixStateV1, config: &PciConfig) -> Result<(), PersistError> {
        if state.vectors.len() != self.entries.len() {
            let what = "number of interrupt vectors".to_owned();
            return Err(PersistError::Invalid(what));
        }
        for (entry, saved) in self.entries.iter_mut().zip(&state.vectors) {
            entry.address = saved.address & !3;
            entry.data = saved.data;
            entry.control = saved.control & ENTRY_MASKED;
        }
        self.config_written(config);
        self.apply_all();
        for (vector, saved) in self.vectors.vectors.iter().zip(&state.vectors) {
            if saved.pending {
                vector.signal();
            }
        }
        Ok(())
    }
}

/// The saved vector table of a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MsixStateV1 {
    /// The vectors.
    pub vectors: Vec<VectorStateV1>,
}

/// One saved vector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VectorStateV1 {
    /// Where the message goes.
    pub address: u64,
    /// The message.
    pub data: u32,
    /// Vector control: the mask bit.
    pub control: u32,
    /// Whether a signal waits.
    pub pending: bool,
}

#[cfg(test)]
mod tests;

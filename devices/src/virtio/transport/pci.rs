//! Virtio over PCI (VIRTIO 1.3 §4.1), modern interface only, MSI-X only.
//!
//! One 32-bit BAR holds everything, and one of ports the doorbells once more:
//!
//! ```text
//! 0x0000  common configuration    0x3000  doorbells, 4 bytes a queue
//! 0x1000  ISR status              0x4000  MSI-X table
//! 0x2000  device configuration    0x5000  MSI-X pending bits
//! ```
//!
//! A write to a port costs the hypervisor less than one to memory, whose instruction it may have to decode; so ports come
//! first, and drivers take the first that they can use (VIRTIO 1.3 §4.1.4). The doorbells that the hypervisor knows are
//! those of ports while ports are decoded, else those in memory; the others work too, by way of the transport.

mod interrupt;
mod registers;

use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::doorbells::{PlacedDoorbells, Row};
use super::{Attached, AttachedStateV1, VirtioContext};
use crate::bus::Space;
use crate::pci::config::{BarKind, PciConfig, PciConfigStateV1, PciIds};
use crate::pci::msix::{MAX_VECTORS, Msix, MsixStateV1};
use crate::pci::{PciError, PciFunction};
use crate::persist::{Payload, PersistError};
use crate::platform::DoorbellPlace;
use crate::virtio::device::VirtioDevice;
use interrupt::{InterruptStateV1, PciInterrupt};

const VENDOR: u16 = 0x1af4;
/// Device ids are this plus the device type (VIRTIO 1.3 §4.1.2).
const DEVICE_BASE: u16 = 0x1040;

/// The BAR of registers.
const BAR: usize = 0;
/// The BAR of ports; a device with more queues than it has room for has none.
const PORTS: usize = 1;
const MAX_PORTS: u64 = 256;
const BAR_SIZE: u64 = 0x8000;
const COMMON: u32 = 0x0000;
const ISR: u32 = 0x1000;
const DEVICE: u32 = 0x2000;
const NOTIFY: u32 = 0x3000;
const TABLE: u32 = 0x4000;
const PENDING: u32 = 0x5000;
const REGION: u32 = 0x1000;
const NOTIFY_MULTIPLIER: u32 = 4;

/// Structure types of the vendor capabilities (VIRTIO 1.3 §4.1.4).
const CAP_VENDOR: u8 = 0x09;
const CFG_COMMON: u8 = 1;
const CFG_NOTIFY: u8 = 2;
const CFG_ISR: u8 = 3;
const CFG_DEVICE: u8 = 4;
const CFG_PCI: u8 = 5;

/// Where the PCI configuration access capability keeps its fields, from its start.
const WINDOW_BAR: usize = 4;
const WINDOW_OFFSET: usize = 8;
const WINDOW_LENGTH: usize = 12;
const WINDOW_DATA: usize = 16;

/// Base class, subclass and interface for a device type.
fn class(id: u32) -> u32 {
    match id {
        1 => 0x02_0000,
        2 | 26 => 0x01_8000,
        3 => 0x07_8000,
        _ => 0x00_ff00,
    }
}

/// A vendor capability's body, after the id and the pointer to the next (VIRTIO 1.3 §4.1.4).
fn capability(kind: u8, bar: usize, offset: u32, length: u32, tail: &[u8]) -> Vec<u8> {
    let size = u8::try_from(16 + tail.len()).unwrap_or(u8::MAX);
    let mut body = vec![size, kind, bar as u8, 0, 0, 0];
    body.extend(offset.to_le_bytes());
    body.extend(length.to_le_bytes());
    body.extend(tail);
    body
}

/// A virtio device as a PCI function.
#[derive(Debug)]
pub struct VirtioPci {
    config: PciConfig,
    msix: Msix,
    attached: Attached,
    interrupt: Arc<PciInterrupt>,
    doorbells: PlacedDoorbells,
    /// The bytes of BAR [`PORTS`].
    ports: u32,
    /// The PCI configuration access capability.
    window: usize,
}

impl VirtioPci {
    /// Makes a function of `device`.
    ///
    /// # Errors
    /// The device has an impossible queue or too many, or the hypervisor has no vectors left.
    pub fn new(
        name: &str,
        device: Box<dyn VirtioDevice>,
        ctx: &VirtioContext,
    ) -> Result<Self, PciError> {
        let info = device.info();
        let name_of = || name.to_owned();
        let many = || PciError::TooManyQueues { name: name_of() };
        let queues = u16::try_from(info.queue_sizes.len()).map_err(|_| many())?;
        let id = u16::try_from(info.id).map_err(|_| many())?;
        if queues >= MAX_VECTORS {
            return Err(many());
        }
        let id = (VENDOR, DEVICE_BASE.wrapping_add(id));
        let mut config = PciConfig::new(&PciIds {
            id,
            subsystem: id,
            class: class(info.id),
            revision: 1,
        });
        config.add_bar(BAR, BAR_SIZE, BarKind::Memory32);
        let ports = u64::from(doorbells(queues)).next_power_of_two();
        let ports = if ports <= MAX_PORTS {
            config.add_bar(PORTS, ports, BarKind::Io);
            ports as u32
        } else {
            0
        };
        let window = add_capabilities(&mut config, queues, ports > 0).ok_or_else(many)?;
        let offsets = (TABLE, PENDING);
        let msix = Msix::new(&mut config, queues + 1, BAR as u8, offsets, &*ctx.platform);
        let msix = msix.map_err(|source| PciError::Interrupt {
            name: name_of(),
            source,
        })?;
        let interrupt = Arc::new(PciInterrupt::new(Arc::clone(msix.vectors()), queues));
        let attached = Attached::new(name, device, interrupt.clone(), ctx);
        let attached = attached.map_err(|source| PciError::Queue {
            name: name_of(),
            source,
        })?;
        Ok(Self {
            config,
            msix,
            attached,
            interrupt,
            doorbells: PlacedDoorbells::new(Arc::clone(&ctx.platform)),
            ports,
            window,
        })
    }

    fn sync_doorbells(&mut self) {
        let row = |space, address| Row {
            first: DoorbellPlace {
                space,
                address,
                value: None,
            },
            stride: u64::from(NOTIFY_MULTIPLIER),
        };
        let ports = self.config.bar_address(PORTS);
        let ports = ports.map(|base| row(Space::Port, base));
        let registers = self.config.bar_address(BAR);
        let registers = registers.map(|base| row(Space::Memory, base + u64::from(NOTIFY)));
        self.doorbells.sync(&self.attached, ports.or(registers));
    }

    fn ring(&mut self, offset: u32) {
        self.attached.ring((offset / NOTIFY_MULTIPLIER) as usize);
    }

    fn read_at(&mut self, offset: u64, data: &mut [u8]) {
        let Ok(offset) = u32::try_from(offset) else {
            return data.fill(0xff);
        };
        let inner = u64::from(offset % REGION);
        match offset - offset % REGION {
            COMMON => self.read_common(inner, data),
            ISR => {
                data.fill(0);
                if let Some(first) = data.first_mut().filter(|_| inner == 0) {
                    *first = self.interrupt.take_isr();
                }
            }
            DEVICE => self.attached.read_config(inner, data),
            TABLE => self.msix.read_table(inner, data),
            PENDING => self.msix.read_pending(inner, data),
            _ => data.fill(0),
        }
    }

    fn write_at(&mut self, offset: u64, data: &[u8]) {
        let Ok(offset) = u32::try_from(offset) else {
            return;
        };
        let inner = offset % REGION;
        match offset - inner {
            COMMON => self.write_common(u64::from(inner), data),
            DEVICE => self.attached.write_config(u64::from(inner), data),
            NOTIFY => self.ring(inner),
            TABLE => self.msix.write_table(u64::from(inner), data),
            _ => {}
        }
    }

    /// What the driver asked for through the PCI configuration access capability: an aligned access
    /// of 1, 2 or 4 bytes to the virtio structures (VIRTIO 1.3 §4.1.4.9); BAR, offset and length.
    fn window_target(&self) -> Option<(usize, u64, usize)> {
        let field = |offset: usize| {
            let mut bytes = [0; 4];
            self.config.read(self.window + offset, &mut bytes);
            u32::from_le_bytes(bytes)
        };
        let (bar, offset, length) = (
            field(WINDOW_BAR) & 0xff,
            field(WINDOW_OFFSET),
            field(WINDOW_LENGTH),
        );
        let bar = bar as usize;
        let end = match bar {
            BAR => TABLE,
            PORTS => self.ports,
            _ => 0,
        };
        let valid = matches!(length, 1 | 2 | 4) && offset.is_multiple_of(length) && offset < end;
        valid.then_some((bar, u64::from(offset), length as usize))
    }

    fn touches_window(&self, offset: usize, len: usize) -> bool {
        let data = self.window + WINDOW_DATA;
        offset < data + 4 && data < offset + len
    }
}

/// The bytes of the doorbells: a doorbell of its own for each queue; what is written does not matter.
fn doorbells(queues: u16) -> u32 {
    (u32::from(queues) * NOTIFY_MULTIPLIER).max(NOTIFY_MULTIPLIER)
}

/// Adds the vendor capabilities; where the last one is, for access through configuration space.
fn add_capabilities(config: &mut PciConfig, queues: u16, ports: bool) -> Option<usize> {
    let notify = |bar, offset| {
        let multiplier = NOTIFY_MULTIPLIER.to_le_bytes();
        capability(CFG_NOTIFY, bar, offset, doorbells(queues), &multiplier)
    };
    let plain = [
        Some(capability(
            CFG_COMMON,
            BAR,
            COMMON,
            registers::COMMON_SIZE,
            &[],
        )),
        Some(capability(CFG_ISR, BAR, ISR, 1, &[])),
        Some(capability(CFG_DEVICE, BAR, DEVICE, REGION, &[])),
        ports.then(|| notify(PORTS, 0)),
        Some(notify(BAR, NOTIFY)),
    ];
    for body in plain.into_iter().flatten() {
        config.add_capability(CAP_VENDOR, &body, &[])?;
    }
    let mut writable = [0; 18];
    for at in [WINDOW_BAR - 2]
        .into_iter()
        .chain(WINDOW_OFFSET - 2..WINDOW_DATA + 2)
    {
        if let Some(mask) = writable.get_mut(at) {
            *mask = 0xff;
        }
    }
    config.add_capability(
        CAP_VENDOR,
        &capability(CFG_PCI, BAR, 0, 0, &[0; 4]),
        &writable,
    )
}

impl PciFunction for VirtioPci {
    fn config(&self) -> &PciConfig {
        &self.config
    }

    fn config_mut(&mut self) -> &mut PciConfig {
        &mut self.config
    }

    fn read_config(&mut self, offset: usize, data: &mut [u8]) {
        if self.touches_window(offset, data.len())
            && let Some((bar, at, length)) = self.window_target()
        {
            let mut value = [0; 4];
            self.read_bar(bar, at, value.get_mut(..length).unwrap_or_default());
            self.config.set(self.window + WINDOW_DATA, &value);
        }
        self.config.read(offset, data);
    }

    fn write_config(&mut self, offset: usize, data: &[u8]) {
        self.config.write(offset, data);
        if self.touches_window(offset, data.len())
            && let Some((bar, at, length)) = self.window_target()
        {
            let mut value = [0; 4];
            self.config.read(self.window + WINDOW_DATA, &mut value);
            self.write_bar(bar, at, value.get(..length).unwrap_or_default());
        }
        self.msix.config_written(&self.config);
        self.sync_doorbells();
    }

    fn read_bar(&mut self, bar: usize, offset: u64, data: &mut [u8]) {
        match bar {
            BAR => self.read_at(offset, data),
            _ => data.fill(0),
        }
    }

    fn write_bar(&mut self, bar: usize, offset: u64, data: &[u8]) {
        match bar {
            BAR => self.write_at(offset, data),
            _ => self.ring(u32::try_from(offset).unwrap_or(u32::MAX)),
        }
    }

    fn pause(&mut self) {
        self.attached.pause();
        self.sync_doorbells();
    }

    fn resume(&mut self) {
        self.attached.resume();
        self.sync_doorbells();
    }

    fn save(&self) -> Result<Payload, PersistError> {
        let state = VirtioPciStateV1 {
            config: self.config.save(),
            msix: self.msix.save(),
            attached: self.attached.save()?,
            interrupt: self.interrupt.save(),
        };
        Payload::pack(KIND, 1, &state)
    }

    fn restore(&mut self, state: &Payload) -> Result<(), PersistError> {
        let state: VirtioPciStateV1 = state.unpack(KIND, 1)?;
        self.attached.restore(state.attached)?;
        self.config.restore(&state.config)?;
        self.interrupt.restore(&state.interrupt)?;
        self.msix.restore(&state.msix, &self.config)?;
        self.sync_doorbells();
        Ok(())
    }
}

const KIND: &str = "virtio-pci";

/// The saved state of a function.
#[derive(Debug, Serialize, Deserialize)]
struct VirtioPciStateV1 {
    config: PciConfigStateV1,
    msix: MsixStateV1,
    attached: AttachedStateV1,
    interrupt: InterruptStateV1,
}

#[cfg(test)]
mod tests;

//! A driver that finds and runs a device through its PCI function: configuration accesses, BAR
//! accesses, doorbells and MSI-X messages.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::{FakePlatform, Ring, Used, ram};
use crate::GuestRam;
use crate::bus::{Bus, Effect, Space};
use crate::event_loop::EventLoop;
use crate::pci::{PciBus, PciLayout};
use crate::virtio::core::F_RING_EVENT_IDX;
use crate::virtio::device::VirtioDevice;
use crate::virtio::transport::VirtioContext;

const ECAM: u64 = 0xe000_0000;
const SLOT: u8 = 3;
pub(super) const QUEUE_RAM: u64 = 1 << 20;
/// Where vector `n` is sent: this address, `MSI_DATA + n`.
pub const MSI_ADDRESS: u64 = 0xfee0_0000;
/// The message of vector 0.
pub const MSI_DATA: u32 = 0x40;

/// The offsets of the common configuration structure (VIRTIO 1.3 §4.1.4.3).
#[allow(missing_docs, reason = "named as in the specification")]
pub mod common {
    pub const DEVICE_FEATURE_SELECT: u64 = 0;
    pub const DEVICE_FEATURE: u64 = 4;
    pub const DRIVER_FEATURE_SELECT: u64 = 8;
    pub const DRIVER_FEATURE: u64 = 12;
    pub const CONFIG_MSIX_VECTOR: u64 = 16;
    pub const NUM_QUEUES: u64 = 18;
    pub const DEVICE_STATUS: u64 = 20;
    pub const CONFIG_GENERATION: u64 = 21;
    pub const QUEUE_SELECT: u64 = 22;
    pub const QUEUE_SIZE: u64 = 24;
    pub const QUEUE_MSIX_VECTOR: u64 = 26;
    pub const QUEUE_ENABLE: u64 = 28;
    pub const QUEUE_NOTIFY_OFF: u64 = 30;
    pub const QUEUE_DESC: u64 = 32;
    pub const QUEUE_DRIVER: u64 = 40;
    pub const QUEUE_DEVICE: u64 = 48;
}

/// Where the driver found a structure: an address in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Structures {
    /// Common configuration.
    pub common: u64,
    /// Doorbells: those that come first in the list and are decoded.
    pub notify: (Space, u64),
    /// ISR status.
    pub isr: u64,
    /// Device configuration.
    pub device: u64,
    /// MSI-X table.
    pub table: u64,
    /// MSI-X pending bits.
    pub pending: u64,
    /// Offset in configuration space of the MSI-X capability.
    pub msix: u64,
    /// Offset in configuration space of the PCI configuration access capability.
    pub window: u64,
    multiplier: u64,
}

impl Default for Structures {
    fn default() -> Self {
        Self {
            common: 0,
            notify: (Space::Memory, 0),
            isr: 0,
            device: 0,
            table: 0,
            pending: 0,
            msix: 0,
            window: 0,
            multiplier: 0,
        }
    }
}

/// A machine with one virtio PCI device, and the driver for it.
#[derive(Debug)]
pub struct PciDriver {
    /// Guest RAM, from address 0.
    pub mem: GuestRam,
    /// The hypervisor.
    pub platform: Arc<FakePlatform>,
    /// The bus.
    pub pci: PciBus,
    /// Memory-mapped I/O.
    pub mmio: Bus,
    /// Port I/O.
    pub pio: Bus,
    /// Where the structures are.
    pub at: Structures,
    /// The driver's half of the queues.
    pub rings: Vec<Ring>,
    events: EventLoop,
}

impl PciDriver {
    /// Puts `device` on a bus, finds it there and turns on memory space, I/O space and MSI-X; no virtio
    /// register is written yet.
    #[must_use]
    pub fn new(device: Box<dyn VirtioDevice>) -> Self {
        let sizes = device.info().queue_sizes;
        let mem = ram(usize::try_from(QUEUE_RAM).unwrap() * (sizes.len() + 1));
        let platform = Arc::new(FakePlatform::default());
        let events = EventLoop::spawn("io").unwrap();
        let pci = PciBus::new(PciLayout {
            ecam: ECAM..ECAM + (1 << 20),
            mmio32: 0xc000_0000..ECAM,
            mmio64: 1 << 40..1 << 41,
            ports: 0xc000..0xe000,
        });
        let ctx = VirtioContext {
            mem: mem.clone(),
            platform: platform.clone(),
            events: events.handle(),
        };
        pci.add_virtio("test", device, SLOT, &ctx).unwrap();
        let (mut mmio, mut pio) = (Bus::new(), Bus::new());
        pci.attach(&mut mmio, &mut pio).unwrap();
        let rings = (1..)
            .zip(&sizes)
            .map(|(i, &size)| Ring::new(&mem, size, i * QUEUE_RAM, (i + 1) * QUEUE_RAM))
            .collect();
        let mut driver = Self {
            mem,
            platform,
            pci,
            mmio,
            pio,
            at: Structures::default(),
            rings,
            events,
        };
        driver.write_config(4, &0x0007_u16.to_le_bytes());
        driver.at = driver.find_structures();
        driver.set_up_msix();
        driver
    }

    /// Reads the function's configuration space.
    #[must_use]
    pub fn read_config<const N: usize>(&self, offset: u64) -> [u8; N] {
        self.read(ECAM + (u64::from(SLOT) << 15) + offset)
    }

    /// Writes the function's configuration space.
    pub fn write_config(&self, offset: u64, data: &[u8]) {
        self.write(ECAM + (u64::from(SLOT) << 15) + offset, data);
    }

    /// Reads memory-mapped I/O.
    #[must_use]
    pub fn read<const N: usize>(&self, address: u64) -> [u8; N] {
        let mut data = [0xaa; N];
        self.mmio.read(address, &mut data);
        data
    }

    /// Writes memory-mapped I/O.
    pub fn write(&self, address: u64, data: &[u8]) {
        assert_eq!(self.mmio.write(address, data), Effect::None);
    }

    /// Reads 16 bits of the common configuration.
    #[must_use]
    pub fn common16(&self, offset: u64) -> u16 {
        u16::from_le_bytes(self.read(self.at.common + offset))
    }

    /// Writes the common configuration.
    pub fn set_common(&self, offset: u64, data: &[u8]) {
        self.write(self.at.common + offset, data);
    }

    /// The device status.
    #[must_use]
    pub fn status(&self) -> u8 {
        let [status] = self.read(self.at.common + common::DEVICE_STATUS);
        status
    }

    /// Writes the device status.
    pub fn set_status(&self, status: u8) {
        self.set_common(common::DEVICE_STATUS, &[status]);
    }

    /// The address of BAR 0.
    #[must_use]
    pub fn bar(&self) -> u64 {
        u64::from(u32::from_le_bytes(self.read_config(0x10)) & !0xf)
    }

    /// The address of BAR 1, of ports.
    #[must_use]
    pub fn ports(&self) -> u64 {
        u64::from(u32::from_le_bytes(self.read_config(0x14)) & !0x3)
    }

    /// Walks the capability list. Doorbells of ports are a driver's only if it enabled I/O space.
    #[must_use]
    pub fn find_structures(&self) -> Structures {
        let bar = self.bar();
        let [command] = self.read_config(4);
        let mut notify = None;
        let mut at = Structures::default();
        let [mut capability] = self.read_config(0x34);
        while capability != 0 {
            let offset = u64::from(capability);
            let [id, next, _, kind] = self.read_config(offset);
            let word = |i| u64::from(u32::from_le_bytes(self.read_config(offset + i)));
            match (id, kind) {
                (9, 1) => at.common = bar + word(8),
                (9, 2) if notify.is_none() => {
                    let [number] = self.read_config(offset + 4);
                    notify = match number {
                        0 => Some((Space::Memory, bar + word(8))),
                        _ if command & 1 != 0 => Some((Space::Port, self.ports() + word(8))),
                        _ => None,
                    };
                    at.multiplier = word(16);
                }
                (9, 3) => at.isr = bar + word(8),
                (9, 4) => at.device = bar + word(8),
                (9, 5) => at.window = offset,
                (0x11, _) => {
                    at.msix = offset;
                    at.table = bar + (word(4) & !7);
                    at.pending = bar + (word(8) & !7);
                }
                _ => {}
            }
            capability = next;
        }
        at.notify = notify.expect("the device has doorbells");
        at
    }

    /// The number of MSI-X vectors.
    #[must_use]
    pub fn vectors(&self) -> u32 {
        let control = u16::from_le_bytes(self.read_config(self.at.msix + 2));
        u32::from(control & 0x7ff) + 1
    }

    /// Sends each vector somewhere else, and turns MSI-X on.
    pub fn set_up_msix(&self) {
        for vector in 0..self.vectors() {
            let entry = self.at.table + 16 * u64::from(vector);
            self.write(entry, &MSI_ADDRESS.to_le_bytes());
            self.write(entry + 8, &(MSI_DATA + vector).to_le_bytes());
            self.write(entry + 12, &0_u32.to_le_bytes());
        }
        self.write_config(self.at.msix + 2, &0x8000_u16.to_le_bytes());
    }

    /// Waits until the devices' loop has answered what was rung before.
    pub fn settle(&self) {
        super::settle(&self.events);
    }

    /// How often vector `index` was sent.
    #[must_use]
    pub fn messages(&self, index: u32) -> usize {
        self.platform.messages(MSI_ADDRESS, MSI_DATA + index)
    }

    /// The offered features.
    #[must_use]
    pub fn features(&self) -> u64 {
        let word = |select: u32| {
            self.set_common(common::DEVICE_FEATURE_SELECT, &select.to_le_bytes());
            u32::from_le_bytes(self.read(self.at.common + common::DEVICE_FEATURE))
        };
        u64::from(word(0)) | (u64::from(word(1)) << 32)
    }

    /// Resets the device, acknowledges it and offers `features`; the status read back.
    #[must_use]
    pub fn negotiate(&self, features: u64) -> u8 {
        self.set_status(0);
        self.set_status(1);
        self.set_status(3);
        for select in 0..2_u32 {
            self.set_common(common::DRIVER_FEATURE_SELECT, &select.to_le_bytes());
            let word = (features >> (32 * select)) as u32;
            self.set_common(common::DRIVER_FEATURE, &word.to_le_bytes());
        }
        self.set_status(11);
        self.status()
    }

    /// Writes the queue registers: queue `n` interrupts by vector `n + 1`, changes of the
    /// configuration by vector 0.
    pub fn set_up_queues(&mut self) {
        self.set_common(common::CONFIG_MSIX_VECTOR, &0_u16.to_le_bytes());
        for (index, ring) in (0_u16..).zip(&mut self.rings) {
            ring.reset();
            let at = self.at.common;
            let set = |offset: u64, data: &[u8]| {
                assert_eq!(self.mmio.write(at + offset, data), Effect::None);
            };
            set(common::QUEUE_SELECT, &index.to_le_bytes());
            set(common::QUEUE_MSIX_VECTOR, &(index + 1).to_le_bytes());
            set(common::QUEUE_DESC, &ring.desc.to_le_bytes());
            set(common::QUEUE_DRIVER, &ring.avail.to_le_bytes());
            set(common::QUEUE_DEVICE, &ring.used.to_le_bytes());
            set(common::QUEUE_ENABLE, &1_u16.to_le_bytes());
        }
    }

    /// Sets the device up with all it offers, except index-based notification suppression, which
    /// would make the number of messages depend on time.
    pub fn start(&mut self) {
        let features = self.features() & !F_RING_EVENT_IDX;
        assert_eq!(self.negotiate(features), 11);
        self.set_up_queues();
        self.set_status(15);
        assert_eq!(self.status(), 15);
    }

    /// Where the doorbell of `queue` is.
    #[must_use]
    pub fn doorbell(&self, queue: u16) -> (Space, u64) {
        self.set_common(common::QUEUE_SELECT, &queue.to_le_bytes());
        let offset = u64::from(self.common16(common::QUEUE_NOTIFY_OFF));
        let (space, first) = self.at.notify;
        (space, first + offset * self.at.multiplier)
    }

    /// Rings the doorbell of `queue`; `true` if the hypervisor took it without the transport.
    pub fn kick(&self, queue: u16) -> bool {
        let at = self.doorbell(queue);
        let taken = self.platform.ring(at, u32::from(queue));
        if !taken {
            self.write_doorbell(at, queue);
        }
        taken
    }

    /// A write to a doorbell that reaches the transport.
    pub fn write_doorbell(&self, (space, address): (Space, u64), queue: u16) {
        let bus = match space {
            Space::Memory => &self.mmio,
            Space::Port => &self.pio,
        };
        assert_eq!(bus.write(address, &queue.to_le_bytes()), Effect::None);
    }

    /// Makes a chain available and rings the doorbell; its head.
    pub fn send(&mut self, queue: u16, readable: &[&[u8]], writable: &[u32]) -> u16 {
        let head = self.rings[usize::from(queue)].add(readable, writable);
        self.kick(queue);
        head
    }

    /// The next used chain of `queue`, waiting for it up to ten seconds.
    pub fn wait_used(&mut self, queue: u16) -> Used {
        let mut used = None;
        wait(|| {
            used = self.rings[usize::from(queue)].pop_used();
            used.is_some()
        });
        used.unwrap()
    }

    /// Sends a request and returns what the device wrote.
    pub fn request(&mut self, queue: u16, readable: &[&[u8]], writable: &[u32]) -> Vec<u8> {
        self.send(queue, readable, writable);
        self.wait_used(queue).data
    }
}

/// Waits until `done`, up to ten seconds.
pub fn wait(mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < end, "nothing happened for ten seconds");
        thread::sleep(Duration::from_micros(200));
    }
}

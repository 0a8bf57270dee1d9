//! A driver that runs a device through its page of virtio-mmio registers and its interrupt line.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::pci::QUEUE_RAM;
use super::{FakePlatform, Ring, ram};
use crate::GuestRam;
use crate::bus::{Bus, Effect};
use crate::event_loop::EventLoop;
use crate::lock;
use crate::platform::InterruptLine;
use crate::virtio::device::VirtioDevice;
use crate::virtio::transport::{VirtioContext, VirtioMmio};

/// Where the registers are.
pub const BASE: u64 = 0xf000_0000;

/// The offsets of the registers (VIRTIO 1.3 §4.2.2).
#[allow(missing_docs, reason = "named as in the specification")]
pub mod reg {
    pub const MAGIC_VALUE: u64 = 0x000;
    pub const VERSION: u64 = 0x004;
    pub const DEVICE_ID: u64 = 0x008;
    pub const VENDOR_ID: u64 = 0x00c;
    pub const DEVICE_FEATURES: u64 = 0x010;
    pub const DEVICE_FEATURES_SEL: u64 = 0x014;
    pub const DRIVER_FEATURES: u64 = 0x020;
    pub const DRIVER_FEATURES_SEL: u64 = 0x024;
    pub const QUEUE_SEL: u64 = 0x030;
    pub const QUEUE_SIZE_MAX: u64 = 0x034;
    pub const QUEUE_SIZE: u64 = 0x038;
    pub const QUEUE_READY: u64 = 0x044;
    pub const QUEUE_NOTIFY: u64 = 0x050;
    pub const INTERRUPT_STATUS: u64 = 0x060;
    pub const INTERRUPT_ACK: u64 = 0x064;
    pub const STATUS: u64 = 0x070;
    pub const QUEUE_DESC: u64 = 0x080;
    pub const QUEUE_DRIVER: u64 = 0x090;
    pub const QUEUE_DEVICE: u64 = 0x0a0;
    pub const SHM_SEL: u64 = 0x0ac;
    pub const SHM_LEN: u64 = 0x0b0;
    pub const SHM_BASE: u64 = 0x0b8;
    pub const CONFIG_GENERATION: u64 = 0x0fc;
    pub const CONFIG: u64 = 0x100;
}

/// An interrupt line that counts its edges.
#[derive(Debug, Clone, Default)]
pub struct FakeLine {
    edges: Arc<AtomicUsize>,
    high: Arc<AtomicBool>,
}

impl FakeLine {
    /// How often the line rose.
    #[must_use]
    pub fn edges(&self) -> usize {
        self.edges.load(Ordering::SeqCst)
    }
}

impl InterruptLine for FakeLine {
    fn set(&self, high: bool) -> io::Result<()> {
        if !self.high.swap(high, Ordering::SeqCst) && high {
            self.edges.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }
}

/// A machine with one virtio-mmio device, and the driver for it.
#[derive(Debug)]
pub struct MmioDriver {
    /// Guest RAM, from address 0.
    pub mem: GuestRam,
    /// The hypervisor.
    pub platform: Arc<FakePlatform>,
    /// The device's registers.
    pub transport: Arc<Mutex<VirtioMmio>>,
    /// Memory-mapped I/O.
    pub mmio: Bus,
    /// The device's interrupt.
    pub line: FakeLine,
    /// The driver's half of the queues.
    pub rings: Vec<Ring>,
    events: EventLoop,
}

impl MmioDriver {
    /// Puts `device` behind registers; none is written yet.
    #[must_use]
    pub fn new(device: Box<dyn VirtioDevice>) -> Self {
        let sizes = device.info().queue_sizes;
        let mem = ram(usize::try_from(QUEUE_RAM).unwrap() * (sizes.len() + 1));
        let platform = Arc::new(FakePlatform::default());
        let events = EventLoop::spawn("io").unwrap();
        let ctx = VirtioContext {
            mem: mem.clone(),
            platform: platform.clone(),
            events: events.handle(),
        };
        let line = FakeLine::default();
        let transport = VirtioMmio::new("test", device, BASE, Box::new(line.clone()), &ctx);
        let transport = Arc::new(Mutex::new(transport.unwrap()));
        let mut mmio = Bus::new();
        mmio.insert("test", BASE, VirtioMmio::LEN, transport.clone())
            .unwrap();
        let rings = (1..)
            .zip(&sizes)
            .map(|(i, &size)| Ring::new(&mem, size, i * QUEUE_RAM, (i + 1) * QUEUE_RAM))
            .collect();
        Self {
            mem,
            platform,
            transport,
            mmio,
            line,
            rings,
            events,
        }
    }

    /// Reads a register.
    #[must_use]
    pub fn get(&self, register: u64) -> u32 {
        let mut data = [0xaa; 4];
        self.mmio.read(BASE + register, &mut data);
        u32::from_le_bytes(data)
    }

    /// Writes a register.
    pub fn set(&self, register: u64, value: u32) {
        self.write(register, &value.to_le_bytes());
    }

    /// Writes bytes of any number from `register` on.
    pub fn write(&self, register: u64, data: &[u8]) {
        assert_eq!(self.mmio.write(BASE + register, data), Effect::None);
    }

    /// Writes both halves of an address.
    pub fn set_64(&self, register: u64, value: u64) {
        self.set(register, value as u32);
        self.set(register + 4, (value >> 32) as u32);
    }

    /// Waits until the devices' loop has answered what was rung before.
    pub fn settle(&self) {
        super::settle(&self.events);
    }

    /// Stops the device, as for a snapshot, and lets it run again.
    pub fn pause_and_resume(&self) {
        lock(&self.transport).pause();
        lock(&self.transport).resume();
    }
}

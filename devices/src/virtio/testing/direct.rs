//! A driver that calls a device's methods by itself, with no transport between.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use virtio_queue::{Queue, QueueT};
use vm_memory::{GuestAddress, GuestMemoryBackend};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::{FakeInterrupt, FakeRegistry, Ring, Used, ram};
use crate::GuestRam;
use crate::virtio::core::{F_RING_EVENT_IDX, TRANSPORT_FEATURES};
use crate::virtio::device::{
    ActiveIo, Again, DeviceError, DeviceInfo, Interrupt, Token, VirtioDevice,
};
use crate::virtio::queue::VirtQueue;

/// RAM for each queue's rings and buffers.
const QUEUE_RAM: u64 = 4 << 20;

/// A device with its driver: guest RAM, every queue set up at its largest size, all in the test's
/// own thread.
pub struct Driver<D> {
    /// The device.
    pub device: D,
    /// Guest RAM, from address 0.
    pub mem: GuestRam,
    /// The device's half of the queues.
    pub queues: Vec<VirtQueue>,
    /// The queues' doorbells, which nobody rings by himself.
    pub doorbells: Vec<EventFd>,
    /// The driver's half of the queues.
    pub rings: Vec<Ring>,
    /// The negotiated features.
    pub features: u64,
    /// The notifications sent.
    pub interrupt: Arc<FakeInterrupt>,
    /// The descriptors that the device watches.
    pub events: FakeRegistry,
    /// The queues that the device asked to be called for again.
    pub again: Again,
    line: Arc<dyn Interrupt>,
}

impl<D: fmt::Debug> fmt::Debug for Driver<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("device", &self.device)
            .field("queues", &self.queues)
            .finish_non_exhaustive()
    }
}

impl<D: VirtioDevice> Driver<D> {
    /// Sets `device` up with every feature that it and the framework offer, and activates it.
    pub fn new(device: D) -> Self {
        Self::with_features(device, u64::MAX)
    }

    /// Sets `device` up with the offered features that are in `wanted`, and activates it.
    pub fn with_features(device: D, wanted: u64) -> Self {
        let mut driver = Self::idle(device, wanted);
        driver.activate().expect("activate");
        driver
    }

    /// Sets everything up but does not call [`VirtioDevice::activate`].
    pub fn idle(device: D, wanted: u64) -> Self {
        let DeviceInfo {
            features,
            queue_sizes,
            ..
        } = device.info();
        let count = queue_sizes.len() as u64;
        let mem = ram(usize::try_from(QUEUE_RAM * (count + 1)).unwrap());
        let interrupt = Arc::new(FakeInterrupt::default());
        let bases = (1..).map(|i| i * QUEUE_RAM);
        let rings = queue_sizes
            .iter()
            .zip(bases)
            .map(|(&size, base)| Ring::new(&mem, size, base, base + QUEUE_RAM))
            .collect();
        let mut driver = Self {
            device,
            mem,
            queues: Vec::new(),
            doorbells: queue_sizes
                .iter()
                .map(|_| EventFd::new(EFD_NONBLOCK).unwrap())
                .collect(),
            rings,
            features: (features | TRANSPORT_FEATURES) & wanted,
            line: interrupt.clone(),
            interrupt,
            events: FakeRegistry::default(),
            again: Again::default(),
        };
        driver.set_up_queues();
        driver
    }

    /// Empties the rings and makes new queues of them, as a driver does after a reset.
    pub fn set_up_queues(&mut self) {
        let event_idx = self.features & F_RING_EVENT_IDX != 0;
        self.rings.iter_mut().for_each(Ring::reset);
        self.queues = self
            .rings
            .iter()
            .map(|ring| {
                let mut queue = VirtQueue::new(ring.size).unwrap();
                enable(queue.ring(), ring, event_idx);
                assert!(queue.is_valid(&self.mem));
                queue
            })
            .collect();
    }

    fn io(&mut self) -> (&mut D, ActiveIo<'_>) {
        let io = ActiveIo {
            mem: &self.mem,
            queues: &mut self.queues,
            doorbells: &self.doorbells,
            features: self.features,
            interrupt: &self.line,
            events: &mut self.events,
            again: &mut self.again,
        };
        (&mut self.device, io)
    }

    /// Lends the device what the framework lends it, for any call.
    pub fn with_io<T>(&mut self, f: impl FnOnce(&mut D, &mut ActiveIo<'_>) -> T) -> T {
        let (device, mut io) = self.io();
        f(device, &mut io)
    }

    /// Calls [`VirtioDevice::activate`].
    ///
    /// # Errors
    /// What the device says.
    pub fn activate(&mut self) -> Result<(), DeviceError> {
        let (device, mut io) = self.io();
        device.activate(&mut io)
    }

    /// Rings the doorbell of `queue`: calls [`VirtioDevice::process_queue`], and again as long as
    /// the device asks for it.
    ///
    /// # Errors
    /// What the device says.
    pub fn kick(&mut self, queue: u16) -> Result<(), DeviceError> {
        loop {
            self.again = Again::default();
            let (device, mut io) = self.io();
            device.process_queue(&mut io, queue)?;
            if !self.again.contains(queue) {
                return Ok(());
            }
        }
    }

    /// Calls [`VirtioDevice::process_event`].
    ///
    /// # Errors
    /// What the device says.
    pub fn event(&mut self, token: Token) -> Result<(), DeviceError> {
        let (device, mut io) = self.io();
        device.process_event(&mut io, token)
    }

    /// Waits up to `timeout` for descriptors that the device watches and calls
    /// [`VirtioDevice::process_event`] for each that is ready; how many were.
    ///
    /// # Errors
    /// What the device says.
    pub fn poll(&mut self, timeout: Duration) -> Result<usize, DeviceError> {
        let ready = self.events.ready(timeout);
        for &token in &ready {
            self.event(token)?;
        }
        Ok(ready.len())
    }

    /// Calls [`VirtioDevice::quiesce`].
    pub fn quiesce(&mut self) {
        let (device, mut io) = self.io();
        device.quiesce(&mut io);
    }

    /// Makes a chain available on `queue` without ringing the doorbell; its head.
    pub fn add(&mut self, queue: u16, readable: &[&[u8]], writable: &[u32]) -> u16 {
        self.rings[usize::from(queue)].add(readable, writable)
    }

    /// Takes the next used chain of `queue`.
    pub fn pop_used(&mut self, queue: u16) -> Option<Used> {
        self.rings[usize::from(queue)].pop_used()
    }

    /// Makes a chain available, rings the doorbell and returns what the device wrote; the device
    /// must answer at once.
    pub fn request(&mut self, queue: u16, readable: &[&[u8]], writable: &[u32]) -> Vec<u8> {
        let head = self.add(queue, readable, writable);
        self.kick(queue).expect("process_queue");
        let used = self.pop_used(queue).expect("no answer");
        assert_eq!(used.head, head, "another chain was answered");
        used.data
    }

    /// Used buffer notifications sent for `queue` so far.
    #[must_use]
    pub fn interrupts(&self, queue: u16) -> usize {
        self.interrupt.queue_count(queue)
    }
}

/// Writes the driver's ring addresses to a device's queue and enables it.
pub fn enable(queue: &mut Queue, ring: &Ring, event_idx: bool) {
    queue.try_set_size(ring.size).unwrap();
    queue
        .try_set_desc_table_address(GuestAddress(ring.desc))
        .unwrap();
    queue
        .try_set_avail_ring_address(GuestAddress(ring.avail))
        .unwrap();
    queue
        .try_set_used_ring_address(GuestAddress(ring.used))
        .unwrap();
    queue.set_event_idx(event_idx);
    queue.set_ready(true);
}

impl<D> Driver<D> {
    /// The size of guest RAM in bytes.
    #[must_use]
    pub fn ram_size(&self) -> u64 {
        self.mem.last_addr().0 + 1
    }
}

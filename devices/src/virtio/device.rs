//! The seam between a virtio device and the framework that runs it.
//!
//! The framework owns the queues, the feature bits, the doorbells, the status and their saved
//! state; a device borrows them in [`ActiveIo`] for the length of one call. A device has one owner
//! at a time (the transport while idle, an event loop while active) and never sits behind a lock.

use std::fmt::Debug;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use vmm_sys_util::eventfd::EventFd;

use crate::GuestRam;
use crate::persist::{Payload, PersistError};
use crate::virtio::queue::{QueueError, VirtQueue};

/// What a transport needs to know of a device before it runs.
#[derive(Debug, Clone)]
pub struct DeviceInfo {
    /// The device type (VIRTIO 1.3 §5, for example 4 for entropy).
    pub id: u32,
    /// Feature bits offered, device-specific ones only: the transport adds its own
    /// (`VERSION_1`, `RING_EVENT_IDX`, `RING_INDIRECT_DESC`).
    pub features: u64,
    /// The largest size of each queue, a power of two of at most 32768; its length is the number
    /// of queues.
    pub queue_sizes: Vec<u16>,
    /// Where the device's calls run.
    pub runs_on: EventLoop,
}

/// The event loop that runs an active device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventLoop {
    /// The `io` thread, shared by all devices that never block.
    Shared,
    /// A thread of the device's own, named so (for example `fs0`), for back ends that block.
    Own(&'static str),
}

/// The device-specific configuration space (VIRTIO 1.3 §2.5): the only part of a device that
/// vCPU threads share with its event loop.
pub trait ConfigSpace: Send + Sync + Debug {
    /// Copies `data.len()` bytes from `offset`; bytes past the end read as zero.
    fn read(&self, offset: u64, data: &mut [u8]);

    /// Takes a driver's write; read-only fields ignore it.
    fn write(&self, offset: u64, data: &[u8]) {
        let _ = (offset, data);
    }
}

/// A configuration space of plain bytes that the driver can only read.
#[derive(Debug, Default, Clone)]
pub struct ConstConfig(pub Vec<u8>);

impl ConfigSpace for ConstConfig {
    fn read(&self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(self.0.len());
        let bytes = self.0.get(start..).unwrap_or_default();
        let n = bytes.len().min(data.len());
        for (to, from) in data.iter_mut().zip(bytes.iter().take(n)) {
            *to = *from;
        }
    }
}

/// A device's own name for one of the descriptors it registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u32);

/// What a device waits for on a descriptor (level-triggered, but for [`Interest::Ring`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Registered, waiting for nothing but errors and hang-ups.
    None,
    /// Readable.
    Read,
    /// Writable.
    Write,
    /// Readable or writable.
    ReadWrite,
    /// Each write to an eventfd, whose counter nobody reads.
    Ring,
}

/// The event loop as an active device sees it.
pub trait Registry {
    /// Watches `fd`, which the device owns and keeps open until [`Registry::remove`].
    ///
    /// # Errors
    /// `epoll_ctl` failed (`fd` is watched already, or cannot be watched).
    fn add(&mut self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()>;

    /// Changes what is waited for.
    ///
    /// # Errors
    /// `epoll_ctl` failed.
    fn modify(&mut self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()>;

    /// Stops watching `fd`; to be called before it is closed.
    ///
    /// # Errors
    /// `epoll_ctl` failed.
    fn remove(&mut self, fd: RawFd) -> io::Result<()>;
}

/// Interrupts from a device to its driver.
pub trait Interrupt: Send + Sync + Debug {
    /// Sends a used buffer notification for queue `index` (VIRTIO 1.3 §2.3).
    fn queue(&self, index: u16);

    /// Sends a configuration change notification.
    fn config(&self);

    /// Lets a write to `call` do what [`Interrupt::queue`] does for queue `index`, without this process,
    /// whenever that can be. When it cannot, `call` stays readable: its owner watches it all the same.
    fn bind(&self, index: u16, call: &Arc<EventFd>) {
        let _ = (index, call);
    }

    /// Undoes [`Interrupt::bind`].
    fn unbind(&self, index: u16) {
        let _ = index;
    }
}

/// What the framework lends an active device for the length of one call.
pub struct ActiveIo<'a> {
    /// Guest RAM.
    pub mem: &'a GuestRam,
    /// The device's queues. A queue that the driver did not enable is not
    /// [ready](VirtQueue::ready); popping it yields nothing.
    pub queues: &'a mut [VirtQueue],
    /// The queues' doorbells, one for each.
    pub doorbells: &'a [EventFd],
    /// The negotiated feature bits.
    pub features: u64,
    /// The way to the driver.
    pub interrupt: &'a Arc<dyn Interrupt>,
    /// The event loop, for the back end's descriptors.
    pub events: &'a mut dyn Registry,
    /// The queues to come back to; see [`ActiveIo::call_again`].
    pub again: &'a mut Again,
}

/// A set of queues whose device has more to do and let the rest of its loop go first.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Again(u64);

impl Again {
    /// Queues from here on share the last place.
    const LAST: u16 = 63;

    fn add(&mut self, index: u16) {
        self.0 |= 1 << index.min(Self::LAST);
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether queue `index` is in the set.
    #[must_use]
    pub fn contains(self, index: u16) -> bool {
        self.0 & (1 << index.min(Self::LAST)) != 0
    }
}

impl Debug for ActiveIo<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ActiveIo")
            .field("features", &self.features)
            .finish_non_exhaustive()
    }
}

impl ActiveIo<'_> {
    /// Asks for another [`VirtioDevice::process_queue`] of queue `index`, after whatever else is
    /// ready on the loop: a driver that never stops must not keep the other devices waiting.
    pub fn call_again(&mut self, index: u16) {
        self.again.add(index);
    }

    /// Sends a used buffer notification for queue `index` if the driver wants one. To be called
    /// once after a batch of [`VirtQueue::add_used`].
    ///
    /// # Errors
    /// The ring lies outside guest RAM.
    pub fn notify_used(&mut self, index: u16) -> Result<(), DeviceError> {
        if let Some(queue) = self.queues.get_mut(usize::from(index))
            && queue.needs_notification(self.mem)?
        {
            self.interrupt.queue(index);
        }
        Ok(())
    }
}

/// Why a device cannot go on. The framework then sets `DEVICE_NEEDS_RESET` (VIRTIO 1.3 §2.1.2) and
/// tells the driver; the machine runs on.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The driver broke a rule of the virtqueue.
    #[error("driver broke a virtqueue rule")]
    Queue(#[from] QueueError),
    /// The driver sent a request that the device type forbids.
    #[error("driver sent an invalid request: {0}")]
    Request(&'static str),
    /// The back end failed for good.
    #[error("back end failed: {context}")]
    Backend {
        /// What was being done.
        context: String,
        /// What the system said.
        source: io::Error,
    },
}

/// A virtio device.
pub trait VirtioDevice: Send {
    /// Id, features, queue sizes, event loop. Constant over the device's life.
    fn info(&self) -> DeviceInfo;

    /// The framework's own features that the device must not offer, because somebody else works on
    /// its queues who lacks them.
    fn withheld(&self) -> u64 {
        0
    }

    /// The configuration space, shared with vCPU threads.
    fn config(&self) -> Arc<dyn ConfigSpace> {
        Arc::new(ConstConfig::default())
    }

    /// The driver set `DRIVER_OK`: register back-end descriptors, note the features. Must not
    /// block: a vCPU waits for it.
    ///
    /// # Errors
    /// The device cannot run; the driver sees `DEVICE_NEEDS_RESET`.
    fn activate(&mut self, io: &mut ActiveIo<'_>) -> Result<(), DeviceError> {
        let _ = io;
        Ok(())
    }

    /// The driver rang the doorbell of queue `index`. Spurious calls happen.
    ///
    /// # Errors
    /// See [`DeviceError`].
    fn process_queue(&mut self, io: &mut ActiveIo<'_>, index: u16) -> Result<(), DeviceError>;

    /// A descriptor registered as `token` is ready. Spurious calls happen.
    ///
    /// # Errors
    /// See [`DeviceError`].
    fn process_event(&mut self, io: &mut ActiveIo<'_>, token: Token) -> Result<(), DeviceError> {
        let _ = (io, token);
        Ok(())
    }

    /// The device is about to be stopped (pause, reset, snapshot, unplug): finish or park what is
    /// in flight and remove every descriptor from the registry. Must not block for long.
    fn quiesce(&mut self, io: &mut ActiveIo<'_>) {
        let _ = io;
    }

    /// The driver reset the device: forget all that it told us. The back end stays open.
    fn reset(&mut self) {}

    /// The state to save, of a quiesced device; `None` if there is none.
    ///
    /// # Errors
    /// The state cannot be written.
    fn save(&self) -> Result<Option<Payload>, PersistError> {
        Ok(None)
    }

    /// Takes back what [`VirtioDevice::save`] wrote, before activation.
    ///
    /// # Errors
    /// The state is of another kind or version, or breaks a rule.
    fn restore(&mut self, state: Payload) -> Result<(), PersistError> {
        Err(PersistError::Invalid(format!(
            "unexpected {} state",
            state.kind
        )))
    }
}

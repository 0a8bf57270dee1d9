//! What the host and the driver tell each other about the balloon (VIRTIO 1.3 §5.5.4), and the way
//! to it from outside.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use rustix::event::{EventfdFlags, eventfd};

use super::PFN_SHIFT;
use super::stats::BalloonStats;
use crate::lock;
use crate::virtio::device::{ConfigSpace, Interrupt};

/// Offset of `actual` in the configuration.
const ACTUAL: u64 = 4;

/// What device, driver and host share.
#[derive(Debug)]
pub(super) struct Shared {
    /// Pages that the driver is asked to give, and those that it says it gave.
    target: AtomicU32,
    actual: AtomicU32,
    pub(super) stats: Mutex<BalloonStats>,
    /// The way to the driver, while there is one.
    pub(super) interrupt: Mutex<Option<Arc<dyn Interrupt>>>,
    /// Signalled when somebody wants fresh statistics.
    wanted: OwnedFd,
}

impl Shared {
    pub(super) fn new(size: u64) -> std::io::Result<Self> {
        let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
        Ok(Self {
            target: AtomicU32::new(pages(size)),
            actual: AtomicU32::new(0),
            stats: Mutex::default(),
            interrupt: Mutex::new(None),
            wanted: eventfd(0, flags)?,
        })
    }

    pub(super) fn wanted(&self) -> BorrowedFd<'_> {
        self.wanted.as_fd()
    }

    pub(super) fn target(&self) -> u32 {
        self.target.load(Ordering::Acquire)
    }

    pub(super) fn actual(&self) -> u32 {
        self.actual.load(Ordering::Acquire)
    }

    pub(super) fn set_target(&self, pages: u32) {
        self.target.store(pages, Ordering::Release);
    }

    pub(super) fn set_actual(&self, pages: u32) {
        self.actual.store(pages, Ordering::Release);
    }
}

fn pages(bytes: u64) -> u32 {
    u32::try_from(bytes >> PFN_SHIFT).unwrap_or(u32::MAX)
}

/// The way to a balloon from outside its event loop.
#[derive(Debug, Clone)]
pub struct BalloonHandle(pub(super) Arc<Shared>);

impl BalloonHandle {
    /// Asks the guest to give `bytes` of its memory, or to take back what is beyond them. It does so
    /// in its own time, as far as it can.
    pub fn resize(&self, bytes: u64) {
        self.0.set_target(pages(bytes));
        let interrupt = lock(&self.0.interrupt).clone();
        if let Some(interrupt) = interrupt {
            interrupt.config();
        }
    }

    /// The bytes that the guest was asked for.
    #[must_use]
    pub fn target(&self) -> u64 {
        u64::from(self.0.target()) << PFN_SHIFT
    }

    /// The bytes that the guest says it gave.
    #[must_use]
    pub fn actual(&self) -> u64 {
        u64::from(self.0.actual()) << PFN_SHIFT
    }

    /// What the guest last told of its memory; asks it to tell anew.
    #[must_use]
    pub fn stats(&self) -> BalloonStats {
        // A full counter wakes as well.
        let _ = rustix::io::write(self.0.wanted(), &1u64.to_ne_bytes());
        *lock(&self.0.stats)
    }
}

/// `num_pages`, of the host; `actual`, of the driver.
#[derive(Debug)]
pub(super) struct BalloonConfig(pub(super) Arc<Shared>);

impl ConfigSpace for BalloonConfig {
    fn read(&self, offset: u64, data: &mut [u8]) {
        let fields = u64::from(self.0.target()) | u64::from(self.0.actual()) << 32;
        let fields = fields.to_le_bytes();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        data.fill(0);
        let from = fields.get(start.min(fields.len())..).unwrap_or_default();
        for (to, from) in data.iter_mut().zip(from) {
            *to = *from;
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        if let (ACTUAL, Ok(bytes)) = (offset, data.try_into()) {
            self.0.set_actual(u32::from_le_bytes(bytes));
        }
    }
}

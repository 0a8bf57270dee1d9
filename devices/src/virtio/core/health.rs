//! Whether a device can go on.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::virtio::device::Interrupt;

/// Whether the device can go on; shared by the transport and whoever runs the device.
#[derive(Debug)]
pub struct Health {
    name: String,
    needs_reset: AtomicBool,
    pub(super) reports: AtomicU32,
    interrupt: Arc<dyn Interrupt>,
}

/// A driver can break its device as often as it likes; it fills the log only so far.
pub(super) const MAX_REPORTS: u32 = 8;

impl Health {
    /// The health of device `name`, which tells its driver through `interrupt`.
    pub fn new(name: &str, interrupt: Arc<dyn Interrupt>) -> Self {
        Self {
            name: name.to_owned(),
            needs_reset: AtomicBool::new(false),
            reports: AtomicU32::new(0),
            interrupt,
        }
    }

    /// The device's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the device waits for a reset.
    #[must_use]
    pub fn needs_reset(&self) -> bool {
        self.needs_reset.load(Ordering::Acquire)
    }

    /// Sets `DEVICE_NEEDS_RESET`, and tells a `running` driver (VIRTIO 1.3 §2.1.2).
    pub fn fail(&self, running: bool, why: &dyn fmt::Display) {
        if self.needs_reset.swap(true, Ordering::AcqRel) {
            return;
        }
        if self.reports.load(Ordering::Relaxed) < MAX_REPORTS {
            self.reports.fetch_add(1, Ordering::Relaxed);
            log::warn!("{} needs a reset: {why}", self.name);
        }
        if running {
            self.interrupt.config();
        }
    }

    pub(super) fn set(&self, needs_reset: bool) {
        self.needs_reset.store(needs_reset, Ordering::Release);
    }
}

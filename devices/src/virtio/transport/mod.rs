//! Transports: how a guest reaches a virtio device. Each decodes its accesses into calls of
//! [`Attached`], which holds all that they share.

mod doorbells;
mod mmio;
mod pci;

pub use mmio::VirtioMmio;
pub use pci::VirtioPci;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::GuestRam;
use crate::event_loop::EventLoopHandle;
use crate::persist::{Payload, PersistError};
use crate::platform::Platform;
use crate::virtio::core::{Change, Core, CoreStateV1, Health};
use crate::virtio::device::{ConfigSpace, Interrupt, VirtioDevice};
use crate::virtio::queue::{QueueError, VirtQueue};
use crate::virtio::runner::{Active, Doorbells, Parts, Surroundings};

/// What a machine gives every virtio device.
#[derive(Debug, Clone)]
pub struct VirtioContext {
    /// Guest RAM.
    pub mem: GuestRam,
    /// The hypervisor.
    pub platform: Arc<dyn Platform>,
    /// The loop of the devices that never block.
    pub events: EventLoopHandle,
}

/// Who owns the device.
enum Owner {
    Transport(Box<dyn VirtioDevice>),
    Loop(Active),
    /// Its loop ended with it; only at the machine's end.
    Nobody,
}

/// Bytes of configuration space that are compared for `config_generation`: more than any device
/// type has (VIRTIO 1.3 §5).
const CONFIG_BYTES: usize = 256;

/// A device in its transport: registers, configuration space, and the device itself or the way to
/// the loop that runs it.
pub(crate) struct Attached {
    pub(crate) core: Core,
    config: Arc<dyn ConfigSpace>,
    generation: u8,
    seen: Box<[u8; CONFIG_BYTES]>,
    owner: Owner,
    around: Surroundings,
    events: EventLoopHandle,
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attached")
            .field("name", &self.around.health.name())
            .field("core", &self.core)
            .finish_non_exhaustive()
    }
}

impl Attached {
    /// Puts `device` into a transport that interrupts by `interrupt`.
    ///
    /// # Errors
    /// The device asks for an impossible queue size.
    pub(crate) fn new(
        name: &str,
        device: Box<dyn VirtioDevice>,
        interrupt: Arc<dyn Interrupt>,
        ctx: &VirtioContext,
    ) -> Result<Self, QueueError> {
        let info = device.info();
        for &size in &info.queue_sizes {
            VirtQueue::new(size)?;
        }
        let withheld = device.withheld();
        let health = Arc::new(Health::new(name, Arc::clone(&interrupt)));
        let mut core = Core::new(&info, Arc::clone(&health));
        core.withhold(withheld);
        Ok(Self {
            core,
            config: device.config(),
            generation: 0,
            seen: Box::new([0; CONFIG_BYTES]),
            owner: Owner::Transport(device),
            around: Surroundings {
                mem: ctx.mem.clone(),
                interrupt,
                health,
            },
            events: ctx.events.clone(),
        })
    }

    /// The doorbells of an active device.
    pub(crate) fn doorbells(&self) -> Option<&Doorbells> {
        match &self.owner {
            Owner::Loop(active) => Some(active.doorbells()),
            Owner::Transport(_) | Owner::Nobody => None,
        }
    }

    /// A doorbell write that reached the vCPU thread.
    pub(crate) fn ring(&self, index: usize) {
        if let Some(doorbell) = self.doorbells().and_then(|all| all.get(index))
            && doorbell.write(1).is_err()
        {
            log::debug!("{}: doorbell {index} is full", self.around.health.name());
        }
    }

    /// Takes a write of the device status; `true` if the device was reset.
    pub(crate) fn write_status(&mut self, value: u8) -> bool {
        match self.core.write_status(value) {
            Change::None => false,
            Change::Reset => {
                self.reset();
                true
            }
            Change::Activate => {
                self.start(false);
                false
            }
        }
    }

    fn start(&mut self, resumed: bool) {
        let device = match std::mem::replace(&mut self.owner, Owner::Nobody) {
            Owner::Transport(device) => device,
            Owner::Nobody => {
                self.around.health.fail(true, &"the device is lost");
                return;
            }
            running @ Owner::Loop(_) => {
                self.owner = running;
                return;
            }
        };
        let queues = match self.core.build_queues(&self.around.mem) {
            Ok(queues) => queues,
            Err(error) => {
                self.owner = Owner::Transport(device);
                self.around.health.fail(true, &error);
                return;
            }
        };
        let parts = Parts { device, queues };
        let features = self.core.driver_features();
        let around = self.around.clone();
        match Active::start(parts, features, around, &self.events, resumed) {
            Ok(active) => self.owner = Owner::Loop(active),
            Err((parts, error)) => {
                if let Some(parts) = parts {
                    self.owner = Owner::Transport(parts.device);
                }
                self.around.health.fail(true, &error);
            }
        }
    }

    /// Takes the device back from its loop, quiesced.
    fn stop(&mut self) {
        let active = match std::mem::replace(&mut self.owner, Owner::Nobody) {
            Owner::Loop(active) => active,
            other => {
                self.owner = other;
                return;
            }
        };
        match active.stop() {
            Ok(parts) => {
                self.core.park_queues(&parts.queues);
                self.owner = Owner::Transport(parts.device);
            }
            Err(error) => log::error!("{}: device is lost: {error}", self.around.health.name()),
        }
    }

    fn reset(&mut self) {
        self.stop();
        if let Owner::Transport(device) = &mut self.owner {
            device.reset();
        }
        self.core.reset();
    }

    /// Stops a running device for a pause, a snapshot or an unplug.
    pub(crate) fn pause(&mut self) {
        self.stop();
    }

    /// Runs the device again if its driver had it running.
    pub(crate) fn resume(&mut self) {
        if self.core.running() && !self.around.health.needs_reset() {
            self.start(true);
        }
    }

    /// Reads the device-specific configuration.
    pub(crate) fn read_config(&self, offset: u64, data: &mut [u8]) {
        self.config.read(offset, data);
    }

    /// Writes the device-specific configuration.
    pub(crate) fn write_config(&self, offset: u64, data: &[u8]) {
        self.config.write(offset, data);
    }

    /// `config_generation`: another value than at the last call if the configuration changed in
    /// between (VIRTIO 1.3 §2.5), found by comparing it.
    pub(crate) fn config_generation(&mut self) -> u8 {
        let mut now = [0; CONFIG_BYTES];
        self.config.read(0, &mut now);
        if now != *self.seen {
            *self.seen = now;
            self.generation = self.generation.wrapping_add(1);
        }
        self.generation
    }

    /// The state to save, of a device that does not run.
    ///
    /// # Errors
    /// The device runs or is lost, or cannot be saved.
    pub(crate) fn save(&self) -> Result<AttachedStateV1, PersistError> {
        let Owner::Transport(device) = &self.owner else {
            let name = self.around.health.name();
            return Err(PersistError::Invalid(format!("{name} is running")));
        };
        Ok(AttachedStateV1 {
            core: self.core.save(),
            generation: self.generation,
            device: device.save()?,
        })
    }

    /// Takes back what [`Attached::save`] wrote; [`Attached::resume`] then runs the device.
    ///
    /// # Errors
    /// The device runs, or the state breaks a rule.
    pub(crate) fn restore(&mut self, state: AttachedStateV1) -> Result<(), PersistError> {
        let Owner::Transport(device) = &mut self.owner else {
            let name = self.around.health.name();
            return Err(PersistError::Invalid(format!("{name} is running")));
        };
        self.core.restore(&state.core)?;
        if self.core.running() && !self.around.health.needs_reset() {
            let invalid = |e: QueueError| PersistError::Invalid(e.to_string());
            self.core.build_queues(&self.around.mem).map_err(invalid)?;
        }
        if let Some(payload) = state.device {
            device.restore(payload)?;
        }
        self.generation = state.generation;
        Ok(())
    }
}

/// What is saved of a device under any transport.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AttachedStateV1 {
    core: CoreStateV1,
    generation: u8,
    device: Option<Payload>,
}

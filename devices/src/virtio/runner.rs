//! The hand-over between a transport and an event loop.
//!
//! At `DRIVER_OK` a [`Runner`] takes the device and its queues to the loop; [`Active::stop`] brings
//! them back. Reset, pause, snapshot and unplug are all that one `stop`. The transport does not
//! wait for the start (what goes wrong there shows as `DEVICE_NEEDS_RESET`), only for the stop.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, OnceLock};

use event_manager::SubscriberId;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::event_loop::{EventLoop, EventLoopHandle, Subscriber};
use crate::virtio::core::Health;
use crate::virtio::device::{
    ActiveIo, Again, DeviceError, EventLoop as RunsOn, Interest, Interrupt, Registry, Token,
    VirtioDevice,
};
use crate::virtio::queue::VirtQueue;
use crate::{GuestRam, WithSources};

/// One eventfd for each queue; shared by the loop, the hypervisor and vCPU threads.
pub(crate) type Doorbells = Arc<[EventFd]>;

/// What a device runs with.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    pub(crate) mem: GuestRam,
    pub(crate) interrupt: Arc<dyn Interrupt>,
    pub(crate) health: Arc<Health>,
}

/// What moves between transport and loop.
pub(crate) struct Parts {
    pub(crate) device: Box<dyn VirtioDevice>,
    pub(crate) queues: Vec<VirtQueue>,
}

/// An active device on its loop.
pub(crate) struct Runner {
    parts: Parts,
    features: u64,
    around: Surroundings,
    doorbells: Doorbells,
    resumed: bool,
    failed: bool,
    again: Again,
}

/// The registry of a device that left its loop: everything is removed already.
struct Nowhere;

impl Registry for Nowhere {
    fn add(&mut self, _fd: RawFd, _token: Token, _interest: Interest) -> io::Result<()> {
        Err(io::ErrorKind::NotConnected.into())
    }

    fn modify(&mut self, _fd: RawFd, _token: Token, _interest: Interest) -> io::Result<()> {
        Err(io::ErrorKind::NotConnected.into())
    }

    fn remove(&mut self, _fd: RawFd) -> io::Result<()> {
        Ok(())
    }
}

impl Runner {
    fn with_io<T>(
        &mut self,
        events: &mut dyn Registry,
        f: impl FnOnce(&mut dyn VirtioDevice, &mut ActiveIo<'_>) -> T,
    ) -> T {
        let mut io = ActiveIo {
            mem: &self.around.mem,
            queues: &mut self.parts.queues,
            doorbells: &self.doorbells,
            features: self.features,
            interrupt: &self.around.interrupt,
            events,
            again: &mut self.again,
        };
        f(self.parts.device.as_mut(), &mut io)
    }

    /// Rings the doorbells of the queues that the device wants to come back to.
    fn ring_again(&mut self) {
        let again = std::mem::take(&mut self.again);
        if again.is_empty() {
            return;
        }
        for (index, doorbell) in (0..).zip(self.doorbells.iter()) {
            if again.contains(index) && doorbell.write(1).is_err() {
                log::debug!("{}: doorbell {index} is full", self.around.health.name());
            }
        }
    }

    /// On the loop, first: watches the doorbells, activates the device and kicks every queue, for
    /// the driver may have filled rings before `DRIVER_OK`, or rung before we listened.
    pub(crate) fn start(&mut self, events: &mut dyn Registry) {
        if let Err(error) = self.try_start(events) {
            self.fail(&error);
        }
    }

    fn try_start(&mut self, events: &mut dyn Registry) -> Result<(), DeviceError> {
        for (token, doorbell) in (0..).zip(self.doorbells.iter()) {
            let watched = events.add(doorbell.as_raw_fd(), Token(token), Interest::Ring);
            watched.map_err(|source| DeviceError::Backend {
                context: "watch a doorbell".to_owned(),
                source,
            })?;
        }
        self.with_io(events, |device, io| device.activate(io))?;
        for index in 0..self.queue_count() {
            if self.resumed && self.is_ready(index) {
                // Interrupts that were due when the device stopped may be lost; one too many is not
                // an error.
                self.around.interrupt.queue(index);
            }
            self.process_queue(events, index)?;
        }
        self.ring_again();
        Ok(())
    }

    fn queue_count(&self) -> u16 {
        u16::try_from(self.parts.queues.len()).unwrap_or(u16::MAX)
    }

    fn is_ready(&self, index: u16) -> bool {
        let queue = self.parts.queues.get(usize::from(index));
        queue.is_some_and(VirtQueue::ready)
    }

    fn process_queue(&mut self, events: &mut dyn Registry, index: u16) -> Result<(), DeviceError> {
        if !self.is_ready(index) {
            return Ok(());
        }
        self.with_io(events, |device, io| device.process_queue(io, index))
    }

    /// On the loop: a doorbell rang or a descriptor of the device is ready.
    pub(crate) fn ready(&mut self, events: &mut dyn Registry, token: Token, fd: RawFd) {
        if self.failed {
            // Nobody will look at this descriptor before the reset.
            if events.remove(fd).is_err() {
                log::debug!("{}: stray descriptor {fd}", self.around.health.name());
            }
            return;
        }
        let done = if self.is_doorbell(token, fd) {
            self.process_queue(events, u16::try_from(token.0).unwrap_or(u16::MAX))
        } else {
            self.with_io(events, |device, io| device.process_event(io, token))
        };
        match done {
            Ok(()) => self.ring_again(),
            Err(error) => self.fail(&error),
        }
    }

    /// Whether `fd` is a doorbell: its token is the queue's index. A device's own descriptors may
    /// have the same tokens.
    fn is_doorbell(&self, token: Token, fd: RawFd) -> bool {
        let doorbell = self.doorbells.get(token.0 as usize);
        doorbell.is_some_and(|doorbell| doorbell.as_raw_fd() == fd)
    }

    fn fail(&mut self, error: &DeviceError) {
        self.failed = true;
        self.around.health.fail(true, &WithSources(error));
    }

    /// Off the loop: the device finishes or parks what is in flight.
    fn finish(mut self) -> Parts {
        self.with_io(&mut Nowhere, |device, io| device.quiesce(io));
        self.parts
    }
}

/// The transport's end of an active device.
#[derive(Debug)]
pub(crate) struct Active {
    id: Arc<OnceLock<SubscriberId>>,
    events: EventLoopHandle,
    /// A loop of the device's own ends with the activity.
    _own: Option<EventLoop>,
    doorbells: Doorbells,
}

impl Active {
    /// Sends the device to its loop. `resumed` says that it ran before, with these queues.
    ///
    /// # Errors
    /// The loop cannot be started or has ended. The parts come back, unless the loop had them
    /// already.
    pub(crate) fn start(
        parts: Parts,
        features: u64,
        around: Surroundings,
        shared: &EventLoopHandle,
        resumed: bool,
    ) -> Result<Self, (Option<Parts>, io::Error)> {
        let (doorbells, own, events) = match prepare(&parts, shared) {
            Ok(prepared) => prepared,
            Err(error) => return Err((Some(parts), error)),
        };
        let runner = Box::new(Runner {
            parts,
            features,
            around,
            doorbells: Arc::clone(&doorbells),
            resumed,
            failed: false,
            again: Again::default(),
        });
        let id = Arc::new(OnceLock::new());
        let posted = Arc::clone(&id);
        let sent = events.post(move |loops| {
            let id = loops.add_subscriber(Subscriber::Device(runner));
            posted.get_or_init(|| id);
        });
        match sent {
            Ok(()) => Ok(Self {
                id,
                events,
                _own: own,
                doorbells,
            }),
            Err(error) => Err((None, error)),
        }
    }

    pub(crate) fn doorbells(&self) -> &Doorbells {
        &self.doorbells
    }

    /// Takes the device and its queues back, quiesced; waits for the loop.
    ///
    /// # Errors
    /// The loop has ended, and the device with it.
    pub(crate) fn stop(self) -> io::Result<Parts> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, "the device has left its loop");
        let id = Arc::clone(&self.id);
        self.events.call(move |loops| {
            let id = *id.get().ok_or_else(gone)?;
            match loops.remove_subscriber(id) {
                Ok(Subscriber::Device(runner)) => Ok(runner.finish()),
                _ => Err(gone()),
            }
        })?
    }
}

type Prepared = (Doorbells, Option<EventLoop>, EventLoopHandle);

fn prepare(parts: &Parts, shared: &EventLoopHandle) -> io::Result<Prepared> {
    let doorbell = |_: &VirtQueue| EventFd::new(EFD_NONBLOCK);
    let doorbells: io::Result<Vec<_>> = parts.queues.iter().map(doorbell).collect();
    let own = match parts.device.info().runs_on {
        RunsOn::Shared => None,
        RunsOn::Own(name) => Some(shared.sibling(name)?),
    };
    let events = own
        .as_ref()
        .map_or_else(|| shared.clone(), EventLoop::handle);
    Ok((doorbells?.into(), own, events))
}

#[cfg(test)]
mod tests;

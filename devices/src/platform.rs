//! What devices ask of the hypervisor: message-signalled interrupts, interrupt lines and doorbells.
//!
//! `vmm::kvm` implements these traits; tests use the fakes of `crate::virtio::testing`.

use std::fmt::Debug;
use std::io;

use vmm_sys_util::eventfd::EventFd;

use crate::bus::Space;

/// One message-signalled interrupt (an MSI-X table entry's other half).
pub trait Msi: Send + Sync + Debug {
    /// Sets the message to send; called by a vCPU thread when the driver programs the vector.
    ///
    /// # Errors
    /// The hypervisor refused the route.
    fn configure(&self, address: u64, data: u32, masked: bool) -> io::Result<()>;

    /// Sends the message; called by any thread.
    ///
    /// # Errors
    /// The hypervisor refused the injection.
    fn trigger(&self) -> io::Result<()>;

    /// Sends the message whenever `event` is written, until [`Msi::unbind`], without a return to this
    /// process; called by any thread, for a vector that has a message.
    ///
    /// # Errors
    /// The hypervisor cannot, or not now.
    fn bind(&self, event: &EventFd) -> io::Result<()> {
        let _ = event;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Undoes [`Msi::bind`]: from now on who watches `event` hears of it.
    ///
    /// # Errors
    /// The two are not bound.
    fn unbind(&self, event: &EventFd) -> io::Result<()> {
        let _ = event;
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A wired interrupt into the interrupt controller.
pub trait InterruptLine: Send + Sync + Debug {
    /// Drives the line high or low.
    ///
    /// # Errors
    /// The hypervisor refused the injection.
    fn set(&self, high: bool) -> io::Result<()>;

    /// Sends one edge: high, then low.
    ///
    /// # Errors
    /// The hypervisor refused the injection.
    fn pulse(&self) -> io::Result<()> {
        self.set(true)?;
        self.set(false)
    }
}

/// The guest's writes that ring a doorbell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DoorbellPlace {
    /// Where `address` counts.
    pub space: Space,
    /// Guest-physical address, or port.
    pub address: u64,
    /// The 32 bits that are to be written; `None` for any length and value.
    pub value: Option<u32>,
}

/// The hypervisor as transports see it.
pub trait Platform: Send + Sync + Debug {
    /// Allocates a message-signalled interrupt. Cheap: host resources are taken when the driver
    /// first unmasks the vector.
    ///
    /// # Errors
    /// No vector is left.
    fn allocate_msi(&self) -> io::Result<Box<dyn Msi>>;

    /// Makes guest writes to `at` signal `doorbell` without a return to user space.
    ///
    /// # Errors
    /// The hypervisor refused the registration.
    fn add_doorbell(&self, at: DoorbellPlace, doorbell: &EventFd) -> io::Result<()>;

    /// Undoes [`Platform::add_doorbell`].
    ///
    /// # Errors
    /// No such doorbell is registered.
    fn remove_doorbell(&self, at: DoorbellPlace, doorbell: &EventFd) -> io::Result<()>;
}

//! Device models and their back ends: everything a guest sees behind a port, an MMIO window or a
//! virtqueue.
//!
//! This crate knows nothing of KVM, of the command line or of `VmSpec`; what a device needs from
//! the hypervisor comes through the traits in [`platform`]. It is therefore tested on any machine.

pub mod backend;
pub mod bus;
pub mod event_loop;
pub mod legacy;
pub mod pci;
pub mod persist;
pub mod platform;
pub mod sys;
pub mod virtio;

use std::error::Error;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The guest's RAM as devices see it.
pub type GuestRam = vm_memory::GuestMemoryMmap<()>;

/// Locks `mutex`, taking the data even if another thread panicked while holding it.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An error with its sources, on one line.
#[derive(Debug, Clone, Copy)]
pub struct WithSources<'a>(pub &'a dyn Error);

impl fmt::Display for WithSources<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

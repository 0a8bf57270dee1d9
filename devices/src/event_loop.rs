//! What runs on an event loop besides virtio devices: consoles and timers.

use crate::virtio::device::{Registry, Token};

/// Something that waits on descriptors of its own and is owned by one event loop.
pub trait Pollable: Send {
    /// Called once on the loop's thread: add the first descriptors.
    ///
    /// # Errors
    /// A descriptor cannot be watched.
    fn register(&mut self, events: &mut dyn Registry) -> std::io::Result<()>;

    /// A descriptor registered as `token` is ready. Spurious calls happen.
    fn ready(&mut self, events: &mut dyn Registry, token: Token);
}

//! Virtio devices (VIRTIO 1.3), the status machine they share, and their transports.

mod buffers;
pub mod core;
pub mod device;
pub mod queue;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

//! Virtio devices (VIRTIO 1.3), the status machine they share, and their transports.

pub mod balloon;
pub mod blk;
mod buffers;
#[cfg(test)]
mod conformance;
pub mod console;
pub mod core;
pub mod device;
pub mod fs;
mod linger;
pub mod net;
pub mod p9;
pub mod queue;
pub mod rng;
pub(crate) mod runner;
#[cfg(test)]
mod semantics;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod transport;
pub(crate) mod vhost;
pub mod vsock;

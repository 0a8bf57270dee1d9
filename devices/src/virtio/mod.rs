//! Virtio devices (VIRTIO 1.3), the status machine they share, and their transports.

pub mod device;
pub mod queue;

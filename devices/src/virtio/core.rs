//! What every virtio transport shares: feature bits, the device status and the queue registers.

/// The driver may hang a table of descriptors from one descriptor (VIRTIO 1.3 §6).
pub const F_RING_INDIRECT_DESC: u64 = 1 << 28;
/// Both sides suppress notifications by index (VIRTIO 1.3 §6).
pub const F_RING_EVENT_IDX: u64 = 1 << 29;
/// The device follows VIRTIO 1.x and not the legacy interface (VIRTIO 1.3 §6).
pub const F_VERSION_1: u64 = 1 << 32;

/// The feature bits that the framework offers for every device.
pub const TRANSPORT_FEATURES: u64 = F_RING_INDIRECT_DESC | F_RING_EVENT_IDX | F_VERSION_1;

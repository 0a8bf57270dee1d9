//! The device driven by FUSE messages in a virtqueue, over real directories.

mod client;
mod external;
mod hostile;
mod locks;
mod mounted;
mod mutation;
mod reading;
mod session;
pub(in crate::virtio) mod side;
mod speed;
mod unprivileged;
mod walk;

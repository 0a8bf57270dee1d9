//! The device driven by 9P messages in a virtqueue, over real directories.

mod client;
mod files;
mod hostile;
mod locks;
mod names;
mod security;
mod session;
pub(in crate::virtio) mod side;
mod xattrs;

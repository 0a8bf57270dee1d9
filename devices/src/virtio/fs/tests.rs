//! The device driven by FUSE messages in a virtqueue, over real directories.

mod client;
mod mutation;
mod reading;

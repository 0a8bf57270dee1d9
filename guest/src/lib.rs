//! Both halves of the contract between host and guest: the bundle that a VM is started from, the
//! documented variants, the initrd with its init, the builder of Debian images, and Debian's kernels.
//!
//! Nothing here knows of KVM or of devices; `vmm` and `cli` read what this crate describes.

#[cfg(feature = "image")]
pub mod agent;
pub mod bundle;
#[cfg(feature = "image")]
pub mod image;
#[cfg(feature = "image")]
pub mod init;
#[cfg(feature = "image")]
pub mod initramfs;
pub mod kernel_config;
#[cfg(feature = "image")]
pub mod kernels;
mod mac;
pub mod modules;
pub mod variant;
pub mod wire;

pub use mac::{MacAddress, MacError};

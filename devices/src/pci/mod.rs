//! The PCI Express bus: configuration space, BARs, MSI-X, host bridge.

mod access;
pub mod bus;
pub mod config;
pub mod host_bridge;
pub mod msix;

pub use bus::{PciBus, PciError, PciFunction, PciLayout};

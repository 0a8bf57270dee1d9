//! The PCI Express bus: configuration space, BARs, MSI-X.

mod access;
pub mod bus;
pub mod config;
pub mod msix;

pub use bus::{PciBus, PciError, PciFunction, PciLayout};

//! The PCI Express bus: configuration space, BARs, MSI-X, host bridge.

//! The host bridge at 00:00.0: what Linux expects to find before it believes in a bus.

use super::bus::PciFunction;
use super::config::{PciConfig, PciIds};

/// A host bridge without registers of its own.
#[derive(Debug)]
pub struct HostBridge {
    config: PciConfig,
}

impl Default for HostBridge {
    fn default() -> Self {
        let config = PciConfig::new(&PciIds {
            // The generic PCI Express host bridge, for which no driver has a quirk.
            id: (0x1b36, 0x0008),
            subsystem: (0x1af4, 0x1100),
            class: 0x06_0000,
            revision: 0,
        });
        Self { config }
    }
}

impl PciFunction for HostBridge {
    fn config(&self) -> &PciConfig {
        &self.config
    }

    fn config_mut(&mut self) -> &mut PciConfig {
        &mut self.config
    }
}

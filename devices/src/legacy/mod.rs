//! Devices of the PC platform.

pub mod acpi_pm;
pub mod ioapic;

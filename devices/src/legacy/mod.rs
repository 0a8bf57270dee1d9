//! Devices of the PC platform.

pub mod acpi_pm;
pub mod fw_cfg;
pub mod i8042;
pub mod ioapic;
pub mod pvpanic;
pub mod serial;

//! The hypervisor: plans a machine, builds it on KVM and runs it until the guest stops.

pub mod acpi;
pub mod boot;
pub mod config;
pub mod kvm;
pub mod layout;
pub mod memory;

//! The tables of fixed form: FADT, MADT and MCFG.

use acpi_tables::fadt::{FADT, FADTBuilder, Flags};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::madt::{
    EnabledStatus, IoApic, LocalInterruptController, MADT, ProcessorLocalApic,
};
use acpi_tables::mcfg::MCFG;
use devices::legacy::acpi_pm::RESET_VALUE;

use super::{AcpiSpec, OEM_ID, OEM_REVISION, OEM_TABLE_ID};
use crate::layout::{Layout, mmio, pio};

/// IA-PC boot architecture flags (`ACPI 6.5 §5.2.9.3`).
mod boot_arch {
    pub(super) const I8042: u16 = 1 << 1;
    pub(super) const NO_VGA: u16 = 1 << 2;
    pub(super) const NO_ASPM: u16 = 1 << 4;
    pub(super) const NO_CMOS_RTC: u16 = 1 << 5;
}

fn port(address: u64) -> GAS {
    GAS::new(
        AddressSpace::SystemIo,
        8,
        0,
        AccessSize::ByteAccess,
        address,
    )
}

/// Fixed ACPI Description Table (`ACPI 6.5 §5.2.9`).
pub(super) fn fadt(dsdt: u64, spec: &AcpiSpec) -> FADT {
    let mut fadt = FADTBuilder::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION)
        .dsdt_64(dsdt)
        .flag(Flags::Wbinvd)
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton)
        .flag(Flags::FixRtc)
        .flag(Flags::ResetRegSup)
        .flag(Flags::HwReducedAcpi);
    let mut arch = boot_arch::NO_VGA | boot_arch::NO_ASPM | boot_arch::NO_CMOS_RTC;
    if spec.i8042 {
        arch |= boot_arch::I8042;
    }
    fadt.iapc_boot_arch = arch.into();
    fadt.reset_reg = port(pio::ACPI_RESET);
    fadt.reset_value = RESET_VALUE;
    fadt.sleep_control_reg = port(pio::ACPI_SLEEP_CONTROL);
    fadt.sleep_status_reg = port(pio::ACPI_SLEEP_STATUS);
    fadt.finalize()
}

/// Multiple APIC Description Table (`ACPI 6.5 §5.2.12`): no 8259, one I/O APIC, and a local APIC
/// for each vCPU. Ids below 255 are told by the same structure for xAPIC and x2APIC.
pub(super) fn madt(layout: &Layout) -> MADT {
    const IOAPIC_ID: u8 = 0;
    const FIRST_GSI: u32 = 0;
    let local_apic = LocalInterruptController::Address(mmio::LOCAL_APIC.start as u32);
    let mut madt = MADT::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION, local_apic);
    for id in 0..layout.cpus() {
        madt.add_structure(ProcessorLocalApic::new(id, id, EnabledStatus::Enabled));
    }
    let address = mmio::IOAPIC.start as u32;
    madt.add_structure(IoApic::new(IOAPIC_ID, address, FIRST_GSI));
    madt
}

/// PCI Express memory-mapped configuration space (`PCI Firmware 3.3 §4.1.2`).
pub(super) fn mcfg() -> MCFG {
    const SEGMENT: u16 = 0;
    let mut mcfg = MCFG::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    mcfg.add_ecam(mmio::ECAM.start, SEGMENT, 0, LAST_BUS);
    mcfg
}

/// The last PCI bus.
pub(super) const LAST_BUS: u8 = (mmio::PCI_BUSES - 1) as u8;

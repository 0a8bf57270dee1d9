//! The ACPI tables of a hardware-reduced machine: RSDP, XSDT, FADT, MADT, MCFG and DSDT.
//!
//! Knows nothing of KVM. The registers that the tables name are `devices::legacy::acpi_pm`; all
//! addresses come from [`crate::layout`].

mod dsdt;
mod tables;

use acpi_tables::Aml;
use acpi_tables::rsdp::Rsdp;
use acpi_tables::xsdt::XSDT;
use devices::GuestRam;
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

use crate::layout::Layout;
use crate::layout::boot::ACPI_TABLES;

const OEM_ID: [u8; 6] = *b"PCPVMM";
const OEM_TABLE_ID: [u8; 8] = *b"MICROVM ";
const OEM_REVISION: u32 = 1;
/// What tables are aligned to.
const ALIGN: usize = 16;
/// The size of the RSDP, rounded up to [`ALIGN`].
const RSDP_ROOM: usize = 48;

/// Which devices the tables tell of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcpiSpec {
    /// The serial port.
    pub serial: bool,
    /// The keyboard controller.
    pub i8042: bool,
    /// The PCI host bridge.
    pub pci: bool,
    /// How many virtio-mmio transports there are, from the first place on.
    pub virtio_mmio: u32,
    /// The firmware configuration device.
    pub fw_cfg: bool,
}

impl Default for AcpiSpec {
    /// A machine with PCI, a serial port and a keyboard controller.
    fn default() -> Self {
        Self {
            serial: true,
            i8042: true,
            pci: true,
            virtio_mmio: 0,
            fw_cfg: false,
        }
    }
}

/// Why the tables cannot be given to the guest.
#[derive(Debug, thiserror::Error)]
pub enum AcpiError {
    /// They outgrew their place.
    #[error("acpi tables of {len} bytes exceed their {} bytes", ACPI_TABLES.len)]
    TooLarge {
        /// Their size.
        len: usize,
    },
    /// Guest RAM does not have the addresses.
    #[error("cannot write acpi tables to guest ram")]
    GuestMemory(#[from] GuestMemoryError),
}

/// The finished tables, placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcpiTables {
    bytes: Vec<u8>,
    offsets: Vec<usize>,
}

impl AcpiTables {
    /// Builds the tables of a machine.
    #[must_use]
    pub fn build(layout: &Layout, spec: &AcpiSpec) -> Self {
        let mut this = Self {
            bytes: Vec::with_capacity(8192),
            offsets: Vec::new(),
        };
        this.bytes.resize(RSDP_ROOM, 0);
        let dsdt = this.append(&dsdt::dsdt(layout, spec));
        let mut xsdt = XSDT::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION);
        xsdt.add_entry(this.append(&tables::fadt(dsdt, spec)));
        xsdt.add_entry(this.append(&tables::madt(layout)));
        if spec.pci {
            xsdt.add_entry(this.append(&tables::mcfg()));
        }
        let xsdt = this.append(&xsdt);
        let mut rsdp = Vec::with_capacity(RSDP_ROOM);
        Rsdp::new(OEM_ID, xsdt).to_aml_bytes(&mut rsdp);
        for (to, from) in this.bytes.iter_mut().zip(rsdp) {
            *to = from;
        }
        this
    }

    /// Appends a table and returns its guest-physical address.
    fn append(&mut self, table: &dyn Aml) -> u64 {
        let at = self.bytes.len().next_multiple_of(ALIGN);
        self.bytes.resize(at, 0);
        self.offsets.push(at);
        table.to_aml_bytes(&mut self.bytes);
        ACPI_TABLES.start + at as u64
    }

    /// Where the guest finds the root of the tables.
    #[must_use]
    pub fn rsdp(&self) -> GuestAddress {
        GuestAddress(ACPI_TABLES.start)
    }

    /// Each table except the RSDP, in order of address.
    pub fn tables(&self) -> impl Iterator<Item = &[u8]> {
        self.offsets.iter().filter_map(|at| {
            let table = self.bytes.get(*at..)?;
            let len = table.get(4..8)?.try_into().ok()?;
            table.get(..u32::from_le_bytes(len) as usize)
        })
    }

    /// Puts the tables into guest RAM and returns the RSDP's address.
    ///
    /// # Errors
    /// The tables are larger than their place, or the RAM does not have it.
    pub fn write(&self, mem: &GuestRam) -> Result<GuestAddress, AcpiError> {
        let len = self.bytes.len();
        if len as u64 > ACPI_TABLES.len {
            return Err(AcpiError::TooLarge { len });
        }
        mem.write_slice(&self.bytes, self.rsdp())?;
        Ok(self.rsdp())
    }
}

#[cfg(test)]
mod tests;

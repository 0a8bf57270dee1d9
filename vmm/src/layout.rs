//! Where everything is: guest RAM, the windows and registers in the 32-bit hole, I/O ports, GSIs
//! and the structures that a kernel is started with.
//!
//! Pure arithmetic: no file descriptor, no hypervisor call. The constants hold for every machine;
//! a [`Layout`] adds what depends on its memory size and vCPU count.
//!
//! ```text
//! 0                RAM (boot structures, ACPI tables below 1 MiB; the kernel from 1 MiB)
//! up to 3 GiB      end of low RAM
//! 3 GiB            PCI_MMIO32    BARs of 32 bits
//! 0xe000_0000      ECAM          PCI configuration space of bus 0
//! 0xf000_0000      VIRTIO_MMIO   virtio-mmio transports
//! 0xfec0_0000      IOAPIC
//! 0xfee0_0000      LOCAL_APIC    local APIC and MSI doorbells
//! 0xfffb_c000      KVM_RESERVED  pages that KVM may need for real mode
//! 4 GiB            the rest of RAM
//! above RAM        pci_mmio64()  BARs of 64 bits
//! ```

use std::fmt;

/// One page.
pub const PAGE: u64 = 4096;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The least memory that holds what is below 1 MiB.
pub const MIN_MEMORY: u64 = MIB;
/// The most memory of a machine.
pub const MAX_MEMORY: u64 = 512 * GIB;
/// The most vCPUs of a machine.
pub const MAX_CPUS: u32 = 64;

/// Memory-mapped windows in the 32-bit hole.
pub mod mmio {
    use super::{GIB, KIB, MIB, PAGE, Range};

    /// The hole between low and high RAM.
    pub const HOLE: Range = Range::new(3 * GIB, GIB);
    /// Window for 32-bit PCI BARs.
    pub const PCI_MMIO32: Range = Range::new(3 * GIB, 512 * MIB);
    /// The number of PCI buses that ECAM covers: the root bus alone.
    pub const PCI_BUSES: u64 = 1;
    /// PCI configuration space (ECAM, 1 MiB a bus).
    pub const ECAM: Range = Range::new(0xe000_0000, PCI_BUSES * MIB);
    /// Registers of virtio-mmio transports.
    pub const VIRTIO_MMIO: Range = Range::new(0xf000_0000, VIRTIO_MMIO_SLOTS * VIRTIO_MMIO_STRIDE);
    /// The number of virtio-mmio transports that have a place, one for each GSI left for them.
    pub const VIRTIO_MMIO_SLOTS: u64 = super::gsi::VIRTIO_MMIO_COUNT as u64;
    /// The distance of two virtio-mmio transports.
    pub const VIRTIO_MMIO_STRIDE: u64 = PAGE;
    /// The I/O APIC's registers.
    pub const IOAPIC: Range = Range::new(0xfec0_0000, PAGE);
    /// The local APIC's registers and the addresses that MSIs are written to.
    pub const LOCAL_APIC: Range = Range::new(0xfee0_0000, MIB);
    /// Pages for KVM's own use (identity map and task state, `KVM api.rst 4.34`, `4.35`).
    pub const KVM_RESERVED: Range = Range::new(KVM_IDENTITY_MAP, 16 * KIB);
    /// The page for `KVM_SET_IDENTITY_MAP_ADDR`.
    pub const KVM_IDENTITY_MAP: u64 = 0xfffb_c000;
    /// The three pages for `KVM_SET_TSS_ADDR`.
    pub const KVM_TSS: u64 = 0xfffb_d000;
}

/// I/O ports.
pub mod pio {
    use devices::legacy::{acpi_pm, fw_cfg, pvpanic};

    use super::Range;

    /// The keyboard controller's data port.
    pub const I8042_DATA: Range = Range::new(0x60, 1);
    /// The keyboard controller's command and status port.
    pub const I8042_COMMAND: Range = Range::new(0x64, 1);
    /// The first serial port (ttyS0).
    pub const SERIAL: Range = Range::new(0x3f8, 8);
    /// The ACPI registers below.
    pub const ACPI: Range = Range::new(0x600, acpi_pm::LEN);
    /// The sleep control register.
    pub const ACPI_SLEEP_CONTROL: u64 = ACPI.start + acpi_pm::SLEEP_CONTROL;
    /// The sleep status register.
    pub const ACPI_SLEEP_STATUS: u64 = ACPI.start + acpi_pm::SLEEP_STATUS;
    /// The reset register.
    pub const ACPI_RESET: u64 = ACPI.start + acpi_pm::RESET;
    /// The event selector of the generic event device; a read clears it.
    pub const ACPI_EVENTS: u64 = ACPI.start + acpi_pm::EVENTS;
    /// PCI configuration mechanism 1 (address and data), beside ECAM.
    pub const PCI_CONFIG: Range = Range::new(0xcf8, 8);
    /// The panic device, where QEMU has it.
    pub const PVPANIC: Range = Range::new(0x505, pvpanic::LEN);
    /// The firmware configuration device, where QEMU has it.
    pub const FW_CFG: Range = Range::new(0x510, fw_cfg::LEN);
    /// The window for PCI BARs of ports: 256, the most that a BAR may have, for each slot.
    pub const PCI_BARS: Range = Range::new(0xc000, 0x2000);
    /// Every port that a device claims, by name.
    pub const ALL: [(&str, Range); 8] = [
        ("i8042 data", I8042_DATA),
        ("i8042 command", I8042_COMMAND),
        ("serial", SERIAL),
        ("acpi", ACPI),
        ("pci config", PCI_CONFIG),
        ("pvpanic", PVPANIC),
        ("fw_cfg", FW_CFG),
        ("pci bars", PCI_BARS),
    ];
}

/// Global system interrupts: inputs of the I/O APIC.
pub mod gsi {
    use devices::legacy::ioapic;

    /// The most inputs.
    pub const COUNT: u32 = ioapic::MAX_PINS as u32;
    /// The keyboard controller.
    pub const I8042: u32 = 1;
    /// The first serial port.
    pub const SERIAL: u32 = 4;
    /// The ACPI generic event device.
    pub const EVENTS: u32 = 5;
    /// The first of those for virtio-mmio transports.
    pub const VIRTIO_MMIO: u32 = 6;
    /// How many GSIs are left for virtio-mmio transports.
    pub const VIRTIO_MMIO_COUNT: u32 = COUNT - VIRTIO_MMIO;

    /// The number of inputs of a machine with this many virtio-mmio transports.
    #[must_use]
    pub fn in_use(virtio_mmio: usize) -> u8 {
        let wired = u8::try_from(virtio_mmio).unwrap_or(u8::MAX);
        (VIRTIO_MMIO as u8)
            .saturating_add(wired)
            .min(ioapic::MAX_PINS)
    }
}

/// Where the structures lie that a kernel finds when it starts: all in the first MiB, below the
/// areas that a PC keeps for its firmware.
pub mod boot {
    use super::{KIB, MIB, PAGE, Range};

    /// Global descriptor table of the initial segments.
    pub const GDT: Range = Range::new(0x500, 0x100);
    /// PVH start information, module list and memory map.
    pub const PVH_START_INFO: Range = Range::new(0x6000, PAGE);
    /// The zero page (`boot_params`).
    pub const ZERO_PAGE: Range = Range::new(0x7000, PAGE);
    /// A page of stack for the first instructions.
    pub const STACK: Range = Range::new(0x8000, PAGE);
    /// Page tables that map the first 4 GiB onto themselves.
    pub const PAGE_TABLES: Range = Range::new(0x9000, 6 * PAGE);
    /// The kernel's command line, with its final zero byte.
    pub const CMDLINE: Range = Range::new(0x2_0000, 64 * KIB);
    /// End of the RAM that lies below the firmware's areas.
    pub const CONVENTIONAL_END: u64 = 0x9_fc00;
    /// ACPI tables; in the area where firmware keeps them, which Linux never uses as RAM.
    pub const ACPI_TABLES: Range = Range::new(0xe_0000, 64 * KIB);
    /// Where a PC's firmware ends, and with it its memory below 1 MiB.
    pub const FIRMWARE: Range = Range::new(0xf_0000, 64 * KIB);
    /// SMBIOS tables, where Linux looks for them.
    pub const SMBIOS: Range = Range::new(0xf_0000, 56 * KIB);
    /// The machine's generation id, in a page of its own.
    pub const GENERATION_ID: Range = Range::new(0xf_e000, PAGE);
    /// The firmware's entry, which a guest jumps to in real mode to restart the machine.
    pub const RESTART_ENTRY: Range = Range::new(0xf_fff0, 16);
    /// Where RAM for the kernel begins.
    pub const HIGH_MEMORY: u64 = MIB;
    /// Every structure, by name.
    pub const ALL: [(&str, Range); 10] = [
        ("gdt", GDT),
        ("pvh start info", PVH_START_INFO),
        ("zero page", ZERO_PAGE),
        ("stack", STACK),
        ("page tables", PAGE_TABLES),
        ("command line", CMDLINE),
        ("acpi tables", ACPI_TABLES),
        ("smbios tables", SMBIOS),
        ("generation id", GENERATION_ID),
        ("restart entry", RESTART_ENTRY),
    ];
}

/// A range of guest-physical addresses or of ports.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Range {
    /// The first address.
    pub start: u64,
    /// The length in bytes.
    pub len: u64,
}

impl Range {
    /// `len` bytes from `start`.
    #[must_use]
    pub const fn new(start: u64, len: u64) -> Self {
        Self { start, len }
    }

    /// From `start` up to, and without, `end`.
    #[must_use]
    pub const fn between(start: u64, end: u64) -> Self {
        Self::new(start, end.saturating_sub(start))
    }

    /// The first address behind the range.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.start.saturating_add(self.len)
    }

    /// Whether the two have an address in common.
    #[must_use]
    pub const fn overlaps(&self, other: &Self) -> bool {
        self.len > 0 && other.len > 0 && self.start < other.end() && other.start < self.end()
    }

    /// Whether all of `other` lies in this range.
    #[must_use]
    pub const fn contains(&self, other: &Self) -> bool {
        self.start <= other.start && other.end() <= self.end()
    }
}

impl fmt::Debug for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.start, self.end())
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The place of a virtio-mmio transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VirtioMmioPlace {
    /// Its registers.
    pub range: Range,
    /// Its interrupt.
    pub gsi: u32,
}

impl VirtioMmioPlace {
    /// The place of transport `n`; `None` if there are not so many.
    #[must_use]
    pub const fn new(n: u32) -> Option<Self> {
        if n >= gsi::VIRTIO_MMIO_COUNT {
            return None;
        }
        let start = mmio::VIRTIO_MMIO.start + n as u64 * mmio::VIRTIO_MMIO_STRIDE;
        Some(Self {
            range: Range::new(start, mmio::VIRTIO_MMIO_STRIDE),
            gsi: gsi::VIRTIO_MMIO + n,
        })
    }
}

/// What an entry of the memory map says of its range (`ACPI 6.5 §15`, address range types).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum MemoryType {
    /// Usable RAM.
    Ram = 1,
    /// Not to be used.
    Reserved = 2,
    /// ACPI tables.
    Acpi = 3,
}

/// One entry of the memory map that the kernel is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryMapEntry {
    /// The addresses.
    pub range: Range,
    /// What they are.
    pub kind: MemoryType,
}

/// One block of guest RAM that the hypervisor maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memslot {
    /// KVM's number of the slot.
    pub slot: u32,
    /// The guest-physical addresses.
    pub range: Range,
}

/// Why a machine of the wanted size cannot be laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Too little or too much memory.
    #[error("memory of {bytes} bytes is outside {MIN_MEMORY}..={MAX_MEMORY}")]
    MemorySize {
        /// What was asked for.
        bytes: u64,
    },
    /// The size is not a multiple of the page size.
    #[error("memory of {bytes} bytes is not a multiple of {PAGE}")]
    MemoryAlignment {
        /// What was asked for.
        bytes: u64,
    },
    /// No vCPU, or too many.
    #[error("{count} vcpus are outside 1..={MAX_CPUS}")]
    CpuCount {
        /// What was asked for.
        count: u32,
    },
    /// The processor cannot address all of it.
    #[error("memory ends at {end:#x}, beyond the processor's {bits} address bits")]
    AddressWidth {
        /// The end of RAM.
        end: u64,
        /// The width of guest-physical addresses.
        bits: u8,
    },
}

/// The places that depend on a machine's size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    memory: u64,
    cpus: u8,
    pci_mmio64: Range,
}

impl Layout {
    /// The length of the window for 64-bit BARs, where the address width leaves room for it.
    pub const PCI_MMIO64_LEN: u64 = 32 * GIB;

    /// Lays out a machine with `memory` bytes of RAM and `cpus` vCPUs.
    ///
    /// # Errors
    /// The memory is smaller than [`MIN_MEMORY`], larger than [`MAX_MEMORY`] or not a multiple of
    /// the page size, or the number of vCPUs is not in `1..=`[`MAX_CPUS`].
    pub fn new(memory: u64, cpus: u32) -> Result<Self, LayoutError> {
        if !(MIN_MEMORY..=MAX_MEMORY).contains(&memory) {
            return Err(LayoutError::MemorySize { bytes: memory });
        }
        if !memory.is_multiple_of(PAGE) {
            return Err(LayoutError::MemoryAlignment { bytes: memory });
        }
        let count = u8::try_from(cpus).ok();
        let Some(cpus) = count.filter(|n| (1..=MAX_CPUS).contains(&u32::from(*n))) else {
            return Err(LayoutError::CpuCount { count: cpus });
        };
        let mut layout = Self {
            memory,
            cpus,
            pci_mmio64: Range::new(0, 0),
        };
        let above_ram = layout.ram_end().max(mmio::HOLE.end());
        let start = above_ram.next_multiple_of(GIB);
        layout.pci_mmio64 = Range::new(start, Self::PCI_MMIO64_LEN);
        Ok(layout)
    }

    /// Cuts the 64-bit PCI window to a processor of `bits` guest-physical address bits; it may
    /// vanish.
    ///
    /// # Errors
    /// RAM itself does not fit.
    pub fn limited_to(mut self, bits: u8) -> Result<Self, LayoutError> {
        let limit = 1_u64.checked_shl(u32::from(bits)).unwrap_or(u64::MAX);
        if self.ram_end() > limit {
            let end = self.ram_end();
            return Err(LayoutError::AddressWidth { end, bits });
        }
        let end = self.pci_mmio64.end().min(limit);
        self.pci_mmio64 = Range::between(self.pci_mmio64.start.min(end), end);
        Ok(self)
    }

    /// The size of RAM in bytes.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.memory
    }

    /// The number of vCPUs, 1 to 64. APIC ids and ACPI processor ids count from 0.
    #[must_use]
    pub fn cpus(&self) -> u8 {
        self.cpus
    }

    /// RAM below the 32-bit hole.
    #[must_use]
    pub fn low_ram(&self) -> Range {
        Range::new(0, self.memory.min(mmio::HOLE.start))
    }

    /// RAM above 4 GiB.
    #[must_use]
    pub fn high_ram(&self) -> Option<Range> {
        let len = self.memory.checked_sub(mmio::HOLE.start)?;
        (len > 0).then_some(Range::new(mmio::HOLE.end(), len))
    }

    /// The first address behind the last byte of RAM.
    #[must_use]
    pub fn ram_end(&self) -> u64 {
        self.high_ram().unwrap_or(self.low_ram()).end()
    }

    /// The blocks of RAM to map, in order of address.
    pub fn memslots(&self) -> impl Iterator<Item = Memslot> + use<> {
        let blocks = [Some(self.low_ram()), self.high_ram()];
        (0..)
            .zip(blocks.into_iter().flatten())
            .map(|(slot, range)| Memslot { slot, range })
    }

    /// Window for 64-bit PCI BARs; empty when the address width leaves no room.
    #[must_use]
    pub fn pci_mmio64(&self) -> Range {
        self.pci_mmio64
    }

    /// Whether all of `range` is low RAM that a kernel may be put into: above 1 MiB, or below it and
    /// clear of the boot structures.
    #[must_use]
    pub fn is_loadable(&self, range: &Range) -> bool {
        let conventional = Range::new(0, boot::CONVENTIONAL_END);
        let low = Range::between(boot::HIGH_MEMORY, self.low_ram().end());
        if conventional.contains(range) {
            return boot::ALL.iter().all(|(_, taken)| !taken.overlaps(range));
        }
        low.contains(range)
    }

    /// The memory map for the kernel (E820 or PVH), in order of address.
    #[must_use]
    pub fn memory_map(&self) -> Vec<MemoryMapEntry> {
        use MemoryType::{Acpi, Ram, Reserved};
        let conventional = Range::new(0, boot::CONVENTIONAL_END);
        let ebda = Range::between(boot::CONVENTIONAL_END, 0xa_0000);
        let low = Range::between(boot::HIGH_MEMORY, self.low_ram().end());
        let high = self.high_ram().unwrap_or(Range::new(0, 0));
        [
            (conventional, Ram),
            (ebda, Reserved),
            (boot::ACPI_TABLES, Acpi),
            (boot::FIRMWARE, Reserved),
            (low, Ram),
            (mmio::ECAM, Reserved),
            (mmio::KVM_RESERVED, Reserved),
            (high, Ram),
        ]
        .into_iter()
        .filter(|(range, _)| range.len > 0)
        .map(|(range, kind)| MemoryMapEntry { range, kind })
        .collect()
    }

    /// Every claim on guest-physical addresses, by name.
    #[must_use]
    pub fn claims(&self) -> Vec<(&'static str, Range)> {
        let mut claims = vec![
            ("low ram", self.low_ram()),
            ("pci mmio32", mmio::PCI_MMIO32),
            ("ecam", mmio::ECAM),
            ("virtio-mmio", mmio::VIRTIO_MMIO),
            ("ioapic", mmio::IOAPIC),
            ("local apic", mmio::LOCAL_APIC),
            ("kvm", mmio::KVM_RESERVED),
            ("pci mmio64", self.pci_mmio64),
        ];
        claims.extend(self.high_ram().map(|range| ("high ram", range)));
        claims
    }
}

#[cfg(test)]
mod tests;

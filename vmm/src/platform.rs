//! The PC platform of the machine: interrupt controller, serial port, keyboard controller, ACPI
//! registers, and the buses that they sit on.

use std::fmt;
use std::sync::{Arc, Mutex};

use devices::backend::console::ConsoleHandle;
use devices::bus::{Bus, BusSlot, Overlap};
use devices::legacy::acpi_pm::AcpiPm;
use devices::legacy::i8042::I8042;
use devices::legacy::ioapic::{IoApic, IoApicLine};
use devices::legacy::pvpanic::Pvpanic;
use devices::legacy::serial::Serial;
use devices::pci::{PciBus, PciLayout};
use devices::platform::InterruptLine;

use crate::kvm::Vm;
use crate::layout::{Layout, Range, gsi, mmio, pio};

/// The platform devices, as those who drive them from outside the guest see them.
pub(crate) struct Platform {
    /// The interrupt controller.
    pub(crate) ioapic: Arc<Mutex<IoApic>>,
    /// Power button, sleep and reset registers.
    pub(crate) power: Arc<Mutex<AcpiPm>>,
    /// Keyboard controller.
    pub(crate) keyboard: Arc<Mutex<I8042>>,
    serial: Arc<Mutex<Serial>>,
}

impl fmt::Debug for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Platform").finish_non_exhaustive()
    }
}

impl Platform {
    /// Makes the platform devices, with `wired` virtio transports beside them; the serial port leads to `console`.
    #[must_use]
    pub(crate) fn new(vm: &Vm, console: ConsoleHandle, wired: usize) -> Self {
        let ioapic = IoApic::new(gsi::in_use(wired), |pin| Box::new(vm.pin(pin)));
        let ioapic = Arc::new(Mutex::new(ioapic));
        let line = |gsi: u32| -> Box<dyn InterruptLine> {
            Box::new(IoApicLine::new(Arc::clone(&ioapic), gsi as u8))
        };
        Self {
            power: Arc::new(Mutex::new(AcpiPm::new(line(gsi::EVENTS)))),
            keyboard: I8042::new(line(gsi::I8042)),
            serial: Serial::new(line(gsi::SERIAL), console),
            ioapic,
        }
    }

    /// The wired interrupt `gsi`.
    #[must_use]
    pub(crate) fn line(&self, gsi: u32) -> Box<dyn InterruptLine> {
        Box::new(IoApicLine::new(Arc::clone(&self.ioapic), gsi as u8))
    }

    /// Puts the platform devices on the buses.
    ///
    /// # Errors
    /// Two of them claim the same addresses.
    pub(crate) fn attach(&self, ports: &mut Bus, memory: &mut Bus) -> Result<(), Overlap> {
        let mut port = |name, range: Range, device: BusSlot| {
            ports.insert(name, range.start, range.len, device)
        };
        port("serial", pio::SERIAL, Arc::clone(&self.serial) as BusSlot)?;
        port("acpi", pio::ACPI, Arc::clone(&self.power) as BusSlot)?;
        let pvpanic: BusSlot = Arc::new(Mutex::new(Pvpanic::default()));
        port("pvpanic", pio::PVPANIC, pvpanic)?;
        let keyboard = Range::between(pio::I8042_DATA.start, pio::I8042_COMMAND.end());
        port("keyboard", keyboard, Arc::clone(&self.keyboard) as BusSlot)?;
        let ioapic = Arc::clone(&self.ioapic) as BusSlot;
        memory.insert("ioapic", mmio::IOAPIC.start, mmio::IOAPIC.len, ioapic)
    }
}

/// The PCI bus of a machine, still empty.
#[must_use]
pub(crate) fn pci_bus(layout: &Layout) -> PciBus {
    let range = |range: Range| range.start..range.end();
    PciBus::new(PciLayout {
        ecam: range(mmio::ECAM),
        mmio32: range(mmio::PCI_MMIO32),
        mmio64: range(layout.pci_mmio64()),
        ports: range(pio::PCI_BARS),
    })
}

//! The devices of the PC platform, wired to an I/O APIC as in a machine.

use std::sync::{Arc, Mutex};

use devices::backend::console::{Console, ConsoleSpec};
use devices::bus::{Bus, BusSlot};
use devices::legacy::acpi_pm::AcpiPm;
use devices::legacy::i8042::I8042;
use devices::legacy::ioapic::{IoApic, IoApicLine};
use devices::legacy::pvpanic::{self, Pvpanic};
use devices::legacy::serial::Serial;
use devices::lock;
use devices::platform::{InterruptLine, Platform};
use devices::virtio::testing::FakePlatform;

use crate::input::Input;

/// The registers of the I/O APIC.
const IOAPIC: u64 = 0xfec0_0000;
/// First port, and how many, of keyboard controller, serial port, panic device and ACPI.
const PORTS: [(u64, u64); 4] = [
    (0x60, I8042::PORTS),
    (0x3f8, Serial::PORTS),
    (0x505, pvpanic::LEN),
    (0x600, 4),
];

/// Runs `data` as accesses of a guest, keys of a client and events of the host.
///
/// # Panics
/// A device does what it must not, or what was saved is not restored.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let platform = FakePlatform::default();
    let message = |_| platform.allocate_msi().expect("a message");
    let ioapic = Arc::new(Mutex::new(IoApic::new(8, message)));
    let line = |pin| -> Box<dyn InterruptLine> { Box::new(IoApicLine::new(ioapic.clone(), pin)) };
    let (console, _pump) = Console::open("ttyS0", &ConsoleSpec::None).expect("a console");
    let serial = Serial::new(line(4), console.clone());
    let keyboard = I8042::new(line(1));
    let acpi = Arc::new(Mutex::new(AcpiPm::new(line(5))));
    let panic: BusSlot = Arc::new(Mutex::new(Pvpanic::default()));
    let (mut pio, mut mmio) = (Bus::new(), Bus::new());
    let slots: [BusSlot; 4] = [keyboard.clone(), serial.clone(), panic, acpi.clone()];
    for ((port, len), slot) in PORTS.into_iter().zip(slots) {
        pio.insert("test", port, len, slot).expect("free ports");
    }
    mmio.insert("ioapic", IOAPIC, 0x1000, ioapic.clone())
        .expect("an empty bus");
    while !input.is_empty() {
        let (what, place) = (input.u8(), input.u8());
        let width = 1 << (what >> 6 & 3).min(2);
        let (port, len) = PORTS[usize::from(place >> 6)];
        let port = port + u64::from(place & 0x3f) % len;
        // The index, the data, and the end of an interrupt, and what is between.
        let register = IOAPIC + u64::from(place & 0x1f) * 4;
        let mut read = [0; 4];
        match what & 15 {
            0..=3 => {
                pio.write(port, &input.u32().to_le_bytes()[..width]);
            }
            4 | 5 => pio.read(port, &mut read[..width]),
            6 | 7 => {
                mmio.write(register, &input.u32().to_le_bytes());
            }
            8 => mmio.read(register, &mut read[..width]),
            9 => console.put_input(input.bytes(place.into())),
            10 => {
                lock(&keyboard).ctrl_alt_del();
            }
            11 => {
                // A masked message is the guest's wish.
                let _ = lock(&acpi).press_power_button();
            }
            12 => {
                let _ = lock(&ioapic).end_of_interrupt(place);
            }
            _ => {
                let saved = lock(&serial).save().expect("saved");
                lock(&serial).restore(&saved).expect("restored");
                let saved = lock(&keyboard).save().expect("saved");
                lock(&keyboard).restore(&saved).expect("restored");
                let saved = lock(&acpi).save().expect("saved");
                lock(&acpi).restore(&saved).expect("restored");
                let saved = lock(&ioapic).save().expect("saved");
                lock(&ioapic).restore(&saved).expect("restored");
            }
        }
    }
}

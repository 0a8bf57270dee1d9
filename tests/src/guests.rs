//! Tiny guests: 32-bit code that talks to the serial port and stops in one of the ways that a guest can.

use std::path::Path;

use anyhow::{Context, Result};

use crate::elf;

/// The first serial port's data register.
const SERIAL: u16 = 0x3f8;
/// Its line status register, with the bits for received data and for an empty transmitter (16550D data sheet, table II).
const SERIAL_STATUS: u16 = SERIAL + 5;
const DATA_READY: u8 = 1;
/// The keyboard controller's command port.
const I8042_COMMAND: u16 = 0x64;
/// The ACPI sleep control and reset registers, as the FADT names them (DESIGN.md, "Ports").
const ACPI_SLEEP_CONTROL: u16 = 0x600;
const ACPI_RESET: u16 = 0x602;

/// How a tiny guest stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// ACPI S5, through the sleep control register.
    PowerOff,
    /// The ACPI reset register.
    AcpiReset,
    /// The keyboard controller's reset command.
    KeyboardReset,
    /// An exception without a table of handlers.
    TripleFault,
    /// Not at all: it halts with interrupts off.
    Halt,
    /// Not at all: it runs in a loop.
    Spin,
}

/// 32-bit machine code, piece by piece.
#[derive(Debug, Default)]
pub struct Code {
    bytes: Vec<u8>,
}

impl Code {
    /// Writes `value` to `port`.
    #[must_use]
    pub fn out(mut self, port: u16, value: u8) -> Self {
        self.bytes.extend([0x66, 0xba]); // mov dx, port
        self.bytes.extend(port.to_le_bytes());
        self.bytes.extend([0xb0, value, 0xee]); // mov al, value; out dx, al
        self
    }

    /// Writes `text` to the serial port.
    #[must_use]
    pub fn print(self, text: &str) -> Self {
        text.bytes().fold(self, |code, byte| code.out(SERIAL, byte))
    }

    /// Writes `byte` to the serial port `count` times.
    #[must_use]
    pub fn repeat(mut self, byte: u8, count: u32) -> Self {
        self.bytes.push(0xb9); // mov ecx, count
        self.bytes.extend(count.to_le_bytes());
        self = self.out(SERIAL, byte);
        self.bytes.pop(); // leaves the port in dx and the byte in al
        self.bytes.extend([0xee, 0xe2, 0xfd]); // again: out dx, al; loop again
        self
    }

    /// Sends what the serial port receives back, up to and including the byte `last`.
    #[must_use]
    pub fn echo_until(mut self, last: u8) -> Self {
        self.bytes.extend([0x66, 0xba]); // again: mov dx, status
        self.bytes.extend(SERIAL_STATUS.to_le_bytes());
        self.bytes.extend([0xec, 0xa8, DATA_READY, 0x74, 0xfb]); // wait: in al, dx; test al, ready; jz wait
        self.bytes.extend([0x66, 0xba]); // mov dx, data
        self.bytes.extend(SERIAL.to_le_bytes());
        self.bytes.extend([0xec, 0xee, 0x3c, last, 0x75, 0xed]); // in al, dx; out dx, al; cmp al, last; jne again
        self
    }

    /// Stops the guest.
    #[must_use]
    pub fn stop(mut self, how: Stop) -> Self {
        self = match how {
            // SLP_TYP 5 and SLP_EN (ACPI 6.5 §4.8.3.7).
            Stop::PowerOff => self.out(ACPI_SLEEP_CONTROL, 5 << 2 | 1 << 5),
            Stop::AcpiReset => self.out(ACPI_RESET, 1),
            Stop::KeyboardReset => self.out(I8042_COMMAND, 0xfe),
            Stop::TripleFault => {
                // mov esp, 2 MiB; push 0; push 0; lidt [esp]; xor ecx, ecx; div ecx
                self.bytes.extend([0xbc, 0, 0, 0x20, 0, 0x6a, 0, 0x6a, 0]);
                self.bytes
                    .extend([0x0f, 0x01, 0x1c, 0x24, 0x31, 0xc9, 0xf7, 0xf1]);
                self
            }
            Stop::Halt => self,
            Stop::Spin => {
                self.bytes.extend([0xeb, 0xfe]); // here: jmp here
                self
            }
        };
        self.bytes.extend([0xfa, 0xf4, 0xeb, 0xfd]); // cli; again: hlt; jmp again
        self
    }

    /// The guest as an ELF kernel with a PVH entry.
    #[must_use]
    pub fn kernel(&self) -> Vec<u8> {
        const X86_64: u16 = 62;
        elf::executable(&self.bytes, X86_64)
    }

    /// Writes the guest to the file `path`.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, self.kernel())
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// A guest that writes one byte and stops: the one that start-up is measured with.
#[must_use]
pub fn one_byte(how: Stop) -> Code {
    Code::default().print("!").stop(how)
}

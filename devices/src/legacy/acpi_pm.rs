//! The ACPI registers of a hardware-reduced machine: sleep, reset, and the event selector of the
//! generic event device (`ACPI 6.5 §4.8.3.7`, `§4.8.3.6`, `§5.6.9`). Owned by the port bus; the
//! supervisor presses the power button through the same lock.

use std::io;

use serde::{Deserialize, Serialize};

use crate::bus::{BusDevice, Effect};
use crate::persist::{Payload, PersistError};
use crate::platform::InterruptLine;

/// Offset of the sleep control register.
pub const SLEEP_CONTROL: u64 = 0;
/// Offset of the sleep status register.
pub const SLEEP_STATUS: u64 = 1;
/// Offset of the reset register.
pub const RESET: u64 = 2;
/// Offset of the event selector; reading it clears it.
pub const EVENTS: u64 = 3;
/// The number of registers, one byte each.
pub const LEN: u64 = 4;

/// The sleep type that means power off (`_S5`).
pub const SLEEP_TYPE_S5: u8 = 5;
/// What the reset register takes for a reset.
pub const RESET_VALUE: u8 = 1;
/// Event selector: the power button was pressed.
pub const EVENT_POWER_BUTTON: u8 = 1 << 0;
/// Event selector: the machine has a new generation id.
pub const EVENT_NEW_GENERATION: u8 = 1 << 1;

/// Sleep control register: go to sleep now.
const SLEEP_ENABLE: u8 = 1 << 5;
const SLEEP_TYPE_SHIFT: u32 = 2;
const SLEEP_TYPE_MASK: u8 = 7;

const KIND: &str = "acpi-pm";
const VERSION: u32 = 1;

/// The ACPI registers.
#[derive(Debug)]
pub struct AcpiPm {
    line: Box<dyn InterruptLine>,
    events: u8,
}

impl AcpiPm {
    /// The registers, with events announced on `line`.
    #[must_use]
    pub fn new(line: Box<dyn InterruptLine>) -> Self {
        Self { line, events: 0 }
    }

    /// Presses the power button: the guest is told once, and shuts down if it listens by then.
    ///
    /// # Errors
    /// The interrupt cannot be sent.
    pub fn press_power_button(&mut self) -> io::Result<()> {
        self.tell(EVENT_POWER_BUTTON)
    }

    /// Tells the guest that its generation id changed.
    ///
    /// # Errors
    /// The interrupt cannot be sent.
    pub fn tell_new_generation(&mut self) -> io::Result<()> {
        self.tell(EVENT_NEW_GENERATION)
    }

    fn tell(&mut self, event: u8) -> io::Result<()> {
        self.events |= event;
        self.line.pulse()
    }

    /// The state of the registers.
    ///
    /// # Errors
    /// The state cannot be written.
    pub fn save(&self) -> Result<Payload, PersistError> {
        let state = AcpiPmStateV1 {
            events: self.events,
        };
        Payload::pack(KIND, VERSION, &state)
    }

    /// Takes back what [`AcpiPm::save`] gave.
    ///
    /// # Errors
    /// The payload is of another device or version.
    pub fn restore(&mut self, state: &Payload) -> Result<(), PersistError> {
        let state: AcpiPmStateV1 = state.unpack(KIND, VERSION)?;
        self.events = state.events & (EVENT_POWER_BUTTON | EVENT_NEW_GENERATION);
        Ok(())
    }

    fn read_register(&mut self, offset: u64) -> u8 {
        match offset {
            EVENTS => std::mem::take(&mut self.events),
            // Neither sleep register holds state: a machine that sleeps has ended.
            SLEEP_CONTROL | SLEEP_STATUS | RESET => 0,
            _ => 0xff,
        }
    }
}

impl BusDevice for AcpiPm {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        for (at, byte) in (offset..).zip(data) {
            *byte = self.read_register(at);
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Effect {
        let mut effect = Effect::None;
        for (at, byte) in (offset..).zip(data) {
            let sleep_type = byte >> SLEEP_TYPE_SHIFT & SLEEP_TYPE_MASK;
            match at {
                SLEEP_CONTROL if byte & SLEEP_ENABLE != 0 && sleep_type == SLEEP_TYPE_S5 => {
                    effect = Effect::Shutdown;
                }
                RESET if *byte == RESET_VALUE => effect = Effect::Reset,
                _ => {}
            }
        }
        effect
    }
}

/// Saved state, version 1.
#[derive(Debug, Serialize, Deserialize)]
struct AcpiPmStateV1 {
    events: u8,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Debug, Default, Clone)]
    struct Line(Arc<AtomicUsize>);

    impl InterruptLine for Line {
        fn set(&self, high: bool) -> io::Result<()> {
            self.0.fetch_add(usize::from(high), Ordering::Relaxed);
            Ok(())
        }
    }

    fn registers() -> (AcpiPm, Line) {
        let line = Line::default();
        (AcpiPm::new(Box::new(line.clone())), line)
    }

    fn read(pm: &mut AcpiPm, offset: u64) -> u8 {
        let mut byte = [0xaa];
        pm.read(offset, &mut byte);
        byte[0]
    }

    #[test]
    fn only_s5_powers_off() {
        let (mut pm, _) = registers();
        for value in 0..=u8::MAX {
            let s5 = value & 0x20 != 0 && value >> 2 & 7 == 5;
            let expected = if s5 { Effect::Shutdown } else { Effect::None };
            assert_eq!(pm.write(SLEEP_CONTROL, &[value]), expected, "{value:#x}");
        }
        assert_eq!(pm.write(SLEEP_STATUS, &[0x80]), Effect::None);
        assert_eq!(read(&mut pm, SLEEP_STATUS), 0);
    }

    #[test]
    fn the_reset_register_resets_by_its_value_alone() {
        let (mut pm, _) = registers();
        assert_eq!(pm.write(RESET, &[0]), Effect::None);
        assert_eq!(pm.write(RESET, &[RESET_VALUE]), Effect::Reset);
        assert_eq!(pm.write(0, &[0, 0, RESET_VALUE, 0]), Effect::Reset);
    }

    #[test]
    fn the_power_button_interrupts_and_is_read_once() {
        let (mut pm, line) = registers();
        assert_eq!(read(&mut pm, EVENTS), 0);
        pm.press_power_button().unwrap();
        pm.press_power_button().unwrap();
        assert_eq!(line.0.load(Ordering::Relaxed), 2);
        assert_eq!(read(&mut pm, EVENTS), EVENT_POWER_BUTTON);
        assert_eq!(read(&mut pm, EVENTS), 0);
    }

    #[test]
    fn events_that_come_together_are_read_together() {
        let (mut pm, line) = registers();
        pm.press_power_button().unwrap();
        pm.tell_new_generation().unwrap();
        assert_eq!(line.0.load(Ordering::Relaxed), 2);
        let saved = pm.save().unwrap();
        let both = EVENT_POWER_BUTTON | EVENT_NEW_GENERATION;
        assert_eq!(read(&mut pm, EVENTS), both);
        assert_eq!(read(&mut pm, EVENTS), 0);
        pm.restore(&saved).unwrap();
        assert_eq!(read(&mut pm, EVENTS), both);
    }

    #[test]
    fn a_pressed_button_survives_save_and_restore() {
        let (mut pm, _) = registers();
        pm.press_power_button().unwrap();
        let saved = pm.save().unwrap();
        let (mut other, _) = registers();
        other.restore(&saved).unwrap();
        assert_eq!(read(&mut other, EVENTS), EVENT_POWER_BUTTON);
        let foreign = Payload::pack("serial", 1, &0).unwrap();
        assert!(other.restore(&foreign).is_err());
    }

    #[test]
    fn accesses_beyond_the_registers_do_nothing() {
        let (mut pm, _) = registers();
        assert_eq!(read(&mut pm, LEN), 0xff);
        assert_eq!(pm.write(LEN, &[0xff]), Effect::None);
        let mut all = [0xaa; 8];
        pm.read(0, &mut all);
        assert_eq!(all, [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    }
}

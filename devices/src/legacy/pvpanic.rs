//! The paravirtual panic device: one port by which the guest's kernel tells that it is at its end
//! (QEMU docs/specs/pvpanic.rst). Found by ACPI as `QEMU0001`.

use crate::bus::{BusDevice, Effect};

/// The number of ports.
pub const LEN: u64 = 1;

/// The kernel panicked.
const PANICKED: u8 = 1 << 0;
/// The kernel panicked and starts a kernel for that case.
const CRASH_LOADED: u8 = 1 << 1;

/// The device. It passes each event on once: a guest that repeats itself tells nothing new.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pvpanic {
    told: u8,
}

impl BusDevice for Pvpanic {
    /// The events that the guest may tell of.
    fn read(&mut self, _: u64, data: &mut [u8]) {
        data.fill(0);
        if let Some(byte) = data.first_mut() {
            *byte = PANICKED | CRASH_LOADED;
        }
    }

    fn write(&mut self, _: u64, data: &[u8]) -> Effect {
        let events = data.first().copied().unwrap_or(0);
        let event = if events & PANICKED != 0 {
            PANICKED
        } else {
            events & CRASH_LOADED
        };
        if event & !self.told == 0 {
            return Effect::None;
        }
        self.told |= event;
        if event == PANICKED {
            Effect::Panic
        } else {
            Effect::CrashLoaded
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_has_its_effect_and_an_unknown_one_none() {
        for (events, effect) in [
            (0, Effect::None),
            (1, Effect::Panic),
            (2, Effect::CrashLoaded),
            (3, Effect::Panic),
            (4, Effect::None),
            (0xff, Effect::Panic),
        ] {
            let mut device = Pvpanic::default();
            assert_eq!(device.write(0, &[events]), effect, "{events:#x}");
        }
        assert_eq!(Pvpanic::default().write(0, &[]), Effect::None);
    }

    #[test]
    fn an_event_that_is_repeated_has_no_further_effect() {
        let mut device = Pvpanic::default();
        assert_eq!(device.write(0, &[2]), Effect::CrashLoaded);
        assert_eq!(device.write(0, &[2]), Effect::None);
        assert_eq!(device.write(0, &[1]), Effect::Panic);
        for events in 0..=u8::MAX {
            assert_eq!(device.write(0, &[events]), Effect::None, "{events:#x}");
        }
    }

    #[test]
    fn a_read_tells_the_events_there_are() {
        let mut wide = [0xff; 4];
        Pvpanic::default().read(0, &mut wide);
        assert_eq!(wide, [3, 0, 0, 0]);
        Pvpanic::default().read(0, &mut []);
    }
}

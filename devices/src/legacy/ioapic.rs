//! The I/O APIC (Intel 82093AA data sheet §3): wired interrupts of the platform devices into the
//! local APICs, as messages.
//!
//! It lives in this process because the local APICs are KVM's alone (a split interrupt
//! controller). PCI devices signal messages themselves and never come here.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use crate::bus::{BusDevice, Effect};
use crate::lock;
use crate::persist::{Payload, PersistError};
use crate::platform::{InterruptLine, Msi};

/// The most pins: those of the 82093AA.
pub const MAX_PINS: u8 = 24;

/// Register select, and the window to the selected register (82093AA §3.1).
const IOREGSEL: u64 = 0x00;
const IOWIN: u64 = 0x10;

/// Indirect registers (82093AA §3.2).
const ID: u8 = 0x00;
const VERSION: u8 = 0x01;
const ARBITRATION: u8 = 0x02;
const REDIRECTION: u8 = 0x10;
const REDIRECTION_END: u8 = REDIRECTION + 2 * MAX_PINS;

/// Redirection entry bits (82093AA §3.2.4).
const DELIVERY_STATUS: u64 = 1 << 12;
const REMOTE_IRR: u64 = 1 << 14;
const LEVEL: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;
const READ_ONLY: u64 = DELIVERY_STATUS | REMOTE_IRR;

struct Pin {
    entry: u64,
    asserted: bool,
    /// An edge came while the pin was masked.
    pending: bool,
    message: Box<dyn Msi>,
}

impl Pin {
    fn is(&self, bits: u64) -> bool {
        self.entry & bits != 0
    }

    /// Gives the message to the hypervisor after a change of the entry (Intel SDM vol. 3A §11.11).
    fn program(&self) -> io::Result<()> {
        let entry = self.entry;
        let destination = entry >> 56;
        let logical = (entry >> 11) & 1;
        let address = 0xfee0_0000 | (destination << 12) | (logical << 2);
        let vector_and_mode = entry & 0x7ff;
        let trigger = if self.is(LEVEL) {
            (1 << 15) | (1 << 14)
        } else {
            0
        };
        self.message
            .configure(address, (vector_and_mode | trigger) as u32, self.is(MASKED))
    }

    /// Sends the interrupt if the pin's state asks for it.
    fn deliver(&mut self) -> io::Result<()> {
        if self.is(MASKED) {
            return Ok(());
        }
        if self.is(LEVEL) {
            if self.asserted && !self.is(REMOTE_IRR) {
                self.entry |= REMOTE_IRR;
                return self.message.trigger();
            }
        } else if self.pending {
            self.pending = false;
            return self.message.trigger();
        }
        Ok(())
    }
}

/// The I/O APIC. Shared by the vCPU threads (its registers) and by the devices wired to it.
pub struct IoApic {
    pins: Vec<Pin>,
    select: u8,
    id: u8,
}

impl fmt::Debug for IoApic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoApic")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl IoApic {
    /// An I/O APIC of `pins` pins ([`MAX_PINS`] at most), whose pin `n` sends what `message(n)` is configured to.
    ///
    /// Drivers look at every pin's entry several times, at their start and at the machine's end, and each look is an
    /// exit: a machine has no more pins than it uses.
    pub fn new(pins: u8, message: impl Fn(u8) -> Box<dyn Msi>) -> Self {
        let pins = (0..pins.min(MAX_PINS))
            .map(|n| Pin {
                entry: MASKED,
                asserted: false,
                pending: false,
                message: message(n),
            })
            .collect();
        Self {
            pins,
            select: 0,
            id: 0,
        }
    }

    /// Drives pin `number`.
    ///
    /// # Errors
    /// The hypervisor refused the injection.
    pub fn set_pin(&mut self, number: u8, high: bool) -> io::Result<()> {
        let Some(pin) = self.pins.get_mut(usize::from(number)) else {
            return Ok(());
        };
        pin.pending |= high && !pin.asserted;
        pin.asserted = high;
        pin.deliver()
    }

    /// Ends the level-triggered interrupts of `vector`; a pin that is still high fires again.
    ///
    /// # Errors
    /// The hypervisor refused the injection.
    pub fn end_of_interrupt(&mut self, vector: u8) -> io::Result<()> {
        for pin in &mut self.pins {
            if pin.is(REMOTE_IRR) && pin.entry & 0xff == u64::from(vector) {
                pin.entry &= !REMOTE_IRR;
                pin.deliver()?;
            }
        }
        Ok(())
    }

    fn register(&self) -> u32 {
        match self.select {
            ID | ARBITRATION => u32::from(self.id) << 24,
            VERSION => ((self.pins.len() as u32).saturating_sub(1) << 16) | 0x11,
            n @ REDIRECTION..REDIRECTION_END => {
                let entry = self
                    .pins
                    .get(usize::from((n - REDIRECTION) / 2))
                    .map_or(u64::MAX, |p| p.entry);
                if n % 2 == 0 {
                    entry as u32
                } else {
                    (entry >> 32) as u32
                }
            }
            _ => u32::MAX,
        }
    }

    fn set_register(&mut self, value: u32) -> io::Result<()> {
        match self.select {
            ID => self.id = ((value >> 24) & 0xf) as u8,
            n @ REDIRECTION..REDIRECTION_END => {
                let Some(pin) = self.pins.get_mut(usize::from((n - REDIRECTION) / 2)) else {
                    return Ok(());
                };
                let value = u64::from(value);
                let old = pin.entry;
                let new = if n % 2 == 0 {
                    (old & !0xffff_ffff) | value
                } else {
                    (old & 0xffff_ffff) | (value << 32)
                };
                pin.entry = (new & !READ_ONLY) | (old & READ_ONLY);
                if !pin.is(LEVEL) {
                    pin.entry &= !REMOTE_IRR;
                }
                pin.program()?;
                pin.deliver()?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The registers, for a snapshot.
    ///
    /// # Errors
    /// The state cannot be written.
    pub fn save(&self) -> Result<Payload, PersistError> {
        let pins = self
            .pins
            .iter()
            .map(|p| (p.entry, p.asserted, p.pending))
            .collect();
        Payload::pack(
            KIND,
            1,
            &IoApicStateV1 {
                select: self.select,
                id: self.id,
                pins,
            },
        )
    }

    /// Takes back what [`IoApic::save`] wrote.
    ///
    /// # Errors
    /// The state is not of this device, or the hypervisor refused its routes.
    pub fn restore(&mut self, payload: &Payload) -> Result<(), PersistError> {
        let state: IoApicStateV1 = payload.unpack(KIND, 1)?;
        if state.pins.len() != self.pins.len() {
            return Err(PersistError::Invalid(format!(
                "{} I/O APIC pins",
                state.pins.len()
            )));
        }
        (self.select, self.id) = (state.select, state.id);
        for (pin, (entry, asserted, pending)) in self.pins.iter_mut().zip(state.pins) {
            (pin.entry, pin.asserted, pin.pending) = (entry, asserted, pending);
            pin.program()
                .map_err(|error| PersistError::Invalid(error.to_string()))?;
        }
        Ok(())
    }
}

impl BusDevice for IoApic {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        let value = match offset {
            IOREGSEL => u32::from(self.select),
            IOWIN => self.register(),
            _ => u32::MAX,
        };
        data.fill(0);
        for (to, from) in data.iter_mut().zip(value.to_le_bytes()) {
            *to = from;
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Effect {
        let mut bytes = [0; 4];
        for (to, from) in bytes.iter_mut().zip(data) {
            *to = *from;
        }
        let value = u32::from_le_bytes(bytes);
        match offset {
            IOREGSEL => self.select = (value & 0xff) as u8,
            IOWIN => {
                if let Err(error) = self.set_register(value) {
                    log::warn!("I/O APIC cannot route an interrupt: {error}");
                }
            }
            _ => {}
        }
        Effect::None
    }
}

/// One pin, as the device wired to it sees it.
#[derive(Debug, Clone)]
pub struct IoApicLine {
    ioapic: Arc<Mutex<IoApic>>,
    pin: u8,
}

impl IoApicLine {
    /// The line into `pin`.
    #[must_use]
    pub fn new(ioapic: Arc<Mutex<IoApic>>, pin: u8) -> Self {
        Self { ioapic, pin }
    }
}

impl InterruptLine for IoApicLine {
    fn set(&self, high: bool) -> io::Result<()> {
        lock(&self.ioapic).set_pin(self.pin, high)
    }
}

const KIND: &str = "ioapic";

/// The saved registers: select, id, and for each pin its entry, line and latched edge.
#[derive(Debug, Serialize, Deserialize)]
struct IoApicStateV1 {
    select: u8,
    id: u8,
    pins: Vec<(u64, bool, bool)>,
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

    use super::*;

    #[derive(Debug, Default)]
    struct Wire {
        sent: AtomicU32,
        message: AtomicU64,
    }

    #[derive(Debug)]
    struct Fake(Arc<Wire>);

    impl Msi for Fake {
        fn configure(&self, address: u64, data: u32, _masked: bool) -> io::Result<()> {
            self.0
                .message
                .store((address << 32) | u64::from(data), Ordering::SeqCst);
            Ok(())
        }

        fn trigger(&self) -> io::Result<()> {
            self.0.sent.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    }

    fn ioapic() -> (IoApic, Arc<Wire>) {
        let wire = Arc::new(Wire::default());
        let pin_4 = Arc::clone(&wire);
        let spare = Arc::new(Wire::default());
        let of = move |n| -> Box<dyn Msi> {
            Box::new(Fake(Arc::clone(if n == 4 { &pin_4 } else { &spare })))
        };
        (IoApic::new(6, of), wire)
    }

    fn set(ioapic: &mut IoApic, register: u8, value: u32) {
        ioapic.write(IOREGSEL, &[register]);
        ioapic.write(IOWIN, &value.to_le_bytes());
    }

    fn get(ioapic: &mut IoApic, register: u8) -> u32 {
        ioapic.write(IOREGSEL, &[register]);
        let mut data = [0; 4];
        ioapic.read(IOWIN, &mut data);
        u32::from_le_bytes(data)
    }

    #[test]
    fn the_version_register_tells_the_last_pin() {
        let (mut ioapic, _) = ioapic();
        assert_eq!(get(&mut ioapic, VERSION), 0x0005_0011);
    }

    #[test]
    fn pins_beyond_the_last_read_as_ones() {
        let (mut ioapic, _) = ioapic();
        assert_eq!(get(&mut ioapic, REDIRECTION + 11), 0);
        assert_eq!(get(&mut ioapic, REDIRECTION + 12), u32::MAX);
    }

    #[test]
    fn an_edge_sends_the_programmed_message_once() {
        let (mut ioapic, wire) = ioapic();
        set(&mut ioapic, REDIRECTION + 9, 2 << 24);
        set(&mut ioapic, REDIRECTION + 8, 0x34);
        ioapic.set_pin(4, true).unwrap();
        ioapic.set_pin(4, true).unwrap();
        assert_eq!(wire.sent.load(Ordering::SeqCst), 1);
        assert_eq!(
            wire.message.load(Ordering::SeqCst),
            (0xfee0_2000 << 32) | 0x34
        );
        ioapic.set_pin(4, false).unwrap();
        ioapic.set_pin(4, true).unwrap();
        assert_eq!(wire.sent.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn an_edge_while_masked_is_delivered_at_unmask() {
        let (mut ioapic, wire) = ioapic();
        ioapic.set_pin(4, true).unwrap();
        ioapic.set_pin(4, false).unwrap();
        assert_eq!(wire.sent.load(Ordering::SeqCst), 0);
        set(&mut ioapic, REDIRECTION + 8, 0x34);
        assert_eq!(wire.sent.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_level_pin_that_stays_high_fires_again_at_end_of_interrupt() {
        let (mut ioapic, wire) = ioapic();
        set(&mut ioapic, REDIRECTION + 8, 0x34 | LEVEL as u32);
        ioapic.set_pin(4, true).unwrap();
        ioapic.set_pin(4, true).unwrap();
        assert_eq!(wire.sent.load(Ordering::SeqCst), 1);
        assert_ne!(get(&mut ioapic, REDIRECTION + 8) & REMOTE_IRR as u32, 0);
        ioapic.end_of_interrupt(0x34).unwrap();
        assert_eq!(wire.sent.load(Ordering::SeqCst), 2);
        ioapic.set_pin(4, false).unwrap();
        ioapic.end_of_interrupt(0x34).unwrap();
        assert_eq!(wire.sent.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn state_survives_save_and_restore() {
        let (mut one, _) = ioapic();
        set(&mut one, REDIRECTION + 9, 3 << 24);
        set(&mut one, REDIRECTION + 8, 0x41);
        let (mut two, wire) = ioapic();
        two.restore(&one.save().unwrap()).unwrap();
        assert_eq!(get(&mut two, REDIRECTION + 8), 0x41);
        two.set_pin(4, true).unwrap();
        assert_eq!(
            wire.message.load(Ordering::SeqCst),
            (0xfee0_3000 << 32) | 0x41
        );
    }

    #[test]
    fn odd_accesses_do_no_harm() {
        let (mut ioapic, _) = ioapic();
        for register in 0..=u8::MAX {
            set(&mut ioapic, register, u32::MAX);
            get(&mut ioapic, register);
        }
        let mut data = [0; 8];
        ioapic.read(0x44, &mut data);
        ioapic.write(IOWIN, &[]);
        ioapic.set_pin(200, true).unwrap();
    }
}

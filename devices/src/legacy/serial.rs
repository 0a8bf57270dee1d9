//! The serial port: a 16550A with 16-byte FIFOs (PC16550D data sheet §8), its line a console.
//!
//! The line is infinitely fast: what is written is sent before the next access, so that the
//! transmitter is always empty and a driver that polls the line status never waits. The receiver
//! takes from the console what its FIFO holds, so nothing is overrun and the rest waits with the
//! clients. Two simplifications against a PC: OUT2 does not gate the interrupt, and the character
//! time-out, four character times on an infinitely fast line, has passed at once.
//!
//! Used by vCPU threads, and by the io loop when input arrives.
//!
//! **Batches.** Writes to the transmitter (offset 0) may be gathered by the hypervisor (coalesced
//! port I/O) and passed later, as long as they come in order and before the next access to any
//! other register: no register but the interrupt identification depends on their time, and a driver
//! that waits for that interrupt has read a register first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use crate::backend::console::ConsoleHandle;
use crate::bus::{BusDevice, Effect};
use crate::lock;
use crate::persist::{Payload, PersistError};
use crate::platform::InterruptLine;

// Registers by offset (PC16550D data sheet, table II).
const DATA: u64 = 0;
const IER: u64 = 1;
const IIR_FCR: u64 = 2;
const LCR: u64 = 3;
const MCR: u64 = 4;
const LSR: u64 = 5;
const MSR: u64 = 6;
const SCRATCH: u64 = 7;

const IER_RECEIVED: u8 = 0x01;
const IER_TRANSMITTER_EMPTY: u8 = 0x02;
const IER_LINE_STATUS: u8 = 0x04;
const IER_MODEM_STATUS: u8 = 0x08;

const IIR_NONE: u8 = 0x01;
const IIR_LINE_STATUS: u8 = 0x06;
const IIR_RECEIVED: u8 = 0x04;
const IIR_TIMEOUT: u8 = 0x0c;
const IIR_TRANSMITTER_EMPTY: u8 = 0x02;
const IIR_MODEM_STATUS: u8 = 0x00;
const IIR_FIFOS: u8 = 0xc0;

const FCR_ENABLE: u8 = 0x01;
const FCR_CLEAR_RECEIVER: u8 = 0x02;

const LCR_DIVISOR_LATCH: u8 = 0x80;

const MCR_LOOP: u8 = 0x10;

const LSR_DATA_READY: u8 = 0x01;
const LSR_OVERRUN: u8 = 0x02;
const LSR_TRANSMITTER_EMPTY: u8 = 0x60;

/// Carrier, data set ready, clear to send: somebody is always there.
const MSR_CONNECTED: u8 = 0xb0;

/// The divisor for 9600 baud at 1.8432 MHz.
const RESET_DIVISOR: u16 = 12;
const FIFO_SIZE: usize = 16;
const STATE_KIND: &str = "serial";

/// A 16550A serial port.
#[derive(Debug)]
pub struct Serial {
    line: Box<dyn InterruptLine>,
    console: ConsoleHandle,
    state: SerialStateV1,
    /// What the line was last driven to.
    raised: bool,
    line_failed: bool,
}

impl Serial {
    /// The number of ports it takes.
    pub const PORTS: u64 = 8;

    /// A port after reset, connected to `console` and to the interrupt `line`.
    #[must_use]
    pub fn new(line: Box<dyn InterruptLine>, console: ConsoleHandle) -> Arc<Mutex<Self>> {
        let input = console.clone();
        let serial = Arc::new(Mutex::new(Self {
            line,
            console,
            state: SerialStateV1::default(),
            raised: false,
            line_failed: false,
        }));
        let weak = Arc::downgrade(&serial);
        input.set_input_waker(Box::new(move || {
            if let Some(serial) = weak.upgrade() {
                let mut serial = lock(&serial);
                serial.receive();
                serial.update_line();
            }
        }));
        serial
    }

    /// The state to put into a snapshot. Output is with the console already; input that the guest
    /// has not read yet is part of it.
    ///
    /// # Errors
    /// The state cannot be written.
    pub fn save(&self) -> Result<Payload, PersistError> {
        Payload::pack(STATE_KIND, 1, &self.state)
    }

    /// Takes back what [`Serial::save`] wrote.
    ///
    /// # Errors
    /// The state is of another kind or version, or no port can be in it.
    pub fn restore(&mut self, payload: &Payload) -> Result<(), PersistError> {
        let state: SerialStateV1 = payload.unpack(STATE_KIND, 1)?;
        if state.received.len() > FIFO_SIZE {
            let what = "more bytes received than the FIFO holds";
            return Err(PersistError::Invalid(what.to_owned()));
        }
        self.state = state;
        self.receive();
        self.update_line();
        Ok(())
    }

    fn fifo_enabled(&self) -> bool {
        self.state.fcr & FCR_ENABLE != 0
    }

    fn capacity(&self) -> usize {
        if self.fifo_enabled() { FIFO_SIZE } else { 1 }
    }

    fn looped(&self) -> bool {
        self.state.mcr & MCR_LOOP != 0
    }

    fn latched(&self) -> bool {
        self.state.lcr & LCR_DIVISOR_LATCH != 0
    }

    /// Fills the receiver from the console; in loopback it is cut off from the line.
    fn receive(&mut self) {
        if self.looped() {
            return;
        }
        let mut data = [0; FIFO_SIZE];
        let room = self.capacity().saturating_sub(self.state.received.len());
        let n = self.console.read(&mut data[..room]);
        self.state.received.extend(&data[..n]);
    }

    fn transmit(&mut self, byte: u8) {
        if !self.looped() {
            self.console.write(&[byte]);
        } else if self.state.received.len() < self.capacity() {
            self.state.received.push_back(byte);
        } else {
            self.state.overrun = true;
        }
        self.state.transmitter_empty = true;
    }

    /// The level at which the received-data interrupt comes (PC16550D data sheet §8.4).
    fn trigger_level(&self) -> usize {
        match self.state.fcr >> 6 {
            _ if !self.fifo_enabled() => 1,
            0 => 1,
            1 => 4,
            2 => 8,
            _ => 14,
        }
    }

    /// The pending interrupt of the highest priority (PC16550D data sheet, table IV).
    fn pending(&self) -> u8 {
        let state = &self.state;
        let on = |source| state.ier & source != 0;
        if on(IER_LINE_STATUS) && state.overrun {
            IIR_LINE_STATUS
        } else if on(IER_RECEIVED) && state.received.len() >= self.trigger_level() {
            IIR_RECEIVED
        } else if on(IER_RECEIVED) && !state.received.is_empty() {
            IIR_TIMEOUT
        } else if on(IER_TRANSMITTER_EMPTY) && state.transmitter_empty {
            IIR_TRANSMITTER_EMPTY
        } else if on(IER_MODEM_STATUS) && state.modem_changes != 0 {
            IIR_MODEM_STATUS
        } else {
            IIR_NONE
        }
    }

    fn update_line(&mut self) {
        let raise = self.pending() != IIR_NONE;
        if raise == self.raised {
            return;
        }
        self.raised = raise;
        if let Err(error) = self.line.set(raise)
            && !std::mem::replace(&mut self.line_failed, true)
        {
            let name = self.console.name();
            log::error!("serial port of console {name}: cannot drive its interrupt: {error}");
        }
    }

    /// The modem inputs; in loopback the outputs come back as DTR to DSR, RTS to CTS, OUT1 to RI,
    /// OUT2 to DCD (PC16550D data sheet §8.7).
    fn modem_inputs(&self) -> u8 {
        if !self.looped() {
            return MSR_CONNECTED;
        }
        let bit = |from: u8, to: u8| (self.state.mcr >> from & 1) << to;
        bit(0, 5) | bit(1, 4) | bit(2, 6) | bit(3, 7)
    }

    fn set_mcr(&mut self, value: u8) {
        let before = self.modem_inputs();
        self.state.mcr = value & 0x1f;
        let after = self.modem_inputs();
        let changed = (before ^ after) >> 4;
        // Ring indicator tells of its trailing edge alone.
        let ring_ended = before & !after & 0x40 != 0;
        self.state.modem_changes |= changed & !0x04 | if ring_ended { 0x04 } else { 0 };
    }

    fn set_fcr(&mut self, value: u8) {
        // Switching the FIFOs on or off clears them, and the other bits count only with bit 0.
        let switched = (self.state.fcr ^ value) & FCR_ENABLE != 0;
        let clear = value & FCR_ENABLE != 0 && value & FCR_CLEAR_RECEIVER != 0;
        if switched || clear {
            self.state.received.clear();
        }
        self.state.fcr = value & 0xc9;
    }

    fn set_ier(&mut self, value: u8) {
        let value = value & 0x0f;
        // Enabling the interrupt while the transmitter is empty, as ever, causes it.
        if value & !self.state.ier & IER_TRANSMITTER_EMPTY != 0 {
            self.state.transmitter_empty = true;
        }
        self.state.ier = value;
    }

    fn read_register(&mut self, offset: u64) -> u8 {
        match offset {
            DATA if self.latched() => self.state.divisor.to_le_bytes()[0],
            DATA => {
                let byte = self.state.received.pop_front().unwrap_or(0);
                self.receive();
                byte
            }
            IER if self.latched() => self.state.divisor.to_le_bytes()[1],
            IER => self.state.ier,
            IIR_FCR => {
                let pending = self.pending();
                if pending == IIR_TRANSMITTER_EMPTY {
                    self.state.transmitter_empty = false;
                }
                let fifos = if self.fifo_enabled() { IIR_FIFOS } else { 0 };
                pending | fifos
            }
            LCR => self.state.lcr,
            MCR => self.state.mcr,
            LSR => {
                let overrun = std::mem::take(&mut self.state.overrun);
                let ready = !self.state.received.is_empty();
                LSR_TRANSMITTER_EMPTY
                    | if overrun { LSR_OVERRUN } else { 0 }
                    | if ready { LSR_DATA_READY } else { 0 }
            }
            MSR => self.modem_inputs() | std::mem::take(&mut self.state.modem_changes),
            SCRATCH => self.state.scratch,
            _ => 0xff,
        }
    }

    fn write_register(&mut self, offset: u64, value: u8) {
        let [low, high] = self.state.divisor.to_le_bytes();
        match offset {
            DATA if self.latched() => self.state.divisor = u16::from_le_bytes([value, high]),
            DATA => self.transmit(value),
            IER if self.latched() => self.state.divisor = u16::from_le_bytes([low, value]),
            IER => self.set_ier(value),
            IIR_FCR => self.set_fcr(value),
            LCR => self.state.lcr = value,
            MCR => self.set_mcr(value),
            SCRATCH => self.state.scratch = value,
            // The line and modem status are read-only but for factory tests.
            _ => {}
        }
        if matches!(offset, IIR_FCR | MCR) {
            self.receive();
        }
    }
}

impl BusDevice for Serial {
    /// A wider access is one of its bytes after the other, as on an 8-bit bus.
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        for (i, byte) in (0..).zip(data) {
            let at = offset.wrapping_add(i);
            *byte = self.read_register(at);
        }
        self.update_line();
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Effect {
        for (i, byte) in (0..).zip(data) {
            let at = offset.wrapping_add(i);
            self.write_register(at, *byte);
        }
        self.update_line();
        Effect::None
    }
}

/// Version 1 of a serial port's saved state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SerialStateV1 {
    ier: u8,
    fcr: u8,
    lcr: u8,
    mcr: u8,
    scratch: u8,
    divisor: u16,
    /// The delta bits of the modem status register.
    modem_changes: u8,
    overrun: bool,
    /// The transmitter-empty interrupt is due once enabled.
    transmitter_empty: bool,
    received: VecDeque<u8>,
}

impl Default for SerialStateV1 {
    /// The state after reset (PC16550D data sheet, table I).
    fn default() -> Self {
        Self {
            ier: 0,
            fcr: 0,
            lcr: 0,
            mcr: 0,
            scratch: 0,
            divisor: RESET_DIVISOR,
            modem_changes: 0,
            overrun: false,
            transmitter_empty: true,
            received: VecDeque::new(),
        }
    }
}

#[cfg(test)]
mod tests;

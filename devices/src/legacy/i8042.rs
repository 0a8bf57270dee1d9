//! The i8042 keyboard controller with a keyboard, as far as a headless PC needs them: the reset
//! pulse, what drivers probe, and Ctrl-Alt-Del typed from outside. There is no mouse.
//!
//! References: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device
//! Controller" and "101-Key Keyboard".
//!
//! The device claims five ports from 0x60 on, of which it answers the first (data) and the last
//! (status and command); those between read all ones. Used by vCPU threads and the supervisor.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use crate::bus::{BusDevice, Effect};
use crate::persist::{Payload, PersistError};
use crate::platform::InterruptLine;

const DATA: u64 = 0;
const COMMAND: u64 = 4;

const STATUS_OUTPUT_FULL: u8 = 0x01;
const STATUS_SYSTEM: u8 = 0x04;
const STATUS_COMMAND: u8 = 0x08;
/// The keyboard is not locked by a key.
const STATUS_UNLOCKED: u8 = 0x10;

// The controller's command byte.
const CTR_INTERRUPT: u8 = 0x01;
const CTR_SYSTEM: u8 = 0x04;
const CTR_KEYBOARD_OFF: u8 = 0x10;
const CTR_MOUSE_OFF: u8 = 0x20;
const CTR_TRANSLATE: u8 = 0x40;

// Commands of the controller.
const READ_CTR: u8 = 0x20;
const WRITE_CTR: u8 = 0x60;
const MOUSE_OFF: u8 = 0xa7;
const MOUSE_ON: u8 = 0xa8;
const TEST_MOUSE_PORT: u8 = 0xa9;
const SELF_TEST: u8 = 0xaa;
const TEST_KEYBOARD_PORT: u8 = 0xab;
const KEYBOARD_OFF: u8 = 0xad;
const KEYBOARD_ON: u8 = 0xae;
const READ_INPUT_PORT: u8 = 0xc0;
const READ_OUTPUT_PORT: u8 = 0xd0;
const WRITE_OUTPUT_PORT: u8 = 0xd1;
const WRITE_KEYBOARD_BUFFER: u8 = 0xd2;
const WRITE_MOUSE_BUFFER: u8 = 0xd3;
const WRITE_MOUSE: u8 = 0xd4;

const SELF_TEST_PASSED: u8 = 0x55;
const PORT_WORKS: u8 = 0x00;
/// The clock line is stuck low: what a port that nothing is wired to looks like.
const PORT_STUCK: u8 = 0x01;
/// The output port: system not in reset, A20 open.
const OUTPUT_PORT: u8 = 0xcf;
const NOT_RESET: u8 = 0x01;

// Commands of the keyboard and its answers.
const SET_LEDS: u8 = 0xed;
const ECHO: u8 = 0xee;
const SCAN_CODE_SET: u8 = 0xf0;
const IDENTIFY: u8 = 0xf2;
const SET_RATE: u8 = 0xf3;
const ENABLE: u8 = 0xf4;
const DISABLE: u8 = 0xf5;
const DEFAULTS: u8 = 0xf6;
const RESEND: u8 = 0xfe;
const RESET: u8 = 0xff;
const ACK: u8 = 0xfa;
const SELF_TEST_DONE: u8 = 0xaa;
const IDENTITY: u8 = 0xab;
const IDENTITY_MF2: u8 = 0x83;
const IDENTITY_MF2_TRANSLATED: u8 = 0x41;

/// Ctrl, Alt, Delete down and up in scan code set 1 (what translation makes of set 2).
const CTRL_ALT_DEL_SET_1: &[u8] = &[0x1d, 0x38, 0xe0, 0x53, 0xe0, 0xd3, 0xb8, 0x9d];
/// The same in scan code set 2.
const CTRL_ALT_DEL_SET_2: &[u8] = &[
    0x14, 0x11, 0xe0, 0x71, 0xe0, 0xf0, 0x71, 0xf0, 0x11, 0xf0, 0x14,
];

/// The most bytes that wait for the guest; a guest that does not read loses what follows.
const QUEUE: usize = 32;
const STATE_KIND: &str = "i8042";

/// A keyboard controller with its keyboard.
#[derive(Debug)]
pub struct I8042 {
    line: Box<dyn InterruptLine>,
    state: I8042StateV1,
    raised: bool,
    line_failed: bool,
}

impl I8042 {
    /// The number of ports it claims.
    pub const PORTS: u64 = 5;

    /// A controller after its power-on test, on the interrupt `line` (IRQ 1).
    #[must_use]
    pub fn new(line: Box<dyn InterruptLine>) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            line,
            state: I8042StateV1::default(),
            raised: false,
            line_failed: false,
        }))
    }

    /// Types Ctrl-Alt-Del; `false` if no driver of the guest listens to the keyboard.
    pub fn ctrl_alt_del(&mut self) -> bool {
        let state = &mut self.state;
        let heard =
            state.scanning && state.ctr & CTR_INTERRUPT != 0 && state.ctr & CTR_KEYBOARD_OFF == 0;
        let codes = if state.ctr & CTR_TRANSLATE != 0 {
            CTRL_ALT_DEL_SET_1
        } else {
            CTRL_ALT_DEL_SET_2
        };
        if !heard || state.keyboard.len() + codes.len() > QUEUE {
            return false;
        }
        state.keyboard.extend(codes);
        self.settle();
        true
    }

    /// The state to put into a snapshot.
    ///
    /// # Errors
    /// The state cannot be written.
    pub fn save(&self) -> Result<Payload, PersistError> {
        Payload::pack(STATE_KIND, 1, &self.state)
    }

    /// Takes back what [`I8042::save`] wrote.
    ///
    /// # Errors
    /// The state is of another kind or version, or no controller can be in it.
    pub fn restore(&mut self, payload: &Payload) -> Result<(), PersistError> {
        let state: I8042StateV1 = payload.unpack(STATE_KIND, 1)?;
        if state.keyboard.len() > QUEUE || state.controller.len() > QUEUE {
            let what = "more bytes queued than the controller holds";
            return Err(PersistError::Invalid(what.to_owned()));
        }
        self.state = state;
        self.settle();
        Ok(())
    }

    /// Moves the next byte into the output buffer and drives the interrupt line.
    fn settle(&mut self) {
        let state = &mut self.state;
        if state.output.is_none() {
            let keyboard_on = state.ctr & CTR_KEYBOARD_OFF == 0;
            let keyboard = keyboard_on.then_some(&mut state.keyboard);
            state.output = state
                .controller
                .pop_front()
                .or_else(|| keyboard.and_then(VecDeque::pop_front));
        }
        let raise = state.output.is_some() && state.ctr & CTR_INTERRUPT != 0;
        self.drive(raise);
    }

    fn drive(&mut self, high: bool) {
        if high == self.raised {
            return;
        }
        self.raised = high;
        if let Err(error) = self.line.set(high)
            && !std::mem::replace(&mut self.line_failed, true)
        {
            log::error!("i8042: cannot drive its interrupt: {error}");
        }
    }

    fn read_data(&mut self) -> u8 {
        if let Some(byte) = self.state.output.take() {
            self.state.last = byte;
            // The next byte is an edge of its own.
            self.drive(false);
        }
        self.settle();
        self.state.last
    }

    fn status(&self) -> u8 {
        let state = &self.state;
        let full = if state.output.is_some() {
            STATUS_OUTPUT_FULL
        } else {
            0
        };
        let command = if state.last_was_command {
            STATUS_COMMAND
        } else {
            0
        };
        let system = if state.ctr & CTR_SYSTEM != 0 {
            STATUS_SYSTEM
        } else {
            0
        };
        STATUS_UNLOCKED | full | command | system
    }

    fn answer(&mut self, byte: u8) {
        if self.state.controller.len() < QUEUE {
            self.state.controller.push_back(byte);
        }
    }

    fn command(&mut self, command: u8) -> Effect {
        self.state.last_was_command = true;
        self.state.controller_expects = None;
        match command {
            READ_CTR => self.answer(self.state.ctr),
            WRITE_CTR
            | WRITE_OUTPUT_PORT
            | WRITE_KEYBOARD_BUFFER
            | WRITE_MOUSE_BUFFER
            | WRITE_MOUSE => self.state.controller_expects = Some(command),
            MOUSE_OFF => self.state.ctr |= CTR_MOUSE_OFF,
            MOUSE_ON => self.state.ctr &= !CTR_MOUSE_OFF,
            TEST_MOUSE_PORT => self.answer(PORT_STUCK),
            SELF_TEST => {
                self.state.ctr |= CTR_SYSTEM;
                self.answer(SELF_TEST_PASSED);
            }
            TEST_KEYBOARD_PORT => self.answer(PORT_WORKS),
            KEYBOARD_OFF => self.state.ctr |= CTR_KEYBOARD_OFF,
            KEYBOARD_ON => self.state.ctr &= !CTR_KEYBOARD_OFF,
            READ_INPUT_PORT => self.answer(0x80),
            READ_OUTPUT_PORT => self.answer(OUTPUT_PORT),
            // Pulses the lines whose bits are 0; bit 0 is the processor's reset.
            0xf0..=0xff if command & NOT_RESET == 0 => return Effect::Reset,
            _ => {}
        }
        Effect::None
    }

    fn data(&mut self, value: u8) -> Effect {
        self.state.last_was_command = false;
        match self.state.controller_expects.take() {
            Some(WRITE_CTR) => self.state.ctr = value,
            Some(WRITE_OUTPUT_PORT) if value & NOT_RESET == 0 => return Effect::Reset,
            // Without a mouse's buffer the byte comes back as the keyboard's, which tells drivers
            // that there is no mouse.
            Some(WRITE_KEYBOARD_BUFFER | WRITE_MOUSE_BUFFER) => self.answer(value),
            Some(_) => {}
            None => {
                self.state.ctr &= !CTR_KEYBOARD_OFF;
                self.keyboard_command(value);
            }
        }
        Effect::None
    }

    fn type_back(&mut self, bytes: &[u8]) {
        if self.state.keyboard.len() + bytes.len() <= QUEUE {
            self.state.keyboard.extend(bytes);
        }
    }

    fn keyboard_command(&mut self, value: u8) {
        match (self.state.keyboard_expects.take(), value) {
            (Some(SCAN_CODE_SET), 0) => self.type_back(&[ACK, 2]),
            (Some(_), parameter) if parameter < SET_LEDS => self.type_back(&[ACK]),
            (_, SET_LEDS | SET_RATE | SCAN_CODE_SET) => {
                self.state.keyboard_expects = Some(value);
                self.type_back(&[ACK]);
            }
            (_, ECHO) => self.type_back(&[ECHO]),
            (_, IDENTIFY) => {
                let translated = self.state.ctr & CTR_TRANSLATE != 0;
                let second = if translated {
                    IDENTITY_MF2_TRANSLATED
                } else {
                    IDENTITY_MF2
                };
                self.type_back(&[ACK, IDENTITY, second]);
            }
            (_, ENABLE) => {
                self.state.scanning = true;
                self.type_back(&[ACK]);
            }
            (_, DISABLE) => {
                self.state.scanning = false;
                self.type_back(&[ACK]);
            }
            (_, DEFAULTS) => self.type_back(&[ACK]),
            (_, RESET) => {
                self.state.scanning = true;
                self.state.keyboard.clear();
                self.type_back(&[ACK, SELF_TEST_DONE]);
            }
            _ => self.type_back(&[RESEND]),
        }
    }
}

impl BusDevice for I8042 {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        data.fill(0xff);
        if let Some(byte) = data.first_mut() {
            match offset {
                DATA => *byte = self.read_data(),
                COMMAND => *byte = self.status(),
                _ => {}
            }
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Effect {
        let effect = match (offset, data.first()) {
            (DATA, Some(&value)) => self.data(value),
            (COMMAND, Some(&value)) => self.command(value),
            _ => Effect::None,
        };
        self.settle();
        effect
    }
}

/// Version 1 of the controller's saved state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct I8042StateV1 {
    /// The command byte.
    ctr: u8,
    /// The output buffer: what the guest reads next.
    output: Option<u8>,
    /// What it read last.
    last: u8,
    last_was_command: bool,
    /// The controller command that waits for its data byte.
    controller_expects: Option<u8>,
    /// The keyboard command that waits for its parameter.
    keyboard_expects: Option<u8>,
    /// Answers of the controller; they go before the keyboard's.
    controller: VecDeque<u8>,
    /// Bytes from the keyboard.
    keyboard: VecDeque<u8>,
    /// The keyboard sends what is typed.
    scanning: bool,
}

impl Default for I8042StateV1 {
    fn default() -> Self {
        Self {
            ctr: CTR_INTERRUPT | CTR_SYSTEM | CTR_MOUSE_OFF | CTR_TRANSLATE,
            output: None,
            last: 0,
            last_was_command: true,
            controller_expects: None,
            keyboard_expects: None,
            controller: VecDeque::new(),
            keyboard: VecDeque::new(),
            scanning: true,
        }
    }
}

#[cfg(test)]
mod tests;

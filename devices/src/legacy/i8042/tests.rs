//! The keyboard controller as Linux's i8042 and atkbd drivers probe it.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Counts the rises of the line.
#[derive(Debug, Default, Clone)]
struct FakeLine(Arc<AtomicUsize>);

impl InterruptLine for FakeLine {
    fn set(&self, high: bool) -> io::Result<()> {
        self.0.fetch_add(usize::from(high), Ordering::SeqCst);
        Ok(())
    }
}

struct Ports {
    device: I8042,
    line: FakeLine,
}

impl Ports {
    fn new() -> Self {
        let line = FakeLine::default();
        let device = I8042::new(Box::new(line.clone()));
        let device = Arc::into_inner(device).unwrap().into_inner().unwrap();
        Self { device, line }
    }

    fn command(&mut self, value: u8) {
        assert_eq!(self.device.write(COMMAND, &[value]), Effect::None);
    }

    fn data(&mut self, value: u8) {
        assert_eq!(self.device.write(DATA, &[value]), Effect::None);
    }

    fn status(&mut self) -> u8 {
        let mut data = [0];
        self.device.read(COMMAND, &mut data);
        data[0]
    }

    /// What waits to be read.
    fn answers(&mut self) -> Vec<u8> {
        let mut found = Vec::new();
        while self.status() & STATUS_OUTPUT_FULL != 0 {
            let mut data = [0];
            self.device.read(DATA, &mut data);
            found.push(data[0]);
        }
        found
    }

    fn ask(&mut self, command: u8) -> Vec<u8> {
        self.command(command);
        self.answers()
    }

    fn ask_keyboard(&mut self, value: u8) -> Vec<u8> {
        self.data(value);
        self.answers()
    }

    fn set_ctr(&mut self, value: u8) {
        self.command(WRITE_CTR);
        self.data(value);
    }
}

/// `i8042_probe()` in drivers/input/serio/i8042.c (v6.12).
#[test]
fn the_probe_of_linux_finds_a_keyboard_and_no_mouse() {
    let mut ports = Ports::new();
    assert!(ports.answers().is_empty());
    assert_ne!(ports.status(), 0xff, "a controller is there");
    assert_eq!(ports.ask(SELF_TEST), [0x55]);
    let ctr = ports.ask(READ_CTR);
    assert_eq!(ctr, ports.ask(READ_CTR), "read twice the same");
    assert_eq!(ports.status() & STATUS_UNLOCKED, STATUS_UNLOCKED);
    assert_eq!(ctr[0] & CTR_TRANSLATE, CTR_TRANSLATE);
    ports.set_ctr((ctr[0] | CTR_KEYBOARD_OFF) & !CTR_INTERRUPT);
    assert!(ports.answers().is_empty());
    ports.command(WRITE_MOUSE_BUFFER);
    ports.data(0x5a);
    assert_eq!(
        ports.status() & 0x21,
        STATUS_OUTPUT_FULL,
        "not from a mouse"
    );
    assert_eq!(ports.answers(), [0x5a]);
    let mouse = ports.ask(TEST_MOUSE_PORT);
    assert!(!matches!(mouse[0], 0 | 0xfa | 0xff), "no mouse: {mouse:?}");
}

/// `atkbd_probe()` and `atkbd_connect()` in drivers/input/keyboard/atkbd.c (v6.12).
#[test]
fn the_probe_of_linux_finds_a_translated_keyboard_and_enables_it() {
    let mut ports = Ports::new();
    ports.set_ctr(CTR_INTERRUPT | CTR_SYSTEM | CTR_TRANSLATE);
    let before = ports.line.0.load(Ordering::SeqCst);
    assert_eq!(ports.ask_keyboard(IDENTIFY), [ACK, 0xab, 0x41]);
    assert_eq!(ports.line.0.load(Ordering::SeqCst), before + 3);
    for parameter in [SET_LEDS, SET_RATE] {
        assert_eq!(ports.ask_keyboard(parameter), [ACK]);
        assert_eq!(ports.ask_keyboard(0), [ACK]);
    }
    assert_eq!(ports.ask_keyboard(DISABLE), [ACK]);
    assert!(!ports.device.ctrl_alt_del(), "nobody listens");
    assert_eq!(ports.ask_keyboard(ENABLE), [ACK]);
    assert!(ports.device.ctrl_alt_del());
}

#[test]
fn ctrl_alt_del_is_typed_byte_by_byte_with_an_edge_each() {
    let mut ports = Ports::new();
    assert!(ports.device.ctrl_alt_del());
    assert_eq!(ports.answers(), CTRL_ALT_DEL_SET_1);
    let rises = ports.line.0.load(Ordering::SeqCst);
    assert_eq!(rises, CTRL_ALT_DEL_SET_1.len());
    ports.set_ctr(CTR_INTERRUPT);
    assert!(ports.device.ctrl_alt_del());
    assert_eq!(ports.answers(), CTRL_ALT_DEL_SET_2);
}

#[test]
fn the_pulse_of_the_reset_line_resets() {
    for command in [0xfe, 0xf0, 0xfc] {
        let mut ports = Ports::new();
        assert_eq!(ports.device.write(COMMAND, &[command]), Effect::Reset);
    }
    let mut ports = Ports::new();
    ports.command(0xff);
    ports.command(WRITE_OUTPUT_PORT);
    assert_eq!(ports.device.write(DATA, &[0xce]), Effect::Reset);
}

#[test]
fn an_answer_of_the_controller_goes_before_waiting_keys() {
    let mut ports = Ports::new();
    ports.command(KEYBOARD_OFF);
    ports.device.state.keyboard.extend([1, 2]);
    assert_eq!(ports.ask(TEST_KEYBOARD_PORT), [0]);
    assert_eq!(ports.ask(KEYBOARD_ON), [1, 2]);
}

#[test]
fn a_reset_keyboard_passes_its_test_and_an_unknown_command_is_asked_again() {
    let mut ports = Ports::new();
    assert_eq!(ports.ask_keyboard(RESET), [ACK, SELF_TEST_DONE]);
    assert_eq!(ports.ask_keyboard(0x17), [RESEND]);
    assert_eq!(ports.ask_keyboard(ECHO), [ECHO]);
    assert_eq!(ports.ask_keyboard(SCAN_CODE_SET), [ACK]);
    assert_eq!(ports.ask_keyboard(0), [ACK, 2]);
}

#[test]
fn a_guest_that_never_reads_holds_no_memory() {
    let mut ports = Ports::new();
    for round in 0..10_000u32 {
        let value = round as u8;
        if value & 0xf1 != 0xf0 {
            ports.command(value);
        }
        let _ = ports.device.write(DATA, &[value]);
        let _ = ports.device.write(u64::from(value), &[]);
        ports.device.read(u64::from(value) | 1, &mut []);
    }
    assert!(ports.answers().len() <= 2 * QUEUE + 1);
}

#[test]
fn state_makes_the_round_trip() {
    let mut ports = Ports::new();
    ports.data(SET_LEDS);
    ports.command(WRITE_CTR);
    assert!(ports.device.ctrl_alt_del());
    let saved = ports.device.save().unwrap();
    let mut other = Ports::new();
    other.device.restore(&saved).unwrap();
    assert_eq!(other.device.state, ports.device.state);
    assert_eq!(other.line.0.load(Ordering::SeqCst), 1);
    assert_eq!(other.answers(), ports.answers());
}

#[test]
fn state_that_no_controller_can_have_is_refused() {
    let state = I8042StateV1 {
        keyboard: vec![0; QUEUE + 1].into(),
        ..I8042StateV1::default()
    };
    let payload = Payload::pack(STATE_KIND, 1, &state).unwrap();
    assert!(Ports::new().device.restore(&payload).is_err());
}

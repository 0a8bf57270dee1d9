//! The 16550A as drivers probe and use it.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::backend::console::{Console, ConsolePump, ConsoleSpec};
use crate::event_loop::EventLoop;

const EFR: u64 = 2;

/// A line that remembers its level and counts its rises.
#[derive(Debug, Default, Clone)]
struct FakeLine(Arc<Mutex<bool>>, Arc<AtomicUsize>);

impl FakeLine {
    fn is_high(&self) -> bool {
        *lock(&self.0)
    }

    fn rises(&self) -> usize {
        self.1.load(Ordering::SeqCst)
    }
}

impl InterruptLine for FakeLine {
    fn set(&self, high: bool) -> io::Result<()> {
        let before = std::mem::replace(&mut *lock(&self.0), high);
        assert_ne!(before, high, "driven to where it was");
        if high {
            self.1.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }
}

struct Port {
    serial: Arc<Mutex<Serial>>,
    console: ConsoleHandle,
    line: FakeLine,
    _pump: ConsolePump,
}

impl Port {
    fn new() -> Self {
        let (console, pump) = Console::open("serial", &ConsoleSpec::None).unwrap();
        let line = FakeLine::default();
        let serial = Serial::new(Box::new(line.clone()), console.clone());
        Self {
            serial,
            console,
            line,
            _pump: pump,
        }
    }

    fn read(&self, offset: u64) -> u8 {
        let mut data = [0];
        lock(&self.serial).read(offset, &mut data);
        data[0]
    }

    fn write(&self, offset: u64, value: u8) {
        let effect = lock(&self.serial).write(offset, &[value]);
        assert_eq!(effect, Effect::None);
    }

    fn type_in(&self, text: &[u8]) {
        self.console.put_input(text);
    }

    fn output(&self) -> Vec<u8> {
        self.console.tail(usize::MAX)
    }
}

#[test]
fn the_registers_after_reset_are_those_of_the_data_sheet() {
    let port = Port::new();
    assert_eq!(port.read(IER), 0);
    assert_eq!(port.read(IIR_FCR), 0x01);
    assert_eq!(port.read(LCR), 0);
    assert_eq!(port.read(MCR), 0);
    assert_eq!(port.read(LSR), 0x60);
    assert_eq!(port.read(MSR), 0xb0);
    assert!(!port.line.is_high());
}

/// The steps of Linux's `autoconfig()` in drivers/tty/serial/8250/8250_port.c (v6.12).
#[test]
fn the_autoconfig_of_linux_finds_a_16550a() {
    let port = Port::new();
    port.write(IER, 0);
    assert_eq!(port.read(IER) & 0x0f, 0);
    port.write(IER, 0x0f);
    assert_eq!(port.read(IER) & 0x0f, 0x0f);
    port.write(IER, 0);
    port.write(MCR, 0x1a);
    assert_eq!(port.read(MSR) & 0xf0, 0x90, "loopback test");
    port.write(MCR, 0);
    port.write(LCR, 0xbf);
    port.write(EFR, 0);
    port.write(LCR, 0);
    port.write(IIR_FCR, 0x01);
    assert_eq!(port.read(IIR_FCR) >> 6, 3, "FIFOs work");
    port.write(LCR, 0x80);
    assert_eq!(port.read(IIR_FCR) & 0x20, 0, "no 16750");
    port.write(LCR, 0xbf);
    assert_ne!(port.read(EFR), 0, "no 16650");
    port.write(LCR, 0);
    port.write(IER, 0x40);
    assert_eq!(port.read(IER) & 0x40, 0, "no XScale");
    port.write(SCRATCH, 0xa5);
    assert_eq!(port.read(SCRATCH), 0xa5);
    assert!(port.output().is_empty());
}

/// The test for `UART_BUG_THRE` and `UART_BUG_TXEN` in `serial8250_do_startup()`.
#[test]
fn enabling_the_transmitter_interrupt_causes_it_each_time() {
    let port = Port::new();
    for _ in 0..2 {
        port.write(IER, IER_TRANSMITTER_EMPTY);
        assert!(port.line.is_high());
        assert_eq!(port.read(LSR) & 0x40, 0x40);
        assert_eq!(port.read(IIR_FCR), IIR_TRANSMITTER_EMPTY);
        assert!(!port.line.is_high());
        assert_eq!(port.read(IIR_FCR), IIR_NONE);
        port.write(IER, 0);
    }
    assert_eq!(port.line.rises(), 2);
}

#[test]
fn writing_the_transmitter_raises_its_interrupt_again() {
    let port = Port::new();
    port.write(IIR_FCR, 0x01);
    port.write(IER, IER_TRANSMITTER_EMPTY);
    assert_eq!(port.read(IIR_FCR), 0xc0 | IIR_TRANSMITTER_EMPTY);
    for byte in b"sixteen bytes..." {
        port.write(DATA, *byte);
    }
    assert_eq!(port.line.rises(), 2, "one rise for the batch");
    assert_eq!(port.read(IIR_FCR), 0xc0 | IIR_TRANSMITTER_EMPTY);
    assert_eq!(port.output(), b"sixteen bytes...");
}

#[test]
fn a_batch_of_any_length_is_sent_in_order() {
    let port = Port::new();
    let text: Vec<u8> = (0..10_000u32).map(|i| i as u8).collect();
    for byte in &text {
        port.write(DATA, *byte);
    }
    assert_eq!(port.read(LSR), 0x60);
    assert_eq!(port.output(), text);
    assert!(!port.line.is_high());
}

#[test]
fn the_divisor_latch_hides_data_and_interrupt_enable() {
    let port = Port::new();
    port.write(LCR, 0x83);
    port.write(DATA, 1);
    port.write(IER, 2);
    assert_eq!((port.read(DATA), port.read(IER)), (1, 2));
    port.write(LCR, 0x03);
    assert_eq!(port.read(IER), 0);
    assert!(port.output().is_empty());
    port.write(LCR, 0x83);
    assert_eq!((port.read(DATA), port.read(IER)), (1, 2));
}

#[test]
fn received_data_interrupts_at_the_trigger_and_by_time_out() {
    let port = Port::new();
    port.write(IIR_FCR, 0x81); // trigger at 8
    port.write(IER, IER_RECEIVED);
    port.type_in(b"1234567");
    assert!(port.line.is_high());
    assert_eq!(port.read(IIR_FCR), 0xc0 | IIR_TIMEOUT);
    port.type_in(b"8");
    assert_eq!(port.read(IIR_FCR), 0xc0 | IIR_RECEIVED);
    for expected in b"12345678" {
        assert!(port.line.is_high());
        assert_eq!(port.read(LSR) & LSR_DATA_READY, LSR_DATA_READY);
        assert_eq!(port.read(DATA), *expected);
    }
    assert!(!port.line.is_high());
    assert_eq!(port.read(LSR), 0x60);
    assert_eq!(port.read(DATA), 0);
}

#[test]
fn more_input_than_the_fifo_holds_follows_as_it_is_read() {
    let port = Port::new();
    port.write(IIR_FCR, 0xc1);
    port.write(IER, IER_RECEIVED);
    let text: Vec<u8> = (0..200).collect();
    port.type_in(&text);
    let mut found = Vec::new();
    while port.read(LSR) & LSR_DATA_READY != 0 {
        found.push(port.read(DATA));
    }
    assert_eq!(found, text);
    assert!(!port.line.is_high());
}

#[test]
fn without_fifos_the_receiver_holds_one_byte() {
    let port = Port::new();
    port.write(IER, IER_RECEIVED);
    port.type_in(b"ab");
    assert_eq!(lock(&port.serial).state.received.len(), 1);
    assert_eq!(port.read(IIR_FCR), IIR_RECEIVED);
    assert_eq!((port.read(DATA), port.read(DATA)), (b'a', b'b'));
}

#[test]
fn interrupts_come_by_priority() {
    let port = Port::new();
    port.write(IER, 0x0f);
    port.write(MCR, MCR_LOOP); // modem inputs change
    port.write(DATA, b'x');
    port.write(DATA, b'y'); // overrun
    assert_eq!(port.read(IIR_FCR), IIR_LINE_STATUS);
    assert_eq!(port.read(LSR), 0x60 | LSR_OVERRUN | LSR_DATA_READY);
    assert_eq!(port.read(IIR_FCR), IIR_RECEIVED);
    assert_eq!(port.read(DATA), b'x');
    assert_eq!(port.read(IIR_FCR), IIR_TRANSMITTER_EMPTY);
    assert_eq!(port.read(IIR_FCR), IIR_MODEM_STATUS);
    assert_eq!(port.read(MSR), 0x0b, "CTS, DSR and DCD fell");
    assert_eq!(port.read(IIR_FCR), IIR_NONE);
    assert!(!port.line.is_high());
    assert!(port.output().is_empty());
}

#[test]
fn loopback_keeps_the_line_out() {
    let port = Port::new();
    port.write(IIR_FCR, 0x01);
    port.write(MCR, MCR_LOOP);
    port.type_in(b"typed");
    assert_eq!(port.read(LSR) & LSR_DATA_READY, 0);
    port.write(DATA, b'z');
    assert_eq!(port.read(DATA), b'z');
    port.write(MCR, 0);
    assert_eq!(port.read(DATA), b't');
}

#[test]
fn clearing_the_fifo_drops_what_it_held() {
    let port = Port::new();
    port.write(IIR_FCR, 0x01);
    port.type_in(b"old");
    port.write(IIR_FCR, 0x07);
    assert_eq!(port.read(LSR), 0x60);
}

#[test]
fn a_wide_access_is_one_byte_after_the_other() {
    let port = Port::new();
    let _ = lock(&port.serial).write(SCRATCH, &[0x11, 0x22]);
    let mut data = [0; 4];
    lock(&port.serial).read(MSR, &mut data);
    assert_eq!(data, [0xb0, 0x11, 0xff, 0xff]);
}

#[test]
fn every_offset_and_value_is_survived() {
    let port = Port::new();
    port.type_in(&[7; 64]);
    for value in 0..=255u8 {
        for offset in (0..10).chain([u64::MAX]) {
            port.write(offset, value);
            port.read(offset);
        }
    }
    let received = lock(&port.serial).state.received.len();
    assert!(received <= FIFO_SIZE);
}

#[test]
fn state_makes_the_round_trip() {
    let port = Port::new();
    port.write(LCR, 0x80);
    port.write(DATA, 1);
    port.write(LCR, 0x03);
    port.write(IIR_FCR, 0x41);
    port.write(MCR, 0x0b);
    port.write(IER, 0x05);
    port.write(SCRATCH, 9);
    port.type_in(b"ab");
    let saved = lock(&port.serial).save().unwrap();
    let other = Port::new();
    lock(&other.serial).restore(&saved).unwrap();
    assert_eq!(lock(&other.serial).state, lock(&port.serial).state);
    assert!(other.line.is_high());
    assert_eq!(other.read(IIR_FCR), 0xc0 | IIR_TIMEOUT);
    assert_eq!((other.read(DATA), other.read(DATA)), (b'a', b'b'));
}

#[test]
fn state_that_no_port_can_have_is_refused() {
    let port = Port::new();
    let state = SerialStateV1 {
        received: vec![0; 17].into(),
        ..SerialStateV1::default()
    };
    let payload = Payload::pack(STATE_KIND, 1, &state).unwrap();
    assert!(lock(&port.serial).restore(&payload).is_err());
    let payload = Payload::pack("i8042", 1, &state).unwrap();
    assert!(lock(&port.serial).restore(&payload).is_err());
}

#[test]
fn what_a_tcp_client_types_interrupts_the_guest() {
    let spec = "tcp=127.0.0.1:0".parse().unwrap();
    let (console, pump) = Console::open("serial", &spec).unwrap();
    let address = pump.local_addr().unwrap();
    let events = EventLoop::spawn("io").unwrap();
    events.handle().add(Box::new(pump)).unwrap();
    let line = FakeLine::default();
    let serial = Serial::new(Box::new(line.clone()), console);
    let _ = lock(&serial).write(IER, &[IER_RECEIVED]);
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"k").unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !line.is_high() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut data = [0];
    lock(&serial).read(DATA, &mut data);
    assert_eq!(data, [b'k']);
}

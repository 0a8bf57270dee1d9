//! Accesses to registers: a driver's way from a reset to a request, and a firmware's.

use super::Seed;
use super::bytes::Bytes;
use crate::script::Registers;
use crate::transport::op;

fn seed(target: &'static str, name: &'static str, bytes: Vec<u8>) -> Seed {
    Seed {
        target,
        name,
        bytes,
        successful: 0,
    }
}

fn start(device: u8) -> Registers {
    Registers::default().raw(&[device])
}

/// A request of the echo device, before and after a pause, a reset and a broken ring.
fn requests() -> Vec<u8> {
    let script = start(0).run(1 << 29).request(1, 3, b"hello");
    let script = script.raw(&[op::PAUSE]).request(0, 3, b"again");
    let script = script.run(0).request(1, 11, b"with event index");
    let script = script.raw(&[op::TAMPER, 1, 1, 0xff, 0xff, op::NOTIFY, 1, op::SETTLE]);
    script.raw(&[op::PAUSE]).status(0).run(1 << 28).0
}

/// The status machine step by step, with the registers of a queue.
fn steps() -> Vec<u8> {
    let word = |value: u32| value.to_le_bytes();
    let script = start(0).status(0).status(1).status(3);
    let script = script.raw(&[op::FEATURES, 0]).raw(&word(0x3000_0004));
    let script = script.raw(&[op::FEATURES, 1]).raw(&word(1)).status(11);
    let script = script.queue(0, 0, &8_u16.to_le_bytes());
    let places = [(1, 0x1_0000_u64), (2, 0x1_1000), (3, 0x1_2000)];
    let script = places.iter().fold(script, |script, (register, place)| {
        script.queue(0, *register, &place.to_le_bytes())
    });
    let script = script.queue(0, 4, &1_u16.to_le_bytes()).queue(0, 5, &[]);
    let script = script.status(15).raw(&[op::NOTIFY, 0, op::SETTLE]);
    let script = script.raw(&[op::CONFIG, 0, 0, 2, 0, 9, 9]);
    script.status(15).status(7).status(0x8f).0
}

fn others() -> [(&'static str, Vec<u8>); 4] {
    let rng = start(1).run(0).request(0, 4, &[]).raw(&[op::PAUSE]);
    let console = start(2).run(0).request(1, 0, b"text\n").request(0, 7, &[]);
    let init = Bytes::new().words(&[56, 26, 1, 0, 1, 0, 0, 0, 0, 0, 7, 38, 0, 0]);
    let share = start(3).run(0).request(1, 4, &init.0).raw(&[op::PAUSE]);
    let share = share.request(1, 4, &init.0).status(0);
    // Both pairs of a card in use, around a pause, and one again after a reset without the choice.
    let card = start(4).run(0).request(4, 1, &[4, 0, 2, 0]);
    let card = card.request(3, 0, &[0; 72]).raw(&[op::PAUSE]);
    let card = card.request(4, 1, &[5, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    let card = card.run(1 << 22).request(2, 1, &[0, 0, 1]);
    [
        ("rng", rng.0),
        ("console", console.0),
        ("share", share.0),
        ("card", card.0),
    ]
}

/// An access of [`crate::machine::configure`].
fn access(script: Bytes, what: u8, place: u32, value: u64) -> Bytes {
    script.u8(what).u32(place).u64(value)
}

/// Sizes the BARs of a function, moves them, and reaches capabilities by each way.
fn firmware() -> Vec<u8> {
    const SLOT_1: u32 = 1 << 12;
    const DWORD: u8 = 2 << 6;
    let mut script = Bytes::new();
    for bar in [0x10, 0x14, 0x18, 0x24, 0x30] {
        script = access(script, DWORD, SLOT_1 + bar, 0xffff_ffff);
        script = access(script, DWORD | 2, SLOT_1 + bar, 0);
    }
    script = access(script, DWORD, SLOT_1 + 0x10, 0xc001_0000);
    script = access(script, 1 << 6, SLOT_1 + 4, 7);
    script = access(script, DWORD | 6, 0x1_0000, 1);
    script = access(script, DWORD | 4, SLOT_1 + 0x40, 0x1234_5678);
    for capability in (0x40..0xc0).step_by(4) {
        script = access(script, DWORD | 2, SLOT_1 + capability, 0);
        script = access(script, DWORD, SLOT_1 + capability, 0x8000_8000);
    }
    script = access(script, 7, 0, 0);
    access(script, DWORD | 5, 0, 0x8000_0800).0
}

/// Reads the directory and a file of fw_cfg, byte by byte and in words.
fn files() -> Vec<u8> {
    let mut script = Bytes::new();
    for key in [0_u32, 1, 0x19, 0x20, 0x21, 0x22, 0xffff] {
        script = script.u8(0).u32(key);
        for _ in 0..6 {
            script = script.u8(5).u32(0).u8(0x40 | 5).u32(0).u8(0x80 | 5).u32(0);
        }
        script = script.u8(6).u32(0).u8(3).u32(7);
    }
    script.0
}

/// A guest that sets the platform's devices up: a pin of the I/O APIC, the serial port's interrupts,
/// the keyboard, and reads what comes.
fn platform() -> Vec<u8> {
    let mut script = Bytes::new();
    let apic = |script: Bytes, register: u8, value| {
        let script = script.u8(6).u8(0).u32(register.into());
        script.u8(6).u8(4).u32(value)
    };
    for (pin, vector) in [(4, 0x31), (1, 0x32), (9, 0x8033)] {
        script = apic(script, 0x11 + 2 * pin, 0);
        script = apic(script, 0x10 + 2 * pin, vector);
    }
    let out = |script: Bytes, place: u8, value| script.u8(0).u8(place).u32(value);
    // Serial: divisor, FIFO, interrupts, a byte out, bytes in, its interrupt identified.
    for (port, value) in [
        (3, 0x83),
        (0, 1),
        (1, 0),
        (3, 3),
        (2, 0xc7),
        (4, 0xb),
        (1, 0xf),
    ] {
        script = out(script, 0x40 + port, value);
    }
    script = out(script, 0x40, u32::from(b'x')).u8(9).u8(3).raw(b"abc");
    for port in [2, 5, 0, 0, 6, 2, 7] {
        script = script.u8(4).u8(0x40 + port);
    }
    // Keyboard: configuration byte, scanning, an identification, keys.
    for (port, value) in [
        (4, 0x60),
        (0, 0x41),
        (0, 0xf4),
        (0, 0xf2),
        (4, 0xaa),
        (4, 0x20),
    ] {
        script = out(script, port, value);
    }
    script = script.u8(10).u8(0);
    for port in [4, 0, 4, 0, 0] {
        script = script.u8(4).u8(port);
    }
    script = script.u8(11).u8(0).u8(12).u8(0x33);
    for port in 0..4 {
        script = script.u8(4).u8(0xc0 + port);
        script = out(script, 0xc0 + port, 0x34);
    }
    script = out(script, 0x80, 1).u8(4).u8(0x80);
    script.u8(13).u8(0).u8(8).u8(4).0
}

pub(super) fn seeds() -> Vec<Seed> {
    let moved = start(0).run(0).access(0x10, 3 << 2 | 2, 0xc100_0000);
    let moved = moved
        .access(4, 3 << 2 | 1, 7)
        .access(0x14, 0, 0)
        .request(1, 3, b"moved");
    let vectors = start(0)
        .run(0)
        .access(12, 6 << 2 | 2, 1)
        .access(0x1c, 6 << 2 | 2, 1);
    let vectors = vectors.request(1, 3, b"masked").access(0x1c, 6 << 2 | 2, 0);
    let window = start(0)
        .run(0)
        .access(4, 7 << 2 | 2, 0)
        .access(8, 7 << 2 | 2, 0x14);
    let window = window
        .access(12, 7 << 2 | 2, 1)
        .access(16, 7 << 2, 0)
        .access(16, 5 << 2, 0);
    let interrupts = start(0).run(0).request(1, 3, b"interrupt");
    let interrupts = interrupts
        .access(0x60, 4, 0)
        .access(0x64, 2, 3)
        .access(0xfc, 4, 0);
    let mut seeds = vec![
        seed("pci", "requests", requests()),
        seed("pci", "steps", steps()),
        seed("pci", "moved", moved.0),
        seed("pci", "vectors", vectors.0),
        seed("pci", "window", window.0),
        seed("mmio", "requests", requests()),
        seed("mmio", "steps", steps()),
        seed("mmio", "interrupts", interrupts.0),
        seed("pci_config", "firmware", firmware()),
        seed("fw_cfg", "files", files()),
        seed("legacy", "platform", platform()),
    ];
    for target in ["pci", "mmio"] {
        seeds.extend(others().map(|(name, bytes)| seed(target, name, bytes)));
    }
    seeds
}

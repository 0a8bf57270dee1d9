use super::*;
use crate::bus::Effect;
use crate::pci::config::PciIds;

const ECAM: u64 = 0xe000_0000;

struct Scratch {
    config: PciConfig,
    registers: [u8; 64],
}

impl PciFunction for Scratch {
    fn config(&self) -> &PciConfig {
        &self.config
    }

    fn config_mut(&mut self) -> &mut PciConfig {
        &mut self.config
    }

    fn read_bar(&mut self, bar: usize, offset: u64, data: &mut [u8]) {
        for (i, byte) in data.iter_mut().enumerate() {
            *byte = self.registers[(offset as usize + i) % 64] ^ bar as u8;
        }
    }

    fn write_bar(&mut self, _bar: usize, offset: u64, data: &[u8]) {
        self.registers[offset as usize % 64] = data[0];
    }
}

fn scratch(size: u64, kind: BarKind) -> Box<Scratch> {
    let mut config = PciConfig::new(&PciIds {
        id: (0x1234, 0x5678),
        subsystem: (0, 0),
        class: 0xff_0000,
        revision: 0,
    });
    config.add_bar(0, size, kind);
    Box::new(Scratch {
        config,
        registers: [0; 64],
    })
}

struct Fixture {
    pci: PciBus,
    mmio: Bus,
    pio: Bus,
}

fn fixture() -> Fixture {
    let pci = PciBus::new(PciLayout {
        ecam: ECAM..ECAM + (2 << 20),
        mmio32: 0xc000_0000..0xc010_0000,
        mmio64: 1 << 40..1 << 41,
        ports: 0xc000..0xc100,
    });
    let (mut mmio, mut pio) = (Bus::new(), Bus::new());
    pci.attach(&mut mmio, &mut pio).unwrap();
    Fixture { pci, mmio, pio }
}

/// With one function, in slot 1.
fn with_one() -> Fixture {
    let f = fixture();
    f.pci
        .add("a", 1, scratch(0x1000, BarKind::Memory32))
        .unwrap();
    f
}

impl Fixture {
    fn read<const N: usize>(&self, address: u64) -> [u8; N] {
        let mut data = [0xaa; N];
        self.mmio.read(address, &mut data);
        data
    }

    fn inp<const N: usize>(&self, port: u64) -> [u8; N] {
        let mut data = [0xaa; N];
        self.pio.read(port, &mut data);
        data
    }

    fn select(&self, address: u32) {
        self.pio.write(0xcf8, &address.to_le_bytes());
    }
}

#[test]
fn a_function_is_found_by_memory_and_by_ports() {
    let f = with_one();
    let id: [u8; 4] = f.read(ECAM + (1 << 15));
    assert_eq!(id, [0x34, 0x12, 0x78, 0x56]);
    assert_eq!(f.read(ECAM + (1 << 15) + 0x0a), [0x00, 0xff]);
    f.select(0x8000_0800);
    assert_eq!(f.inp::<4>(0xcf8), 0x8000_0800_u32.to_le_bytes());
    assert_eq!(f.inp::<4>(0xcfc), id);
    assert_eq!(f.inp::<2>(0xcfe), [0x78, 0x56]);
    f.select(0x8000_0808);
    assert_eq!(f.inp::<1>(0xcff), [0xff]);
}

#[test]
fn the_host_bridge_is_no_function_of_the_bus() {
    let f = with_one();
    assert_eq!(f.read(ECAM), [0xff; 4]);
    f.select(0x8000_0000);
    assert_eq!(f.inp::<4>(0xcfc), [0xff; 4]);
}

#[test]
fn what_is_not_there_reads_all_ones() {
    let f = with_one();
    let one = 1 << 15;
    for address in [
        0,
        one + (1 << 12),
        31 << 15,
        1 << 20,
        (1 << 20) + one,
        one + 0xffe,
    ] {
        assert_eq!(f.read(ECAM + address), [0xff; 4], "{address:#x}");
    }
    assert_eq!(f.mmio.write(ECAM + (2 << 15), &[0; 4]), Effect::None);
    for address in [0, 0x800, 0x8001_0800, 0x8000_0900, 0x8000_1000] {
        f.select(address);
        assert_eq!(f.inp::<4>(0xcfc), [0xff; 4], "{address:#x}");
    }
    f.select(0x8000_0800);
    assert_eq!(
        f.inp::<4>(0xcfe),
        [0xff; 4],
        "it reaches past the data port"
    );
    assert_eq!(f.inp::<4>(0xcf9), [0xff; 4]);
    assert_eq!(f.read::<4>(0xc000_0000), [0xff; 4]);
}

#[test]
fn extended_configuration_space_is_empty() {
    let f = with_one();
    assert_eq!(f.read(ECAM + (1 << 15) + 0x100), [0; 4]);
    assert_eq!(f.read(ECAM + (1 << 15) + 0xffc), [0; 4]);
}

#[test]
fn port_0xcf9_resets_the_machine() {
    let f = fixture();
    assert_eq!(f.pio.write(0xcf9, &[0x02]), Effect::None);
    assert_eq!(f.pio.write(0xcf9, &[0x06]), Effect::Reset);
    f.select(0x8000_0000);
    assert_eq!(f.pio.write(0xcf8, &[4, 4, 4, 4]), Effect::None);
}

#[test]
fn bars_are_placed_apart_and_found_where_the_guest_moves_them() {
    let f = fixture();
    f.pci
        .add("a", 1, scratch(0x1000, BarKind::Memory32))
        .unwrap();
    f.pci
        .add("b", 2, scratch(0x8000, BarKind::Memory32))
        .unwrap();
    f.pci
        .add("c", 3, scratch(1 << 30, BarKind::Memory64))
        .unwrap();
    let config = |slot: u64| ECAM + (slot << 15);
    let bar = |slot| u32::from_le_bytes(f.read(config(slot) + 0x10)) & !0xf;
    assert_eq!((bar(1), bar(2)), (0xc000_0000, 0xc000_8000));
    assert_eq!(f.read(config(3) + 0x10), [0xc, 0, 0, 0, 0, 1, 0, 0]);
    assert_eq!(f.read(0xc000_0000), [0xff], "decoding is off");
    for slot in 1..=3 {
        f.mmio.write(config(slot) + 4, &[0x02, 0x00]);
    }
    f.mmio.write(0xc000_8004, &[0x42]);
    assert_eq!(f.read(0xc000_8004), [0x42]);
    assert_eq!(f.read(0xc000_0004), [0x00]);
    f.mmio
        .write(config(2) + 0x10, &0xc008_0000_u32.to_le_bytes());
    assert_eq!(f.read(0xc008_0004), [0x42]);
    assert_eq!(f.read(0xc000_8004), [0xff]);
    f.mmio.write((1 << 40) + 7, &[0x17]);
    assert_eq!(f.read((1 << 40) + 7), [0x17]);
}

#[test]
fn a_slot_or_a_window_is_given_only_once() {
    let f = fixture();
    let small = || scratch(0x1000, BarKind::Memory32);
    f.pci.add("a", 1, small()).unwrap();
    for slot in [1, 32, 255] {
        let error = f.pci.add("b", slot, small()).unwrap_err();
        assert!(matches!(error, PciError::Slot { .. }), "{error}");
    }
    let error = f
        .pci
        .add("c", 2, scratch(0x10_0000, BarKind::Memory32))
        .unwrap_err();
    assert!(matches!(error, PciError::Window { .. }), "{error}");
    f.pci.add("d", 2, small()).unwrap();
    f.pci.add("e", 3, scratch(256, BarKind::Io)).unwrap();
    let error = f.pci.add("f", 4, scratch(4, BarKind::Io)).unwrap_err();
    assert!(matches!(error, PciError::Window { .. }), "{error}");
}

#[test]
fn ports_reach_the_bar_that_claims_them() {
    let f = fixture();
    f.pci.add("a", 1, scratch(4, BarKind::Io)).unwrap();
    f.pci.add("b", 2, scratch(32, BarKind::Io)).unwrap();
    let config = |slot: u64| ECAM + (slot << 15);
    assert_eq!(f.read(config(1) + 0x10), [0x01, 0xc0, 0, 0]);
    assert_eq!(f.read(config(2) + 0x10), [0x21, 0xc0, 0, 0]);
    assert_eq!(f.inp::<1>(0xc020), [0xff], "decoding is off");
    f.mmio.write(config(2) + 4, &[0x01, 0x00]);
    f.pio.write(0xc025, &[0x42]);
    assert_eq!(f.inp::<1>(0xc025), [0x42]);
    assert_eq!(f.inp::<1>(0xc001), [0xff]);
    assert_eq!(f.inp::<1>(0xc041), [0xff]);
}

#[test]
fn hostile_accesses_of_any_size_end_nowhere_else() {
    let f = fixture();
    f.pci
        .add("a", 1, scratch(0x1000, BarKind::Memory32))
        .unwrap();
    let mut data = [0; 16];
    for offset in 0..0x1000 {
        for len in [0, 1, 3, 8, 16] {
            f.mmio.read(ECAM + (1 << 15) + offset, &mut data[..len]);
        }
    }
    for port in 0xcf0..0xd08 {
        for len in 0..=8 {
            f.pio.read(port, &mut data[..len]);
        }
    }
}

#[test]
fn state_survives_a_round_trip_into_the_same_functions_only() {
    let build = |slots: &[u8]| {
        let f = fixture();
        for &slot in slots {
            let function = scratch(0x1000, BarKind::Memory32);
            f.pci.add(&format!("s{slot}"), slot, function).unwrap();
        }
        f
    };
    let first = build(&[1, 4]);
    first
        .mmio
        .write(ECAM + (4 << 15) + 0x10, &0xc008_0000_u32.to_le_bytes());
    let states = first.pci.save().unwrap();
    let second = build(&[1, 4]);
    second.pci.restore(&states).unwrap();
    assert_eq!(second.pci.save().unwrap(), states);
    assert_eq!(second.read(ECAM + (4 << 15) + 0x10), [0, 0, 8, 0xc0]);
    assert!(build(&[1]).pci.restore(&states).is_err());
    assert!(build(&[1, 5]).pci.restore(&states).is_err());
}

use super::*;

fn config() -> PciConfig {
    let mut config = PciConfig::new(&PciIds {
        id: (0x1af4, 0x1041),
        subsystem: (0x1af4, 0x1041),
        class: 0x02_0000,
        revision: 1,
    });
    config.add_bar(0, 0x8000, BarKind::Memory32);
    config.add_bar(2, 1 << 33, BarKind::Memory64);
    config.add_bar(4, 32, BarKind::Io);
    config.set_windows(Windows {
        memory: [0xc000_0000..0xe000_0000, 1 << 40..1 << 41],
        ports: 0xc000..0xd000,
    });
    config
}

fn read<const N: usize>(config: &PciConfig, offset: usize) -> [u8; N] {
    let mut data = [0xaa; N];
    config.read(offset, &mut data);
    data
}

fn enable(config: &mut PciConfig) {
    config.write(COMMAND, &[0x02, 0]);
}

#[test]
fn the_header_says_who_it_is() {
    let config = config();
    assert_eq!(read(&config, 0), [0xf4, 0x1a, 0x41, 0x10]);
    assert_eq!(read(&config, 8), [0x01, 0x00, 0x00, 0x02]);
    assert_eq!(read(&config, 0x2c), [0xf4, 0x1a, 0x41, 0x10]);
    assert_eq!(read(&config, 0x0e), [0], "type 0, one function");
    assert_eq!(read(&config, 0x3d), [0], "no wired interrupt");
}

#[test]
fn read_only_bits_do_not_change() {
    let mut config = config();
    let before = config.registers;
    config.write(0, &[0xff; CONFIG_SIZE]);
    for (i, before) in before.iter().enumerate() {
        let mask = !config.writable[i];
        assert_eq!(config.registers[i] & mask, before & mask, "{i:#x}");
    }
    assert_eq!(read(&config, COMMAND), [0x47, 0x05]);
}

#[test]
fn writing_ones_to_a_bar_yields_its_size() {
    let mut config = config();
    config.write(0x10, &[0xff; 4]);
    assert_eq!(u32::from_le_bytes(read(&config, 0x10)), 0xffff_8000);
    config.write(0x18, &[0xff; 4]);
    config.write(0x1c, &[0xff; 4]);
    assert_eq!(u32::from_le_bytes(read(&config, 0x18)), 0x0000_000c);
    assert_eq!(u32::from_le_bytes(read(&config, 0x1c)), 0xffff_fffe);
    config.write(0x14, &[0xff; 4]);
    assert_eq!(read(&config, 0x14), [0; 4], "no such BAR");
    config.write(0x20, &[0xff; 4]);
    assert_eq!(u32::from_le_bytes(read(&config, 0x20)), 0xffff_ffe1);
}

#[test]
fn a_bar_of_ports_is_decoded_only_with_io_space_and_in_its_window() {
    let mut config = config();
    config.set_bar_address(4, 0xc020);
    enable(&mut config);
    assert_eq!(config.bar_address(4), None, "I/O space is off");
    config.write(COMMAND, &[0x01, 0]);
    assert_eq!(config.claims(Space::Port, 0xc03f), Some((4, 0x1f)));
    assert_eq!(config.claims(Space::Port, 0xc040), None);
    assert_eq!(config.claims(Space::Memory, 0xc020), None);
    for outside in [0_u32, 0x3f8, 0xd000, 0xc000_0000, 0xffff_ffff] {
        config.write(0x20, &outside.to_le_bytes());
        assert_eq!(config.bar_address(4), None, "{outside:#x}");
    }
}

#[test]
fn a_bar_claims_its_addresses_only_when_decoded_inside_a_window() {
    let mut config = config();
    config.set_bar_address(0, 0xc001_0000);
    config.set_bar_address(2, (1 << 40) + (1 << 33));
    assert_eq!(
        config.claims(Space::Memory, 0xc001_0000),
        None,
        "decoding is off"
    );
    enable(&mut config);
    assert_eq!(config.claims(Space::Memory, 0xc001_0000), Some((0, 0)));
    assert_eq!(config.claims(Space::Memory, 0xc001_7fff), Some((0, 0x7fff)));
    assert_eq!(config.claims(Space::Memory, 0xc001_8000), None);
    assert_eq!(
        config.claims(Space::Memory, (1 << 40) + (1 << 33) + 5),
        Some((2, 5))
    );
    config.write(0x10, &0xd000_0000_u32.to_le_bytes());
    assert_eq!(config.claims(Space::Memory, 0xc001_0000), None, "it moved");
    assert_eq!(config.claims(Space::Memory, 0xd000_0010), Some((0, 0x10)));
    for outside in [0_u32, 0xfee0_0000, 0xbfff_8000, 0xffff_8000] {
        config.write(0x10, &outside.to_le_bytes());
        assert_eq!(config.bar_address(0), None, "{outside:#x}");
    }
}

#[test]
fn a_bar_can_be_written_byte_by_byte() {
    let mut config = config();
    enable(&mut config);
    for (i, byte) in 0xd123_8000_u32.to_le_bytes().into_iter().enumerate() {
        config.write(0x10 + i, &[byte]);
    }
    assert_eq!(config.bar_address(0), Some(0xd123_8000));
}

#[test]
fn capabilities_are_chained_and_masked() {
    let mut config = config();
    let first = config.add_capability(9, &[1, 2, 3], &[]).unwrap();
    let second = config.add_capability(0x11, &[0, 0], &[0x00, 0xc0]).unwrap();
    assert_eq!(read(&config, STATUS), [0x10, 0]);
    assert_eq!(usize::from(read::<1>(&config, CAPABILITIES)[0]), first);
    assert_eq!(read(&config, first), [9, second as u8, 1, 2, 3]);
    assert_eq!(read(&config, second), [0x11, 0]);
    config.write(second, &[0xff; 4]);
    assert_eq!(read(&config, second), [0x11, 0, 0, 0xc0]);
    assert!(config.add_capability(9, &[0; 256], &[]).is_none());
}

#[test]
fn accesses_past_the_registers_read_zero_and_write_nothing() {
    let mut config = config();
    config.write(254, &[0xff; 8]);
    config.write(4000, &[0xff; 8]);
    assert_eq!(read(&config, 254), [0; 8]);
    assert_eq!(read(&config, usize::MAX - 8), [0; 8]);
}

#[test]
fn state_survives_a_round_trip_but_not_into_another_function() {
    let mut config = config();
    enable(&mut config);
    config.write(0x10, &0xd000_0000_u32.to_le_bytes());
    let state = config.save();
    let mut other = self::config();
    other.restore(&state).unwrap();
    assert_eq!(other.bar_address(0), Some(0xd000_0000));
    let mut foreign = state.clone();
    foreign.registers[2] ^= 1;
    assert!(other.restore(&foreign).is_err());
    foreign.registers.clear();
    assert!(other.restore(&foreign).is_err());
}

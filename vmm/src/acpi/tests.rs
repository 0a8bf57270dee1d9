//! Tests of the tables: their form, their contents and, where `iasl` is installed, its opinion.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::layout::{boot, gsi, mmio, pio};

const MIB: u64 = 1 << 20;

fn layout(cpus: u32) -> Layout {
    Layout::new(8192 * MIB, cpus).unwrap()
}

fn build(cpus: u32) -> AcpiTables {
    AcpiTables::build(&layout(cpus), &AcpiSpec::default())
}

fn find<'a>(tables: &'a AcpiTables, signature: &[u8]) -> &'a [u8] {
    let found: Vec<_> = tables
        .tables()
        .filter(|t| t.starts_with(signature))
        .collect();
    assert_eq!(found.len(), 1, "{signature:?}");
    found[0]
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// A generic address: (address space, width, access size, address).
fn gas(bytes: &[u8], at: usize) -> (u8, u8, u8, u64) {
    (
        bytes[at],
        bytes[at + 1],
        bytes[at + 3],
        u64_at(bytes, at + 4),
    )
}

fn contains(table: &[u8], part: &[u8]) -> bool {
    table.windows(part.len()).any(|window| window == part)
}

#[test]
fn the_root_leads_to_every_table() {
    let tables = build(2);
    let mem = GuestRam::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap();
    let rsdp_at = tables.write(&mem).unwrap();
    let mut rsdp = [0; 36];
    mem.read_slice(&mut rsdp, rsdp_at).unwrap();
    assert_eq!(&rsdp[..8], b"RSD PTR ");
    assert_eq!((sum(&rsdp[..20]), sum(&rsdp)), (0, 0));

    let read = |at: u64| {
        let len: u32 = mem.read_obj(GuestAddress(at + 4)).unwrap();
        let mut table = vec![0; len as usize];
        mem.read_slice(&mut table, GuestAddress(at)).unwrap();
        assert_eq!(sum(&table), 0, "{at:#x}");
        table
    };
    let xsdt = read(u64_at(&rsdp, 24));
    assert_eq!(&xsdt[..4], b"XSDT");
    let entries: Vec<u64> = (36..xsdt.len())
        .step_by(8)
        .map(|at| u64_at(&xsdt, at))
        .collect();
    let listed: Vec<Vec<u8>> = entries.iter().map(|at| read(*at)).collect();
    let names: Vec<&[u8]> = listed.iter().map(|table| &table[..4]).collect();
    assert_eq!(names, [b"FACP", b"APIC", b"MCFG"]);
    let dsdt = read(u64_at(&listed[0], 140));
    assert_eq!((&dsdt[..4], dsdt[8]), (&b"DSDT"[..], 2));
}

#[test]
fn every_table_has_its_length_checksum_and_place() {
    for cpus in [1, 2, 17, 64] {
        let tables = build(cpus);
        assert_eq!(tables.tables().count(), 5);
        for table in tables.tables() {
            assert_eq!(u32_at(table, 4) as usize, table.len());
            assert_eq!(sum(table), 0);
            assert_eq!(&table[10..16], b"PCPVMM");
        }
        assert!(tables.bytes.len() as u64 <= ACPI_TABLES.len);
    }
}

#[test]
fn the_fadt_is_hardware_reduced_with_ports_for_sleep_and_reset() {
    let tables = build(1);
    let fadt = find(&tables, b"FACP");
    assert_eq!((fadt.len(), fadt[8], fadt[131]), (276, 6, 5));
    let flags = u32_at(fadt, 112);
    assert_eq!(
        flags & (1 << 20 | 1 << 10 | 1 << 4),
        1 << 20 | 1 << 10 | 1 << 4
    );
    assert_eq!(gas(fadt, 116), (1, 8, 1, pio::ACPI_RESET));
    assert_eq!(fadt[128], devices::legacy::acpi_pm::RESET_VALUE);
    assert_eq!(gas(fadt, 244), (1, 8, 1, pio::ACPI_SLEEP_CONTROL));
    assert_eq!(gas(fadt, 256), (1, 8, 1, pio::ACPI_SLEEP_STATUS));
    let boot_arch = u16::from_le_bytes([fadt[109], fadt[110]]);
    assert_eq!(boot_arch, 0b11_0110);

    let spec = AcpiSpec {
        i8042: false,
        ..AcpiSpec::default()
    };
    let without = AcpiTables::build(&layout(1), &spec);
    assert_eq!(find(&without, b"FACP")[109] & 2, 0);
}

#[test]
fn the_madt_has_a_local_apic_for_each_vcpu_and_one_io_apic() {
    for cpus in [1, 3, 64_u8] {
        let tables = build(cpus.into());
        let madt = find(&tables, b"APIC");
        assert_eq!(u64::from(u32_at(madt, 36)), mmio::LOCAL_APIC.start);
        assert_eq!(u32_at(madt, 40), 0, "there is no 8259");
        let local = &madt[44..44 + 8 * usize::from(cpus)];
        for (id, entry) in (0..cpus).zip(local.chunks(8)) {
            assert_eq!(entry, [0, 8, id, id, 1, 0, 0, 0]);
        }
        let io = &madt[44 + 8 * usize::from(cpus)..];
        assert_eq!(io, [1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]);
    }
}

#[test]
fn the_mcfg_covers_the_root_bus() {
    let tables = build(1);
    let mcfg = find(&tables, b"MCFG");
    assert_eq!(mcfg.len(), 60);
    assert_eq!(u64_at(mcfg, 44), mmio::ECAM.start);
    assert_eq!(&mcfg[52..56], [0, 0, 0, 0]);
    assert_eq!(mmio::ECAM.len, MIB);
}

#[test]
fn a_machine_without_pci_has_neither_bridge_nor_ecam() {
    let spec = AcpiSpec {
        serial: false,
        i8042: false,
        pci: false,
        virtio_mmio: 3,
        fw_cfg: false,
    };
    let tables = AcpiTables::build(&layout(1), &spec);
    assert_eq!(
        tables.tables().filter(|t| t.starts_with(b"MCFG")).count(),
        0
    );
    let dsdt = find(&tables, b"DSDT");
    for (part, present) in [
        (&b"PCI0"[..], false),
        (b"COM1", false),
        (b"KBD_", false),
        (b"V002", true),
        (b"V003", false),
        (b"PWRB", true),
    ] {
        assert_eq!(contains(dsdt, part), present, "{part:?}");
    }
    let ecam = [
        &[0x86, 9, 0, 1][..],
        &(mmio::ECAM.start as u32).to_le_bytes(),
    ]
    .concat();
    assert!(!contains(dsdt, &ecam));
}

#[test]
fn the_dsdt_names_the_ports_and_interrupts_of_its_devices() {
    let tables = build(2);
    let dsdt = find(&tables, b"DSDT");
    let port = |start: u16, len: u8| {
        let [low, high] = start.to_le_bytes();
        [0x47, 1, low, high, low, high, 1, len]
    };
    for (start, len) in [(0x3f8, 8), (0x60, 1), (0x64, 1), (0x600, 4), (0x505, 1)] {
        assert!(contains(dsdt, &port(start, len)), "{start:#x}");
    }
    // WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange, 0, 0xC000, 0xDFFF, 0, 0x2000)
    let window = b"\x88\x0d\0\x01\x0c\x03\0\0\0\xc0\xff\xdf\0\0\0\x20";
    assert!(contains(dsdt, window));
    for number in [gsi::SERIAL, gsi::I8042, gsi::EVENTS] {
        let descriptor = [&[0x89, 6, 0, 3, 1][..], &number.to_le_bytes()].concat();
        assert!(contains(dsdt, &descriptor), "{number}");
    }
    for device in [
        b"C000", b"C001", b"PCI0", b"COM1", b"KBD_", b"GED_", b"PWRB", b"_S5_", b"PEVT", b"VGEN",
    ] {
        assert!(contains(dsdt, device), "{device:?}");
    }
    assert!(!contains(dsdt, b"C002"));
}

#[test]
fn the_generation_id_is_told_by_its_address_and_by_an_event() {
    let tables = build(1);
    let dsdt = find(&tables, b"DSDT");
    let [low, middle, high, _] = (boot::GENERATION_ID.start as u32).to_le_bytes();
    // Method (ADDR) { Return (Package (2) { 0x000FE000, Zero }) }
    let method = [
        &[0x14][..],
        &[0x10],
        b"ADDR",
        &[0, 0xa4, 0x12, 8, 2, 0x0c, low, middle, high, 0, 0],
    ];
    assert!(contains(dsdt, &method.concat()));
    // Notify (\_SB.VGEN, 0x80)
    assert!(contains(dsdt, b"\x86\x5c\x2e_SB_VGEN\x0a\x80"));
}

#[test]
fn the_configuration_device_is_told_of_where_there_is_one() {
    for fw_cfg in [false, true] {
        let spec = AcpiSpec {
            fw_cfg,
            ..AcpiSpec::default()
        };
        let tables = AcpiTables::build(&layout(1), &spec);
        let dsdt = find(&tables, b"DSDT");
        assert_eq!(contains(dsdt, b"QEMU0002"), fw_cfg);
        let ports = [0x47, 1, 0x10, 5, 0x10, 5, 1, 2];
        assert_eq!(contains(dsdt, &ports), fw_cfg);
    }
}

#[test]
fn an_empty_64_bit_window_is_left_out() {
    const QWORD: [u8; 4] = [0x8a, 0x2b, 0, 0];
    let wide = layout(1);
    let narrow = Layout::new(7168 * MIB, 1).unwrap().limited_to(33).unwrap();
    for (layout, present) in [(wide, true), (narrow, false)] {
        let tables = AcpiTables::build(&layout, &AcpiSpec::default());
        assert_eq!(contains(find(&tables, b"DSDT"), &QWORD), present);
    }
}

/// Runs `iasl`; `None` if it is not installed.
fn iasl(folder: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("iasl")
        .current_dir(folder)
        .args(arguments)
        .output();
    let output = match output {
        Err(e) if e.kind() == ErrorKind::NotFound => return None,
        other => other.unwrap(),
    };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "iasl {arguments:?}: {text}");
    Some(text)
}

#[allow(clippy::print_stderr, reason = "a skipped test says so")]
#[test]
fn iasl_reads_every_table_and_compiles_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let spec = AcpiSpec {
        virtio_mmio: 2,
        fw_cfg: true,
        ..AcpiSpec::default()
    };
    let tables = AcpiTables::build(&layout(64), &spec);
    let mut seen = Vec::new();
    for table in tables.tables() {
        let name = String::from_utf8_lossy(&table[..4]).into_owned();
        std::fs::write(folder.path().join(format!("{name}.dat")), table).unwrap();
        let Some(text) = iasl(folder.path(), &["-d", &format!("{name}.dat")]) else {
            eprintln!("SKIPPED: iasl is not installed");
            return;
        };
        assert!(!text.contains("Error"), "{name}: {text}");
        let text = iasl(folder.path(), &["-oa", "-ve", &format!("{name}.dsl")]).unwrap_or_default();
        assert!(!text.contains("Error "), "{name}: {text}");
        let again = std::fs::read(folder.path().join(format!("{name}.aml"))).unwrap();
        assert_eq!(again.len(), table.len(), "{name} compiles to another size");
        assert_eq!(
            again[36..],
            table[36..],
            "{name} compiles to other contents"
        );
        seen.push(name);
    }
    assert_eq!(seen, ["DSDT", "FACP", "APIC", "MCFG", "XSDT"]);
}

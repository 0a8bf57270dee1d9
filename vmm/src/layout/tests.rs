//! Tests of the layout: sizes at the edges, and no overlap whatever the size.

use proptest::prelude::*;

use super::*;

fn assert_disjoint(claims: &[(&str, Range)]) {
    for (i, (name, range)) in claims.iter().enumerate() {
        for (other, taken) in &claims[i + 1..] {
            assert!(
                !range.overlaps(taken),
                "{name} {range} overlaps {other} {taken}"
            );
        }
    }
}

#[test]
fn memory_is_split_round_the_hole() {
    let below = Layout::new(3 * GIB, 1).unwrap();
    assert_eq!(below.high_ram(), None);
    assert_eq!(below.memslots().count(), 1);

    let above = Layout::new(3 * GIB + PAGE, 1).unwrap();
    assert_eq!(above.low_ram(), Range::new(0, 3 * GIB));
    assert_eq!(above.high_ram(), Some(Range::new(4 * GIB, PAGE)));
    let slots: Vec<_> = above.memslots().collect();
    assert_eq!((slots[0].slot, slots[1].slot), (0, 1));
}

#[test]
fn sizes_outside_the_limits_are_refused() {
    for bytes in [0, 1, MIB - PAGE, MAX_MEMORY + PAGE, u64::MAX] {
        assert_eq!(
            Layout::new(bytes, 1),
            Err(LayoutError::MemorySize { bytes })
        );
    }
    let bytes = MIB + 1;
    assert_eq!(
        Layout::new(bytes, 1),
        Err(LayoutError::MemoryAlignment { bytes })
    );
    for count in [0, 65, 256, 257, u32::MAX] {
        assert_eq!(
            Layout::new(MIB, count),
            Err(LayoutError::CpuCount { count })
        );
    }
    assert!(Layout::new(MIB, 1).is_ok());
    assert!(Layout::new(MAX_MEMORY, 64).is_ok());
}

#[test]
fn ports_do_not_overlap() {
    assert_disjoint(&pio::ALL);
    for (name, range) in pio::ALL {
        assert!(range.end() <= 0x1_0000, "{name} {range}");
    }
}

#[test]
fn boot_structures_lie_apart_below_one_mebibyte() {
    assert_disjoint(&boot::ALL);
    for (name, range) in boot::ALL {
        assert!(range.end() <= MIN_MEMORY, "{name} {range}");
        let told = [boot::ACPI_TABLES, boot::FIRMWARE]
            .iter()
            .any(|r| r.contains(&range));
        let usable = range.end() <= boot::CONVENTIONAL_END || told;
        assert!(usable, "{name} {range}");
    }
}

#[test]
fn kernels_may_not_cover_the_boot_structures() {
    let layout = Layout::new(8 * MIB, 1).unwrap();
    for (name, range) in boot::ALL {
        assert!(!layout.is_loadable(&range), "{name}");
    }
    assert!(!layout.is_loadable(&Range::new(0, 8 * MIB)));
    assert!(!layout.is_loadable(&Range::new(MIB, 8 * MIB)));
    assert!(!layout.is_loadable(&Range::new(u64::MAX - 1, 8)));
    assert!(layout.is_loadable(&Range::new(MIB, 7 * MIB)));
    assert!(layout.is_loadable(&Range::new(0x4_0000, 0x1000)));
}

#[test]
fn a_narrow_processor_shrinks_the_pci_window_but_never_ram() {
    let layout = Layout::new(8 * GIB, 1).unwrap();
    let window = layout.pci_mmio64();
    assert_eq!(window, Range::new(9 * GIB, Layout::PCI_MMIO64_LEN));
    let limited = layout.clone().limited_to(35).unwrap();
    assert_eq!(limited.pci_mmio64(), Range::between(9 * GIB, 32 * GIB));
    assert_eq!(layout.clone().limited_to(64).unwrap(), layout);
    let refused = layout.limited_to(33).unwrap_err();
    assert_eq!(
        refused,
        LayoutError::AddressWidth {
            end: 9 * GIB,
            bits: 33
        }
    );
    let exact = Layout::new(7 * GIB, 1).unwrap().limited_to(33).unwrap();
    assert_eq!(exact.pci_mmio64().len, 0);
}

fn memory_sizes() -> impl Strategy<Value = u64> {
    let pages = |from: u64, to: u64| (from / PAGE..=to / PAGE).prop_map(|n| n * PAGE);
    prop_oneof![
        pages(MIN_MEMORY, 2 * MIB),
        pages(3 * GIB - 4 * PAGE, 3 * GIB + 4 * PAGE),
        pages(4 * GIB - 4 * PAGE, 5 * GIB),
        pages(MIN_MEMORY, MAX_MEMORY),
    ]
}

proptest! {
    #[test]
    fn nothing_overlaps(memory in memory_sizes(), cpus in 1..=MAX_CPUS, bits in 32_u8..=64) {
        let layout = Layout::new(memory, cpus).unwrap();
        assert_disjoint(&layout.claims());
        prop_assert_eq!(layout.memslots().map(|s| s.range.len).sum::<u64>(), memory);
        if let Ok(limited) = layout.limited_to(bits) {
            assert_disjoint(&limited.claims());
            for (name, range) in limited.claims() {
                let inside = bits == 64 || range.len == 0 || range.end() <= 1 << bits;
                prop_assert!(inside, "{name} {range}");
            }
        }
    }

    #[test]
    fn the_memory_map_is_sorted_and_counts_all_ram(memory in memory_sizes()) {
        let layout = Layout::new(memory, 1).unwrap();
        let map = layout.memory_map();
        for pair in map.windows(2) {
            prop_assert!(pair[0].range.end() <= pair[1].range.start);
        }
        let ram: u64 = map.iter().filter(|e| e.kind == MemoryType::Ram).map(|e| e.range.len).sum();
        prop_assert_eq!(ram, memory - (MIB - boot::CONVENTIONAL_END));
        for entry in map.iter().filter(|e| e.kind == MemoryType::Ram) {
            prop_assert!(layout.memslots().any(|slot| slot.range.contains(&entry.range)));
        }
    }
}

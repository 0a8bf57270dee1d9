//! What a guest finds in RAM and registers when it starts.

use linux_loader::loader::bootparam::boot_params;
use linux_loader::loader::elf::start_info::{
    hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info,
};
use vm_memory::{Bytes, GuestAddress};

use super::samples::{ElfSample, Files, LINUX_NOTE, Loaded, MIB, PVH_NOTE, RSDP, compress, spec};
use crate::boot::testing::bzimage;
use crate::boot::unpack::Compression;
use crate::boot::{BootSpec, CpuMode};
use crate::layout::{MemoryMapEntry, MemoryType, boot};

const ALL: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Xz,
    Compression::Zstd,
    Compression::Lz4,
];

fn zero_page(loaded: &Loaded) -> boot_params {
    assert_eq!(loaded.state.rsi, boot::ZERO_PAGE.start);
    loaded.mem.read_obj(GuestAddress(loaded.state.rsi)).unwrap()
}

/// Follows the page tables as the processor would.
fn translate(loaded: &Loaded, address: u64) -> u64 {
    const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
    let index = |shift: u32| (address >> shift & 0x1ff) * 8;
    let level4 = loaded.u64(loaded.state.cr3 + index(39));
    let level3 = loaded.u64((level4 & ADDRESS) + index(30));
    let level2 = loaded.u64((level3 & ADDRESS) + index(21));
    for entry in [level4, level3, level2] {
        assert_eq!(entry & 3, 3, "{address:#x} is not mapped for writing");
    }
    assert_eq!(level2 & 0x80, 0x80, "{address:#x} is not in a huge page");
    (level2 & ADDRESS) + (address & 0x1f_ffff)
}

#[test]
fn linux_starts_in_64_bit_mode_with_a_zero_page() {
    let files = Files::new();
    let sample = ElfSample::with_notes(&[PVH_NOTE, LINUX_NOTE]);
    let loaded = Loaded::new(&spec(&files.kernel(&sample.build())));

    loaded.assert_kernel(&sample);
    assert_eq!(loaded.state.mode, CpuMode::Long64);
    assert_eq!(loaded.state.rip, sample.entry);
    assert_eq!(loaded.state.cr0 & 0x8000_0001, 0x8000_0001);
    assert_eq!(loaded.state.cr4 & 0x20, 0x20);
    assert_eq!(loaded.state.efer, 0x500);
    for address in [0, 0x7000, 0x2_0000, 16 * MIB + 5, 1023 * MIB] {
        assert_eq!(translate(&loaded, address), address);
    }
    let params = zero_page(&loaded);
    let header = params.hdr;
    assert_eq!({ header.header }, u32::from_le_bytes(*b"HdrS"));
    assert_eq!({ header.type_of_loader }, 0xff);
    assert_eq!({ params.acpi_rsdp_addr }, RSDP.0);
    let cmdline = loaded.bytes(u64::from(header.cmd_line_ptr), 14);
    assert_eq!(cmdline, b"console=ttyS0\0");
}

#[test]
fn descriptors_and_segment_registers_agree() {
    let files = Files::new();
    for notes in [vec![LINUX_NOTE], vec![PVH_NOTE]] {
        let kernel = files.kernel(&ElfSample::with_notes(&notes).build());
        let loaded = Loaded::new(&spec(&kernel));
        let state = loaded.state;
        let long = state.mode == CpuMode::Long64;
        let code = loaded.u64(state.gdt.start + u64::from(state.code.selector));
        let expected = if long { 0x00af_9b00 } else { 0x00cf_9b00 };
        assert_eq!(code, expected << 32 | 0xffff);
        let data = loaded.u64(state.gdt.start + u64::from(state.data.selector));
        assert_eq!(data, 0x00cf_9300_0000_ffff);
        let task = loaded.u64(state.gdt.start + u64::from(state.task.selector));
        assert_eq!(task, 0x0000_8b00_0000_0067);
        let l_bit = state.code.flags & 2 != 0;
        assert_eq!(l_bit, long);
    }
}

#[test]
fn the_memory_map_reaches_the_zero_page() {
    let files = Files::new();
    let loaded = Loaded::new(&spec(&files.kernel(&ElfSample::default().build())));
    let params = zero_page(&loaded);
    let map = loaded.layout.memory_map();
    assert_eq!(usize::from(params.e820_entries), map.len());
    let table = params.e820_table;
    for (found, wanted) in table.iter().zip(&map) {
        let found = (found.addr, found.size, found.r#type);
        let range = wanted.range;
        assert_eq!(found, (range.start, range.len, wanted.kind as u32));
    }
}

#[test]
fn other_kernels_start_by_their_pvh_note() {
    let files = Files::new();
    let sample = ElfSample::with_notes(&[PVH_NOTE]);
    let kernel = files.kernel(&sample.build());
    let initrd = files.write("initrd", &[7; 5000]);
    let spec = BootSpec {
        initrd: Some(&initrd),
        ..spec(&kernel)
    };
    let loaded = Loaded::new(&spec);

    loaded.assert_kernel(&sample);
    assert_eq!(loaded.state.mode, CpuMode::Protected32);
    assert_eq!(loaded.state.rip, sample.entry);
    assert_eq!(loaded.state.cr0 & 0x8000_0001, 1);
    let info: hvm_start_info = loaded.mem.read_obj(GuestAddress(loaded.state.rbx)).unwrap();
    assert_eq!((info.magic, info.version), (0x336e_c578, 1));
    assert_eq!(info.rsdp_paddr, RSDP.0);
    assert_eq!(loaded.bytes(info.cmdline_paddr, 14), b"console=ttyS0\0");
    let map = loaded.layout.memory_map();
    assert_eq!(info.memmap_entries as usize, map.len());
    for (i, wanted) in (0..).zip(&map) {
        let at = GuestAddress(info.memmap_paddr + i * 24);
        let found: hvm_memmap_table_entry = loaded.mem.read_obj(at).unwrap();
        assert_eq!(
            (found.addr, found.size),
            (wanted.range.start, wanted.range.len)
        );
        assert_eq!(found.type_, wanted.kind as u32);
    }
    assert_eq!(info.nr_modules, 1);
    let at = GuestAddress(info.modlist_paddr);
    let module: hvm_modlist_entry = loaded.mem.read_obj(at).unwrap();
    assert_eq!(module.size, 5000);
    assert_eq!(loaded.bytes(module.paddr, 5000), [7; 5000]);
}

#[test]
fn a_kernel_without_notes_starts_in_64_bit_mode() {
    let files = Files::new();
    let kernel = files.kernel(&ElfSample::with_notes(&[]).build());
    assert_eq!(Loaded::new(&spec(&kernel)).state.mode, CpuMode::Long64);
}

#[test]
fn the_initrd_lies_high_and_page_aligned() {
    let files = Files::new();
    let contents: Vec<u8> = (0..3 * MIB + 17).map(|i| i as u8).collect();
    let kernel = files.kernel(&ElfSample::default().build());
    let initrd = files.write("initrd", &contents);
    let spec = BootSpec {
        initrd: Some(&initrd),
        ..spec(&kernel)
    };
    let loaded = Loaded::new(&spec);
    let header = zero_page(&loaded).hdr;
    let (at, len) = (u64::from(header.ramdisk_image), { header.ramdisk_size });
    assert_eq!(len as usize, contents.len());
    assert_eq!(at, 61 * MIB - 4096);
    assert!(loaded.bytes(at, contents.len()) == contents);
}

#[test]
fn every_compression_of_a_bzimage_unpacks_to_its_kernel() {
    let files = Files::new();
    let sample = ElfSample::of_len(700_000);
    for compression in ALL {
        let image = bzimage(&compress(&sample.build(), compression));
        let loaded = Loaded::new(&spec(&files.kernel(&image)));
        loaded.assert_kernel(&sample);
        assert_eq!(loaded.state.rip, sample.entry, "{compression}");
        let header = zero_page(&loaded).hdr;
        assert_eq!({ header.version }, 0x20f);
        assert_eq!({ header.pref_address }, 16 * MIB);
        assert_eq!({ header.cmdline_size }, 2047);
    }
}

#[test]
fn an_lz4_kernel_of_several_blocks_unpacks() {
    let files = Files::new();
    let sample = ElfSample {
        code_at: 2 * MIB,
        entry: 2 * MIB,
        ..ElfSample::of_len(9 << 20)
    };
    // The sample's data lies over its code here: only unpacking is looked at.
    let kernel = sample.build();
    let image = bzimage(&compress(&kernel, Compression::Lz4));
    let loaded = Loaded::new(&spec(&files.kernel(&image)));
    let tail = loaded.bytes(2 * MIB + (8 << 20), 1 << 20);
    assert!(tail == sample.code[8 << 20..]);
}

#[test]
fn a_bzimage_of_unknown_compression_unpacks_itself() {
    let files = Files::new();
    let image = bzimage(b"BZh91AY&SY....1234");
    let loaded = Loaded::new(&spec(&files.kernel(&image)));
    assert_eq!(loaded.state.mode, CpuMode::Long64);
    assert_eq!(loaded.state.rip, 16 * MIB + 0x200);
    assert_eq!(loaded.bytes(16 * MIB, 4), b"stub");
    let header = zero_page(&loaded).hdr;
    assert_eq!({ header.loadflags } & 1, 1);
    assert_eq!(loaded.u32(boot::ZERO_PAGE.start + 0x202), 0x5372_6448);
}

#[test]
fn a_jump_to_the_firmware_writes_the_reset_register() {
    let files = Files::new();
    let loaded = Loaded::new(&spec(&files.kernel(&ElfSample::default().build())));
    let code = loaded.bytes(0xf_fff0, 10);
    assert_eq!(code, b"\xfa\xb0\x01\xba\x02\x06\xee\xf4\xeb\xfd");
    let map = loaded.layout.memory_map();
    let ram = |e: &&MemoryMapEntry| e.kind == MemoryType::Ram;
    assert!(
        !map.iter()
            .filter(ram)
            .any(|e| e.range.overlaps(&boot::RESTART_ENTRY))
    );
}

//! The start information of the PVH boot protocol (`Xen docs/misc/pvh.pandoc, 4.19`).

use devices::GuestRam;
use linux_loader::loader::elf::start_info::{
    XEN_HVM_START_MAGIC_VALUE, hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info,
};
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

use super::error::BootError;
use crate::layout::{Layout, Range, boot};

/// The version of `hvm_start_info` that has a memory map.
const VERSION: u32 = 1;
const START_INFO: u64 = boot::PVH_START_INFO.start;
const MODULES: u64 = START_INFO + 0x40;
const MEMORY_MAP: u64 = START_INFO + 0x80;

/// Writes the start information to its place and returns its address.
pub(super) fn write(
    mem: &GuestRam,
    layout: &Layout,
    initrd: Option<Range>,
    rsdp: GuestAddress,
) -> Result<u64, BootError> {
    write_all(mem, layout, initrd, rsdp).map_err(|source| BootError::GuestMemory {
        what: "the pvh start information",
        address: START_INFO,
        source,
    })?;
    Ok(START_INFO)
}

fn write_all(
    mem: &GuestRam,
    layout: &Layout,
    initrd: Option<Range>,
    rsdp: GuestAddress,
) -> Result<(), GuestMemoryError> {
    let mut info = hvm_start_info {
        magic: XEN_HVM_START_MAGIC_VALUE,
        version: VERSION,
        cmdline_paddr: boot::CMDLINE.start,
        rsdp_paddr: rsdp.0,
        memmap_paddr: MEMORY_MAP,
        ..hvm_start_info::default()
    };
    let mut at = MEMORY_MAP;
    for entry in layout.memory_map() {
        let entry = hvm_memmap_table_entry {
            addr: entry.range.start,
            size: entry.range.len,
            type_: entry.kind as u32,
            reserved: 0,
        };
        mem.write_obj(entry, GuestAddress(at))?;
        at += size_of::<hvm_memmap_table_entry>() as u64;
        info.memmap_entries += 1;
    }
    if let Some(initrd) = initrd {
        let module = hvm_modlist_entry {
            paddr: initrd.start,
            size: initrd.len,
            ..hvm_modlist_entry::default()
        };
        mem.write_obj(module, GuestAddress(MODULES))?;
        info.nr_modules = 1;
        info.modlist_paddr = MODULES;
    }
    mem.write_obj(info, GuestAddress(START_INFO))
}

//! The zero page of the 64-bit Linux boot protocol
//! (`Linux Documentation/arch/x86/zero-page.rst, v6.12`).

use devices::GuestRam;
use linux_loader::loader::bootparam::{boot_e820_entry, boot_params, setup_header};
use vm_memory::{Bytes, GuestAddress};

use super::error::BootError;
use crate::layout::{Layout, Range, boot};

/// `type_of_loader`: none of the registered loaders.
const LOADER_UNDEFINED: u8 = 0xff;
/// `loadflags`: the protected-mode code is at or above 1 MiB.
const LOADED_HIGH: u8 = 1;
const BOOT_FLAG: u16 = 0xaa55;
const MAGIC: u32 = u32::from_le_bytes(*b"HdrS");
/// Boot protocol 2.15, for a kernel that came without a header of its own.
const VERSION: u16 = 0x020f;

/// Builds the zero page: the kernel's own setup header, if it has one, completed.
pub(super) fn build(
    layout: &Layout,
    header: Option<setup_header>,
    cmdline_len: usize,
    initrd: Option<Range>,
    rsdp: GuestAddress,
) -> boot_params {
    let mut params = boot_params::default();
    let mut header = header.unwrap_or(setup_header {
        boot_flag: BOOT_FLAG,
        header: MAGIC,
        version: VERSION,
        ..setup_header::default()
    });
    header.type_of_loader = LOADER_UNDEFINED;
    header.ext_loader_type = 0;
    header.ext_loader_ver = 0;
    header.loadflags |= LOADED_HIGH;
    header.setup_data = 0;
    header.cmd_line_ptr = boot::CMDLINE.start as u32;
    if header.cmdline_size == 0 {
        header.cmdline_size = u32::try_from(cmdline_len).unwrap_or(u32::MAX);
    }
    if let Some(initrd) = initrd {
        // Both are below 3 GiB: the initrd lies in low RAM.
        header.ramdisk_image = initrd.start as u32;
        header.ramdisk_size = initrd.len as u32;
    }
    params.hdr = header;
    params.acpi_rsdp_addr = rsdp.0;
    let mut table = params.e820_table;
    let mut entries = 0;
    for (to, from) in table.iter_mut().zip(layout.memory_map()) {
        *to = boot_e820_entry {
            addr: from.range.start,
            size: from.range.len,
            r#type: from.kind as u32,
        };
        entries += 1;
    }
    params.e820_table = table;
    params.e820_entries = entries;
    params
}

/// Writes the zero page to its place.
pub(super) fn write(mem: &GuestRam, params: boot_params) -> Result<(), BootError> {
    mem.write_obj(params, GuestAddress(boot::ZERO_PAGE.start))
        .map_err(|source| BootError::GuestMemory {
            what: "the zero page",
            address: boot::ZERO_PAGE.start,
            source,
        })
}

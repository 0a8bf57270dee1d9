//! Guest RAM: a mapping for each region of the layout, anonymous or of a file in memory; and the program's own text.
#![allow(unsafe_code, reason = "madvise(2) takes a raw pointer")]

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::io;
use std::sync::Arc;

use devices::GuestRam;
use rustix::fs::{MemfdFlags, memfd_create};
use vm_memory::{FileOffset, GuestAddress, GuestMemoryBackend, MmapRegion};

/// Where huge pages are asked for: from where Linux is loaded. Tiny guests lie below and touch a few
/// small pages instead of having 2 MiB cleared for them.
const HUGE_PAGES_FROM: usize = 16 << 20;

/// Maps guest RAM for `regions` of (guest-physical start, length in bytes), `shared` with processes
/// that are given its file.
///
/// Nothing is reserved or touched: the host gives pages as the guest uses them.
///
/// # Errors
/// The host has no address space left, or the regions overlap.
pub(crate) fn allocate(regions: &[(GuestAddress, usize)], shared: bool) -> io::Result<GuestRam> {
    let ram = if shared {
        from_file(regions)?
    } else {
        GuestRam::from_ranges(regions).map_err(io::Error::other)?
    };
    for region in ram.iter() {
        advise_huge_pages(region);
    }
    Ok(ram)
}

/// One file in memory holds all regions, one after the other.
fn from_file(regions: &[(GuestAddress, usize)]) -> io::Result<GuestRam> {
    let file = Arc::new(File::from(memfd_create("guest-ram", MemfdFlags::CLOEXEC)?));
    let mut end = 0;
    let placed: Vec<_> = regions
        .iter()
        .map(|&(start, length)| {
            let place = FileOffset::from_arc(Arc::clone(&file), end);
            end += length as u64;
            (start, length, Some(place))
        })
        .collect();
    file.set_len(end)?;
    GuestRam::from_ranges_with_files(placed).map_err(io::Error::other)
}

/// Asks for huge pages; a host that has none simply goes on with small ones.
fn advise_huge_pages(region: &MmapRegion) {
    let Some(len) = region.size().checked_sub(HUGE_PAGES_FROM) else {
        return;
    };
    let start = region.as_ptr().wrapping_add(HUGE_PAGES_FROM);
    // SAFETY: the range is the rest of a live mapping of ours; the advice changes no contents.
    unsafe { libc::madvise(start.cast(), len, libc::MADV_HUGEPAGE) };
}

/// Gives back the pages of the program's text and constants that were needed until now: reading a command line and building
/// a machine takes most of them, running it few. What is needed still comes back from the file.
pub(crate) fn give_back_program() {
    // SAFETY: `give_back` is what dl_iterate_phdr(3) calls, and makes no use of its data.
    unsafe { libc::dl_iterate_phdr(Some(give_back), std::ptr::null_mut()) };
}

/// Gives back the segments of the program itself that nothing writes to. Others stay as they are.
unsafe extern "C" fn give_back(object: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> c_int {
    /// Pages that lie in a segment only in part belong to another one as well.
    const PAGE: usize = 4096;
    // SAFETY: the caller hands over a description that lives as long as the call.
    let object = unsafe { &*object };
    let count = usize::from(object.dlpi_phnum);
    // SAFETY: there are that many headers, in the program's own image.
    let segments = unsafe { std::slice::from_raw_parts(object.dlpi_phdr, count) };
    for segment in segments {
        if segment.p_type != libc::PT_LOAD || segment.p_flags & libc::PF_W != 0 {
            continue;
        }
        let at = |offset: u64| usize::try_from(object.dlpi_addr + segment.p_vaddr + offset);
        let (Ok(start), Ok(end)) = (at(0), at(segment.p_memsz)) else {
            continue;
        };
        let (start, end) = (start.next_multiple_of(PAGE), end / PAGE * PAGE);
        if let Some(len) = end.checked_sub(start).filter(|&len| len > 0) {
            let start = std::ptr::without_provenance_mut(start);
            // SAFETY: whole pages of a private mapping of the program's file that was never written to: what is read of them
            // next is read from the file again, and is the same.
            unsafe { libc::madvise(start, len, libc::MADV_DONTNEED) };
        }
    }
    // The first object is the program; libraries are not ours.
    1
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use vm_memory::{Bytes, GuestMemoryRegion};

    use super::*;

    #[test]
    fn the_program_goes_on_without_its_text() {
        let resident = || {
            let text = std::fs::read_to_string("/proc/self/statm").unwrap();
            let fields: Vec<u64> = text
                .split_whitespace()
                .map(|it| it.parse().unwrap())
                .collect();
            // The pages of files, in all mappings.
            fields[2]
        };
        let text: Vec<String> = (0..100).map(|n| format!("{n:x}")).collect();
        let before = resident();
        give_back_program();
        assert!(resident() < before);
        assert_eq!(text.concat().len(), 16 + 84 * 2);
    }

    #[test]
    fn shared_memory_is_one_file_in_the_order_of_the_regions() {
        let regions = [(GuestAddress(0), 8192), (GuestAddress(1 << 32), 4096)];
        let ram = allocate(&regions, true).unwrap();
        ram.write_obj(7_u8, GuestAddress((1 << 32) + 5)).unwrap();
        for region in ram.iter() {
            let place = region.file_offset().unwrap();
            let mut byte = [0];
            place.file().read_exact_at(&mut byte, 8192 + 5).unwrap();
            assert_eq!(byte, [7]);
        }
        let own = allocate(&regions, false).unwrap();
        assert!(own.iter().all(|region| region.file_offset().is_none()));
    }
}

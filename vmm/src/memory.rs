//! Guest RAM: a mapping for each region of the layout, anonymous or of a file in memory.
#![allow(unsafe_code, reason = "madvise(2) takes a raw pointer")]

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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use vm_memory::{Bytes, GuestMemoryRegion};

    use super::*;

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

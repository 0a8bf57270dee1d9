//! Guest RAM: anonymous mappings, one for each region of the layout.
#![allow(unsafe_code, reason = "madvise(2) takes a raw pointer")]

use std::io;

use devices::GuestRam;
use vm_memory::{GuestAddress, GuestMemoryBackend, MmapRegion};

/// RAM regions of at least this many bytes ask for huge pages.
const HUGE_PAGE_FLOOR: usize = 256 << 20;

/// Maps guest RAM for `regions` of (guest-physical start, length in bytes).
///
/// Nothing is reserved or touched: the host gives pages as the guest uses them.
///
/// # Errors
/// The host has no address space left, or the regions overlap.
pub(crate) fn allocate(regions: &[(GuestAddress, usize)]) -> io::Result<GuestRam> {
    let ram = GuestRam::from_ranges(regions).map_err(io::Error::other)?;
    for region in ram.iter().filter(|region| region.size() >= HUGE_PAGE_FLOOR) {
        advise_huge_pages(region);
    }
    Ok(ram)
}

/// Asks for huge pages; a host that has none simply goes on with small ones.
fn advise_huge_pages(region: &MmapRegion) {
    // SAFETY: the range is exactly one live mapping of ours; the advice changes no contents.
    unsafe { libc::madvise(region.as_ptr().cast(), region.size(), libc::MADV_HUGEPAGE) };
}

//! Guest RAM: anonymous mappings, one for each region of the layout.
#![allow(unsafe_code, reason = "madvise(2) takes a raw pointer")]

use std::io;

use devices::GuestRam;
use vm_memory::{GuestAddress, GuestMemoryBackend, MmapRegion};

/// Where huge pages are asked for: from where Linux is loaded. Tiny guests lie below and touch a few
/// small pages instead of having 2 MiB cleared for them.
const HUGE_PAGES_FROM: usize = 16 << 20;

/// Maps guest RAM for `regions` of (guest-physical start, length in bytes).
///
/// Nothing is reserved or touched: the host gives pages as the guest uses them.
///
/// # Errors
/// The host has no address space left, or the regions overlap.
pub(crate) fn allocate(regions: &[(GuestAddress, usize)]) -> io::Result<GuestRam> {
    let ram = GuestRam::from_ranges(regions).map_err(io::Error::other)?;
    for region in ram.iter() {
        advise_huge_pages(region);
    }
    Ok(ram)
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

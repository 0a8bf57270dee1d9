//! Guest RAM that goes back to the host.

use std::io;

use vm_memory::{GuestMemoryBackend, GuestMemoryRegion, VolatileSlice};

use super::check;
use crate::GuestRam;

/// The pages that the host gives and takes.
pub const PAGE: usize = 4096;

/// Gives the whole pages of `slice` back to the host: they read as zeros and take no memory until
/// they are written again.
///
/// # Errors
/// The slice is no part of `mem`, or what `madvise(2)` says.
pub fn give_back(mem: &GuestRam, slice: &VolatileSlice<'_>) -> io::Result<()> {
    let start = slice.ptr_guard_mut().as_ptr();
    let first = (start as usize).next_multiple_of(PAGE);
    let end = (start as usize).saturating_add(slice.len()) / PAGE * PAGE;
    let Some(len) = end.checked_sub(first).filter(|&len| len > 0) else {
        return Ok(());
    };
    let region = mem.iter().find(|region| {
        let base = region.as_ptr() as usize;
        first >= base && end <= base + region.size()
    });
    let region = region.ok_or(io::ErrorKind::InvalidInput)?;
    // Pages of a file go out of the file; those of nobody's are simply forgotten.
    let advice = match region.file_offset() {
        Some(_) => libc::MADV_REMOVE,
        None => libc::MADV_DONTNEED,
    };
    let first = start.wrapping_add(first - start as usize);
    // SAFETY: the range lies in a live mapping of guest RAM, whose contents nobody but the guest
    // relies on.
    check(unsafe { libc::madvise(first.cast(), len, advice) } as isize).map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use vm_memory::{Bytes, FileOffset, GuestAddress};

    use super::*;

    fn bytes(mem: &GuestRam, at: u64) -> u8 {
        mem.read_obj(GuestAddress(at)).unwrap()
    }

    fn check_whole_pages(mem: &GuestRam) {
        mem.write_slice(&[7; 5 * PAGE], GuestAddress(0)).unwrap();
        let slice = mem.get_slice(GuestAddress(100), 3 * PAGE).unwrap();
        give_back(mem, &slice).unwrap();
        assert_eq!((bytes(mem, 4095), bytes(mem, 3 * 4096)), (7, 7));
        assert_eq!((bytes(mem, 4096), bytes(mem, 3 * 4096 - 1)), (0, 0));
        mem.write_obj(9u8, GuestAddress(4096)).unwrap();
        assert_eq!(bytes(mem, 4096), 9);
        let less = mem.get_slice(GuestAddress(3 * 4096 + 1), PAGE).unwrap();
        give_back(mem, &less).unwrap();
        assert_eq!(bytes(mem, 3 * 4096 + 1), 7);
    }

    #[test]
    fn whole_pages_read_as_zeros_afterwards() {
        check_whole_pages(&GuestRam::from_ranges(&[(GuestAddress(0), 8 * PAGE)]).unwrap());
    }

    #[test]
    fn pages_of_a_shared_file_leave_the_file() {
        let file = rustix::fs::memfd_create("ram", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let file = File::from(file);
        file.set_len(8 * PAGE as u64).unwrap();
        let backing = Some(FileOffset::new(file.try_clone().unwrap(), 0));
        let range = (GuestAddress(0), 8 * PAGE, backing);
        check_whole_pages(&GuestRam::from_ranges_with_files([range]).unwrap());
    }

    #[test]
    fn memory_that_is_not_the_guests_is_left_alone() {
        let mem = GuestRam::from_ranges(&[(GuestAddress(0), 8 * PAGE)]).unwrap();
        let mut own = vec![5u8; 4 * PAGE];
        let slice = VolatileSlice::from(&mut own[..]);
        assert!(give_back(&mem, &slice).is_err());
        assert!(own.iter().all(|&byte| byte == 5));
    }
}

//! Guest buffers that are in use for longer than one call: those of a request that waits for its
//! back end.

use std::fmt;
use std::mem::transmute;
use std::sync::Arc;

use vm_memory::{GuestMemoryBackend, VolatileSlice};

use crate::GuestRam;

/// Buffers of guest RAM, with the RAM that they lie in.
#[derive(Default)]
pub struct Held {
    /// Each lies in `mem`, and is never handed out for longer than `self` lives.
    slices: Vec<VolatileSlice<'static>>,
    mem: Option<Arc<GuestRam>>,
}

// SAFETY: the buffers are RAM that any thread may touch, as the guest's processors do all the time;
// `mem` is `Send` and keeps them mapped.
unsafe impl Send for Held {}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Held").field(&self.slices.len()).finish()
    }
}

impl Held {
    /// Lets go of what is held and holds `slices` of `mem`; `false`, holding nothing, if one of them
    /// is no part of it.
    pub fn fill<'m>(
        &mut self,
        mem: &Arc<GuestRam>,
        slices: impl Iterator<Item = VolatileSlice<'m>>,
    ) -> bool {
        self.release();
        for slice in slices {
            if !contains(mem, &slice) {
                self.release();
                return false;
            }
            // SAFETY: the slice lies in a mapping that `self.mem` keeps for as long as `self` has
            // the slice; only its lifetime changes.
            let slice = unsafe { transmute::<VolatileSlice<'m>, VolatileSlice<'static>>(slice) };
            self.slices.push(slice);
        }
        self.mem = Some(Arc::clone(mem));
        true
    }

    /// Lets go of the buffers; the room for as many stays.
    pub fn release(&mut self) {
        self.slices.clear();
        self.mem = None;
    }

    /// The buffers.
    #[must_use]
    pub fn slices(&self) -> &[VolatileSlice<'_>] {
        &self.slices
    }
}

fn contains(mem: &GuestRam, slice: &VolatileSlice<'_>) -> bool {
    let start = slice.ptr_guard().as_ptr() as usize;
    let end = start.saturating_add(slice.len());
    mem.iter().any(|region| {
        let base = region.as_ptr() as usize;
        start >= base && end <= base + region.size()
    })
}

#[cfg(test)]
mod tests {
    use vm_memory::GuestAddress;

    use super::*;

    fn ram() -> Arc<GuestRam> {
        Arc::new(GuestRam::from_ranges(&[(GuestAddress(0), 8192)]).unwrap())
    }

    #[test]
    fn buffers_outlive_the_handle_that_they_came_from() {
        let mem = ram();
        let mut held = Held::default();
        let slice = mem.get_slice(GuestAddress(4096), 4).unwrap();
        slice.copy_from(&[1u8, 2, 3, 4]);
        assert!(held.fill(&mem, [slice].into_iter()));
        drop(mem);
        let mut data = [0u8; 4];
        std::thread::spawn(move || {
            held.slices()[0].copy_to(&mut data);
            data
        })
        .join()
        .map(|data| assert_eq!(data, [1, 2, 3, 4]))
        .unwrap();
    }

    #[test]
    fn a_buffer_of_other_memory_is_not_held() {
        let (mem, other) = (ram(), ram());
        let slice = other.get_slice(GuestAddress(0), 1).unwrap();
        let mut held = Held::default();
        assert!(!held.fill(&mem, [slice].into_iter()));
        assert!(held.slices().is_empty());
    }
}

//! Coalesced port writes (KVM api.rst 4.116): KVM keeps writes to chosen ports in a ring, and the
//! guest goes on; whoever comes back to user space next applies them, in order, before anything
//! else. Sixteen bytes of serial output then cost one exit instead of seventeen.

use std::fmt;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use devices::lock;
use kvm_bindings::{KVM_COALESCED_MMIO_PAGE_OFFSET, kvm_coalesced_mmio};
use kvm_ioctls::{IoEventAddress, VmFd};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::os::fd::BorrowedFd;

/// The size of a page, of the ring, and of everything in `KVM_VCPU_MMAP_SIZE`'s layout.
const PAGE: usize = 4096;
/// The ring's header: two indices.
const HEADER: usize = 8;
/// How many writes the ring takes; one entry stays free.
const ENTRIES: u32 = ((PAGE - HEADER) / size_of::<kvm_coalesced_mmio>()) as u32;

/// The machine's ring of coalesced writes. KVM fills it, one thread at a time empties it.
pub struct CoalescedRing {
    vm: Arc<VmFd>,
    page: NonNull<u8>,
    reader: Mutex<()>,
}

// SAFETY: the page stays mapped while the ring lives; its indices are atomics, and entries are
// read under `reader` alone.
unsafe impl Send for CoalescedRing {}
// SAFETY: as above.
unsafe impl Sync for CoalescedRing {}

impl fmt::Debug for CoalescedRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoalescedRing").finish_non_exhaustive()
    }
}

impl CoalescedRing {
    /// Maps the ring, which every vCPU's descriptor shows.
    pub(super) fn new(vm: Arc<VmFd>, vcpu: BorrowedFd<'_>) -> io::Result<Self> {
        let offset = u64::from(KVM_COALESCED_MMIO_PAGE_OFFSET) * PAGE as u64;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no other memory.
        let page = unsafe {
            mmap(
                std::ptr::null_mut(),
                PAGE,
                access,
                MapFlags::SHARED,
                vcpu,
                offset,
            )
        }?;
        let page = NonNull::new(page.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self {
            vm,
            page,
            reader: Mutex::new(()),
        })
    }

    /// Has KVM keep one-byte writes to `port` from now on.
    ///
    /// # Errors
    /// KVM refused.
    pub fn keep_port(&self, port: u64) -> io::Result<()> {
        self.vm
            .register_coalesced_mmio(IoEventAddress::Pio(port), 1)
            .map_err(io::Error::from)
    }

    /// Index of the next entry to read, which is ours to move.
    fn first(&self) -> &AtomicU32 {
        // SAFETY: the page starts with this index, aligned, for as long as `self` lives.
        unsafe { self.page.cast::<AtomicU32>().as_ref() }
    }

    /// Index behind the last entry, which KVM moves.
    fn last(&self) -> &AtomicU32 {
        // SAFETY: the second index lies within the page.
        let last = unsafe { self.page.cast::<AtomicU32>().add(1) };
        // SAFETY: as for `first`.
        unsafe { last.as_ref() }
    }

    /// Applies every kept write, in order, by `write(port, data)`. Cheap when there is none. An entry
    /// leaves the ring only once it is applied, so an empty ring means that nothing is under way.
    pub fn drain(&self, mut write: impl FnMut(u64, &[u8])) {
        if self.first().load(Ordering::Relaxed) == self.last().load(Ordering::Acquire) {
            return;
        }
        let _reading = lock(&self.reader);
        let mut first = self.first().load(Ordering::Relaxed);
        while first != self.last().load(Ordering::Acquire) && first < ENTRIES {
            let offset = HEADER + first as usize * size_of::<kvm_coalesced_mmio>();
            // SAFETY: `first` is below the number of entries, so the entry lies within the page.
            let entry = unsafe { self.page.add(offset) }.cast::<kvm_coalesced_mmio>();
            // SAFETY: KVM wrote the entry before it moved `last` and leaves it alone until we move
            // `first`.
            let entry = unsafe { entry.read() };
            let len = (entry.len as usize).min(entry.data.len());
            write(entry.phys_addr, entry.data.get(..len).unwrap_or_default());
            first = (first + 1) % ENTRIES;
            self.first().store(first, Ordering::Release);
        }
    }
}

impl Drop for CoalescedRing {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nobody holds a reference into it any more.
        let _ = unsafe { munmap(self.page.as_ptr().cast(), PAGE) };
    }
}

//! Reads, writes and flushes of one file by the kernel itself (`io_uring(7)`).

use std::fmt;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use io_uring::register::Restriction;
use io_uring::{IoUring, opcode, squeue, types};

use super::held::Held;
use super::{IOV_MAX, check};

/// What the kernel is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Read at this byte of the file.
    Read(u64),
    /// Write at this byte of the file; durable at once if it says so.
    Write(u64, bool),
    /// Make durable what was written.
    Flush,
}

/// One submission: its owner, whose buffers the kernel uses meanwhile, and their list.
struct Slot<T> {
    owner: Option<T>,
    iovecs: Vec<libc::iovec>,
}

/// A ring over one file. The owners of buffers stay inside while the kernel uses them.
pub struct Ring<T> {
    ring: IoUring,
    file: OwnedFd,
    /// Never longer than at first: the kernel knows where the lists of buffers are.
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

impl<T> fmt::Debug for Ring<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("in_flight", &(self.slots.len() - self.free.len()))
            .finish_non_exhaustive()
    }
}

// SAFETY: the lists of buffers point into RAM that their owners hold, which are `Send`.
unsafe impl<T: Send> Send for Ring<T> {}

impl<T: AsRef<Held>> Ring<T> {
    /// A ring for up to `entries` (a power of two) submissions at a time on `file`.
    ///
    /// # Errors
    /// The kernel has no io_uring, forbids it, or lacks an operation.
    pub fn new(file: BorrowedFd<'_>, entries: u32) -> io::Result<Self> {
        let mut builder = IoUring::builder();
        let ring = builder.dontfork().setup_r_disabled().build(entries)?;
        let mut probe = io_uring::Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        let needed = [
            opcode::Readv::CODE,
            opcode::Writev::CODE,
            opcode::Fsync::CODE,
        ];
        if !needed.into_iter().all(|code| probe.is_supported(code)) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        // What a ring does, a sandbox's filter does not see: it is to do nothing else.
        let mut only = needed.map(Restriction::sqe_op);
        ring.submitter().register_restrictions(&mut only)?;
        ring.submitter().register_enable_rings()?;
        let slot = |_| Slot {
            owner: None,
            iovecs: Vec::new(),
        };
        Ok(Self {
            ring,
            file: file.try_clone_to_owned()?,
            slots: (0..entries).map(slot).collect(),
            free: (0..entries).collect(),
        })
    }

    /// Readable when something is done.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd_of_ring()
    }

    /// The number of submissions that are not done.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Prepares `action` over the first `count` buffers of `owner`; [`Ring::enter`] submits it.
    ///
    /// # Errors
    /// The ring is full, or the offset is beyond any file: the owner comes back.
    pub fn push(&mut self, action: Action, owner: T, count: usize) -> Result<(), T> {
        let Some(index) = self.free.pop() else {
            return Err(owner);
        };
        let Some(slot) = self.slots.get_mut(index as usize) else {
            return Err(owner);
        };
        let slices = owner.as_ref().slices().iter().take(count.min(IOV_MAX));
        slot.iovecs.clear();
        slot.iovecs.extend(slices.map(|slice| libc::iovec {
            iov_base: slice.ptr_guard_mut().as_ptr().cast(),
            iov_len: slice.len(),
        }));
        let entry = entry(action, self.file.as_raw_fd(), &slot.iovecs).user_data(index.into());
        // SAFETY: file, list and buffers stay until the completion is seen: the file lives as long
        // as the ring, the list and the owner of the buffers are in the slot, which is not touched.
        if unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.free.push(index);
            return Err(owner);
        }
        slot.owner = Some(owner);
        Ok(())
    }

    /// Submits what was prepared.
    ///
    /// # Errors
    /// What `io_uring_enter(2)` says; what was prepared stays so.
    pub fn enter(&mut self) -> io::Result<()> {
        loop {
            if self.ring.submission().is_empty() {
                return Ok(());
            }
            match self.ring.submit() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map(drop),
            }
        }
    }

    /// Gives what is done to `each`, with the number of bytes or the error.
    pub fn reap(&mut self, mut each: impl FnMut(T, io::Result<usize>)) {
        for completion in self.ring.completion() {
            let Ok(index) = u32::try_from(completion.user_data()) else {
                continue;
            };
            let slot = self.slots.get_mut(index as usize);
            if let Some(owner) = slot.and_then(|slot| slot.owner.take()) {
                self.free.push(index);
                let result = match completion.result() {
                    error @ ..0 => Err(io::Error::from_raw_os_error(error.wrapping_neg())),
                    n => check(n as isize),
                };
                each(owner, result);
            }
        }
    }
}

trait RingFd {
    fn as_fd_of_ring(&self) -> BorrowedFd<'_>;
}

impl RingFd for IoUring {
    fn as_fd_of_ring(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as `self` is.
        unsafe { BorrowedFd::borrow_raw(self.as_raw_fd()) }
    }
}

fn entry(action: Action, file: i32, iovecs: &[libc::iovec]) -> squeue::Entry {
    let (fd, count) = (types::Fd(file), iovecs.len() as u32);
    match action {
        Action::Read(offset) => opcode::Readv::new(fd, iovecs.as_ptr(), count)
            .offset(offset)
            .build(),
        Action::Write(offset, durable) => opcode::Writev::new(fd, iovecs.as_ptr(), count)
            .offset(offset)
            .rw_flags(if durable { libc::RWF_DSYNC } else { 0 })
            .build(),
        Action::Flush => opcode::Fsync::new(fd)
            .flags(types::FsyncFlags::DATASYNC)
            .build(),
    }
}

impl<T> Drop for Ring<T> {
    /// Waits for what is in flight: the kernel may write into the buffers until then.
    fn drop(&mut self) {
        while self.slots.len() > self.free.len() {
            match self.ring.submit_and_wait(1) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    log::error!("io_uring cannot be waited for: {error}");
                    // Lost rather than given to others while the kernel may write to it.
                    mem::forget(mem::take(&mut self.slots));
                    return;
                }
            }
            for completion in self.ring.completion() {
                let index = completion.user_data() as u32;
                let slot = self.slots.get_mut(index as usize);
                if slot.and_then(|slot| slot.owner.take()).is_some() {
                    self.free.push(index);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::sync::Arc;

    use rustix::event::{PollFd, PollFlags, poll};
    use vm_memory::{GuestAddress, GuestMemoryBackend};

    use super::*;
    use crate::GuestRam;

    struct Owner(Held, u32);

    impl AsRef<Held> for Owner {
        fn as_ref(&self) -> &Held {
            &self.0
        }
    }

    fn ram() -> Arc<GuestRam> {
        Arc::new(GuestRam::from_ranges(&[(GuestAddress(0), 1 << 16)]).unwrap())
    }

    fn owner(mem: &Arc<GuestRam>, at: u64, len: usize, number: u32) -> Owner {
        let mut held = Held::default();
        let slice = mem.get_slice(GuestAddress(at), len).unwrap();
        assert!(held.fill(mem, [slice].into_iter()));
        Owner(held, number)
    }

    fn wait(ring: &mut Ring<Owner>) -> Vec<(u32, io::Result<usize>)> {
        ring.enter().unwrap();
        let mut done = Vec::new();
        while ring.in_flight() > 0 {
            poll(&mut [PollFd::new(&ring.fd(), PollFlags::IN)], None).unwrap();
            ring.reap(|owner, result| done.push((owner.1, result)));
        }
        done
    }

    #[test]
    fn a_file_is_read_written_and_flushed() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"0123456789").unwrap();
        let mem = ram();
        let mut ring = Ring::new(file.as_file().as_fd(), 4).unwrap();
        ring.push(Action::Read(4), owner(&mem, 0, 100, 1), 1)
            .ok()
            .unwrap();
        let done = wait(&mut ring);
        assert!(matches!(done[..], [(1, Ok(6))]), "{done:?}");
        let mut data = [0; 6];
        mem.get_slice(GuestAddress(0), 6)
            .unwrap()
            .copy_to(&mut data[..]);
        assert_eq!(&data, b"456789");
        ring.push(Action::Write(1, true), owner(&mem, 0, 2, 2), 1)
            .ok()
            .unwrap();
        ring.push(Action::Flush, owner(&mem, 0, 1, 3), 0)
            .ok()
            .unwrap();
        assert_eq!(wait(&mut ring).len(), 2);
        assert_eq!(fs::read(file.path()).unwrap(), b"0453456789");
    }

    #[test]
    fn a_full_ring_gives_the_owner_back() {
        let file = tempfile::tempfile().unwrap();
        let mem = ram();
        let mut ring = Ring::new(file.as_fd(), 2).unwrap();
        for number in 0..2 {
            ring.push(Action::Read(0), owner(&mem, 0, 1, number), 1)
                .ok()
                .unwrap();
        }
        let back = ring.push(Action::Read(0), owner(&mem, 0, 1, 7), 1);
        assert_eq!(back.err().map(|owner| owner.1), Some(7));
        assert_eq!(wait(&mut ring).len(), 2);
    }

    #[test]
    fn an_error_of_the_file_comes_with_its_owner() {
        let file = fs::File::open("/dev/null").unwrap();
        let mem = ram();
        let mut ring = Ring::new(file.as_fd(), 2).unwrap();
        ring.push(Action::Write(0, false), owner(&mem, 0, 1, 5), 1)
            .ok()
            .unwrap();
        let done = wait(&mut ring);
        assert!(matches!(done[..], [(5, Err(_))]), "{done:?}");
    }

    #[test]
    fn a_ring_that_is_dropped_waits_for_the_kernel() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mem = ram();
        let mut ring = Ring::new(file.as_file().as_fd(), 2).unwrap();
        ring.push(Action::Write(0, true), owner(&mem, 0, 512, 1), 1)
            .ok()
            .unwrap();
        drop(ring);
        assert_eq!(fs::read(file.path()).unwrap().len(), 512);
    }
}

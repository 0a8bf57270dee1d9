//! Queues whose rings somebody else works on: the kernel's vhost, or a process by vhost-user.
//!
//! The driver's doorbells go straight to them, and their calls to the driver where the transport can
//! have it so. Else these come to the device's loop, which interrupts the driver as the transport
//! wants it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use vhost::vhost_kern::VhostKernBackend;
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use virtio_queue::QueueT;
use vm_memory::{Address, GuestAddress, GuestMemoryBackend, GuestMemoryRegion};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::GuestRam;
use crate::virtio::device::{ActiveIo, Interest, Token};

/// How the other side names addresses of rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Addresses {
    /// As the guest does.
    Guest,
    /// As this process does.
    Process,
}

/// A vhost of the kernel's with the guest's memory at hand, as the `vhost` crate wants it (Linux
/// uapi/linux/vhost.h).
#[derive(Debug)]
pub(crate) struct Kernel<'a> {
    pub(crate) fd: BorrowedFd<'a>,
    pub(crate) mem: &'a GuestRam,
}

impl Kernel<'_> {
    /// Takes the queues back that were given to it.
    pub(crate) fn take_back(&self, lent: &mut Vec<Lent>, io: &mut ActiveIo<'_>) {
        for lent in lent.drain(..) {
            let base = self.get_vring_base(lent.ring());
            lent.take_back(base.ok(), io);
        }
    }
}

impl AsRawFd for Kernel<'_> {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl<'a> VhostKernBackend for Kernel<'a> {
    type AS = &'a GuestRam;

    fn mem(&self) -> &Self::AS {
        &self.mem
    }
}

/// One queue that was handed over.
#[derive(Debug)]
pub(crate) struct Lent {
    queue: u16,
    ring: usize,
    call: Arc<EventFd>,
}

/// What the system said, or the protocol's fault.
pub(crate) fn error(error: vhost::Error) -> io::Error {
    match error {
        vhost::Error::IoctlError(error)
        | vhost::Error::IOError(error)
        | vhost::Error::VhostOpen(error) => error,
        other => io::Error::other(other),
    }
}

/// Guest RAM as the other side is told of it.
pub(crate) fn regions(mem: &GuestRam) -> Vec<VhostUserMemoryRegionInfo> {
    mem.iter()
        .map(|region| {
            let file = region.file_offset();
            VhostUserMemoryRegionInfo {
                guest_phys_addr: region.start_addr().raw_value(),
                memory_size: region.len(),
                userspace_addr: region.as_ptr().addr() as u64,
                mmap_offset: file.map_or(0, |file| file.start()),
                mmap_handle: file.map_or(-1, |file| file.file().as_raw_fd()),
            }
        })
        .collect()
}

impl Lent {
    /// Hands queue `queue` over as ring `ring` of `to`: its size, addresses, position, doorbell and
    /// call, which wakes the device's loop as `token`. Nothing runs yet.
    pub(crate) fn give(
        to: &impl VhostBackend,
        addresses: Addresses,
        io: &mut ActiveIo<'_>,
        (queue, ring): (u16, usize),
        token: Token,
    ) -> io::Result<Self> {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let regs = io
            .queues
            .get(usize::from(queue))
            .ok_or_else(gone)?
            .ring_ref();
        let doorbell = io.doorbells.get(usize::from(queue)).ok_or_else(gone)?;
        let place = |address: u64| match addresses {
            Addresses::Guest => Ok(address),
            Addresses::Process => io
                .mem
                .get_host_address(GuestAddress(address))
                .map(|place| place.addr() as u64)
                .map_err(io::Error::other),
        };
        let config = VringConfigData {
            queue_max_size: regs.max_size(),
            queue_size: regs.size(),
            flags: 0,
            desc_table_addr: place(regs.desc_table())?,
            used_ring_addr: place(regs.used_ring())?,
            avail_ring_addr: place(regs.avail_ring())?,
            log_addr: None,
        };
        let call = Arc::new(EventFd::new(EFD_NONBLOCK)?);
        to.set_vring_num(ring, regs.size()).map_err(error)?;
        to.set_vring_base(ring, regs.next_avail()).map_err(error)?;
        to.set_vring_addr(ring, &config).map_err(error)?;
        to.set_vring_call(ring, &call).map_err(error)?;
        to.set_vring_kick(ring, doorbell).map_err(error)?;
        // The doorbell is the other side's alone: it would wake us in vain.
        let _ = io.events.remove(doorbell.as_raw_fd());
        io.events.add(call.as_raw_fd(), token, Interest::Read)?;
        io.interrupt.bind(queue, &call);
        Ok(Self { queue, ring, call })
    }

    pub(crate) fn queue(&self) -> u16 {
        self.queue
    }

    pub(crate) fn ring(&self) -> usize {
        self.ring
    }

    /// Rings the doorbell, for what the driver put there before.
    pub(crate) fn kick(&self, io: &ActiveIo<'_>) {
        if let Some(doorbell) = io.doorbells.get(usize::from(self.queue))
            && doorbell.write(1).is_err()
        {
            log::debug!("doorbell {} is full", self.queue);
        }
    }

    /// The other side may have used buffers.
    pub(crate) fn called(&self, io: &ActiveIo<'_>) {
        if self.call.read().is_ok() {
            io.interrupt.queue(self.queue);
        }
    }

    /// Takes a queue back from a side that has stopped at `base`, if it tells.
    pub(crate) fn take_back(self, base: Option<u32>, io: &mut ActiveIo<'_>) {
        io.interrupt.unbind(self.queue);
        // What was called for and not yet passed on.
        self.called(io);
        let _ = io.events.remove(self.call.as_raw_fd());
        if let Some(queue) = io.queues.get_mut(usize::from(self.queue)) {
            // A side that is gone leaves what it had taken: the used ring tells how far it came.
            let used = queue
                .ring_ref()
                .used_idx(io.mem, std::sync::atomic::Ordering::Acquire);
            let used = used.map_or(queue.ring_ref().next_used(), |used| used.0);
            let next = base.map_or(used, |base| base as u16);
            queue.ring().set_next_avail(next);
            queue.ring().set_next_used(used);
        }
        if let Some(doorbell) = io.doorbells.get(usize::from(self.queue)) {
            let token = Token(self.queue.into());
            let watched = io.events.add(doorbell.as_raw_fd(), token, Interest::Ring);
            if watched.is_err() {
                // The device leaves its loop.
                log::debug!("doorbell {} is not watched again", self.queue);
            }
        }
    }
}

//! The split virtqueue (VIRTIO 1.3 §2.7) and the descriptor chains that come from it.
//!
//! `virtio-queue` keeps the ring indices and the notification suppression; the walk over a chain is
//! ours, because a chain that loops or leaves guest RAM has to be an error and not an early end.

use std::sync::atomic::{Ordering, fence};

use smallvec::SmallVec;
use virtio_queue::desc::split::Descriptor;
use virtio_queue::{Queue, QueueOwnedT, QueueState, QueueT};
use vm_memory::{Address, Bytes, GuestAddress, GuestMemoryBackend, VolatileSlice};

use crate::GuestRam;
use crate::virtio::buffers::Buffers;
pub use crate::virtio::buffers::{Reader, Writer};

/// How a driver broke the rules of a virtqueue.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The ring's geometry or one of its indices is invalid.
    #[error("virtqueue is invalid")]
    Ring(#[source] virtio_queue::Error),
    /// A descriptor index is not below the table's size.
    #[error("descriptor {index} is outside a table of {size}")]
    Index {
        /// The index found.
        index: u16,
        /// The number of descriptors in the table.
        size: u32,
    },
    /// The chain has more descriptors than the table (it loops), or than one request may have.
    #[error("descriptor chain at {head} loops or is too long")]
    Loop {
        /// The chain's first descriptor.
        head: u16,
    },
    /// A descriptor's buffer or table is not in guest RAM.
    #[error("descriptor points outside guest RAM ({address:#x}+{len:#x})")]
    Address {
        /// Guest-physical start.
        address: u64,
        /// Length in bytes.
        len: u32,
    },
    /// An indirect table is malformed (VIRTIO 1.3 §2.7.5.3.1).
    #[error("indirect descriptor table is malformed or not negotiated")]
    Indirect,
    /// A device-readable descriptor follows a device-writable one (VIRTIO 1.3 §2.7.4.2).
    #[error("device-readable descriptor follows a device-writable one")]
    Order,
    /// The chain's buffers add up to 4 GiB or more.
    #[error("descriptor chain is 4 GiB or longer")]
    Length,
}

/// The longest chain taken from an indirect table of a smaller queue: it bounds what one request
/// can make us hold.
const INDIRECT_MAX: u32 = 1024;

/// Without an allocation: the answer to a read of 64 KiB into scattered pages.
pub(super) type Slices<'m> = SmallVec<[VolatileSlice<'m>; 18]>;

/// The driver's wish not to be told of used buffers (VIRTIO 1.3 §2.7.6), where `RING_EVENT_IDX` was
/// not negotiated.
const AVAIL_NO_INTERRUPT: u16 = 1;

/// One request: a descriptor chain taken from the available ring.
#[derive(Debug, Default)]
pub struct Chain<'m> {
    /// The first descriptor's index, to give back to [`VirtQueue::add_used`].
    pub head: u16,
    /// What the driver says.
    pub reader: Reader<'m>,
    /// Where the device answers.
    pub writer: Writer<'m>,
}

/// A split virtqueue, set up by the transport and lent to the device.
#[derive(Debug)]
pub struct VirtQueue {
    ring: Queue,
    /// Chains given back since the last look at what the driver wants to be told.
    added: u16,
    /// Whether the driver may use indirect descriptors.
    indirect: bool,
}

impl VirtQueue {
    /// A queue of at most `max_size` descriptors, not ready.
    ///
    /// # Errors
    /// `max_size` is no power of two up to 32768.
    pub fn new(max_size: u16) -> Result<Self, QueueError> {
        Ok(Self {
            ring: Queue::new(max_size).map_err(QueueError::Ring)?,
            added: 0,
            indirect: true,
        })
    }

    /// A queue that a driver set up, or that was saved.
    ///
    /// # Errors
    /// The rings are misaligned or do not lie in guest RAM.
    pub fn from_state(state: QueueState, mem: &GuestRam) -> Result<Self, QueueError> {
        let ring = Queue::try_from(state).map_err(QueueError::Ring)?;
        let queue = Self {
            ring,
            added: 0,
            indirect: true,
        };
        queue.check_rings(mem)?;
        Ok(queue)
    }

    /// Refuses indirect descriptors, which the driver did not negotiate (VIRTIO 1.3 §2.7.5.3.1).
    pub fn refuse_indirect(&mut self) {
        self.indirect = false;
    }

    /// The ring registers, for the transport.
    pub fn ring(&mut self) -> &mut Queue {
        &mut self.ring
    }

    /// The ring registers, read-only.
    #[must_use]
    pub fn ring_ref(&self) -> &Queue {
        &self.ring
    }

    /// Whether the driver enabled the queue.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.ring.ready()
    }

    /// The saved state of the ring.
    #[must_use]
    pub fn state(&self) -> QueueState {
        self.ring.state()
    }

    /// Whether the driver enabled the queue and its rings lie in guest RAM.
    #[must_use]
    pub fn is_valid(&self, mem: &GuestRam) -> bool {
        self.ready() && self.check_rings(mem).is_ok()
    }

    /// `virtio-queue` has the like, but logs an error that a driver can cause at will.
    fn check_rings(&self, mem: &GuestRam) -> Result<(), QueueError> {
        let n = u32::from(self.ring.size());
        let rings = [
            (self.ring.desc_table(), 16 * n),
            (self.ring.avail_ring(), 6 + 2 * n),
            (self.ring.used_ring(), 6 + 8 * n),
        ];
        for (address, len) in rings {
            if !mem.check_range(GuestAddress(address), len as usize) {
                return Err(QueueError::Address { address, len });
            }
        }
        Ok(())
    }

    /// Takes the next chain from the available ring, if there is one.
    ///
    /// # Errors
    /// The ring or the chain breaks a rule; the chain's buffers are then never touched.
    pub fn pop<'m>(&mut self, mem: &'m GuestRam) -> Result<Option<Chain<'m>>, QueueError> {
        let mut chain = Chain::default();
        Ok(self.pop_into(mem, &mut chain)?.then_some(chain))
    }

    /// As [`VirtQueue::pop`], into `chain`, whose content before is lost; `false` if there is none. A
    /// chain takes up a kilobyte, which a device that takes many of them need not move about.
    ///
    /// # Errors
    /// The ring or the chain breaks a rule; the chain's buffers are then never touched.
    pub fn pop_into<'m>(
        &mut self,
        mem: &'m GuestRam,
        chain: &mut Chain<'m>,
    ) -> Result<bool, QueueError> {
        if !self.ring.ready() {
            return Ok(false);
        }
        let next = self.ring.iter(mem).map_err(QueueError::Ring)?.next();
        let Some(next) = next.map(|chain| chain.head_index()) else {
            return Ok(false);
        };
        self.walk(mem, next, chain).map(|()| true)
    }

    /// The chain `head` once more, which was popped before and not given back: for a request that
    /// had to wait.
    ///
    /// # Errors
    /// The chain breaks a rule; its buffers are then never touched.
    pub fn resume<'m>(&self, mem: &'m GuestRam, head: u16) -> Result<Chain<'m>, QueueError> {
        let mut chain = Chain::default();
        self.walk(mem, head, &mut chain)?;
        Ok(chain)
    }

    /// Puts the last popped chain back: the next [`VirtQueue::pop`] yields it again.
    pub fn unpop(&mut self) {
        self.ring.go_to_previous_position();
    }

    /// Puts the chain that was popped last back, untouched.
    pub fn push_back(&mut self) {
        let previous = self.ring.next_avail().wrapping_sub(1);
        self.ring.set_next_avail(previous);
    }

    /// Whether the available ring holds a chain.
    ///
    /// # Errors
    /// The ring lies outside guest RAM.
    pub fn has_available(&self, mem: &GuestRam) -> Result<bool, QueueError> {
        if !self.ring.ready() {
            return Ok(false);
        }
        let index = self.ring.avail_idx(mem, Ordering::Acquire);
        Ok(index.map_err(QueueError::Ring)?.0 != self.ring.next_avail())
    }

    /// Gives the chain `head` back with `len` bytes written.
    ///
    /// # Errors
    /// The used ring lies outside guest RAM.
    pub fn add_used(&mut self, mem: &GuestRam, head: u16, len: u32) -> Result<(), QueueError> {
        self.added = self.added.wrapping_add(1);
        self.ring.add_used(mem, head, len).map_err(QueueError::Ring)
    }

    /// Gives several chains back at once: the driver sees all of them or none, as it must when one
    /// packet lies in several (VIRTIO 1.3 §5.1.6.4).
    ///
    /// # Errors
    /// The used ring lies outside guest RAM.
    pub fn add_used_batch(
        &mut self,
        mem: &GuestRam,
        used: &[(u16, u32)],
    ) -> Result<(), QueueError> {
        let Some((&(last, len), before)) = used.split_last() else {
            return Ok(());
        };
        let start = self.ring.next_used();
        let mut at = start;
        for &(head, len) in before {
            let slot = u64::from(at % self.ring.size().max(1));
            let element = [u32::from(head).to_le(), len.to_le()];
            GuestAddress(self.ring.used_ring())
                .checked_add(4 + slot * 8)
                .ok_or(QueueError::Ring(virtio_queue::Error::AddressOverflow))
                .and_then(|address| {
                    mem.write_obj(element, address)
                        .map_err(|e| QueueError::Ring(virtio_queue::Error::GuestMemory(e)))
                })?;
            at = at.wrapping_add(1);
            self.added = self.added.wrapping_add(1);
        }
        self.ring.set_next_used(at);
        self.add_used(mem, last, len)
    }

    /// Whether the driver wants a used buffer notification now, for what was given back since the
    /// last call (VIRTIO 1.3 §2.7.7.2).
    ///
    /// # Errors
    /// The ring lies outside guest RAM.
    pub fn needs_notification(&mut self, mem: &GuestRam) -> Result<bool, QueueError> {
        if !self.ring.ready() {
            return Ok(false);
        }
        let added = std::mem::take(&mut self.added);
        if added == 0 {
            return Ok(false);
        }
        // The used index must be visible before what the driver asks for is read.
        fence(Ordering::SeqCst);
        let avail = GuestAddress(self.ring.avail_ring());
        if self.ring.event_idx_enabled() {
            let event = self.load(mem, avail, 4 + 2 * u64::from(self.ring.size()))?;
            let since = self.ring.next_used().wrapping_sub(event).wrapping_sub(1);
            Ok(since < added)
        } else {
            Ok(self.load(mem, avail, 0)? & AVAIL_NO_INTERRUPT == 0)
        }
    }

    /// Asks the driver for available buffer notifications; `true` if chains arrived meanwhile and
    /// the caller must go on popping.
    ///
    /// # Errors
    /// The ring lies outside guest RAM.
    pub fn enable_notification(&mut self, mem: &GuestRam) -> Result<bool, QueueError> {
        if !self.ring.ready() {
            return Ok(false);
        }
        self.ring.enable_notification(mem).map_err(QueueError::Ring)
    }

    /// Asks the driver to save its available buffer notifications.
    ///
    /// # Errors
    /// The ring lies outside guest RAM.
    pub fn disable_notification(&mut self, mem: &GuestRam) -> Result<(), QueueError> {
        if !self.ring.ready() {
            return Ok(());
        }
        self.ring
            .disable_notification(mem)
            .map_err(QueueError::Ring)
    }

    fn load(&self, mem: &GuestRam, base: GuestAddress, offset: u64) -> Result<u16, QueueError> {
        let address = base
            .checked_add(offset)
            .ok_or(QueueError::Ring(virtio_queue::Error::AddressOverflow))?;
        mem.load::<u16>(address, Ordering::Relaxed)
            .map(u16::from_le)
            .map_err(|e| QueueError::Ring(virtio_queue::Error::GuestMemory(e)))
    }

    fn walk<'m>(
        &self,
        mem: &'m GuestRam,
        head: u16,
        chain: &mut Chain<'m>,
    ) -> Result<(), QueueError> {
        chain.head = head;
        chain.reader.0.clear();
        chain.writer.0.clear();
        let walked = self.follow(mem, head, chain);
        if walked.is_err() {
            chain.reader.0.clear();
            chain.writer.0.clear();
        }
        walked
    }

    fn follow<'m>(
        &self,
        mem: &'m GuestRam,
        head: u16,
        chain: &mut Chain<'m>,
    ) -> Result<(), QueueError> {
        let mut walk = Walk {
            mem,
            table: GuestAddress(self.ring.desc_table()),
            size: u32::from(self.ring.size()),
            indirect: false,
            readable: &mut chain.reader.0,
            writable: &mut chain.writer.0,
            bytes: 0,
            stretch: GuestAddress(0),
        };
        let mut index = head;
        let mut left = walk.size;
        while left > 0 {
            left -= 1;
            let descriptor = walk.descriptor(index)?;
            if descriptor.refers_to_indirect_table() {
                if !self.indirect {
                    return Err(QueueError::Indirect);
                }
                walk.enter_indirect(&descriptor)?;
                index = 0;
                // Linux hangs chains longer than the queue from an indirect descriptor.
                left = walk.size.min(INDIRECT_MAX.max(u32::from(self.ring.size())));
                continue;
            }
            walk.take(&descriptor)?;
            if !descriptor.has_next() {
                return Ok(());
            }
            index = descriptor.next();
        }
        Err(QueueError::Loop { head })
    }
}

struct Walk<'a, 'm> {
    mem: &'m GuestRam,
    table: GuestAddress,
    size: u32,
    indirect: bool,
    readable: &'a mut Buffers<'m>,
    writable: &'a mut Buffers<'m>,
    bytes: u32,
    /// Where the last slice begins.
    stretch: GuestAddress,
}

impl Walk<'_, '_> {
    fn descriptor(&self, index: u16) -> Result<Descriptor, QueueError> {
        if u32::from(index) >= self.size {
            return Err(QueueError::Index {
                index,
                size: self.size,
            });
        }
        let outside = QueueError::Address {
            address: self.table.raw_value(),
            len: self.size * 16,
        };
        self.table
            .checked_add(u64::from(index) * 16)
            .and_then(|address| self.mem.read_obj(address).ok())
            .ok_or(outside)
    }

    fn enter_indirect(&mut self, descriptor: &Descriptor) -> Result<(), QueueError> {
        let len = descriptor.len();
        let nested = self.indirect || descriptor.has_next();
        if nested || len == 0 || !len.is_multiple_of(16) || len / 16 > 0x1_0000 {
            return Err(QueueError::Indirect);
        }
        self.indirect = true;
        self.table = descriptor.addr();
        self.size = len / 16;
        Ok(())
    }

    fn take(&mut self, descriptor: &Descriptor) -> Result<(), QueueError> {
        let (address, len) = (descriptor.addr(), descriptor.len());
        self.bytes = self.bytes.checked_add(len).ok_or(QueueError::Length)?;
        if !descriptor.is_write_only() && !self.writable.is_empty() {
            return Err(QueueError::Order);
        }
        if len == 0 {
            return Ok(());
        }
        let buffers = if descriptor.is_write_only() {
            &mut *self.writable
        } else {
            &mut *self.readable
        };
        // A guest's pages often lie side by side: then they are one buffer.
        if let Some(last) = buffers.last() {
            let whole = last.len() + len as usize;
            let joins = self.stretch.checked_add(last.len() as u64) == Some(address);
            if let Some(joined) = joins
                .then(|| self.mem.get_slice(self.stretch, whole).ok())
                .flatten()
            {
                buffers.replace_last(joined);
                return Ok(());
            }
        }
        let slice = self
            .mem
            .get_slice(address, len as usize)
            .map_err(|_| QueueError::Address {
                address: address.raw_value(),
                len,
            })?;
        self.stretch = address;
        buffers.push(slice);
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! The split virtqueue (VIRTIO 1.3 §2.7) and the descriptor chains that come from it.
//!
//! `virtio-queue` keeps the ring indices and the notification suppression; the walk over a chain is
//! ours, because a chain that loops or leaves guest RAM has to be an error and not an early end.

use std::io;

use smallvec::SmallVec;
use virtio_queue::desc::split::Descriptor;
use virtio_queue::{Queue, QueueOwnedT, QueueState, QueueT};
use vm_memory::{Address, ByteValued, Bytes, GuestAddress, GuestMemoryBackend, VolatileSlice};

use crate::GuestRam;

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
    #[error("indirect descriptor table is malformed")]
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

type Slices<'m> = SmallVec<[VolatileSlice<'m>; 8]>;

/// A run of guest buffers with a position: the common half of [`Reader`] and [`Writer`].
#[derive(Debug, Default)]
struct Buffers<'m> {
    slices: Slices<'m>,
    first: usize,
    left: usize,
    done: usize,
}

impl<'m> Buffers<'m> {
    fn new(slices: Slices<'m>) -> Self {
        let left = slices.iter().map(VolatileSlice::len).sum();
        Self {
            slices,
            first: 0,
            left,
            done: 0,
        }
    }

    fn remaining(&self) -> &[VolatileSlice<'m>] {
        self.slices.get(self.first..).unwrap_or_default()
    }

    fn advance(&mut self, mut n: usize) {
        n = n.min(self.left);
        self.left -= n;
        self.done += n;
        while let Some(slice) = self.slices.get_mut(self.first) {
            if n < slice.len() {
                if let Ok(rest) = slice.offset(n) {
                    *slice = rest;
                }
                return;
            }
            n -= slice.len();
            self.first += 1;
        }
    }

    fn split_off(&mut self, at: usize) -> Buffers<'m> {
        let mut tail = Slices::new();
        let mut skip = at.min(self.left);
        let mut keep = Slices::new();
        for slice in self.remaining() {
            if skip >= slice.len() {
                skip -= slice.len();
                keep.push(*slice);
            } else if let Ok((head, rest)) = slice.split_at(skip) {
                if skip > 0 {
                    keep.push(head);
                }
                tail.push(rest);
                skip = 0;
            }
        }
        let done = self.done;
        *self = Buffers::new(keep);
        self.done = done;
        Buffers::new(tail)
    }
}

/// The device-readable part of a chain.
#[derive(Debug, Default)]
pub struct Reader<'m>(Buffers<'m>);

impl<'m> Reader<'m> {
    /// Bytes not yet read.
    #[must_use]
    pub fn available(&self) -> usize {
        self.0.left
    }

    /// The buffers not yet read, for vectored I/O; follow with [`Reader::advance`].
    #[must_use]
    pub fn slices(&self) -> &[VolatileSlice<'m>] {
        self.0.remaining()
    }

    /// Skips `n` bytes (or what is left).
    pub fn advance(&mut self, n: usize) {
        self.0.advance(n);
    }

    /// Copies up to `data.len()` bytes and moves past them; the number copied.
    pub fn read(&mut self, data: &mut [u8]) -> usize {
        let mut at = 0;
        for slice in self.0.remaining() {
            let Some(rest) = data.get_mut(at..).filter(|rest| !rest.is_empty()) else {
                break;
            };
            at += slice.copy_to(rest);
        }
        self.0.advance(at);
        at
    }

    /// Copies exactly `data.len()` bytes; `false`, reading nothing, if fewer are left.
    #[must_use]
    pub fn read_exact(&mut self, data: &mut [u8]) -> bool {
        self.available() >= data.len() && self.read(data) == data.len()
    }

    /// Reads a plain value; `None`, reading nothing, if too few bytes are left.
    pub fn read_obj<T: ByteValued>(&mut self) -> Option<T> {
        let mut value = T::zeroed();
        self.read_exact(value.as_mut_slice()).then_some(value)
    }

    /// Cuts the reader at `at` bytes from its position and returns what follows.
    #[must_use]
    pub fn split_off(&mut self, at: usize) -> Reader<'m> {
        Reader(self.0.split_off(at))
    }
}

impl io::Read for Reader<'_> {
    fn read(&mut self, data: &mut [u8]) -> io::Result<usize> {
        Ok(Reader::read(self, data))
    }
}

/// The device-writable part of a chain.
#[derive(Debug, Default)]
pub struct Writer<'m>(Buffers<'m>);

impl<'m> Writer<'m> {
    /// Bytes of room left.
    #[must_use]
    pub fn available(&self) -> usize {
        self.0.left
    }

    /// Bytes written so far; what [`VirtQueue::add_used`] wants.
    #[must_use]
    pub fn written(&self) -> u32 {
        u32::try_from(self.0.done).unwrap_or(u32::MAX)
    }

    /// The room not yet written, for vectored I/O; follow with [`Writer::advance`].
    #[must_use]
    pub fn slices(&self) -> &[VolatileSlice<'m>] {
        self.0.remaining()
    }

    /// Counts `n` bytes as written.
    pub fn advance(&mut self, n: usize) {
        self.0.advance(n);
    }

    /// Writes up to `data.len()` bytes and moves past them; the number written.
    pub fn write(&mut self, data: &[u8]) -> usize {
        let mut at = 0;
        for slice in self.0.remaining() {
            let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) else {
                break;
            };
            let n = rest.len().min(slice.len());
            slice.copy_from(rest.get(..n).unwrap_or_default());
            at += n;
        }
        self.0.advance(at);
        at
    }

    /// Writes all of `data`; `false`, writing nothing, if there is too little room.
    #[must_use]
    pub fn write_all(&mut self, data: &[u8]) -> bool {
        self.available() >= data.len() && self.write(data) == data.len()
    }

    /// Writes a plain value; `false`, writing nothing, if there is too little room.
    #[must_use]
    pub fn write_obj<T: ByteValued>(&mut self, value: T) -> bool {
        self.write_all(value.as_slice())
    }

    /// Cuts the writer at `at` bytes from its position and returns what follows (with its own
    /// count of bytes written).
    #[must_use]
    pub fn split_off(&mut self, at: usize) -> Writer<'m> {
        Writer(self.0.split_off(at))
    }
}

impl io::Write for Writer<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        Ok(Writer::write(self, data))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One request: a descriptor chain taken from the available ring.
#[derive(Debug)]
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
}

impl VirtQueue {
    /// A queue of at most `max_size` descriptors, not ready.
    ///
    /// # Errors
    /// `max_size` is no power of two up to 32768.
    pub fn new(max_size: u16) -> Result<Self, QueueError> {
        Ok(Self {
            ring: Queue::new(max_size).map_err(QueueError::Ring)?,
        })
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

    /// Whether the rings lie in guest RAM and are well-formed.
    #[must_use]
    pub fn is_valid(&self, mem: &GuestRam) -> bool {
        self.ring.is_valid(mem)
    }

    /// Takes the next chain from the available ring, if there is one.
    ///
    /// # Errors
    /// The ring or the chain breaks a rule; the chain's buffers are then never touched.
    pub fn pop<'m>(&mut self, mem: &'m GuestRam) -> Result<Option<Chain<'m>>, QueueError> {
        if !self.ring.ready() {
            return Ok(None);
        }
        let next = self.ring.iter(mem).map_err(QueueError::Ring)?.next();
        next.map(|chain| self.walk(mem, chain.head_index()))
            .transpose()
    }

    /// Puts the last popped chain back: the next [`VirtQueue::pop`] yields it again.
    pub fn unpop(&mut self) {
        self.ring.go_to_previous_position();
    }

    /// Whether the available ring holds a chain.
    ///
    /// # Errors
    /// The ring lies outside guest RAM.
    pub fn has_available(&self, mem: &GuestRam) -> Result<bool, QueueError> {
        if !self.ring.ready() {
            return Ok(false);
        }
        let index = self
            .ring
            .avail_idx(mem, std::sync::atomic::Ordering::Acquire);
        Ok(index.map_err(QueueError::Ring)?.0 != self.ring.next_avail())
    }

    /// Gives the chain `head` back with `len` bytes written.
    ///
    /// # Errors
    /// The used ring lies outside guest RAM.
    pub fn add_used(&mut self, mem: &GuestRam, head: u16, len: u32) -> Result<(), QueueError> {
        self.ring.add_used(mem, head, len).map_err(QueueError::Ring)
    }

    /// Whether the driver wants a used buffer notification now (VIRTIO 1.3 §2.7.7.2).
    ///
    /// # Errors
    /// The ring lies outside guest RAM.
    pub fn needs_notification(&mut self, mem: &GuestRam) -> Result<bool, QueueError> {
        if !self.ring.ready() {
            return Ok(false);
        }
        self.ring.needs_notification(mem).map_err(QueueError::Ring)
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

    fn walk<'m>(&self, mem: &'m GuestRam, head: u16) -> Result<Chain<'m>, QueueError> {
        let mut walk = Walk {
            mem,
            table: GuestAddress(self.ring.desc_table()),
            size: u32::from(self.ring.size()),
            indirect: false,
            readable: Slices::new(),
            writable: Slices::new(),
            bytes: 0,
        };
        let mut index = head;
        let mut left = walk.size;
        while left > 0 {
            left -= 1;
            let descriptor = walk.descriptor(index)?;
            if descriptor.refers_to_indirect_table() {
                walk.enter_indirect(&descriptor)?;
                index = 0;
                // Linux hangs chains longer than the queue from an indirect descriptor.
                left = walk.size.min(INDIRECT_MAX.max(u32::from(self.ring.size())));
                continue;
            }
            walk.take(&descriptor)?;
            if !descriptor.has_next() {
                let reader = Reader(Buffers::new(walk.readable));
                let writer = Writer(Buffers::new(walk.writable));
                return Ok(Chain {
                    head,
                    reader,
                    writer,
                });
            }
            index = descriptor.next();
        }
        Err(QueueError::Loop { head })
    }
}

struct Walk<'m> {
    mem: &'m GuestRam,
    table: GuestAddress,
    size: u32,
    indirect: bool,
    readable: Slices<'m>,
    writable: Slices<'m>,
    bytes: u32,
}

impl Walk<'_> {
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
        let slice = self
            .mem
            .get_slice(address, len as usize)
            .map_err(|_| QueueError::Address {
                address: address.raw_value(),
                len,
            })?;
        let slices = if descriptor.is_write_only() {
            &mut self.writable
        } else {
            &mut self.readable
        };
        slices.push(slice);
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! A split virtqueue as its driver sees it (VIRTIO 1.3 §2.7).

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use vm_memory::{Bytes, GuestAddress};

use crate::GuestRam;

/// The chain goes on at `next`.
pub const DESC_F_NEXT: u16 = 1;
/// The device writes the buffer.
pub const DESC_F_WRITE: u16 = 2;
/// The buffer is a table of descriptors.
pub const DESC_F_INDIRECT: u16 = 4;

/// A chain that the device gave back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// The chain's first descriptor.
    pub head: u16,
    /// The length that the device reported.
    pub len: u32,
    /// The first `len` bytes of the chain's writable buffers.
    pub data: Vec<u8>,
}

/// The driver's half of one queue. Rings and buffers come from `base..end` of guest RAM.
#[derive(Debug)]
pub struct Ring {
    mem: GuestRam,
    /// Number of descriptors.
    pub size: u16,
    /// Guest address of the descriptor table.
    pub desc: u64,
    /// Guest address of the available ring.
    pub avail: u64,
    /// Guest address of the used ring.
    pub used: u64,
    heap: u64,
    heap_start: u64,
    end: u64,
    free: Vec<u16>,
    /// Buffers of chains that came back, by address and length.
    spare: Vec<(u64, u32)>,
    chains: BTreeMap<u16, Chain>,
    avail_idx: u16,
    last_used: u16,
}

#[derive(Debug, Default)]
struct Chain {
    descriptors: Vec<u16>,
    writable: Vec<(u64, u32)>,
}

impl Ring {
    /// Lays out an empty queue of `size` descriptors at `base`, with buffers up to `end`.
    #[must_use]
    pub fn new(mem: &GuestRam, size: u16, base: u64, end: u64) -> Self {
        let n = u64::from(size);
        let desc = base.next_multiple_of(16);
        let avail = desc + 16 * n;
        let used = (avail + 6 + 2 * n).next_multiple_of(4);
        let heap = (used + 6 + 8 * n).next_multiple_of(4096);
        assert!(heap < end, "no room for the buffers of a queue of {size}");
        let mut ring = Self {
            mem: mem.clone(),
            size,
            desc,
            avail,
            used,
            heap,
            heap_start: heap,
            end,
            free: Vec::new(),
            spare: Vec::new(),
            chains: BTreeMap::new(),
            avail_idx: 0,
            last_used: 0,
        };
        ring.reset();
        ring
    }

    /// Forgets every chain and zeroes the rings, as a driver does before it sets a queue up again.
    pub fn reset(&mut self) {
        let zeroes = vec![0; usize::try_from(self.heap_start - self.desc).unwrap()];
        self.write(self.desc, &zeroes);
        self.heap = self.heap_start;
        self.free = (0..self.size).rev().collect();
        self.chains.clear();
        self.spare.clear();
        self.avail_idx = 0;
        self.last_used = 0;
    }

    /// Writes guest RAM.
    pub fn write(&self, address: u64, data: &[u8]) {
        self.mem.write_slice(data, GuestAddress(address)).unwrap();
    }

    /// Reads guest RAM.
    #[must_use]
    pub fn read(&self, address: u64, len: usize) -> Vec<u8> {
        let mut data = vec![0; len];
        self.mem
            .read_slice(&mut data, GuestAddress(address))
            .unwrap();
        data
    }

    /// Takes `len` bytes of guest RAM for a buffer; all come back when no chain is outstanding.
    pub fn alloc(&mut self, len: u64) -> u64 {
        if self.chains.is_empty() {
            self.heap = self.heap_start;
            self.spare.clear();
        }
        self.take(len)
    }

    /// Whether there are descriptors and memory for a chain of these buffers, direct or indirect.
    #[must_use]
    pub fn has_room(&self, readable: &[&[u8]], writable: &[u32]) -> bool {
        let buffers = readable.len() + writable.len();
        let heap = if self.chains.is_empty() {
            self.heap_start
        } else {
            self.heap
        };
        let lengths = readable.iter().map(|data| data.len() as u64);
        let lengths = lengths.chain(writable.iter().map(|&len| u64::from(len)));
        let bytes: u64 = lengths.map(|len| len.next_multiple_of(16)).sum();
        buffers <= self.free.len() && heap + bytes + 16 * buffers as u64 <= self.end
    }

    fn take(&mut self, len: u64) -> u64 {
        let address = self.heap;
        self.heap = (address + len).next_multiple_of(16);
        assert!(self.heap <= self.end, "out of buffers");
        address
    }

    /// Writes one descriptor, whatever it says.
    pub fn set_descriptor(&self, index: u16, address: u64, len: u32, flags: u16, next: u16) {
        self.write(
            self.desc + 16 * u64::from(index),
            &descriptor(address, len, flags, next),
        );
    }

    /// Puts `head` on the available ring, whatever it is.
    pub fn push(&mut self, head: u16) {
        let slot = self.avail + 4 + 2 * u64::from(self.avail_idx % self.size);
        self.write(slot, &head.to_le_bytes());
        self.set_avail_idx(self.avail_idx.wrapping_add(1));
    }

    /// Sets the available index, whatever it is.
    pub fn set_avail_idx(&mut self, index: u16) {
        self.avail_idx = index;
        let at = GuestAddress(self.avail + 2);
        self.mem
            .store(index.to_le(), at, Ordering::Release)
            .unwrap();
    }

    /// Makes a chain of buffers, one for each of `readable` (filled with it), then one for each
    /// length in `writable`, available; its head.
    pub fn add(&mut self, readable: &[&[u8]], writable: &[u32]) -> u16 {
        let (buffers, writable) = self.buffers(readable, writable);
        let descriptors: Vec<u16> = buffers
            .iter()
            .map(|_| self.free.pop().expect("no free descriptor"))
            .collect();
        for (i, &(address, len, flags)) in buffers.iter().enumerate() {
            let next = descriptors.get(i + 1).copied();
            let flags = flags | next.map_or(0, |_| DESC_F_NEXT);
            self.set_descriptor(descriptors[i], address, len, flags, next.unwrap_or(0));
        }
        let head = descriptors[0];
        self.publish(head, descriptors, writable)
    }

    /// Like [`Ring::add`], with the chain in an indirect table (VIRTIO 1.3 §2.7.5.3).
    pub fn add_indirect(&mut self, readable: &[&[u8]], writable: &[u32]) -> u16 {
        let (buffers, writable) = self.buffers(readable, writable);
        let table = self.take(16 * buffers.len() as u64);
        for (i, &(address, len, flags)) in buffers.iter().enumerate() {
            let last = i + 1 == buffers.len();
            let flags = flags | if last { 0 } else { DESC_F_NEXT };
            let next = u16::try_from(i + 1).unwrap();
            self.write(
                table + 16 * i as u64,
                &descriptor(address, len, flags, next),
            );
        }
        let head = self.free.pop().expect("no free descriptor");
        let len = u32::try_from(16 * buffers.len()).unwrap();
        self.set_descriptor(head, table, len, DESC_F_INDIRECT, 0);
        self.publish(head, vec![head], writable)
    }

    #[allow(clippy::type_complexity, reason = "local to this file")]
    fn buffers(
        &mut self,
        readable: &[&[u8]],
        writable: &[u32],
    ) -> (Vec<(u64, u32, u16)>, Vec<(u64, u32)>) {
        self.alloc(0);
        let mut all = Vec::new();
        for data in readable {
            let address = self.take(data.len() as u64);
            self.write(address, data);
            all.push((address, u32::try_from(data.len()).unwrap(), 0));
        }
        let mut rooms = Vec::new();
        for &len in writable {
            let spare = self.spare.iter().position(|&(_, room)| room == len);
            let address = match spare {
                Some(spare) => self.spare.swap_remove(spare).0,
                None => self.take(u64::from(len)),
            };
            all.push((address, len, DESC_F_WRITE));
            rooms.push((address, len));
        }
        assert!(!all.is_empty(), "a chain has at least one buffer");
        (all, rooms)
    }

    fn publish(&mut self, head: u16, descriptors: Vec<u16>, writable: Vec<(u64, u32)>) -> u16 {
        self.chains.insert(
            head,
            Chain {
                descriptors,
                writable,
            },
        );
        self.push(head);
        head
    }

    /// Takes the next chain from the used ring, if there is one, and asks for an interrupt on the
    /// one after.
    pub fn pop_used(&mut self) -> Option<Used> {
        self.try_pop_used()
            .map(|used| used.expect("used ring names an impossible descriptor"))
    }

    /// As [`Ring::pop_used`], for a driver that may have had its own used ring overwritten: an
    /// impossible descriptor is an error.
    pub fn try_pop_used(&mut self) -> Option<Result<Used, u32>> {
        let at = GuestAddress(self.used + 2);
        let index: u16 = self.mem.load(at, Ordering::Acquire).unwrap();
        if u16::from_le(index) == self.last_used {
            return None;
        }
        let slot = self.used + 4 + 8 * u64::from(self.last_used % self.size);
        let id: u32 = self.mem.read_obj(GuestAddress(slot)).unwrap();
        let len: u32 = self.mem.read_obj(GuestAddress(slot + 4)).unwrap();
        self.last_used = self.last_used.wrapping_add(1);
        let used_event = self.avail + 4 + 2 * u64::from(self.size);
        self.write(used_event, &self.last_used.to_le_bytes());
        let Ok(head) = u16::try_from(id) else {
            return Some(Err(id));
        };
        let chain = self.chains.remove(&head).unwrap_or_default();
        let mut data = Vec::new();
        for &(address, room) in &chain.writable {
            let n = (len as usize - data.len()).min(room as usize);
            data.extend(self.read(address, n));
        }
        self.free.extend(&chain.descriptors);
        self.spare.extend(&chain.writable);
        Some(Ok(Used { head, len, data }))
    }
}

fn descriptor(address: u64, len: u32, flags: u16, next: u16) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[0..8].copy_from_slice(&address.to_le_bytes());
    bytes[8..12].copy_from_slice(&len.to_le_bytes());
    bytes[12..14].copy_from_slice(&flags.to_le_bytes());
    bytes[14..16].copy_from_slice(&next.to_le_bytes());
    bytes
}

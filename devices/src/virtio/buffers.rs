//! The buffers of a descriptor chain, as streams over guest memory (VIRTIO 1.3 §2.7.4).

use std::io;

use vm_memory::{ByteValued, VolatileSlice};

use crate::virtio::queue::Slices;

/// A run of guest buffers with a position: the common half of [`Reader`] and [`Writer`].
#[derive(Debug, Default)]
pub(super) struct Buffers<'m> {
    slices: Slices<'m>,
    first: usize,
    left: usize,
    done: usize,
}

impl<'m> Buffers<'m> {
    pub(super) fn new(slices: Slices<'m>) -> Self {
        let left = slices.iter().map(VolatileSlice::len).sum();
        Self {
            slices,
            first: 0,
            left,
            done: 0,
        }
    }

    /// Forgets all buffers.
    pub(super) fn clear(&mut self) {
        self.slices.clear();
        (self.first, self.left, self.done) = (0, 0, 0);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }

    pub(super) fn last(&self) -> Option<&VolatileSlice<'m>> {
        self.slices.last()
    }

    /// Adds a buffer, before anything was read or written.
    pub(super) fn push(&mut self, slice: VolatileSlice<'m>) {
        self.left += slice.len();
        self.slices.push(slice);
    }

    /// Makes the last buffer `slice`, which is longer.
    pub(super) fn replace_last(&mut self, slice: VolatileSlice<'m>) {
        if let Some(last) = self.slices.last_mut() {
            self.left += slice.len() - last.len();
            *last = slice;
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

    /// Makes `to` the next `n` bytes, which stay here too.
    fn head_into(&self, mut n: usize, to: &mut Buffers<'m>) {
        to.clear();
        for slice in self.remaining() {
            let part = slice.subslice(0, n.min(slice.len()));
            let Some(part) = part.ok().filter(|part| !part.is_empty()) else {
                break;
            };
            n -= part.len();
            to.push(part);
        }
    }

    fn split_off(&mut self, at: usize) -> Buffers<'m> {
        let at = at.min(self.left);
        let mut skip = at;
        let heads = self.remaining().iter().take_while(|slice| {
            let whole = skip >= slice.len();
            skip -= if whole { slice.len() } else { 0 };
            whole
        });
        let cut = self.first + heads.count();
        // What is cut in two belongs to both.
        let parts = self.slices.get(cut).filter(|_| skip > 0);
        let parts = parts.and_then(|slice| slice.split_at(skip).ok());
        let (done, left) = (self.done, self.left - at);
        if cut - self.first < self.slices.len() - cut {
            // The longer part keeps the storage.
            let mut head: Slices<'m> = self
                .remaining()
                .iter()
                .take(cut - self.first)
                .copied()
                .collect();
            head.extend(parts.map(|(head, _)| head));
            let mut tail = std::mem::replace(self, Buffers::new(head));
            self.done = done;
            tail.advance(at);
            tail.done = 0;
            return tail;
        }
        let mut tail: Slices<'m> = self.slices.drain(cut..).collect();
        if let (Some((head, rest)), Some(first)) = (parts, tail.first_mut()) {
            *first = rest;
            self.slices.push(head);
        }
        self.left = at;
        Buffers {
            slices: tail,
            first: 0,
            left,
            done: 0,
        }
    }
}

/// The device-readable part of a chain.
#[derive(Debug, Default)]
pub struct Reader<'m>(pub(super) Buffers<'m>);

impl<'m> Reader<'m> {
    /// Reads from `slices`.
    #[must_use]
    pub fn over(slices: &[VolatileSlice<'m>]) -> Self {
        Self(Buffers::new(slices.into()))
    }

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

#[cfg(any(test, feature = "testing"))]
impl<'m> From<&'m mut [u8]> for Reader<'m> {
    /// Reads from host memory.
    fn from(bytes: &'m mut [u8]) -> Self {
        Self(Buffers::new(Slices::from_iter([bytes.into()])))
    }
}

impl io::Read for Reader<'_> {
    fn read(&mut self, data: &mut [u8]) -> io::Result<usize> {
        Ok(Reader::read(self, data))
    }
}

/// The device-writable part of a chain.
#[derive(Debug, Default)]
pub struct Writer<'m>(pub(super) Buffers<'m>);

impl<'m> Writer<'m> {
    /// Writes to `slices`.
    #[must_use]
    pub fn over(slices: &[VolatileSlice<'m>]) -> Self {
        Self(Buffers::new(slices.into()))
    }

    /// Bytes of room left.
    #[must_use]
    pub fn available(&self) -> usize {
        self.0.left
    }

    /// Bytes written so far; what `VirtQueue::add_used` wants.
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

    /// Makes `to` the next `n` bytes of room, which this writer then skips, counted as written.
    pub(crate) fn reserve_into(&mut self, n: usize, to: &mut Writer<'m>) {
        self.0.head_into(n, &mut to.0);
        self.0.advance(n);
    }

    /// Cuts the writer at `at` bytes from its position and returns what follows (with its own
    /// count of bytes written).
    #[must_use]
    pub fn split_off(&mut self, at: usize) -> Writer<'m> {
        Writer(self.0.split_off(at))
    }
}

#[cfg(any(test, feature = "testing"))]
impl<'m> From<&'m mut [u8]> for Writer<'m> {
    /// Writes to host memory.
    fn from(bytes: &'m mut [u8]) -> Self {
        Self(Buffers::new(Slices::from_iter([bytes.into()])))
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

//! Bytes on their way from one side of a flow to the other: a ring that grows with what it has to
//! hold, and holds nothing when nothing is under way.

use std::mem;

/// What a buffer begins with.
pub(super) const FIRST: usize = 4 << 10;
/// A buffer that is full grows by this factor.
const GROWTH: usize = 4;
/// What a buffer holds at most.
pub(super) const MAX: usize = 256 << 10;

/// A ring of bytes. Behind those that wait there may be some that came early, with gaps between.
#[derive(Debug)]
pub(super) struct Buffer {
    ring: Vec<u8>,
    head: usize,
    len: usize,
    /// How far the early ones go beyond those that wait.
    early: usize,
    /// What it holds at most for now.
    most: usize,
}

impl Default for Buffer {
    fn default() -> Self {
        Self {
            ring: Vec::new(),
            head: 0,
            len: 0,
            early: 0,
            most: MAX,
        }
    }
}

impl Buffer {
    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether no byte waits.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bytes it takes at most for now.
    pub(super) fn space(&self) -> usize {
        self.most.saturating_sub(self.len)
    }

    /// Sets what it holds at most for now, [`MAX`] or less.
    pub(super) fn limit(&mut self, most: usize) {
        self.most = most.min(MAX);
    }

    /// Whether some bytes came early.
    pub(super) fn has_early(&self) -> bool {
        self.early > 0
    }

    /// Keeps `data`, which begin `offset` bytes behind those that wait and are within the space.
    pub(super) fn place(&mut self, offset: usize, data: &[u8]) {
        let early = offset + data.len();
        if early > self.space() {
            return;
        }
        if self.ring.len() - self.len < early {
            self.grow(self.len + early);
        }
        let size = self.ring.len();
        let at = self.head + self.len + offset;
        let at = if at >= size { at - size } else { at };
        let (one, two) = data.split_at(data.len().min(size - at));
        if let Some(to) = self.ring.get_mut(at..at + one.len()) {
            to.copy_from_slice(one);
        }
        if let Some(to) = self.ring.get_mut(..two.len()) {
            to.copy_from_slice(two);
        }
        self.early = self.early.max(early);
    }

    /// Forgets what came early.
    pub(super) fn forget_early(&mut self) {
        self.early = 0;
    }

    /// Free bytes in a row, with at least one of them if there is space. A buffer whose bytes were
    /// all used grows first.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.len == self.ring.len() {
            self.grow(self.len + 1);
        }
        if self.len == 0 && self.early == 0 {
            self.head = 0;
        }
        let size = self.ring.len();
        let tail = self.head + self.len;
        let range = if tail < size {
            tail..size
        } else {
            tail - size..self.head
        };
        self.ring.get_mut(range).unwrap_or_default()
    }

    /// Counts `n` bytes of [`Buffer::room`], or of those that came early, as written.
    pub(super) fn filled(&mut self, n: usize) {
        self.len = (self.len + n).min(self.ring.len());
        self.early = self.early.saturating_sub(n);
    }

    /// Appends as much of `data` as fits; how much that is.
    pub(super) fn write(&mut self, data: &[u8]) -> usize {
        let data = data.get(..self.space()).unwrap_or(data);
        if self.ring.len() - self.len < data.len() {
            self.grow(self.len + data.len());
        }
        let mut rest = data;
        while !rest.is_empty() {
            let room = self.room();
            let n = room.len().min(rest.len());
            let (now, later) = rest.split_at(n);
            room.get_mut(..n).unwrap_or_default().copy_from_slice(now);
            self.filled(n);
            rest = later;
        }
        data.len()
    }

    /// The bytes from `offset` on, at most `len` of them, in two parts.
    pub(super) fn slices(&self, offset: usize, len: usize) -> [&[u8]; 2] {
        let size = self.ring.len();
        let len = len.min(self.len.saturating_sub(offset));
        let start = self.head + offset.min(self.len);
        let start = if start >= size { start - size } else { start };
        let first = len.min(size - start);
        [
            self.ring.get(start..start + first).unwrap_or_default(),
            self.ring.get(..len - first).unwrap_or_default(),
        ]
    }

    /// Removes the first `n` bytes.
    pub(super) fn consume(&mut self, n: usize) {
        let n = n.min(self.len);
        self.len -= n;
        self.head += n;
        if self.head >= self.ring.len() {
            self.head -= self.ring.len();
        }
    }

    /// Gives the memory back, if no byte waits.
    pub(super) fn release(&mut self) {
        if self.len == 0 && self.early == 0 {
            *self = Self {
                most: self.most,
                ..Self::default()
            };
        }
    }

    /// The memory that it has.
    pub(super) fn memory(&self) -> usize {
        self.ring.len()
    }

    fn grow(&mut self, want: usize) {
        let mut size = self.ring.len().max(FIRST);
        while size < want || size == self.ring.len() {
            size *= GROWTH;
        }
        let size = size.min(self.most.max(want));
        if size <= self.ring.len() {
            return;
        }
        let old = mem::replace(&mut self.ring, vec![0; size]);
        let kept = self.len + self.early;
        let first = kept.min(old.len() - self.head);
        let (one, two) = self.ring.split_at_mut(first);
        one.copy_from_slice(old.get(self.head..self.head + first).unwrap_or_default());
        let rest = kept - first;
        if let Some(to) = two.get_mut(..rest) {
            to.copy_from_slice(old.get(..rest).unwrap_or_default());
        }
        self.head = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn bytes_come_out_as_they_went_in(steps in proptest::collection::vec((0..90_000_usize, 0..90_000_usize, 0..4_u8), 1..60)) {
            let mut buffer = Buffer::default();
            let mut model = std::collections::VecDeque::new();
            let mut next = 0_u8;
            for (add, take, how) in steps {
                let data: Vec<u8> = (0..add).map(|_| { next = next.wrapping_mul(5).wrapping_add(1); next }).collect();
                let n = if how == 0 {
                    let room = buffer.room();
                    let n = room.len().min(data.len());
                    prop_assert!(!room.is_empty() || model.len() == MAX);
                    room[..n].copy_from_slice(&data[..n]);
                    buffer.filled(n);
                    n
                } else {
                    buffer.write(&data)
                };
                model.extend(&data[..n]);
                prop_assert!(n == add || how == 0 || model.len() == MAX);
                let [one, two] = buffer.slices(take / 3, take);
                let want: Vec<u8> = model.iter().skip(take / 3).take(take).copied().collect();
                prop_assert!([one, two].concat() == want);
                let take = if how == 3 { MAX } else { take };
                buffer.consume(take);
                model.drain(..take.min(model.len()));
                prop_assert_eq!(buffer.len(), model.len());
                buffer.release();
                prop_assert!(buffer.memory() <= MAX && (buffer.memory() == 0 || !model.is_empty()));
            }
        }
    }

    #[test]
    fn little_data_takes_little_memory() {
        let mut buffer = Buffer::default();
        assert_eq!(buffer.memory(), 0);
        for _ in 0..10_000 {
            buffer.write(&[7; 100]);
            buffer.consume(100);
        }
        assert_eq!(buffer.memory(), FIRST);
    }
}

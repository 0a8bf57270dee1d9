//! The replay ring: the last MiB of a console's output, addressed by the position of each byte in
//! the whole output. Grows by chunks, so that a console that says little holds little.

use std::collections::VecDeque;

const CHUNK: usize = 64 * 1024;
/// One more than a MiB holds: while the last one fills, a whole MiB is still there.
const CHUNKS: usize = 17;

/// What [`ReplayRing::copy`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Copied {
    /// Bytes copied.
    pub(super) len: usize,
    /// Bytes that were asked for and are no longer there; nothing is copied then.
    pub(super) lost: u64,
}

#[derive(Debug, Default)]
pub(super) struct ReplayRing {
    chunks: VecDeque<Vec<u8>>,
    start: u64,
    end: u64,
}

impl ReplayRing {
    /// The position of the oldest byte that is still there.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// The number of bytes ever written: the position of the next one.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn append(&mut self, mut data: &[u8]) {
        self.end += data.len() as u64;
        while !data.is_empty() {
            let room = self.chunks.back().map_or(0, |chunk| CHUNK - chunk.len());
            if room == 0 {
                self.add_chunk();
                continue;
            }
            let (now, later) = data.split_at(room.min(data.len()));
            if let Some(chunk) = self.chunks.back_mut() {
                chunk.extend_from_slice(now);
            }
            data = later;
        }
    }

    fn add_chunk(&mut self) {
        let chunk = if self.chunks.len() < CHUNKS {
            Vec::with_capacity(CHUNK)
        } else {
            self.start += CHUNK as u64;
            let mut oldest = self.chunks.pop_front().unwrap_or_default();
            oldest.clear();
            oldest
        };
        self.chunks.push_back(chunk);
    }

    /// Copies what follows position `from` into `out`. If bytes from there on are gone, it copies
    /// nothing and says how many.
    pub(super) fn copy(&self, from: u64, out: &mut [u8]) -> Copied {
        let Some(skip) = from.checked_sub(self.start) else {
            let lost = self.start - from;
            return Copied { len: 0, lost };
        };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let (mut index, mut offset) = (skip / CHUNK, skip % CHUNK);
        let mut len = 0;
        while let (Some(chunk), Some(room)) = (self.chunks.get(index), out.get_mut(len..)) {
            let bytes = chunk.get(offset..).unwrap_or_default();
            let n = bytes.len().min(room.len());
            room[..n].copy_from_slice(&bytes[..n]);
            len += n;
            if n == 0 || len == out.len() {
                break;
            }
            (index, offset) = (index + 1, 0);
        }
        Copied { len, lost: 0 }
    }

    /// The last `n` bytes, or what is there.
    pub(super) fn tail(&self, n: usize) -> Vec<u8> {
        let from = self.end.saturating_sub(n as u64).max(self.start);
        let mut out = vec![0; usize::try_from(self.end - from).unwrap_or(0)];
        let copied = self.copy(from, &mut out);
        out.truncate(copied.len);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn byte(at: u64) -> u8 {
        (at.wrapping_mul(31) >> 3) as u8
    }

    fn fill(ring: &mut ReplayRing, len: u64) {
        let from = ring.end();
        let data: Vec<u8> = (from..from + len).map(byte).collect();
        ring.append(&data);
    }

    #[test]
    fn a_mebibyte_is_kept_at_any_time() {
        let mut ring = ReplayRing::default();
        for step in [1, 4095, 65536, 65537, 1 << 20, 3 << 20, 7] {
            fill(&mut ring, step);
            let tail = ring.tail(1 << 20);
            assert_eq!(tail.len() as u64, ring.end().min(1 << 20));
            let from = ring.end() - tail.len() as u64;
            let right = tail
                .iter()
                .zip(from..)
                .all(|(found, at)| *found == byte(at));
            assert!(right, "after {step}");
        }
        assert_eq!(ring.chunks.len(), CHUNKS);
    }

    #[test]
    fn a_little_output_takes_one_chunk() {
        let mut ring = ReplayRing::default();
        assert!(ring.chunks.is_empty());
        fill(&mut ring, 100);
        assert_eq!(ring.chunks.len(), 1);
    }

    #[test]
    fn a_position_that_is_gone_tells_how_much_was_lost() {
        let mut ring = ReplayRing::default();
        fill(&mut ring, 2 << 20);
        let mut out = [0; 8];
        let copied = ring.copy(5, &mut out);
        assert_eq!(copied.len, 0);
        let start = 5 + copied.lost;
        assert_eq!(ring.copy(start, &mut out), Copied { len: 8, lost: 0 });
        assert_eq!(out[0], byte(start));
    }

    #[test]
    fn a_copy_ends_with_the_output() {
        let mut ring = ReplayRing::default();
        fill(&mut ring, CHUNK as u64 + 10);
        let mut out = vec![0; 2 * CHUNK];
        assert_eq!(ring.copy(4, &mut out).len, CHUNK + 6);
        assert_eq!(ring.copy(ring.end(), &mut out).len, 0);
        assert_eq!(ring.copy(ring.end() + 99, &mut out).len, 0);
    }
}

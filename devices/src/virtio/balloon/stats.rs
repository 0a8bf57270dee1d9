//! What a guest tells of its memory (VIRTIO 1.3 §5.5.6.4).

use crate::virtio::queue::Reader;

/// Statistics looked at in one answer: there are 16 kinds.
const MAX_TAGS: usize = 64;

/// A guest's statistics, each in bytes or a count; absent if the guest does not tell it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct BalloonStats {
    /// Bytes swapped in.
    pub swap_in: Option<u64>,
    /// Bytes swapped out.
    pub swap_out: Option<u64>,
    /// Faults that needed the disk.
    pub major_faults: Option<u64>,
    /// Faults that did not.
    pub minor_faults: Option<u64>,
    /// Bytes that nobody uses.
    pub free: Option<u64>,
    /// All bytes.
    pub total: Option<u64>,
    /// Bytes that could be had without swapping.
    pub available: Option<u64>,
    /// Bytes of the disks' cache.
    pub caches: Option<u64>,
}

impl BalloonStats {
    /// Reads pairs of a tag (16 bits) and a value (64 bits).
    pub(super) fn read(from: &mut Reader<'_>) -> Self {
        let mut stats = Self::default();
        for _ in 0..MAX_TAGS {
            let mut pair = [0; 10];
            if !from.read_exact(&mut pair) {
                break;
            }
            let [a, b, value @ ..] = pair;
            let place = match u16::from_le_bytes([a, b]) {
                0 => &mut stats.swap_in,
                1 => &mut stats.swap_out,
                2 => &mut stats.major_faults,
                3 => &mut stats.minor_faults,
                4 => &mut stats.free,
                5 => &mut stats.total,
                6 => &mut stats.available,
                7 => &mut stats.caches,
                _ => continue,
            };
            *place = Some(u64::from_le_bytes(value));
        }
        stats
    }
}

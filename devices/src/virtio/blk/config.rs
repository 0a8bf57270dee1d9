//! The configuration space of a block device (VIRTIO 1.3 §5.2.4).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{MAX_DISCARD_SECTORS, MAX_DISCARD_SEGMENTS, MAX_ZEROES_SECTORS, MAX_ZEROES_SEGMENTS};
use super::{SECTOR, SEG_MAX};
use crate::backend::block::{CacheMode, Disk};
use crate::virtio::device::{ConfigSpace, ConstConfig};

/// The offset of `writeback`.
const WRITEBACK: u64 = 32;

/// The fields, of which the driver may change one: whether writes may stay in a cache.
#[derive(Debug)]
pub(super) struct BlkConfig {
    fields: ConstConfig,
    writeback: Arc<AtomicBool>,
    settable: bool,
}

impl BlkConfig {
    pub(super) fn new(disk: &Disk, queues: u16, writeback: Arc<AtomicBool>) -> Self {
        let geometry = disk.geometry;
        let block = geometry.block_size / SECTOR;
        let min_io = u16::try_from(block).unwrap_or(8);
        let discard = u32::try_from(geometry.discard_unit / SECTOR).unwrap_or(u32::from(min_io));
        let mut fields = Vec::with_capacity(60);
        fields.extend(geometry.sectors.to_le_bytes());
        fields.extend(0u32.to_le_bytes()); // size_max
        fields.extend(SEG_MAX.to_le_bytes());
        fields.extend([0; 4]); // geometry
        fields.extend(512u32.to_le_bytes()); // blk_size
        fields.push(u8::try_from(block.trailing_zeros()).unwrap_or(0)); // physical_block_exp
        fields.push(0); // alignment_offset
        fields.extend(min_io.to_le_bytes());
        fields.extend(0u32.to_le_bytes()); // opt_io_size
        fields.extend([0, 0]); // writeback, unused
        fields.extend(queues.to_le_bytes());
        fields.extend(MAX_DISCARD_SECTORS.to_le_bytes());
        fields.extend(MAX_DISCARD_SEGMENTS.to_le_bytes());
        fields.extend(discard.to_le_bytes()); // discard_sector_alignment
        fields.extend(MAX_ZEROES_SECTORS.to_le_bytes());
        fields.extend(MAX_ZEROES_SEGMENTS.to_le_bytes());
        fields.extend([1, 0, 0, 0]); // write_zeroes_may_unmap
        Self {
            fields: ConstConfig(fields),
            writeback,
            settable: disk.cache == CacheMode::Writeback,
        }
    }
}

impl ConfigSpace for BlkConfig {
    fn read(&self, offset: u64, data: &mut [u8]) {
        self.fields.read(offset, data);
        let at = WRITEBACK.checked_sub(offset).map(usize::try_from);
        if let Some(Ok(at)) = at
            && let Some(byte) = data.get_mut(at)
        {
            *byte = u8::from(self.writeback.load(Ordering::Acquire));
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        if let ([value], WRITEBACK, true) = (data, offset, self.settable) {
            self.writeback.store(*value != 0, Ordering::Release);
        }
    }
}

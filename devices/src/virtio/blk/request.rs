//! Requests of a block device as drivers write them (VIRTIO 1.3 §5.2.6).

use crate::backend::block::SECTOR;
use crate::virtio::queue::Reader;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    In,
    Out,
    Flush,
    GetId,
    Discard,
    WriteZeroes,
    Other,
}

impl From<u32> for Kind {
    fn from(code: u32) -> Self {
        match code {
            0 => Self::In,
            1 => Self::Out,
            4 => Self::Flush,
            8 => Self::GetId,
            11 => Self::Discard,
            13 => Self::WriteZeroes,
            _ => Self::Other,
        }
    }
}

/// The header of a request.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) kind: Kind,
    pub(super) sector: u64,
}

impl Request {
    /// Reads the header: type, reserved, sector. `None` if it is cut short.
    pub(super) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let [kind, _reserved, low, high] = words(from)?;
        Some(Self {
            kind: kind.into(),
            sector: u64::from(low) | u64::from(high) << 32,
        })
    }
}

/// A segment of a discard or of a write of zeroes.
#[derive(Debug)]
pub(super) struct Range {
    pub(super) sector: u64,
    pub(super) sectors: u32,
    pub(super) flags: u32,
}

impl Range {
    /// The length of a segment.
    pub(super) const BYTES: usize = 16;
    /// The flag that lets space be freed.
    pub(super) const UNMAP: u32 = 1;

    /// Reads the next segment.
    pub(super) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let [low, high, sectors, flags] = words(from)?;
        Some(Self {
            sector: u64::from(low) | u64::from(high) << 32,
            sectors,
            flags,
        })
    }

    pub(super) fn bytes(&self) -> u64 {
        u64::from(self.sectors) * SECTOR
    }
}

fn words(from: &mut Reader<'_>) -> Option<[u32; 4]> {
    let words: [u32; 4] = from.read_obj()?;
    Some(words.map(u32::from_le))
}

//! Requests of a block device as drivers write them (VIRTIO 1.3 §5.2.6), and their checks.

use smallvec::SmallVec;

use super::job::{Op, Span};
use super::{F_DISCARD, F_WRITE_ZEROES, S_IOERR, S_OK, S_UNSUPP};
use crate::backend::block::{Disk, SECTOR};
use crate::virtio::queue::{Reader, Writer};

/// Limits of one discard: 4 GiB a segment, which is a matter of metadata.
pub(super) const MAX_DISCARD_SECTORS: u32 = 1 << 23;
pub(super) const MAX_DISCARD_SEGMENTS: u32 = 32;
/// Limits of one write of zeroes: 32 MiB, which may have to be written plainly.
pub(super) const MAX_ZEROES_SECTORS: u32 = 1 << 16;
pub(super) const MAX_ZEROES_SEGMENTS: u32 = 1;
/// The length of the serial number (VIRTIO 1.3 §5.2.6).
const ID_BYTES: usize = 20;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
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
    kind: Kind,
    sector: u64,
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// It is answered with this status.
    Answer(u8),
    /// It goes to the back end.
    Do(Op),
}

/// What the driver and the device agreed on for writes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) features: u64,
    /// Writes are durable at once.
    pub(super) durable: bool,
    /// Flushes do nothing.
    pub(super) unsafe_cache: bool,
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

    /// Whether its data is what the driver wrote.
    pub(super) fn is_write(&self) -> bool {
        self.kind == Kind::Out
    }

    /// Checks it against `disk`.
    pub(super) fn plan(
        &self,
        disk: &Disk,
        terms: Terms,
        reader: &mut Reader<'_>,
        writer: &mut Writer<'_>,
    ) -> Plan {
        let op = match self.kind {
            Kind::In => place(disk, self.sector, writer.available() as u64)
                .map(|offset| Op::Read { offset })
                .ok_or(S_IOERR),
            Kind::Out => writable(disk, self.sector, reader.available() as u64)
                .map(|offset| {
                    let durable = terms.durable;
                    Op::Write { offset, durable }
                })
                .ok_or(S_IOERR),
            Kind::Flush if disk.read_only || terms.unsafe_cache => Err(S_OK),
            Kind::Flush => Ok(Op::Flush),
            Kind::GetId => {
                identify(disk, writer);
                Err(S_OK)
            }
            Kind::Discard if terms.features & F_DISCARD != 0 => discard(disk, reader),
            Kind::WriteZeroes if terms.features & F_WRITE_ZEROES != 0 => write_zeroes(disk, reader),
            Kind::Discard | Kind::WriteZeroes | Kind::Other => Err(S_UNSUPP),
        };
        op.map_or_else(Plan::Answer, Plan::Do)
    }
}

/// A segment of a discard or of a write of zeroes.
#[derive(Debug)]
struct Range {
    sector: u64,
    sectors: u32,
    flags: u32,
}

/// The length of a segment.
const RANGE_BYTES: usize = 16;
/// The flag of a segment that lets space be freed.
pub(super) const UNMAP: u32 = 1;

impl Range {
    /// Reads the next segment.
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let [low, high, sectors, flags] = words(from)?;
        Some(Self {
            sector: u64::from(low) | u64::from(high) << 32,
            sectors,
            flags,
        })
    }

    fn span(&self, disk: &Disk, most: u32) -> Result<Span, u8> {
        let len = u64::from(self.sectors) * SECTOR;
        let offset = writable(disk, self.sector, len).filter(|_| self.sectors <= most);
        Ok(Span {
            offset: offset.ok_or(S_IOERR)?,
            len,
        })
    }
}

/// The byte offset of `len` bytes at `sector`, if they are whole sectors of the disk.
fn place(disk: &Disk, sector: u64, len: u64) -> Option<u64> {
    let end = sector.checked_add(len / SECTOR)?;
    let inside = len.is_multiple_of(SECTOR) && end <= disk.geometry.sectors;
    inside.then(|| sector * SECTOR)
}

fn writable(disk: &Disk, sector: u64, len: u64) -> Option<u64> {
    place(disk, sector, len).filter(|_| !disk.read_only)
}

fn identify(disk: &Disk, to: &mut Writer<'_>) {
    let mut id = [0; ID_BYTES];
    for (to, from) in id.iter_mut().zip(disk.serial.bytes()) {
        *to = from;
    }
    to.write(&id);
}

fn discard(disk: &Disk, from: &mut Reader<'_>) -> Result<Op, u8> {
    check_ranges(from, MAX_DISCARD_SEGMENTS)?;
    let mut spans = SmallVec::new();
    while let Some(range) = Range::read(from) {
        if range.flags != 0 {
            return Err(S_UNSUPP);
        }
        spans.push(range.span(disk, MAX_DISCARD_SECTORS)?);
    }
    Ok(Op::Discard(spans))
}

fn write_zeroes(disk: &Disk, from: &mut Reader<'_>) -> Result<Op, u8> {
    check_ranges(from, MAX_ZEROES_SEGMENTS)?;
    let range = Range::read(from).ok_or(S_IOERR)?;
    if range.flags & !UNMAP != 0 {
        return Err(S_UNSUPP);
    }
    Ok(Op::WriteZeroes {
        span: range.span(disk, MAX_ZEROES_SECTORS)?,
        unmap: range.flags & UNMAP != 0,
    })
}

fn check_ranges(from: &Reader<'_>, most: u32) -> Result<(), u8> {
    let bytes = from.available();
    let whole = bytes.is_multiple_of(RANGE_BYTES);
    let fits = (1..=most as usize).contains(&(bytes / RANGE_BYTES));
    if whole && fits { Ok(()) } else { Err(S_IOERR) }
}

fn words(from: &mut Reader<'_>) -> Option<[u32; 4]> {
    let words: [u32; 4] = from.read_obj()?;
    Some(words.map(u32::from_le))
}

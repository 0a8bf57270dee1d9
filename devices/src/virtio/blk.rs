//! The block device (VIRTIO 1.3 §5.2) over a raw image.
//!
//! It runs on a thread of its own, which blocks in the system calls: a request goes straight
//! between the image and the buffers of the driver. The cache is the host's page cache (writeback):
//! what is written is durable after the driver's FLUSH, or at once if it did not negotiate FLUSH.

mod request;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};
use serde::{Deserialize, Serialize};

use self::request::{Kind, Range, Request};
use super::device::{
    ActiveIo, ConfigSpace, ConstConfig, DeviceError, DeviceInfo, EventLoop, Interest, Token,
    VirtioDevice,
};
use super::queue::{Chain, Reader, Writer};
use crate::backend::block::{RawImage, SECTOR};
use crate::persist::{Payload, PersistError};

const DEVICE_ID: u32 = 2;
const QUEUE: u16 = 0;
const QUEUE_SIZE: u16 = 256;
/// What a chain has left beside header and status.
const SEG_MAX: u32 = QUEUE_SIZE as u32 - 2;

// Feature bits (VIRTIO 1.3 §5.2.3).
const F_SEG_MAX: u64 = 1 << 2;
const F_RO: u64 = 1 << 5;
const F_BLK_SIZE: u64 = 1 << 6;
const F_FLUSH: u64 = 1 << 9;
const F_TOPOLOGY: u64 = 1 << 10;
const F_DISCARD: u64 = 1 << 13;
const F_WRITE_ZEROES: u64 = 1 << 14;

// Status of a request (VIRTIO 1.3 §5.2.6).
const S_OK: u8 = 0;
const S_IOERR: u8 = 1;
const S_UNSUPP: u8 = 2;

/// Limits of one discard: 4 GiB a segment, which is a matter of metadata.
const MAX_DISCARD_SECTORS: u32 = 1 << 23;
const MAX_DISCARD_SEGMENTS: u32 = 32;
/// Limits of one write of zeroes: 32 MiB, which may have to be written plainly.
const MAX_ZEROES_SECTORS: u32 = 1 << 16;
const MAX_ZEROES_SEGMENTS: u32 = 1;
/// The length of the serial number (VIRTIO 1.3 §5.2.6).
const ID_BYTES: usize = 20;

/// Requests in one turn; then the loop looks whether the device has to stop.
const TURN: u32 = 64;
/// Requests after which the driver is told of those that are done.
const NOTIFY_EVERY: u32 = 16;
const WAKE: Token = Token(0);
const STATE_KIND: &str = "virtio-blk";

/// The threads of the first disks, by name.
const THREADS: [&str; 8] = [
    "blk0", "blk1", "blk2", "blk3", "blk4", "blk5", "blk6", "blk7",
];

/// A virtio disk.
#[derive(Debug)]
pub struct VirtioBlk {
    image: RawImage,
    thread: &'static str,
    /// Signalled when a turn ended early.
    wake: OwnedFd,
    failed: bool,
}

impl VirtioBlk {
    /// The disk number `index` of a machine, which names its thread.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub fn new(index: usize, image: RawImage) -> io::Result<Self> {
        let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
        Ok(Self {
            image,
            thread: THREADS.get(index).copied().unwrap_or("blk"),
            wake: eventfd(0, flags)?,
            failed: false,
        })
    }

    fn serve(&mut self, io: &mut ActiveIo<'_>) -> Result<(), DeviceError> {
        let mut waiting = 0;
        for turn in 0.. {
            if turn == TURN {
                // A full counter wakes as well.
                let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
                break;
            }
            let Some(queue) = io.queues.get_mut(usize::from(QUEUE)) else {
                break;
            };
            let Some(chain) = queue.pop(io.mem)? else {
                if queue.enable_notification(io.mem)? {
                    continue;
                }
                break;
            };
            let head = chain.head;
            let written = self.answer(chain, io.features)?;
            if let Some(queue) = io.queues.get_mut(usize::from(QUEUE)) {
                queue.add_used(io.mem, head, written)?;
            }
            waiting += 1;
            if waiting == NOTIFY_EVERY {
                waiting = 0;
                io.notify_used(QUEUE)?;
            }
        }
        if waiting > 0 {
            io.notify_used(QUEUE)?;
        }
        Ok(())
    }

    /// Does what `chain` asks for; the number of bytes that it gives back.
    fn answer(&mut self, chain: Chain<'_>, features: u64) -> Result<u32, DeviceError> {
        let Chain {
            mut reader,
            mut writer,
            ..
        } = chain;
        let total = u32::try_from(writer.available()).unwrap_or(u32::MAX);
        let Some(at) = writer.available().checked_sub(1) else {
            return Err(DeviceError::Request("no room for the status"));
        };
        let mut status = writer.split_off(at);
        let Some(request) = Request::read(&mut reader) else {
            return Err(DeviceError::Request("header is too short"));
        };
        let code = self.execute(&request, reader, writer, features);
        status.write(&[code]);
        Ok(total)
    }

    fn execute(
        &mut self,
        request: &Request,
        reader: Reader<'_>,
        writer: Writer<'_>,
        features: u64,
    ) -> u8 {
        let offered = |bit: u64| features & bit != 0;
        match request.kind {
            Kind::In => self.read(request, writer),
            Kind::Out => self.write(request, reader, offered(F_FLUSH)),
            Kind::Flush => self.done("flush", self.image.flush()),
            Kind::GetId => self.identify(writer),
            Kind::Discard if offered(F_DISCARD) => self.discard(reader),
            Kind::WriteZeroes if offered(F_WRITE_ZEROES) => self.write_zeroes(reader),
            _ => S_UNSUPP,
        }
    }

    /// The byte offset of `len` bytes at `sector`, if they are whole sectors of the disk.
    fn offset(&self, sector: u64, len: u64) -> Option<u64> {
        let end = sector.checked_add(len / SECTOR)?;
        let inside = len.is_multiple_of(SECTOR) && end <= self.image.sectors();
        inside.then(|| sector * SECTOR)
    }

    fn read(&mut self, request: &Request, mut to: Writer<'_>) -> u8 {
        let Some(offset) = self.offset(request.sector, to.available() as u64) else {
            return S_IOERR;
        };
        self.done("read", self.image.read(&mut to, offset))
    }

    fn write(&mut self, request: &Request, mut from: Reader<'_>, cached: bool) -> u8 {
        let offset = self.offset(request.sector, from.available() as u64);
        let Some(offset) = offset.filter(|_| !self.image.is_read_only()) else {
            return S_IOERR;
        };
        let written = self.image.write(&mut from, offset);
        let durable = written.and_then(|()| if cached { Ok(()) } else { self.image.flush() });
        self.done("write", durable)
    }

    fn identify(&self, mut to: Writer<'_>) -> u8 {
        let mut id = [0; ID_BYTES];
        for (to, from) in id.iter_mut().zip(self.image.serial().bytes()) {
            *to = from;
        }
        to.write(&id);
        S_OK
    }

    fn discard(&mut self, mut from: Reader<'_>) -> u8 {
        let segments = from.available() / Range::BYTES;
        self.each_range(&mut from, segments, MAX_DISCARD_SEGMENTS, |disk, range| {
            if range.flags != 0 {
                return S_UNSUPP;
            }
            let Some(offset) = disk.range_offset(range, MAX_DISCARD_SECTORS) else {
                return S_IOERR;
            };
            disk.done("discard", disk.image.discard(offset, range.bytes()))
        })
    }

    fn write_zeroes(&mut self, mut from: Reader<'_>) -> u8 {
        let segments = from.available() / Range::BYTES;
        self.each_range(&mut from, segments, MAX_ZEROES_SEGMENTS, |disk, range| {
            if range.flags & !Range::UNMAP != 0 {
                return S_UNSUPP;
            }
            let Some(offset) = disk.range_offset(range, MAX_ZEROES_SECTORS) else {
                return S_IOERR;
            };
            let unmap = range.flags & Range::UNMAP != 0;
            let done = disk.image.write_zeroes(offset, range.bytes(), unmap);
            disk.done("write zeroes", done)
        })
    }

    fn each_range(
        &mut self,
        from: &mut Reader<'_>,
        segments: usize,
        most: u32,
        act: impl Fn(&mut Self, &Range) -> u8,
    ) -> u8 {
        if segments == 0
            || segments > most as usize
            || !from.available().is_multiple_of(Range::BYTES)
        {
            return S_IOERR;
        }
        while let Some(range) = Range::read(from) {
            let code = act(self, &range);
            if code != S_OK {
                return code;
            }
        }
        S_OK
    }

    fn range_offset(&self, range: &Range, most: u32) -> Option<u64> {
        let offset = self.offset(range.sector, range.bytes());
        offset.filter(|_| range.sectors <= most && !self.image.is_read_only())
    }

    /// The status of what was done. The first error of a disk is the operator's too; the guest
    /// learns of all and tells more, were it to cause them.
    fn done(&mut self, what: &str, result: io::Result<()>) -> u8 {
        let Err(error) = result else {
            return S_OK;
        };
        let name = self.image.name();
        if std::mem::replace(&mut self.failed, true) {
            log::debug!("disk {name}: cannot {what}: {error}");
        } else {
            log::error!("disk {name}: cannot {what}: {error}");
        }
        S_IOERR
    }

    fn state(&self) -> BlkStateV1 {
        BlkStateV1 {
            sectors: self.image.sectors(),
            read_only: self.image.is_read_only(),
        }
    }
}

impl VirtioDevice for VirtioBlk {
    fn info(&self) -> DeviceInfo {
        let writable = if self.image.is_read_only() {
            F_RO
        } else {
            F_DISCARD | F_WRITE_ZEROES
        };
        DeviceInfo {
            id: DEVICE_ID,
            features: F_SEG_MAX | F_BLK_SIZE | F_FLUSH | F_TOPOLOGY | writable,
            queue_sizes: vec![QUEUE_SIZE],
            runs_on: EventLoop::Own(self.thread),
        }
    }

    /// The configuration (VIRTIO 1.3 §5.2.4).
    fn config(&self) -> Arc<dyn ConfigSpace> {
        let block = self.image.block_size() / SECTOR;
        let min_io = u16::try_from(block).unwrap_or(8);
        let mut fields = Vec::with_capacity(60);
        fields.extend(self.image.sectors().to_le_bytes());
        fields.extend(0u32.to_le_bytes()); // size_max
        fields.extend(SEG_MAX.to_le_bytes());
        fields.extend([0; 4]); // geometry
        fields.extend(512u32.to_le_bytes()); // blk_size
        fields.push(u8::try_from(block.trailing_zeros()).unwrap_or(0)); // physical_block_exp
        fields.push(0); // alignment_offset
        fields.extend(min_io.to_le_bytes());
        fields.extend(0u32.to_le_bytes()); // opt_io_size
        fields.extend([1, 0]); // writeback
        fields.extend(1u16.to_le_bytes()); // num_queues
        fields.extend(MAX_DISCARD_SECTORS.to_le_bytes());
        fields.extend(MAX_DISCARD_SEGMENTS.to_le_bytes());
        fields.extend(u32::from(min_io).to_le_bytes()); // discard_sector_alignment
        fields.extend(MAX_ZEROES_SECTORS.to_le_bytes());
        fields.extend(MAX_ZEROES_SEGMENTS.to_le_bytes());
        fields.extend([1, 0, 0, 0]); // write_zeroes_may_unmap
        Arc::new(ConstConfig(fields))
    }

    fn activate(&mut self, io: &mut ActiveIo<'_>) -> Result<(), DeviceError> {
        let watched = io.events.add(self.wake.as_raw_fd(), WAKE, Interest::Read);
        watched.map_err(|source| DeviceError::Backend {
            context: format!("watch disk {}", self.image.name()),
            source,
        })
    }

    fn process_queue(&mut self, io: &mut ActiveIo<'_>, _index: u16) -> Result<(), DeviceError> {
        self.serve(io)
    }

    fn process_event(&mut self, io: &mut ActiveIo<'_>, _token: Token) -> Result<(), DeviceError> {
        let mut count = [0; 8];
        // An empty counter is a spurious call; the queue says what there is to do.
        let _ = rustix::io::read(&self.wake, &mut count);
        self.serve(io)
    }

    /// Nothing is ever in flight between two calls.
    fn quiesce(&mut self, io: &mut ActiveIo<'_>) {
        if let Err(error) = io.events.remove(self.wake.as_raw_fd()) {
            log::debug!("disk {}: was not watched: {error}", self.image.name());
        }
    }

    fn save(&self) -> Result<Option<Payload>, PersistError> {
        if let Err(error) = self.image.flush() {
            let name = self.image.name();
            let what = format!("disk {name} cannot be flushed: {error}");
            return Err(PersistError::Invalid(what));
        }
        Payload::pack(STATE_KIND, 1, &self.state()).map(Some)
    }

    fn restore(&mut self, state: Payload) -> Result<(), PersistError> {
        let state: BlkStateV1 = state.unpack(STATE_KIND, 1)?;
        if state != self.state() {
            let name = self.image.name();
            let what = format!("disk {name} has changed in size or mode");
            return Err(PersistError::Invalid(what));
        }
        Ok(())
    }
}

/// Version 1 of a disk's saved state: what the image must be like when it is taken back.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BlkStateV1 {
    sectors: u64,
    read_only: bool,
}

#[cfg(test)]
mod tests;

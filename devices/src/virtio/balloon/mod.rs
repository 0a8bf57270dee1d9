//! The memory balloon (VIRTIO 1.3 §5.5): takes memory from a guest and gives it back to the host,
//! as much as is asked for, and what the guest itself reports as free.
//!
//! Pages that are given back stay the guest's: it finds zeros there when it uses them again, so that
//! taking them back needs nothing of us. It runs on a thread of its own, since the host may take its
//! time to clear a large range away.

mod handle;
mod stats;

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vm_memory::{GuestAddress, GuestMemoryBackend, VolatileSlice};

pub use self::handle::BalloonHandle;
use self::handle::{BalloonConfig, Shared};
pub use self::stats::BalloonStats;
use super::device::{
    ActiveIo, ConfigSpace, DeviceError, DeviceInfo, EventLoop, Interest, Token, VirtioDevice,
};
use super::queue::{Reader, Writer};
use crate::persist::{Payload, PersistError};
use crate::sys::ram;
use crate::{GuestRam, lock};

const DEVICE_ID: u32 = 5;

// Feature bits (VIRTIO 1.3 §5.5.3).
const F_STATS_VQ: u64 = 1 << 1;
const F_DEFLATE_ON_OOM: u64 = 1 << 2;
const F_PAGE_REPORTING: u64 = 1 << 5;

// Virtqueues (VIRTIO 1.3 §5.5.2). A queue whose feature was not negotiated takes no number: that is
// how Linux and QEMU count.
const INFLATE: u16 = 0;
const DEFLATE: u16 = 1;
const QUEUE_SIZE: u16 = 128;

/// Pages are numbered in units of 4 KiB, whatever their size (VIRTIO 1.3 §5.5.6).
const PFN_SHIFT: u32 = 12;
/// The bytes of a page's number.
const PFN_BYTES: usize = 4;
/// The numbers that are looked at together: Linux sends no more at a time.
const BATCH: usize = 256;
/// The most numbers of one request.
const MAX_PFNS: usize = 16 << 10;
/// Requests in one turn; then the loop looks whether the device has to stop.
const TURN: u32 = 16;
const WANTED: Token = Token(0);
const STATE_KIND: &str = "virtio-balloon";

/// What a queue is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Inflate,
    Deflate,
    Stats,
    Reporting,
}

/// A balloon as it is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BalloonSpec {
    /// The bytes that the guest is asked to give at first.
    #[serde(default)]
    pub size: u64,
}

/// A balloon.
#[derive(Debug)]
pub struct Balloon {
    shared: Arc<Shared>,
    /// The chain that the driver wants back when it is to tell statistics anew.
    stats_head: Option<u16>,
    failed: bool,
}

impl Balloon {
    /// Makes a balloon.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub fn new(spec: &BalloonSpec) -> io::Result<Self> {
        Ok(Self {
            shared: Arc::new(Shared::new(spec.size)?),
            stats_head: None,
            failed: false,
        })
    }

    /// The way to the balloon from outside.
    #[must_use]
    pub fn handle(&self) -> BalloonHandle {
        BalloonHandle(Arc::clone(&self.shared))
    }

    /// What queue `index` is for, given what was negotiated.
    fn role(features: u64, index: u16) -> Option<Role> {
        let optional = [
            (F_STATS_VQ, Role::Stats),
            (F_PAGE_REPORTING, Role::Reporting),
        ];
        match index {
            INFLATE => Some(Role::Inflate),
            DEFLATE => Some(Role::Deflate),
            _ => {
                let negotiated = optional.into_iter().filter(|(bit, _)| features & bit != 0);
                negotiated.map(|(_, role)| role).nth(usize::from(index - 2))
            }
        }
    }

    fn stats_queue(features: u64) -> Option<u16> {
        (features & F_STATS_VQ != 0).then_some(2)
    }

    /// Takes requests from queue `index`.
    fn serve(&mut self, io: &mut ActiveIo<'_>, index: u16, role: Role) -> Result<(), DeviceError> {
        let mut served = 0;
        loop {
            if served == TURN {
                io.call_again(index);
                break;
            }
            let Some(queue) = io.queues.get_mut(usize::from(index)) else {
                break;
            };
            let Some(mut chain) = queue.pop(io.mem)? else {
                if queue.enable_notification(io.mem)? {
                    continue;
                }
                break;
            };
            match role {
                Role::Inflate => self.inflate(io.mem, &mut chain.reader)?,
                Role::Deflate => check_deflated(&chain.reader)?,
                Role::Reporting => self.reported(io.mem, &chain.writer),
                Role::Stats => {}
            }
            queue.add_used(io.mem, chain.head, 0)?;
            served += 1;
        }
        if served > 0 {
            io.notify_used(index)?;
        }
        Ok(())
    }

    /// The driver gives pages, each by its number.
    fn inflate(&mut self, mem: &GuestRam, from: &mut Reader<'_>) -> Result<(), DeviceError> {
        check_count(from.available())?;
        let mut batch = [0u32; BATCH];
        loop {
            let mut count = 0;
            for place in &mut batch {
                let Some(pfn) = from.read_obj::<u32>() else {
                    break;
                };
                *place = u32::from_le(pfn);
                count += 1;
            }
            let Some(pages) = batch.get_mut(..count).filter(|pages| !pages.is_empty()) else {
                return Ok(());
            };
            pages.sort_unstable();
            self.give_pages(mem, pages)?;
        }
    }

    /// Gives pages back, neighbours together: the host then frees its large pages whole.
    fn give_pages(&mut self, mem: &GuestRam, sorted: &[u32]) -> Result<(), DeviceError> {
        for run in sorted.chunk_by(|a, b| b.wrapping_sub(*a) <= 1) {
            let (Some(&first), Some(&last)) = (run.first(), run.last()) else {
                continue;
            };
            let mut at = u64::from(first) << PFN_SHIFT;
            let mut left = (u64::from(last - first) + 1) << PFN_SHIFT;
            while left > 0 {
                // Neighbours may lie on both sides of a border between two mappings.
                let slice = part(mem, at, left)?;
                self.give_back(mem, &slice);
                at += slice.len() as u64;
                left -= slice.len() as u64;
            }
        }
        Ok(())
    }

    /// The driver does not use these buffers at the moment (VIRTIO 1.3 §5.5.6.7).
    fn reported(&mut self, mem: &GuestRam, writer: &Writer<'_>) {
        for slice in writer.slices() {
            self.give_back(mem, slice);
        }
    }

    fn give_back(&mut self, mem: &GuestRam, slice: &VolatileSlice<'_>) {
        if let Err(error) = ram::give_back(mem, slice)
            && !std::mem::replace(&mut self.failed, true)
        {
            log::warn!("balloon: the host does not take memory back: {error}");
        }
    }

    /// The driver tells its statistics; its buffer stays here until they are wanted anew.
    fn take_stats(&mut self, io: &mut ActiveIo<'_>, index: u16) -> Result<(), DeviceError> {
        let mut spare = 0;
        while let Some(queue) = io.queues.get_mut(usize::from(index)) {
            let Some(mut chain) = queue.pop(io.mem)? else {
                if queue.enable_notification(io.mem)? {
                    continue;
                }
                break;
            };
            *lock(&self.shared.stats) = BalloonStats::read(&mut chain.reader);
            // A driver has one such buffer; more are given back.
            if let Some(before) = self.stats_head.replace(chain.head) {
                queue.add_used(io.mem, before, 0)?;
                spare += 1;
            }
            if spare == TURN {
                io.call_again(index);
                break;
            }
        }
        if spare > 0 {
            io.notify_used(index)?;
        }
        Ok(())
    }

    fn ask_for_stats(&mut self, io: &mut ActiveIo<'_>) -> Result<(), DeviceError> {
        let queue = Self::stats_queue(io.features);
        let (Some(index), Some(head)) = (queue, self.stats_head.take()) else {
            return Ok(());
        };
        if let Some(queue) = io.queues.get_mut(usize::from(index)) {
            queue.add_used(io.mem, head, 0)?;
        }
        io.notify_used(index)
    }
}

fn check_count(bytes: usize) -> Result<(), DeviceError> {
    if bytes > MAX_PFNS * PFN_BYTES || !bytes.is_multiple_of(PFN_BYTES) {
        return Err(DeviceError::Request("list of pages has an odd length"));
    }
    Ok(())
}

/// Pages that the driver uses again are its own already.
fn check_deflated(reader: &Reader<'_>) -> Result<(), DeviceError> {
    check_count(reader.available())
}

/// The longest part of guest RAM from `at` on, up to `len` bytes, that is one mapping.
fn part(mem: &GuestRam, at: u64, len: u64) -> Result<VolatileSlice<'_>, DeviceError> {
    let outside = || DeviceError::Request("page is outside guest RAM");
    let page = 1 << PFN_SHIFT;
    let whole = usize::try_from(len).map_err(|_| outside())?;
    mem.get_slice(GuestAddress(at), whole)
        .or_else(|_| mem.get_slice(GuestAddress(at), page))
        .map_err(|_| outside())
}

impl VirtioDevice for Balloon {
    fn info(&self) -> DeviceInfo {
        DeviceInfo {
            id: DEVICE_ID,
            features: F_STATS_VQ | F_DEFLATE_ON_OOM | F_PAGE_REPORTING,
            queue_sizes: vec![QUEUE_SIZE; 4],
            runs_on: EventLoop::Own("balloon"),
        }
    }

    fn config(&self) -> Arc<dyn ConfigSpace> {
        Arc::new(BalloonConfig(Arc::clone(&self.shared)))
    }

    fn activate(&mut self, io: &mut ActiveIo<'_>) -> Result<(), DeviceError> {
        *lock(&self.shared.interrupt) = Some(Arc::clone(io.interrupt));
        let wanted = self.shared.wanted().as_raw_fd();
        let watched = io.events.add(wanted, WANTED, Interest::Read);
        watched.map_err(|source| DeviceError::Backend {
            context: "watch the balloon".to_owned(),
            source,
        })
    }

    fn process_queue(&mut self, io: &mut ActiveIo<'_>, index: u16) -> Result<(), DeviceError> {
        match Self::role(io.features, index) {
            Some(Role::Stats) => self.take_stats(io, index),
            Some(role) => self.serve(io, index, role),
            None => Ok(()),
        }
    }

    fn process_event(&mut self, io: &mut ActiveIo<'_>, _token: Token) -> Result<(), DeviceError> {
        let mut count = [0; 8];
        // An empty counter is a spurious call.
        let _ = rustix::io::read(self.shared.wanted(), &mut count);
        self.ask_for_stats(io)
    }

    fn quiesce(&mut self, io: &mut ActiveIo<'_>) {
        *lock(&self.shared.interrupt) = None;
        if let Err(error) = io.events.remove(self.shared.wanted().as_raw_fd()) {
            log::debug!("balloon: was not watched: {error}");
        }
    }

    /// The pages are the guest's again, which finds zeros in them; what it is asked for stays.
    fn reset(&mut self) {
        self.shared.set_actual(0);
        self.stats_head = None;
    }

    fn save(&self) -> Result<Option<Payload>, PersistError> {
        let state = BalloonStateV1 {
            target: self.shared.target(),
            actual: self.shared.actual(),
            stats_head: self.stats_head,
        };
        Payload::pack(STATE_KIND, 1, &state).map(Some)
    }

    fn restore(&mut self, state: Payload) -> Result<(), PersistError> {
        let state: BalloonStateV1 = state.unpack(STATE_KIND, 1)?;
        self.shared.set_target(state.target);
        self.shared.set_actual(state.actual);
        self.stats_head = state.stats_head;
        Ok(())
    }
}

/// Version 1 of a balloon's saved state.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BalloonStateV1 {
    target: u32,
    actual: u32,
    stats_head: Option<u16>,
}

#[cfg(test)]
mod tests;

//! The block device (VIRTIO 1.3 §5.2).
//!
//! It runs on a thread of its own, which takes requests from all queues and hands them to an
//! [`Engine`]; they are answered as they get done, in any order, straight from and to the buffers of
//! the driver. What is written is durable after the driver's FLUSH, or at once if it negotiated none
//! or turned the write cache off.

mod config;
mod engine;
mod job;
mod pool;
mod request;

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use self::config::BlkConfig;
use self::engine::Engine;
use self::job::{Done, Job};
use self::request::{MAX_DISCARD_SECTORS, MAX_DISCARD_SEGMENTS};
use self::request::{MAX_ZEROES_SECTORS, MAX_ZEROES_SEGMENTS};
use self::request::{Plan, Request, Terms};
use super::device::{
    ActiveIo, ConfigSpace, DeviceError, DeviceInfo, EventLoop, Interest, Token, VirtioDevice,
};
use super::queue::{Chain, Reader, Writer};
use crate::GuestRam;
use crate::backend::block::{CacheMode, Disk, SECTOR};
use crate::persist::{Payload, PersistError};

const DEVICE_ID: u32 = 2;
const QUEUE_SIZE: u16 = 256;
/// What a chain has left beside header and status.
const SEG_MAX: u32 = QUEUE_SIZE as u32 - 2;
/// The most queues of a disk.
pub const MAX_QUEUES: u16 = 16;

// Feature bits (VIRTIO 1.3 §5.2.3).
const F_SEG_MAX: u64 = 1 << 2;
const F_RO: u64 = 1 << 5;
const F_BLK_SIZE: u64 = 1 << 6;
const F_FLUSH: u64 = 1 << 9;
const F_TOPOLOGY: u64 = 1 << 10;
const F_CONFIG_WCE: u64 = 1 << 11;
const F_MQ: u64 = 1 << 12;
const F_DISCARD: u64 = 1 << 13;
const F_WRITE_ZEROES: u64 = 1 << 14;

// Status of a request (VIRTIO 1.3 §5.2.6).
const S_OK: u8 = 0;
const S_IOERR: u8 = 1;
const S_UNSUPP: u8 = 2;

/// Requests in one turn; then the loop looks whether the device has to stop.
const TURN: u32 = 64;
/// Requests of one queue that are carried out at a time.
const MAX_IN_FLIGHT: u16 = QUEUE_SIZE;
/// Buffers that wait for a back end at a time, in all queues: they bound what a driver makes us
/// keep.
const MAX_BUFFERS: usize = 16 << 10;
const STATE_KIND: &str = "virtio-blk";

/// The threads of the first disks, by name.
const THREADS: [&str; 8] = [
    "blk0", "blk1", "blk2", "blk3", "blk4", "blk5", "blk6", "blk7",
];

/// What a queue has going on.
#[derive(Debug, Default, Clone, Copy)]
struct Lane {
    in_flight: u16,
    /// Requests wait in the ring for others to be done.
    stalled: bool,
    /// Requests were answered since the driver was told.
    answered: bool,
}

/// A virtio disk.
#[derive(Debug)]
pub struct VirtioBlk {
    disk: Disk,
    thread: &'static str,
    engine: Engine,
    /// Guest RAM, while active.
    mem: Option<Arc<GuestRam>>,
    lanes: Vec<Lane>,
    buffers: usize,
    /// Whether writes may stay in a cache until the driver flushes.
    writeback: Arc<AtomicBool>,
    failed: bool,
}

impl VirtioBlk {
    /// The disk number `index` of a machine, which names its thread, with `queues` queues.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub fn new(index: usize, disk: Disk, queues: u16) -> io::Result<Self> {
        let thread = THREADS.get(index).copied().unwrap_or("blk");
        let queues = usize::from(queues.clamp(1, MAX_QUEUES));
        Ok(Self {
            engine: Engine::new(&disk, thread)?,
            writeback: Arc::new(AtomicBool::new(disk.cache != CacheMode::Writethrough)),
            disk,
            thread,
            mem: None,
            lanes: vec![Lane::default(); queues],
            buffers: 0,
            failed: false,
        })
    }

    fn queue_count(&self) -> u16 {
        u16::try_from(self.lanes.len()).unwrap_or(MAX_QUEUES)
    }

    fn terms(&self, features: u64) -> Terms {
        let cached = features & F_FLUSH != 0
            && (features & F_CONFIG_WCE == 0 || self.writeback.load(Ordering::Acquire));
        let unsafe_cache = self.disk.cache == CacheMode::Unsafe;
        Terms {
            features,
            durable: !cached && !unsafe_cache,
            unsafe_cache,
        }
    }

    /// Takes up to [`TURN`] requests from queue `index`.
    fn take(&mut self, io: &mut ActiveIo<'_>, index: u16) -> Result<(), DeviceError> {
        let at = usize::from(index);
        let terms = self.terms(io.features);
        for turn in 0.. {
            let full = self.buffers > MAX_BUFFERS;
            let Some(lane) = self.lanes.get_mut(at) else {
                return Ok(());
            };
            lane.stalled = full || lane.in_flight >= MAX_IN_FLIGHT;
            if lane.stalled {
                break;
            }
            if turn == TURN {
                io.call_again(index);
                break;
            }
            let Some(queue) = io.queues.get_mut(at) else {
                break;
            };
            let Some(chain) = queue.pop(io.mem)? else {
                if queue.enable_notification(io.mem)? {
                    continue;
                }
                break;
            };
            self.begin(io, index, chain, terms)?;
        }
        Ok(())
    }

    /// Answers a request or hands it to the engine.
    fn begin(
        &mut self,
        io: &mut ActiveIo<'_>,
        index: u16,
        chain: Chain<'_>,
        terms: Terms,
    ) -> Result<(), DeviceError> {
        let head = chain.head;
        let (mut reader, mut writer) = (chain.reader, chain.writer);
        let written = u32::try_from(writer.available()).unwrap_or(u32::MAX);
        let Some(at) = writer.available().checked_sub(1) else {
            return Err(DeviceError::Request("no room for the status"));
        };
        let mut status = writer.split_off(at);
        let Some(request) = Request::read(&mut reader) else {
            return Err(DeviceError::Request("header is too short"));
        };
        let code = match request.plan(&self.disk, terms, &mut reader, &mut writer) {
            Plan::Answer(code) => code,
            Plan::Do(op) => {
                let data = data(&request, &reader, &writer);
                let room = self.engine.spare();
                let job = self
                    .mem
                    .as_ref()
                    .and_then(|mem| Job::new(mem, op, data, &status, room));
                if let Some(mut job) = job {
                    (job.queue, job.head, job.written) = (index, head, written);
                    self.start(job);
                    return Ok(());
                }
                S_IOERR
            }
        };
        status.write(&[code]);
        self.give_back(io, index, head, written)
    }

    fn start(&mut self, job: Job) {
        self.buffers += job.data().len();
        if let Some(lane) = self.lanes.get_mut(usize::from(job.queue)) {
            lane.in_flight += 1;
        }
        self.engine.submit(job);
    }

    fn give_back(
        &mut self,
        io: &mut ActiveIo<'_>,
        index: u16,
        head: u16,
        written: u32,
    ) -> Result<(), DeviceError> {
        if let Some(lane) = self.lanes.get_mut(usize::from(index)) {
            lane.answered = true;
        }
        if let Some(queue) = io.queues.get_mut(usize::from(index)) {
            queue.add_used(io.mem, head, written)?;
        }
        Ok(())
    }

    /// Answers what is done, tells the driver, and goes on with what waited for it.
    fn finish(&mut self, io: &mut ActiveIo<'_>) -> Result<(), DeviceError> {
        self.enter()?;
        let mut any = false;
        while let Some(done) = self.engine.reap() {
            any = true;
            self.answer(io, done)?;
        }
        for (index, lane) in (0..).zip(&mut self.lanes) {
            if std::mem::take(&mut lane.answered) {
                io.notify_used(index)?;
            }
            if any && std::mem::take(&mut lane.stalled) {
                io.call_again(index);
            }
        }
        Ok(())
    }

    fn enter(&mut self) -> Result<(), DeviceError> {
        self.engine.enter().map_err(|source| DeviceError::Backend {
            context: format!("submit to disk {}", self.disk.name),
            source,
        })
    }

    fn answer(&mut self, io: &mut ActiveIo<'_>, done: Done) -> Result<(), DeviceError> {
        let Done { job, result } = done;
        let status = result.map_or_else(|error| self.failed(job.op.verb(), &error), |()| S_OK);
        job.answer(status);
        self.buffers -= job.data().len();
        if let Some(lane) = self.lanes.get_mut(usize::from(job.queue)) {
            lane.in_flight -= 1;
        }
        let given = self.give_back(io, job.queue, job.head, job.written);
        self.engine.recycle(job);
        given
    }

    /// The status of a request that failed. The first error of a disk is the operator's too; the
    /// guest learns of all and tells more, were it to cause them.
    fn failed(&mut self, what: &str, error: &io::Error) -> u8 {
        let name = &self.disk.name;
        if std::mem::replace(&mut self.failed, true) {
            log::debug!("disk {name}: cannot {what}: {error}");
        } else {
            log::error!("disk {name}: cannot {what}: {error}");
        }
        S_IOERR
    }

    /// Waits for what is in flight and answers it.
    fn drain(&mut self, io: &mut ActiveIo<'_>) {
        if let Err(error) = self.engine.enter() {
            log::error!("disk {}: gives io_uring up: {error}", self.disk.name);
            self.engine.give_ring_up();
        }
        while self.engine.in_flight() > 0 {
            self.engine.wait();
            while let Some(done) = self.engine.reap() {
                if let Err(error) = self.answer(io, done) {
                    log::debug!("disk {}: an answer is lost: {error}", self.disk.name);
                }
            }
        }
        for (index, lane) in (0..).zip(&mut self.lanes) {
            if std::mem::take(lane).answered && io.notify_used(index).is_err() {
                log::debug!("disk {}: a notification is lost", self.disk.name);
            }
        }
    }

    fn state(&self) -> BlkStateV1 {
        BlkStateV1 {
            sectors: self.disk.geometry.sectors,
            read_only: self.disk.read_only,
            queues: self.queue_count(),
            writeback: self.writeback.load(Ordering::Acquire),
        }
    }
}

/// The buffers of a request's data.
fn data<'a, 'm>(
    request: &Request,
    reader: &'a Reader<'m>,
    writer: &'a Writer<'m>,
) -> &'a [vm_memory::VolatileSlice<'m>] {
    if request.is_write() {
        reader.slices()
    } else {
        writer.slices()
    }
}

impl VirtioDevice for VirtioBlk {
    fn info(&self) -> DeviceInfo {
        let mut features = F_SEG_MAX | F_BLK_SIZE | F_TOPOLOGY;
        features |= match self.disk.cache {
            _ if self.disk.read_only => F_RO | F_FLUSH,
            CacheMode::Writeback => F_FLUSH | F_CONFIG_WCE,
            CacheMode::Unsafe => F_FLUSH,
            CacheMode::Writethrough => 0,
        };
        if !self.disk.read_only {
            features |= F_DISCARD | F_WRITE_ZEROES;
        }
        if self.lanes.len() > 1 {
            features |= F_MQ;
        }
        DeviceInfo {
            id: DEVICE_ID,
            features,
            queue_sizes: vec![QUEUE_SIZE; self.lanes.len()],
            runs_on: EventLoop::Own(self.thread),
        }
    }

    fn config(&self) -> Arc<dyn ConfigSpace> {
        let writeback = Arc::clone(&self.writeback);
        Arc::new(BlkConfig::new(&self.disk, self.queue_count(), writeback))
    }

    fn activate(&mut self, io: &mut ActiveIo<'_>) -> Result<(), DeviceError> {
        self.mem = Some(Arc::new(io.mem.clone()));
        for (token, fd) in (0..).zip(self.engine.fds()) {
            let watched = io.events.add(fd, Token(token), Interest::Read);
            watched.map_err(|source| DeviceError::Backend {
                context: format!("watch disk {}", self.disk.name),
                source,
            })?;
        }
        Ok(())
    }

    fn process_queue(&mut self, io: &mut ActiveIo<'_>, index: u16) -> Result<(), DeviceError> {
        self.take(io, index)?;
        self.finish(io)
    }

    fn process_event(&mut self, io: &mut ActiveIo<'_>, _token: Token) -> Result<(), DeviceError> {
        self.finish(io)
    }

    fn quiesce(&mut self, io: &mut ActiveIo<'_>) {
        let fds: Vec<RawFd> = self.engine.fds().collect();
        self.drain(io);
        for fd in fds {
            if let Err(error) = io.events.remove(fd) {
                log::debug!("disk {}: was not watched: {error}", self.disk.name);
            }
        }
        if let Err(error) = self.disk.image.settle() {
            self.failed("settle", &error);
        }
        self.mem = None;
    }

    fn reset(&mut self) {
        let writeback = self.disk.cache != CacheMode::Writethrough;
        self.writeback.store(writeback, Ordering::Release);
        self.lanes.fill(Lane::default());
    }

    fn save(&self) -> Result<Option<Payload>, PersistError> {
        if !self.disk.read_only
            && let Err(error) = self.disk.image.flush()
        {
            let name = &self.disk.name;
            let what = format!("disk {name} cannot be flushed: {error}");
            return Err(PersistError::Invalid(what));
        }
        Payload::pack(STATE_KIND, 1, &self.state()).map(Some)
    }

    fn restore(&mut self, state: Payload) -> Result<(), PersistError> {
        let state: BlkStateV1 = state.unpack(STATE_KIND, 1)?;
        let writeback = state.writeback;
        if state
            != (BlkStateV1 {
                writeback,
                ..self.state()
            })
        {
            let name = &self.disk.name;
            let what = format!("disk {name} has changed in size, mode or queues");
            return Err(PersistError::Invalid(what));
        }
        self.writeback.store(writeback, Ordering::Release);
        Ok(())
    }
}

/// Version 1 of a disk's saved state: what it must be like when it is taken back, and the cache.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BlkStateV1 {
    sectors: u64,
    read_only: bool,
    queues: u16,
    writeback: bool,
}

#[cfg(test)]
mod tests;

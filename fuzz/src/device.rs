//! The life of one device under a hostile driver that calls it directly, on this thread.

use devices::virtio::device::VirtioDevice;
use std::collections::BTreeMap;
use std::time::Duration;

use devices::virtio::device::{Again, Token};
use devices::virtio::testing::{Driver, FakeRegistry, Ring};
use virtio_queue::QueueT;
use vm_memory::{Bytes, GuestAddress};

use crate::Subject;
use crate::input::Input;
use crate::room::{ROOMS, length};
use crate::script::{flag, op};

/// How often a device may ask to be called again: a queue holds far fewer chains.
const TURNS: usize = 1 << 16;
/// Operations of one input.
const OPERATIONS: usize = 512;

/// What an input did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Chains that came back.
    pub answered: usize,
    /// Those of them that say that the request was carried out.
    pub successful: usize,
    /// Times that the device gave up on the driver.
    pub failed: usize,
}

/// A device, its driver, and what it works on.
struct Life<S: Subject> {
    subject: S,
    driver: Driver<S::Device>,
    offered: u64,
    tally: Tally,
    failed: bool,
    /// Requests that did not come back: queue, head, and the room for the answer.
    outstanding: BTreeMap<(u16, u16), u32>,
    /// Whether the driver kept to the rules since the last reset.
    lawful: bool,
}

/// Runs `data` as operations on `subject`'s device.
///
/// # Panics
/// The device does what it must not.
pub fn run<S: Subject>(mut subject: S, data: &[u8]) -> Tally {
    let mut input = Input(data);
    let device = subject.device(input.u8());
    let driver = Driver::idle(device, u64::MAX);
    let mut life = Life {
        subject,
        offered: driver.features,
        driver,
        tally: Tally::default(),
        failed: false,
        outstanding: BTreeMap::new(),
        lawful: true,
    };
    life.start();
    for _ in 0..OPERATIONS {
        if input.is_empty() {
            break;
        }
        life.step(&mut input);
        life.collect();
    }
    life.stop();
    life.driver.device.reset();
    life.subject.check();
    life.tally
}

impl<S: Subject> Life<S> {
    fn step(&mut self, input: &mut Input<'_>) {
        let what = input.u8() % op::COUNT;
        match what {
            op::REQUEST => self.request(input),
            op::KICK => {
                let queue = self.queue(input);
                self.kick(queue);
            }
            op::POLL => self.poll(),
            op::HOST => self.subject.act(&mut self.driver, input),
            op::EVENT => {
                let token = Token(input.u32());
                self.attempt(|driver| driver.event(token));
            }
            op::DESCRIPTOR | op::PUSH | op::JUMP | op::RAM => self.tamper(what, input),
            op::READ_CONFIG => {
                let (offset, len) = (input.u16(), input.u8());
                let mut data = vec![0xaa; usize::from(len)];
                self.driver.device.config().read(offset.into(), &mut data);
            }
            op::WRITE_CONFIG => {
                let (offset, data) = (input.u16(), input.string());
                self.driver.device.config().write(offset.into(), data);
            }
            op::PAUSE => {
                self.stop();
                self.start();
            }
            _ => {
                self.stop();
                self.driver.device.reset();
                self.driver.features = self.offered & !input.u64();
                self.driver.set_up_queues();
                self.outstanding.clear();
                self.lawful = true;
                self.failed = false;
                let mut disabled = input.u8();
                for queue in &mut self.driver.queues {
                    queue.ring().set_ready(disabled & 1 == 0);
                    disabled >>= 1;
                }
                self.start();
            }
        }
    }

    fn queue(&self, input: &mut Input<'_>) -> u16 {
        let count = u16::try_from(self.driver.rings.len()).unwrap_or(u16::MAX);
        u16::from(input.u8()) % count
    }

    fn ring(&mut self, queue: u16) -> &mut Ring {
        &mut self.driver.rings[usize::from(queue)]
    }

    fn request(&mut self, input: &mut Input<'_>) {
        let queue = self.queue(input);
        let (flags, room) = (input.u8(), input.u8());
        let mut bytes = input.string().to_vec();
        if flags & flag::RAW == 0 {
            self.subject.mend(queue, &mut bytes);
        }
        let writable = ROOMS[usize::from(room) % ROOMS.len()];
        let (first, rest) = match flags >> flag::CUT_SHIFT & 3 {
            0 => bytes.split_at(0),
            1 => bytes.split_at(16.min(bytes.len())),
            2 => bytes.split_at(40.min(bytes.len())),
            _ => bytes.split_at(bytes.len() / 2),
        };
        let parts = [first, rest];
        let empty = flags >> flag::CUT_SHIFT & 3 != 3;
        let readable: Vec<&[u8]> = parts
            .into_iter()
            .filter(|it| !empty || !it.is_empty())
            .collect();
        let ring = self.ring(queue);
        if (readable.is_empty() && writable.is_empty()) || !ring.has_room(&readable, writable) {
            return;
        }
        let head = if flags & flag::INDIRECT == 0 {
            ring.add(&readable, writable)
        } else {
            ring.add_indirect(&readable, writable)
        };
        self.outstanding
            .insert((queue, head), writable.iter().sum());
        if flags & flag::QUIET == 0 {
            self.kick(queue);
        }
    }

    /// Breaks the rules of a queue.
    fn tamper(&mut self, what: u8, input: &mut Input<'_>) {
        let queue = self.queue(input);
        let size = self.ring(queue).size;
        self.lawful = false;
        match what {
            op::DESCRIPTOR => {
                let index = input.u16() % size;
                let address = self.address(queue, input);
                let len = length(input.u16());
                let (flags, next) = (input.u16(), input.u16());
                self.ring(queue)
                    .set_descriptor(index, address, len, flags & 7, next);
            }
            op::PUSH => {
                let head = input.u16();
                self.ring(queue).push(head);
            }
            op::JUMP => {
                let to = input.u16();
                self.ring(queue).set_avail_idx(to);
            }
            _ => {
                let at = GuestAddress(self.address(queue, input));
                // What lies outside RAM is not written.
                let _ = self.driver.mem.write_slice(input.string(), at);
            }
        }
    }

    /// An address that means something on `queue`.
    fn address(&mut self, queue: u16, input: &mut Input<'_>) -> u64 {
        let (place, offset) = (input.u8(), u64::from(input.u16()));
        let end = self.driver.ram_size();
        let ring = self.ring(queue);
        match place % 8 {
            0 => ring.desc + offset,
            1 => ring.avail + offset,
            2 => ring.used + offset,
            3 => end - offset.min(end),
            4 => end + offset,
            5 => u64::MAX - offset,
            6 => offset << 4,
            _ => (ring.used + 0x4000).next_multiple_of(4096) + offset,
        }
    }

    /// Rings a doorbell, as the framework answers it.
    fn kick(&mut self, queue: u16) {
        self.driver.again = Again::default();
        self.process(queue);
        for _ in 0..TURNS {
            let again = std::mem::take(&mut self.driver.again);
            if self.failed || again.is_empty() {
                return;
            }
            for queue in 0..u16::try_from(self.driver.queues.len()).unwrap_or(u16::MAX) {
                if again.contains(queue) {
                    self.process(queue);
                }
            }
        }
        panic!("the device asks to be called again without end");
    }

    fn process(&mut self, queue: u16) {
        if self.driver.queues[usize::from(queue)].ready() {
            self.attempt(|driver| driver.with_io(|device, io| device.process_queue(io, queue)));
        }
    }

    fn poll(&mut self) {
        let patience = if self.outstanding.is_empty() {
            Duration::ZERO
        } else {
            self.subject.patience()
        };
        let ready = self.driver.events.ready(patience);
        for token in ready {
            self.attempt(|driver| driver.event(token));
        }
        self.finish_turns();
    }

    /// Comes back to the queues that an event left unfinished.
    fn finish_turns(&mut self) {
        let again = self.driver.again;
        for queue in 0..u16::try_from(self.driver.queues.len()).unwrap_or(u16::MAX) {
            if again.contains(queue) {
                self.kick(queue);
            }
        }
    }

    /// Calls the device, unless it gave up on this driver.
    fn attempt<E: std::error::Error>(
        &mut self,
        f: impl FnOnce(&mut Driver<S::Device>) -> Result<(), E>,
    ) {
        if !self.failed && f(&mut self.driver).is_err() {
            self.failed = true;
            self.tally.failed += 1;
        }
    }

    /// As the framework does: activates the device and looks at every queue.
    fn start(&mut self) {
        if self.failed {
            return;
        }
        self.attempt(Driver::activate);
        for queue in 0..u16::try_from(self.driver.queues.len()).unwrap_or(u16::MAX) {
            self.kick(queue);
        }
    }

    /// As the framework does: the device leaves nothing in the loop.
    fn stop(&mut self) {
        self.driver.quiesce();
        let left = self.driver.events.watched();
        assert!(left.is_empty(), "watched after it was stopped: {left:?}");
        self.driver.events = FakeRegistry::default();
    }

    /// Takes what the device gave back.
    fn collect(&mut self) {
        for (queue, ring) in (0..).zip(&mut self.driver.rings) {
            for _ in 0..ring.size {
                let Some(used) = ring.try_pop_used() else {
                    break;
                };
                let known = used.as_ref().ok().and_then(|used| {
                    let room = self.outstanding.remove(&(queue, used.head))?;
                    (used.len <= room).then_some(room)
                });
                assert!(
                    known.is_some() || !self.lawful || self.subject.may_lose_rings(),
                    "the answer to nothing, or longer than its room: {used:?}"
                );
                // A driver that points buffers at its rings reads what it deserves.
                let Ok(used) = used else { continue };
                self.tally.answered += 1;
                self.tally.successful += usize::from(self.subject.is_success(queue, &used.data));
                self.subject.learn(queue, &used.data);
            }
        }
    }
}

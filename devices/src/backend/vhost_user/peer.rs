//! A vhost-user back end of the tests' own, written from the protocol's description and sharing no code with the front
//! end: an honest one, and others that are not.
//!
//! It gives back what it is sent: into the same chain where that has room, else into the next chain of queue 0.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendFlags, recvmsg,
    sendmsg,
};
use virtio_queue::QueueT;
use vm_memory::{FileOffset, GuestAddress};

use crate::GuestRam;
use crate::virtio::queue::VirtQueue;

pub(crate) const GET_FEATURES: u32 = 1;
const SET_FEATURES: u32 = 2;
const SET_OWNER: u32 = 3;
pub(crate) const SET_MEM_TABLE: u32 = 5;
const SET_VRING_NUM: u32 = 8;
const SET_VRING_ADDR: u32 = 9;
const SET_VRING_BASE: u32 = 10;
pub(crate) const GET_VRING_BASE: u32 = 11;
const SET_VRING_KICK: u32 = 12;
const SET_VRING_CALL: u32 = 13;
pub(crate) const GET_PROTOCOL_FEATURES: u32 = 15;
const SET_PROTOCOL_FEATURES: u32 = 16;
pub(crate) const SET_VRING_ENABLE: u32 = 18;

const REPLY: u32 = 4;
const NEED_REPLY: u32 = 8;
/// Acknowledgements.
const REPLY_ACK: u64 = 1 << 3;
/// The device's features and the protocol's, in one word.
const PROTOCOL: u64 = 1 << 30;
const VERSION_1: u64 = 1 << 32;

/// What a back end does with the first request of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Says nothing.
    Silent,
    /// Closes the connection.
    Dies,
    /// Says that it cannot.
    Refuses,
    /// Answers something else.
    Rubbish,
    /// Answers a part, and the rest never.
    Short,
}

/// How a back end behaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// What it offers.
    pub(crate) features: u64,
    /// Whether it acknowledges requests.
    pub(crate) acknowledges: bool,
    /// What it does wrong, at which request.
    pub(crate) fault: Option<(u32, Fault)>,
    /// Says something after the first chain that nobody asked for.
    pub(crate) unasked: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            features: VERSION_1 | PROTOCOL,
            acknowledges: true,
            fault: None,
            unasked: false,
        }
    }
}

impl Manner {
    /// One that does wrong at `request`.
    pub(crate) fn faulty(request: u32, fault: Fault) -> Self {
        Self {
            fault: Some((request, fault)),
            ..Self::default()
        }
    }
}

/// A running back end.
#[derive(Debug)]
pub(crate) struct Peer {
    socket: PathBuf,
    folder: Option<tempfile::TempDir>,
    listener: UnixListener,
    connection: Arc<OnceLock<UnixStream>>,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    pub(crate) fn start(manner: Manner) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let own = listener.try_clone().unwrap();
        let connection = Arc::new(OnceLock::new());
        let known = Arc::clone(&connection);
        let thread = std::thread::spawn(move || {
            // The end of the listener is the end of the wait.
            if let Ok((stream, _)) = own.accept() {
                known.set(stream.try_clone().unwrap()).unwrap();
                Service::new(stream, manner).run();
            }
        });
        Self {
            socket,
            folder: Some(folder),
            listener,
            connection,
            thread: Some(thread),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.socket
    }

    /// Closes the connection.
    pub(crate) fn hang_up(&self) {
        let connection = self.connection.get().expect("a connection");
        connection.shutdown(Shutdown::Both).unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let both = rustix::net::Shutdown::Both;
        let _ = rustix::net::shutdown(&self.listener, both);
        if !std::thread::panicking() {
            self.thread.take().unwrap().join().unwrap();
        }
        drop(self.folder.take());
    }
}

struct Region {
    user: u64,
    guest: u64,
    size: u64,
}

struct Ring {
    queue: VirtQueue,
    num: u16,
    kick: Option<File>,
    call: Option<File>,
    enabled: bool,
}

struct Service {
    stream: UnixStream,
    manner: Manner,
    mem: Option<GuestRam>,
    regions: Vec<Region>,
    rings: Vec<Ring>,
    event_idx: bool,
    acknowledge: bool,
    held: VecDeque<Vec<u8>>,
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

impl Service {
    fn new(stream: UnixStream, manner: Manner) -> Self {
        let ring = |_| Ring {
            queue: VirtQueue::new(1024).unwrap(),
            num: 0,
            kick: None,
            call: None,
            enabled: false,
        };
        Self {
            stream,
            manner,
            mem: None,
            regions: Vec::new(),
            rings: (0..2).map(ring).collect(),
            event_idx: false,
            acknowledge: false,
            held: VecDeque::new(),
        }
    }

    /// Serves until the other side closes the connection.
    fn run(mut self) {
        loop {
            let (asked, kicked) = self.wait();
            if asked && !self.request() {
                return;
            }
            for index in kicked {
                let mut count = [0; 8];
                let mut kick = self.rings[index].kick.as_ref().unwrap();
                let _ = kick.read(&mut count);
                self.work();
            }
        }
    }

    /// Whether a request waits, and the rings whose doorbells rang.
    fn wait(&self) -> (bool, Vec<usize>) {
        let running = |ring: &&Ring| ring.enabled && ring.kick.is_some();
        let mut fds = vec![PollFd::new(&self.stream, PollFlags::IN)];
        let mut indices = Vec::new();
        for (index, ring) in self.rings.iter().enumerate() {
            if running(&ring) {
                let kick = ring.kick.as_ref().unwrap();
                fds.push(PollFd::new(kick, PollFlags::IN));
                indices.push(index);
            }
        }
        poll(&mut fds, None).unwrap();
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let rang = indices.into_iter().zip(&ready[1..]);
        let rang = rang.filter(|(_, ready)| **ready).map(|(index, _)| index);
        (ready[0], rang.collect())
    }

    /// Reads a request and does it; false at the end.
    fn request(&mut self) -> bool {
        let mut header = [0; 12];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let parts = &mut [IoSliceMut::new(&mut header)];
        let Ok(got) = recvmsg(&self.stream, parts, &mut control, RecvFlags::CMSG_CLOEXEC) else {
            return false;
        };
        if got.bytes < header.len() {
            return false;
        }
        let mut fds: Vec<OwnedFd> = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(got) = message {
                fds.extend(got);
            }
        }
        let (request, flags) = (word(&header, 0), word(&header, 4));
        assert_eq!(flags & 0b11, 1, "another version");
        let mut body = vec![0; word(&header, 8) as usize];
        self.stream.read_exact(&mut body).unwrap();
        let fault = self.manner.fault.filter(|(at, _)| *at == request);
        if let Some((_, fault)) = fault {
            return self.err(request, fault);
        }
        let answer = self.obey(request, &body, fds);
        if let Some(answer) = answer {
            self.reply(request, &answer);
        } else if self.acknowledge && flags & NEED_REPLY != 0 {
            self.reply(request, &[0; 8]);
        }
        true
    }

    fn err(&mut self, request: u32, fault: Fault) -> bool {
        match fault {
            Fault::Silent => {
                // Until the other side gives up.
                let mut rest = Vec::new();
                let _ = self.stream.read_to_end(&mut rest);
                return false;
            }
            Fault::Dies => return false,
            Fault::Refuses => self.reply(request, &1_u64.to_le_bytes()),
            Fault::Rubbish => {
                let _ = self.stream.write_all(&[0xff; 64]);
            }
            Fault::Short => {
                let _ = self.stream.write_all(&request.to_le_bytes());
            }
        }
        true
    }

    fn reply(&self, request: u32, body: &[u8]) {
        let mut answer = [request, 1 | REPLY, body.len() as u32]
            .map(u32::to_le_bytes)
            .concat();
        answer.extend(body);
        let mut none = SendAncillaryBuffer::default();
        let parts = [IoSlice::new(&answer)];
        // The other side may be gone.
        let _ = sendmsg(&self.stream, &parts, &mut none, SendFlags::NOSIGNAL);
    }

    /// Does what an honest back end does; the answer, for requests that have one.
    fn obey(&mut self, request: u32, body: &[u8], mut fds: Vec<OwnedFd>) -> Option<Vec<u8>> {
        let ring = || word(body, 0) as usize;
        match request {
            SET_OWNER => {}
            GET_FEATURES => return Some(self.manner.features.to_le_bytes().to_vec()),
            SET_FEATURES => {
                let features = long(body, 0);
                assert_eq!(features & !self.manner.features, 0, "more than was offered");
                self.event_idx = features & 1 << 29 != 0;
            }
            GET_PROTOCOL_FEATURES => {
                let offered = REPLY_ACK * u64::from(self.manner.acknowledges);
                return Some(offered.to_le_bytes().to_vec());
            }
            SET_PROTOCOL_FEATURES => self.acknowledge = long(body, 0) & REPLY_ACK != 0,
            SET_MEM_TABLE => self.map(body, fds),
            SET_VRING_NUM => self.rings[ring()].num = word(body, 4) as u16,
            SET_VRING_BASE => {
                let at = word(body, 4) as u16;
                let queue = self.rings[ring()].queue.ring();
                queue.set_next_avail(at);
                queue.set_next_used(at);
            }
            SET_VRING_ADDR => self.place(body),
            SET_VRING_KICK => {
                self.rings[ring() & 0xff].kick = Some(File::from(fds.remove(0)));
            }
            SET_VRING_CALL => {
                self.rings[ring() & 0xff].call = Some(File::from(fds.remove(0)));
            }
            SET_VRING_ENABLE => self.rings[ring()].enabled = word(body, 4) != 0,
            GET_VRING_BASE => {
                let at = self.rings[ring()].queue.ring_ref().next_avail();
                self.rings[ring()].kick = None;
                let answer = [ring() as u32, at.into()].map(u32::to_le_bytes).concat();
                return Some(answer);
            }
            other => panic!("request {other}"),
        }
        None
    }

    fn map(&mut self, body: &[u8], fds: Vec<OwnedFd>) {
        let count = word(body, 0) as usize;
        assert_eq!((count, body.len()), (fds.len(), 8 + 32 * count));
        self.regions.clear();
        let mut ranges = Vec::new();
        for (region, fd) in body[8..].chunks(32).zip(fds) {
            let region_at = |at: usize| long(region, at);
            let (guest, size) = (region_at(0), region_at(8));
            self.regions.push(Region {
                guest,
                size,
                user: region_at(16),
            });
            let place = FileOffset::new(File::from(fd), region_at(24));
            ranges.push((GuestAddress(guest), size as usize, Some(place)));
        }
        self.mem = Some(GuestRam::from_ranges_with_files(ranges).unwrap());
    }

    /// The guest's address of an address in the front end's memory.
    fn guest(&self, user: u64) -> GuestAddress {
        let region = self
            .regions
            .iter()
            .find(|r| (r.user..r.user + r.size).contains(&user));
        let region = region.expect("an address in the table");
        GuestAddress(user - region.user + region.guest)
    }

    fn place(&mut self, body: &[u8]) {
        let [desc, used, avail] = [8, 16, 24].map(|at| self.guest(long(body, at)));
        let event_idx = self.event_idx;
        let ring = &mut self.rings[word(body, 0) as usize];
        let queue = ring.queue.ring();
        queue.try_set_size(ring.num).unwrap();
        queue.try_set_desc_table_address(desc).unwrap();
        queue.try_set_used_ring_address(used).unwrap();
        queue.try_set_avail_ring_address(avail).unwrap();
        queue.set_event_idx(event_idx);
        queue.set_ready(true);
    }

    /// Takes what the driver sends and gives it back.
    fn work(&mut self) {
        let mem = self.mem.clone().unwrap();
        for index in [1, 0] {
            let ring = &mut self.rings[index];
            if !ring.enabled {
                continue;
            }
            let mut any = false;
            while let Some(mut chain) = ring.queue.pop(&mem).unwrap() {
                let mut data = vec![0; chain.reader.available()];
                assert!(chain.reader.read_exact(&mut data));
                let room = chain.writer.available();
                if room == 0 {
                    self.held.push_back(std::mem::take(&mut data));
                } else if index == 0 && data.is_empty() {
                    let Some(held) = self.held.pop_front() else {
                        ring.queue.unpop();
                        break;
                    };
                    data = held;
                }
                data.truncate(room);
                assert!(chain.writer.write_all(&data));
                let length = data.len() as u32;
                ring.queue.add_used(&mem, chain.head, length).unwrap();
                any = true;
            }
            if any && ring.queue.needs_notification(&mem).unwrap() {
                let mut call = ring.call.as_ref().unwrap();
                call.write_all(&1_u64.to_ne_bytes()).unwrap();
            }
            if any && self.manner.unasked {
                self.manner.unasked = false;
                self.stream.write_all(&[0xff; 64]).unwrap();
            }
        }
    }
}

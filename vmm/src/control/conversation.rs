//! One client of the control socket: its lines in, its answers out, and how long it may take.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use devices::backend::console::ConsoleHandle;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use serde::Serialize;

use super::Served;
use super::answer::{Next, obey};
use super::monitor::{Monitor, take_line};
use super::protocol::Answer;

/// The longest request.
pub(super) const LINE_MAX: usize = 4096;
/// With so much to send, no further request is looked at and no event is added.
const OUT_MAX: usize = 64 << 10;
/// How long a client may take for its next line, or to read on in its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a client stands.
#[derive(Debug)]
pub(super) enum Stand {
    /// It stays.
    Stays,
    /// It is gone, or sent away.
    Gone,
    /// Its connection becomes a console's, which goes on from this position.
    Console(ConsoleHandle, u64),
}

/// One client.
#[derive(Debug)]
pub(super) struct Conversation {
    fd: OwnedFd,
    pending: Vec<u8>,
    out: Vec<u8>,
    /// When it last did something.
    since: Instant,
    /// The number of the next event that it is to be told.
    follows: Option<u64>,
    /// It goes when it has read what there is for it.
    leaving: bool,
    /// It has closed its sending half, and follows.
    listens: bool,
    console: Option<(ConsoleHandle, u64)>,
    /// It speaks to us as to QEMU.
    monitor: Option<Monitor>,
}

impl Conversation {
    /// With the client `fd`, who speaks the control socket's own language or a monitor's.
    pub(super) fn new(fd: OwnedFd, monitor: Option<Monitor>) -> Self {
        let greeting = monitor.as_ref().map(Monitor::greeting);
        Self {
            fd,
            pending: Vec::new(),
            out: greeting.unwrap_or_default(),
            monitor,
            since: Instant::now(),
            follows: None,
            leaving: false,
            listens: false,
            console: None,
        }
    }

    /// What to wait for.
    pub(super) fn interest(&self) -> PollFlags {
        let mut flags = PollFlags::empty();
        if !self.out.is_empty() {
            flags |= PollFlags::OUT;
        }
        if self.hears() {
            flags |= PollFlags::IN;
        }
        flags
    }

    fn hears(&self) -> bool {
        let open = !self.leaving && !self.listens && self.console.is_none();
        open && self.out.len() < OUT_MAX
    }

    /// When its time is up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        // A monitor's client is there for as long as the machine.
        let may_wait = self.monitor.is_some() || self.follows.is_some();
        (!may_wait || !self.out.is_empty()).then(|| self.since + PATIENCE)
    }

    /// Whether it follows, and the next event that it has not been sent.
    pub(super) fn follows(&self) -> Option<u64> {
        let sent = self.out.is_empty();
        self.follows.map(|next| if sent { next } else { 0 })
    }

    /// Tells it what has happened since it was last told.
    pub(super) fn tell(&mut self, served: &Served) {
        let Some(from) = self.follows else {
            return;
        };
        if self.out.len() >= OUT_MAX {
            return;
        }
        for event in served.status.events(from) {
            self.follows = Some(event.seq + 1);
            match &self.monitor {
                Some(monitor) => self.out.extend(monitor.event(&event, served)),
                None => self.say(&event),
            }
        }
    }

    /// The bytes that are kept for it, in and out.
    #[cfg(feature = "testing")]
    pub(super) fn kept(&self) -> usize {
        self.pending.len() + self.out.len()
    }

    /// Takes what came and sends what it can; `ready` is what the client is ready for.
    pub(super) fn turn(&mut self, ready: PollFlags, served: &Served) -> Stand {
        let closed = ready.intersects(PollFlags::HUP | PollFlags::ERR);
        let there = match (self.hears(), closed || ready.contains(PollFlags::IN)) {
            (true, true) => self.hear(),
            (false, _) => !closed,
            (true, false) => true,
        };
        if !there {
            return Stand::Gone;
        }
        self.heed(served);
        if !self.send() {
            return Stand::Gone;
        }
        if self.deadline().is_some_and(|at| Instant::now() >= at) {
            if !self.out.is_empty() || self.leaving {
                return Stand::Gone;
            }
            self.dismiss("no request came in time");
            self.send();
        }
        if self.out.is_empty() {
            if let Some((console, cursor)) = self.console.take() {
                return Stand::Console(console, cursor);
            }
            if self.leaving {
                return Stand::Gone;
            }
        }
        Stand::Stays
    }

    /// The connection, and what came of it after the last request.
    pub(super) fn into_parts(self) -> (OwnedFd, Vec<u8>) {
        (self.fd, self.pending)
    }

    /// Takes one helping of what the client sends; whether it is still there.
    fn hear(&mut self) -> bool {
        let mut bytes = [0_u8; LINE_MAX];
        match recv(&self.fd, &mut bytes, RecvFlags::DONTWAIT) {
            Ok((0, _)) => {
                // What it asked is still answered.
                self.listens = self.follows.is_some();
                self.leaving = !self.listens;
                true
            }
            Ok((length, _)) => {
                self.pending.extend(bytes.iter().take(length));
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => true,
            Err(_) => false,
        }
    }

    /// Answers the lines that are complete.
    fn heed(&mut self, served: &Served) {
        while self.out.len() < OUT_MAX && self.console.is_none() {
            if let Some(monitor) = &mut self.monitor {
                let Some(reply) = monitor.heed(&mut self.pending, served) else {
                    return self.limit();
                };
                self.since = Instant::now();
                self.out.extend(reply.bytes);
                self.follows = self.follows.or(reply.follows);
                continue;
            }
            let Some(line) = take_line(&mut self.pending) else {
                return self.limit();
            };
            self.since = Instant::now();
            let (answer, next) = match serde_json::from_slice(&line) {
                Ok(request) => obey(request, served),
                Err(error) => (Answer::refusal(format!("no request: {error}")), Next::Stay),
            };
            self.say(&answer);
            match next {
                Next::Stay => {}
                Next::Follow(from) => self.follows = Some(from),
                Next::Console(console, cursor) => self.console = Some((console, cursor)),
            }
        }
    }

    /// Sends one away whose request has no end.
    fn limit(&mut self) {
        if self.pending.len() >= LINE_MAX {
            self.dismiss("the line is too long");
        }
    }

    /// Sends it away with a word, if it is one that it understands.
    fn dismiss(&mut self, why: &str) {
        self.pending.clear();
        self.leaving = true;
        if self.monitor.is_none() {
            self.say(&Answer::refusal(why));
        }
    }

    fn say(&mut self, value: &impl Serialize) {
        // Answers and events are data that JSON can always hold.
        if serde_json::to_writer(&mut self.out, value).is_ok() {
            self.out.push(b'\n');
        }
    }

    /// Sends what the client takes now; whether it is still there.
    fn send(&mut self) -> bool {
        while !self.out.is_empty() {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match send(&self.fd, &self.out, flags) {
                Ok(length) => {
                    self.out.drain(..length);
                    self.since = Instant::now();
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return true,
                Err(_) => return false,
            }
        }
        true
    }
}

impl AsFd for Conversation {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

//! The outer end of a console: moves output from the replay ring to every client and input from
//! the clients to the guest. Owned by the io loop.
//!
//! Output is fetched at most every [`GATHER`] while it flows, so that a guest that writes byte by
//! byte costs one wake-up in that time; a burst of [`BURST`] bytes wakes the pump earlier.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::client::{Client, Kind, Progress};
use super::handle::{ConsoleHandle, OutputWatcher};
use super::listener::Listener;
use super::stdio::RawTerminal;
use crate::event_loop::Pollable;
use crate::virtio::device::{Interest, Registry, Token};

const WAKE: Token = Token(0);
const TIMER: Token = Token(1);
const LISTENER: Token = Token(2);
const FIRST_CLIENT: u32 = 3;

/// The most clients of one console; more are told so and turned away.
const MAX_CLIENTS: usize = 64;
/// How many connections are taken in one go, so that a storm of them leaves the loop to others.
const ACCEPTS: usize = 16;
/// While output flows, the time between two looks at it.
const GATHER: Duration = Duration::from_millis(2);
/// While output flows, how much of it does not wait for the next look.
const BURST: u64 = 64 * 1024;
/// How long the listener rests when the process is out of descriptors or memory.
const REST: Duration = Duration::from_millis(100);
/// What slow clients get at the end, all together, to take the last output.
const PATIENCE: Duration = Duration::from_millis(250);
/// What one system call moves.
const SCRATCH: usize = 32 * 1024;

/// The outer end of a console: everything that is connected to it.
pub struct ConsolePump {
    console: ConsoleHandle,
    listener: Option<Listener>,
    resting: bool,
    clients: Vec<Option<Client>>,
    watchers: Vec<(u64, OutputWatcher)>,
    timer: OwnedFd,
    /// The timer runs and output is gathered until it fires.
    gathering: bool,
    /// Output moved since the timer was last set.
    moved: bool,
    scratch: Vec<u8>,
    /// Restores the terminal when dropped.
    _terminal: Option<RawTerminal>,
}

impl fmt::Debug for ConsolePump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsolePump")
            .field("console", &self.console)
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

impl ConsolePump {
    pub(super) fn new(
        console: ConsoleHandle,
        listener: Option<Listener>,
        clients: Vec<Client>,
        terminal: Option<RawTerminal>,
    ) -> rustix::io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self {
            console,
            listener,
            resting: false,
            clients: clients.into_iter().map(Some).collect(),
            watchers: Vec::new(),
            timer: timerfd_create(TimerfdClockId::Monotonic, flags)?,
            gathering: false,
            moved: false,
            scratch: Vec::new(),
            _terminal: terminal,
        })
    }

    /// The address that a TCP console listens on, with the port that the system chose for port 0.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.as_ref().and_then(Listener::local_addr)
    }

    fn set_timer(&self, after: Duration) {
        let nanoseconds = i64::from(after.subsec_nanos());
        let setting = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: nanoseconds,
            },
        };
        // Cannot fail: the descriptor and the time are valid.
        let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &setting);
    }

    /// Moves output to everyone who waits for it, and input from files.
    fn serve(&mut self) {
        let new = self.console.take_watchers();
        self.watchers
            .extend(new.into_iter().map(|watcher| (0, watcher)));
        for (cursor, watcher) in &mut self.watchers {
            self.moved |= show(&self.console, cursor, watcher, &mut self.scratch);
        }
        for client in self.clients.iter_mut().flatten() {
            if matches!(client.progress(), Progress::Idle | Progress::Stalled) {
                self.moved |= client.send_output(&self.console, &mut self.scratch);
            }
            if client.has_typed() {
                client.take_input(&self.console, self.console.input_room());
            }
            if client.watched.is_none() {
                while client.take_input(&self.console, self.console.input_room()) {}
            }
        }
    }

    /// Answers an event on the descriptor of a client.
    fn serve_client(&mut self, slot: usize) {
        let Some(client) = self.clients.get_mut(slot).and_then(Option::as_mut) else {
            return;
        };
        let room = self.console.input_room();
        let took = client.take_input(&self.console, room);
        if !took && (room == 0 || !client.reads()) && client.is_dead() {
            client.give_up();
        } else if client.progress() == Progress::Blocked {
            self.moved |= client.send_output(&self.console, &mut self.scratch);
        }
    }

    fn accept(&mut self, events: &mut dyn Registry) {
        for _ in 0..ACCEPTS {
            let Some(listener) = &self.listener else {
                return;
            };
            match listener.accept() {
                Ok(fd) => self.admit(events, Client::new(fd, Kind::Socket)),
                Err(Errno::AGAIN) => return,
                // accept(2): what was wrong with one connection says nothing of the next.
                Err(Errno::INTR | Errno::CONNABORTED | Errno::PROTO | Errno::PERM) => {}
                Err(errno) => {
                    let name = self.console.name();
                    log::debug!("console {name}: cannot accept a client: {errno}");
                    self.rest(events);
                    return;
                }
            }
        }
    }

    /// Leaves the listener alone for a while.
    fn rest(&mut self, events: &mut dyn Registry) {
        if let Some(listener) = &self.listener
            && events
                .modify(listener.raw_fd(), LISTENER, Interest::None)
                .is_ok()
        {
            self.resting = true;
            if !self.gathering {
                self.set_timer(REST);
            }
        }
    }

    fn admit(&mut self, events: &mut dyn Registry, client: Client) {
        if self.clients.iter().flatten().count() >= MAX_CLIENTS {
            self.evict(events);
        }
        if self.clients.iter().flatten().count() >= MAX_CLIENTS {
            client.refuse();
            return;
        }
        let free = self.clients.iter().position(Option::is_none);
        let slot = free.unwrap_or_else(|| {
            self.clients.push(None);
            self.clients.len() - 1
        });
        self.clients[slot] = Some(client);
        self.watch(events, slot);
        if let Some(client) = self.clients.get_mut(slot).and_then(Option::as_mut) {
            self.moved |= client.send_output(&self.console, &mut self.scratch);
        }
    }

    /// Drops the clients that have hung up without having been noticed (one that only closed its
    /// sending half may still listen, but makes way when places are short).
    fn evict(&mut self, events: &mut dyn Registry) {
        for slot in &mut self.clients {
            let sockets = slot.as_ref().filter(|client| client.kind() == Kind::Socket);
            if sockets.is_some_and(Client::has_left)
                && let Some(client) = slot.take()
            {
                forget(events, &client);
            }
        }
    }

    /// Adds the client in `slot` to the event loop; one that cannot be polled (a file) is always
    /// ready.
    fn watch(&mut self, events: &mut dyn Registry, slot: usize) {
        let Some(client) = self.clients.get_mut(slot).and_then(Option::as_mut) else {
            return;
        };
        let interest = client.interest(true);
        match events.add(client.raw_fd(), client_token(slot), interest) {
            Ok(()) => client.watched = Some(interest),
            Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => {}
            Err(error) => {
                let name = self.console.name();
                log::warn!("console {name}: cannot watch a client: {error}");
                client.give_up();
            }
        }
    }

    /// After any event: lets go of clients that are gone, brings what the loop watches up to date
    /// and asks for the next wake-up.
    fn settle(&mut self, events: &mut dyn Registry) {
        let room = self.console.input_room() > 0;
        for (index, slot) in self.clients.iter_mut().enumerate() {
            if let Some(client) = slot.take_if(|client| client.is_over()) {
                forget(events, &client);
            } else if let Some(client) = slot {
                let interest = client.interest(room);
                if client.watched.is_some_and(|watched| watched != interest)
                    && events
                        .modify(client.raw_fd(), client_token(index), interest)
                        .is_ok()
                {
                    client.watched = Some(interest);
                }
            }
        }
        if std::mem::take(&mut self.moved) && !self.gathering {
            self.gathering = true;
            self.set_timer(GATHER);
        }
        if !self.console.wake_at(self.next_wake()) {
            self.console.wake();
        }
    }

    /// The output position at which the pump has work again.
    fn next_wake(&self) -> u64 {
        let after = if self.gathering { BURST } else { 1 };
        let watchers = self.watchers.iter().map(|(cursor, _)| cursor + after);
        let clients = self.clients.iter().flatten();
        let waiting = clients.filter_map(|client| match client.progress() {
            Progress::Stalled => Some(self.console.output_len() + BURST),
            _ => client.wants_from().map(|cursor| cursor + after),
        });
        waiting.chain(watchers).min().unwrap_or(u64::MAX)
    }
}

fn client_token(slot: usize) -> Token {
    Token(FIRST_CLIENT.saturating_add(u32::try_from(slot).unwrap_or(u32::MAX)))
}

fn forget(events: &mut dyn Registry, client: &Client) {
    if client.watched.is_some() {
        let _ = events.remove(client.raw_fd());
    }
}

/// Shows `watcher` the output from `cursor` on; `true` if there was any.
fn show(
    console: &ConsoleHandle,
    cursor: &mut u64,
    watcher: &mut OutputWatcher,
    scratch: &mut [u8],
) -> bool {
    let from = *cursor;
    while *cursor - from < BURST * 4 {
        let copied = console.copy_output(*cursor, scratch);
        if copied.len == 0 && copied.lost == 0 {
            break;
        }
        *cursor += copied.lost + copied.len as u64;
        watcher(&scratch[..copied.len]);
    }
    *cursor != from
}

impl Pollable for ConsolePump {
    fn register(&mut self, events: &mut dyn Registry) -> io::Result<()> {
        self.scratch.resize(SCRATCH, 0);
        events.add(self.console.wake_fd().as_raw_fd(), WAKE, Interest::Read)?;
        events.add(self.timer.as_raw_fd(), TIMER, Interest::Read)?;
        if let Some(listener) = &self.listener {
            events.add(listener.raw_fd(), LISTENER, Interest::Read)?;
        }
        for slot in 0..self.clients.len() {
            self.watch(events, slot);
        }
        self.serve();
        self.settle(events);
        Ok(())
    }

    fn ready(&mut self, events: &mut dyn Registry, token: Token) {
        let mut count = [0; 8];
        match token {
            WAKE => {
                let _ = rustix::io::read(self.console.wake_fd(), &mut count);
                for client in self.console.take_clients() {
                    self.admit(events, Client::attached(client));
                }
                self.serve();
            }
            TIMER => {
                let _ = rustix::io::read(&self.timer, &mut count);
                self.gathering = false;
                if std::mem::take(&mut self.resting)
                    && let Some(listener) = &self.listener
                {
                    let _ = events.modify(listener.raw_fd(), LISTENER, Interest::Read);
                }
                self.serve();
            }
            LISTENER => self.accept(events),
            Token(n) => {
                let slot = usize::try_from(n.saturating_sub(FIRST_CLIENT)).unwrap_or(usize::MAX);
                self.serve_client(slot);
            }
        }
        self.settle(events);
    }
}

impl Drop for ConsolePump {
    /// Brings the last lines to everyone, with little patience.
    fn drop(&mut self) {
        self.scratch.resize(SCRATCH, 0);
        self.console.wake_at(u64::MAX);
        for (cursor, watcher) in &mut self.watchers {
            while show(&self.console, cursor, watcher, &mut self.scratch) {}
        }
        let deadline = Instant::now() + PATIENCE;
        // The loop may end before it has seen the last who came: a log, perhaps, of a guest that ended at once.
        let new = self.console.take_clients().into_iter();
        self.clients
            .extend(new.map(|it| Some(Client::attached(it))));
        for client in self.clients.drain(..).flatten() {
            client.finish(&self.console, &mut self.scratch, deadline);
        }
    }
}

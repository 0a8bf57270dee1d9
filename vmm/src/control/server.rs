//! The control thread: takes clients and serves them in turn, without waiting for one.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use super::conversation::{Conversation, Stand};
use super::monitor::Monitor;
use super::{ControlSocket, Entrance, Served};

/// The most clients at once; others wait until one goes.
const CLIENTS_MAX: usize = 32;
/// How long nobody is let in when no descriptor is left.
const REST: Duration = Duration::from_millis(100);

/// The clients of the control socket.
#[derive(Debug)]
pub(super) struct Server {
    entrances: Vec<Entrance>,
    served: Served,
    clients: Vec<Conversation>,
    /// Until when nobody is let in.
    rests: Option<Instant>,
}

impl Server {
    /// A server whose clients come to `socket`.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn new(socket: ControlSocket, served: Served) -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        served.status.wake_by(wake);
        let called = socket.called.into_iter();
        let clients =
            called.map(|(fd, language)| Conversation::new(fd, Some(Monitor::new(language))));
        Ok(Self {
            entrances: socket.entrances,
            served,
            clients: clients.collect(),
            rests: None,
        })
    }

    /// Serves clients for as long as the process lives.
    pub(super) fn run(&mut self) {
        loop {
            match self.turn(None) {
                Ok(()) | Err(Errno::INTR) => {}
                Err(error) => {
                    log::error!("the control socket is served no more: {error}");
                    return;
                }
            }
        }
    }

    /// Does what there is to do, and waits for something if there is nothing, but not beyond `patience`.
    pub(super) fn turn(&mut self, patience: Option<Duration>) -> Result<(), Errno> {
        let (callers, ready) = self.wait(patience)?;
        self.turns(&ready);
        if callers {
            self.admit();
        }
        Ok(())
    }

    /// Waits for something to do; whether somebody wants in, and what each client is ready for.
    fn wait(&mut self, patience: Option<Duration>) -> Result<(bool, Vec<PollFlags>), Errno> {
        let now = Instant::now();
        self.rests.take_if(|until| now >= *until);
        let open = self.clients.len() < CLIENTS_MAX && self.rests.is_none();
        let wake: Option<&OwnedFd> = self.served.status.wake();
        let wanted = if open {
            PollFlags::IN
        } else {
            PollFlags::empty()
        };
        let entrances = self.entrances.iter();
        let mut fds: Vec<_> = entrances
            .map(|entrance| PollFd::new(&entrance.socket, wanted))
            .collect();
        let doors = fds.len();
        fds.extend(wake.map(|wake| PollFd::new(wake, PollFlags::IN)));
        let first = fds.len();
        let clients = self.clients.iter();
        fds.extend(clients.map(|client| PollFd::new(client, client.interest())));
        let ends = self.clients.iter().filter_map(Conversation::deadline);
        let end = ends.chain(self.rests).min();
        let left = end.map(|end| end.saturating_duration_since(now));
        let left = left.into_iter().chain(patience).min();
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        poll(&mut fds, left.as_ref())?;
        let ready: Vec<_> = fds.iter().map(PollFd::revents).collect();
        if let Some(wake) = wake {
            let _ = rustix::io::read(wake, &mut [0; 8]);
        }
        let mut callers = ready.iter().take(doors);
        let callers = callers.any(|ready| !ready.is_empty());
        Ok((callers, ready.into_iter().skip(first).collect()))
    }

    /// Gives each client its turn, and tells the status how far those are who follow it.
    fn turns(&mut self, ready: &[PollFlags]) {
        let before = std::mem::take(&mut self.clients);
        let ready = ready
            .iter()
            .copied()
            .chain(std::iter::repeat(PollFlags::empty()));
        for (mut client, ready) in before.into_iter().zip(ready) {
            client.tell(&self.served);
            match client.turn(ready, &self.served) {
                Stand::Stays => self.clients.push(client),
                Stand::Gone => {}
                Stand::Console(console, cursor) => {
                    let (fd, typed) = client.into_parts();
                    console.attach(fd, cursor, typed);
                }
            }
        }
        let followers = || self.clients.iter().filter_map(Conversation::follows);
        let unsent = followers().min().unwrap_or(0);
        self.served.status.told(followers().count(), unsent);
    }

    /// Lets clients in, as many as there is room for.
    fn admit(&mut self) {
        for Entrance { socket, language } in &self.entrances {
            while self.clients.len() < CLIENTS_MAX {
                match socket.accept() {
                    Ok(client) => {
                        let monitor = language.map(Monitor::new);
                        self.clients.push(Conversation::new(client, monitor));
                    }
                    Err(Errno::AGAIN) => break,
                    // The client is gone already.
                    Err(Errno::INTR | Errno::CONNABORTED) => {}
                    Err(error) => {
                        log::debug!("a client of the control socket is lost: {error}");
                        self.rests = Some(Instant::now() + REST);
                        return;
                    }
                }
            }
        }
    }

    /// The clients, for tests.
    #[cfg(feature = "testing")]
    pub(super) fn clients(&self) -> &[Conversation] {
        &self.clients
    }
}

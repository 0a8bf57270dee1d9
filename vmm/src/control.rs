//! The control socket: requests to a machine that runs, a line of JSON each, answered by a line each
//! ([docs/control.md](../../docs/control.md)).
//!
//! One client is served at a time, and one that is slow is sent away, so that none holds up others for long and none
//! can make the process keep much. What is asked is done by this thread, not by the supervisor's.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use devices::WithSources;
use devices::backend::unix_socket::{SocketPlace, UnixSocket};
use devices::event_loop::Threads;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use serde::{Deserialize, Serialize};

use crate::config::Forward;
use crate::config::value::MemorySize;
use crate::machine::Controls;

/// The longest request.
const LINE_MAX: usize = 4096;
/// How long a client may take for its next line, or to read its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The thread's name, and its role's.
const THREAD: &str = "control";

/// What is asked.
#[derive(Debug, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
enum Request {
    /// The host ports that lead into the guest.
    Forwards {},
    /// To lead another one into it.
    AddForward { forward: String },
    /// To close one; its guest port may be any.
    RemoveForward { forward: String },
    /// The balloon's size, or to ask the guest for another one.
    Balloon { size: Option<MemorySize> },
    /// The state of the cards' links, or to change it.
    Link { state: Option<LinkState> },
}

/// What is answered.
#[derive(Debug, Default, Serialize)]
struct Answer {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forwards: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    balloon: Option<BalloonSize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<LinkState>,
}

/// What the guest is told of its network cards' links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum LinkState {
    Up,
    Down,
}

/// Bytes.
#[derive(Debug, Serialize)]
struct BalloonSize {
    target: u64,
    actual: u64,
}

impl Answer {
    fn done() -> Self {
        Self {
            ok: true,
            ..Self::default()
        }
    }
}

/// The socket, before somebody listens.
#[derive(Debug)]
pub(crate) struct ControlSocket(UnixSocket);

impl ControlSocket {
    /// Makes the socket at `path`, for the owner alone.
    ///
    /// # Errors
    /// It is in use, or cannot be made.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        UnixSocket::bind(path).map(Self)
    }

    /// Where it is, to remove it at the end.
    pub(crate) fn place(&self) -> Arc<SocketPlace> {
        Arc::clone(self.0.place())
    }

    /// Serves clients from now on, on a thread that ends with the process.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn serve(self, controls: Controls, threads: &dyn Threads) -> io::Result<()> {
        let body = move || {
            loop {
                match self.0.accept() {
                    Ok(client) => converse(&client, &controls),
                    Err(Errno::AGAIN) => {
                        let mut listener = [PollFd::new(&self.0, PollFlags::IN)];
                        let _ = poll(&mut listener, None);
                    }
                    // No descriptor is left, or the client is gone already.
                    Err(error) => {
                        log::debug!("a client of the control socket is lost: {error}");
                        std::thread::sleep(Duration::from_millis(100));
                    }
                }
            }
        };
        threads.start(THREAD, Box::new(body)).map(drop)
    }
}

/// Answers one client until it goes or takes too long.
fn converse(client: &OwnedFd, controls: &Controls) {
    let mut pending = Vec::new();
    loop {
        let line = match next_line(client, &mut pending) {
            Some(Ok(line)) => line,
            Some(Err(text)) => {
                reply(client, &refusal(text));
                return;
            }
            None => return,
        };
        let answer = match serde_json::from_slice(&line) {
            Ok(request) => obey(request, controls),
            Err(error) => refusal(&format!("no request: {error}")),
        };
        if !reply(client, &answer) {
            return;
        }
    }
}

fn refusal(text: &str) -> Answer {
    Answer {
        error: Some(text.to_owned()),
        ..Answer::default()
    }
}

/// The next line without its end; a reason to send the client away; nothing at its end.
fn next_line(client: &OwnedFd, pending: &mut Vec<u8>) -> Option<Result<Vec<u8>, &'static str>> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(at) = pending.iter().position(|&byte| byte == b'\n') {
            let rest = pending.split_off(at + 1);
            let mut line = std::mem::replace(pending, rest);
            line.pop();
            return Some(Ok(line));
        }
        if pending.len() >= LINE_MAX {
            return Some(Err("the line is too long"));
        }
        if !ready(client, PollFlags::IN, end) {
            return Some(Err("no request came in time"));
        }
        let mut bytes = [0_u8; LINE_MAX];
        match recv(client, &mut bytes, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return None,
            Ok((length, _)) => pending.extend(bytes.iter().take(length)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}

/// Whether `client` can be read from or written to before `end`.
fn ready(client: &OwnedFd, flags: PollFlags, end: Instant) -> bool {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let Ok(left) = Timespec::try_from(left) else {
            return false;
        };
        match poll(&mut [PollFd::new(client, flags)], Some(&left)) {
            Ok(count) => return count > 0,
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// Sends an answer; whether the client took it.
fn reply(client: &OwnedFd, answer: &Answer) -> bool {
    let Ok(mut line) = serde_json::to_vec(answer) else {
        return false;
    };
    line.push(b'\n');
    let end = Instant::now() + PATIENCE;
    let mut rest = line.as_slice();
    while !rest.is_empty() {
        match send(
            client.as_fd(),
            rest,
            SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        ) {
            Ok(length) => rest = rest.get(length..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if ready(client, PollFlags::OUT, end) => {}
            Err(_) => return false,
        }
    }
    true
}

fn obey(request: Request, controls: &Controls) -> Answer {
    match request {
        Request::Forwards {} => Answer {
            forwards: Some(forwards(controls)),
            ..Answer::done()
        },
        Request::AddForward { forward } => change(&forward, controls, |net, forward| {
            net.add(forward)
                .map_err(|error| WithSources(&error).to_string())
        }),
        Request::RemoveForward { forward } => change(&forward, controls, |net, forward| {
            let removed = net.remove(forward.protocol, forward.host);
            removed
                .map(drop)
                .map_err(|error| WithSources(&error).to_string())
        }),
        Request::Link { state } => link(state, controls),
        Request::Balloon { size } => {
            let Some(balloon) = &controls.balloon else {
                return refusal("the machine has no balloon");
            };
            if let Some(size) = size {
                balloon.resize(size.0);
            }
            Answer {
                balloon: Some(BalloonSize {
                    target: balloon.target(),
                    actual: balloon.actual(),
                }),
                ..Answer::done()
            }
        }
    }
}

/// Takes the links of all cards down or up again, if asked to. They are up if one is.
fn link(state: Option<LinkState>, controls: &Controls) -> Answer {
    if controls.links.is_empty() {
        return refusal("the machine has no network card");
    }
    if let Some(state) = state {
        let links = controls.links.iter();
        links.for_each(|link| link.set(state == LinkState::Up));
    }
    let up = controls
        .links
        .iter()
        .any(devices::virtio::net::LinkHandle::is_up);
    Answer {
        link: Some(if up { LinkState::Up } else { LinkState::Down }),
        ..Answer::done()
    }
}

fn forwards(controls: &Controls) -> Vec<String> {
    let nets = controls.forwards.iter();
    nets.flat_map(|net| net.forwards())
        .map(|forward| forward.to_string())
        .collect()
}

/// Does something with a forward of the network.
fn change(
    text: &str,
    controls: &Controls,
    what: impl FnOnce(&crate::ForwardControl, Forward) -> Result<(), String>,
) -> Answer {
    let Some(net) = controls.forwards.first() else {
        return refusal("the machine has no user-mode network");
    };
    let done = text
        .parse()
        .map_err(|error| WithSources(&error).to_string())
        .and_then(|forward| what(net, forward));
    match done {
        Ok(()) => Answer::done(),
        Err(text) => refusal(&text),
    }
}

#[cfg(test)]
mod tests;

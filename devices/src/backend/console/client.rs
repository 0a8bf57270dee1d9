//! One descriptor at the outer end of a console: a socket of a client, a file, standard input or
//! output. It has its own cursor into the replay ring.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};

use super::handle::{Attached, ConsoleHandle};
use crate::virtio::device::Interest;

/// The most that one client is sent before others have their turn.
const TURN: u64 = 256 * 1024;

const NOW: Duration = Duration::ZERO;
/// The longest sleep in a wait for room at the end.
const LOOK: Duration = Duration::from_millis(50);

/// What a descriptor is, hence which calls never block on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A socket: both ways.
    Socket,
    /// A regular file to write: never waits, keeps failing while the disk is full.
    File,
    /// A terminal, pipe or device to write.
    Output,
    /// A terminal, pipe, device or file to read.
    Input,
}

/// Where a client stands after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// It has all output there is.
    Idle,
    /// Its buffer is full, or its turn is over: it goes on when the descriptor is writable.
    Blocked,
    /// A file cannot take more now.
    Stalled,
    /// It is gone.
    Gone,
}

#[derive(Debug)]
pub(super) struct Client {
    fd: OwnedFd,
    kind: Kind,
    cursor: u64,
    /// What it typed before it came here; taken before what it sends.
    typed: Vec<u8>,
    /// A line of ours that goes out before further output.
    notice: Vec<u8>,
    progress: Progress,
    reads: bool,
    /// What the event loop watches; `None` if the descriptor cannot be watched.
    pub(super) watched: Option<Interest>,
}

impl Client {
    pub(super) fn new(fd: OwnedFd, kind: Kind) -> Self {
        Self {
            fd,
            kind,
            cursor: 0,
            typed: Vec::new(),
            notice: Vec::new(),
            progress: Progress::Idle,
            reads: matches!(kind, Kind::Socket | Kind::Input),
            watched: None,
        }
    }

    /// A socket that was another's until now.
    pub(super) fn attached(client: Attached) -> Self {
        Self {
            cursor: client.from,
            typed: client.typed,
            ..Self::new(client.fd, Kind::Socket)
        }
    }

    /// Whether something waits that it typed before it came here.
    pub(super) fn has_typed(&self) -> bool {
        !self.typed.is_empty()
    }

    pub(super) fn raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress
    }

    /// Whether it may still send input.
    pub(super) fn reads(&self) -> bool {
        self.reads
    }

    /// Counts it as gone.
    pub(super) fn give_up(&mut self) {
        self.progress = Progress::Gone;
    }

    /// Whether nothing can come of it any more.
    pub(super) fn is_over(&self) -> bool {
        self.progress == Progress::Gone || (self.kind == Kind::Input && !self.reads)
    }

    /// Turns a client away.
    pub(super) fn refuse(self) {
        let _ = self.write(b"[pcp-vmm: too many clients on this console]\r\n");
    }

    /// The output position at which it wants to be served again; `None` if something else wakes it.
    pub(super) fn wants_from(&self) -> Option<u64> {
        let waits = self.progress == Progress::Idle && self.kind != Kind::Input;
        waits.then_some(self.cursor)
    }

    /// What to watch the descriptor for.
    pub(super) fn interest(&self, input_room: bool) -> Interest {
        match (self.reads && input_room, self.progress == Progress::Blocked) {
            (true, true) => Interest::ReadWrite,
            (true, false) => Interest::Read,
            (false, true) => Interest::Write,
            (false, false) => Interest::None,
        }
    }

    /// Whether the other side has hung up or at least will send nothing more.
    pub(super) fn has_left(&self) -> bool {
        self.poll(PollFlags::RDHUP, NOW)
            .intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR)
    }

    /// Whether nobody is at the other end at all.
    pub(super) fn is_dead(&self) -> bool {
        self.poll(PollFlags::empty(), NOW)
            .intersects(PollFlags::HUP | PollFlags::ERR)
    }

    fn poll(&self, events: PollFlags, wait: Duration) -> PollFlags {
        let mut fds = [PollFd::new(&self.fd, events)];
        let wait = Timespec {
            tv_sec: 0,
            tv_nsec: wait.subsec_nanos().into(),
        };
        match poll(&mut fds, Some(&wait)) {
            Ok(1) => fds[0].revents(),
            _ => PollFlags::empty(),
        }
    }

    /// Sends output up to a turn's worth; `true` if any moved.
    pub(super) fn send_output(&mut self, console: &ConsoleHandle, scratch: &mut [u8]) -> bool {
        self.send_up_to(console, scratch, TURN)
    }

    fn send_up_to(&mut self, console: &ConsoleHandle, scratch: &mut [u8], turn: u64) -> bool {
        if self.kind == Kind::Input {
            return false;
        }
        let from = self.cursor;
        self.progress = loop {
            if let Some(progress) = self.step(console, scratch) {
                break progress;
            }
            if self.cursor - from >= turn {
                let waits = self.watched.is_some();
                break if waits {
                    Progress::Blocked
                } else {
                    Progress::Idle
                };
            }
        };
        self.cursor != from
    }

    /// One system call's worth; `None` to go on.
    fn step(&mut self, console: &ConsoleHandle, scratch: &mut [u8]) -> Option<Progress> {
        if !self.notice.is_empty() {
            return match self.write(&self.notice) {
                Ok(n) => {
                    self.notice.drain(..n);
                    None
                }
                Err(errno) => self.failed(console, errno),
            };
        }
        let copied = console.copy_output(self.cursor, scratch);
        if copied.lost > 0 {
            self.cursor += copied.lost;
            let lost = copied.lost;
            self.notice = format!("\r\n[pcp-vmm: {lost} bytes of output lost]\r\n").into_bytes();
            return None;
        }
        let data = &scratch[..copied.len];
        if data.is_empty() {
            return Some(Progress::Idle);
        }
        match self.write(data) {
            Ok(n) => {
                self.cursor += n as u64;
                None
            }
            Err(errno) => self.failed(console, errno),
        }
    }

    fn failed(&self, console: &ConsoleHandle, errno: Errno) -> Option<Progress> {
        match errno {
            Errno::INTR => None,
            Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM if self.kind != Kind::File => {
                Some(Progress::Blocked)
            }
            _ if self.kind == Kind::File => {
                if self.progress != Progress::Stalled {
                    let name = console.name();
                    log::error!("console {name}: cannot write its file: {errno}");
                }
                Some(Progress::Stalled)
            }
            _ => {
                if self.kind == Kind::Output {
                    let name = console.name();
                    log::warn!("console {name}: cannot write its output any more: {errno}");
                }
                Some(Progress::Gone)
            }
        }
    }

    fn write(&self, data: &[u8]) -> Result<usize, Errno> {
        match self.kind {
            Kind::Socket => {
                let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
                rustix::net::send(&self.fd, data, flags)
            }
            Kind::File => match rustix::io::write(&self.fd, data) {
                Ok(0) => Err(Errno::NOSPC),
                other => other,
            },
            Kind::Output => {
                if !self.poll(PollFlags::OUT, NOW).contains(PollFlags::OUT) {
                    return Err(if self.is_dead() {
                        Errno::PIPE
                    } else {
                        Errno::AGAIN
                    });
                }
                // Writable promises room for this much on a pipe or terminal in blocking mode.
                rustix::io::write(&self.fd, &data[..data.len().min(256)])
            }
            Kind::Input => Err(Errno::BADF),
        }
    }

    /// Takes one helping of input, of at most `room` bytes; `true` if there was some.
    pub(super) fn take_input(&mut self, console: &ConsoleHandle, room: usize) -> bool {
        if self.has_typed() && room > 0 {
            let rest = self.typed.split_off(room.min(self.typed.len()));
            console.put_input(&std::mem::replace(&mut self.typed, rest));
            return true;
        }
        let mut data = [0; 4096];
        let room = room.min(data.len());
        let taken = match self.kind {
            _ if !self.reads || room == 0 => return false,
            Kind::Socket => {
                rustix::net::recv(&self.fd, &mut data[..room], RecvFlags::DONTWAIT).map(|(n, _)| n)
            }
            _ if !self
                .poll(PollFlags::IN, NOW)
                .intersects(PollFlags::IN | PollFlags::HUP) =>
            {
                return false;
            }
            _ => rustix::io::read(&self.fd, &mut data[..room]),
        };
        match taken {
            Ok(0) => self.reads = false,
            Ok(n) => {
                console.put_input(&data[..n]);
                return true;
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => {
                self.reads = false;
                self.progress = Progress::Gone;
            }
        }
        false
    }

    /// Sends what is left, waiting for room until `deadline` at the latest, and closes so that it
    /// arrives.
    pub(super) fn finish(mut self, console: &ConsoleHandle, scratch: &mut [u8], deadline: Instant) {
        loop {
            self.send_up_to(console, scratch, u64::MAX);
            let left = deadline.saturating_duration_since(Instant::now());
            if self.progress != Progress::Blocked || left.is_zero() {
                break;
            }
            self.poll(PollFlags::OUT, left.min(LOOK));
        }
        if self.kind == Kind::Socket {
            // Input left unread would turn the close into a reset, which discards what was sent.
            let _ = rustix::net::shutdown(&self.fd, Shutdown::Write);
            let mut data = [0; 4096];
            for _ in 0..256 {
                let taken = rustix::net::recv(&self.fd, &mut data[..], RecvFlags::DONTWAIT);
                if !matches!(taken, Ok((n, _)) if n > 0) {
                    break;
                }
            }
        }
    }
}

//! Waiting for whichever comes first: the end of a child, a signal to this process, news from the lab, or the deadline.

use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;

/// Something that the main thread waits for.
#[derive(Debug)]
pub(super) enum Event {
    /// The child ended.
    Ended(ExitStatus),
    /// This process was told to end.
    Signal(i32),
    /// The terminal's size changed.
    Resized,
    /// The lab started the command; the stream takes the terminal's size.
    Started(UnixStream),
    /// The command ended in the lab.
    Status(u8),
    /// One of the output streams is complete.
    Drained,
    /// The user asked to leave the terminal.
    Left,
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Status(u8),
    Signal(i32),
    TimedOut,
}

/// The queue of events, with this process's signals already connected to it.
#[derive(Debug)]
pub(super) struct Watch {
    sender: Sender<Event>,
    receiver: Receiver<Event>,
    ended: Arc<AtomicBool>,
}

impl Watch {
    pub(super) fn new() -> Result<Self> {
        let (sender, receiver) = channel();
        let mut signals =
            Signals::new([SIGINT, SIGTERM, SIGHUP, SIGWINCH]).context("cannot catch signals")?;
        let queue = sender.clone();
        thread::spawn(move || {
            for number in signals.forever() {
                let event = if number == SIGWINCH {
                    Event::Resized
                } else {
                    Event::Signal(number)
                };
                if queue.send(event).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            sender,
            receiver,
            ended: Arc::default(),
        })
    }

    /// Where threads put their events.
    pub(super) fn sender(&self) -> Sender<Event> {
        self.sender.clone()
    }

    /// The next event; `None` at the deadline.
    pub(super) fn next(&self, deadline: Option<Instant>) -> Option<Event> {
        let Some(deadline) = deadline else {
            return self.receiver.recv().ok();
        };
        let left = deadline.saturating_duration_since(Instant::now());
        self.receiver.recv_timeout(left).ok()
    }

    /// Waits until the child that was just killed has been reaped, if it has not been before.
    pub(super) fn reaped(&self, deadline: Instant) {
        while !self.ended.load(Ordering::Acquire) && self.next(Some(deadline)).is_some() {}
    }

    /// Queues the end of `child` as an event; returns its process, to end it before.
    pub(super) fn attend(&self, mut child: Child) -> Process {
        let process = Process(child.id());
        let (queue, ended) = (self.sender.clone(), Arc::clone(&self.ended));
        thread::spawn(move || {
            if let Ok(status) = child.wait() {
                ended.store(true, Ordering::Release);
                // The receiver is gone when nobody waits any more.
                let _ = queue.send(Event::Ended(status));
            }
        });
        process
    }

    /// Waits for `child`, the leader of its process group, and ends the group at a signal or the deadline.
    pub(super) fn wait_child(&self, child: Child, deadline: Option<Instant>) -> Result<End> {
        let process = self.attend(child);
        let end = loop {
            match self.next(deadline) {
                Some(Event::Ended(status)) => return Ok(End::Status(exit_code(status))),
                Some(Event::Signal(number)) => break End::Signal(number),
                Some(_) => {}
                None => break End::TimedOut,
            }
        };
        process.end();
        self.next(None).context("the process did not end")?;
        Ok(end)
    }
}

/// A running child that leads its process group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Process(u32);

impl Process {
    /// Kills the process group.
    pub(super) fn end(self) {
        if let Some(pid) = i32::try_from(self.0).ok().and_then(Pid::from_raw) {
            // It may have ended by itself meanwhile.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// The status that a shell would report for a process that ended so.
pub(super) fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|number| 128 + number));
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(u8::MAX)
}

/// The status of a process that was ended by signal `number`.
pub(super) fn signal_code(number: i32) -> u8 {
    u8::try_from(128 + number).unwrap_or(u8::MAX)
}

//! The supervisor's one queue: what vCPUs, consoles and signals report to the thread that owns the
//! machine.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};

use devices::lock;
use rustix::event::{EventfdFlags, eventfd};
use serde::{Deserialize, Serialize};

use crate::kvm::Failure;

/// How the guest reset itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetCause {
    /// The ACPI reset register.
    Acpi,
    /// The keyboard controller's reset line.
    Keyboard,
    /// A triple fault.
    TripleFault,
}

impl fmt::Display for ResetCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Acpi => "ACPI reset register",
            Self::Keyboard => "keyboard controller",
            Self::TripleFault => "triple fault",
        })
    }
}

/// Something that concerns the whole machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineEvent {
    /// The guest powered itself off.
    Shutdown,
    /// The guest reset itself.
    Reset(ResetCause),
    /// A vCPU cannot go on.
    Failed {
        /// What KVM says.
        failure: Failure,
        /// Where the guest was.
        instruction_pointer: Option<u64>,
    },
    /// A console printed one of the lines that are watched for, or a device told the same.
    Landmark(Landmark),
    /// The guest's kernel panicked and starts another, which takes the time that it needs.
    CrashKernel,
    /// A client of the control socket asks for something.
    Ordered,
}

/// A line of the console that tells how far the guest has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Landmark {
    /// The kernel's first line.
    Kernel,
    /// The kernel started the first user process.
    Init,
    /// The service manager runs.
    Userspace,
    /// A console offers a login.
    Login,
    /// The kernel panicked.
    Panic,
}

impl Landmark {
    /// It in one word, as `--json` gives it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Init => "init",
            Self::Userspace => "userspace",
            Self::Login => "login",
            Self::Panic => "panic",
        }
    }
}

#[derive(Debug)]
struct Queue {
    events: Mutex<VecDeque<MachineEvent>>,
    wake: OwnedFd,
}

/// The sending end: cheap to clone, never blocks.
#[derive(Debug, Clone)]
pub struct EventSender(Arc<Queue>);

impl EventSender {
    /// Queues `event` and wakes the supervisor.
    pub fn send(&self, event: MachineEvent) {
        lock(&self.0.events).push_back(event);
        // The counter can only refuse when it is full, and then the supervisor is awake already.
        let _ = rustix::io::write(&self.0.wake, &1_u64.to_ne_bytes());
    }
}

/// The receiving end, the supervisor's.
#[derive(Debug)]
pub struct EventReceiver(Arc<Queue>);

impl EventReceiver {
    /// The next event, if there is one.
    #[must_use]
    pub fn take(&self) -> Option<MachineEvent> {
        let mut events = lock(&self.0.events);
        let event = events.pop_front();
        if events.is_empty() {
            let _ = rustix::io::read(&self.0.wake, &mut [0; 8]);
        }
        event
    }
}

impl AsFd for EventReceiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.wake.as_fd()
    }
}

/// A new queue.
///
/// # Errors
/// No descriptor is left.
pub fn queue() -> io::Result<(EventSender, EventReceiver)> {
    let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let queue = Arc::new(Queue {
        events: Mutex::default(),
        wake,
    });
    Ok((EventSender(Arc::clone(&queue)), EventReceiver(queue)))
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn ready(receiver: &EventReceiver) -> bool {
        let zero = Timespec::default();
        poll(&mut [PollFd::new(receiver, PollFlags::IN)], Some(&zero)).unwrap() == 1
    }

    #[test]
    fn the_receiver_is_readable_while_events_wait() {
        let (sender, receiver) = queue().unwrap();
        assert!(!ready(&receiver));
        sender.send(MachineEvent::Shutdown);
        sender.send(MachineEvent::Reset(ResetCause::Acpi));
        assert!(ready(&receiver));
        assert_eq!(receiver.take(), Some(MachineEvent::Shutdown));
        assert!(ready(&receiver));
        assert_eq!(receiver.take(), Some(MachineEvent::Reset(ResetCause::Acpi)));
        assert!(!ready(&receiver));
        assert_eq!(receiver.take(), None);
    }
}

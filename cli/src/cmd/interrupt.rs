//! What a signal does to a verb that runs several commands: the first ends those that run and lets nothing begin, the next ends
//! the VMs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::sys::signal::{SigSet, Signal};
use rustix::process::{self, Pid};

use crate::diagnostic::Diagnostic;

const ENDING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// The signal that came, and who is to be told.
#[derive(Debug, Default)]
struct State {
    signal: Option<u8>,
    running: Vec<Pid>,
}

/// The signals of this program, taken over.
#[derive(Debug, Clone)]
pub(super) struct Interrupt(Arc<Mutex<State>>);

impl Interrupt {
    /// Takes them over, for this thread and those that it starts.
    pub(super) fn take_over() -> Result<Self, Diagnostic> {
        let all = SigSet::from_iter(ENDING);
        all.thread_block().map_err(|error| {
            Diagnostic::failure("signals", "cannot take signals over").because(&error)
        })?;
        let this = Self(Arc::default());
        let hears = this.clone();
        // It ends with the program.
        thread::spawn(move || {
            while let Ok(signal) = all.wait() {
                hears.hear(signal);
            }
        });
        Ok(this)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, signal: Signal) {
        let mut state = self.state();
        let first = state.signal.is_none();
        state.signal.get_or_insert(signal as u8);
        let how = if first {
            process::Signal::TERM
        } else {
            process::Signal::KILL
        };
        for pid in &state.running {
            let _ = process::kill_process(*pid, how);
        }
    }

    /// The number of the signal that came first.
    pub(super) fn signal(&self) -> Option<u8> {
        self.state().signal
    }

    /// Has the process told of signals. It is not waited for before [`Interrupt::forget`], so that its number is its own.
    pub(super) fn tell(&self, pid: Pid) {
        let mut state = self.state();
        state.running.push(pid);
        if state.signal.is_some() {
            let _ = process::kill_process(pid, process::Signal::TERM);
        }
    }

    /// Has the process, which has ended, told no more.
    pub(super) fn forget(&self, pid: Pid) {
        self.state().running.retain(|it| *it != pid);
    }
}

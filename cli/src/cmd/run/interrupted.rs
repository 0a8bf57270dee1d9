//! Who starts a daemon and is ended before its guest is ready takes the VM along.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::process::Process;

/// The signals that end a program whose user is done with it.
const ENDING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
/// How long the VM may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// The ending signals of this process, blocked. A child that is started from here on has them as ever.
#[derive(Debug)]
pub(super) struct Held(SignalFd);

impl Held {
    /// Blocks them.
    pub(super) fn hold() -> io::Result<Self> {
        let ending = SigSet::from_iter(ENDING);
        ending.thread_block()?;
        Ok(Self(SignalFd::with_flags(&ending, SfdFlags::SFD_CLOEXEC)?))
    }

    /// From now on the first of them ends the VM of process `pid`.
    pub(super) fn end(self, pid: u32) -> Interrupted {
        let interrupted = Interrupted(Arc::default());
        let signal = Arc::clone(&interrupted.0);
        thread::spawn(move || {
            if let Ok(Some(info)) = self.0.read_signal() {
                signal.store(u8::try_from(info.ssi_signo).unwrap_or(0), Ordering::SeqCst);
                finish(pid);
            }
        });
        interrupted
    }
}

/// Ends process `pid`.
fn finish(pid: u32) {
    use rustix::process::Signal;
    if let Ok(Some(process)) = Process::open(pid) {
        let _ = process.signal(Signal::TERM);
        if !process.wait(PATIENCE) {
            let _ = process.signal(Signal::KILL);
        }
    }
}

/// Whether a signal came.
#[derive(Debug)]
pub(super) struct Interrupted(Arc<AtomicU8>);

impl Interrupted {
    /// The signal, once one has come.
    pub(super) fn by(&self) -> Option<u8> {
        match self.0.load(Ordering::SeqCst) {
            0 => None,
            signal => Some(signal),
        }
    }
}

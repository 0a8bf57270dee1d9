//! What the processor can do, asked for while something else is done.
//!
//! KVM executes CPUID some sixty times for its answer, each of which a host that is virtual itself
//! traps: half a millisecond, as long as a command line takes to read.

use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES};
use nix::sys::signal::SigSet;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

use super::KvmError;
use super::vm::open;

/// The question to KVM what the processor can do. By default it is asked when the answer is
/// wanted.
#[derive(Debug, Default)]
pub struct CpuidQuery(Option<JoinHandle<Result<CpuId, KvmError>>>);

impl CpuidQuery {
    /// Has a thread ask now.
    #[must_use]
    pub fn begin() -> Self {
        let caller = sched_getcpu();
        let begun = Arc::new(OnceLock::new());
        let away = Arc::clone(&begun);
        let thread = thread::Builder::new().name("cpuid".into()).spawn(move || {
            // A signal that ends the run is for who takes it over.
            let _ = SigSet::all().thread_block();
            leave(caller);
            away.get_or_init(|| ());
            ask()
        });
        // A new thread waits behind its maker, for milliseconds if that goes on.
        if thread.is_ok() {
            begun.wait();
        }
        // Without a thread, whoever wants the answer asks.
        Self(thread.ok())
    }

    /// Waits for the answer; the thread is gone then.
    ///
    /// # Errors
    /// See [`KvmError`].
    pub fn answer(self) -> Result<CpuId, KvmError> {
        match self.0.map(JoinHandle::join) {
            Some(Ok(answer)) => answer,
            Some(Err(_)) | None => ask(),
        }
    }
}

fn ask() -> Result<CpuId, KvmError> {
    open()?
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(KvmError::call("KVM_GET_SUPPORTED_CPUID"))
}

/// Moves the calling thread off processor `caller`, where the scheduler tends to leave it, if there
/// is another one.
fn leave(caller: usize) {
    if let Ok(mut allowed) = sched_getaffinity(None) {
        allowed.unset(caller);
        if allowed != CpuSet::new() {
            // It is as good where it is, only later.
            let _ = sched_setaffinity(None, &allowed);
        }
    }
}

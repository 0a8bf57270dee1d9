//! What every machine begins with and nothing in its spec decides: an empty machine, and KVM's
//! word on the processor.
//!
//! Both take long (0.2 ms and, on a host that traps CPUID, 0.4 to 0.6 ms), so a thread of its own
//! may get them while the caller still reads what machine is wanted.

use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES};
use kvm_ioctls::{Cap, Kvm, VmFd};
use nix::sys::signal::SigSet;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

use super::KvmError;

/// A machine with nothing in it.
pub(super) struct Blank {
    pub(super) kvm: Kvm,
    pub(super) fd: VmFd,
    /// What the processor can do.
    pub(super) cpuid: CpuId,
}

impl Blank {
    fn open() -> Result<Self, KvmError> {
        let kvm = open()?;
        let fd = kvm.create_vm().map_err(KvmError::call("KVM_CREATE_VM"))?;
        let cpuid = kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(KvmError::call("KVM_GET_SUPPORTED_CPUID"))?;
        Ok(Self { kvm, fd, cpuid })
    }
}

/// A machine on its way, for [`super::Vm::new`].
#[derive(Debug, Default)]
pub struct Opening(Option<JoinHandle<Result<Blank, KvmError>>>);

impl Opening {
    /// Has a thread begin now. An `Opening` by default begins when it is waited for.
    #[must_use]
    pub fn begin() -> Self {
        let caller = sched_getcpu();
        let begun = Arc::new(OnceLock::new());
        let away = Arc::clone(&begun);
        let thread = thread::Builder::new().name("open".into()).spawn(move || {
            // A signal that ends the run is for who takes it over.
            let _ = SigSet::all().thread_block();
            leave(caller);
            away.get_or_init(|| ());
            Blank::open()
        });
        // A new thread waits behind its maker, for milliseconds if that goes on.
        if thread.is_ok() {
            begun.wait();
        }
        // Without a thread, whoever waits for the machine gets it himself.
        Self(thread.ok())
    }

    /// Waits for the machine; the thread is gone then.
    pub(super) fn wait(self) -> Result<Blank, KvmError> {
        match self.0.map(JoinHandle::join) {
            Some(Ok(opened)) => opened,
            Some(Err(_)) | None => Blank::open(),
        }
    }
}

impl std::fmt::Debug for Blank {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blank").finish_non_exhaustive()
    }
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

/// Opens `/dev/kvm` and checks what every machine needs.
fn open() -> Result<Kvm, KvmError> {
    let file = File::options().read(true).write(true).open("/dev/kvm");
    let file = file.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => KvmError::Forbidden(error),
        _ => KvmError::Missing(error),
    })?;
    // SAFETY: the descriptor is open, ours, and given away by `into_raw_fd`.
    let kvm = unsafe { Kvm::from_raw_fd(file.into_raw_fd()) };
    if kvm.get_api_version() != 12 {
        return Err(KvmError::Lacks("API version 12"));
    }
    for (cap, name) in [
        (
            Cap::SplitIrqchip,
            "a split interrupt controller (KVM_CAP_SPLIT_IRQCHIP)",
        ),
        (Cap::Ioeventfd, "doorbells (KVM_CAP_IOEVENTFD)"),
        (
            Cap::SignalMsi,
            "message-signalled interrupts (KVM_CAP_SIGNAL_MSI)",
        ),
        (Cap::ImmediateExit, "KVM_CAP_IMMEDIATE_EXIT"),
    ] {
        if !kvm.check_extension(cap) {
            return Err(KvmError::Lacks(name));
        }
    }
    Ok(kvm)
}

//! What of KVM does not hang on the command line, done while that is read.
//!
//! Making a machine takes a quarter of a millisecond. For its list of what the processor can do
//! KVM executes CPUID some sixty times, each of which a host that is virtual itself traps: half a
//! millisecond, as long as a command line takes to read.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES};
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use nix::sys::signal::SigSet;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

use super::KvmError;
use super::vcpu::Vcpu;
use super::vm::{self, Vm};

/// How often [`EarlyKvm::begin`] lets its thread go first: once is enough where both share a
/// processor, and where they do not there is nothing to wait for.
const YIELDS: usize = 8;

/// An empty machine and what it was made on.
pub(super) type Empty = (Arc<Kvm>, Arc<VmFd>);

/// The work of the thread.
#[derive(Debug)]
struct Begun {
    machine: Receiver<Result<Empty, KvmError>>,
    cpuid: Receiver<Result<CpuId, KvmError>>,
    vcpu: Receiver<Result<VcpuFd, KvmError>>,
}

/// KVM, opened ahead of time. By default it is opened when it is wanted.
#[derive(Debug, Default)]
pub struct EarlyKvm(Option<Begun>);

impl EarlyKvm {
    /// Does `work`, and has a thread make an empty machine, ask for its CPUID and make its first vCPU
    /// meanwhile.
    ///
    /// Both stay on processors of their own, if there is more than one: the scheduler leaves a new
    /// thread with its maker, and has who waits for a lock go on where the lock was given up.
    pub fn beside<T>(work: impl FnOnce() -> T) -> (Self, T) {
        let Ok(allowed) = sched_getaffinity(None) else {
            return (Self::begin(None), work());
        };
        let mut here = CpuSet::new();
        here.set(sched_getcpu());
        let mut elsewhere = allowed;
        elsewhere.unset(sched_getcpu());
        if elsewhere == CpuSet::new() {
            return (Self::begin(None), work());
        }
        // It is as good if these do not succeed, only later.
        let _ = sched_setaffinity(None, &here);
        let this = Self::begin(Some(elsewhere));
        let done = work();
        let _ = sched_setaffinity(None, &allowed);
        (this, done)
    }

    /// Starts the thread, on one of the processors `at`.
    fn begin(at: Option<CpuSet>) -> Self {
        let away = Arc::new(AtomicBool::new(false));
        let gone = Arc::clone(&away);
        let (made, machine) = mpsc::sync_channel(1);
        let (answered, cpuid) = mpsc::sync_channel(1);
        let (first, vcpu) = mpsc::sync_channel(1);
        let body = move || {
            // A signal that ends the run is for who takes it over.
            let _ = SigSet::all().thread_block();
            if let Some(at) = at {
                let _ = sched_setaffinity(None, &at);
            }
            gone.store(true, Ordering::Relaxed);
            let empty = make();
            let both = empty.as_ref().ok().cloned();
            // Whoever is not there any more wants no answer.
            let _ = made.send(empty);
            if let Some((kvm, fd)) = both {
                let _ = answered.send(supported(&kvm));
                let _ = first.send(vm::create_vcpu(&fd, 0));
            }
        };
        let Ok(thread) = thread::Builder::new().name("early-kvm".into()).spawn(body) else {
            return Self(None);
        };
        // It is not waited for: unmapping its stack would interrupt the other processors.
        mem::forget(thread);
        // As long as it is here it waits behind its maker.
        for _ in 0..YIELDS {
            if away.load(Ordering::Relaxed) {
                break;
            }
            thread::yield_now();
        }
        Self(Some(Begun {
            machine,
            cpuid,
            vcpu,
        }))
    }

    /// The empty machine; it can be had once.
    pub(super) fn machine(&self) -> Result<Empty, KvmError> {
        let begun = self.0.as_ref();
        // A thread that broke down leaves the work to whoever needs it.
        begun
            .and_then(|begun| begun.machine.recv().ok())
            .unwrap_or_else(make)
    }

    /// What the processor can do.
    ///
    /// # Errors
    /// See [`KvmError`].
    pub fn cpuid(&self) -> Result<CpuId, KvmError> {
        let begun = self.0.as_ref();
        begun
            .and_then(|begun| begun.cpuid.recv().ok())
            .unwrap_or_else(|| supported(&vm::open()?))
    }

    /// vCPU `id` of `vm`, which was made of the empty machine.
    ///
    /// # Errors
    /// See [`KvmError`].
    pub fn vcpu(&self, vm: &Vm, id: u8) -> Result<Vcpu, KvmError> {
        let begun = self.0.as_ref().filter(|_| id == 0);
        match begun.and_then(|begun| begun.vcpu.recv().ok()) {
            Some(fd) => Ok(Vcpu::new(id, fd?)),
            None => vm.create_vcpu(id),
        }
    }
}

fn make() -> Result<Empty, KvmError> {
    let kvm = vm::open()?;
    vm::check(&kvm)?;
    let fd = kvm.create_vm().map_err(KvmError::call("KVM_CREATE_VM"))?;
    vm::split_irqchip(&fd)?;
    Ok((Arc::new(kvm), Arc::new(fd)))
}

fn supported(kvm: &Kvm) -> Result<CpuId, KvmError> {
    kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(KvmError::call("KVM_GET_SUPPORTED_CPUID"))
}

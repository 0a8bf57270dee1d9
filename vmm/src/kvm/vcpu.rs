//! One virtual processor: its registers, its exits, and how another thread makes it stop.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};

use kvm_bindings::{CpuId, KVM_INTERNAL_ERROR_EMULATION, Msrs, kvm_msr_entry};
use kvm_ioctls::{VcpuExit, VcpuFd};

use super::KvmError;
use super::{cpuid, registers};
use crate::boot::EntryState;

/// Why a vCPU came back from the guest.
#[derive(Debug)]
pub enum Exit<'a> {
    /// Port output.
    Out(u16, &'a [u8]),
    /// Port input, to be filled in.
    In(u16, &'a mut [u8]),
    /// A read of an address that is no RAM, to be filled in.
    Read(u64, &'a mut [u8]),
    /// A write to an address that is no RAM.
    Write(u64, &'a [u8]),
    /// A level-triggered interrupt of this vector was ended.
    EndOfInterrupt(u8),
    /// A signal, or nothing to tell: look for work and go on.
    Interrupted,
    /// A triple fault.
    TripleFault,
    /// KVM reported an internal error: [`Vcpu::internal_error`] tells which.
    InternalError,
    /// KVM cannot go on with this guest.
    Failed(Failure),
}

/// Why KVM cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// KVM's emulator met an instruction that it lacks: the mark of a host without hardware
    /// virtualisation for kernels.
    Emulation,
    /// Another internal error, with KVM's sub-error.
    Internal(u32),
    /// The processor refused to enter the guest, with its reason.
    Entry(u64),
    /// `KVM_RUN` failed with this error number.
    Run(i32),
    /// An exit of a kind that this machine never asked for.
    Unexpected(u32),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Emulation => f.write_str("KVM cannot emulate an instruction of the guest"),
            Self::Internal(code) => write!(f, "KVM internal error {code}"),
            Self::Entry(reason) => write!(f, "the processor refused guest entry ({reason:#x})"),
            Self::Run(errno) => {
                write!(
                    f,
                    "KVM_RUN failed: {}",
                    io::Error::from_raw_os_error(*errno)
                )
            }
            Self::Unexpected(reason) => write!(f, "unexpected KVM exit {reason}"),
        }
    }
}

/// A virtual processor, owned by its thread.
pub struct Vcpu {
    id: u8,
    fd: VcpuFd,
}

impl fmt::Debug for Vcpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vcpu")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Vcpu {
    pub(super) fn new(id: u8, fd: VcpuFd) -> Self {
        Self { id, fd }
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open for as long as `self` lives.
        unsafe { BorrowedFd::borrow_raw(self.fd.as_raw_fd()) }
    }

    /// Tells the guest what its processor is: what KVM supports, with this vCPU's place in the
    /// topology of `count` processors.
    ///
    /// # Errors
    /// See [`KvmError`].
    pub fn set_cpuid(&self, supported: &CpuId, count: u8) -> Result<(), KvmError> {
        let mut cpuid = supported.clone();
        let tsc_khz = self.fd.get_tsc_khz().unwrap_or(0);
        cpuid::specialise(&mut cpuid, self.id, count, tsc_khz).map_err(|_| KvmError::Call {
            call: "KVM_SET_CPUID2",
            source: io::ErrorKind::OutOfMemory.into(),
        })?;
        self.fd
            .set_cpuid2(&cpuid)
            .map_err(KvmError::call("KVM_SET_CPUID2"))
    }

    /// Sets the model-specific registers that firmware would have set.
    ///
    /// # Errors
    /// See [`KvmError`].
    pub fn set_boot_msrs(&self) -> Result<(), KvmError> {
        /// Intel SDM vol. 4: `IA32_MISC_ENABLE`, fast string operations on.
        const MISC_ENABLE: (u32, u64) = (0x1a0, 1);
        /// Intel SDM vol. 3A §12.11.2.1: `IA32_MTRR_DEF_TYPE`, MTRRs on, default write-back.
        const MTRR_DEF_TYPE: (u32, u64) = (0x2ff, (1 << 11) | 6);
        let entries = [MISC_ENABLE, MTRR_DEF_TYPE].map(|(index, data)| kvm_msr_entry {
            index,
            data,
            ..Default::default()
        });
        let msrs = Msrs::from_entries(&entries).map_err(|_| KvmError::Lacks("room for MSRs"))?;
        // A processor that lacks one of them ignores it; the count that KVM took says no more.
        self.fd
            .set_msrs(&msrs)
            .map(|_| ())
            .map_err(KvmError::call("KVM_SET_MSRS"))
    }

    /// Sets the registers with which the boot vCPU begins.
    ///
    /// # Errors
    /// See [`KvmError`].
    pub fn set_entry(&self, entry: &EntryState) -> Result<(), KvmError> {
        let reset = self
            .fd
            .get_sregs()
            .map_err(KvmError::call("KVM_GET_SREGS"))?;
        let special = registers::special(entry, &reset);
        self.fd
            .set_sregs(&special)
            .map_err(KvmError::call("KVM_SET_SREGS"))?;
        self.fd
            .set_regs(&registers::general(entry))
            .map_err(KvmError::call("KVM_SET_REGS"))
    }

    /// The instruction pointer, for error reports.
    #[must_use]
    pub fn instruction_pointer(&self) -> Option<u64> {
        self.fd.get_regs().ok().map(|regs| regs.rip)
    }

    /// Lets [`Kicker::kick`] interrupt this vCPU, which this thread runs, by way of `thread`.
    pub fn accept_kicks(&mut self, thread: &Kickable) {
        let run = self.fd.get_kvm_run();
        IMMEDIATE_EXIT.set((&raw mut run.immediate_exit).cast());
        let id = rustix::thread::gettid().as_raw_nonzero().get();
        thread.0.store(id, Ordering::SeqCst);
    }

    /// Forgets a kick that was taken note of.
    pub fn clear_kick(&mut self) {
        self.fd.set_kvm_immediate_exit(0);
    }

    /// Has the guest's watchdogs forgive the time that it did not run (KVM api.rst 4.75); a guest
    /// without kvm-clock has none to tell.
    pub fn tell_of_pause(&self) {
        let _ = self.fd.kvmclock_ctrl();
    }

    /// Runs the guest until its next exit.
    pub fn run(&mut self) -> Exit<'_> {
        match self.fd.run() {
            Ok(VcpuExit::IoOut(port, data)) => Exit::Out(port, data),
            Ok(VcpuExit::IoIn(port, data)) => Exit::In(port, data),
            Ok(VcpuExit::MmioRead(address, data)) => Exit::Read(address, data),
            Ok(VcpuExit::MmioWrite(address, data)) => Exit::Write(address, data),
            Ok(VcpuExit::IoapicEoi(vector)) => Exit::EndOfInterrupt(vector),
            Ok(VcpuExit::Intr | VcpuExit::Hlt) => Exit::Interrupted,
            Ok(VcpuExit::Shutdown) => Exit::TripleFault,
            Ok(VcpuExit::FailEntry(reason, _)) => Exit::Failed(Failure::Entry(reason)),
            Ok(VcpuExit::InternalError) => Exit::InternalError,
            Ok(other) => Exit::Failed(Failure::Unexpected(number(&other))),
            Err(error) => match error.errno() {
                libc::EINTR | libc::EAGAIN => Exit::Interrupted,
                errno => Exit::Failed(Failure::Run(errno)),
            },
        }
    }

    /// After [`Exit::InternalError`]: what KVM says of it.
    #[must_use]
    pub fn internal_error(&mut self) -> Failure {
        let run = self.fd.get_kvm_run();
        // SAFETY: KVM filled the `internal` part of the union when it reported an internal error.
        let code = unsafe { run.__bindgen_anon_1.internal.suberror };
        if code == KVM_INTERNAL_ERROR_EMULATION {
            Failure::Emulation
        } else {
            Failure::Internal(code)
        }
    }
}

impl Drop for Vcpu {
    fn drop(&mut self) {
        IMMEDIATE_EXIT.set(ptr::null());
    }
}

fn number(exit: &VcpuExit<'_>) -> u32 {
    match exit {
        VcpuExit::Unsupported(number) => *number,
        VcpuExit::SystemEvent(..) => kvm_bindings::KVM_EXIT_SYSTEM_EVENT,
        _ => kvm_bindings::KVM_EXIT_UNKNOWN,
    }
}

thread_local! {
    /// `immediate_exit` in the run area of the vCPU that this thread runs, for the signal handler.
    static IMMEDIATE_EXIT: Cell<*const AtomicU8> = const { Cell::new(ptr::null()) };
}

/// A thread that runs a vCPU, once it does: its number, or 0.
#[derive(Debug, Default)]
pub struct Kickable(AtomicI32);

impl Kickable {
    /// The thread runs its vCPU no more.
    pub fn leave(&self) {
        self.0.store(0, Ordering::SeqCst);
    }
}

/// Interrupts vCPU threads.
#[derive(Debug)]
pub struct Kicker {
    signal: libc::c_int,
    process: libc::pid_t,
}

impl Kicker {
    /// Installs the signal handler (once for the process).
    ///
    /// # Errors
    /// The handler cannot be installed.
    pub fn install() -> io::Result<Self> {
        let signal = libc::SIGRTMIN();
        vmm_sys_util::signal::register_signal_handler(signal, on_kick).map_err(io::Error::from)?;
        let process = rustix::process::getpid().as_raw_pid();
        Ok(Self { signal, process })
    }

    /// Makes the vCPU of `thread` leave the guest, now or before it next enters; of a thread that does
    /// not run one yet, what it looks at before it does must keep it out.
    pub fn kick(&self, thread: &Kickable) {
        let thread = thread.0.load(Ordering::SeqCst);
        if thread != 0 {
            // By the process's number as well, which the sandbox sees to. `pthread_kill` of some C
            // libraries leaves that out.
            // SAFETY: takes numbers alone; whichever thread of ours it comes to, the signal has our
            // handler.
            unsafe { libc::syscall(libc::SYS_tgkill, self.process, thread, self.signal) };
        }
    }
}

extern "C" fn on_kick(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the thread's vCPU keeps the run area mapped while the pointer is set.
    if let Some(immediate_exit) = unsafe { IMMEDIATE_EXIT.get().as_ref() } {
        immediate_exit.store(1, Ordering::SeqCst);
    }
}

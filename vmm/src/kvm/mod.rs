//! KVM: the only module that talks to `/dev/kvm`.
//!
//! Order matters for start-up (measured): the split interrupt controller, then vCPUs and RAM, before
//! anything registers on KVM's I/O bus; doorbells only when a driver is ready. See
//! `docs/adr/0002-split-irqchip.md`.
#![allow(
    unsafe_code,
    reason = "memory regions and the vCPU's run area are raw pointers to KVM"
)]

mod coalesced;
mod cpuid;
mod early;
mod msi;
mod registers;
mod vcpu;
mod vm;

pub use coalesced::CoalescedRing;
pub use cpuid::address_bits;
pub use early::EarlyKvm;
pub use msi::PinMsi;
pub use vcpu::{Exit, Failure, Kickable, Kicker, Vcpu};
pub use vm::Vm;

use std::io;

/// Why KVM would not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum KvmError {
    /// There is no `/dev/kvm`.
    #[error("no KVM device at `/dev/kvm`")]
    Missing(#[source] io::Error),
    /// `/dev/kvm` may not be opened by this user.
    #[error("not permitted to open `/dev/kvm`")]
    Forbidden(#[source] io::Error),
    /// The kernel's KVM lacks something that every machine needs.
    #[error("this KVM lacks {0}")]
    Lacks(&'static str),
    /// A call failed.
    #[error("KVM call {call} failed")]
    Call {
        /// The ioctl, as in the KVM API document.
        call: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl KvmError {
    fn call(call: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> Self {
        move |error| Self::Call {
            call,
            source: error.into(),
        }
    }
}

impl From<KvmError> for io::Error {
    fn from(error: KvmError) -> Self {
        Self::other(error)
    }
}

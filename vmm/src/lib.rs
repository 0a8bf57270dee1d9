//! The hypervisor: plans a machine, builds it on KVM and runs it until the guest stops.

pub mod acpi;
pub mod boot;
mod builder;
pub mod config;
mod consoles;
pub mod control;
mod credentials;
mod error;
pub mod event;
mod generation;
pub mod instance;
pub mod kvm;
mod landmark;
pub mod layout;
mod machine;
mod memory;
mod platform;
pub mod probe;
pub mod sandbox;
pub mod smbios;
mod supervisor;
mod transports;
mod vcpu;

use std::time::Instant;

pub use devices::backend::net::user::ForwardControl;
pub use devices::virtio::vsock::is_cid_taken;
pub use error::Error;
pub use event::{Landmark, ResetCause};
pub use generation::{Generation, GenerationError};
pub use machine::Controls;
pub use supervisor::{ExitReason, Limits, Observer, Outcome};

use config::VmSpec;
use kvm::EarlyKvm;
use sandbox::Notice;
use supervisor::Signals;

/// Builds the machine of `spec` and runs it to its end, in the sandbox that `spec` asks for: the
/// process cannot leave it again. `kvm` may have begun before. Takes over the signals SIGINT,
/// SIGTERM, SIGQUIT and SIGHUP. `notice` is said when the sandbox ends the process.
///
/// # Errors
/// The machine cannot be built. How a machine ended that did run is in [`Outcome`].
pub fn run(
    spec: &VmSpec,
    kvm: &EarlyKvm,
    limits: Limits,
    notice: Notice,
    observer: &mut dyn Observer,
) -> Result<Outcome, Error> {
    let started = Instant::now();
    let signals = Signals::take_over().map_err(|source| Error::start("signals", source))?;
    let machine = builder::build(spec, kvm, notice, started)?;
    supervisor::supervise(machine, &signals, limits, observer)
}

//! Root's capabilities: what a server of shared folders needs is kept, the rest goes.

use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use crate::config::{DeviceSpec, NetBackendSpec, ShareProtocol, VmSpec};

/// Files of any owner, with owners, modes, device nodes and file capabilities of the guest's
/// choosing.
const SHARE: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::SETFCAP);

/// What a machine like `spec` needs after its set-up.
pub(super) fn needed(spec: &VmSpec) -> CapabilitySet {
    let of_device = |device: &DeviceSpec| match device {
        DeviceSpec::Fs(share) if share.protocol == ShareProtocol::VhostUser => {
            CapabilitySet::empty()
        }
        DeviceSpec::Fs(_) => SHARE,
        DeviceSpec::Net(net) => match net.backend {
            NetBackendSpec::User(_) | NetBackendSpec::Tap(_) | NetBackendSpec::VhostUser { .. } => {
                CapabilitySet::empty()
            }
        },
        DeviceSpec::Console(_)
        | DeviceSpec::Blk(_)
        | DeviceSpec::Vsock(_)
        | DeviceSpec::Balloon(_)
        | DeviceSpec::Rng => CapabilitySet::empty(),
    };
    let none = CapabilitySet::empty();
    spec.devices.iter().map(of_device).fold(none, |a, b| a | b)
}

/// Takes from the calling thread all capabilities but those of `kept`.
///
/// # Errors
/// What `capset(2)` says.
pub(super) fn keep(kept: CapabilitySet) -> io::Result<()> {
    let now = capabilities(None)?;
    let sets = CapabilitySets {
        effective: now.effective & kept,
        permitted: now.permitted & kept,
        inheritable: CapabilitySet::empty(),
    };
    if sets != now {
        set_capabilities(None, sets)?;
    }
    Ok(())
}

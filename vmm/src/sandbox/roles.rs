//! What each kind of thread may ask of the kernel, put together from the tables of calls.

use super::call::Call;
use super::tables::{
    CONNECTIONS_END, CONSOLE, CONTROL, DISK, EVENT_LOOP, EVERY_THREAD, FORWARDS, INTERRUPTS,
    LAUNCH, LOG, OUTSIDE, PEER, SHARE, START_THREADS, SUPERVISOR, TAP, USER_NETWORK, VCPU, VHOST,
    VHOST_NET, VHOST_VSOCK, VSOCK, WRITABLE_SHARE,
};
use crate::config::{DeviceSpec, NetBackendSpec, NetSpec, VhostChoice, VmSpec, VsockSpec};

/// What a thread is for; its name without the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// The supervisor.
    Main,
    /// Starts threads for others.
    Launch,
    /// Runs the guest.
    Vcpu,
    /// Consoles, the user network and devices that never block.
    Io,
    /// The log of a console.
    Log,
    /// A shared folder.
    Share,
    /// A disk.
    Disk,
    /// A network card on a TAP.
    Tap,
    /// A memory balloon.
    Balloon,
    /// A device whose queues another process works on.
    Peer,
    /// A socket device whose queues the kernel works on.
    Sockets,
    /// Answers clients of the control socket.
    Control,
}

impl Role {
    /// Every role.
    pub(super) const ALL: [Self; 12] = [
        Self::Main,
        Self::Launch,
        Self::Vcpu,
        Self::Io,
        Self::Log,
        Self::Share,
        Self::Disk,
        Self::Tap,
        Self::Balloon,
        Self::Peer,
        Self::Sockets,
        Self::Control,
    ];

    /// The name of threads with this role; a number follows where there are several.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Launch => "launch",
            Self::Vcpu => "vcpu",
            Self::Io => "io",
            Self::Log => "log",
            Self::Share => "fs",
            Self::Disk => "blk",
            Self::Tap => "net",
            Self::Balloon => "balloon",
            Self::Peer => "peer",
            Self::Sockets => "vsock",
            Self::Control => "control",
        }
    }

    /// The role of the thread called `name`.
    pub(super) fn of(name: &str) -> Option<Self> {
        match name.trim_end_matches(|c: char| c.is_ascii_digit()) {
            "9p" => Some(Self::Share),
            kind => Self::ALL.into_iter().find(|role| role.name() == kind),
        }
    }

    /// Whether its threads keep the capabilities that the process keeps.
    pub(super) fn is_privileged(self) -> bool {
        matches!(self, Self::Main | Self::Launch | Self::Share)
    }

    /// The calls that its threads may make in a machine like `spec`.
    pub(super) fn calls(self, spec: &VmSpec) -> Vec<Call> {
        let mut lists = vec![EVERY_THREAD];
        match self {
            Self::Main => {
                lists.push(SUPERVISOR);
                // It completes the images at the end.
                if spec.devices.iter().any(is_disk) {
                    lists.push(DISK);
                }
                // Without devices there is no thread that starts others; the control thread, if a
                // client comes, is the supervisor's to start.
                if spec.is_controlled() && !has_launcher(spec) {
                    let control = Self::Control.calls(spec);
                    lists.extend([LAUNCH, START_THREADS]);
                    return [lists.concat(), control].concat();
                }
            }
            Self::Launch => {
                let all = Self::ALL
                    .into_iter()
                    // Logs begin before it.
                    .filter(|role| !matches!(role, Self::Main | Self::Launch | Self::Log));
                let calls = all.flat_map(|role| role.calls(spec));
                let own = LAUNCH.iter().chain(START_THREADS).copied();
                return calls.chain(own).collect();
            }
            Self::Vcpu => {
                lists.extend([VCPU, INTERRUPTS]);
                lists.extend(spec.devices.iter().flat_map(at_reset));
            }
            Self::Io => {
                lists.extend([EVENT_LOOP, INTERRUPTS, CONSOLE]);
                lists.extend(spec.devices.iter().flat_map(on_shared_loop));
            }
            Self::Log => lists.extend(spec.console_logs.as_ref().map(|_| LOG)),
            Self::Share => {
                lists.extend([EVENT_LOOP, INTERRUPTS, SHARE]);
                if spec.devices.iter().any(is_writable_share) {
                    lists.push(WRITABLE_SHARE);
                }
            }
            Self::Disk => lists.extend([EVENT_LOOP, INTERRUPTS, DISK, START_THREADS]),
            Self::Tap => {
                lists.extend([EVENT_LOOP, INTERRUPTS, TAP]);
                if spec.devices.iter().any(may_have_vhost) {
                    lists.extend([VHOST, VHOST_NET]);
                }
            }
            Self::Peer => lists.extend([EVENT_LOOP, INTERRUPTS, PEER]),
            Self::Sockets => {
                lists.extend([EVENT_LOOP, INTERRUPTS]);
                if spec.devices.iter().any(is_vhost_vsock) {
                    lists.extend([VHOST, VHOST_VSOCK]);
                }
            }
            Self::Balloon => lists.extend([EVENT_LOOP, INTERRUPTS]),
            Self::Control if !spec.is_controlled() => {}
            Self::Control => {
                lists.extend([INTERRUPTS, CONTROL]);
                if spec.devices.iter().any(has_forwards) {
                    lists.push(FORWARDS);
                }
            }
        }
        lists.concat()
    }
}

/// Whether a machine like `spec` has a thread that starts others: its devices' loops are started
/// while the guest runs.
pub(super) fn has_launcher(spec: &VmSpec) -> bool {
    !spec.devices.is_empty()
}

/// What a device adds to the calls of the loop that it shares with others.
fn on_shared_loop(device: &DeviceSpec) -> &'static [&'static [Call]] {
    match device {
        DeviceSpec::Net(NetSpec {
            backend: NetBackendSpec::User(user),
            ..
        }) if user.restrict => &[USER_NETWORK],
        DeviceSpec::Net(NetSpec {
            backend: NetBackendSpec::User(_),
            ..
        }) => &[USER_NETWORK, OUTSIDE],
        DeviceSpec::Vsock(VsockSpec {
            socket: Some(_), ..
        }) => &[VSOCK],
        DeviceSpec::Net(NetSpec {
            backend: NetBackendSpec::Tap(_) | NetBackendSpec::VhostUser { .. },
            ..
        })
        | DeviceSpec::Vsock(VsockSpec { socket: None, .. })
        | DeviceSpec::Console(_)
        | DeviceSpec::Rng
        | DeviceSpec::Balloon(_)
        | DeviceSpec::Fs(_)
        | DeviceSpec::Blk(_) => &[],
    }
}

/// What the vCPU that resets a device has to do for it.
fn at_reset(device: &DeviceSpec) -> &'static [&'static [Call]] {
    match device {
        DeviceSpec::Net(NetSpec {
            backend: NetBackendSpec::User(_),
            ..
        })
        | DeviceSpec::Vsock(VsockSpec {
            socket: Some(_), ..
        }) => &[CONNECTIONS_END],
        DeviceSpec::Net(NetSpec {
            backend: NetBackendSpec::Tap(_) | NetBackendSpec::VhostUser { .. },
            ..
        })
        | DeviceSpec::Vsock(VsockSpec { socket: None, .. })
        | DeviceSpec::Console(_)
        | DeviceSpec::Rng
        | DeviceSpec::Balloon(_)
        | DeviceSpec::Fs(_)
        | DeviceSpec::Blk(_) => &[],
    }
}

fn is_vhost_vsock(device: &DeviceSpec) -> bool {
    matches!(device, DeviceSpec::Vsock(VsockSpec { socket: None, .. }))
}

fn may_have_vhost(device: &DeviceSpec) -> bool {
    matches!(device, DeviceSpec::Net(NetSpec { backend: NetBackendSpec::Tap(tap), .. })
        if tap.vhost != VhostChoice::Off)
}

fn has_forwards(device: &DeviceSpec) -> bool {
    matches!(
        device,
        DeviceSpec::Net(NetSpec {
            backend: NetBackendSpec::User(_),
            ..
        })
    )
}

fn is_disk(device: &DeviceSpec) -> bool {
    matches!(device, DeviceSpec::Blk(_))
}

fn is_writable_share(device: &DeviceSpec) -> bool {
    matches!(device, DeviceSpec::Fs(share) if !share.read_only)
}

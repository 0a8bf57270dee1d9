//! What a machine needs to run VMs, found out without changing anything.

mod host;
mod kvm;
mod sandbox;

use serde::Serialize;

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Good.
    Ok,
    /// Something works less well or not at all, but VMs run.
    Warn,
    /// VMs do not run.
    Fail,
}

impl State {
    /// The state in a word of at most four letters.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// A stable word for programs.
    pub(crate) name: &'static str,
    /// What it came to.
    pub(crate) state: State,
    /// What was found.
    pub(crate) message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
}

impl Check {
    pub(crate) fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Ok,
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn warn(
        name: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            name,
            state: State::Warn,
            message: message.into(),
            hint: Some(hint.into()),
        }
    }

    pub(crate) fn fail(
        name: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            state: State::Fail,
            ..Self::warn(name, message, hint)
        }
    }
}

/// Looks at everything.
pub(crate) fn checks() -> Vec<Check> {
    let mut checks = kvm::checks();
    checks.extend(host::checks());
    checks.push(sandbox::check(vmm::sandbox::support::now()));
    checks
}

/// The devices that a TAP network uses.
pub(crate) fn network_devices() -> [Check; 2] {
    host::network_devices()
}

/// What to do about a `/dev/kvm` that cannot be opened.
pub(crate) fn kvm_device_hint() -> Option<String> {
    kvm::device_now().hint
}

/// Why this machine's KVM cannot run stock kernels, if its processor tells; asks no more than what
/// a process in its sandbox may.
pub(crate) fn stock_kernel_fault() -> Option<Check> {
    Some(kvm::stock_kernels_by_processor()).filter(|check| check.state != State::Ok)
}

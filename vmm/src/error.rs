//! Why a machine could not be built or run.

use std::io;
use std::path::{Path, PathBuf};

use devices::backend::block::BlockError;
use devices::backend::net::NetError;
use devices::backend::vhost_user::VhostUserError;
use devices::virtio::vsock::VhostVsockError;

use crate::kvm::KvmError;
use crate::layout::LayoutError;
use crate::sandbox::SandboxError;

/// Why a machine could not be built or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine's size does not work.
    #[error("cannot lay out the machine")]
    Layout(#[from] LayoutError),
    /// Guest RAM could not be mapped.
    #[error("cannot map {bytes} bytes of guest memory")]
    Memory {
        /// The size of RAM.
        bytes: u64,
        /// What the system said.
        source: io::Error,
    },
    /// KVM would not do what it was asked.
    #[error("cannot create the virtual machine")]
    Kvm(#[from] KvmError),
    /// A device could not be made.
    #[error("cannot create {device}")]
    Device {
        /// Which one.
        device: String,
        /// What was wrong.
        source: Source,
    },
    /// The kernel could not be loaded.
    #[error("cannot load kernel `{}`", path.display())]
    Boot {
        /// The kernel's path.
        path: PathBuf,
        /// What was wrong.
        source: Source,
    },
    /// A thread or descriptor of the machine could not be had.
    #[error("cannot start {what}")]
    Start {
        /// What was to be started.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The process could not be confined.
    #[error("cannot enter the sandbox")]
    Sandbox(#[from] SandboxError),
    /// The supervisor cannot wait for events.
    #[error("cannot wait for the machine's events")]
    Supervisor(#[source] io::Error),
}

type Source = Box<dyn std::error::Error + Send + Sync>;

impl Error {
    /// A device could not be made.
    pub fn device(device: impl Into<String>, source: impl Into<Source>) -> Self {
        Self::Device {
            device: device.into(),
            source: source.into(),
        }
    }

    /// The kernel could not be loaded.
    pub fn boot(path: &Path, source: impl Into<Source>) -> Self {
        Self::Boot {
            path: path.to_owned(),
            source: source.into(),
        }
    }

    /// What the user can do about a device that cannot be made, where the device knows.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let Self::Device { source, .. } = self else {
            return None;
        };
        let disk = || Some(source.downcast_ref::<BlockError>()?.hint().to_owned());
        let net = || source.downcast_ref::<NetError>()?.hint();
        let peer = || Some(source.downcast_ref::<VhostUserError>()?.hint().to_owned());
        let sockets = || Some(source.downcast_ref::<VhostVsockError>()?.hint().to_owned());
        disk().or_else(net).or_else(peer).or_else(sockets)
    }

    /// Something of the machine could not be started.
    #[must_use]
    pub fn start(what: &'static str, source: io::Error) -> Self {
        Self::Start { what, source }
    }
}

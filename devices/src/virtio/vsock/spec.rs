//! A socket device as it is asked for.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The socket device of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VsockSpec {
    /// The guest's context identifier, from 3 on.
    pub cid: u32,
    /// The Unix socket that leads into the guest; without one the kernel's vhost-vsock connects the guest with
    /// the host's own sockets of this kind.
    pub socket: Option<PathBuf>,
}

impl VsockSpec {
    /// The least context identifier of a guest: those below have meanings of their own
    /// (VIRTIO 1.3 §5.10.4).
    pub const MIN_CID: u32 = 3;
    /// The greatest: the one above stands for any.
    pub const MAX_CID: u32 = u32::MAX - 1;
    /// The longest path that leaves room for a port behind it (`struct sockaddr_un` holds 108
    /// bytes).
    pub const MAX_PATH: usize = 107 - "_4294967295".len();
}

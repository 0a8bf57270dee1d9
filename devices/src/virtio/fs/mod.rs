//! virtio-fs (VIRTIO 1.3 §5.11): a shared directory, served by our own FUSE server in this process.
//!
//! The device moves requests between its queues and the server; the server translates FUSE into
//! calls of `Share`, where all that touches the host's files lives. Everything runs on
//! a thread of the device's own, because file systems block.
//!
//! Whoever may write to the share may, if we run as root, leave files there with any owner, mode
//! and attribute, set-user-id programs included: share with root's rights only what may hold them.

mod attr;
mod device;
mod dirs;
mod external;
mod init;
mod io;
mod locks;
mod names;
mod protocol;
mod request;
pub(in crate::virtio) mod requests;
mod server;
mod xattrs;

#[cfg(test)]
pub(in crate::virtio) mod tests;

use crate::backend::fs::ShareError;
pub use crate::backend::fs::{Cache, FsSpec};

pub use device::Fs;
pub use external::ExternalFs;

/// The longest tag in bytes (VIRTIO 1.3 §5.11.4).
pub(in crate::virtio) const TAG_MAX: usize = 36;

/// Why a directory cannot be shared.
#[derive(Debug, thiserror::Error)]
pub enum FsError {
    /// The tag is empty, too long, or holds a NUL.
    #[error("share tag {tag:?} is not 1 to 36 bytes without a NUL")]
    Tag {
        /// The tag.
        tag: String,
    },
    /// The directory cannot be opened.
    #[error("cannot share with tag {tag:?}")]
    Share {
        /// The tag.
        tag: String,
        /// Why.
        source: ShareError,
    },
    /// No timer for requests that wait.
    #[error("cannot create a timer for share {tag:?}")]
    Timer {
        /// The tag.
        tag: String,
        /// What the system said.
        source: std::io::Error,
    },
}

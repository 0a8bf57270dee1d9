//! virtio-9p: a shared directory over 9P2000.L, served in this process.
//!
//! The device moves messages between its queue and the server; the server translates 9P into calls
//! of `Share`, where all that touches the host's files lives. Everything runs on a thread of the
//! device's own, because file systems block.
//!
//! The protocol is that of Linux (`include/net/9p/9p.h`, `net/9p/client.c`), with 9P2000's own
//! messages as of Plan 9's manual, section 5. What the protocol leaves open is as QEMU has it.

mod attr;
mod device;
mod fid;
mod io;
mod lock;
mod names;
mod protocol;
mod request;
mod server;
mod state;
mod walk;
mod xattr;

#[cfg(test)]
pub(in crate::virtio) mod tests;

pub use crate::virtio::fs::FsError as P9Error;
pub use device::P9;

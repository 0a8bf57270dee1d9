//! The socket device with its packets in the hands of the kernel's vhost-vsock (Linux
//! uapi/linux/vhost.h): the guest's connections lead to the host's own sockets of this kind, and from
//! them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use vhost::VhostBackend;

use super::{DEVICE_ID, F_STREAM, QUEUE_SIZE, RECEIVE, TRANSMIT};
use crate::GuestRam;
use crate::sys::net as sys;
use crate::virtio::core::TRANSPORT_FEATURES;
use crate::virtio::device::{
    ActiveIo, ConfigSpace, ConstConfig, DeviceError, DeviceInfo, EventLoop, Token, VirtioDevice,
};
use crate::virtio::vhost::{Addresses, Kernel, Lent, error, regions};

/// Where vhost-vsock comes from.
const DEVICE: &str = "/dev/vhost-vsock";
/// Sockets that keep the bounds of messages (VIRTIO 1.3 §5.10.3).
const F_SEQPACKET: u64 = 1 << 1;
/// The queues that the kernel works on; that of events has nothing to tell.
const LENT: [u16; 2] = [RECEIVE, TRANSMIT];

/// Why the kernel's vhost-vsock cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum VhostVsockError {
    /// It cannot be opened.
    #[error("cannot use {DEVICE}")]
    Open(#[source] io::Error),
    /// Another guest has the context identifier, or it is none.
    #[error("cannot have context identifier {cid}")]
    Cid {
        /// The identifier.
        cid: u32,
        /// What the system said.
        source: io::Error,
    },
}

impl VhostVsockError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Open(source) => match source.kind() {
                io::ErrorKind::NotFound => {
                    "load it with `sudo modprobe vhost_vsock`, or use `socket=PATH`"
                }
                io::ErrorKind::PermissionDenied => {
                    "let this user open it: `sudo setfacl -m u:$USER:rw /dev/vhost-vsock`"
                }
                _ => "use `socket=PATH`, which needs nothing of the kernel",
            },
            Self::Cid { .. } => "give another `cid=`; each guest of a host has its own",
        }
    }
}

/// Whether another guest of the kernel's vhost-vsock has the context identifier `cid`; without vhost-vsock, none has.
#[must_use]
pub fn is_cid_taken(cid: u32) -> bool {
    match VhostVsock::open(cid) {
        Err(VhostVsockError::Cid { source, .. }) => source.kind() == io::ErrorKind::AddrInUse,
        _ => false,
    }
}

/// A socket device of the kernel's.
#[derive(Debug)]
pub struct VhostVsock {
    file: File,
    /// The features that the kernel's side knows.
    features: u64,
    cid: u64,
    lent: Vec<Lent>,
}

impl VhostVsock {
    /// Opens the kernel's side, for the guest `cid`.
    ///
    /// # Errors
    /// See [`VhostVsockError`].
    pub fn open(cid: u32) -> Result<Self, VhostVsockError> {
        let open = || {
            let file = OpenOptions::new().read(true).write(true).open(DEVICE)?;
            let mem = GuestRam::new();
            let kernel = Kernel {
                fd: file.as_fd(),
                mem: &mem,
            };
            kernel.set_owner().map_err(error)?;
            let features = kernel.get_features().map_err(error)?;
            Ok((file, features))
        };
        let (file, features) = open().map_err(VhostVsockError::Open)?;
        sys::set_vsock_cid(file.as_fd(), cid.into())
            .map_err(|source| VhostVsockError::Cid { cid, source })?;
        Ok(Self {
            file,
            features,
            cid: cid.into(),
            lent: Vec::new(),
        })
    }

    fn start(&mut self, io: &mut ActiveIo<'_>) -> io::Result<()> {
        let kernel = Kernel {
            fd: self.file.as_fd(),
            mem: io.mem,
        };
        let known = self.features & (TRANSPORT_FEATURES | F_SEQPACKET);
        kernel.set_features(io.features & known).map_err(error)?;
        kernel.set_mem_table(&regions(io.mem)).map_err(error)?;
        for (ring, queue) in LENT.into_iter().enumerate() {
            let place = (queue, ring);
            let token = Token(queue.into());
            let lent = Lent::give(&kernel, Addresses::Guest, io, place, token)?;
            self.lent.push(lent);
        }
        sys::set_vsock_running(self.file.as_fd(), true)?;
        for lent in &self.lent {
            lent.kick(io);
        }
        Ok(())
    }
}

impl VirtioDevice for VhostVsock {
    fn info(&self) -> DeviceInfo {
        DeviceInfo {
            id: DEVICE_ID,
            features: F_STREAM | self.features & F_SEQPACKET,
            queue_sizes: vec![QUEUE_SIZE; 3],
            runs_on: EventLoop::Own("vsock"),
        }
    }

    fn withheld(&self) -> u64 {
        TRANSPORT_FEATURES & !self.features
    }

    fn config(&self) -> Arc<dyn ConfigSpace> {
        Arc::new(ConstConfig(self.cid.to_le_bytes().to_vec()))
    }

    fn activate(&mut self, io: &mut ActiveIo<'_>) -> Result<(), DeviceError> {
        self.start(io).map_err(|source| DeviceError::Backend {
            context: "hand the queues to vhost-vsock".to_owned(),
            source,
        })
    }

    fn process_queue(&mut self, _: &mut ActiveIo<'_>, _: u16) -> Result<(), DeviceError> {
        Ok(())
    }

    fn process_event(&mut self, io: &mut ActiveIo<'_>, token: Token) -> Result<(), DeviceError> {
        let called = |lent: &&Lent| u32::from(lent.queue()) == token.0;
        if let Some(lent) = self.lent.iter().find(called) {
            lent.called(io);
        }
        Ok(())
    }

    fn quiesce(&mut self, io: &mut ActiveIo<'_>) {
        if let Err(error) = sys::set_vsock_running(self.file.as_fd(), false) {
            log::debug!("vhost-vsock does not stop: {error}");
        }
        let kernel = Kernel {
            fd: self.file.as_fd(),
            mem: io.mem,
        };
        kernel.take_back(&mut self.lent, io);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_with_a_way_out() {
        let missing = VhostVsockError::Open(io::ErrorKind::NotFound.into());
        assert_eq!(missing.to_string(), "cannot use /dev/vhost-vsock");
        assert!(missing.hint().contains("modprobe vhost_vsock"));
        let taken = VhostVsockError::Cid {
            cid: 3,
            source: io::ErrorKind::AddrInUse.into(),
        };
        assert!(taken.to_string().ends_with("identifier 3"));
        assert!(taken.hint().contains("cid="));
    }
}

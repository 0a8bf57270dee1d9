//! The kernel's vhost-net, which moves packets between the rings and a TAP by itself (Linux
//! uapi/linux/vhost.h).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use vhost::VhostBackend;

use crate::GuestRam;
use crate::sys::net as sys;
use crate::virtio::core::TRANSPORT_FEATURES;
use crate::virtio::device::{ActiveIo, Token};
use crate::virtio::vhost::{Addresses, Kernel, Lent, error, regions};

use super::{F_MRG_RXBUF, TakesOver};

/// Where vhost-net comes from.
pub(super) const DEVICE: &str = "/dev/vhost-net";

/// The tokens of the two rings' calls.
const CALLS: [Token; 2] = [Token(2), Token(3)];

/// vhost-net for one pair of queues.
#[derive(Debug)]
pub struct VhostNet {
    file: File,
    tap: OwnedFd,
    /// The features that the kernel's side knows.
    features: u64,
    lent: Vec<Lent>,
}

impl VhostNet {
    /// Opens the kernel's side of the TAP `tap`.
    pub(super) fn open(tap: OwnedFd) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(DEVICE)?;
        let mem = GuestRam::new();
        let kernel = Kernel {
            fd: file.as_fd(),
            mem: &mem,
        };
        kernel.set_owner().map_err(error)?;
        let features = kernel.get_features().map_err(error)?;
        if features & F_MRG_RXBUF == 0 {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self {
            file,
            tap,
            features,
            lent: Vec::new(),
        })
    }
}

impl TakesOver for VhostNet {
    fn start(
        &mut self,
        io: &mut ActiveIo<'_>,
        first: u16,
        number: &dyn Fn(Token) -> Token,
    ) -> io::Result<()> {
        let kernel = Kernel {
            fd: self.file.as_fd(),
            mem: io.mem,
        };
        let known = self.features & (TRANSPORT_FEATURES | F_MRG_RXBUF);
        kernel.set_features(io.features & known).map_err(error)?;
        kernel.set_mem_table(&regions(io.mem)).map_err(error)?;
        for (ring, token) in CALLS.into_iter().enumerate() {
            let queue = first + u16::from(ring == 1);
            let token = number(token);
            let lent = Lent::give(&kernel, Addresses::Guest, io, (queue, ring), token)?;
            self.lent.push(lent);
        }
        for (ring, lent) in (0..).zip(&self.lent) {
            sys::set_vhost_backend(self.file.as_fd(), ring, Some(self.tap.as_fd()))?;
            lent.kick(io);
        }
        Ok(())
    }

    fn stop(&mut self, io: &mut ActiveIo<'_>) {
        for (ring, _) in (0..).zip(&self.lent) {
            if let Err(error) = sys::set_vhost_backend(self.file.as_fd(), ring, None) {
                log::debug!("vhost-net does not stop: {error}");
            }
        }
        let kernel = Kernel {
            fd: self.file.as_fd(),
            mem: io.mem,
        };
        kernel.take_back(&mut self.lent, io);
    }

    fn event(&mut self, token: Token, io: &mut ActiveIo<'_>) -> bool {
        let ring = CALLS.iter().position(|&call| call == token);
        let lent = ring.and_then(|ring| self.lent.get(ring));
        if let Some(lent) = lent {
            lent.called(io);
        }
        ring.is_some()
    }
}

//! A network card's packets in the hands of another process, such as passt, by vhost-user.

use std::io;
use std::path::Path;

use super::{
    F_CSUM, F_GUEST_CSUM, F_GUEST_ECN, F_GUEST_TSO4, F_GUEST_TSO6, F_GUEST_USO4, F_GUEST_USO6,
    F_HOST_ECN, F_HOST_TSO4, F_HOST_TSO6, F_HOST_USO, F_MRG_RXBUF, F_MTU, NetBackend, Packet,
    PacketHeader, TakesOver,
};
use crate::backend::vhost_user::{VhostUser, VhostUserError};
use crate::virtio::device::{ActiveIo, Registry, Token};
use crate::virtio::queue::Reader;

/// The packets of one pair of queues.
const RINGS: u16 = 2;

/// The offloads that the back end and the driver may agree on.
const OFFLOADS: u64 = F_CSUM
    | F_GUEST_CSUM
    | F_GUEST_TSO4
    | F_GUEST_TSO6
    | F_GUEST_ECN
    | F_GUEST_USO4
    | F_GUEST_USO6
    | F_HOST_TSO4
    | F_HOST_TSO6
    | F_HOST_ECN
    | F_HOST_USO;

/// The process at the other end of the cable.
#[derive(Debug)]
pub struct NetPeer {
    peer: VhostUser,
    mtu: u16,
}

impl NetPeer {
    /// Connects to the back end at `socket`.
    ///
    /// # Errors
    /// See [`VhostUserError`].
    pub fn connect(socket: &Path, mtu: Option<u16>) -> Result<Self, VhostUserError> {
        Ok(Self {
            peer: VhostUser::connect(socket, RINGS)?,
            mtu: mtu.unwrap_or(1500),
        })
    }
}

impl TakesOver for NetPeer {
    fn start(
        &mut self,
        io: &mut ActiveIo<'_>,
        _first: u16,
        number: &dyn Fn(Token) -> Token,
    ) -> io::Result<()> {
        self.peer.start(io, number)
    }

    fn stop(&mut self, io: &mut ActiveIo<'_>) {
        self.peer.stop(io);
    }

    fn event(&mut self, token: Token, io: &mut ActiveIo<'_>) -> bool {
        self.peer.event(token, io);
        true
    }
}

impl NetBackend for NetPeer {
    fn features(&self) -> u64 {
        self.peer.features() & OFFLOADS | F_MTU
    }

    fn withheld(&self) -> u64 {
        self.peer.withheld() | F_MRG_RXBUF & !self.peer.features()
    }

    fn mtu(&self) -> u16 {
        self.mtu
    }

    fn link_is_up(&self) -> bool {
        self.peer.is_connected()
    }

    fn takes_over(&mut self) -> Option<&mut dyn TakesOver> {
        Some(self)
    }

    // Packets do not come this way.

    fn start(&mut self, _: u64, _: &mut dyn Registry) -> io::Result<()> {
        Ok(())
    }

    fn stop(&mut self, _: &mut dyn Registry) {}

    fn reset(&mut self) {}

    fn send(&mut self, _: PacketHeader, _: &mut Reader<'_>, _: &mut dyn Registry) {}

    fn flush(&mut self, _: &mut dyn Registry) {}

    fn event(&mut self, _: Token, _: &mut dyn Registry) {}

    fn receive(&mut self, _: &mut dyn Registry) -> Option<Packet<'_>> {
        None
    }

    fn received(&mut self) {}
}

#[cfg(test)]
mod tests;

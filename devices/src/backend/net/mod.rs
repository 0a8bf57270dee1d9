//! What a network card is plugged into: the seam between the card and its back ends.
//!
//! A back end runs on the card's event loop and never blocks. Packets go to it as they come; it is
//! asked for packets only when the guest has room for them, so what waits for the guest waits where
//! it can be held back (in the host's sockets).

mod offload;
mod spec;
pub mod tap;
pub mod user;
pub mod vhost;
pub mod vhost_user;

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;

pub use self::offload::*;
pub use self::spec::{
    Forward, ForwardError, NetBackendSpec, NetSpec, Protocol, TapSource, TapSpec, UserSpec,
    VhostChoice,
};
use crate::backend::port_owner::PortOwner;
use crate::backend::vhost_user::VhostUserError;
use crate::virtio::device::{ActiveIo, Registry, Token};
use crate::virtio::queue::Reader;

/// An Ethernet header's length.
pub const ETHERNET_LEN: usize = 14;
/// The longest frame: what a driver that takes segmentation offloads has room for, beside the packet's
/// header (VIRTIO 1.3 §5.1.6.3.1).
pub const FRAME_MAX: usize = 65550;

/// A packet for the guest: an Ethernet frame without its check sequence.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// What the driver is told about it.
    pub header: PacketHeader,
    /// The frame, or its first bytes: all headers at least.
    pub frame: &'a [u8],
    /// What follows.
    pub body: [&'a [u8]; 2],
}

impl Packet<'_> {
    /// The frame's length.
    #[must_use]
    pub fn size(&self) -> usize {
        self.frame.len() + self.body.iter().map(|part| part.len()).sum::<usize>()
    }
}

/// What a pair of a network card's queues is plugged into.
///
/// Between [`NetBackend::start`] and [`NetBackend::stop`] its descriptors are in the registry;
/// outside, nothing of it runs.
pub trait NetBackend: Send + Debug {
    /// The features that the back end can honour, of those of this module.
    fn features(&self) -> u64;

    /// The link's largest packet.
    fn mtu(&self) -> u16;

    /// The driver is ready and negotiated `features`.
    ///
    /// # Errors
    /// A descriptor cannot be watched.
    fn start(&mut self, features: u64, events: &mut dyn Registry) -> io::Result<()>;

    /// The driver takes these offloads of [`GUEST_OFFLOADS`] from now on. Called only after
    /// [`NetBackend::start`], and only of a back end with [`F_CTRL_GUEST_OFFLOADS`].
    ///
    /// # Errors
    /// The offloads stay what they were.
    fn set_offloads(&mut self, offloads: u64) -> io::Result<()> {
        let _ = offloads;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Whether the link is up; looked at after each [`NetBackend::event`].
    fn link_is_up(&self) -> bool {
        true
    }

    /// The card stops for now: removes every descriptor from the registry. What is in flight stays.
    fn stop(&mut self, events: &mut dyn Registry);

    /// The driver reset the card: nobody will go on with what was in flight.
    fn reset(&mut self);

    /// Takes one frame from the guest. Frames that are no good vanish, as on a wire.
    fn send(&mut self, header: PacketHeader, frame: &mut Reader<'_>, events: &mut dyn Registry);

    /// A burst of [`NetBackend::send`] is over.
    fn flush(&mut self, events: &mut dyn Registry);

    /// A descriptor registered as `token` is ready. Spurious calls happen.
    fn event(&mut self, token: Token, events: &mut dyn Registry);

    /// The next packet for the guest, if there is one; the same one until
    /// [`NetBackend::received`]. Called only when the guest has room.
    fn receive(&mut self, events: &mut dyn Registry) -> Option<Packet<'_>>;

    /// The guest has the packet.
    fn received(&mut self);

    /// What works on the pair's queues in our place, if something does.
    fn takes_over(&mut self) -> Option<&mut dyn TakesOver> {
        None
    }

    /// The features of the card and the framework that whoever works on the queues lacks.
    fn withheld(&self) -> u64 {
        0
    }

    /// The guest has no room until [`NetBackend::receive`] is called again: a back end that is woken
    /// for as long as packets wait stops to be.
    fn hold(&mut self, events: &mut dyn Registry) {
        let _ = events;
    }
}

/// Somebody who works on a pair of queues by himself: the kernel or another process.
pub trait TakesOver {
    /// Takes the pair of queues that begins with `first`, after [`NetBackend::start`]; `number` makes
    /// the loop's tokens of the back end's.
    ///
    /// # Errors
    /// He is gone, or refuses.
    fn start(
        &mut self,
        io: &mut ActiveIo<'_>,
        first: u16,
        number: &dyn Fn(Token) -> Token,
    ) -> io::Result<()>;

    /// Gives the queues back, before [`NetBackend::stop`].
    fn stop(&mut self, io: &mut ActiveIo<'_>);

    /// A descriptor registered as `token` is ready; `false` if it is none of his.
    fn event(&mut self, token: Token, io: &mut ActiveIo<'_>) -> bool;
}

/// Why a network card cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// A forward's host port is in use.
    #[error("host port {} ({}) is taken{}", .forward.host.port(), .forward.protocol, by(.owner.as_ref()))]
    PortTaken {
        /// The forward that wants it.
        forward: Forward,
        /// Who has it, if that can be known.
        owner: Option<PortOwner>,
        /// What the system said.
        source: io::Error,
    },
    /// A forward's host port cannot be opened.
    #[error("cannot listen on {address} for forward {forward}")]
    Listen {
        /// The forward that wants it.
        forward: Forward,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// There is no forward from a host port.
    #[error("no forward from {protocol} port {host}")]
    NoForward {
        /// The protocol.
        protocol: Protocol,
        /// The host's address and port.
        host: SocketAddr,
    },
    /// There are as many forwards as there can be.
    #[error("no room for forward {0}")]
    TooManyForwards(Forward),
    /// The MTU is out of bounds.
    #[error("mtu {0} is not between 576 and 65535")]
    Mtu(u16),
    /// The host name is none.
    #[error("`{0}` is no host name")]
    Hostname(String),
    /// A TAP cannot be used.
    #[error(transparent)]
    Tap(#[from] tap::TapError),
    /// Another process does not take the card's packets.
    #[error(transparent)]
    VhostUser(#[from] VhostUserError),
    /// A descriptor of the back end's own cannot be made.
    #[error("cannot open the network's {what}")]
    Open {
        /// What it is.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl NetError {
    /// What the user can do about it, where that is not plain.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Tap(error) => Some(error.hint()),
            Self::VhostUser(error) => Some(error.hint().to_owned()),
            _ => None,
        }
    }
}

fn by(owner: Option<&PortOwner>) -> String {
    owner.map_or_else(String::new, |owner| format!(" by {owner}"))
}

//! What a network card is plugged into: the seam between the card and its back ends.
//!
//! A back end runs on the card's event loop and never blocks. Packets go to it as they come; it is
//! asked for packets only when the guest has room for them, so what waits for the guest waits where
//! it can be held back (in the host's sockets).

mod spec;
pub mod user;

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;

use virtio_bindings::virtio_net as uapi;

pub use self::spec::{Forward, ForwardError, NetBackendSpec, NetSpec, Protocol, UserSpec};
use crate::backend::port_owner::PortOwner;
use crate::virtio::device::{Registry, Token};
use crate::virtio::queue::Reader;

/// The driver hands over packets with partial checksums (VIRTIO 1.3 §5.1.3).
pub const F_CSUM: u64 = 1 << uapi::VIRTIO_NET_F_CSUM;
/// The driver takes packets with partial checksums (VIRTIO 1.3 §5.1.3).
pub const F_GUEST_CSUM: u64 = 1 << uapi::VIRTIO_NET_F_GUEST_CSUM;
/// The driver takes TCP packets over IPv4 larger than the MTU (VIRTIO 1.3 §5.1.3).
pub const F_GUEST_TSO4: u64 = 1 << uapi::VIRTIO_NET_F_GUEST_TSO4;
/// The driver hands over TCP packets over IPv4 larger than the MTU (VIRTIO 1.3 §5.1.3).
pub const F_HOST_TSO4: u64 = 1 << uapi::VIRTIO_NET_F_HOST_TSO4;
/// The device says its MTU (VIRTIO 1.3 §5.1.3).
pub const F_MTU: u64 = 1 << uapi::VIRTIO_NET_F_MTU;

/// The checksum at `csum_start + csum_offset` is partial (VIRTIO 1.3 §5.1.6).
pub const HDR_F_NEEDS_CSUM: u8 = 1;
/// The packet is TCP over IPv4, to be cut into segments (VIRTIO 1.3 §5.1.6).
pub const HDR_GSO_TCPV4: u8 = 1;

/// An Ethernet header's length.
pub const ETHERNET_LEN: usize = 14;
/// The longest frame: an Ethernet header and the longest IPv4 packet.
pub const FRAME_MAX: usize = ETHERNET_LEN + 65535;

/// What goes with each packet (`struct virtio_net_hdr`, VIRTIO 1.3 §5.1.6), without the number of
/// buffers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PacketHeader {
    /// [`HDR_F_NEEDS_CSUM`].
    pub flags: u8,
    /// 0 or [`HDR_GSO_TCPV4`].
    pub gso_type: u8,
    /// The length of all headers, for a packet to be cut.
    pub hdr_len: u16,
    /// The payload of each segment, for a packet to be cut.
    pub gso_size: u16,
    /// Where the checksummed part starts.
    pub csum_start: u16,
    /// Where the checksum lies, from `csum_start`.
    pub csum_offset: u16,
}

/// A packet for the guest: an Ethernet frame without its check sequence.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// What the driver is told about it.
    pub header: PacketHeader,
    /// The frame.
    pub frame: &'a [u8],
}

/// What a network card is plugged into.
///
/// Between [`NetBackend::start`] and [`NetBackend::stop`] its descriptors are in the registry;
/// outside, nothing of it runs.
pub trait NetBackend: Send + Debug {
    /// The offload features that the back end can honour, of those above.
    fn features(&self) -> u64;

    /// The link's largest packet.
    fn mtu(&self) -> u16;

    /// The driver is ready and negotiated `features`.
    ///
    /// # Errors
    /// A descriptor cannot be watched.
    fn start(&mut self, features: u64, events: &mut dyn Registry) -> io::Result<()>;

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
    /// The MTU is out of bounds.
    #[error("mtu {0} is not between 576 and 65535")]
    Mtu(u16),
    /// The host name is none.
    #[error("`{0}` is no host name")]
    Hostname(String),
    /// A descriptor of the back end's own cannot be made.
    #[error("cannot open the network's {what}")]
    Open {
        /// What it is.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

fn by(owner: Option<&PortOwner>) -> String {
    owner.map_or_else(String::new, |owner| format!(" by {owner}"))
}

//! smoltcp's way to the guest: one packet in, packets out into the outbox.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::num::{NonZeroU16, NonZeroUsize};

use smoltcp::iface::{Config, Interface};
use smoltcp::phy::{
    Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium, PacketMeta, RxToken,
    TxToken,
};
use smoltcp::time::Instant;
use smoltcp::wire::HardwareAddress;

use crate::backend::net::user::datagram::partial_checksum;
use crate::backend::net::user::outbox::Outbox;
use crate::backend::net::user::wire::{IPV4_LEN, PROTOCOL_TCP, address, be16, pseudo_header, put};
use crate::backend::net::{ETHERNET_LEN, HDR_GSO_TCPV4, PacketHeader};

/// Where a TCP header has its checksum.
const CHECKSUM: usize = 16;

/// The longest packet handed to a guest that cuts it into segments itself.
const TSO_MAX: NonZeroUsize = NonZeroUsize::MAX;

/// smoltcp's interface: it takes packets for every address.
pub(super) fn interface(capabilities: &DeviceCapabilities, out: &mut Outbox) -> Interface {
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = RandomState::new().build_hasher().finish();
    let mut link = Link {
        packet: None,
        out,
        capabilities,
    };
    let mut interface = Interface::new(config, &mut link, Instant::ZERO);
    interface.set_any_ip(true);
    interface
}

/// What the link carries, for the guest's choice of features.
pub(in super::super) fn capabilities(
    mtu: u16,
    partial_checksums: bool,
    segmentation: bool,
) -> DeviceCapabilities {
    let mut checksum = ChecksumCapabilities::ignored();
    checksum.ipv4 = Checksum::Tx;
    if !partial_checksums {
        checksum.tcp = Checksum::Tx;
    }
    let mut capabilities = DeviceCapabilities::default();
    capabilities.medium = Medium::Ip;
    capabilities.max_transmission_unit = usize::from(mtu);
    capabilities.checksum = checksum;
    if segmentation && partial_checksums {
        let whole_packet = NonZeroUsize::new(usize::from(u16::MAX));
        capabilities.segmentation.tcpv4 = whole_packet.or(Some(TSO_MAX));
    }
    capabilities
}

/// The link for one call of smoltcp.
pub(super) struct Link<'a> {
    /// The packet from the guest, if there is one.
    pub(super) packet: Option<&'a [u8]>,
    /// Where packets for the guest go.
    pub(super) out: &'a mut Outbox,
    /// What the link carries.
    pub(super) capabilities: &'a DeviceCapabilities,
}

impl Device for Link<'_> {
    type RxToken<'t>
        = Incoming<'t>
    where
        Self: 't;
    type TxToken<'t>
        = Outgoing<'t>
    where
        Self: 't;

    fn receive(&mut self, now: Instant) -> Option<(Incoming<'_>, Outgoing<'_>)> {
        let incoming = Incoming(self.packet.take()?);
        Some((incoming, self.transmit(now)?))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Outgoing<'_>> {
        Some(Outgoing {
            out: self.out,
            segment: None,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.capabilities.clone()
    }
}

/// A packet from the guest.
pub(super) struct Incoming<'a>(&'a [u8]);

impl RxToken for Incoming<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

/// A packet for the guest.
pub(super) struct Outgoing<'a> {
    out: &'a mut Outbox,
    segment: Option<NonZeroU16>,
}

impl TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let partial = self.out.partial_checksums;
        let packet = self.out.room().get_mut(..len).unwrap_or_default();
        let result = write(packet);
        let header = if partial {
            complete(packet, self.segment).unwrap_or_default()
        } else {
            PacketHeader::default()
        };
        self.out.commit(len, header);
        result
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.segment = meta.segmentation_offload_size;
    }
}

/// Puts the partial checksum into a TCP packet; what the guest is told about it.
fn complete(packet: &mut [u8], segment: Option<NonZeroU16>) -> Option<PacketHeader> {
    let (source, destination) = (address(packet, 12)?, address(packet, 16)?);
    let length = be16(packet, 2)?.checked_sub(IPV4_LEN as u16)?;
    let sum = pseudo_header(PROTOCOL_TCP, source, destination, length);
    put(packet, IPV4_LEN + CHECKSUM, &sum.to_be_bytes());
    let mut header = partial_checksum(CHECKSUM as u16);
    if let Some(segment) = segment {
        let tcp_header = u16::from(packet.get(IPV4_LEN + 12)? >> 4) * 4;
        header.gso_type = HDR_GSO_TCPV4;
        header.gso_size = segment.get();
        header.hdr_len = (ETHERNET_LEN + IPV4_LEN) as u16 + tcp_header;
    }
    Some(header)
}

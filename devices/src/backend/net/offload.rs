//! Offloads: the features by which driver and back end agree on them, and the header that goes with
//! each packet.

use virtio_bindings::virtio_net as uapi;

macro_rules! features {
    ($($(#[$doc:meta])* $name:ident = $bit:ident;)*) => {$(
        $(#[$doc])*
        pub const $name: u64 = 1 << uapi::$bit;
    )*};
}

// VIRTIO 1.3 §5.1.3
features! {
    /// The driver hands over packets with partial checksums.
    F_CSUM = VIRTIO_NET_F_CSUM;
    /// The driver takes packets with partial checksums.
    F_GUEST_CSUM = VIRTIO_NET_F_GUEST_CSUM;
    /// The driver may change the offloads that it takes while it runs.
    F_CTRL_GUEST_OFFLOADS = VIRTIO_NET_F_CTRL_GUEST_OFFLOADS;
    /// The device says its MTU.
    F_MTU = VIRTIO_NET_F_MTU;
    /// The driver takes TCP packets over IPv4 larger than the MTU.
    F_GUEST_TSO4 = VIRTIO_NET_F_GUEST_TSO4;
    /// The driver takes TCP packets over IPv6 larger than the MTU.
    F_GUEST_TSO6 = VIRTIO_NET_F_GUEST_TSO6;
    /// The driver takes TCP packets larger than the MTU with congestion notification.
    F_GUEST_ECN = VIRTIO_NET_F_GUEST_ECN;
    /// The driver takes UDP packets larger than the MTU, to be cut into fragments.
    F_GUEST_UFO = VIRTIO_NET_F_GUEST_UFO;
    /// The driver takes UDP over IPv4 larger than the MTU, to be cut into datagrams.
    F_GUEST_USO4 = VIRTIO_NET_F_GUEST_USO4;
    /// The driver takes UDP over IPv6 larger than the MTU, to be cut into datagrams.
    F_GUEST_USO6 = VIRTIO_NET_F_GUEST_USO6;
    /// The driver hands over TCP packets over IPv4 larger than the MTU.
    F_HOST_TSO4 = VIRTIO_NET_F_HOST_TSO4;
    /// The driver hands over TCP packets over IPv6 larger than the MTU.
    F_HOST_TSO6 = VIRTIO_NET_F_HOST_TSO6;
    /// The driver hands over TCP packets larger than the MTU with congestion notification.
    F_HOST_ECN = VIRTIO_NET_F_HOST_ECN;
    /// The driver hands over UDP packets larger than the MTU, to be cut into fragments.
    F_HOST_UFO = VIRTIO_NET_F_HOST_UFO;
    /// The driver hands over UDP packets larger than the MTU, to be cut into datagrams.
    F_HOST_USO = VIRTIO_NET_F_HOST_USO;
    /// The driver merges receive buffers; of interest to back ends that fill them by themselves.
    F_MRG_RXBUF = VIRTIO_NET_F_MRG_RXBUF;
}

/// The segmentation offloads towards the driver.
const GUEST_GSO: u64 =
    F_GUEST_TSO4 | F_GUEST_TSO6 | F_GUEST_ECN | F_GUEST_UFO | F_GUEST_USO4 | F_GUEST_USO6;
/// The segmentation offloads from the driver.
const HOST_GSO: u64 = F_HOST_TSO4 | F_HOST_TSO6 | F_HOST_ECN | F_HOST_UFO | F_HOST_USO;
/// What the driver may turn on and off while it runs (VIRTIO 1.3 §5.1.6.5.6.1).
pub const GUEST_OFFLOADS: u64 = F_GUEST_CSUM | GUEST_GSO;

/// Drops the offloads whose condition was not negotiated (VIRTIO 1.3 §5.1.3.1).
#[must_use]
pub fn consistent(mut features: u64) -> u64 {
    if features & F_GUEST_CSUM == 0 {
        features &= !GUEST_GSO;
    }
    if features & F_CSUM == 0 {
        features &= !HOST_GSO;
    }
    if features & (F_GUEST_TSO4 | F_GUEST_TSO6) == 0 {
        features &= !F_GUEST_ECN;
    }
    if features & (F_HOST_TSO4 | F_HOST_TSO6) == 0 {
        features &= !F_HOST_ECN;
    }
    features
}

/// The checksum at `csum_start + csum_offset` is partial (VIRTIO 1.3 §5.1.6).
pub const HDR_F_NEEDS_CSUM: u8 = 1;
/// The checksum is known to be right (VIRTIO 1.3 §5.1.6).
pub const HDR_F_DATA_VALID: u8 = 2;
/// The packet is TCP over IPv4, to be cut into segments (VIRTIO 1.3 §5.1.6).
pub const HDR_GSO_TCPV4: u8 = 1;
/// The packet is UDP, to be cut into fragments (VIRTIO 1.3 §5.1.6).
pub const HDR_GSO_UDP: u8 = 3;
/// The packet is TCP over IPv6, to be cut into segments (VIRTIO 1.3 §5.1.6).
pub const HDR_GSO_TCPV6: u8 = 4;
/// The packet is UDP, to be cut into datagrams (VIRTIO 1.3 §5.1.6).
pub const HDR_GSO_UDP_L4: u8 = 5;
/// Beside one of the above: the packet uses congestion notification (VIRTIO 1.3 §5.1.6).
pub const HDR_GSO_ECN: u8 = 0x80;

/// The length of a `struct virtio_net_hdr` (VIRTIO 1.3 §5.1.6).
pub const HEADER_LEN: usize = 12;

/// What goes with each packet (`struct virtio_net_hdr`, VIRTIO 1.3 §5.1.6), without the number of
/// buffers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PacketHeader {
    /// [`HDR_F_NEEDS_CSUM`], [`HDR_F_DATA_VALID`].
    pub flags: u8,
    /// 0 or how the packet is to be cut, such as [`HDR_GSO_TCPV4`].
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

impl PacketHeader {
    /// Reads the header as it lies in memory.
    #[must_use]
    pub fn from_bytes(bytes: [u8; HEADER_LEN]) -> Self {
        let [flags, gso_type, h0, h1, g0, g1, s0, s1, o0, o1, ..] = bytes;
        Self {
            flags,
            gso_type,
            hdr_len: u16::from_le_bytes([h0, h1]),
            gso_size: u16::from_le_bytes([g0, g1]),
            csum_start: u16::from_le_bytes([s0, s1]),
            csum_offset: u16::from_le_bytes([o0, o1]),
        }
    }

    /// The header as it lies in memory, of a packet in `buffers` buffers.
    #[must_use]
    pub fn to_bytes(self, buffers: u16) -> [u8; HEADER_LEN] {
        let [h0, h1] = self.hdr_len.to_le_bytes();
        let [g0, g1] = self.gso_size.to_le_bytes();
        let [s0, s1] = self.csum_start.to_le_bytes();
        let [o0, o1] = self.csum_offset.to_le_bytes();
        let [b0, b1] = buffers.to_le_bytes();
        [
            self.flags,
            self.gso_type,
            h0,
            h1,
            g0,
            g1,
            s0,
            s1,
            o0,
            o1,
            b0,
            b1,
        ]
    }

    /// The header without the requests that a driver cannot make by the negotiated `features`.
    #[must_use]
    pub fn limited_to(mut self, features: u64) -> Self {
        if features & F_CSUM == 0 {
            return Self::default();
        }
        let needed = match self.gso_type & !HDR_GSO_ECN {
            0 => 0,
            HDR_GSO_TCPV4 => F_HOST_TSO4,
            HDR_GSO_TCPV6 => F_HOST_TSO6,
            HDR_GSO_UDP => F_HOST_UFO,
            HDR_GSO_UDP_L4 => F_HOST_USO,
            _ => u64::MAX,
        };
        if features & needed != needed || self.gso_size == 0 {
            self.gso_type = 0;
            self.gso_size = 0;
            self.hdr_len = 0;
        } else if features & F_HOST_ECN == 0 {
            self.gso_type &= !HDR_GSO_ECN;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_memory() {
        let bytes = [1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0, 3, 0];
        let header = PacketHeader::from_bytes(bytes);
        assert_eq!((header.hdr_len, header.gso_size), (54, 1460));
        assert_eq!((header.csum_start, header.csum_offset), (34, 16));
        assert_eq!(header.to_bytes(3), bytes);
    }

    #[test]
    fn offloads_without_their_checksums_are_off() {
        let features = F_GUEST_TSO4 | F_HOST_TSO6 | F_HOST_ECN | F_MTU;
        assert_eq!(consistent(features), F_MTU);
        assert_eq!(
            consistent(features | F_CSUM),
            features & !F_GUEST_TSO4 | F_CSUM
        );
        assert_eq!(consistent(F_CSUM | F_HOST_ECN), F_CSUM);
        assert_eq!(consistent(F_GUEST_CSUM | F_GUEST_ECN), F_GUEST_CSUM);
    }

    #[test]
    fn a_driver_gets_no_offload_that_it_did_not_negotiate() {
        let header = PacketHeader {
            flags: HDR_F_NEEDS_CSUM,
            gso_type: HDR_GSO_TCPV4 | HDR_GSO_ECN,
            hdr_len: 54,
            gso_size: 1460,
            csum_start: 34,
            csum_offset: 16,
        };
        assert_eq!(header.limited_to(0), PacketHeader::default());
        let whole = header.limited_to(F_CSUM | F_HOST_TSO6);
        assert_eq!((whole.flags, whole.csum_start), (HDR_F_NEEDS_CSUM, 34));
        assert_eq!((whole.gso_type, whole.gso_size, whole.hdr_len), (0, 0, 0));
        let cut = header.limited_to(F_CSUM | F_HOST_TSO4);
        assert_eq!((cut.gso_type, cut.gso_size), (HDR_GSO_TCPV4, 1460));
        assert_eq!(header.limited_to(F_CSUM | F_HOST_TSO4 | F_HOST_ECN), header);
    }
}

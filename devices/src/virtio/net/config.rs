//! The configuration space (`struct virtio_net_config`, VIRTIO 1.3 §5.1.4).

use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use virtio_bindings::virtio_net as uapi;

use crate::virtio::device::{ConfigSpace, ConstConfig};

/// Status bits (VIRTIO 1.3 §5.1.4).
const LINK_UP: u16 = uapi::VIRTIO_NET_S_LINK_UP as u16;
const ANNOUNCE: u16 = uapi::VIRTIO_NET_S_ANNOUNCE as u16;

/// What the driver reads: the card's address and the link's state change, the rest stays.
#[derive(Debug)]
pub(super) struct NetConfig {
    mac: AtomicU64,
    status: AtomicU16,
    pairs: u16,
    mtu: u16,
}

impl NetConfig {
    /// Of a card whose link is up.
    pub(super) fn new(mac: [u8; 6], pairs: u16, mtu: u16) -> Self {
        let config = Self {
            mac: AtomicU64::new(0),
            status: AtomicU16::new(LINK_UP),
            pairs,
            mtu,
        };
        config.set_mac(mac);
        config
    }

    pub(super) fn mac(&self) -> [u8; 6] {
        let [a, b, c, d, e, f, ..] = self.mac.load(Ordering::Acquire).to_le_bytes();
        [a, b, c, d, e, f]
    }

    pub(super) fn set_mac(&self, [a, b, c, d, e, f]: [u8; 6]) {
        let mac = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
        self.mac.store(mac, Ordering::Release);
    }

    /// Sets a status bit; whether it was another.
    fn set(&self, bit: u16, on: bool) -> bool {
        let before = if on {
            self.status.fetch_or(bit, Ordering::AcqRel)
        } else {
            self.status.fetch_and(!bit, Ordering::AcqRel)
        };
        (before & bit != 0) != on
    }

    /// Notes the link's state; whether it is news.
    pub(super) fn set_link(&self, up: bool) -> bool {
        self.set(LINK_UP, up)
    }

    /// Whether the link is up.
    pub(super) fn link(&self) -> bool {
        self.status.load(Ordering::Acquire) & LINK_UP != 0
    }

    /// Asks the driver to announce itself, or no longer.
    pub(super) fn set_announce(&self, on: bool) {
        self.set(ANNOUNCE, on);
    }

    /// Whether the driver is asked to announce itself.
    pub(super) fn announces(&self) -> bool {
        self.status.load(Ordering::Acquire) & ANNOUNCE != 0
    }

    pub(super) fn pairs(&self) -> u16 {
        self.pairs
    }

    pub(super) fn mtu(&self) -> u16 {
        self.mtu
    }
}

impl ConfigSpace for NetConfig {
    fn read(&self, offset: u64, data: &mut [u8]) {
        let mut bytes = self.mac().to_vec();
        let status = self.status.load(Ordering::Acquire);
        for field in [status, self.pairs, self.mtu] {
            bytes.extend(field.to_le_bytes());
        }
        ConstConfig(bytes).read(offset, data);
    }
}

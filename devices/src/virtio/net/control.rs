//! The control queue: what the driver asks of the card (VIRTIO 1.3 §5.1.6.5).

use virtio_bindings::virtio_net as uapi;

use super::filter::{Mode, Table};
use crate::backend::net::F_CTRL_GUEST_OFFLOADS;
use crate::virtio::queue::Reader;

macro_rules! features {
    ($($(#[$doc:meta])* $name:ident = $bit:ident;)*) => {$(
        $(#[$doc])*
        pub(super) const $name: u64 = 1 << uapi::$bit;
    )*};
}

// VIRTIO 1.3 §5.1.3
features! {
    /// There is a control queue.
    F_CTRL_VQ = VIRTIO_NET_F_CTRL_VQ;
    /// The driver chooses what it receives.
    F_CTRL_RX = VIRTIO_NET_F_CTRL_RX;
    /// The driver chooses in more detail.
    F_CTRL_RX_EXTRA = VIRTIO_NET_F_CTRL_RX_EXTRA;
    /// The driver sets the card's address.
    F_CTRL_MAC_ADDR = VIRTIO_NET_F_CTRL_MAC_ADDR;
    /// The device may ask the driver to announce itself.
    F_GUEST_ANNOUNCE = VIRTIO_NET_F_GUEST_ANNOUNCE;
    /// There may be several pairs of queues.
    F_MQ = VIRTIO_NET_F_MQ;
}

/// All that depends on the control queue (VIRTIO 1.3 §5.1.3.1).
const DEPENDENT: u64 =
    F_CTRL_RX | F_CTRL_RX_EXTRA | F_CTRL_MAC_ADDR | F_GUEST_ANNOUNCE | F_MQ | F_CTRL_GUEST_OFFLOADS;

/// Drops the features whose condition was not negotiated (VIRTIO 1.3 §5.1.3.1).
pub(super) fn consistent(mut features: u64) -> u64 {
    if features & F_CTRL_VQ == 0 {
        features &= !DEPENDENT;
    }
    if features & F_CTRL_RX == 0 {
        features &= !F_CTRL_RX_EXTRA;
    }
    features
}

/// Answers (VIRTIO 1.3 §5.1.6.5).
pub(super) const OK: u8 = 0;
pub(super) const ERR: u8 = 1;

/// A request of the driver's.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Turn a mode of the receive filter on or off.
    Mode(Mode, bool),
    /// Receive these addresses too.
    Tables { unicast: Table, multicast: Table },
    /// Change the card's address.
    Mac([u8; 6]),
    /// The announcement is made.
    Announced,
    /// Use this many pairs of queues.
    Pairs(u16),
    /// The driver takes these offloads from now on.
    Offloads(u64),
}

/// Reads a request, if it is one that a driver with these features may make.
pub(super) fn parse(request: &mut Reader<'_>, features: u64) -> Option<Command> {
    let [class, command]: [u8; 2] = request.read_obj()?;
    let (class, command) = (u32::from(class), u32::from(command));
    let (needs, command) = match (class, command) {
        (uapi::VIRTIO_NET_CTRL_RX, mode) => {
            let (needs, mode) = receive_mode(mode)?;
            let on = request.read_obj::<u8>()?;
            (needs, Command::Mode(mode, on != 0))
        }
        (uapi::VIRTIO_NET_CTRL_MAC, uapi::VIRTIO_NET_CTRL_MAC_TABLE_SET) => {
            let (unicast, multicast) = (table(request)?, table(request)?);
            (F_CTRL_RX, Command::Tables { unicast, multicast })
        }
        (uapi::VIRTIO_NET_CTRL_MAC, uapi::VIRTIO_NET_CTRL_MAC_ADDR_SET) => {
            (F_CTRL_MAC_ADDR, Command::Mac(request.read_obj()?))
        }
        (uapi::VIRTIO_NET_CTRL_ANNOUNCE, uapi::VIRTIO_NET_CTRL_ANNOUNCE_ACK) => {
            (F_GUEST_ANNOUNCE, Command::Announced)
        }
        (uapi::VIRTIO_NET_CTRL_MQ, uapi::VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET) => (
            F_MQ,
            Command::Pairs(u16::from_le_bytes(request.read_obj()?)),
        ),
        (uapi::VIRTIO_NET_CTRL_GUEST_OFFLOADS, uapi::VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET) => {
            let offloads = u64::from_le_bytes(request.read_obj()?);
            (F_CTRL_GUEST_OFFLOADS, Command::Offloads(offloads))
        }
        _ => return None,
    };
    (features & needs != 0).then_some(command)
}

fn receive_mode(command: u32) -> Option<(u64, Mode)> {
    Some(match command {
        uapi::VIRTIO_NET_CTRL_RX_PROMISC => (F_CTRL_RX, Mode::Promiscuous),
        uapi::VIRTIO_NET_CTRL_RX_ALLMULTI => (F_CTRL_RX, Mode::AllMulticast),
        uapi::VIRTIO_NET_CTRL_RX_ALLUNI => (F_CTRL_RX_EXTRA, Mode::AllUnicast),
        uapi::VIRTIO_NET_CTRL_RX_NOMULTI => (F_CTRL_RX_EXTRA, Mode::NoMulticast),
        uapi::VIRTIO_NET_CTRL_RX_NOUNI => (F_CTRL_RX_EXTRA, Mode::NoUnicast),
        uapi::VIRTIO_NET_CTRL_RX_NOBCAST => (F_CTRL_RX_EXTRA, Mode::NoBroadcast),
        _ => return None,
    })
}

/// Reads a table of addresses (`struct virtio_net_ctrl_mac`, VIRTIO 1.3 §5.1.6.5.2).
fn table(request: &mut Reader<'_>) -> Option<Table> {
    let entries = u32::from_le_bytes(request.read_obj()?);
    if entries as usize > request.available() / 6 {
        return None;
    }
    let mut table = Table::default();
    for _ in 0..entries {
        table.add(request.read_obj()?);
    }
    Some(table)
}

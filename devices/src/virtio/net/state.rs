//! The saved state: what the driver knows of the card and what it asked for. Flows end: their host
//! sockets are no more.

use serde::{Deserialize, Serialize};

use super::Net;
use super::filter::Filter;
use crate::backend::net::GUEST_OFFLOADS;
use crate::persist::PersistError;

/// The saved state of a network device.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct NetStateV1 {
    /// The card's own address.
    own: [u8; 6],
    /// The address that the driver gave it.
    mac: [u8; 6],
    mtu: u16,
    pairs: u16,
    used: u16,
    filter: Filter,
    offloads: Option<u64>,
}

impl NetStateV1 {
    pub(super) fn of(net: &Net) -> Self {
        Self {
            own: net.mac,
            mac: net.config.mac(),
            mtu: net.config.mtu(),
            pairs: net.config.pairs(),
            used: net.used,
            filter: net.filter.clone(),
            offloads: net.offloads,
        }
    }

    pub(super) fn restore(self, net: &mut Net) -> Result<(), PersistError> {
        let invalid = |what: &str| Err(PersistError::Invalid(what.to_owned()));
        let card = (self.own, self.mtu, self.pairs);
        if card != (net.mac, net.config.mtu(), net.config.pairs()) {
            return invalid("the card's MAC address, MTU or number of queues is another");
        }
        if self.used == 0 || self.used > self.pairs {
            return invalid("number of queue pairs");
        }
        if self
            .offloads
            .is_some_and(|bits| bits & !GUEST_OFFLOADS != 0)
        {
            return invalid("network offloads");
        }
        for pair in &mut net.pairs {
            pair.backend.reset();
        }
        net.used = self.used;
        net.filter = self.filter;
        net.offloads = self.offloads;
        net.config.set_mac(self.mac);
        // The switches on the way here must learn where the card is now.
        net.config.set_announce(true);
        Ok(())
    }
}

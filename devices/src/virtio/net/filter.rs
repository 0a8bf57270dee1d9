//! Which frames the driver wants to receive (VIRTIO 1.3 §5.1.6.5.1, §5.1.6.5.2).

use serde::{Deserialize, Serialize};

/// The addresses kept of each table; a longer one means every address of its kind, for a device may
/// filter imprecisely (VIRTIO 1.3 §5.1.6.5.2.2).
const TABLE_MAX: usize = 64;

const BROADCAST: [u8; 6] = [0xff; 6];

/// A switch of the filter, by its command (VIRTIO 1.3 §5.1.6.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Promiscuous,
    AllMulticast,
    AllUnicast,
    NoMulticast,
    NoUnicast,
    NoBroadcast,
}

/// A table of addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Table {
    addresses: Vec<[u8; 6]>,
    overflown: bool,
}

impl Table {
    /// Adds an address, if there is room.
    pub(super) fn add(&mut self, address: [u8; 6]) {
        if self.addresses.len() < TABLE_MAX {
            self.addresses.push(address);
        } else {
            self.overflown = true;
        }
    }

    fn has(&self, address: [u8; 6]) -> bool {
        self.overflown || self.addresses.contains(&address)
    }
}

/// The receive filter. Until the driver says otherwise everything passes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Filter {
    promiscuous: bool,
    all_multicast: bool,
    all_unicast: bool,
    no_multicast: bool,
    no_unicast: bool,
    no_broadcast: bool,
    pub(super) unicast: Table,
    pub(super) multicast: Table,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            promiscuous: true,
            all_multicast: false,
            all_unicast: false,
            no_multicast: false,
            no_unicast: false,
            no_broadcast: false,
            unicast: Table::default(),
            multicast: Table::default(),
        }
    }
}

impl Filter {
    /// Turns a mode on or off.
    pub(super) fn set(&mut self, mode: Mode, on: bool) {
        let flag = match mode {
            Mode::Promiscuous => &mut self.promiscuous,
            Mode::AllMulticast => &mut self.all_multicast,
            Mode::AllUnicast => &mut self.all_unicast,
            Mode::NoMulticast => &mut self.no_multicast,
            Mode::NoUnicast => &mut self.no_unicast,
            Mode::NoBroadcast => &mut self.no_broadcast,
        };
        *flag = on;
    }

    /// Whether the driver of a card at `mac` wants `frame`.
    pub(super) fn accepts(&self, mac: [u8; 6], frame: &[u8]) -> bool {
        if self.promiscuous {
            return true;
        }
        let Some(&to) = frame.first_chunk::<6>() else {
            return false;
        };
        if to == BROADCAST {
            !self.no_broadcast
        } else if to[0] & 1 == 1 {
            !self.no_multicast && (self.all_multicast || self.multicast.has(to))
        } else {
            !self.no_unicast && (self.all_unicast || to == mac || self.unicast.has(to))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 2];
    const GROUP: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];

    fn passing(filter: &Filter) -> [bool; 4] {
        [MAC, OTHER, GROUP, BROADCAST].map(|to| filter.accepts(MAC, &to))
    }

    #[test]
    fn each_mode_lets_its_frames_through() {
        let mut filter = Filter::default();
        assert_eq!(passing(&filter), [true; 4]);
        filter.set(Mode::Promiscuous, false);
        assert_eq!(passing(&filter), [true, false, false, true]);
        filter.set(Mode::AllMulticast, true);
        assert_eq!(passing(&filter), [true, false, true, true]);
        filter.set(Mode::AllUnicast, true);
        assert_eq!(passing(&filter), [true; 4]);
        filter.set(Mode::NoMulticast, true);
        filter.set(Mode::NoUnicast, true);
        filter.set(Mode::NoBroadcast, true);
        assert_eq!(passing(&filter), [false; 4]);
        assert!(!filter.accepts(MAC, &MAC[..5]));
    }

    #[test]
    fn tables_add_addresses_and_a_full_one_lets_all_through() {
        let mut filter = Filter::default();
        filter.set(Mode::Promiscuous, false);
        filter.unicast.add(OTHER);
        filter.multicast.add(GROUP);
        assert_eq!(passing(&filter), [true; 4]);
        assert!(!filter.accepts(MAC, &[2, 0, 0, 0, 0, 9]));
        for i in 0..100 {
            filter.unicast.add([2, 0, 0, 0, 1, i]);
        }
        assert!(filter.accepts(MAC, &[2, 0, 0, 0, 0, 9]));
        assert_eq!(filter.unicast.addresses.len(), TABLE_MAX);
    }
}

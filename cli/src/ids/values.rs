//! What identifiers stand for: a number alone does not say a MAC address.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use guest::MacAddress;
use vmm::config::value::GuestAddress;

use super::PoolName;
use crate::digest::digest;

/// Where the machine's own number is (machine-id(5)).
const MACHINE_ID: &str = "/etc/machine-id";
/// The machine's name, where it has no number.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";
/// A locally administered address of a single card (IEEE 802-2014 §8.2.2).
const LOCAL: u8 = 2;

/// The first four bytes of the MAC addresses of a state folder: no other folder of this machine, and hardly one of
/// another machine, has the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MacPrefix([u8; 4]);

impl MacPrefix {
    /// That of the state folder `folder`.
    pub(crate) fn of(folder: &Path) -> Self {
        let machine = fs::read(MACHINE_ID).or_else(|_| fs::read(HOST_NAME));
        let machine = machine.unwrap_or_default();
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        Self::from_data(&machine, folder.as_os_str().as_encoded_bytes())
    }

    fn from_data(machine: &[u8], folder: &[u8]) -> Self {
        let [a, b, c, d, e, f, ..] = digest([machine, b"\0", folder]).to_be_bytes();
        Self([LOCAL, a ^ d, b ^ e, c ^ f])
    }

    /// The address with the number `id`; `None` if there is none.
    pub(crate) fn mac(self, id: u64) -> Option<MacAddress> {
        let [a, b, c, d] = self.0;
        let [e, f] = u16::try_from(id).ok()?.to_be_bytes();
        format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
            .parse()
            .ok()
    }
}

/// The address on PCP's TAP network with the last byte `id`.
pub(crate) fn address(id: u64) -> Option<GuestAddress> {
    let [a, b, c, _] = GuestAddress::PCP.ip.octets();
    let last = u8::try_from(id).ok()?;
    Some(GuestAddress {
        ip: Ipv4Addr::new(a, b, c, last),
        prefix: GuestAddress::PCP.prefix,
    })
}

/// What `id` of the pool `pool` stands for.
pub(crate) fn text(pool: &str, id: u64, prefix: MacPrefix) -> String {
    let said = match PoolName::ALL.into_iter().find(|name| name.as_str() == pool) {
        Some(PoolName::Macs) => prefix.mac(id).map(|mac| mac.to_string()),
        Some(PoolName::Addresses) => address(id).map(|address| address.ip.to_string()),
        _ => None,
    };
    said.unwrap_or_else(|| id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_and_folders_have_addresses_of_their_own() {
        let prefix = MacPrefix::from_data(b"m", b"/f");
        assert_eq!(prefix, MacPrefix::from_data(b"m", b"/f"));
        for other in [(&b"n"[..], &b"/f"[..]), (b"m", b"/g"), (b"m/", b"f")] {
            assert_ne!(prefix, MacPrefix::from_data(other.0, other.1));
        }
        let mac = prefix.mac(0x102).unwrap().octets();
        assert_eq!((mac[0], mac[4], mac[5]), (2, 1, 2));
        assert_eq!(prefix.mac(0x1_0000), None);
    }

    #[test]
    fn a_number_is_told_as_what_it_stands_for() {
        let prefix = MacPrefix([2, 1, 1, 1]);
        assert_eq!(text("macs", 258, prefix), "02:01:01:01:01:02");
        assert_eq!(text("addresses", 21, prefix), "10.177.0.21");
        assert_eq!(text("addresses", 256, prefix), "256");
        assert_eq!(text("ports", 28_000, prefix), "28000");
    }
}

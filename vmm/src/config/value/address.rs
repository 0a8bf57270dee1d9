//! A guest's own address on a TAP's network: `IP/LENGTH`, with the network's first address as the gateway.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{ValueError, form};

const FORM: &str = "address=A.B.C.D/LENGTH, with a LENGTH from 1 to 30, or address=dhcp";

/// An IPv4 address with its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestAddress {
    /// The address.
    pub ip: Ipv4Addr,
    /// The length of the network's prefix in bits, 1 to 30.
    pub prefix: u8,
}

impl GuestAddress {
    /// The guest of PCP's TAP network.
    pub const PCP: Self = Self {
        ip: Ipv4Addr::new(10, 177, 0, 20),
        prefix: 24,
    };

    fn mask(self) -> u32 {
        u32::MAX << (32 - u32::from(self.prefix))
    }

    /// The gateway: the network's first address.
    #[must_use]
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from_bits((self.ip.to_bits() & self.mask()) + 1)
    }

    /// The word of the kernel command line that tells it, with up to two name servers (Linux
    /// `Documentation/admin-guide/nfs/nfsroot.rst`, `ip=`).
    #[must_use]
    pub fn word(self, servers: &[Ipv4Addr]) -> String {
        let (ip, gateway) = (self.ip, self.gateway());
        let mask = Ipv4Addr::from_bits(self.mask());
        let servers: Vec<String> = servers.iter().take(2).map(ToString::to_string).collect();
        let word = format!("ip={ip}::{gateway}:{mask}:::off:{}", servers.join(":"));
        word.trim_end_matches(':').to_owned()
    }
}

impl FromStr for GuestAddress {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let parse = || {
            let (ip, prefix) = text.split_once('/')?;
            let address = Self {
                ip: ip.parse().ok()?,
                prefix: prefix.parse().ok().filter(|it| (1..=30).contains(it))?,
            };
            // The network's own address, its gateway's and all its hosts' are no guest's.
            let host = address.ip.to_bits() & !address.mask();
            (host > 1 && host != !address.mask()).then_some(address)
        };
        parse().ok_or_else(|| form(text, FORM))
    }
}

impl fmt::Display for GuestAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_tells_its_gateway_and_the_kernels_word() {
        let address: GuestAddress = "10.177.0.20/24".parse().unwrap();
        assert_eq!(address, GuestAddress::PCP);
        assert_eq!(address.gateway(), Ipv4Addr::new(10, 177, 0, 1));
        let off = "ip=10.177.0.20::10.177.0.1:255.255.255.0:::off";
        assert_eq!(address.word(&[]), off);
        let servers = [9, 1, 8].map(|n| Ipv4Addr::new(n, n, n, n));
        assert_eq!(address.word(&servers), format!("{off}:9.9.9.9:1.1.1.1"));
        let small: GuestAddress = "192.168.1.6/30".parse().unwrap();
        assert_eq!(small.gateway(), Ipv4Addr::new(192, 168, 1, 5));
    }

    #[test]
    fn what_is_no_guests_address_is_refused() {
        for text in [
            "",
            "10.0.0.5",
            "10.0.0.5/0",
            "10.0.0.5/31",
            "10.0.0.0/24",
            "10.0.0.1/24",
            "10.0.0.255/24",
            "10.0.0/24",
            "fe80::5/24",
        ] {
            assert!(text.parse::<GuestAddress>().is_err(), "{text}");
        }
    }
}

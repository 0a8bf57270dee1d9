//! A TAP as users write it: `tap[,ifname=NAME|,fd=N[:N…]][,queues=N][,bridge=NAME][,vhost=on|off|auto][,address=IP/LENGTH|dhcp]`.

use std::fmt;

use super::{GuestAddress, ValueError, form, pieces, unknown};
use crate::config::{TapSource, TapSpec, VhostChoice};

const KNOWN: &str =
    "ifname=NAME, fd=N[:N], queues=N, bridge=NAME, vhost=on|off|auto, address=IP/LENGTH|dhcp";

/// The TAP of the host's that the card is plugged into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapChoice {
    /// Which one.
    pub source: TapSource,
    /// How many queues to use.
    pub queues: Option<u16>,
    /// The bridge for a TAP that is made.
    pub bridge: Option<String>,
    /// Whether the kernel's vhost-net moves the packets.
    pub vhost: VhostChoice,
    /// Whether the guest is told its address, if the user says so.
    pub address: Option<TapAddress>,
}

/// How a guest on a TAP gets its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TapAddress {
    /// It asks the network, or knows it by itself.
    Dhcp,
    /// It is told this one.
    Fixed(GuestAddress),
}

impl Default for TapChoice {
    fn default() -> Self {
        Self {
            source: TapSource::Name(Self::PCP.to_owned()),
            queues: None,
            bridge: None,
            vhost: VhostChoice::Auto,
            address: None,
        }
    }
}

impl TapChoice {
    /// The TAP that PCP's own network has.
    pub const PCP: &str = "pcptap0";

    pub(super) fn parse(options: &str) -> Result<Self, ValueError> {
        let mut choice = Self::default();
        for option in pieces(options) {
            let split = option.split_once('=').filter(|(_, v)| !v.is_empty());
            match split {
                Some(("ifname", name)) => choice.source = TapSource::Name(name.to_owned()),
                Some(("fd", fds)) => {
                    let fds: Option<Vec<i32>> = fds.split(':').map(|fd| number(fd, 3)).collect();
                    let fds = fds.ok_or_else(|| form(&option, "fd=N[:N], with N from 3 on"))?;
                    choice.source = TapSource::Fds(fds);
                }
                Some(("queues", text)) => {
                    let queues = number(text, 1).and_then(|n| u16::try_from(n).ok());
                    let queues =
                        queues.ok_or_else(|| form(&option, "queues=N, with N from 1 on"))?;
                    choice.queues = Some(queues);
                }
                Some(("bridge", name)) => choice.bridge = Some(name.to_owned()),
                Some(("vhost", "auto")) => choice.vhost = VhostChoice::Auto,
                Some(("vhost", "on")) => choice.vhost = VhostChoice::On,
                Some(("vhost", "off")) => choice.vhost = VhostChoice::Off,
                Some(("address", "dhcp")) => choice.address = Some(TapAddress::Dhcp),
                Some(("address", text)) => choice.address = Some(TapAddress::Fixed(text.parse()?)),
                _ => return Err(unknown(option, KNOWN)),
            }
        }
        Ok(choice)
    }

    /// The guest's address, if it is known here; on PCP's own TAP it is PCP's.
    #[must_use]
    pub fn guest_address(&self) -> Option<GuestAddress> {
        match (&self.address, &self.source) {
            (Some(TapAddress::Fixed(address)), _) => Some(*address),
            (None, TapSource::Name(name)) if name == Self::PCP => Some(GuestAddress::PCP),
            _ => None,
        }
    }

    /// The TAP of a machine with `cpus` vCPUs.
    pub(crate) fn spec(self, cpus: u8) -> TapSpec {
        TapSpec {
            source: self.source,
            queues: self.queues,
            most_queues: cpus.max(1).into(),
            bridge: self.bridge,
            vhost: self.vhost,
        }
    }
}

fn number(text: &str, least: i32) -> Option<i32> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits)?;
    (number >= least).then_some(number)
}

impl fmt::Display for TapChoice {
    /// The options, each after a comma.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            TapSource::Name(name) => write!(f, ",ifname={name}")?,
            TapSource::Fds(fds) => {
                let fds: Vec<_> = fds.iter().map(i32::to_string).collect();
                write!(f, ",fd={}", fds.join(":"))?;
            }
        }
        if let Some(queues) = self.queues {
            write!(f, ",queues={queues}")?;
        }
        if let Some(bridge) = &self.bridge {
            write!(f, ",bridge={bridge}")?;
        }
        match self.vhost {
            VhostChoice::Auto => {}
            VhostChoice::On => f.write_str(",vhost=on")?,
            VhostChoice::Off => f.write_str(",vhost=off")?,
        }
        match self.address {
            None => Ok(()),
            Some(TapAddress::Dhcp) => f.write_str(",address=dhcp"),
            Some(TapAddress::Fixed(address)) => write!(f, ",address={address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::NetChoice;

    #[test]
    fn a_tap_is_that_of_pcp_unless_it_says_which() {
        for (text, full) in [
            ("tap", "tap,ifname=pcptap0"),
            ("tap,queues=4", "tap,ifname=pcptap0,queues=4"),
            ("tap,ifname=t0,bridge=br0", "tap,ifname=t0,bridge=br0"),
            ("tap,fd=3:4", "tap,fd=3:4"),
            ("vhost-user,socket=/a,,b", "vhost-user,socket=/a,,b"),
            ("tap,ifname=t0,vhost=on", "tap,ifname=t0,vhost=on"),
            ("tap,address=dhcp", "tap,ifname=pcptap0,address=dhcp"),
            (
                "tap,ifname=t0,address=10.9.0.2/16",
                "tap,ifname=t0,address=10.9.0.2/16",
            ),
        ] {
            let choice: NetChoice = text.parse().unwrap();
            assert_eq!(choice.to_string(), full);
            assert_eq!(full.parse(), Ok(choice), "{full}");
        }
    }

    #[test]
    fn the_guest_of_pcps_tap_has_pcps_address_unless_another_is_said() {
        let address = |text: &str| {
            let NetChoice::Tap(tap) = text.parse().unwrap() else {
                panic!("{text}");
            };
            tap.guest_address().map(|address| address.to_string())
        };
        assert_eq!(address("tap").as_deref(), Some("10.177.0.20/24"));
        assert_eq!(address("tap,address=dhcp"), None);
        assert_eq!(address("tap,ifname=t0"), None);
        let own = address("tap,ifname=t0,address=10.9.0.2/16");
        assert_eq!(own.as_deref(), Some("10.9.0.2/16"));
    }

    #[test]
    fn what_is_no_tap_is_refused() {
        for text in [
            "tapx",
            "tap,",
            "tap,ifname=",
            "tap,fd=2",
            "vhost-user",
            "vhost-user,socket=",
            "vhost-user,socket=/a,b",
            "tap,fd=3:",
            "tap,fd=+3",
            "tap,queues=0",
            "tap,queues=65536",
            "tap,mode=fast",
            "tap,vhost=yes",
            "tap,address=10.9.0.1/16",
        ] {
            assert!(text.parse::<NetChoice>().is_err(), "{text}");
        }
    }
}

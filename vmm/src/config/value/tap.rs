//! A TAP as users write it: `tap[,ifname=NAME|,fd=N[:N…]][,queues=N][,bridge=NAME][,vhost=on|off|auto]`.

use std::fmt;

use super::{ValueError, form, pieces, unknown};
use crate::config::{TapSource, TapSpec, VhostChoice};

const KNOWN: &str = "ifname=NAME, fd=N[:N], queues=N, bridge=NAME, vhost=on|off|auto";

/// The TAP that PCP's own network has.
const IFNAME: &str = "pcptap0";

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
}

impl Default for TapChoice {
    fn default() -> Self {
        Self {
            source: TapSource::Name(IFNAME.to_owned()),
            queues: None,
            bridge: None,
            vhost: VhostChoice::Auto,
        }
    }
}

impl TapChoice {
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
                _ => return Err(unknown(option, KNOWN)),
            }
        }
        Ok(choice)
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
            VhostChoice::Auto => Ok(()),
            VhostChoice::On => f.write_str(",vhost=on"),
            VhostChoice::Off => f.write_str(",vhost=off"),
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
        ] {
            let choice: NetChoice = text.parse().unwrap();
            assert_eq!(choice.to_string(), full);
            assert_eq!(full.parse(), Ok(choice), "{full}");
        }
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
        ] {
            assert!(text.parse::<NetChoice>().is_err(), "{text}");
        }
    }
}

//! The configuration of a network card and of what it is plugged into.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A network card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetSpec {
    /// The guest's MAC address.
    pub mac: [u8; 6],
    /// The largest packet that the card carries, or the back end's own choice.
    #[serde(default)]
    pub mtu: Option<u16>,
    /// What the card is plugged into.
    pub backend: NetBackendSpec,
}

/// What a network card is plugged into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetBackendSpec {
    /// The user-mode network.
    User(UserSpec),
    /// A TAP of the host's.
    Tap(TapSpec),
    /// Another process, such as passt, by vhost-user.
    VhostUser {
        /// Its socket.
        socket: PathBuf,
    },
}

/// A TAP of the host's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TapSpec {
    /// Which one.
    pub source: TapSource,
    /// How many queues to use, if the user has a wish: else [`TapSpec::most_queues`] of a TAP that
    /// has several, or one.
    pub queues: Option<u16>,
    /// As many queues as a card can make use of.
    pub most_queues: u16,
    /// The bridge for a TAP that we make.
    pub bridge: Option<String>,
    /// Whether the kernel's vhost-net moves the packets.
    #[serde(default)]
    pub vhost: VhostChoice,
}

/// Whether the kernel's vhost-net moves a TAP's packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VhostChoice {
    /// If it can be had.
    #[default]
    Auto,
    /// It must.
    On,
    /// It does not.
    Off,
}

/// Where a TAP comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TapSource {
    /// A name: of one that exists, or for one that we make and that goes with us.
    Name(String),
    /// Descriptors that this process inherited, one for each queue.
    Fds(Vec<i32>),
}

/// The user-mode network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserSpec {
    /// Host ports that lead into the guest.
    pub forwards: Vec<Forward>,
    /// The host name that DHCP gives to the guest.
    pub hostname: Option<String>,
    /// Whether the guest reaches nothing at all; clients of forwards still reach the guest.
    pub restrict: bool,
    /// Whether connections to the router lead to the host's loopback address.
    pub host: bool,
    /// Whether the guest is offered IPv6 beside IPv4.
    pub ipv6: bool,
}

impl Default for UserSpec {
    fn default() -> Self {
        Self {
            forwards: Vec::new(),
            hostname: None,
            restrict: false,
            host: true,
            ipv6: true,
        }
    }
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A host port that leads into the guest, written `[tcp:|udp:][ADDR:]HOST_PORT:GUEST_PORT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Forward {
    /// The protocol.
    pub protocol: Protocol,
    /// The host's address and port.
    pub host: SocketAddr,
    /// The guest's port.
    pub guest_port: u16,
}

/// Why a text is no [`Forward`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not [tcp:|udp:][ADDR:]HOST_PORT:GUEST_PORT")]
pub struct ForwardError(String);

impl FromStr for Forward {
    type Err = ForwardError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| ForwardError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Forward> {
    let (protocol, rest) = match text.split_once(':') {
        Some(("tcp", rest)) => (Protocol::Tcp, rest),
        Some(("udp", rest)) => (Protocol::Udp, rest),
        _ => (Protocol::Tcp, text),
    };
    let (host, guest) = rest.rsplit_once(':')?;
    let guest_port = port(guest)?;
    let host = match host.rsplit_once(':') {
        None => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port(host)?),
        Some((address, host)) => {
            let address: IpAddr = match address.strip_prefix('[') {
                Some(v6) => IpAddr::V6(v6.strip_suffix(']')?.parse().ok()?),
                None => IpAddr::V4(address.parse().ok()?),
            };
            SocketAddr::new(address, port(host)?)
        }
    };
    Some(Forward {
        protocol,
        host,
        guest_port,
    })
}

/// A port: digits alone, no sign.
fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.protocol, self.host, self.guest_port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forward_reads_every_form_and_prints_the_full_one() {
        for (text, full) in [
            ("22022:22", "tcp:0.0.0.0:22022:22"),
            ("tcp:22022:22", "tcp:0.0.0.0:22022:22"),
            ("udp:5353:53", "udp:0.0.0.0:5353:53"),
            ("127.0.0.1:22022:22", "tcp:127.0.0.1:22022:22"),
            ("udp:[::1]:5353:53", "udp:[::1]:5353:53"),
        ] {
            let forward: Forward = text.parse().unwrap();
            assert_eq!(forward.to_string(), full);
            assert_eq!(full.parse(), Ok(forward));
        }
    }

    #[test]
    fn what_is_no_forward_is_refused_with_its_form() {
        for text in [
            "",
            "22",
            "22:",
            ":22",
            "+1:22",
            "65536:22",
            "sctp:1:2",
            "::1:22:22",
            "[::1:22:22",
            "[127.0.0.1]:22:22",
            "1:2:3:4",
            "localhost:22022:22",
        ] {
            let error = text.parse::<Forward>().unwrap_err();
            assert!(error.to_string().contains("HOST_PORT:GUEST_PORT"), "{text}");
        }
    }

    #[test]
    fn a_spec_survives_json() {
        let spec = NetSpec {
            mac: [2, 0, 0, 10, 0xcb, 1],
            mtu: None,
            backend: NetBackendSpec::User(UserSpec {
                forwards: vec!["22022:22".parse().unwrap()],
                hostname: Some("pcp-vm".into()),
                restrict: true,
                ..UserSpec::default()
            }),
        };
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<NetSpec>(&text).unwrap(), spec);
    }
}

//! The specs of single devices.

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
    /// The largest packet.
    pub mtu: u16,
    /// What the card is plugged into.
    pub backend: NetBackendSpec,
}

/// What a network card is plugged into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetBackendSpec {
    /// The user-mode network.
    User {
        /// Host ports that lead into the guest.
        forwards: Vec<Forward>,
    },
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

/// A host port that leads into the guest.
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

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.protocol, self.host, self.guest_port)
    }
}

impl FromStr for Forward {
    type Err = ForwardError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = || ForwardError(text.to_owned());
        let (protocol, rest) = match text.split_once(':') {
            Some(("tcp", rest)) => (Protocol::Tcp, rest),
            Some(("udp", rest)) => (Protocol::Udp, rest),
            _ => (Protocol::Tcp, text),
        };
        let (host, guest) = rest.rsplit_once(':').ok_or_else(fail)?;
        let guest_port = guest.parse().map_err(|_| fail())?;
        let host = match host.rsplit_once(':') {
            Some((addr, port)) => {
                let addr = addr.trim_start_matches('[').trim_end_matches(']');
                let addr: IpAddr = addr.parse().map_err(|_| fail())?;
                SocketAddr::new(addr, port.parse().map_err(|_| fail())?)
            }
            None => (Ipv4Addr::UNSPECIFIED, host.parse().map_err(|_| fail())?).into(),
        };
        Ok(Self {
            protocol,
            host,
            guest_port,
        })
    }
}

/// A shared folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FsSpec {
    /// The name by which the guest mounts it.
    pub tag: String,
    /// The host's folder.
    pub path: PathBuf,
    /// Whether the guest may not write.
    pub read_only: bool,
    /// How much the guest may cache.
    pub cache: CachePolicy,
}

/// How much of a shared folder the guest may cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CachePolicy {
    /// Nothing.
    None,
    /// For a moment, as a network file system does.
    #[default]
    Auto,
    /// For ever: nobody else changes the folder.
    Always,
}

impl FromStr for CachePolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self::None),
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            _ => Err(format!("`{text}` is none of none, auto, always")),
        }
    }
}

impl fmt::Display for CachePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Auto => "auto",
            Self::Always => "always",
        })
    }
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlkSpec {
    /// The raw image or block device.
    pub path: PathBuf,
    /// Whether the guest may not write.
    pub read_only: bool,
    /// The disk's serial number as the guest sees it.
    pub serial: Option<String>,
}

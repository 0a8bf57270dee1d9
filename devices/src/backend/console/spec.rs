//! What a console is connected to, as users and bundles write it.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a console is connected to: `none`, `stdio`, `file=PATH`, `unix=PATH`, `connect=PATH`, `tcp=[ADDR:]PORT`
/// or `fd=N`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ConsoleSpec {
    /// Nothing; the last output is still kept for error reports.
    None,
    /// The process's own standard input and output.
    Stdio,
    /// A file, truncated at start.
    File(PathBuf),
    /// A Unix stream socket that listens at a path.
    Unix(PathBuf),
    /// A Unix stream socket at a path where somebody else listens; the console connects at the start, once.
    Connect(PathBuf),
    /// A TCP socket that listens at an address.
    Tcp(SocketAddr),
    /// A stream socket that listens and that this process inherited, as a service manager hands over (sd_listen_fds(3):
    /// the first is 3).
    Inherited(RawFd),
}

/// Why a text is no [`ConsoleSpec`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConsoleSpecError {
    /// Not one of the known forms.
    #[error(
        "console `{0}` is none of none, stdio, file=PATH, unix=PATH, connect=PATH, tcp=ADDR:PORT, tcp=PORT or fd=N"
    )]
    Form(String),
    /// The part after `tcp=` is no socket address.
    #[error("console address `{0}` is no ADDR:PORT or PORT")]
    Address(String),
    /// The part after `fd=` is no descriptor that can be handed over.
    #[error("console descriptor `{0}` is no number from 3 on")]
    Descriptor(String),
    /// The path is missing.
    #[error("console `{0}=` lacks its path")]
    Path(String),
}

impl FromStr for ConsoleSpec {
    type Err = ConsoleSpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || ConsoleSpecError::Form(text.to_owned());
        match text {
            "none" => return Ok(Self::None),
            "stdio" => return Ok(Self::Stdio),
            _ => {}
        }
        let (kind, value) = text.split_once('=').ok_or_else(form)?;
        let path = || match value {
            "" => Err(ConsoleSpecError::Path(kind.to_owned())),
            path => Ok(PathBuf::from(path)),
        };
        match kind {
            "file" => path().map(Self::File),
            "unix" => path().map(Self::Unix),
            "connect" => path().map(Self::Connect),
            "tcp" => address(value).map(Self::Tcp),
            "fd" => descriptor(value).map(Self::Inherited),
            _ => Err(form()),
        }
    }
}

fn descriptor(text: &str) -> Result<RawFd, ConsoleSpecError> {
    let number = text.parse().ok().filter(|fd| *fd > 2);
    // A sign is a slip.
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let wrong = || ConsoleSpecError::Descriptor(text.to_owned());
    number.filter(|_| plain).ok_or_else(wrong)
}

fn address(text: &str) -> Result<SocketAddr, ConsoleSpecError> {
    let port = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    text.parse()
        .or_else(|_| text.parse().map(port))
        .map_err(|_| ConsoleSpecError::Address(text.to_owned()))
}

impl fmt::Display for ConsoleSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Stdio => f.write_str("stdio"),
            Self::File(path) => write!(f, "file={}", path.display()),
            Self::Unix(path) => write!(f, "unix={}", path.display()),
            Self::Connect(path) => write!(f, "connect={}", path.display()),
            Self::Tcp(address) => write!(f, "tcp={address}"),
            Self::Inherited(fd) => write!(f, "fd={fd}"),
        }
    }
}

impl TryFrom<String> for ConsoleSpec {
    type Error = ConsoleSpecError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ConsoleSpec> for String {
    fn from(spec: ConsoleSpec) -> Self {
        spec.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_back_as_it_is_written() {
        for text in [
            "none",
            "stdio",
            "file=/tmp/a=b",
            "unix=run/console",
            "connect=run/driver",
            "fd=3",
            "tcp=127.0.0.1:24500",
            "tcp=[::1]:24501",
        ] {
            let spec: ConsoleSpec = text.parse().unwrap();
            assert_eq!(spec.to_string(), text);
            let json = serde_json::to_string(&spec).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<ConsoleSpec>(&json).unwrap(), spec);
        }
    }

    #[test]
    fn a_bare_port_is_on_loopback() {
        let spec: ConsoleSpec = "tcp=24500".parse().unwrap();
        assert_eq!(spec.to_string(), "tcp=127.0.0.1:24500");
    }

    #[test]
    fn other_texts_are_refused_with_the_part_that_is_wrong() {
        for (text, part) in [
            ("", "console ``"),
            ("tty", "`tty`"),
            ("pipe=/x", "`pipe=/x`"),
            ("file=", "`file=`"),
            ("tcp=localhost:1", "`localhost:1`"),
            ("tcp=99999", "`99999`"),
        ] {
            let error = text.parse::<ConsoleSpec>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}

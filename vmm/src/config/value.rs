//! Values as users write them, on the command line and in configuration files alike.

mod address;
mod tap;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use self::address::GuestAddress;
pub use self::tap::{TapAddress, TapChoice};
use super::{BlkSpec, ConsoleSpec, FsSpec, Transport};
use crate::sandbox::SandboxMode;

/// Why a text is no such value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// The text does not have the value's form.
    #[error("`{text}` is not {form}")]
    Form {
        /// What was written.
        text: String,
        /// What it should look like.
        form: &'static str,
    },
    /// A number too large to hold.
    #[error("`{0}` is more than any machine holds")]
    TooLarge(String),
    /// An option that the value does not have.
    #[error("unknown option `{option}` (known: {known})")]
    Option {
        /// What was written.
        option: String,
        /// What can be written.
        known: &'static str,
    },
    /// A part of the value has a fault of its own.
    #[error("{0}")]
    Part(String),
}

fn form(text: &str, form: &'static str) -> ValueError {
    ValueError::Form {
        text: text.to_owned(),
        form,
    }
}

/// Splits at single commas; two commas stand for one that belongs to the value.
#[must_use]
pub fn pieces(text: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let doubled = c == ',' && chars.next_if_eq(&',').is_some();
        match pieces.last_mut() {
            Some(piece) if c != ',' || doubled => piece.push(c),
            _ => pieces.push(String::new()),
        }
    }
    pieces
}

/// An amount of memory: a number with `B`, `K`, `M`, `G`, `T` or `P`, in powers of 1024; without a
/// unit, mebibytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MemorySize(
    /// The bytes.
    pub u64,
);

impl FromStr for MemorySize {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let fail = || form(text, "a size such as 512M or 4G");
        let digits = text.find(|c: char| !c.is_ascii_digit());
        let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
        let unit = unit.to_ascii_uppercase();
        let shift = match unit.strip_suffix("IB").unwrap_or(&unit) {
            "B" => 0,
            "K" => 10,
            "" | "M" => 20,
            "G" => 30,
            "T" => 40,
            "P" => 50,
            _ => return Err(fail()),
        };
        if number.is_empty() || unit == "IB" {
            return Err(fail());
        }
        let bytes = number.parse::<u64>().ok();
        bytes
            .and_then(|n| n.checked_mul(1 << shift))
            .map(Self)
            .ok_or_else(|| ValueError::TooLarge(text.to_owned()))
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        let whole = |(shift, _): &(u32, &str)| self.0 > 0 && self.0.is_multiple_of(1 << shift);
        match units.into_iter().find(whole) {
            Some((shift, unit)) => write!(f, "{} {unit}", self.0 >> shift),
            None if self.0 == 1 => f.write_str("1 byte"),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

/// As it was, to the byte.
impl From<MemorySize> for String {
    fn from(size: MemorySize) -> Self {
        format!("{}B", size.0)
    }
}

impl FromStr for Transport {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let all = [Self::Pci, Self::Mmio, Self::MmioCmdline];
        let found = all.into_iter().find(|it| it.to_string() == text);
        found.ok_or_else(|| form(text, "a transport: pci, mmio or mmio-cmdline"))
    }
}

/// What the guest's network card is plugged into.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum NetChoice {
    /// There is no card.
    None,
    /// The user-mode network of the VMM.
    User(UserChoice),
    /// A TAP of the host's.
    Tap(TapChoice),
    /// The process at this socket, by vhost-user.
    VhostUser(PathBuf),
}

/// What the guest reaches through the user-mode network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserChoice {
    /// Nothing at all; clients of forwards still reach the guest.
    pub restrict: bool,
    /// The host's loopback address, at the router's.
    pub host: bool,
    /// IPv6 beside IPv4.
    pub ipv6: bool,
}

impl Default for UserChoice {
    fn default() -> Self {
        Self {
            restrict: false,
            host: true,
            ipv6: true,
        }
    }
}

impl UserChoice {
    fn parse(options: &str) -> Option<Self> {
        let mut choice = Self::default();
        for option in options.split(',') {
            let (name, value) = option.split_once('=')?;
            let place = match name {
                "restrict" => &mut choice.restrict,
                "host" => &mut choice.host,
                "ipv6" => &mut choice.ipv6,
                _ => return None,
            };
            *place = match value {
                "on" => true,
                "off" => false,
                _ => return None,
            };
        }
        Some(choice)
    }
}

impl FromStr for NetChoice {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "none" => Ok(Self::None),
            "user" => Ok(Self::User(UserChoice::default())),
            "tap" => Ok(Self::Tap(TapChoice::default())),
            _ if text.starts_with("tap,") => {
                TapChoice::parse(text.trim_start_matches("tap,")).map(Self::Tap)
            }
            _ if text.starts_with("vhost-user,socket=") => {
                let pieces = pieces(text);
                match pieces.get(1..).unwrap_or_default() {
                    [socket] if socket.len() > "socket=".len() => {
                        let socket = socket.trim_start_matches("socket=");
                        Ok(Self::VhostUser(PathBuf::from(socket)))
                    }
                    _ => Err(form(text, "vhost-user,socket=PATH")),
                }
            }
            _ => text
                .strip_prefix("user,")
                .and_then(UserChoice::parse)
                .map(Self::User)
                .ok_or_else(|| {
                    let want = "a network: none, user[,restrict=on][,host=off][,ipv6=off], tap[,ifname=NAME] or vhost-user,socket=PATH";
                    form(text, want)
                }),
        }
    }
}

impl FromStr for SandboxMode {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "on" => Ok(Self::On),
            "audit" => Ok(Self::Audit),
            "off" => Ok(Self::Off),
            _ => Err(form(text, "a sandbox: on, audit or off")),
        }
    }
}

impl fmt::Display for NetChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = match self {
            Self::None => return f.write_str("none"),
            Self::User(user) => user,
            Self::Tap(tap) => return write!(f, "tap{tap}"),
            Self::VhostUser(socket) => {
                let socket = socket.to_string_lossy().replace(',', ",,");
                return write!(f, "vhost-user,socket={socket}");
            }
        };
        f.write_str("user")?;
        for (differs, text) in [
            (user.restrict, ",restrict=on"),
            (!user.host, ",host=off"),
            (!user.ipv6, ",ipv6=off"),
        ] {
            if differs {
                f.write_str(text)?;
            }
        }
        Ok(())
    }
}

/// Which of the guest's consoles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsolePort {
    /// The 16550, ttyS0.
    Serial,
    /// The virtio console, hvc0.
    Virtio,
}

/// A console and where it leads: `[serial=|virtio=]PLACE`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ConsoleValue {
    /// The console.
    pub port: ConsolePort,
    /// Where it leads.
    pub spec: ConsoleSpec,
}

impl FromStr for ConsoleValue {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (port, place) = match text.split_once('=') {
            Some(("serial", place)) => (ConsolePort::Serial, place),
            Some(("virtio", place)) => (ConsolePort::Virtio, place),
            _ => (ConsolePort::Serial, text),
        };
        let spec = place.parse().map_err(part)?;
        Ok(Self { port, spec })
    }
}

/// What may follow the path of a shared folder.
const SHARE_OPTIONS: &str = "ro, rw, proto=virtiofs|9p|vhost-user, cache=never|auto|always, \
    security=none|passthrough|mapped-xattr, uidmap=GUEST:HOST:COUNT, gidmap=GUEST:HOST:COUNT, \
    only=FILE";

/// A shared folder: `TAG=PATH[,OPTION]…`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ShareValue(
    /// The folder.
    pub FsSpec,
);

impl FromStr for ShareValue {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        const FORM: &str = "a share: TAG=PATH[,ro][,proto=virtiofs|9p|vhost-user][,OPTION]";
        let mut pieces = pieces(text).into_iter();
        let first = pieces.next().unwrap_or_default();
        let (tag, path) = first.split_once('=').ok_or_else(|| form(text, FORM))?;
        if tag.is_empty() || path.is_empty() {
            return Err(form(text, FORM));
        }
        let mut spec = FsSpec::new(tag, path);
        for option in pieces {
            match (option.as_str(), option.split_once('=')) {
                ("ro", _) => spec.read_only = true,
                ("rw", _) => spec.read_only = false,
                (_, Some(("cache", policy))) => spec.cache = policy.parse().map_err(part)?,
                (_, Some(("proto", protocol))) => spec.protocol = protocol.parse().map_err(part)?,
                (_, Some(("security", model))) => spec.security = model.parse().map_err(part)?,
                (_, Some(("uidmap", range))) => spec.uid_map.push(range.parse().map_err(part)?),
                (_, Some(("gidmap", range))) => spec.gid_map.push(range.parse().map_err(part)?),
                (_, Some(("only", file))) => spec.only = Some(file.into()),
                _ => return Err(unknown(option, SHARE_OPTIONS)),
            }
        }
        Ok(Self(spec))
    }
}

/// A disk: `PATH[,format=raw|qcow2][,ro|rw][,serial=TEXT][,queues=N][,io=…][,cache=…]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct DiskValue(
    /// The disk.
    pub BlkSpec,
);

/// What can follow a disk's path.
const DISK_OPTIONS: &str = "format=raw|qcow2, ro, rw, serial=TEXT, queues=N, io=uring|threads, \
    cache=writeback|writethrough|unsafe";

impl FromStr for DiskValue {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let mut pieces = pieces(text).into_iter();
        let path = pieces.next().unwrap_or_default();
        if path.is_empty() {
            return Err(form(
                text,
                "a disk: PATH[,format=raw|qcow2][,ro][,serial=TEXT]",
            ));
        }
        let mut spec = BlkSpec::new(path);
        for option in pieces {
            match (option.as_str(), option.split_once('=')) {
                ("ro", _) => spec.read_only = true,
                ("rw", _) => spec.read_only = false,
                (_, Some(("serial", serial))) => spec.serial = Some(serial.to_owned()),
                (_, Some(("format", format))) => spec.format = Some(format.parse().map_err(part)?),
                (_, Some(("io", mode))) => spec.io = mode.parse().map_err(part)?,
                (_, Some(("cache", mode))) => spec.cache = mode.parse().map_err(part)?,
                (_, Some(("queues", count))) => {
                    let count = count
                        .parse()
                        .map_err(|_| form(count, "a number of queues"))?;
                    spec.queues = Some(count);
                }
                _ => return Err(unknown(option, DISK_OPTIONS)),
            }
        }
        Ok(Self(spec))
    }
}

/// A socket device: `[cid=N,]socket=PATH`, or `[cid=N,]vhost`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct VsockValue {
    /// The guest's context identifier, if the user says which.
    pub cid: Option<u32>,
    /// The Unix socket; none with vhost.
    pub socket: Option<PathBuf>,
}

impl FromStr for VsockValue {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let fail = || form(text, "a socket device: [cid=N,]socket=PATH|vhost");
        let (mut cid, mut socket, mut vhost) = (None, None, false);
        for option in pieces(text) {
            match option.split_once('=') {
                Some(("cid", number)) => cid = Some(number.parse().map_err(|_| fail())?),
                Some(("socket", path)) if !path.is_empty() => socket = Some(path.into()),
                None if option == "vhost" => vhost = true,
                _ => return Err(unknown(option, "cid=N, socket=PATH, vhost")),
            }
        }
        if vhost == socket.is_some() {
            return Err(fail());
        }
        Ok(Self { cid, socket })
    }
}

impl fmt::Display for VsockValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(cid) = self.cid {
            write!(f, "cid={cid},")?;
        }
        match &self.socket {
            Some(socket) => write!(f, "socket={}", socket.display()),
            None => f.write_str("vhost"),
        }
    }
}

fn part(error: impl fmt::Display) -> ValueError {
    ValueError::Part(error.to_string())
}

fn unknown(option: String, known: &'static str) -> ValueError {
    ValueError::Option { option, known }
}

// Expands to `impl TryFrom<String> for MemorySize { … text.parse() }` and so on, which serde needs.
macro_rules! from_string {
    ($($type:ty),*) => {$(
        impl TryFrom<String> for $type {
            type Error = ValueError;

            fn try_from(text: String) -> Result<Self, ValueError> {
                text.parse()
            }
        }
    )*};
}

from_string!(
    MemorySize,
    NetChoice,
    ConsoleValue,
    ShareValue,
    DiskValue,
    VsockValue
);

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Cache, Security, ShareProtocol};
    use super::*;
    use crate::config::{CacheMode, DiskFormat, IoMode};

    #[test]
    fn sizes_have_units_of_1024_and_default_to_mebibytes() {
        let bytes = |text: &str| text.parse::<MemorySize>().map(|size| size.0);
        for (text, want) in [
            ("1024", 1 << 30),
            ("1B", 1),
            ("0", 0),
            ("64k", 64 << 10),
            ("512M", 512 << 20),
            ("4GiB", 4 << 30),
            ("1P", 1 << 50),
        ] {
            assert_eq!(bytes(text), Ok(want), "{text}");
        }
        for text in [
            "", "M", "-1", "1.5G", "1X", "1MB2", "G1", "1iB", " 1", "1\u{fc}",
        ] {
            assert!(
                matches!(bytes(text), Err(ValueError::Form { .. })),
                "{text}"
            );
        }
        for text in ["99999999999999999999", "99999P"] {
            assert!(
                matches!(bytes(text), Err(ValueError::TooLarge(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn a_network_reads_its_options_and_shows_those_that_differ() {
        for (text, shown) in [
            ("none", "none"),
            ("user", "user"),
            ("user,restrict=off,host=on", "user"),
            ("user,ipv6=off,restrict=on", "user,restrict=on,ipv6=off"),
            ("user,host=off", "user,host=off"),
        ] {
            let choice: NetChoice = text.parse().unwrap();
            assert_eq!(choice.to_string(), shown);
            assert_eq!(shown.parse(), Ok(choice));
        }
        for text in ["", "user,", "none,host=off", "user,host", "user,host=1"] {
            assert!(text.parse::<NetChoice>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_in_the_largest_whole_unit() {
        for (bytes, want) in [(1 << 30, "1 GiB"), (1536 << 20, "1536 MiB"), (0, "0 bytes")] {
            assert_eq!(MemorySize(bytes).to_string(), want);
        }
    }

    #[test]
    fn a_console_is_the_serial_port_unless_it_says_virtio() {
        let parse = |text: &str| text.parse::<ConsoleValue>().map(|c| (c.port, c.spec));
        let file = ConsoleSpec::File("a=b".into());
        assert_eq!(
            parse("stdio"),
            Ok((ConsolePort::Serial, ConsoleSpec::Stdio))
        );
        assert_eq!(parse("file=a=b"), Ok((ConsolePort::Serial, file.clone())));
        assert_eq!(parse("virtio=file=a=b"), Ok((ConsolePort::Virtio, file)));
        assert!(parse("virtio=").is_err());
        assert!(parse("usb=stdio").is_err());
    }

    #[test]
    fn a_share_has_a_tag_a_path_and_options() {
        let share: ShareValue = "src=/a,,b,ro,cache=always".parse().unwrap();
        let want = FsSpec {
            read_only: true,
            cache: Cache::Always,
            ..FsSpec::new("src", "/a,b")
        };
        assert_eq!(share.0, want);
        let text = "s=/,proto=9p,security=mapped-xattr,uidmap=0:1000:1,uidmap=1:5:2,only=l";
        let share: ShareValue = text.parse().unwrap();
        let want = FsSpec {
            protocol: ShareProtocol::P9,
            security: Security::MappedXattr,
            uid_map: vec!["0:1000:1".parse().unwrap(), "1:5:2".parse().unwrap()],
            only: Some("l".into()),
            ..FsSpec::new("s", "/")
        };
        assert_eq!(share.0, want);
        for text in [
            "",
            "src",
            "=x",
            "src=",
            "src=/a,w",
            "src=/a,cache=x",
            "src=/a,proto=nfs",
            "src=/a,security=mapped",
            "src=/a,uidmap=0:1",
            "src=/a,",
        ] {
            assert!(text.parse::<ShareValue>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_socket_device_has_an_identifier_and_a_socket() {
        let vsock: VsockValue = "cid=3,socket=/run/v,,m".parse().unwrap();
        let socket = vsock.socket.as_deref();
        assert_eq!((vsock.cid, socket), (Some(3), Some(Path::new("/run/v,m"))));
        let vhost: VsockValue = "vhost,cid=4".parse().unwrap();
        assert_eq!((vhost.cid, &vhost.socket), (Some(4), &None));
        assert_eq!(vhost.to_string(), "cid=4,vhost");
        for text in ["vhost", "socket=/s"] {
            let vsock: VsockValue = text.parse().unwrap();
            assert_eq!((vsock.cid, vsock.to_string().as_str()), (None, text));
        }
        for text in [
            "",
            "cid=3",
            "cid=3,vhost=on",
            "cid=3,socket=/s,vhost",
            "cid=x,socket=/s",
            "cid=3,socket=",
            "3,/s",
        ] {
            assert!(text.parse::<VsockValue>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_disk_has_a_path_and_options() {
        let disk: DiskValue = "a.img,serial=d0,ro".parse().unwrap();
        assert!(disk.0.read_only);
        assert_eq!(disk.0.serial.as_deref(), Some("d0"));
        let text = "b,format=qcow2,queues=2,io=threads,cache=unsafe";
        let disk: DiskValue = text.parse().unwrap();
        let spec = BlkSpec {
            format: Some(DiskFormat::Qcow2),
            queues: Some(2),
            io: IoMode::Threads,
            cache: CacheMode::Unsafe,
            ..BlkSpec::new("b")
        };
        assert_eq!(disk.0, spec);
        for text in [
            "",
            ",ro",
            "a.img,size=3",
            "a,format=auto",
            "a,queues=x",
            "a,io=",
        ] {
            assert!(text.parse::<DiskValue>().is_err(), "{text}");
        }
    }
}

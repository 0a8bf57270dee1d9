//! What `pcp-vmm exec` and the agent in its guest say to each other.
//!
//! The agent opens every connection of a session, to a port of the host's vsock address, and says with one byte what it is
//! for ([`Channel`]), then the session's [`Token`]. Over the first, the control connection, the host sends an [`Order`] and
//! then [`Demand`]s, the agent [`News`]. The others carry one stream each, byte for byte: its end is the connection's end in
//! that direction.
//!
//! In a guest that runs one command alone, the port is [`PORT`] and the token nothing but zeros. In others the agent listens
//! at [`PORT`] of the guest's address for a [`Call`], which names both.
//!
//! Numbers are little-endian. This file is compiled into the program and, by a bare compiler, into the guest's init: it uses
//! the standard library alone.

use std::io::{self, Read, Write};
use std::net::Ipv4Addr;

use words::{byte, bytes, half, list, long, number, pairs, put_list, put_word, word, wrong};

#[path = "wire/words.rs"]
mod words;

/// The port where a session begins.
pub const PORT: u32 = 1024;
/// The version of this protocol, the first byte of an order.
pub const VERSION: u8 = 2;
/// The most groups of a process (`NGROUPS_MAX`).
const MOST_GROUPS: u32 = 65536;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Orders and news.
    Control,
    /// The command's standard input.
    Input,
    /// Its standard output.
    Output,
    /// Its standard error.
    Errors,
    /// Its terminal, both ways.
    Terminal,
}

/// Its byte.
const CHANNELS: [(u8, Channel); 5] = [
    (b'c', Channel::Control),
    (b'i', Channel::Input),
    (b'o', Channel::Output),
    (b'e', Channel::Errors),
    (b't', Channel::Terminal),
];

impl Channel {
    /// The byte that a connection of this kind begins with.
    #[must_use]
    pub fn byte(self) -> u8 {
        let found = CHANNELS.iter().find(|(_, channel)| *channel == self);
        found.map_or(0, |(byte, _)| *byte)
    }

    /// The kind of connection that begins with `byte`.
    #[must_use]
    pub fn of(byte: u8) -> Option<Self> {
        let found = CHANNELS.iter().find(|(known, _)| *known == byte);
        found.map(|(_, channel)| *channel)
    }
}

/// What tells a session's connections from those that somebody else in the guest makes.
pub type Token = [u8; 16];

/// The host's wish for a session. The agent answers with its own [`VERSION`], one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The host's port for it.
    pub port: u32,
    /// Its token.
    pub token: Token,
}

impl Call {
    /// Writes the call.
    ///
    /// # Errors
    /// What writing meets.
    pub fn write(self, to: &mut dyn Write) -> io::Result<()> {
        let mut all = vec![VERSION];
        all.extend(self.port.to_le_bytes());
        all.extend(self.token);
        to.write_all(&all)
    }

    /// Reads a call; nothing if it is of another version.
    ///
    /// # Errors
    /// What reading meets.
    pub fn read(from: &mut dyn Read) -> io::Result<Option<Self>> {
        if byte(from)? != VERSION {
            return Ok(None);
        }
        let (port, token) = (number(from)?, bytes(from)?);
        Ok(Some(Self { port, token }))
    }
}

/// A command and what it runs with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// The program and its arguments.
    pub words: Vec<Vec<u8>>,
    /// Its environment, as `NAME=VALUE`.
    pub environment: Vec<Vec<u8>>,
    /// The folder that it starts in.
    pub folder: Vec<u8>,
    /// Its user.
    pub user: u32,
    /// Its group.
    pub group: u32,
    /// The groups that it is in besides.
    pub groups: Vec<u32>,
    /// The size of its terminal, if it gets one in place of three pipes.
    pub terminal: Option<Size>,
    /// Whether its standard error is its standard output, so that both keep their order.
    pub one_output: bool,
    /// The guest's name; without one it keeps its own.
    pub hostname: Vec<u8>,
    /// Shares of the host and the folders that they are mounted on, in this order.
    pub mounts: Vec<Mount>,
    /// Symbolic links to make where nothing is yet.
    pub links: Vec<Link>,
    /// The guest's place in the network, if it has a card.
    pub network: Option<Network>,
    /// Whether a guest that runs one command waits for another order if this one's fails.
    pub stays: bool,
}

/// A virtio-fs share and where it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Its tag; none for an empty folder in RAM that all may write to.
    pub tag: Vec<u8>,
    /// The folder, which is made if it is missing.
    pub folder: Vec<u8>,
}

/// A symbolic link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where it is.
    pub path: Vec<u8>,
    /// Where it leads.
    pub target: Vec<u8>,
}

/// A place in an IPv4 network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The guest's address.
    pub address: Ipv4Addr,
    /// The network's bits in it.
    pub netmask: Ipv4Addr,
    /// The way out.
    pub gateway: Ipv4Addr,
    /// The name server.
    pub nameserver: Ipv4Addr,
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Its lines.
    pub rows: u16,
    /// Its columns.
    pub columns: u16,
}

/// What the host wants of a running command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// To send the command this signal.
    Signal(u8),
    /// To send it to the command's whole process group, as a terminal's keys do.
    SignalGroup(u8),
    /// To give its terminal another size.
    Resize(Size),
}

/// What there is to tell of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It runs.
    Started,
    /// It could not be started.
    Failed {
        /// At what.
        step: Step,
        /// Linux's error number.
        errno: i32,
    },
    /// It has ended, and all that it put out has been sent.
    Ended {
        /// How.
        how: How,
        /// What it used, with the children that it waited for.
        usage: Usage,
    },
}

/// A step of a command's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Its share was mounted.
    Mount,
    /// Its streams were made.
    Streams,
    /// Its folder was entered.
    Folder,
    /// Its program was executed.
    Program,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// With this status.
    Exited(u8),
    /// By this signal.
    Signalled(u8),
}

/// What a process used (getrusage(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time in user space, in microseconds.
    pub user_us: u64,
    /// Processor time in the kernel, in microseconds.
    pub kernel_us: u64,
    /// The most memory that it had at a time, in KiB.
    pub most_kib: u64,
}

impl Size {
    fn read(from: &mut dyn Read) -> io::Result<Self> {
        let (rows, columns) = (half(from)?, half(from)?);
        Ok(Self { rows, columns })
    }

    fn put(self, to: &mut Vec<u8>) {
        to.extend(self.rows.to_le_bytes());
        to.extend(self.columns.to_le_bytes());
    }
}

impl Order {
    /// Writes the order.
    ///
    /// # Errors
    /// `E2BIG` if the command or its environment is longer than Linux takes; what writing meets.
    pub fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        let mut all = vec![VERSION];
        put_list(&mut all, &self.words)?;
        put_list(&mut all, &self.environment)?;
        put_word(&mut all, &self.folder)?;
        all.extend(self.user.to_le_bytes());
        all.extend(self.group.to_le_bytes());
        all.extend(u32::try_from(self.groups.len()).unwrap_or(0).to_le_bytes());
        for group in &self.groups {
            all.extend(group.to_le_bytes());
        }
        all.push(u8::from(self.terminal.is_some()));
        self.terminal.unwrap_or_default().put(&mut all);
        all.push(u8::from(self.one_output));
        put_word(&mut all, &self.hostname)?;
        all.extend(u32::try_from(self.mounts.len()).unwrap_or(0).to_le_bytes());
        for mount in &self.mounts {
            put_word(&mut all, &mount.tag)?;
            put_word(&mut all, &mount.folder)?;
        }
        all.extend(u32::try_from(self.links.len()).unwrap_or(0).to_le_bytes());
        for link in &self.links {
            put_word(&mut all, &link.path)?;
            put_word(&mut all, &link.target)?;
        }
        all.push(u8::from(self.network.is_some()));
        if let Some(it) = self.network {
            for address in [it.address, it.netmask, it.gateway, it.nameserver] {
                all.extend(address.octets());
            }
        }
        all.push(u8::from(self.stays));
        to.write_all(&all)
    }

    /// Whether Linux takes so long a command and environment.
    ///
    /// # Errors
    /// `E2BIG` if it does not.
    pub fn check(&self) -> io::Result<()> {
        self.write(&mut io::sink())
    }

    /// Reads an order.
    ///
    /// # Errors
    /// `InvalidData` for another version, no words, or lengths beyond Linux's bounds; what reading meets.
    pub fn read(from: &mut dyn Read) -> io::Result<Self> {
        if byte(from)? != VERSION {
            return Err(wrong("the order has another version"));
        }
        let (words, environment) = (list(from)?, list(from)?);
        if words.is_empty() {
            return Err(wrong("the order has no words"));
        }
        let (folder, user, group) = (word(from)?, number(from)?, number(from)?);
        let count = number(from)?;
        if count > MOST_GROUPS {
            return Err(wrong("there are too many groups"));
        }
        let groups = (0..count).map(|_| number(from)).collect::<Result<_, _>>()?;
        let has_terminal = byte(from)? != 0;
        let size = Size::read(from)?;
        let one_output = byte(from)? != 0;
        let hostname = word(from)?;
        let mounts = pairs(from, |tag, folder| Mount { tag, folder })?;
        let links = pairs(from, |path, target| Link { path, target })?;
        let network = match byte(from)? {
            0 => None,
            _ => Some(Network {
                address: bytes::<4>(from)?.into(),
                netmask: bytes::<4>(from)?.into(),
                gateway: bytes::<4>(from)?.into(),
                nameserver: bytes::<4>(from)?.into(),
            }),
        };
        let stays = byte(from)? != 0;
        Ok(Self {
            stays,
            one_output,
            hostname,
            mounts,
            links,
            network,
            words,
            environment,
            folder,
            user,
            group,
            groups,
            terminal: has_terminal.then_some(size),
        })
    }
}

impl Demand {
    /// Writes the demand.
    ///
    /// # Errors
    /// What writing meets.
    pub fn write(self, to: &mut dyn Write) -> io::Result<()> {
        let mut all = Vec::new();
        match self {
            Self::Signal(signal) => all.extend([b's', signal]),
            Self::SignalGroup(signal) => all.extend([b'g', signal]),
            Self::Resize(size) => {
                all.push(b'r');
                size.put(&mut all);
            }
        }
        to.write_all(&all)
    }

    /// Reads the next demand.
    ///
    /// # Errors
    /// `InvalidData` for an unknown one; what reading meets, `UnexpectedEof` at the end.
    pub fn read(from: &mut dyn Read) -> io::Result<Self> {
        match byte(from)? {
            b's' => byte(from).map(Self::Signal),
            b'g' => byte(from).map(Self::SignalGroup),
            b'r' => Size::read(from).map(Self::Resize),
            _ => Err(wrong("an unknown demand")),
        }
    }
}

/// The bytes of the steps, by their places.
const STEPS: [Step; 4] = [Step::Mount, Step::Streams, Step::Folder, Step::Program];

impl News {
    /// Writes the news.
    ///
    /// # Errors
    /// What writing meets.
    pub fn write(self, to: &mut dyn Write) -> io::Result<()> {
        let mut all = Vec::new();
        match self {
            Self::Started => all.push(b's'),
            Self::Failed { step, errno } => {
                let place = STEPS.iter().position(|it| *it == step).unwrap_or(0);
                all.extend([b'f', u8::try_from(place).unwrap_or(0)]);
                all.extend(errno.to_le_bytes());
            }
            Self::Ended { how, usage } => {
                all.extend(match how {
                    How::Exited(status) => [b'e', b'x', status],
                    How::Signalled(signal) => [b'e', b's', signal],
                });
                for number in [usage.user_us, usage.kernel_us, usage.most_kib] {
                    all.extend(number.to_le_bytes());
                }
            }
        }
        to.write_all(&all)
    }

    /// Reads the next news.
    ///
    /// # Errors
    /// `InvalidData` for unknown ones; what reading meets, `UnexpectedEof` at the end.
    pub fn read(from: &mut dyn Read) -> io::Result<Self> {
        Ok(match byte(from)? {
            b's' => Self::Started,
            b'f' => {
                let step = STEPS.get(usize::from(byte(from)?));
                let step = *step.ok_or_else(|| wrong("an unknown step"))?;
                let errno = bytes(from).map(i32::from_le_bytes)?;
                Self::Failed { step, errno }
            }
            b'e' => {
                let how = match byte(from)? {
                    b'x' => How::Exited(byte(from)?),
                    b's' => How::Signalled(byte(from)?),
                    _ => return Err(wrong("an unknown end")),
                };
                let usage = Usage {
                    user_us: long(from)?,
                    kernel_us: long(from)?,
                    most_kib: long(from)?,
                };
                Self::Ended { how, usage }
            }
            _ => return Err(wrong("unknown news")),
        })
    }
}

#[cfg(test)]
#[path = "wire/tests.rs"]
mod tests;

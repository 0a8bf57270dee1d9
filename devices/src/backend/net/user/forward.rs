//! The host ports that lead into the guest.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

use super::slots::Slots;
use super::token::{Kind, token};
use super::watched::Watched;
use crate::backend::net::{Forward, NetError, Protocol};
use crate::backend::port_owner::{Transport, port_owner};
use crate::virtio::device::{Interest, Registry};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;
/// The most forwards of one network.
pub(super) const FORWARDS_MAX: u32 = 4096;

/// A socket on the host that leads into the guest.
#[derive(Debug)]
pub(super) struct Listener {
    /// What it is for.
    pub(super) forward: Forward,
    /// A listening TCP socket or a bound UDP one.
    pub(super) socket: Watched,
}

/// The forwards by index.
pub(super) type Forwards = Slots<Listener>;

/// No forwards yet.
pub(super) fn none() -> Forwards {
    Slots::new(FORWARDS_MAX)
}

/// Opens the host port of `forward`.
pub(super) fn open(forward: Forward) -> Result<OwnedFd, NetError> {
    let address = forward.host;
    match socket(forward.protocol, address) {
        Ok(fd) => Ok(fd),
        Err(Errno::ADDRINUSE) => Err(NetError::PortTaken {
            forward,
            owner: port_owner(transport(forward.protocol), address),
            source: Errno::ADDRINUSE.into(),
        }),
        Err(error) => Err(NetError::Listen {
            forward,
            address,
            source: error.into(),
        }),
    }
}

/// Adds a forward whose port is open; its index, if there is room.
pub(super) fn add(forwards: &mut Forwards, forward: Forward, fd: OwnedFd) -> Option<u32> {
    let index = forwards.vacant()?;
    let socket = Watched::new(fd, token(Kind::Forward, index));
    forwards.insert(Listener { forward, socket })
}

impl Listener {
    /// Waits for clients, or leaves them waiting.
    pub(super) fn listen(&mut self, on: bool, events: &mut dyn Registry) {
        let interest = if on { Interest::Read } else { Interest::None };
        if let Err(error) = self.socket.watch(Some(interest), events) {
            log::warn!("forward {}: cannot watch it: {error}", self.forward);
        }
    }

    /// The next client.
    pub(super) fn accept(&self) -> Result<OwnedFd, Errno> {
        net::accept_with(&self.socket, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)
    }
}

fn transport(protocol: Protocol) -> Transport {
    match protocol {
        Protocol::Tcp => Transport::Tcp,
        Protocol::Udp => Transport::Udp,
    }
}

fn socket(protocol: Protocol, address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = family(address);
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = net::socket_with(family, kind, flags, None)?;
    if family == AddressFamily::INET6 {
        sockopt::set_ipv6_v6only(&fd, true)?;
    }
    if protocol == Protocol::Tcp {
        // Old connections in TIME-WAIT do not hold the port.
        sockopt::set_socket_reuseaddr(&fd, true)?;
    }
    net::bind(&fd, &address)?;
    if protocol == Protocol::Tcp {
        net::listen(&fd, BACKLOG)?;
    }
    Ok(fd)
}

/// The address family of `address`.
pub(super) fn family(address: SocketAddr) -> AddressFamily {
    if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    }
}

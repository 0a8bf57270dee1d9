//! What is in use on this machine, whoever's it is: identifiers that a VM has claimed, and ports that somebody listens at.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use vmm::config::Protocol;

/// Identifiers that this process alone uses, until it drops them or ends, in whichever way.
///
/// A claim is a socket with a name that is no path (unix(7), "Abstract"): all users of a network namespace share those
/// names, as they share its ports and interfaces, and nothing is left when the process is gone.
#[derive(Debug, Default)]
pub(crate) struct Claims(Vec<UnixDatagram>);

impl Claims {
    /// Claims all of `ids`, or none if another process has one of them.
    pub(crate) fn take(&mut self, pool: &str, ids: impl IntoIterator<Item = String>) -> bool {
        let before = self.0.len();
        for id in ids {
            let name = format!("pcp-vmm/{pool}/{id}");
            let bound = UnixAddress::from_abstract_name(&name)
                .and_then(|address| UnixDatagram::bind_addr(&address));
            match bound {
                Ok(socket) => self.0.push(socket),
                Err(error) if error.kind() == ErrorKind::AddrInUse => {
                    self.0.truncate(before);
                    return false;
                }
                // What cannot be claimed shows when it is used.
                Err(error) => log::warn!("cannot claim `{name}`: {error}"),
            }
        }
        true
    }
}

/// Whether somebody listens at `address`.
pub(crate) fn is_listened_at(protocol: Protocol, address: SocketAddr) -> bool {
    let bind = || {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let (kind, reuse) = match protocol {
            // Not a listener, and so not in the way of others that look at the same time (socket(7), SO_REUSEADDR).
            Protocol::Tcp => (SocketType::STREAM, true),
            Protocol::Udp => (SocketType::DGRAM, false),
        };
        let socket = net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
        sockopt::set_socket_reuseaddr(&socket, reuse)?;
        net::bind(&socket, &address)
    };
    bind() == Err(Errno::ADDRINUSE)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn what_one_has_claimed_another_cannot_until_it_is_dropped() {
        let pool = format!("test-{}", std::process::id());
        let ids = |range: std::ops::Range<u32>| range.map(|id| id.to_string());
        let (mut first, mut second) = (Claims::default(), Claims::default());
        assert!(first.take(&pool, ids(0..3)));
        assert!(!second.take(&pool, ids(2..5)));
        // Nothing is kept of what was not had whole.
        assert!(first.take(&pool, ids(3..5)));
        drop(first);
        assert!(second.take(&pool, ids(0..5)));
    }

    #[test]
    fn a_port_is_seen_to_be_in_use() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut address = tcp.local_addr().unwrap();
        assert!(is_listened_at(Protocol::Tcp, address));
        address.set_ip([0, 0, 0, 0].into());
        assert!(is_listened_at(Protocol::Tcp, address));
        drop(tcp);
        assert!(!is_listened_at(Protocol::Tcp, address));
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(is_listened_at(Protocol::Udp, udp.local_addr().unwrap()));
    }
}

//! Who the guest talks with: servers on the host's loopback address, and clients of forwards.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use devices::backend::net::{Forward, Protocol};

use crate::input::Input;

/// What servers listen on; the guest reaches it at the router's address.
const SERVED: u16 = 7;
/// The name server that [`crate::ground`] sets.
const NAMES: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53)), 53);
/// The most connections at a time.
const STREAMS: usize = 8;

/// Servers, which all inputs share.
#[derive(Debug)]
struct Servers {
    tcp: [TcpListener; 2],
    udp: [UdpSocket; 2],
    names: UdpSocket,
}

impl Servers {
    fn new() -> io::Result<Self> {
        let addresses: [SocketAddr; 2] = [
            (Ipv4Addr::LOCALHOST, SERVED).into(),
            (Ipv6Addr::LOCALHOST, SERVED).into(),
        ];
        let servers = Self {
            tcp: [
                TcpListener::bind(addresses[0])?,
                TcpListener::bind(addresses[1])?,
            ],
            udp: [
                UdpSocket::bind(addresses[0])?,
                UdpSocket::bind(addresses[1])?,
            ],
            names: UdpSocket::bind(NAMES)?,
        };
        servers
            .tcp
            .iter()
            .try_for_each(|it| it.set_nonblocking(true))?;
        servers
            .udp
            .iter()
            .try_for_each(|it| it.set_nonblocking(true))?;
        servers.names.set_nonblocking(true)?;
        Ok(servers)
    }

    /// All inputs' servers.
    fn get() -> &'static Self {
        static SERVERS: OnceLock<Servers> = OnceLock::new();
        SERVERS.get_or_init(|| Self::new().expect("servers on a network of our own"))
    }
}

/// The peers of one input.
#[derive(Debug)]
pub(super) struct Peers {
    forwards: Vec<Forward>,
    streams: Vec<TcpStream>,
    client: Option<UdpSocket>,
}

impl Default for Peers {
    fn default() -> Self {
        // A port that was in use a moment ago may not be free yet.
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let port = 10000 + 2 * (NEXT.fetch_add(1, Ordering::Relaxed) % 10000);
        Servers::get();
        let forward = |protocol, port, guest_port| Forward {
            protocol,
            host: (Ipv4Addr::LOCALHOST, port).into(),
            guest_port,
        };
        Self {
            forwards: vec![
                forward(Protocol::Tcp, port, 22),
                forward(Protocol::Udp, port + 1, 53),
            ],
            streams: Vec::new(),
            client: None,
        }
    }
}

impl Peers {
    /// The forwards that lead to the guest.
    pub(super) fn forwards(&self) -> Vec<Forward> {
        self.forwards.clone()
    }

    fn keep(&mut self, stream: TcpStream) {
        if self.streams.len() < STREAMS && stream.set_nonblocking(true).is_ok() {
            self.streams.push(stream);
        }
    }

    fn stream(&mut self, number: u8) -> Option<&mut TcpStream> {
        let count = self.streams.len().max(1);
        self.streams.get_mut(usize::from(number) % count)
    }

    /// Does what the input says.
    pub(super) fn act(&mut self, input: &mut Input<'_>) {
        let (what, number) = (input.u8(), input.u8());
        match what % 8 {
            0 => {
                if let Ok(stream) = TcpStream::connect(self.forwards[0].host) {
                    self.keep(stream);
                }
            }
            1 => {
                let server = &Servers::get().tcp[usize::from(number) % 2];
                if let Ok((stream, _)) = server.accept() {
                    self.keep(stream);
                }
            }
            2 => {
                let data = input.string();
                if let Some(stream) = self.stream(number) {
                    let _ = stream.write(data);
                }
            }
            3 => {
                if let Some(stream) = self.stream(number) {
                    let _ = stream.read(&mut [0; 1 << 16]);
                }
            }
            4 => {
                if let Some(stream) = self.stream(number) {
                    let _ = stream.shutdown(Shutdown::Write);
                }
            }
            5 => {
                if usize::from(number) < self.streams.len() {
                    self.streams.swap_remove(number.into());
                }
            }
            6 => self.send_datagram(input.string()),
            _ => answer(),
        }
    }

    /// A client of the UDP forward sends.
    fn send_datagram(&mut self, data: &[u8]) {
        if self.client.is_none() {
            self.client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok();
        }
        if let Some(client) = &self.client {
            let _ = client.send_to(data, self.forwards[1].host);
        }
    }
}

/// Every datagram that waits at a server comes back; names are answered.
fn answer() {
    let servers = Servers::get();
    let mut data = [0; 2048];
    for server in &servers.udp {
        while let Ok((len, from)) = server.recv_from(&mut data) {
            let _ = server.send_to(&data[..len], from);
        }
    }
    while let Ok((len, from)) = servers.names.recv_from(&mut data) {
        data[2] |= 0x80;
        let _ = servers.names.send_to(&data[..len], from);
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        // What was left for the servers is not the next input's.
        for server in &Servers::get().tcp {
            while server.accept().is_ok() {}
        }
        answer();
    }
}

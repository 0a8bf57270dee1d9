//! A guest made of smoltcp, and the network that it is plugged into.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{
    Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken,
};
use smoltcp::socket::{tcp, udp};
use smoltcp::time::Instant as WireInstant;
use smoltcp::wire::{EthernetAddress, IpCidr, IpEndpoint, Ipv4Cidr, Ipv6Cidr};

use crate::backend::net::user::checksum::pseudo_header;
use crate::backend::net::user::{GATEWAY, GATEWAY6, GUEST, PREFIX6, UserNet};
use crate::backend::net::{
    F_GUEST_CSUM, F_GUEST_TSO4, F_GUEST_TSO6, F_MTU, Forward, HDR_F_NEEDS_CSUM, HDR_GSO_TCPV4,
    HDR_GSO_TCPV6, NetBackend, PacketHeader, UserSpec,
};
use crate::virtio::queue::Reader;
use crate::virtio::testing::FakeRegistry;

pub(super) const MAC: [u8; 6] = [2, 0, 0, 10, 0xcb, 1];

/// Every offload that the guest can take.
pub(super) const OFFLOADS: u64 = F_MTU | F_GUEST_CSUM | F_GUEST_TSO4 | F_GUEST_TSO6;

/// The guest's own choice.
pub(super) const GUEST6: Ipv6Addr = {
    let [a, b, c, d, ..] = PREFIX6.segments();
    Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0x15)
};

/// Nothing in these tests takes longer.
const LIMIT: Duration = Duration::from_secs(20);

/// The wire between the guest and the network.
pub(super) struct Wire {
    pub(super) to_guest: VecDeque<Vec<u8>>,
    pub(super) from_guest: VecDeque<Vec<u8>>,
    mtu: usize,
    checksums: bool,
    segments: bool,
}

impl Device for Wire {
    type RxToken<'a> = Incoming;
    type TxToken<'a> = Outgoing<'a>;

    fn receive(&mut self, _: WireInstant) -> Option<(Incoming, Outgoing<'_>)> {
        let frame = self.to_guest.pop_front()?;
        Some((Incoming(frame), Outgoing(&mut self.from_guest)))
    }

    fn transmit(&mut self, _: WireInstant) -> Option<Outgoing<'_>> {
        Some(Outgoing(&mut self.from_guest))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.mtu + 14;
        capabilities.checksum = ChecksumCapabilities::default();
        if !self.checksums {
            capabilities.checksum.tcp = Checksum::None;
            capabilities.checksum.udp = Checksum::None;
        }
        if self.segments {
            capabilities.segmentation.tcpv4 = NonZeroUsize::new(14 + 65535);
        }
        capabilities
    }
}

pub(super) struct Incoming(Vec<u8>);

impl RxToken for Incoming {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

pub(super) struct Outgoing<'a>(&'a mut VecDeque<Vec<u8>>);

impl TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut frame = vec![0; len];
        let result = write(&mut frame);
        self.0.push_back(frame);
        result
    }
}

/// A guest and its network.
pub(super) struct Guest {
    pub(super) net: UserNet,
    pub(super) events: FakeRegistry,
    pub(super) wire: Wire,
    pub(super) sockets: SocketSet<'static>,
    /// Whether the guest has room for packets.
    pub(super) takes: bool,
    interface: Interface,
    start: Instant,
    next_port: u16,
}

impl Guest {
    /// A guest that knows its address, with the offload `features`.
    pub(super) fn new(features: u64, forwards: &[Forward]) -> Self {
        let mut guest = Self::without_address(features, forwards);
        guest.set_address();
        guest
    }

    /// A guest on a link with the largest MTU.
    pub(super) fn jumbo() -> Self {
        let net = UserNet::new(MAC, Some(65520), &UserSpec::default()).unwrap();
        let mut guest = Self::on(net, OFFLOADS);
        guest.set_address();
        guest
    }

    /// A guest that has no address yet.
    pub(super) fn without_address(features: u64, forwards: &[Forward]) -> Self {
        let spec = UserSpec {
            forwards: forwards.to_vec(),
            hostname: Some("pcp-vm".into()),
            ..UserSpec::default()
        };
        Self::on(UserNet::new(MAC, None, &spec).unwrap(), features)
    }

    /// A guest with its address on the network of `spec`.
    pub(super) fn with(spec: &UserSpec) -> Self {
        let mut guest = Self::on(UserNet::new(MAC, None, spec).unwrap(), OFFLOADS);
        guest.set_address();
        guest
    }

    fn on(mut net: UserNet, features: u64) -> Self {
        let mut events = FakeRegistry::default();
        net.start(features, &mut events).unwrap();
        let mut wire = Wire {
            to_guest: VecDeque::new(),
            from_guest: VecDeque::new(),
            mtu: net.mtu().into(),
            checksums: features & F_GUEST_CSUM == 0,
            segments: features & F_GUEST_TSO4 != 0,
        };
        let mut config = Config::new(EthernetAddress(MAC).into());
        config.random_seed = 7;
        let interface = Interface::new(config, &mut wire, WireInstant::ZERO);
        Self {
            net,
            events,
            wire,
            sockets: SocketSet::new(Vec::new()),
            takes: true,
            interface,
            start: Instant::now(),
            next_port: 40000,
        }
    }

    /// Gives the guest its address.
    pub(super) fn set_address(&mut self) {
        let cidr = IpCidr::Ipv4(Ipv4Cidr::new(GUEST, 24));
        self.interface
            .update_ip_addrs(|addresses| addresses.push(cidr).unwrap());
        self.interface
            .routes_mut()
            .add_default_ipv4_route(GATEWAY)
            .unwrap();
    }

    /// Gives the guest an IPv6 address, as it would make one for the prefix.
    pub(super) fn set_address_v6(&mut self) {
        let cidr = IpCidr::Ipv6(Ipv6Cidr::new(GUEST6, 64));
        self.interface
            .update_ip_addrs(|addresses| addresses.push(cidr).unwrap());
        self.interface
            .routes_mut()
            .add_default_ipv6_route(GATEWAY6)
            .unwrap();
    }

    fn now(&self) -> WireInstant {
        WireInstant::from_micros(i64::try_from(self.start.elapsed().as_micros()).unwrap())
    }

    /// Sends one raw frame to the network.
    pub(super) fn inject(&mut self, frame: &[u8]) {
        let mut frame = frame.to_vec();
        let mut reader = Reader::from(frame.as_mut_slice());
        self.net
            .send(PacketHeader::default(), &mut reader, &mut self.events);
        self.net.flush(&mut self.events);
    }

    /// The frames that the network has for the guest.
    pub(super) fn fetch(&mut self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while self.takes
            && let Some(packet) = self.net.receive(&mut self.events)
        {
            let (header, mut frame) = (packet.header, packet.frame.to_vec());
            packet.body.iter().for_each(|part| frame.extend(*part));
            if header.flags & HDR_F_NEEDS_CSUM != 0 {
                assert!(
                    !self.wire.checksums,
                    "a partial checksum for a guest that takes none"
                );
                check_partial(&frame, header);
            }
            if frame.len() > 14 + self.wire.mtu {
                let (kind, ip) = if frame[14] >> 4 == 4 {
                    (HDR_GSO_TCPV4, 20)
                } else {
                    (HDR_GSO_TCPV6, 40)
                };
                assert_eq!(header.gso_type, kind);
                assert_eq!(usize::from(header.gso_size), self.wire.mtu - ip - 20);
                assert_eq!(usize::from(header.hdr_len), 14 + ip + 20);
            }
            frames.push(frame);
            self.net.received();
        }
        frames
    }

    /// Moves frames and events until nothing moves, then waits for events, but no longer than
    /// `wait`.
    pub(super) fn step(&mut self, wait: Duration) {
        let now = self.now();
        let mut moved = !self.wire.to_guest.is_empty();
        self.interface.poll(now, &mut self.wire, &mut self.sockets);
        moved |= !self.wire.from_guest.is_empty();
        while let Some(mut frame) = self.wire.from_guest.pop_front() {
            let mut reader = Reader::from(frame.as_mut_slice());
            self.net
                .send(PacketHeader::default(), &mut reader, &mut self.events);
        }
        self.net.flush(&mut self.events);
        let frames = self.fetch();
        moved |= !frames.is_empty();
        self.wire.to_guest.extend(frames);
        let timeout = if moved {
            Duration::ZERO
        } else {
            self.interface
                .poll_delay(now, &self.sockets)
                .map_or(wait, |delay| {
                    wait.min(Duration::from_micros(delay.total_micros()))
                })
        };
        for token in self.events.ready(timeout) {
            self.net.event(token, &mut self.events);
        }
    }

    /// Steps until `done` gives a value.
    pub(super) fn until<T>(&mut self, mut done: impl FnMut(&mut Self) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(value) = done(self) {
                return value;
            }
            assert!(start.elapsed() < LIMIT, "it takes too long: {:?}", self.net);
            self.step(Duration::from_millis(10));
        }
    }

    /// Steps for `time`.
    pub(super) fn run_for(&mut self, time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            self.step(Duration::from_millis(5));
        }
    }

    fn tcp_socket(&mut self) -> SocketHandle {
        let mut socket = tcp::Socket::new(
            tcp::SocketBuffer::new(vec![0; 256 << 10]),
            tcp::SocketBuffer::new(vec![0; 256 << 10]),
        );
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        self.sockets.add(socket)
    }

    /// Connects to `address` as the guest knows it.
    pub(super) fn connect(&mut self, address: impl Into<SocketAddr>) -> SocketHandle {
        let address: SocketAddr = address.into();
        let handle = self.tcp_socket();
        self.next_port += 1;
        let port = self.next_port;
        self.sockets
            .get_mut::<tcp::Socket<'_>>(handle)
            .connect(self.interface.context(), address, port)
            .unwrap();
        handle
    }

    /// Listens on the guest's `port`.
    pub(super) fn listen(&mut self, port: u16) -> SocketHandle {
        let handle = self.tcp_socket();
        self.tcp(handle).listen(port).unwrap();
        handle
    }

    /// Listens on the guest's `port` at `address` alone.
    pub(super) fn listen_at(&mut self, address: IpAddr, port: u16) -> SocketHandle {
        let handle = self.tcp_socket();
        self.tcp(handle).listen((address, port)).unwrap();
        handle
    }

    pub(super) fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// Opens a UDP socket on the guest's `port`.
    pub(super) fn udp_socket(&mut self, port: u16) -> SocketHandle {
        let buffer =
            || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 32], vec![0; 256 << 10]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(port).unwrap();
        self.sockets.add(socket)
    }

    pub(super) fn udp(&mut self, handle: SocketHandle) -> &mut udp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// Waits for a datagram.
    pub(super) fn receive_datagram(&mut self, handle: SocketHandle) -> (Vec<u8>, IpEndpoint) {
        self.until(|guest| {
            let (data, from) = guest.udp(handle).recv().ok()?;
            Some((data.to_vec(), from.endpoint))
        })
    }

    /// Sends all of `data`.
    pub(super) fn send_all(&mut self, handle: SocketHandle, mut data: &[u8]) {
        while !data.is_empty() {
            let n = self.until(|guest| {
                guest
                    .tcp(handle)
                    .can_send()
                    .then(|| guest.tcp(handle).send_slice(data).unwrap())
            });
            data = &data[n..];
        }
    }

    /// Reads `len` bytes.
    pub(super) fn receive_exact(&mut self, handle: SocketHandle, len: usize) -> Vec<u8> {
        let mut data = Vec::new();
        self.until(|guest| {
            let mut buffer = [0; 4096];
            let room = buffer.len().min(len - data.len());
            let n = guest
                .tcp(handle)
                .recv_slice(&mut buffer[..room])
                .unwrap_or(0);
            data.extend_from_slice(&buffer[..n]);
            (data.len() == len).then_some(())
        });
        data
    }

    /// Waits for the connection's `state`.
    pub(super) fn await_state(&mut self, handle: SocketHandle, state: tcp::State) {
        self.until(|guest| (guest.tcp(handle).state() == state).then_some(()));
    }

    /// Waits until the network has no TCP flows.
    pub(super) fn await_no_flows(&mut self) {
        self.until(|guest| (guest.net.flows().0 == 0).then_some(()));
    }
}

/// The address by which the guest knows the host's loopback `address`.
pub(super) fn at_gateway(address: SocketAddr) -> SocketAddrV4 {
    SocketAddrV4::new(GATEWAY, address.port())
}

/// The pseudo-header's sum must be where a partial checksum starts from.
fn check_partial(frame: &[u8], header: PacketHeader) {
    let at = usize::from(header.csum_start + header.csum_offset);
    let (protocol, source, destination, ip) = if frame[14] >> 4 == 4 {
        let [source, destination] =
            [26, 30].map(|at| IpAddr::from(<[u8; 4]>::try_from(&frame[at..at + 4]).unwrap()));
        (frame[23], source, destination, 20)
    } else {
        let [source, destination] =
            [22, 38].map(|at| IpAddr::from(<[u8; 16]>::try_from(&frame[at..at + 16]).unwrap()));
        (frame[20], source, destination, 40)
    };
    let length = u16::try_from(frame.len() - 14 - ip).unwrap();
    let sum = pseudo_header(protocol, source, destination, length);
    assert_eq!(frame[at..at + 2], sum.to_be_bytes());
    assert_eq!(usize::from(header.csum_start), 14 + ip);
}

/// The address by which the guest knows the host's loopback `address`, over IPv6.
pub(super) fn at_gateway_v6(address: SocketAddr) -> SocketAddrV6 {
    SocketAddrV6::new(GATEWAY6, address.port(), 0, 0)
}

/// A forward of `protocol` to `guest_port` from a port that the system chooses, and its address.
pub(super) fn forward(protocol: &str, guest_port: u16) -> Forward {
    let free = match protocol {
        "udp" => std::net::UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap(),
        _ => std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap(),
    };
    format!("{protocol}:{free}:{guest_port}").parse().unwrap()
}

//! UDP: datagrams between the guest and host sockets, one connected socket for each flow.
//!
//! What comes from the host waits in the socket until the guest has room.

mod queries;

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{self, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::addresses::is_name_server;
use super::datagram::{headers, send_datagram};
use super::dns::Asked;
use super::forward::family;
use super::icmp::{self, Unreachable};
use super::slots::Slots;
use super::token::{Kind, token};
use super::watched::Watched;
use super::wire::{IPV6_LEN, IpPacket, PROTOCOL_UDP, UDP_LEN, Udp, put, put_ip};
use super::{Env, Key, Route, dns};
use crate::virtio::device::Interest;

/// The most flows; the one that was silent for the longest gives way.
const FLOWS_MAX: u32 = 1024;

/// How long a silent flow stays: RFC 4787 §4.3 recommends five minutes; one whose first datagrams
/// were not answered, or a query to a name server, is over sooner.
const IDLE: Duration = Duration::from_secs(300);
const IDLE_UNANSWERED: Duration = Duration::from_secs(60);
const IDLE_QUERY: Duration = Duration::from_secs(20);

/// The gateway's ports that stand for clients of forwarded ports.
const CLIENT_PORTS: std::ops::RangeInclusive<u16> = 49152..=65535;

#[derive(Debug)]
enum Peer {
    /// A connected socket.
    Socket {
        socket: Watched,
        asked: Option<Asked>,
    },
    /// A client of the forward of this index.
    Client { forward: u32, address: SocketAddr },
}

#[derive(Debug)]
struct Flow {
    key: Key,
    peer: Peer,
    used: Instant,
    answered: bool,
}

/// A socket with something to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Flow(u32),
    Forward(u32),
}

/// The UDP flows.
#[derive(Debug)]
pub(super) struct UdpFlows {
    flows: Slots<Flow>,
    by_key: HashMap<Key, u32>,
    by_client: HashMap<(u32, SocketAddr), u32>,
    ready: VecDeque<Source>,
    /// Whether clients wait for the guest to come up.
    pub(super) awaits_guest: bool,
    next_port: u16,
    /// When the next unanswered query goes to another server, or before.
    retry_at: Option<Instant>,
}

impl UdpFlows {
    /// No flows.
    pub(super) fn new() -> Self {
        Self {
            flows: Slots::new(FLOWS_MAX),
            by_key: HashMap::new(),
            by_client: HashMap::new(),
            ready: VecDeque::new(),
            awaits_guest: false,
            next_port: *CLIENT_PORTS.start(),
            retry_at: None,
        }
    }

    /// How many flows there are.
    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    /// Passes a datagram from the guest on.
    pub(super) fn receive(&mut self, packet: &IpPacket<'_>, datagram: &Udp<'_>, env: &mut Env<'_>) {
        let key = Key {
            ours: SocketAddr::new(packet.destination, datagram.destination),
            guest: SocketAddr::new(packet.source, datagram.source),
        };
        let id = match self.by_key.get(&key) {
            Some(&id) => id,
            None => match self.open(key, env) {
                Ok(id) => id,
                Err(why) => {
                    let from = (why == Unreachable::Port).then_some(packet.destination);
                    return icmp::unreachable(why, packet.bytes, from, env.out);
                }
            },
        };
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        flow.used = env.now;
        let sent = match &mut flow.peer {
            Peer::Socket { socket, asked } => {
                if let Some(asked) = asked {
                    asked.ask(datagram.payload, env.now);
                    let deadline = asked.deadline();
                    let earlier = self
                        .retry_at
                        .is_none_or(|at| deadline.is_some_and(|it| it < at));
                    self.retry_at = if earlier { deadline } else { self.retry_at };
                }
                // An error that came in since the last datagram is told first.
                net::send(&*socket, datagram.payload, SendFlags::NOSIGNAL)
                    .or_else(|_| net::send(&*socket, datagram.payload, SendFlags::NOSIGNAL))
            }
            Peer::Client { forward, address } => match env.forwards.get(*forward) {
                Some(listener) => net::sendto(
                    &listener.socket,
                    datagram.payload,
                    SendFlags::NOSIGNAL,
                    &*address,
                ),
                None => Ok(0),
            },
        };
        match sent {
            Err(Errno::CONNREFUSED) => self.refused(id, env),
            Err(error) => log::debug!("udp to {}: {error}", key.ours),
            Ok(_) => {}
        }
    }

    fn open(&mut self, key: Key, env: &mut Env<'_>) -> Result<u32, Unreachable> {
        let address = match env.route(key.ours) {
            Route::Host(address) => address,
            Route::Nowhere(why) => return Err(why),
        };
        let asked = is_name_server(key.ours.ip()).then(|| Asked::new(address));
        self.make_room(env);
        let Some(id) = self.flows.vacant() else {
            return Err(Unreachable::Host);
        };
        let fd = connected(address).map_err(unreachable)?;
        let mut socket = Watched::new(fd, token(Kind::Udp, id));
        if let Err(error) = socket.watch(Some(Interest::Read), env.events) {
            log::debug!("udp to {address}: {error}");
            return Err(Unreachable::Host);
        }
        self.insert(key, Peer::Socket { socket, asked }, env.now);
        Ok(id)
    }

    fn insert(&mut self, key: Key, peer: Peer, now: Instant) -> Option<u32> {
        let flow = Flow {
            key,
            peer,
            used: now,
            answered: false,
        };
        let id = self.flows.insert(flow)?;
        self.by_key.insert(key, id);
        Some(id)
    }

    /// Ends the flow that was silent for the longest if there is no room for another.
    fn make_room(&mut self, env: &mut Env<'_>) {
        if self.flows.vacant().is_some() {
            return;
        }
        let oldest = self.flows.iter().min_by_key(|(_, flow)| flow.used);
        if let Some((id, _)) = oldest {
            self.remove(id, env);
        }
    }

    fn remove(&mut self, id: u32, env: &mut Env<'_>) {
        let Some(flow) = self.flows.remove(id) else {
            return;
        };
        self.by_key.remove(&flow.key);
        match flow.peer {
            Peer::Socket { mut socket, .. } => {
                let _ = socket.watch(None, env.events);
                self.ready.retain(|&source| source != Source::Flow(id));
            }
            Peer::Client { forward, address } => {
                self.by_client.remove(&(forward, address));
            }
        }
    }

    /// Nobody listens at the other end of flow `id`: asks another name server, or tells the guest.
    fn refused(&mut self, id: u32, env: &mut Env<'_>) {
        if self.ask_next(id, env) {
            return;
        }
        let Some(flow) = self.flows.get(id) else {
            return;
        };
        let (guest, ours) = (flow.key.guest, flow.key.ours);
        let mut original = [0; IPV6_LEN + UDP_LEN];
        let ip = put_ip(&mut original, PROTOCOL_UDP, guest.ip(), ours.ip(), UDP_LEN);
        let ip = ip.unwrap_or_default();
        put(&mut original, ip, &guest.port().to_be_bytes());
        put(&mut original, ip + 2, &ours.port().to_be_bytes());
        put(&mut original, ip + 4, &(UDP_LEN as u16).to_be_bytes());
        let original = original.get(..ip + UDP_LEN).unwrap_or_default();
        icmp::unreachable(Unreachable::Port, original, Some(ours.ip()), env.out);
        self.remove(id, env);
    }

    /// Forward `index` is no more: its clients are forgotten.
    pub(super) fn forget_forward(&mut self, index: u32, env: &mut Env<'_>) {
        let is_client =
            |flow: &Flow| matches!(flow.peer, Peer::Client { forward, .. } if forward == index);
        let clients = self.flows.iter().filter(|(_, flow)| is_client(flow));
        for id in clients.map(|(id, _)| id).collect::<Vec<_>>() {
            self.remove(id, env);
        }
        self.ready
            .retain(|&source| source != Source::Forward(index));
    }

    /// Flow `id`'s socket has something to read.
    pub(super) fn event(&mut self, id: u32, env: &mut Env<'_>) {
        let source = Source::Flow(id);
        let Some(Flow {
            peer: Peer::Socket { socket, .. },
            ..
        }) = self.flows.get_mut(id)
        else {
            return;
        };
        if self.ready.contains(&source) {
            // The guest has no room: wait for it without being told again and again.
            let _ = socket.watch(Some(Interest::None), env.events);
        } else {
            self.ready.push_back(source);
        }
    }

    /// The socket of forward `index` has something to read.
    pub(super) fn forward_event(&mut self, index: u32, env: &mut Env<'_>) {
        let source = Source::Forward(index);
        if !env.guest.is_up {
            // Datagrams wait in the socket for the guest; what does not fit there is lost.
            self.awaits_guest = true;
            if let Some(listener) = env.forwards.get_mut(index) {
                listener.listen(false, env.events);
            }
            return;
        }
        if self.ready.contains(&source) {
            if let Some(listener) = env.forwards.get_mut(index) {
                listener.listen(false, env.events);
            }
        } else {
            self.ready.push_back(source);
        }
    }

    /// Makes the next datagram for the guest, if there is one; whether it did.
    pub(super) fn emit(&mut self, env: &mut Env<'_>) -> bool {
        while let Some(source) = self.ready.pop_front() {
            let made = match source {
                Source::Flow(id) => self.emit_flow(id, env),
                Source::Forward(index) => self.emit_forward(index, env),
            };
            if made {
                // Others first, then this one again.
                self.ready.push_back(source);
            }
            if !env.out.is_empty() {
                return true;
            }
        }
        false
    }

    fn emit_flow(&mut self, id: u32, env: &mut Env<'_>) -> bool {
        let Some(flow) = self.flows.get_mut(id) else {
            return false;
        };
        let Peer::Socket { socket, asked } = &mut flow.peer else {
            return false;
        };
        let headers = headers(flow.key.guest.ip());
        let room = env.out.room().get_mut(headers..).unwrap_or_default();
        match net::recv(&*socket, &mut *room, RecvFlags::empty()) {
            Ok((len, _)) => {
                flow.used = env.now;
                flow.answered = true;
                if let Some(asked) = asked {
                    asked.answered(room.get(..len).unwrap_or_default());
                }
                send_datagram(flow.key.ours, flow.key.guest, len, env.out);
                true
            }
            Err(Errno::AGAIN) => {
                let _ = socket.watch(Some(Interest::Read), env.events);
                false
            }
            Err(Errno::INTR) => true,
            Err(Errno::CONNREFUSED) => {
                self.refused(id, env);
                false
            }
            Err(error) => {
                log::debug!("udp from {}: {error}", flow.key.ours);
                self.remove(id, env);
                false
            }
        }
    }

    fn emit_forward(&mut self, index: u32, env: &mut Env<'_>) -> bool {
        let Some(listener) = env.forwards.get_mut(index) else {
            return false;
        };
        let (ours, guest) = env.guest.way_in(listener.forward.host.is_ipv6());
        let room = env.out.room().get_mut(headers(guest)..).unwrap_or_default();
        let (len, client) = match net::recvfrom(&listener.socket, room, RecvFlags::empty()) {
            Ok((len, _, Some(client))) => (len, SocketAddr::try_from(client)),
            Ok((_, _, None)) | Err(Errno::INTR) => return true,
            Err(Errno::AGAIN) => {
                listener.listen(true, env.events);
                return false;
            }
            // Somebody refused an answer; the socket is told ready again.
            Err(error) => {
                log::debug!("forward {}: {error}", listener.forward);
                return false;
            }
        };
        let guest = SocketAddr::new(guest, listener.forward.guest_port);
        let Ok(client) = client else { return true };
        if let Some(id) = self.client((index, client), (ours, guest), env)
            && let Some(flow) = self.flows.get_mut(id)
        {
            flow.used = env.now;
            flow.answered = true;
            send_datagram(flow.key.ours, flow.key.guest, len, env.out);
        }
        true
    }

    /// The flow of a forward's client. If the guest is reached at another address now, it is a new one.
    fn client(
        &mut self,
        client: (u32, SocketAddr),
        (ours, guest): (IpAddr, SocketAddr),
        env: &mut Env<'_>,
    ) -> Option<u32> {
        if let Some(&id) = self.by_client.get(&client) {
            if self
                .flows
                .get(id)
                .is_some_and(|flow| flow.key.guest == guest)
            {
                return Some(id);
            }
            self.remove(id, env);
        }
        self.make_room(env);
        let key = self.free_key(ours, guest)?;
        let (forward, address) = client;
        let id = self.insert(key, Peer::Client { forward, address }, env.now)?;
        self.by_client.insert(client, id);
        Some(id)
    }

    fn free_key(&mut self, ours: IpAddr, guest: SocketAddr) -> Option<Key> {
        for _ in CLIENT_PORTS {
            let port = self.next_port;
            self.next_port = port.checked_add(1).unwrap_or(*CLIENT_PORTS.start());
            let ours = SocketAddr::new(ours, port);
            let key = Key { ours, guest };
            if !self.by_key.contains_key(&key) {
                return Some(key);
            }
        }
        None
    }

    /// Ends the flows that were silent for too long.
    pub(super) fn sweep(&mut self, env: &mut Env<'_>) {
        let over = |flow: &Flow| {
            let query = matches!(flow.peer, Peer::Socket { asked: Some(_), .. })
                || flow.key.ours.port() == dns::PORT;
            let idle = match flow.answered {
                _ if query => IDLE_QUERY,
                true => IDLE,
                false => IDLE_UNANSWERED,
            };
            env.now - flow.used >= idle
        };
        let ids: Vec<u32> = self
            .flows
            .iter()
            .filter(|(_, f)| over(f))
            .map(|(id, _)| id)
            .collect();
        for id in ids {
            self.remove(id, env);
        }
    }

    /// Puts the sockets of all flows into the registry, or takes them out.
    pub(super) fn watch(&mut self, on: bool, env: &mut Env<'_>) {
        for (_, flow) in self.flows.iter_mut() {
            if let Peer::Socket { socket, .. } = &mut flow.peer {
                let _ = socket.watch(on.then_some(Interest::Read), env.events);
            }
        }
    }

    /// Ends every flow; their sockets are in no registry.
    pub(super) fn clear(&mut self) {
        self.flows.clear();
        self.by_key.clear();
        self.by_client.clear();
        self.ready.clear();
        self.awaits_guest = false;
        self.retry_at = None;
    }
}

/// A socket whose only peer is `address`.
fn connected(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let connected = net::socket_with(family(address), SocketType::DGRAM, flags, None)
        .and_then(|fd| net::connect(&fd, &address).map(|()| fd));
    connected.inspect_err(|error| log::debug!("udp to {address}: {error}"))
}

/// What the guest is told of a host's error.
pub(super) fn unreachable(error: Errno) -> Unreachable {
    match error {
        Errno::NETUNREACH => Unreachable::Network,
        Errno::ACCESS | Errno::PERM => Unreachable::Prohibited,
        Errno::CONNREFUSED => Unreachable::Port,
        _ => Unreachable::Host,
    }
}

//! TCP: each connection of the guest's is relayed to a host socket of its own.
//!
//! The guest's peer is a state machine of ours. What one side sends and the other does not take fills
//! the flow's buffer and then holds the sender back.

mod buffer;
mod deadlines;
mod flow;
mod peer;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::{self, SocketFlags, SocketType, sockopt};

use self::flow::{Flow, Phase, Reset};
use self::peer::{Meaning, Peer, State};
pub(super) use self::segment::Link;
use self::segment::{ACK, FIN, RST, Reply, SYN, Segment};
use super::addresses::is_name_server;
use super::forward::family;
use super::icmp;
use super::outbox::Body;
use super::slots::Slots;
use super::token::{Kind, token};
use super::udp::unreachable;
use super::wire::IpPacket;
use super::{Env, Key, Route};
use crate::virtio::device::Interest;

/// The gateway's ports that stand for clients of forwarded ports.
const CLIENT_PORTS: std::ops::RangeInclusive<u16> = 32768..=65535;

/// The TCP flows.
pub(super) struct TcpFlows {
    link: Link,
    flows: Slots<Flow>,
    by_key: HashMap<Key, u32>,
    /// Flows that may have something to send to the guest.
    ready: VecDeque<u32>,
    /// Flows that got packets in this burst.
    touched: Vec<u32>,
    deadlines: BTreeSet<(Instant, u32)>,
    next_port: u16,
    secret: RandomState,
    opened: u64,
}

impl std::fmt::Debug for TcpFlows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TcpFlows")
            .field("flows", &self.flows.len())
            .finish_non_exhaustive()
    }
}

impl TcpFlows {
    /// No flows, and room for `max`.
    pub(super) fn new(max: u32, link: Link) -> Self {
        Self {
            link,
            flows: Slots::new(max),
            by_key: HashMap::new(),
            ready: VecDeque::new(),
            touched: Vec::new(),
            deadlines: BTreeSet::new(),
            next_port: *CLIENT_PORTS.start(),
            secret: RandomState::new(),
            opened: 0,
        }
    }

    /// Changes what the guest's card takes.
    pub(super) fn set_link(&mut self, link: Link) {
        self.link = link;
    }

    /// The memory for what is under way.
    pub(super) fn memory(&self) -> usize {
        self.flows.iter().map(|(_, flow)| flow.memory()).sum()
    }

    /// The data that follow a frame's headers, unless the guest has them already.
    pub(super) fn body(&self, body: Body) -> Option<[&[u8]; 2]> {
        self.flows.get(body.flow)?.body(body)
    }

    /// The first sequence number of a flow that nobody can guess (RFC 6528).
    fn first_number(&mut self, key: &Key) -> u32 {
        self.opened += 1;
        self.secret.hash_one((self.opened, key)) as u32
    }

    /// How many flows there are.
    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether another flow fits.
    pub(super) fn has_room(&self) -> bool {
        self.flows.vacant().is_some()
    }

    /// Takes a segment from the guest; [`TcpFlows::flush`] follows.
    pub(super) fn receive(&mut self, packet: &IpPacket<'_>, env: &mut Env<'_>) {
        let Some((key, segment)) = segment::parse(packet) else {
            return;
        };
        if let Some(&id) = self.by_key.get(&key) {
            self.input(id, &segment, env);
        } else if segment.flags & (FIN | SYN | RST | ACK) == SYN {
            self.open(key, packet, &segment, env);
        } else {
            refuse(&key, &segment, env);
        }
    }

    /// Gives a segment to the guest's peer in flow `id`.
    fn input(&mut self, id: u32, segment: &Segment<'_>, env: &mut Env<'_>) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        flow.used = env.now;
        let mss = self.link.mss(flow.key.guest.ip());
        match flow.receive(segment, mss) {
            Ok(Meaning::Data(_)) => {
                if !std::mem::replace(&mut flow.touched, true) {
                    self.touched.push(id);
                }
            }
            Ok(Meaning::Stray) => refuse(&flow.key, segment, env),
            Ok(Meaning::Reset) => self.refused(id, env),
            Err(Reset) => self.abort(id, env),
        }
    }

    /// The guest reset flow `id`. A client that the guest refuses over IPv6 may find it over IPv4.
    fn refused(&mut self, id: u32, env: &mut Env<'_>) {
        let Some(flow) = self.flows.get(id) else {
            return;
        };
        let asked = flow.peer.state() == State::SynSent && flow.key.guest.is_ipv6();
        let (ours, guest) = env.guest.way_in(false);
        if asked && guest.is_ipv4() && self.redirect(id, ours, guest) {
            return self.enqueue(id);
        }
        if let Some(flow) = self.flows.get(id) {
            flow.reset_host();
        }
        self.remove(id, env);
    }

    /// Connects to where the guest wants to; its SYN is answered when that is done.
    fn open(&mut self, key: Key, packet: &IpPacket<'_>, segment: &Segment<'_>, env: &mut Env<'_>) {
        let address = match env.route(key.ours) {
            Route::Host(address) => address,
            Route::Nowhere(icmp::Unreachable::Port) => return refuse(&key, segment, env),
            Route::Nowhere(why) => return icmp::unreachable(why, packet.bytes, None, env.out),
        };
        let Some(id) = self.flows.vacant() else {
            return refuse(&key, segment, env);
        };
        let (fd, phase) = match connect(address) {
            Ok((fd, true)) => (fd, Phase::Open),
            Ok((fd, false)) => (fd, Phase::Connecting),
            Err(Errno::CONNREFUSED) => return refuse(&key, segment, env),
            Err(error) => {
                log::debug!("tcp to {address}: {error}");
                let why = unreachable(error);
                return icmp::unreachable(why, packet.bytes, None, env.out);
            }
        };
        let mss = self.link.mss(key.guest.ip());
        let peer = Peer::accept(segment, self.first_number(&key), mss);
        let mut flow = Flow::new(key, phase, peer, (fd, token(Kind::Tcp, id)), env.now);
        let start = packet.bytes.len().min(flow.syn.len());
        let start = packet.bytes.get(..start).unwrap_or_default();
        super::wire::put(&mut flow.syn, 0, start);
        if self.insert(id, flow, env) && phase == Phase::Open {
            self.enqueue(id);
        }
    }

    /// Relays a client of a forward to the guest's port, once the guest is up.
    pub(super) fn connect_guest(
        &mut self,
        client: OwnedFd,
        (v6, port): (bool, u16),
        env: &mut Env<'_>,
    ) {
        let (ours, guest) = env.guest.way_in(v6);
        let guest = SocketAddr::new(guest, port);
        let (Some(id), Some(key)) = (self.flows.vacant(), self.free_key(ours, guest)) else {
            return;
        };
        let _ = sockopt::set_tcp_nodelay(&client, true);
        let peer = Peer::connect(self.first_number(&key));
        let token = token(Kind::Tcp, id);
        let mut flow = Flow::new(key, Phase::Waiting, peer, (client, token), env.now);
        flow.prefers_v6 = v6;
        if self.insert(id, flow, env) && env.guest.is_up {
            self.knock(id, env);
        }
    }

    fn free_key(&mut self, ours: IpAddr, guest: SocketAddr) -> Option<Key> {
        for _ in CLIENT_PORTS {
            let ours = SocketAddr::new(ours, self.next_port);
            self.next_port = self
                .next_port
                .checked_add(1)
                .unwrap_or(*CLIENT_PORTS.start());
            let key = Key { ours, guest };
            if !self.by_key.contains_key(&key) {
                return Some(key);
            }
        }
        None
    }

    fn insert(&mut self, id: u32, mut flow: Flow, env: &mut Env<'_>) -> bool {
        flow.serial = self.opened;
        let interest = match flow.phase {
            Phase::Connecting => Interest::Write,
            _ => Interest::None,
        };
        if let Err(error) = flow.host.watch(Some(interest), env.events) {
            log::debug!("tcp {}: {error}", flow.key.ours);
            return false;
        }
        self.by_key.insert(flow.key, id);
        self.flows.insert(flow).is_some()
    }

    /// The guest came up: connects the clients that wait for it.
    pub(super) fn guest_is_up(&mut self, env: &mut Env<'_>) {
        let waiting: Vec<u32> = self
            .flows
            .iter()
            .filter(|(_, flow)| flow.phase == Phase::Waiting)
            .map(|(id, _)| id)
            .collect();
        for id in waiting {
            self.knock(id, env);
        }
    }

    /// Whether clients wait for the guest to come up.
    pub(super) fn awaits_guest(&self) -> bool {
        self.flows
            .iter()
            .any(|(_, flow)| flow.phase == Phase::Waiting)
    }

    fn knock(&mut self, id: u32, env: &mut Env<'_>) {
        let Some(flow) = self.flows.get(id) else {
            return;
        };
        let (ours, guest) = env.guest.way_in(flow.prefers_v6);
        // It may have another address than was thought when the client came.
        if guest != flow.key.guest.ip() && !self.redirect(id, ours, guest) {
            return self.abort(id, env);
        }
        if let Some(flow) = self.flows.get_mut(id) {
            flow.phase = Phase::Open;
            flow.used = env.now;
            self.enqueue(id);
        }
    }

    /// Lets flow `id` ask for the guest's port at another address.
    fn redirect(&mut self, id: u32, ours: IpAddr, guest: IpAddr) -> bool {
        let Some(old) = self.flows.get(id).map(|flow| flow.key) else {
            return false;
        };
        let Some(key) = self.free_key(ours, SocketAddr::new(guest, old.guest.port())) else {
            return false;
        };
        let peer = Peer::connect(self.first_number(&key));
        self.by_key.remove(&old);
        self.by_key.insert(key, id);
        if let Some(flow) = self.flows.get_mut(id) {
            (flow.key, flow.peer) = (key, peer);
        }
        true
    }

    /// Flow `id`'s host socket is ready.
    pub(super) fn event(&mut self, id: u32, env: &mut Env<'_>) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        match flow.phase {
            Phase::Connecting => return self.connected(id, env),
            // The client went away.
            Phase::Waiting => return self.remove(id, env),
            Phase::Aborting => return,
            Phase::Open => {}
        }
        flow.used = env.now;
        let hung_up = flow.expects_nothing();
        flow.ready();
        if hung_up && flow.host_error().is_some() {
            return self.abort(id, env);
        }
        if hung_up {
            let _ = flow.host.watch(None, env.events);
        }
        self.serve(id, true, env);
    }

    /// The host socket connected, or failed to.
    fn connected(&mut self, id: u32, env: &mut Env<'_>) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        match flow.host_error() {
            None if net::getpeername(&flow.host).is_ok_and(|peer| peer.is_some()) => {
                flow.phase = Phase::Open;
                flow.used = env.now;
                self.serve(id, true, env);
            }
            None => {}
            Some(Errno::CONNREFUSED | Errno::CONNRESET) => {
                if is_name_server(flow.key.ours.ip())
                    && let Route::Host(server) = env.route(flow.key.ours)
                {
                    env.resolver.failed(server);
                }
                self.abort(id, env);
            }
            Some(error) => {
                log::debug!("tcp to {}: {error}", flow.key.ours);
                icmp::unreachable(unreachable(error), &flow.syn, None, env.out);
                self.remove(id, env);
            }
        }
    }

    /// Relays what the packets of this burst brought.
    pub(super) fn flush(&mut self, env: &mut Env<'_>) {
        let mut touched = std::mem::take(&mut self.touched);
        for id in touched.drain(..) {
            if let Some(flow) = self.flows.get_mut(id) {
                flow.touched = false;
            }
            self.serve(id, false, env);
        }
        self.touched = touched;
    }

    /// Moves flow `id`'s data and queues it for the guest.
    fn serve(&mut self, id: u32, event: bool, env: &mut Env<'_>) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        let relayed = flow.relay();
        let watched = flow.watch(env.events, event);
        match relayed {
            Ok(()) if watched.is_ok() => self.enqueue(id),
            Ok(()) | Err(Reset) => self.abort(id, env),
        }
    }

    fn enqueue(&mut self, id: u32) {
        if let Some(flow) = self.flows.get_mut(id)
            && !flow.queued
        {
            flow.queued = true;
            self.ready.push_back(id);
        }
    }

    /// Resets the guest's connection; the host socket is gone.
    fn abort(&mut self, id: u32, env: &mut Env<'_>) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        flow.phase = Phase::Aborting;
        let _ = flow.watch(env.events, true);
        self.enqueue(id);
    }

    /// Makes the next packet for the guest, if a flow has one; whether it did.
    pub(super) fn emit(&mut self, env: &mut Env<'_>) -> bool {
        while let Some(id) = self.ready.pop_front() {
            let Some(flow) = self.flows.get_mut(id) else {
                continue;
            };
            flow.queued = false;
            match flow.phase {
                Phase::Connecting | Phase::Waiting => {}
                Phase::Aborting => {
                    flow.peer.reset().send(&flow.key, env.out);
                    self.remove(id, env);
                    return true;
                }
                Phase::Open => {
                    if flow.emit(id, self.link, env.out, env.now) {
                        self.enqueue(id);
                        return true;
                    }
                    self.settle(id, env);
                }
            }
        }
        false
    }

    /// Flow `id` has nothing to send for now: ends it if it is over, else notes when to look again.
    fn settle(&mut self, id: u32, env: &mut Env<'_>) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        if !flow.peer.is_over() {
            return self.note_deadline(id);
        }
        if flow.is_over() {
            return self.remove(id, env);
        }
        // The host has yet to take the rest of what the guest sent. The guest may use the addresses
        // again.
        flow.lingering = true;
        let key = flow.key;
        if self.by_key.get(&key) == Some(&id) {
            self.by_key.remove(&key);
        }
    }

    fn remove(&mut self, id: u32, env: &mut Env<'_>) {
        let Some(mut flow) = self.flows.remove(id) else {
            return;
        };
        let _ = flow.host.watch(None, env.events);
        if self.by_key.get(&flow.key) == Some(&id) {
            self.by_key.remove(&flow.key);
        }
        if let Some(at) = flow.listed {
            self.deadlines.remove(&(at, id));
        }
    }

    /// Puts the sockets of all flows into the registry, or takes them out.
    pub(super) fn watch(&mut self, on: bool, env: &mut Env<'_>) {
        for (_, flow) in self.flows.iter_mut() {
            let _ = match (on, flow.phase) {
                (false, _) => flow.host.watch(None, env.events),
                (true, Phase::Waiting) => flow.host.watch(Some(Interest::None), env.events),
                (true, _) => flow.watch(env.events, true),
            };
        }
    }

    /// Resets every flow's host socket, which is in no registry, and forgets all.
    pub(super) fn clear(&mut self) {
        for (_, flow) in self.flows.iter() {
            flow.reset_host();
        }
        self.flows.clear();
        self.by_key.clear();
        self.ready.clear();
        self.touched.clear();
        self.deadlines.clear();
    }
}

/// Answers a segment of no flow with a reset.
fn refuse(key: &Key, segment: &Segment<'_>, env: &mut Env<'_>) {
    if let Some(reset) = Reply::reset(segment) {
        reset.send(key, env.out);
    }
}

/// A socket that connects to `address`, and whether it already did.
fn connect(address: SocketAddr) -> Result<(OwnedFd, bool), Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = net::socket_with(family(address), SocketType::STREAM, flags, None)?;
    let _ = sockopt::set_tcp_nodelay(&fd, true);
    let _ = sockopt::set_socket_keepalive(&fd, true);
    match net::connect(&fd, &address) {
        Ok(()) => Ok((fd, true)),
        Err(Errno::INPROGRESS) => Ok((fd, false)),
        Err(error) => Err(error),
    }
}

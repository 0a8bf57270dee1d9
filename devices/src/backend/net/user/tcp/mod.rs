//! TCP: each connection of the guest's is relayed to a host socket of its own.
//!
//! smoltcp is the guest's peer. Every flow has a socket set of its own, so that the work for a packet
//! does not depend on the number of flows. What one side sends and the other does not take fills the
//! flow's buffer and then holds the sender back.

mod deadlines;
mod flow;
mod link;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{self, SocketFlags, SocketType, sockopt};
use smoltcp::iface::{Interface, SocketSet};
use smoltcp::phy::DeviceCapabilities;
use smoltcp::socket::tcp::State;
use smoltcp::time::{Duration as WireDuration, Instant as WireInstant};

use self::deadlines::PATIENCE;
use self::flow::{Flow, Phase, Reset};
pub(super) use self::link::capabilities;
use self::link::{Link, interface};
use super::forward::family;
use super::icmp;
use super::outbox::Outbox;
use super::slots::Slots;
use super::token::{Kind, token};
use super::udp::unreachable;
use super::wire::{Ipv4, be16};
use super::{Env, GATEWAY, GUEST, Key, Route};
use crate::virtio::device::Interest;

/// The gateway's ports that stand for clients of forwarded ports.
const CLIENT_PORTS: std::ops::RangeInclusive<u16> = 32768..=65535;

/// smoltcp is not asked more often than this for a flow that had nothing to send.
const POLL_MIN: Duration = Duration::from_millis(5);

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// The TCP flows.
pub(super) struct TcpFlows {
    interface: Interface,
    capabilities: DeviceCapabilities,
    /// No socket at all: answers what belongs to no flow with a reset.
    none: SocketSet<'static>,
    flows: Slots<Flow>,
    by_key: HashMap<Key, u32>,
    /// Flows that may have something to send to the guest.
    ready: VecDeque<u32>,
    /// Flows that got packets in this burst.
    touched: Vec<u32>,
    deadlines: BTreeSet<(Instant, u32)>,
    next_port: u16,
    epoch: Instant,
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
    pub(super) fn new(max: u32, capabilities: DeviceCapabilities, out: &mut Outbox) -> Self {
        let interface = interface(&capabilities, out);
        Self {
            interface,
            capabilities,
            none: SocketSet::new(Vec::new()),
            flows: Slots::new(max),
            by_key: HashMap::new(),
            ready: VecDeque::new(),
            touched: Vec::new(),
            deadlines: BTreeSet::new(),
            next_port: *CLIENT_PORTS.start(),
            epoch: Instant::now(),
        }
    }

    /// Changes what the link carries.
    pub(super) fn set_capabilities(&mut self, capabilities: DeviceCapabilities, out: &mut Outbox) {
        self.interface = interface(&capabilities, out);
        self.capabilities = capabilities;
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
    pub(super) fn receive(&mut self, packet: &Ipv4<'_>, env: &mut Env<'_>) {
        let segment = packet.payload;
        let (Some(source), Some(destination), Some(&flags)) =
            (be16(segment, 0), be16(segment, 2), segment.get(13))
        else {
            return;
        };
        let key = Key {
            ours: SocketAddrV4::new(packet.destination, destination),
            guest: SocketAddrV4::new(packet.source, source),
        };
        if let Some(&id) = self.by_key.get(&key) {
            self.input(id, packet.bytes, env);
        } else if flags & (FIN | SYN | RST | ACK) == SYN {
            self.open(key, packet, env);
        } else {
            self.refuse(packet.bytes, env);
        }
    }

    /// Answers a segment of no flow with a reset.
    fn refuse(&mut self, packet: &[u8], env: &mut Env<'_>) {
        let now = self.wire_time(env.now);
        let mut link = Link {
            packet: Some(packet),
            out: env.out,
            capabilities: &self.capabilities,
        };
        self.interface
            .poll_ingress_single(now, &mut link, &mut self.none);
    }

    /// Gives a packet to the guest's peer in flow `id`.
    fn input(&mut self, id: u32, packet: &[u8], env: &mut Env<'_>) {
        let now = self.wire_time(env.now);
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        let before = flow.guest().state();
        let mut link = Link {
            packet: Some(packet),
            out: env.out,
            capabilities: &self.capabilities,
        };
        self.interface
            .poll_ingress_single(now, &mut link, &mut flow.sockets);
        flow.used = env.now;
        let guest = flow.guest();
        match (before, guest.state()) {
            (State::SynSent, State::Established) => guest.set_timeout(None),
            // The last acknowledgement, not a reset.
            (State::LastAck, State::Closed) => {
                flow.clean = flow.guest().send_queue() == 0;
            }
            _ => {}
        }
        if !std::mem::replace(&mut flow.touched, true) {
            self.touched.push(id);
        }
    }

    /// Connects to where the guest wants to; its SYN is answered when that is done.
    fn open(&mut self, key: Key, packet: &Ipv4<'_>, env: &mut Env<'_>) {
        let address = match env.route(key.ours) {
            Route::Host(address) => address,
            Route::Nowhere(icmp::Unreachable::Port) => return self.refuse(packet.bytes, env),
            Route::Nowhere(why) => return icmp::unreachable(why, packet.bytes, GATEWAY, env.out),
        };
        let Some(id) = self.flows.vacant() else {
            return self.refuse(packet.bytes, env);
        };
        let (fd, phase) = match connect(address) {
            Ok((fd, true)) => (fd, Phase::Open),
            Ok((fd, false)) => (fd, Phase::Connecting),
            Err(Errno::CONNREFUSED) => return self.refuse(packet.bytes, env),
            Err(error) => {
                log::debug!("tcp to {address}: {error}");
                return icmp::unreachable(unreachable(error), packet.bytes, GATEWAY, env.out);
            }
        };
        let mut flow = Flow::new(key, phase, fd, token(Kind::Tcp, id), env.now);
        super::wire::put(&mut flow.syn, 0, packet.bytes.get(..28).unwrap_or_default());
        let guest = flow.guest();
        if guest.listen(key.ours).is_err() {
            return;
        }
        guest.pause_synack(phase == Phase::Connecting);
        if self.insert(id, flow, env) {
            self.input(id, packet.bytes, env);
        }
    }

    /// Relays a client of a forward to the guest's port, once the guest is up.
    pub(super) fn connect_guest(&mut self, client: OwnedFd, guest_port: u16, env: &mut Env<'_>) {
        let guest = SocketAddrV4::new(GUEST, guest_port);
        let (Some(id), Some(key)) = (self.flows.vacant(), self.free_key(guest)) else {
            return;
        };
        let _ = sockopt::set_tcp_nodelay(&client, true);
        let flow = Flow::new(key, Phase::Waiting, client, token(Kind::Tcp, id), env.now);
        if self.insert(id, flow, env) && env.guest_is_up {
            self.knock(id, env);
        }
    }

    fn free_key(&mut self, guest: SocketAddrV4) -> Option<Key> {
        for _ in CLIENT_PORTS {
            let ours = SocketAddrV4::new(GATEWAY, self.next_port);
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
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        let key = flow.key;
        flow.phase = Phase::Open;
        flow.used = env.now;
        let guest = flow.guest();
        guest.set_timeout(Some(WireDuration::from_micros(micros(PATIENCE))));
        if guest
            .connect(self.interface.context(), key.guest, key.ours)
            .is_err()
        {
            return self.abort(id, env);
        }
        self.enqueue(id);
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
                flow.guest().pause_synack(false);
                self.serve(id, true, env);
            }
            None => {}
            Some(Errno::CONNREFUSED | Errno::CONNRESET) => {
                if *flow.key.ours.ip() == super::DNS
                    && let Route::Host(server) = env.route(flow.key.ours)
                {
                    env.resolver.refused(server);
                }
                self.abort(id, env);
            }
            Some(error) => {
                log::debug!("tcp to {}: {error}", flow.key.ours);
                icmp::unreachable(unreachable(error), &flow.syn, GATEWAY, env.out);
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
        flow.guest().abort();
        self.enqueue(id);
    }

    /// Makes the next packet for the guest, if a flow has one; whether it did.
    pub(super) fn emit(&mut self, env: &mut Env<'_>) -> bool {
        let now = self.wire_time(env.now);
        while let Some(id) = self.ready.pop_front() {
            let Some(flow) = self.flows.get_mut(id) else {
                continue;
            };
            flow.queued = false;
            if matches!(flow.phase, Phase::Connecting | Phase::Waiting) {
                continue;
            }
            if !flow.lingering {
                let mut link = Link {
                    packet: None,
                    out: env.out,
                    capabilities: &self.capabilities,
                };
                self.interface
                    .poll_egress(now, &mut link, &mut flow.sockets);
            }
            if !env.out.is_empty() {
                self.enqueue(id);
                return true;
            }
            self.settle(id, env);
        }
        false
    }

    /// Flow `id` has nothing to send for now: ends it if it is over, else notes when to look again.
    fn settle(&mut self, id: u32, env: &mut Env<'_>) {
        let now = self.wire_time(env.now);
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        let guest = flow.guest_ref();
        let closed = guest.state() == State::Closed && guest.remote_endpoint().is_none();
        if guest.state() == State::TimeWait || closed && flow.clean {
            if flow.is_over() {
                return self.remove(id, env);
            }
            // The host has yet to take the rest of what the guest sent. The guest may use the
            // addresses again; smoltcp would forget the data when TIME-WAIT is over.
            flow.lingering = true;
            self.by_key.remove(&flow.key);
            return self.set_deadline(id, None);
        }
        // A reset, or a SYN that the guest took back.
        if closed || guest.state() == State::Listen {
            flow.reset_host();
            return self.remove(id, env);
        }
        let deadline = self.interface.poll_at(now, &flow.sockets).map(|at| {
            let at = self.epoch + Duration::from_micros(at.total_micros().try_into().unwrap_or(0));
            at.max(env.now + POLL_MIN)
        });
        self.set_deadline(id, deadline);
    }

    fn remove(&mut self, id: u32, env: &mut Env<'_>) {
        let Some(mut flow) = self.flows.remove(id) else {
            return;
        };
        let _ = flow.host.watch(None, env.events);
        if self.by_key.get(&flow.key) == Some(&id) {
            self.by_key.remove(&flow.key);
        }
        if let Some(at) = flow.deadline {
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

    fn wire_time(&self, now: Instant) -> WireInstant {
        let since = i64::try_from((now - self.epoch).as_micros()).unwrap_or(i64::MAX);
        WireInstant::from_micros(since)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
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

//! TCP: each connection of the guest's is relayed to a host socket of its own.
//!
//! The guest's peer is a state machine of ours. What one side sends and the other does not take fills
//! the flow's buffer and then holds the sender back.

mod ahead;
mod buffer;
mod deadlines;
mod flow;
mod memory;
mod open;
mod peer;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use rustix::io::Errno;
use rustix::net;

use self::flow::{Flow, Phase, Reset};
use self::memory::MEMORY_MAX;
use self::open::CLIENT_PORTS;
use self::peer::{Meaning, State};
pub(super) use self::segment::Link;
use self::segment::{ACK, FIN, RST, Reply, SYN, Segment};
use super::addresses::is_name_server;
use super::icmp;
use super::outbox::Body;
use super::slots::Slots;
use super::udp::unreachable;
use super::wire::IpPacket;
use super::{Env, Key, Route};
use crate::virtio::device::Interest;

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
    /// What the flows' buffers have, and what they share.
    memory: usize,
    memory_max: usize,
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
            memory: 0,
            memory_max: MEMORY_MAX,
        }
    }

    /// Changes what the guest's card takes.
    pub(super) fn set_link(&mut self, link: Link) {
        self.link = link;
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
        let Some(meaning) = self.with(id, |flow| flow.receive(segment, mss)) else {
            return;
        };
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        match meaning {
            Ok(Meaning::Data(_) | Meaning::Joined(..) | Meaning::Early(..)) => {
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
        let Some(relayed) = self.with(id, Flow::relay) else {
            return;
        };
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
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

    /// Resets both ends of flow `id`: the host's when it is removed, the guest's, unless that is over,
    /// as soon as it takes a packet.
    fn abort(&mut self, id: u32, env: &mut Env<'_>) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        flow.reset_host();
        if flow.lingering {
            // The guest may have used the addresses again.
            return self.remove(id, env);
        }
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
        self.memory = self.memory.saturating_sub(flow.memory());
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
        self.memory = 0;
    }
}

/// Answers a segment of no flow with a reset.
fn refuse(key: &Key, segment: &Segment<'_>, env: &mut Env<'_>) {
    if let Some(reset) = Reply::reset(segment) {
        reset.send(key, env.out);
    }
}

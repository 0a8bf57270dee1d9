//! How flows begin: the guest connects, or a client of a forward comes.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{self, SocketFlags, SocketType, sockopt};

use super::flow::{Flow, Phase};
use super::peer::Peer;
use super::segment::Segment;
use super::{TcpFlows, refuse};
use crate::backend::net::user::forward::family;
use crate::backend::net::user::icmp;
use crate::backend::net::user::token::{Kind, token};
use crate::backend::net::user::udp::unreachable;
use crate::backend::net::user::wire::{self, IpPacket};
use crate::backend::net::user::{Env, Key, Route};
use crate::virtio::device::Interest;

/// The gateway's ports that stand for clients of forwarded ports.
pub(super) const CLIENT_PORTS: std::ops::RangeInclusive<u16> = 32768..=65535;

impl TcpFlows {
    /// Connects to where the guest wants to; its SYN is answered when that is done.
    pub(super) fn open(
        &mut self,
        key: Key,
        packet: &IpPacket<'_>,
        segment: &Segment<'_>,
        env: &mut Env<'_>,
    ) {
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
        wire::put(&mut flow.syn, 0, start);
        if self.insert(id, flow, env) && phase == Phase::Open {
            self.enqueue(id);
        }
    }

    /// Relays a client of a forward to the guest's port, once the guest is up.
    pub(in super::super) fn connect_guest(
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
    pub(in super::super) fn guest_is_up(&mut self, env: &mut Env<'_>) {
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
    pub(in super::super) fn awaits_guest(&self) -> bool {
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
    pub(super) fn redirect(&mut self, id: u32, ours: IpAddr, guest: IpAddr) -> bool {
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

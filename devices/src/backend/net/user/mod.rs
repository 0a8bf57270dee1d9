//! The user-mode network: a router, a DHCP server and a name server in this process, and host
//! sockets behind them. It needs no privilege and no helper.
//!
//! | address    | what it is                                                            |
//! |------------|-----------------------------------------------------------------------|
//! | 10.0.2.2   | the router; connections to it go to the host's loopback address       |
//! | 10.0.2.3   | the name server: queries go to the host's                             |
//! | 10.0.2.15  | the guest                                                             |
//!
//! Runs on the network card's event loop.

mod arp;
mod datagram;
mod dhcp;
mod dns;
mod forward;
mod fragments;
mod icmp;
mod outbox;
mod route;
mod slots;
mod tcp;
#[cfg(test)]
mod tests;
mod timer;
mod token;
mod udp;
mod watched;
mod wire;

use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use self::dhcp::Dhcp;
use self::dns::Resolver;
use self::forward::Listener;
use self::fragments::Reassembly;
use self::outbox::Outbox;
use self::route::{Env, Key, Policy, Route, is_broadcast, is_local, is_ours};
use self::tcp::TcpFlows;
use self::timer::Timer;
use self::token::{INDEX_MAX, Kind};
use self::udp::UdpFlows;
use self::wire::{
    ETHERTYPE_ARP, ETHERTYPE_IPV4, Frame, Ipv4, Mac, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, Udp,
};
use super::{
    F_CSUM, F_GUEST_CSUM, F_GUEST_TSO4, F_HOST_TSO4, F_MTU, FRAME_MAX, NetBackend, NetError,
    Packet, PacketHeader, Protocol, UserSpec,
};
use crate::virtio::device::{Registry, Token};
use crate::virtio::queue::Reader;

/// The router.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// The name server.
pub const DNS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);
/// The guest.
pub const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
/// The network's mask.
pub const NETMASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);

/// The largest packet, unless configured. Large frames come from segmentation offload: with a large
/// MTU, Linux's initial receive window is one segment, and closes with each.
pub const MTU: u16 = 1500;
/// Every IPv4 host takes packets of this size (RFC 791 §3.1).
const MTU_MIN: u16 = 576;
/// What a driver that does not take our MTU uses.
const MTU_ETHERNET: u16 = 1500;

/// The most TCP flows, if the limit of open files allows.
const FLOWS_MAX: u32 = 8192;
/// Open files left for the rest of the process.
const FILES_RESERVED: u64 = 512;

/// How often the guest is looked for while clients wait for it.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// How often idle flows are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Clients accepted before others get their turn.
const ACCEPT_BURST: usize = 32;

/// The user-mode network.
pub struct UserNet {
    mtu: u16,
    mac: Mac,
    guest_is_up: bool,
    frame: Box<[u8]>,
    out: Outbox,
    dhcp: Dhcp,
    fragments: Reassembly,
    resolver: Resolver,
    policy: Policy,
    forwards: Vec<Listener>,
    tcp: TcpFlows,
    udp: UdpFlows,
    udp_first: bool,
    timer: Timer,
    ask_at: Option<Instant>,
    sweep_at: Option<Instant>,
}

impl std::fmt::Debug for UserNet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserNet")
            .field("forwards", &self.forwards)
            .field("tcp", &self.tcp)
            .field("udp", &self.udp)
            .finish_non_exhaustive()
    }
}

impl UserNet {
    /// A network for the guest's card at `mac`. Takes the forwards' host ports at once: clients may
    /// connect from now on.
    ///
    /// # Errors
    /// A host port is taken or cannot be opened; the MTU or the host name is out of bounds.
    pub fn new(mac: [u8; 6], mtu: Option<u16>, spec: &UserSpec) -> Result<Self, NetError> {
        let mtu = mtu.unwrap_or(MTU);
        if mtu < MTU_MIN {
            return Err(NetError::Mtu(mtu));
        }
        if let Some(name) = &spec.hostname
            && !is_hostname(name)
        {
            return Err(NetError::Hostname(name.clone()));
        }
        let forwards = (0..)
            .zip(&spec.forwards)
            .map(|(index, &forward)| Listener::open(forward, index))
            .collect::<Result<Vec<_>, _>>()?;
        let timer = Timer::new().map_err(|source| NetError::Open {
            what: "timer",
            source,
        })?;
        let mut out = Outbox::new(mac);
        let capabilities = tcp::capabilities(mtu.min(MTU_ETHERNET), false, false);
        let tcp = TcpFlows::new(flows_max(), capabilities, &mut out);
        Ok(Self {
            mtu,
            mac,
            guest_is_up: false,
            frame: vec![0; FRAME_MAX].into_boxed_slice(),
            out,
            dhcp: Dhcp::new(spec.hostname.clone(), mtu),
            fragments: Reassembly::default(),
            resolver: Resolver::system(),
            policy: Policy {
                restrict: spec.restrict,
                host: spec.host,
            },
            forwards,
            tcp,
            udp: UdpFlows::new(),
            udp_first: false,
            timer,
            ask_at: None,
            sweep_at: None,
        })
    }

    /// How many TCP and UDP flows there are.
    #[must_use]
    pub fn flows(&self) -> (usize, usize) {
        (self.tcp.len(), self.udp.len())
    }

    /// Splits the network into what every part uses and the parts that use it.
    fn parts<'a>(
        &'a mut self,
        events: &'a mut dyn Registry,
    ) -> (Env<'a>, &'a mut TcpFlows, &'a mut UdpFlows) {
        let env = Env {
            out: &mut self.out,
            events,
            resolver: &mut self.resolver,
            policy: self.policy,
            forwards: &mut self.forwards,
            guest_is_up: self.guest_is_up,
            now: Instant::now(),
        };
        (env, &mut self.tcp, &mut self.udp)
    }

    fn handle(&mut self, frame: &[u8], events: &mut dyn Registry) {
        let Some(frame) = Frame::parse(frame) else {
            return;
        };
        match frame.ethertype {
            ETHERTYPE_ARP => {
                if let Some(mac) = arp::receive(frame.payload, &mut self.out) {
                    self.meet_guest(mac, events);
                }
            }
            ETHERTYPE_IPV4 => {
                if let Some(packet) = Ipv4::parse(frame.payload) {
                    self.handle_ipv4(frame.source, &packet, events);
                }
            }
            _ => {}
        }
    }

    fn handle_ipv4(&mut self, source: Mac, packet: &Ipv4<'_>, events: &mut dyn Registry) {
        if packet.protocol == PROTOCOL_UDP
            && packet.fragment.is_none()
            && let Some(datagram) = Udp::parse(packet.payload)
            && datagram.destination == dhcp::SERVER_PORT
            && (packet.destination.is_broadcast() || is_ours(packet.destination))
        {
            return self.dhcp.receive(&datagram, &mut self.out);
        }
        let is_guest = is_local(packet.source) && !is_ours(packet.source) && source[0] & 1 == 0;
        if !is_guest {
            return;
        }
        if packet.source == GUEST {
            self.meet_guest(source, events);
        }
        match packet.fragment {
            None => self.deliver(packet, events),
            Some(fragment) => {
                let whole = self.fragments.receive(packet, fragment, Instant::now());
                if let Some(packet) = whole.as_deref().and_then(Ipv4::parse) {
                    self.deliver(&packet, events);
                }
            }
        }
    }

    /// Hands a whole packet to its protocol.
    fn deliver(&mut self, packet: &Ipv4<'_>, events: &mut dyn Registry) {
        let (mut env, tcp, udp) = self.parts(events);
        match packet.protocol {
            PROTOCOL_TCP => tcp.receive(packet, &mut env),
            PROTOCOL_UDP => {
                if let Some(datagram) = Udp::parse(packet.payload)
                    && !is_broadcast(packet.destination)
                {
                    udp.receive(packet, &datagram, &mut env);
                }
            }
            PROTOCOL_ICMP => icmp::receive(packet, env.out),
            _ => {}
        }
    }

    /// The guest has its address, on the card at `mac`.
    fn meet_guest(&mut self, mac: Mac, events: &mut dyn Registry) {
        self.out.guest = mac;
        if self.guest_is_up {
            return;
        }
        self.guest_is_up = true;
        self.ask_at = None;
        let (mut env, tcp, _) = self.parts(events);
        tcp.guest_is_up(&mut env);
        self.listen(events);
    }

    /// Lets clients of every forward in as far as there is room.
    fn listen(&mut self, events: &mut dyn Registry) {
        let has_room = self.tcp.has_room();
        for listener in &mut self.forwards {
            let on = match listener.forward.protocol {
                Protocol::Tcp => has_room,
                // The first datagram makes us look for the guest.
                Protocol::Udp => self.guest_is_up || !self.udp.awaits_guest,
            };
            listener.listen(on, events);
        }
    }

    fn accept(&mut self, index: u32, events: &mut dyn Registry) {
        for _ in 0..ACCEPT_BURST {
            let Some(listener) = self.forwards.get_mut(index as usize) else {
                return;
            };
            if listener.forward.protocol == Protocol::Udp {
                let (mut env, _, udp) = self.parts(events);
                return udp.forward_event(index, &mut env);
            }
            if !self.tcp.has_room() {
                return listener.listen(false, events);
            }
            let guest_port = listener.forward.guest_port;
            match listener.accept() {
                Ok(client) => {
                    let (mut env, tcp, _) = self.parts(events);
                    tcp.connect_guest(client, guest_port, &mut env);
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(error) => {
                    // Out of descriptors or memory: the next sweep tries again.
                    log::debug!("forward {}: {error}", listener.forward);
                    self.sweep_at.get_or_insert(Instant::now() + SWEEP_EVERY);
                    return listener.listen(false, events);
                }
            }
        }
    }

    /// Does what the time asks for and sets the timer for what comes next.
    fn tick(&mut self, events: &mut dyn Registry) {
        let now = Instant::now();
        if !self.guest_is_up && self.ask_at.is_none_or(|at| at <= now) {
            let awaited = self.udp.awaits_guest || self.tcp.awaits_guest();
            if awaited && self.out.is_empty() {
                arp::ask(&mut self.out);
            }
            self.ask_at = awaited.then(|| now + ASK_EVERY);
        }
        let has_flows = self.flows() != (0, 0);
        let sweep = self.sweep_at.is_some_and(|at| at <= now);
        let (mut env, tcp, udp) = self.parts(events);
        tcp.expire(&mut env);
        if sweep {
            tcp.sweep(&mut env);
            udp.sweep(&mut env);
            self.listen(events);
        }
        if sweep || self.sweep_at.is_none() {
            self.sweep_at = has_flows.then(|| now + SWEEP_EVERY);
        }
        let deadlines = [self.tcp.next_deadline(), self.ask_at, self.sweep_at];
        self.timer.arm(deadlines.into_iter().flatten().min(), now);
    }

    fn watch(&mut self, on: bool, events: &mut dyn Registry) {
        let (mut env, tcp, udp) = self.parts(events);
        tcp.watch(on, &mut env);
        udp.watch(on, &mut env);
    }
}

impl NetBackend for UserNet {
    fn features(&self) -> u64 {
        F_CSUM | F_GUEST_CSUM | F_GUEST_TSO4 | F_HOST_TSO4 | F_MTU
    }

    fn mtu(&self) -> u16 {
        self.mtu
    }

    fn start(&mut self, features: u64, events: &mut dyn Registry) -> io::Result<()> {
        let mtu = if features & F_MTU == 0 {
            self.mtu.min(MTU_ETHERNET)
        } else {
            self.mtu
        };
        let partial = features & F_GUEST_CSUM != 0;
        let segmentation = features & F_GUEST_TSO4 != 0;
        self.dhcp.mtu = mtu;
        self.out.mtu = mtu;
        self.out.partial_checksums = partial;
        let capabilities = tcp::capabilities(mtu, partial, segmentation);
        self.tcp.set_capabilities(capabilities, &mut self.out);
        self.timer.watch(true, events)?;
        self.listen(events);
        self.watch(true, events);
        arp::announce(&mut self.out);
        self.tick(events);
        Ok(())
    }

    fn stop(&mut self, events: &mut dyn Registry) {
        self.watch(false, events);
        for listener in &mut self.forwards {
            let _ = listener.socket.watch(None, events);
        }
        let _ = self.timer.watch(false, events);
    }

    fn reset(&mut self) {
        self.tcp.clear();
        self.udp.clear();
        self.dhcp.reset();
        self.fragments.clear();
        self.out.clear();
        self.out.guest = self.mac;
        self.guest_is_up = false;
        self.ask_at = None;
    }

    fn send(&mut self, _header: PacketHeader, packet: &mut Reader<'_>, events: &mut dyn Registry) {
        let mut frame = std::mem::take(&mut self.frame);
        if packet.available() <= frame.len() {
            let len = packet.read(&mut frame);
            self.handle(frame.get(..len).unwrap_or_default(), events);
        }
        self.frame = frame;
    }

    fn flush(&mut self, events: &mut dyn Registry) {
        let (mut env, tcp, _) = self.parts(events);
        tcp.flush(&mut env);
        self.tick(events);
    }

    fn event(&mut self, token: Token, events: &mut dyn Registry) {
        match token::parse(token) {
            Some((Kind::Timer, _)) => self.timer.rang(),
            Some((Kind::Forward, index)) => self.accept(index, events),
            Some((Kind::Tcp, id)) => {
                let (mut env, tcp, _) = self.parts(events);
                tcp.event(id, &mut env);
            }
            Some((Kind::Udp, id)) => {
                let (mut env, _, udp) = self.parts(events);
                udp.event(id, &mut env);
            }
            None => {}
        }
        self.tick(events);
    }

    fn receive(&mut self, events: &mut dyn Registry) -> Option<Packet<'_>> {
        if self.out.is_empty() {
            let udp_first = self.udp_first;
            self.udp_first = !udp_first;
            let (mut env, tcp, udp) = self.parts(events);
            let made = udp_first && udp.emit(&mut env) || tcp.emit(&mut env);
            if !made && !udp_first {
                udp.emit(&mut env);
            }
            if self.out.is_empty() {
                self.tick(events);
            }
        }
        self.out.front()
    }

    fn received(&mut self) {
        self.out.pop();
    }
}

/// RFC 1123 §2.1: labels of letters, digits and hyphens.
fn is_hostname(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// How many TCP flows the limit of open files allows.
fn flows_max() -> u32 {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let flows = files.saturating_sub(FILES_RESERVED).max(64);
    u32::try_from(flows)
        .unwrap_or(FLOWS_MAX)
        .min(FLOWS_MAX)
        .min(INDEX_MAX)
}

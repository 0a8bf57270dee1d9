//! The user-mode network: a router, a DHCP server and a name server in this process, and host
//! sockets behind them. It needs no privilege and no helper.
//!
//! | IPv4      | IPv6           | what it is                                                       |
//! |-----------|----------------|------------------------------------------------------------------|
//! | 10.0.2.2  | fd10:0:2::2    | the router; connections to it go to the host's loopback address  |
//! | 10.0.2.3  | fd10:0:2::3    | the name server: queries go to the host's                        |
//! | 10.0.2.15 | by the prefix  | the guest                                                        |
//!
//! Runs on the network card's event loop. Each VM has a network of its own.

mod addresses;
mod arp;
mod checksum;
mod clients;
mod control;
mod datagram;
mod dhcp;
mod dhcpv6;
mod dns;
mod forward;
mod fragments;
mod icmp;
mod input;
mod ndp;
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
use std::net::Ipv6Addr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};

pub use self::addresses::{DNS, DNS6, GATEWAY, GATEWAY6, GUEST, NETMASK, PREFIX6};
pub use self::control::ForwardControl;
use self::dhcp::Dhcp;
use self::dns::Resolver;
use self::forward::Forwards;
use self::fragments::Reassembly;
use self::outbox::Outbox;
use self::route::{Env, GuestState, Key, Policy, Route};
use self::tcp::{Link, TcpFlows};
use self::timer::Timer;
use self::token::{INDEX_MAX, Kind};
use self::udp::UdpFlows;
use self::watched::Watched;
use self::wire::Mac;
use super::{
    F_CSUM, F_GUEST_CSUM, F_GUEST_TSO4, F_GUEST_TSO6, F_HOST_TSO4, F_HOST_TSO6, F_MTU, FRAME_MAX,
    NetBackend, NetError, Packet, PacketHeader, UserSpec,
};
use crate::virtio::device::{Interest, Registry, Token};
use crate::virtio::queue::Reader;

/// The largest packet, unless configured. Large frames come from segmentation offload: with a large
/// MTU, Linux's initial receive window is one segment, and closes with each.
pub const MTU: u16 = 1500;
/// Every IPv4 host takes packets of this size (RFC 791 §3.1).
const MTU_MIN: u16 = 576;
/// Every IPv6 link takes packets of this size (RFC 8200 §5).
const MTU_MIN_V6: u16 = 1280;
/// What a driver that does not take our MTU uses.
const MTU_ETHERNET: u16 = 1500;

/// The most TCP flows, if the limit of open files allows.
const FLOWS_MAX: u32 = 8192;
/// Open files left for the rest of the process.
const FILES_RESERVED: u64 = 512;

/// How often the router advertises itself without being asked.
const ADVERTISE_EVERY: Duration = Duration::from_secs(1800);
/// How often idle flows are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Clients accepted before others get their turn.
const ACCEPT_BURST: usize = 32;
/// Packets that are made one after the other within one look at the clock.
const TICK: u8 = 32;

/// The user-mode network.
pub struct UserNet {
    mtu: u16,
    mac: Mac,
    guest: GuestState,
    /// An IPv6 address that the guest meant to take.
    tried_v6: Option<Ipv6Addr>,
    frame: Box<[u8]>,
    out: Outbox,
    dhcp: Dhcp,
    fragments: Reassembly,
    resolver: Resolver,
    policy: Policy,
    forwards: Forwards,
    control: ForwardControl,
    /// Tells of changes that [`UserNet::control`] has.
    changes: Watched,
    tcp: TcpFlows,
    udp: UdpFlows,
    udp_first: bool,
    timer: Timer,
    ask_at: Option<Instant>,
    advertise_at: Option<Instant>,
    sweep_at: Option<Instant>,
    /// When the burst of packets at hand began, and for how many more of them that will do as the time.
    clock: (Instant, u8),
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
        let mut forwards = forward::none();
        for &forward in &spec.forwards {
            let fd = forward::open(forward)?;
            let added = forward::add(&mut forwards, forward, fd);
            added.ok_or(NetError::TooManyForwards(forward))?;
        }
        let timer = Timer::new().map_err(|source| NetError::Open {
            what: "timer",
            source,
        })?;
        let (control, changes) = ForwardControl::new(&spec.forwards)?;
        let link = Link {
            mtu,
            large_v4: false,
            large_v6: false,
        };
        Ok(Self {
            mtu,
            mac,
            guest: GuestState::default(),
            tried_v6: None,
            frame: vec![0; FRAME_MAX].into_boxed_slice(),
            out: Outbox::new(mac),
            dhcp: Dhcp::new(spec.hostname.clone(), mtu),
            fragments: Reassembly::default(),
            resolver: Resolver::system(),
            policy: Policy {
                restrict: spec.restrict,
                host: spec.host,
                ipv6: spec.ipv6 && mtu >= MTU_MIN_V6,
            },
            forwards,
            control,
            changes: changed(changes),
            tcp: TcpFlows::new(flows_max(), link),
            udp: UdpFlows::new(),
            udp_first: false,
            timer,
            ask_at: None,
            advertise_at: None,
            sweep_at: None,
            clock: (Instant::now(), 0),
        })
    }

    /// The network's forwards, to be changed while it runs.
    #[must_use]
    pub fn control(&self) -> ForwardControl {
        self.control.clone()
    }

    /// The memory that TCP flows hold for what is under way.
    #[must_use]
    pub fn flow_memory(&self) -> usize {
        self.tcp.memory()
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
        self.parts_at(Instant::now(), events)
    }

    fn parts_at<'a>(
        &'a mut self,
        now: Instant,
        events: &'a mut dyn Registry,
    ) -> (Env<'a>, &'a mut TcpFlows, &'a mut UdpFlows) {
        let env = Env {
            out: &mut self.out,
            events,
            resolver: &mut self.resolver,
            policy: self.policy,
            forwards: &mut self.forwards,
            guest: self.guest,
            now,
        };
        (env, &mut self.tcp, &mut self.udp)
    }

    /// The time, to within what a burst of packets takes.
    fn burst_time(&mut self) -> Instant {
        let (_, left) = self.clock;
        match left.checked_sub(1) {
            Some(left) => self.clock.1 = left,
            None => self.clock = (Instant::now(), TICK),
        }
        self.clock.0
    }

    /// Does what the time asks for and sets the timer for what comes next.
    fn tick(&mut self, events: &mut dyn Registry) {
        let now = Instant::now();
        self.look_for_guest(now, events);
        if self.advertise_at.is_some_and(|at| at <= now) {
            self.advertise_at = Some(now + ADVERTISE_EVERY);
            ndp::advertise(self.out.mtu, &mut self.out);
        }
        let has_flows = self.flows() != (0, 0);
        let sweep = self.sweep_at.is_some_and(|at| at <= now);
        let (mut env, tcp, udp) = self.parts(events);
        tcp.expire(&mut env);
        udp.expire(&mut env);
        if sweep {
            tcp.sweep(&mut env);
            udp.sweep(&mut env);
            self.listen(events);
        }
        if sweep || self.sweep_at.is_none() {
            self.sweep_at = has_flows.then(|| now + SWEEP_EVERY);
        }
        let deadlines = [
            self.tcp.next_deadline(),
            self.udp.next_deadline(),
            self.ask_at,
            self.advertise_at,
            self.sweep_at,
        ];
        self.timer.arm(deadlines.into_iter().flatten().min(), now);
    }

    /// Makes the next packet for the guest, if there is one.
    fn make(&mut self, events: &mut dyn Registry) {
        let udp_first = self.udp_first;
        self.udp_first = !udp_first;
        let now = self.burst_time();
        let (mut env, tcp, udp) = self.parts_at(now, events);
        let made = udp_first && udp.emit(&mut env) || tcp.emit(&mut env);
        if !made && !udp_first {
            udp.emit(&mut env);
        }
        if self.out.is_empty() {
            // The burst is over.
            self.clock.1 = 0;
            self.tick(events);
        }
    }

    fn watch(&mut self, on: bool, events: &mut dyn Registry) {
        let (mut env, tcp, udp) = self.parts(events);
        tcp.watch(on, &mut env);
        udp.watch(on, &mut env);
    }
}

impl NetBackend for UserNet {
    fn features(&self) -> u64 {
        F_CSUM | F_GUEST_CSUM | F_GUEST_TSO4 | F_GUEST_TSO6 | F_HOST_TSO4 | F_HOST_TSO6 | F_MTU
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
        self.dhcp.mtu = mtu;
        self.out.mtu = mtu;
        self.out.partial_checksums = partial;
        self.tcp.set_link(Link {
            mtu,
            large_v4: partial && features & F_GUEST_TSO4 != 0,
            large_v6: partial && features & F_GUEST_TSO6 != 0,
        });
        self.timer.watch(true, events)?;
        self.changes.watch(Some(Interest::Read), events)?;
        self.control.set_active(true);
        self.change_forwards(events);
        self.watch(true, events);
        arp::announce(&mut self.out);
        if self.policy.ipv6 {
            self.advertise_at = Some(Instant::now() + ADVERTISE_EVERY);
        }
        self.tick(events);
        Ok(())
    }

    fn stop(&mut self, events: &mut dyn Registry) {
        self.watch(false, events);
        for (_, listener) in self.forwards.iter_mut() {
            let _ = listener.socket.watch(None, events);
        }
        self.control.set_active(false);
        let _ = self.changes.watch(None, events);
        let _ = self.timer.watch(false, events);
    }

    fn reset(&mut self) {
        self.tcp.clear();
        self.udp.clear();
        self.dhcp.reset();
        self.fragments.clear();
        self.out.clear();
        self.out.guest = self.mac;
        self.guest = GuestState::default();
        self.tried_v6 = None;
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
            Some((Kind::Changes, _)) => self.change_forwards(events),
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
        loop {
            if self.out.is_empty() {
                self.make(events);
            }
            let (_, _, body) = self.out.front()?;
            let gone = body.is_some_and(|body| self.tcp.body(body).is_none());
            if !gone {
                break;
            }
            // The guest has these data by now, or wants them no more.
            self.out.pop();
        }
        let (header, frame, body) = self.out.front()?;
        let body = body.and_then(|body| self.tcp.body(body));
        Some(Packet {
            header,
            frame,
            body: body.unwrap_or_default(),
        })
    }

    fn received(&mut self) {
        self.out.pop();
    }

    fn hold(&mut self, _events: &mut dyn Registry) {
        self.clock.1 = 0;
    }
}

fn changed(fd: OwnedFd) -> Watched {
    Watched::new(fd, token::token(Kind::Changes, 0))
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

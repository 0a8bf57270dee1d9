//! The clients of forwards: letting them in, and looking for the guest that they wait for.

use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::control::Change;
use super::{ACCEPT_BURST, SWEEP_EVERY, UserNet, arp, forward, ndp};
use crate::backend::net::Protocol;
use crate::virtio::device::Registry;

/// How often the guest is looked for while clients wait for it.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// A guest that had an IPv6 address for so long and none over IPv4 will have none.
const V6_ALONE: Duration = Duration::from_secs(5);

impl UserNet {
    /// Lets clients of every forward in as far as there is room.
    pub(super) fn listen(&mut self, events: &mut dyn Registry) {
        let has_room = self.tcp.has_room();
        for (_, listener) in self.forwards.iter_mut() {
            let on = match listener.forward.protocol {
                Protocol::Tcp => has_room,
                // The first datagram makes us look for the guest.
                Protocol::Udp => self.guest.is_up || !self.udp.awaits_guest,
            };
            listener.listen(on, events);
        }
    }

    /// Lets clients of forward `index` in.
    pub(super) fn accept(&mut self, index: u32, events: &mut dyn Registry) {
        for _ in 0..ACCEPT_BURST {
            let Some(listener) = self.forwards.get_mut(index) else {
                return;
            };
            if listener.forward.protocol == Protocol::Udp {
                let (mut env, _, udp) = self.parts(events);
                return udp.forward_event(index, &mut env);
            }
            if !self.tcp.has_room() {
                return listener.listen(false, events);
            }
            let way = (listener.forward.host.is_ipv6(), listener.forward.guest_port);
            match listener.accept() {
                Ok(client) => {
                    let (mut env, tcp, _) = self.parts(events);
                    tcp.connect_guest(client, way, &mut env);
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

    /// Adds and removes forwards as it was asked for.
    pub(super) fn change_forwards(&mut self, events: &mut dyn Registry) {
        let _ = rustix::io::read(&self.changes, &mut [0; 8]);
        while let Some(change) = self.control.next() {
            match change {
                Change::Add(new, fd) => {
                    if forward::add(&mut self.forwards, new, fd).is_none() {
                        log::warn!("forward {new}: there are too many");
                    }
                }
                Change::Remove(old, done) => {
                    let found = self.forwards.iter().find(|(_, it)| it.forward == old);
                    if let Some((index, _)) = found {
                        self.close_forward(index, events);
                    }
                    // Nobody waits any more, perhaps.
                    let _ = done.send(());
                }
            }
        }
        self.listen(events);
    }

    fn close_forward(&mut self, index: u32, events: &mut dyn Registry) {
        let (mut env, _, udp) = self.parts(events);
        udp.forget_forward(index, &mut env);
        if let Some(mut listener) = self.forwards.remove(index) {
            let _ = listener.socket.watch(None, events);
        }
    }

    /// Clients wait for a guest that was not heard of yet: looks for it.
    pub(super) fn look_for_guest(&mut self, now: Instant, events: &mut dyn Registry) {
        if self.guest.is_up || self.ask_at.is_some_and(|at| at > now) {
            return;
        }
        let awaited = self.udp.awaits_guest || self.tcp.awaits_guest();
        if awaited
            && self
                .guest
                .v6
                .is_some_and(|(_, since)| now - since >= V6_ALONE)
        {
            return self.let_clients_in(events);
        }
        if awaited && self.out.is_empty() {
            arp::ask(&mut self.out);
            // An address that the guest took; it says so when it is asked.
            if let (None, Some(address)) = (self.guest.v6, self.tried_v6) {
                ndp::ask(address, &mut self.out);
            }
        }
        self.ask_at = awaited.then(|| now + ASK_EVERY);
    }

    /// The guest is there.
    pub(super) fn let_clients_in(&mut self, events: &mut dyn Registry) {
        self.guest.is_up = true;
        self.ask_at = None;
        let (mut env, tcp, _) = self.parts(events);
        tcp.guest_is_up(&mut env);
        self.listen(events);
    }
}

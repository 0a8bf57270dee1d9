//! Queries to name servers that leave them unanswered.

use std::time::Instant;

use rustix::net::{self, SendFlags};

use super::{Flow, Peer, UdpFlows, connected};
use crate::backend::net::user::route::Env;
use crate::backend::net::user::token::{Kind, token};
use crate::backend::net::user::watched::Watched;
use crate::virtio::device::Interest;

impl UdpFlows {
    /// Gives the unanswered queries of flow `id` to the next name server, if there is one.
    pub(super) fn ask_next(&mut self, id: u32, env: &mut Env<'_>) -> bool {
        let Some(Flow {
            peer:
                Peer::Socket {
                    socket,
                    asked: Some(asked),
                },
            ..
        }) = self.flows.get_mut(id)
        else {
            return false;
        };
        while let Some(server) = asked.next(env.resolver, env.now) {
            let Ok(fd) = connected(server) else {
                continue;
            };
            let _ = socket.watch(None, env.events);
            *socket = Watched::new(fd, token(Kind::Udp, id));
            let _ = socket.watch(Some(Interest::Read), env.events);
            for query in asked.queries() {
                let _ = net::send(&*socket, query, SendFlags::NOSIGNAL);
            }
            return true;
        }
        false
    }

    /// When [`UdpFlows::expire`] is to be called.
    pub(in super::super) fn next_deadline(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Gives queries that were unanswered for too long to the next name server.
    pub(in super::super) fn expire(&mut self, env: &mut Env<'_>) {
        if self.retry_at.is_none_or(|at| at > env.now) {
            return;
        }
        let deadline = |flow: &Flow| match &flow.peer {
            Peer::Socket { asked, .. } => asked.as_ref()?.deadline(),
            Peer::Client { .. } => None,
        };
        let due: Vec<u32> = self
            .flows
            .iter()
            .filter(|(_, flow)| deadline(flow).is_some_and(|at| at <= env.now))
            .map(|(id, _)| id)
            .collect();
        for id in due {
            self.ask_next(id, env);
        }
        let deadlines = self.flows.iter().filter_map(|(_, flow)| deadline(flow));
        self.retry_at = deadlines.min();
    }
}

//! When flows are looked at without an event: smoltcp's timers, and the ends of idle flows.

use std::time::{Duration, Instant};

use smoltcp::socket::tcp::State;

use super::TcpFlows;
use super::flow::{Flow, Phase};
use crate::backend::net::user::Env;

/// How long a client of a forward waits for the guest to come up, and then for it to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(180);
/// How long an idle flow stays: RFC 5382 §5 asks for at least 2 hours and 4 minutes.
const IDLE: Duration = Duration::from_secs(2 * 3600 + 240);
/// How long a flow may hold data that one side does not take, or wait for a handshake.
const IDLE_STUCK: Duration = Duration::from_secs(900);

impl TcpFlows {
    pub(super) fn set_deadline(&mut self, id: u32, deadline: Option<Instant>) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        if deadline != flow.deadline {
            if let Some(old) = flow.deadline {
                self.deadlines.remove(&(old, id));
            }
            flow.deadline = deadline;
            self.deadlines.extend(deadline.map(|at| (at, id)));
        }
    }

    /// When [`TcpFlows::expire`] is to be called.
    pub(in super::super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(at, _)| at)
    }

    /// Queues the flows whose time has come.
    pub(in super::super) fn expire(&mut self, env: &mut Env<'_>) {
        while let Some(&(at, id)) = self.deadlines.first() {
            if at > env.now {
                break;
            }
            self.deadlines.pop_first();
            if let Some(flow) = self.flows.get_mut(id) {
                flow.deadline = None;
            }
            self.enqueue(id);
        }
    }

    /// Ends the flows that were idle for too long.
    pub(in super::super) fn sweep(&mut self, env: &mut Env<'_>) {
        let over = |flow: &Flow| {
            let guest = flow.guest_ref();
            let limit = match flow.phase {
                Phase::Waiting => PATIENCE,
                Phase::Connecting | Phase::Aborting => IDLE_STUCK,
                Phase::Open if guest.send_queue() + guest.recv_queue() > 0 => IDLE_STUCK,
                Phase::Open if guest.state() == State::SynReceived => IDLE_STUCK,
                Phase::Open => IDLE,
            };
            env.now - flow.used >= limit
        };
        let idle: Vec<u32> = self
            .flows
            .iter()
            .filter(|(_, f)| over(f))
            .map(|(id, _)| id)
            .collect();
        for id in idle {
            if let Some(flow) = self.flows.get_mut(id) {
                flow.reset_host();
                if matches!(flow.phase, Phase::Open | Phase::Connecting) {
                    self.abort(id, env);
                } else {
                    self.remove(id, env);
                }
            }
        }
    }
}

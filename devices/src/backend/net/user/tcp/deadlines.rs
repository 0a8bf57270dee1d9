//! When flows are looked at without an event: segments to be sent again, and the ends of idle flows.

use std::time::{Duration, Instant};

use super::TcpFlows;
use super::flow::{Flow, Phase};
use super::peer::State;
use crate::backend::net::user::Env;

/// How long a client of a forward waits for the guest to come up, and then for it to answer.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long an idle flow stays: RFC 5382 §5 asks for at least 2 hours and 4 minutes.
const IDLE: Duration = Duration::from_secs(2 * 3600 + 240);
/// How long a flow may hold data that one side does not take, or wait for a handshake.
const IDLE_STUCK: Duration = Duration::from_secs(900);
/// How long a flow keeps memory that nothing waits in.
const KEEP_MEMORY: Duration = Duration::from_secs(1);

impl TcpFlows {
    /// Puts flow `id` into the list of deadlines. A deadline that moved back stays listed where it
    /// was, and moves when it comes.
    pub(super) fn note_deadline(&mut self, id: u32) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        let Some(deadline) = flow.peer.deadline() else {
            return;
        };
        if let Some(listed) = flow.listed {
            if listed <= deadline {
                return;
            }
            self.deadlines.remove(&(listed, id));
        }
        flow.listed = Some(deadline);
        self.deadlines.insert((deadline, id));
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
            let Some(flow) = self.flows.get_mut(id) else {
                continue;
            };
            flow.listed = None;
            if flow
                .peer
                .deadline()
                .is_some_and(|deadline| deadline <= env.now)
            {
                flow.peer.timeout();
                self.enqueue(id);
            } else {
                self.note_deadline(id);
            }
        }
    }

    /// Ends the flows that were idle for too long.
    pub(in super::super) fn sweep(&mut self, env: &mut Env<'_>) {
        let over = |flow: &Flow| {
            let limit = match flow.phase {
                Phase::Waiting => PATIENCE,
                Phase::Connecting | Phase::Aborting => IDLE_STUCK,
                Phase::Open => match flow.peer.state() {
                    State::SynSent => PATIENCE,
                    State::SynReceived => IDLE_STUCK,
                    State::Open if flow.is_stuck() => IDLE_STUCK,
                    State::Open => IDLE,
                },
            };
            env.now - flow.used >= limit
        };
        self.release(|flow| env.now - flow.used >= KEEP_MEMORY);
        let idle: Vec<u32> = self
            .flows
            .iter()
            .filter(|(_, f)| over(f))
            .map(|(id, _)| id)
            .collect();
        for id in idle {
            if let Some(flow) = self.flows.get_mut(id) {
                if matches!(flow.phase, Phase::Open | Phase::Connecting) {
                    self.abort(id, env);
                } else {
                    flow.reset_host();
                    self.remove(id, env);
                }
            }
        }
    }
}

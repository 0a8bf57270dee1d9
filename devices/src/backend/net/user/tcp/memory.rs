//! What the flows of one VM may hold in memory, whatever its guest does.

use super::TcpFlows;
use super::buffer::{FIRST, MAX};
use super::flow::Flow;

/// What all flows share for each direction: as long as there are few, each has as much as a buffer
/// holds. What the guest was promised before there were more it may still use, so that it gets at most
/// (1 + ln 64) times as much with as many flows as there can be.
pub(super) const MEMORY_MAX: usize = 32 << 20;

impl TcpFlows {
    /// Lets flow `id` take or move data, within what all of them may hold.
    pub(super) fn with<T>(&mut self, id: u32, work: impl FnOnce(&mut Flow) -> T) -> Option<T> {
        let share = (self.memory_max / self.flows.len().max(1)).clamp(FIRST, MAX);
        let flow = self.flows.get_mut(id)?;
        let before = flow.memory();
        flow.limit(share);
        let result = work(flow);
        self.memory = (self.memory + flow.memory()).saturating_sub(before);
        Some(result)
    }

    /// Gives back the memory of flows that were idle until now, if `idle` says so.
    pub(super) fn release(&mut self, idle: impl Fn(&Flow) -> bool) {
        for (_, flow) in self.flows.iter_mut().filter(|(_, flow)| idle(flow)) {
            flow.release();
        }
        self.memory = self.flows.iter().map(|(_, flow)| flow.memory()).sum();
    }

    /// The memory for what is under way.
    pub(in super::super) fn memory(&self) -> usize {
        self.memory
    }

    /// Changes what all flows together may hold.
    #[cfg(test)]
    pub(in super::super) fn limit_memory(&mut self, most: usize) {
        self.memory_max = most;
    }
}

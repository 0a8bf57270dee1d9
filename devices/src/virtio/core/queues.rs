//! The registers of a queue.

use serde::{Deserialize, Serialize};
use virtio_queue::QueueState;

use super::{F_RING_EVENT_IDX, F_RING_INDIRECT_DESC};
use crate::GuestRam;
use crate::virtio::queue::{QueueError, VirtQueue};

/// The registers of one queue, and where its device stopped in the rings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueRegs {
    /// The largest size offered.
    pub max_size: u16,
    /// The size chosen.
    pub size: u16,
    /// Whether the driver enabled the queue.
    pub enabled: bool,
    /// Guest address of the descriptor table.
    pub desc: u64,
    /// Guest address of the available ring.
    pub avail: u64,
    /// Guest address of the used ring.
    pub used: u64,
    next_avail: u16,
    next_used: u16,
}

impl QueueRegs {
    pub(super) fn new(max_size: u16) -> Self {
        Self {
            max_size,
            size: max_size,
            enabled: false,
            desc: 0,
            avail: 0,
            used: 0,
            next_avail: 0,
            next_used: 0,
        }
    }

    pub(super) fn build(&self, features: u64, mem: &GuestRam) -> Result<VirtQueue, QueueError> {
        if !self.enabled {
            return VirtQueue::new(self.max_size);
        }
        let state = QueueState {
            max_size: self.max_size,
            next_avail: self.next_avail,
            next_used: self.next_used,
            event_idx_enabled: features & F_RING_EVENT_IDX != 0,
            size: self.size,
            ready: true,
            desc_table: self.desc,
            avail_ring: self.avail,
            used_ring: self.used,
        };
        let mut queue = VirtQueue::from_state(state, mem)?;
        if features & F_RING_INDIRECT_DESC == 0 {
            queue.refuse_indirect();
        }
        Ok(queue)
    }

    /// One of the addresses.
    #[must_use]
    pub fn address(&self, part: Part) -> u64 {
        match part {
            Part::Desc => self.desc,
            Part::Avail => self.avail,
            Part::Used => self.used,
        }
    }

    pub(super) fn address_mut(&mut self, part: Part) -> &mut u64 {
        match part {
            Part::Desc => &mut self.desc,
            Part::Avail => &mut self.avail,
            Part::Used => &mut self.used,
        }
    }

    /// Notes where the device stopped.
    pub(super) fn park(&mut self, stopped: &QueueState) {
        self.next_avail = stopped.next_avail;
        self.next_used = stopped.next_used;
    }

    pub(super) fn save(&self) -> QueueStateV1 {
        QueueStateV1 {
            size: self.size,
            enabled: self.enabled,
            desc: self.desc,
            avail: self.avail,
            used: self.used,
            next_avail: self.next_avail,
            next_used: self.next_used,
        }
    }

    /// Takes back what [`QueueRegs::save`] wrote; `false` if its size is impossible.
    pub(super) fn restore(&mut self, saved: &QueueStateV1) -> bool {
        if !saved.size.is_power_of_two() || saved.size > self.max_size {
            return false;
        }
        *self = Self {
            max_size: self.max_size,
            size: saved.size,
            enabled: saved.enabled,
            desc: saved.desc,
            avail: saved.avail,
            used: saved.used,
            next_avail: saved.next_avail,
            next_used: saved.next_used,
        };
        true
    }
}

/// One of a queue's three addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The descriptor table.
    Desc,
    /// The available ring ("driver area").
    Avail,
    /// The used ring ("device area").
    Used,
}

/// The saved registers of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStateV1 {
    /// The size chosen.
    pub size: u16,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Guest address of the descriptor table.
    pub desc: u64,
    /// Guest address of the available ring.
    pub avail: u64,
    /// Guest address of the used ring.
    pub used: u64,
    /// Where the device stopped in the available ring.
    pub next_avail: u16,
    /// Where the device stopped in the used ring.
    pub next_used: u16,
}

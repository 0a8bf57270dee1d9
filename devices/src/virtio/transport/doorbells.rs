//! The doorbells of an active device, as the hypervisor has them.

use std::sync::Arc;

use super::Attached;
use crate::platform::{DoorbellPlace, Platform};
use crate::virtio::runner::Doorbells;

/// Where a device's doorbells are: that of queue 0, and how far from each to the next. Where they share a register, the
/// value is the queue's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) first: DoorbellPlace,
    pub(super) stride: u64,
}

impl Row {
    fn place(&self, index: u16) -> DoorbellPlace {
        DoorbellPlace {
            address: self.first.address + u64::from(index) * self.stride,
            value: self.first.value.map(|first| first + u32::from(index)),
            ..self.first
        }
    }
}

#[derive(Debug)]
struct Placed {
    row: Row,
    doorbells: Doorbells,
    queues: Vec<u16>,
}

/// Doorbells registered with the hypervisor: they exist while the device runs and its registers
/// have an address.
#[derive(Debug)]
pub(super) struct PlacedDoorbells {
    platform: Arc<dyn Platform>,
    placed: Option<Placed>,
}

impl PlacedDoorbells {
    pub(super) fn new(platform: Arc<dyn Platform>) -> Self {
        Self {
            platform,
            placed: None,
        }
    }

    /// Brings them in line with the device and the place of its registers.
    pub(super) fn sync(&mut self, attached: &Attached, row: Option<Row>) {
        let wanted = attached.doorbells().zip(row);
        let same = match (&wanted, &self.placed) {
            (Some((doorbells, row)), Some(placed)) => {
                placed.row == *row && Arc::ptr_eq(doorbells, &placed.doorbells)
            }
            (None, None) => true,
            _ => false,
        };
        if same {
            return;
        }
        self.remove();
        self.placed = wanted.map(|(doorbells, row)| self.place(attached, doorbells, row));
    }

    fn place(&self, attached: &Attached, doorbells: &Doorbells, row: Row) -> Placed {
        let mut queues = Vec::new();
        for (index, doorbell) in (0..).zip(doorbells.iter()) {
            if !attached.core.queue_enabled(index) {
                continue;
            }
            match self.platform.add_doorbell(row.place(index), doorbell) {
                Ok(()) => queues.push(index),
                // The driver's writes then reach the vCPU thread, which rings the same doorbell.
                Err(error) => log::debug!("doorbell of queue {index}: {error}"),
            }
        }
        Placed {
            row,
            doorbells: Arc::clone(doorbells),
            queues,
        }
    }

    fn remove(&mut self) {
        let Some(placed) = self.placed.take() else {
            return;
        };
        for &index in &placed.queues {
            let Some(doorbell) = placed.doorbells.get(usize::from(index)) else {
                continue;
            };
            let place = placed.row.place(index);
            if let Err(error) = self.platform.remove_doorbell(place, doorbell) {
                log::debug!("doorbell of queue {index}: {error}");
            }
        }
    }
}

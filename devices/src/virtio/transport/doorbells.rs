//! The doorbells of an active device, as the hypervisor has them.

use std::sync::Arc;

use super::Attached;
use crate::platform::{DoorbellPlace, Platform};
use crate::virtio::runner::Doorbells;

/// Where the doorbell of a queue is, in registers that begin at an address.
type PlaceOf = fn(base: u64, index: u16) -> DoorbellPlace;

#[derive(Debug)]
struct Placed {
    base: u64,
    doorbells: Doorbells,
    queues: Vec<u16>,
}

/// Doorbells registered with the hypervisor: they exist while the device runs and its registers
/// have an address.
#[derive(Debug)]
pub(super) struct PlacedDoorbells {
    platform: Arc<dyn Platform>,
    place_of: PlaceOf,
    placed: Option<Placed>,
}

impl PlacedDoorbells {
    pub(super) fn new(platform: Arc<dyn Platform>, place_of: PlaceOf) -> Self {
        Self {
            platform,
            place_of,
            placed: None,
        }
    }

    /// Brings them in line with the device and the address of its registers.
    pub(super) fn sync(&mut self, attached: &Attached, base: Option<u64>) {
        let wanted = attached.doorbells().zip(base);
        let same = match (&wanted, &self.placed) {
            (Some((doorbells, base)), Some(placed)) => {
                placed.base == *base && Arc::ptr_eq(doorbells, &placed.doorbells)
            }
            (None, None) => true,
            _ => false,
        };
        if same {
            return;
        }
        self.remove();
        self.placed = wanted.map(|(doorbells, base)| self.place(attached, doorbells, base));
    }

    fn place(&self, attached: &Attached, doorbells: &Doorbells, base: u64) -> Placed {
        let mut queues = Vec::new();
        for (index, doorbell) in (0..).zip(doorbells.iter()) {
            if !attached.core.queue_enabled(index) {
                continue;
            }
            let place = (self.place_of)(base, index);
            match self.platform.add_doorbell(place, doorbell) {
                Ok(()) => queues.push(index),
                // The driver's writes then reach the vCPU thread, which rings the same doorbell.
                Err(error) => log::debug!("doorbell of queue {index}: {error}"),
            }
        }
        Placed {
            base,
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
            let place = (self.place_of)(placed.base, index);
            if let Err(error) = self.platform.remove_doorbell(place, doorbell) {
                log::debug!("doorbell of queue {index}: {error}");
            }
        }
    }
}

//! From a device's notifications to MSI-X vectors and the ISR status.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};

use serde::{Deserialize, Serialize};

use crate::pci::msix::Vectors;
use crate::persist::PersistError;
use crate::virtio::device::Interrupt;

/// No vector is assigned (VIRTIO 1.3 §4.1.5.1.2).
pub(super) const NO_VECTOR: u16 = 0xffff;

/// ISR status bits (VIRTIO 1.3 §4.1.4.5).
const ISR_QUEUE: u8 = 1;
const ISR_CONFIG: u8 = 2;

/// The interrupts of one function; a notification is two loads and the vector's own write.
#[derive(Debug)]
pub(super) struct PciInterrupt {
    vectors: Arc<Vectors>,
    config: AtomicU16,
    queues: Box<[AtomicU16]>,
    isr: AtomicU8,
}

impl PciInterrupt {
    pub(super) fn new(vectors: Arc<Vectors>, queues: u16) -> Self {
        Self {
            vectors,
            config: AtomicU16::new(NO_VECTOR),
            queues: (0..queues).map(|_| AtomicU16::new(NO_VECTOR)).collect(),
            isr: AtomicU8::new(0),
        }
    }

    /// Reads and clears the ISR status.
    pub(super) fn take_isr(&self) -> u8 {
        self.isr.swap(0, Ordering::AcqRel)
    }

    /// Unassigns every vector.
    pub(super) fn reset(&self) {
        self.config.store(NO_VECTOR, Ordering::Release);
        for queue in &self.queues {
            queue.store(NO_VECTOR, Ordering::Release);
        }
        self.take_isr();
    }

    fn assign(&self, to: &AtomicU16, vector: u16) {
        let exists = vector < self.vectors.count();
        to.store(if exists { vector } else { NO_VECTOR }, Ordering::Release);
    }

    pub(super) fn config_vector(&self) -> u16 {
        self.config.load(Ordering::Acquire)
    }

    pub(super) fn set_config_vector(&self, vector: u16) {
        self.assign(&self.config, vector);
    }

    pub(super) fn queue_vector(&self, index: u16) -> u16 {
        let queue = self.queues.get(usize::from(index));
        queue.map_or(NO_VECTOR, |vector| vector.load(Ordering::Acquire))
    }

    pub(super) fn set_queue_vector(&self, index: u16, vector: u16) {
        if let Some(queue) = self.queues.get(usize::from(index)) {
            self.assign(queue, vector);
        }
    }

    fn signal(&self, vector: u16) {
        if vector != NO_VECTOR {
            self.vectors.signal(vector);
        }
    }

    pub(super) fn save(&self) -> InterruptStateV1 {
        let load = |vector: &AtomicU16| vector.load(Ordering::Acquire);
        InterruptStateV1 {
            config: load(&self.config),
            queues: self.queues.iter().map(load).collect(),
            isr: self.isr.load(Ordering::Acquire),
        }
    }

    pub(super) fn restore(&self, state: &InterruptStateV1) -> Result<(), PersistError> {
        if state.queues.len() != self.queues.len() {
            return Err(PersistError::Invalid("number of queue vectors".to_owned()));
        }
        self.set_config_vector(state.config);
        for (queue, &vector) in self.queues.iter().zip(&state.queues) {
            self.assign(queue, vector);
        }
        self.isr.store(state.isr, Ordering::Release);
        Ok(())
    }
}

impl Interrupt for PciInterrupt {
    fn queue(&self, index: u16) {
        if self.vectors.enabled() {
            self.signal(self.queue_vector(index));
        } else {
            self.isr.fetch_or(ISR_QUEUE, Ordering::AcqRel);
        }
    }

    fn config(&self) {
        // This bit is set with MSI-X too (VIRTIO 1.3 §4.1.4.5.1).
        self.isr.fetch_or(ISR_CONFIG, Ordering::AcqRel);
        self.signal(self.config_vector());
    }
}

/// The saved vector assignment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InterruptStateV1 {
    config: u16,
    queues: Vec<u16>,
    isr: u8,
}

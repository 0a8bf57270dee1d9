//! From a device's notifications to MSI-X vectors and the ISR status.

use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use vmm_sys_util::eventfd::EventFd;

use crate::lock;
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
    /// The events that interrupt for a queue; held while its vector changes.
    calls: Box<[Mutex<Option<Arc<EventFd>>>]>,
    isr: AtomicU8,
}

impl PciInterrupt {
    pub(super) fn new(vectors: Arc<Vectors>, queues: u16) -> Self {
        Self {
            vectors,
            config: AtomicU16::new(NO_VECTOR),
            queues: (0..queues).map(|_| AtomicU16::new(NO_VECTOR)).collect(),
            calls: (0..queues).map(|_| Mutex::default()).collect(),
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
        for index in 0..self.queues.len() {
            self.set_queue_vector(u16::try_from(index).unwrap_or(u16::MAX), NO_VECTOR);
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
        let at = usize::from(index);
        let (Some(queue), Some(call)) = (self.queues.get(at), self.calls.get(at)) else {
            return;
        };
        let call = lock(call);
        if let Some(call) = &*call {
            self.vectors.unbind(self.queue_vector(index), call);
        }
        self.assign(queue, vector);
        if let Some(call) = &*call {
            self.vectors.bind(self.queue_vector(index), call);
        }
    }

    /// Has `call` interrupt for queue `index`, or nothing any more.
    fn set_call(&self, index: u16, call: Option<Arc<EventFd>>) {
        let Some(slot) = self.calls.get(usize::from(index)) else {
            return;
        };
        let mut slot = lock(slot);
        let vector = self.queue_vector(index);
        if let Some(old) = slot.take() {
            self.vectors.unbind(vector, &old);
        }
        if let Some(call) = call {
            self.vectors.bind(vector, &call);
            *slot = Some(call);
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
        for (index, &vector) in (0..).zip(&state.queues) {
            self.set_queue_vector(index, vector);
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

    fn bind(&self, index: u16, call: &Arc<EventFd>) {
        self.set_call(index, Some(Arc::clone(call)));
    }

    fn unbind(&self, index: u16) {
        self.set_call(index, None);
    }
}

/// The saved vector assignment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InterruptStateV1 {
    config: u16,
    queues: Vec<u16>,
    isr: u8,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::config::{BarKind, PciConfig, PciIds};
    use crate::pci::msix::Msix;
    use crate::virtio::testing::FakePlatform;

    #[test]
    fn a_call_goes_to_the_vector_that_its_queue_has() {
        let platform = FakePlatform::default();
        let mut config = PciConfig::new(&PciIds {
            id: (1, 2),
            subsystem: (3, 4),
            class: 0,
            revision: 0,
        });
        config.add_bar(0, 0x8000, BarKind::Memory32);
        let mut msix = Msix::new(&mut config, 2, 0, (0x4000, 0x5000), &platform).unwrap();
        for vector in 0..2 {
            let data = 0x30 + vector as u32;
            msix.write_table(16 * vector, &0xfee0_0000_u64.to_le_bytes());
            msix.write_table(16 * vector + 8, &data.to_le_bytes());
            msix.write_table(16 * vector + 12, &[0; 4]);
        }
        // The MSI-X control register (PCI 3.0 §6.8.2.3) is the capability's second word.
        let mut first = [0];
        config.read(0x34, &mut first);
        config.write(usize::from(first[0]) + 2, &0x8000_u16.to_le_bytes());
        msix.config_written(&config);

        let interrupt = PciInterrupt::new(Arc::clone(msix.vectors()), 2);
        let call = Arc::new(EventFd::new(0).unwrap());
        interrupt.bind(0, &call);
        assert!(platform.bound().is_empty());
        interrupt.set_queue_vector(0, 1);
        assert_eq!(platform.bound(), [0x31]);
        interrupt.set_queue_vector(0, 0);
        assert_eq!(platform.bound(), [0x30]);
        interrupt.set_queue_vector(1, 1);
        interrupt.set_queue_vector(0, 9);
        assert!(platform.bound().is_empty());
        interrupt.set_queue_vector(0, 0);
        interrupt.unbind(0);
        assert!(platform.bound().is_empty());
        interrupt.bind(0, &call);
        interrupt.reset();
        assert!(platform.bound().is_empty());
    }
}

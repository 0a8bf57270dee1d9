//! vCPU threads: run the guest, send its accesses to the buses, report what concerns the machine.

mod threads;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use devices::bus::{Bus, Effect};
use devices::legacy::ioapic::IoApic;
use devices::lock;

use crate::event::{EventSender, Landmark, MachineEvent, ResetCause};
use crate::kvm::{CoalescedRing, Exit, Failure, Vcpu};
use crate::layout::pio;
pub(crate) use threads::VcpuThreads;

/// What all vCPU threads of a machine share.
#[derive(Debug)]
pub(crate) struct VcpuContext {
    /// Port I/O.
    pub(crate) ports: Bus,
    /// Memory-mapped I/O.
    pub(crate) mmio: Bus,
    /// For ends of level-triggered interrupts.
    pub(crate) ioapic: Arc<Mutex<IoApic>>,
    /// Serial output that KVM keeps until the next exit, once the guest uses the FIFO.
    pub(crate) serial_ring: Option<CoalescedSerial>,
    /// The way to the supervisor.
    pub(crate) events: EventSender,
}

impl VcpuContext {
    /// Applies port writes that KVM kept; before any other access, to keep their order.
    pub(crate) fn apply_kept_writes(&self) {
        if self.keeps_writes()
            && let Some(serial) = &self.serial_ring
        {
            serial.ring.drain(|port, data| {
                self.ports.write(port, data);
            });
        }
    }

    /// Whether KVM keeps port writes now.
    pub(crate) fn keeps_writes(&self) -> bool {
        let serial = self.serial_ring.as_ref();
        serial.is_some_and(|serial| serial.keeping.load(Ordering::Acquire))
    }

    fn port_write(&self, port: u64, data: &[u8]) -> Effect {
        let effect = self.ports.write(port, data);
        if port == SERIAL_FCR
            && data.first().is_some_and(|fcr| fcr & FIFO_ENABLE != 0)
            && let Some(serial) = &self.serial_ring
        {
            serial.keep();
        }
        effect
    }
}

/// The 16550's FIFO control register and its enable bit (16550D data sheet §8.5).
const SERIAL_FCR: u64 = pio::SERIAL.start + 2;
const FIFO_ENABLE: u8 = 1;

/// Serial output by way of KVM's ring of coalesced writes.
///
/// It starts when the guest turns the FIFO on: a driver with a FIFO looks at the line status (an
/// exit) once for sixteen bytes, so nothing stays in the ring for long; for guests that do not, the
/// supervisor looks every second. Before that, and on the start-up path, nothing is registered with
/// KVM.
#[derive(Debug)]
pub(crate) struct CoalescedSerial {
    ring: CoalescedRing,
    keeping: AtomicBool,
}

impl CoalescedSerial {
    /// Not keeping yet.
    #[must_use]
    pub(crate) fn new(ring: CoalescedRing) -> Self {
        Self {
            ring,
            keeping: AtomicBool::new(false),
        }
    }

    fn keep(&self) {
        if self.keeping.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Err(error) = self.ring.keep_port(pio::SERIAL.start) {
            log::warn!("serial output is not coalesced: {error}");
        }
    }
}

/// Runs the guest until one exit and answers it; the event that ends this vCPU, if it is one.
fn step(vcpu: &mut Vcpu, context: &VcpuContext) -> Option<MachineEvent> {
    let exit = vcpu.run();
    context.apply_kept_writes();
    let (effect, cause) = match exit {
        Exit::Out(port, data) => (
            context.port_write(u64::from(port), data),
            reset_cause(u64::from(port)),
        ),
        Exit::In(port, data) => {
            context.ports.read(u64::from(port), data);
            return None;
        }
        Exit::Read(address, data) => {
            context.mmio.read(address, data);
            return None;
        }
        Exit::Write(address, data) => (context.mmio.write(address, data), ResetCause::Acpi),
        Exit::EndOfInterrupt(vector) => {
            if let Err(error) = lock(&context.ioapic).end_of_interrupt(vector) {
                log::warn!("cannot deliver a level-triggered interrupt: {error}");
            }
            return None;
        }
        Exit::Interrupted => {
            vcpu.clear_kick();
            return None;
        }
        Exit::TripleFault => return Some(MachineEvent::Reset(ResetCause::TripleFault)),
        Exit::InternalError => {
            let failure = vcpu.internal_error();
            return Some(failed(vcpu, failure));
        }
        Exit::Failed(failure) => return Some(failed(vcpu, failure)),
    };
    match effect {
        Effect::None => None,
        Effect::Reset => Some(MachineEvent::Reset(cause)),
        Effect::Shutdown => Some(MachineEvent::Shutdown),
        // The kernel goes on for a while: to print, to write a dump, to restart.
        Effect::Panic => {
            context.events.send(MachineEvent::Landmark(Landmark::Panic));
            None
        }
        Effect::CrashLoaded => {
            context.events.send(MachineEvent::CrashKernel);
            None
        }
    }
}

fn failed(vcpu: &Vcpu, failure: Failure) -> MachineEvent {
    MachineEvent::Failed {
        failure,
        instruction_pointer: vcpu.instruction_pointer(),
    }
}

fn reset_cause(port: u64) -> ResetCause {
    if port == pio::I8042_COMMAND.start {
        ResetCause::Keyboard
    } else {
        ResetCause::Acpi
    }
}

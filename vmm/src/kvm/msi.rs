//! Interrupts into KVM's local APICs: messages of devices, and the pins of the I/O APIC.
//!
//! A device's message goes by `KVM_SIGNAL_MSI` (KVM api.rst 4.71): one system call, as an irqfd
//! write would be, but with no GSI route to set up while the guest boots and no descriptor held.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use devices::lock;
use devices::platform::Msi;
use kvm_bindings::{
    KVM_IRQ_ROUTING_MSI, KvmIrqRouting, kvm_irq_routing_entry, kvm_irq_routing_entry__bindgen_ty_1,
    kvm_irq_routing_msi, kvm_irq_routing_msi__bindgen_ty_1, kvm_msi,
};
use kvm_ioctls::VmFd;

use super::vm::IOAPIC_PINS;

/// A message held so that any thread may send it without a lock.
///
/// The driver masks a vector before it changes the message (PCI 3.0 §6.8.3.4), so the parts need
/// not change as one.
#[derive(Default)]
struct Message {
    /// Low half of the address above, data below.
    low_and_data: AtomicU64,
    high: AtomicU32,
    masked: AtomicBool,
}

impl Message {
    fn set(&self, address: u64, data: u32, masked: bool) {
        let low = (address & 0xffff_ffff) << 32;
        self.low_and_data
            .store(low | u64::from(data), Ordering::Release);
        self.high.store((address >> 32) as u32, Ordering::Release);
        self.masked.store(masked, Ordering::Release);
    }

    fn send(&self, vm: &VmFd) -> io::Result<()> {
        if self.masked.load(Ordering::Acquire) {
            return Ok(());
        }
        let low_and_data = self.low_and_data.load(Ordering::Acquire);
        let msi = kvm_msi {
            address_lo: (low_and_data >> 32) as u32,
            address_hi: self.high.load(Ordering::Acquire),
            data: (low_and_data & 0xffff_ffff) as u32,
            ..Default::default()
        };
        // A message that no APIC accepts is lost, as on hardware; that is not an error.
        vm.signal_msi(msi).map(|_| ()).map_err(io::Error::from)
    }
}

/// A device's message.
pub(super) struct SignalMsi {
    vm: Arc<VmFd>,
    message: Message,
}

impl SignalMsi {
    pub(super) fn new(vm: Arc<VmFd>) -> Self {
        let message = Message {
            masked: AtomicBool::new(true),
            ..Default::default()
        };
        Self { vm, message }
    }
}

impl fmt::Debug for SignalMsi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalMsi").finish_non_exhaustive()
    }
}

impl Msi for SignalMsi {
    fn configure(&self, address: u64, data: u32, masked: bool) -> io::Result<()> {
        self.message.set(address, data, masked);
        Ok(())
    }

    fn trigger(&self) -> io::Result<()> {
        self.message.send(&self.vm)
    }
}

/// The routes of I/O APIC pins. KVM delivers through the message, and looks at the routes of
/// level-triggered pins to know which end-of-interrupts it must report (KVM api.rst 7.5).
pub(super) struct Routes {
    vm: Arc<VmFd>,
    pins: Mutex<[Option<(u64, u32)>; IOAPIC_PINS as usize]>,
}

impl Routes {
    pub(super) fn new(vm: Arc<VmFd>) -> Self {
        Self {
            vm,
            pins: Mutex::default(),
        }
    }

    fn set(&self, pin: u8, message: Option<(u64, u32)>) -> io::Result<()> {
        let mut pins = lock(&self.pins);
        let Some(slot) = pins.get_mut(usize::from(pin)) else {
            return Ok(());
        };
        if *slot == message {
            return Ok(());
        }
        *slot = message;
        let entries: Vec<_> = (0..)
            .zip(pins.iter())
            .filter_map(|(gsi, message)| message.map(|(address, data)| entry(gsi, address, data)))
            .collect();
        let routing = KvmIrqRouting::from_entries(&entries)
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        self.vm.set_gsi_routing(&routing).map_err(io::Error::from)
    }
}

fn entry(gsi: u32, address: u64, data: u32) -> kvm_irq_routing_entry {
    let msi = kvm_irq_routing_msi {
        address_lo: (address & 0xffff_ffff) as u32,
        address_hi: (address >> 32) as u32,
        data,
        __bindgen_anon_1: kvm_irq_routing_msi__bindgen_ty_1::default(),
    };
    kvm_irq_routing_entry {
        gsi,
        type_: KVM_IRQ_ROUTING_MSI,
        u: kvm_irq_routing_entry__bindgen_ty_1 { msi },
        ..Default::default()
    }
}

/// Trigger mode bit of a message's data: level (Intel SDM vol. 3A §11.11.2).
const LEVEL: u32 = 1 << 15;

/// The message of one I/O APIC pin.
pub struct PinMsi {
    routes: Arc<Routes>,
    pin: u8,
    message: Message,
}

impl PinMsi {
    pub(super) fn new(routes: Arc<Routes>, pin: u8) -> Self {
        let message = Message {
            masked: AtomicBool::new(true),
            ..Default::default()
        };
        Self {
            routes,
            pin,
            message,
        }
    }
}

impl fmt::Debug for PinMsi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinMsi")
            .field("pin", &self.pin)
            .finish_non_exhaustive()
    }
}

impl Msi for PinMsi {
    fn configure(&self, address: u64, data: u32, masked: bool) -> io::Result<()> {
        self.message.set(address, data, masked);
        let level = !masked && data & LEVEL != 0;
        self.routes.set(self.pin, level.then_some((address, data)))
    }

    fn trigger(&self) -> io::Result<()> {
        self.message.send(&self.routes.vm)
    }
}

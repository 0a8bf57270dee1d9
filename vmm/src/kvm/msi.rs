//! Interrupts into KVM's local APICs: messages of devices, and the pins of the I/O APIC.
//!
//! A device's message goes by `KVM_SIGNAL_MSI` (KVM api.rst 4.71): one system call, as an irqfd
//! write would be, but with no GSI route to set up while the guest boots and no descriptor held. A
//! message that the kernel's vhost or another process sends has a route and an irqfd (KVM api.rst
//! 4.52, 4.75), and so goes past this process.

use std::collections::BTreeMap;
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
use vmm_sys_util::eventfd::EventFd;

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

    /// Address and data.
    fn get(&self) -> (u64, u32) {
        let low_and_data = self.low_and_data.load(Ordering::Acquire);
        let high = u64::from(self.high.load(Ordering::Acquire)) << 32;
        (high | low_and_data >> 32, low_and_data as u32)
    }

    fn send(&self, vm: &VmFd) -> io::Result<()> {
        if self.masked.load(Ordering::Acquire) {
            return Ok(());
        }
        let (address, data) = self.get();
        let msi = kvm_msi {
            address_lo: address as u32,
            address_hi: (address >> 32) as u32,
            data,
            ..Default::default()
        };
        // A message that no APIC accepts is lost, as on hardware; that is not an error.
        vm.signal_msi(msi).map(|_| ()).map_err(io::Error::from)
    }
}

/// A device's message.
pub(super) struct SignalMsi {
    routes: Arc<Routes>,
    message: Message,
    /// The GSI of the message's route, once an event was bound to it.
    gsi: Mutex<Option<u32>>,
}

impl SignalMsi {
    pub(super) fn new(routes: Arc<Routes>) -> Self {
        let message = Message {
            masked: AtomicBool::new(true),
            ..Default::default()
        };
        Self {
            routes,
            message,
            gsi: Mutex::new(None),
        }
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
        match *lock(&self.gsi) {
            Some(gsi) => self.routes.set_message(gsi, (address, data)),
            None => Ok(()),
        }
    }

    fn trigger(&self) -> io::Result<()> {
        self.message.send(&self.routes.vm)
    }

    fn bind(&self, event: &EventFd) -> io::Result<()> {
        let mut gsi = lock(&self.gsi);
        let gsi = match *gsi {
            Some(gsi) => gsi,
            None => *gsi.insert(self.routes.add_message(self.message.get())?),
        };
        let bound = self.routes.vm.register_irqfd(event, gsi);
        bound.map_err(io::Error::from)
    }

    fn unbind(&self, event: &EventFd) -> io::Result<()> {
        let gsi = lock(&self.gsi).ok_or(io::ErrorKind::NotFound)?;
        let unbound = self.routes.vm.unregister_irqfd(event, gsi);
        unbound.map_err(io::Error::from)
    }
}

/// The routes of I/O APIC pins, and behind them those of messages that irqfds send. KVM delivers a
/// pin's interrupt through its message, and looks at the routes of level-triggered pins to know which
/// end-of-interrupts it must report (KVM api.rst 7.5).
pub(super) struct Routes {
    vm: Arc<VmFd>,
    /// Address and data, by GSI.
    messages: Mutex<BTreeMap<u32, (u64, u32)>>,
}

impl Routes {
    pub(super) fn new(vm: Arc<VmFd>) -> Self {
        Self {
            vm,
            messages: Mutex::default(),
        }
    }

    fn set_pin(&self, pin: u8, message: Option<(u64, u32)>) -> io::Result<()> {
        let mut messages = lock(&self.messages);
        let pin = u32::from(pin);
        let before = match message {
            Some(message) => messages.insert(pin, message),
            None => messages.remove(&pin),
        };
        if before == message {
            return Ok(());
        }
        self.give(&messages)
    }

    fn set_message(&self, gsi: u32, message: (u64, u32)) -> io::Result<()> {
        let mut messages = lock(&self.messages);
        messages.insert(gsi, message);
        self.give(&messages)
    }

    /// Makes a route; its GSI.
    fn add_message(&self, message: (u64, u32)) -> io::Result<u32> {
        let mut messages = lock(&self.messages);
        let last = messages.last_key_value().map_or(0, |(&gsi, _)| gsi + 1);
        let gsi = last.max(IOAPIC_PINS.into());
        messages.insert(gsi, message);
        let given = self.give(&messages);
        if given.is_err() {
            messages.remove(&gsi);
        }
        given.map(|()| gsi)
    }

    fn give(&self, messages: &BTreeMap<u32, (u64, u32)>) -> io::Result<()> {
        let entries: Vec<_> = messages
            .iter()
            .map(|(&gsi, &(address, data))| entry(gsi, address, data))
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
        self.routes
            .set_pin(self.pin, level.then_some((address, data)))
    }

    fn trigger(&self) -> io::Result<()> {
        self.message.send(&self.routes.vm)
    }
}

//! The virtual machine: RAM, the split interrupt controller, doorbells.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd};
use std::sync::Arc;

use devices::GuestRam;
use devices::bus::Space;
use devices::platform::{DoorbellPlace, Msi, Platform};
use kvm_bindings::{
    KVM_CAP_SPLIT_IRQCHIP, KVM_CAP_X2APIC_API, KVM_X2APIC_API_USE_32BIT_IDS, kvm_enable_cap,
    kvm_userspace_memory_region,
};
use kvm_ioctls::{Cap, IoEventAddress, Kvm, NoDatamatch, VcpuFd, VmFd};
use vm_memory::{Address, GuestMemoryBackend, GuestMemoryRegion};
use vmm_sys_util::eventfd::EventFd;

use super::KvmError;
use super::coalesced::CoalescedRing;
use super::early::EarlyKvm;
use super::msi::{PinMsi, Routes, SignalMsi};
use super::vcpu::Vcpu;

/// Pins of the I/O APIC, whose GSIs KVM scans for level-triggered routes.
pub(super) const IOAPIC_PINS: u8 = devices::legacy::ioapic::MAX_PINS;

/// A virtual machine on KVM.
pub struct Vm {
    kvm: Arc<Kvm>,
    fd: Arc<VmFd>,
    routes: Arc<Routes>,
}

impl fmt::Debug for Vm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vm")
            .field("fd", &self.fd.as_raw_fd())
            .finish_non_exhaustive()
    }
}

impl Vm {
    /// Makes a machine with this RAM of the empty one that `early` has.
    ///
    /// # Errors
    /// See [`KvmError`].
    pub fn new(ram: &GuestRam, early: &EarlyKvm) -> Result<Self, KvmError> {
        let (kvm, fd) = early.machine()?;
        let vm = Self {
            kvm,
            routes: Arc::new(Routes::new(Arc::clone(&fd))),
            fd,
        };
        for (slot, region) in (0..).zip(ram.iter()) {
            vm.add_ram(slot, region)?;
        }
        Ok(vm)
    }

    fn add_ram(&self, slot: u32, region: &vm_memory::GuestRegionMmap) -> Result<(), KvmError> {
        let region = kvm_userspace_memory_region {
            slot,
            flags: 0,
            guest_phys_addr: region.start_addr().raw_value(),
            memory_size: region.len(),
            userspace_addr: region.as_ptr().addr() as u64,
        };
        // SAFETY: the mapping outlives the VM: both belong to the machine, which drops the VM first.
        unsafe { self.fd.set_user_memory_region(region) }
            .map_err(KvmError::call("KVM_SET_USER_MEMORY_REGION"))
    }

    /// Makes vCPU `id`.
    ///
    /// # Errors
    /// See [`KvmError`].
    pub fn create_vcpu(&self, id: u8) -> Result<Vcpu, KvmError> {
        Ok(Vcpu::new(id, create_vcpu(&self.fd, id)?))
    }

    /// The ring of coalesced writes, by way of any vCPU of this machine.
    ///
    /// # Errors
    /// KVM lacks coalesced port writes, or the ring cannot be mapped.
    pub fn coalesced_ring(&self, vcpu: &Vcpu) -> Result<CoalescedRing, KvmError> {
        if !self.kvm.check_extension(Cap::CoalescedPio) {
            return Err(KvmError::Lacks(
                "coalesced port writes (KVM_CAP_COALESCED_PIO)",
            ));
        }
        CoalescedRing::new(Arc::clone(&self.fd), vcpu.as_fd()).map_err(|source| KvmError::Call {
            call: "mmap of the coalesced ring",
            source,
        })
    }

    /// The largest number of vCPUs that KVM takes.
    #[must_use]
    pub fn max_vcpus(&self) -> usize {
        self.kvm.get_max_vcpus()
    }

    /// The interrupt of I/O APIC pin `pin`, whose message the pin's redirection entry sets.
    #[must_use]
    pub fn pin(&self, pin: u8) -> PinMsi {
        PinMsi::new(Arc::clone(&self.routes), pin)
    }

    /// The machine as transports see it.
    #[must_use]
    pub fn platform(&self) -> Arc<dyn Platform> {
        Arc::new(KvmPlatform {
            fd: Arc::clone(&self.fd),
            routes: Arc::clone(&self.routes),
        })
    }
}

/// Puts local APICs into KVM, and leaves the I/O APIC to us.
pub(super) fn split_irqchip(fd: &VmFd) -> Result<(), KvmError> {
    let mut cap = kvm_enable_cap {
        cap: KVM_CAP_SPLIT_IRQCHIP,
        ..Default::default()
    };
    cap.args[0] = u64::from(IOAPIC_PINS);
    fd.enable_cap(&cap)
        .map_err(KvmError::call("KVM_CAP_SPLIT_IRQCHIP"))?;
    // APIC ids beyond 254 are not used, but with 32-bit ids broadcasts mean what x2APIC says.
    let mut cap = kvm_enable_cap {
        cap: KVM_CAP_X2APIC_API,
        ..Default::default()
    };
    cap.args[0] = u64::from(KVM_X2APIC_API_USE_32BIT_IDS);
    fd.enable_cap(&cap)
        .map_err(KvmError::call("KVM_CAP_X2APIC_API"))
}

/// Makes vCPU `id` of the machine `fd`.
pub(super) fn create_vcpu(fd: &VmFd, id: u8) -> Result<VcpuFd, KvmError> {
    fd.create_vcpu(u64::from(id))
        .map_err(KvmError::call("KVM_CREATE_VCPU"))
}

/// Opens `/dev/kvm`.
pub(super) fn open() -> Result<Kvm, KvmError> {
    let file = File::options().read(true).write(true).open("/dev/kvm");
    let file = file.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => KvmError::Forbidden(error),
        _ => KvmError::Missing(error),
    })?;
    // SAFETY: the descriptor is open, ours, and given away by `into_raw_fd`.
    Ok(unsafe { Kvm::from_raw_fd(file.into_raw_fd()) })
}

/// Checks what every machine needs.
pub(super) fn check(kvm: &Kvm) -> Result<(), KvmError> {
    if kvm.get_api_version() != 12 {
        return Err(KvmError::Lacks("API version 12"));
    }
    for (cap, name) in [
        (
            Cap::SplitIrqchip,
            "a split interrupt controller (KVM_CAP_SPLIT_IRQCHIP)",
        ),
        (Cap::Ioeventfd, "doorbells (KVM_CAP_IOEVENTFD)"),
        (
            Cap::SignalMsi,
            "message-signalled interrupts (KVM_CAP_SIGNAL_MSI)",
        ),
        (Cap::ImmediateExit, "KVM_CAP_IMMEDIATE_EXIT"),
    ] {
        if !kvm.check_extension(cap) {
            return Err(KvmError::Lacks(name));
        }
    }
    Ok(())
}

struct KvmPlatform {
    fd: Arc<VmFd>,
    routes: Arc<Routes>,
}

impl fmt::Debug for KvmPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KvmPlatform")
            .field("vm", &self.fd.as_raw_fd())
            .finish()
    }
}

fn io_address(at: DoorbellPlace) -> IoEventAddress {
    match at.space {
        Space::Memory => IoEventAddress::Mmio(at.address),
        Space::Port => IoEventAddress::Pio(at.address),
    }
}

impl Platform for KvmPlatform {
    fn allocate_msi(&self) -> io::Result<Box<dyn Msi>> {
        Ok(Box::new(SignalMsi::new(Arc::clone(&self.routes))))
    }

    fn add_doorbell(&self, at: DoorbellPlace, doorbell: &EventFd) -> io::Result<()> {
        let address = io_address(at);
        let added = match at.value {
            Some(value) => self.fd.register_ioevent(doorbell, &address, value),
            None => self.fd.register_ioevent(doorbell, &address, NoDatamatch),
        };
        added.map_err(io::Error::from)
    }

    fn remove_doorbell(&self, at: DoorbellPlace, doorbell: &EventFd) -> io::Result<()> {
        let address = io_address(at);
        let removed = match at.value {
            Some(value) => self.fd.unregister_ioevent(doorbell, &address, value),
            None => self.fd.unregister_ioevent(doorbell, &address, NoDatamatch),
        };
        removed.map_err(io::Error::from)
    }
}

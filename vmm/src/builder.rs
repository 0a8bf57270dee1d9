//! From a [`VmSpec`] to a running [`Machine`], top to bottom.
//!
//! The order is the start-up budget's: what can fail for the user's sake (ports, paths, the
//! kernel's format) comes first, RAM goes to KVM before anything registers on KVM's I/O bus, and
//! no doorbell exists until a driver is ready for it.

use std::error::Error as StdError;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use devices::GuestRam;
use devices::backend::block::Disk;
use devices::bus::{Bus, BusSlot, Overlap};
use devices::event_loop::EventLoop;
use devices::legacy::fw_cfg::{FwCfg, FwCfgFile};
use devices::virtio::balloon::Balloon;
use devices::virtio::blk::VirtioBlk;
use devices::virtio::console::VirtioConsole;
use devices::virtio::device::VirtioDevice;
use devices::virtio::fs::{ExternalFs, Fs};
use devices::virtio::net::Net;
use devices::virtio::p9::P9;
use devices::virtio::rng::Rng;
use devices::virtio::transport::VirtioContext;
use devices::virtio::vsock::{VhostVsock, Vsock, VsockSpec};
use vm_memory::GuestAddress;

use crate::acpi::{AcpiSpec, AcpiTables};
use crate::boot::{BootSpec, EntryState, Images};
use crate::config::ShareProtocol;
use crate::config::Uuid;
use crate::config::{DeviceSpec, Transport, VmSpec};
use crate::consoles::{Consoles, SERIAL, VIRTIO};
use crate::control::{ControlSocket, Served, Status};
use crate::credentials::Handout;
use crate::error::Error;
use crate::event;
use crate::generation::{self, Generation};
use crate::kvm::{EarlyKvm, Vcpu, Vm, address_bits};
use crate::layout::{Layout, pio};
use crate::machine::{Door, Kept, Machine};
use crate::memory;
use crate::platform::Platform;
use crate::sandbox::{Confined, Notice, Sandbox};
use crate::smbios::SmbiosTables;
use crate::transports::{Named, Transports};
use crate::vcpu::{CoalescedSerial, VcpuContext, VcpuThreads};

/// The most queues of a disk for which no number was asked.
const BLK_QUEUES: u16 = 4;

/// Builds the machine that `spec` describes and lets its vCPUs run.
///
/// # Errors
/// See [`Error`]; nothing is left behind then.
pub(crate) fn build(
    spec: &VmSpec,
    kvm: &EarlyKvm,
    notice: Notice,
    started: Instant,
) -> Result<Machine, Error> {
    let layout = Layout::new(spec.memory, u32::from(spec.cpus))?.limited_to(address_bits())?;
    let images = open_images(spec, &layout)?;
    let handout =
        Handout::new(&spec.credentials).map_err(|source| Error::device("credentials", source))?;
    let (events, receiver) =
        event::queue().map_err(|source| Error::start("event queue", source))?;
    let mut consoles =
        Consoles::new(spec).map_err(|source| Error::device("consoles' logs", source))?;
    let serial = consoles
        .open(SERIAL, &spec.serial)
        .map_err(|source| Error::device("serial port", source))?;
    let mut kept = Kept::default();
    let control = open_control(spec, &mut kept)?;
    let devices = make_devices(spec, &mut consoles, &mut kept)?;

    let ram = map_ram(&layout, spec.shares_memory())?;
    let entry = load(spec, &layout, &ram, &images, &handout)?;
    let vm = Vm::new(&ram, kvm)?;
    let sandbox = Arc::new(Sandbox::new(spec));
    let threads = Arc::new(Confined(Arc::clone(&sandbox)));
    let io = EventLoop::on("io", threads.clone())
        .map_err(|source| Error::start("event loop", source))?;
    let wired = match spec.transport {
        Transport::Pci => 0,
        Transport::Mmio | Transport::MmioCmdline => devices.len(),
    };
    let platform = Platform::new(&vm, serial, wired);
    let context = VirtioContext {
        mem: ram.clone(),
        platform: vm.platform(),
        events: io.handle(),
    };
    kept.controls.generation = Some(Generation::new(ram.clone(), Arc::clone(&platform.power)));
    let transports = Transports::new(spec.transport, devices, &layout, &platform, &context)?;
    let (mut ports, mmio) =
        attach(&platform, &transports).map_err(|source| Error::device("bus", source))?;

    attach_files(&mut ports, handout.files).map_err(|source| Error::device("fw_cfg", source))?;
    let vcpus = create_vcpus(&vm, kvm, spec.cpus, &entry)?;
    let serial_ring = vcpus.first().and_then(|vcpu| vm.coalesced_ring(vcpu).ok());

    // Everything is open now, and no other thread has anything left to do.
    sandbox.enter(notice)?;
    let context = Arc::new(VcpuContext {
        ports,
        mmio,
        ioapic: Arc::clone(&platform.ioapic),
        serial_ring: serial_ring.map(CoalescedSerial::new),
        events: events.clone(),
    });
    let logs = consoles.start(&io, &*threads, &events)?;
    let vcpus = VcpuThreads::start(vcpus, &context, &sandbox)
        .map_err(|source| Error::start("vCPU threads", source))?;
    sandbox.launch()?;
    let status = Arc::new(Status::new(started, events));
    let door = control.map(|socket| {
        let controls = kept.controls.clone();
        let served = Served::new(spec, &consoles.handles, controls, Arc::clone(&status));
        let threads = Confined(Arc::clone(&sandbox));
        Door {
            socket,
            served,
            threads,
        }
    });
    // All threads put themselves under their filters at the same time.
    sandbox.close()?;
    vcpus.release();
    Ok(Machine {
        vcpus,
        context,
        io,
        platform,
        consoles: consoles.handles,
        logs,
        kept,
        events: receiver,
        started,
        status,
        door,
        _transports: transports,
        _vm: vm,
        _ram: ram,
    })
}

/// The control socket and the monitors, if there are to be some.
fn open_control(spec: &VmSpec, kept: &mut Kept) -> Result<Option<ControlSocket>, Error> {
    if !spec.is_controlled() {
        return Ok(None);
    }
    let mut socket = ControlSocket::default();
    if let Some(path) = &spec.control {
        let failed = |source| Error::device(format!("control socket `{}`", path.display()), source);
        socket.bind(path).map_err(failed)?;
    }
    for monitor in &spec.monitors {
        let failed =
            |source| Error::device(format!("monitor `{}`", monitor.path.display()), source);
        socket.monitor(monitor).map_err(failed)?;
    }
    kept.sockets.extend(socket.places());
    Ok(Some(socket))
}

fn open_images(spec: &VmSpec, layout: &Layout) -> Result<Images, Error> {
    let boot = BootSpec {
        kernel: &spec.kernel,
        initrd: spec.initrd.as_deref(),
        cmdline: &spec.kernel_cmdline(),
        cache: spec.kernel_cache.as_deref(),
    };
    let images = Images::open(&boot).map_err(|source| Error::boot(&spec.kernel, source))?;
    images
        .check(layout)
        .map_err(|source| Error::boot(&spec.kernel, source))?;
    Ok(images)
}

fn map_ram(layout: &Layout, shared: bool) -> Result<GuestRam, Error> {
    let bytes = layout.memory();
    let regions: Vec<_> = layout
        .memslots()
        .map(|slot| (GuestAddress(slot.range.start), slot.range.len as usize))
        .collect();
    memory::allocate(&regions, shared).map_err(|source| Error::Memory { bytes, source })
}

/// Makes every device of the list, in slot order.
fn make_devices(
    spec: &VmSpec,
    consoles: &mut Consoles,
    kept: &mut Kept,
) -> Result<Vec<Named>, Error> {
    let mut devices = Vec::with_capacity(spec.devices.len());
    for device in &spec.devices {
        let kind = device.kind();
        let number = devices
            .iter()
            .filter(|(name, _): &&Named| name.starts_with(kind))
            .count();
        let name = format!("{kind}{number}");
        let device = make_device(device, number, spec.cpus, consoles, kept)
            .map_err(|source| Error::device(&*name, source))?;
        devices.push((name, device));
    }
    Ok(devices)
}

/// Makes the device that is number `number` of its kind.
fn make_device(
    spec: &DeviceSpec,
    number: usize,
    cpus: u8,
    consoles: &mut Consoles,
    kept: &mut Kept,
) -> Result<Box<dyn VirtioDevice>, Box<dyn StdError + Send + Sync>> {
    Ok(match spec {
        DeviceSpec::Console(console) => Box::new(VirtioConsole::new(
            consoles.open(&format!("{VIRTIO}{number}"), console)?,
        )?),
        DeviceSpec::Net(net) => {
            let net = Net::new(net)?;
            kept.controls.forwards.extend(net.forwards());
            kept.controls.links.push(net.link());
            Box::new(net)
        }
        DeviceSpec::Fs(share) => match share.protocol {
            ShareProtocol::VirtioFs => Box::new(Fs::new(number, share)?),
            ShareProtocol::P9 => Box::new(P9::new(number, share)?),
            ShareProtocol::VhostUser => Box::new(ExternalFs::connect(&share.tag, &share.path)?),
        },
        DeviceSpec::Blk(blk) => {
            let disk = Disk::open(blk)?;
            kept.disks.push(disk.clone());
            let queues = blk.queues.unwrap_or(u16::from(cpus).min(BLK_QUEUES));
            Box::new(VirtioBlk::new(number, disk, queues)?)
        }
        DeviceSpec::Balloon(balloon) => {
            let balloon = Balloon::new(balloon)?;
            kept.controls.balloon = Some(balloon.handle());
            Box::new(balloon)
        }
        DeviceSpec::Vsock(VsockSpec { cid, socket }) => match socket {
            Some(socket) => {
                let vsock = Vsock::new(*cid, socket)?;
                kept.sockets.push(vsock.place());
                Box::new(vsock)
            }
            None => Box::new(VhostVsock::open(*cid)?),
        },
        DeviceSpec::Rng => Box::new(Rng),
    })
}

fn attach(platform: &Platform, transports: &Transports) -> Result<(Bus, Bus), Overlap> {
    let (mut ports, mut mmio) = (Bus::new(), Bus::new());
    platform.attach(&mut ports, &mut mmio)?;
    transports.attach(&mut ports, &mut mmio)?;
    Ok((ports, mmio))
}

/// The firmware configuration device, if there is something to read from it.
fn attach_files(
    ports: &mut Bus,
    files: Vec<FwCfgFile>,
) -> Result<(), Box<dyn StdError + Send + Sync>> {
    if !files.is_empty() {
        let slot: BusSlot = Arc::new(Mutex::new(FwCfg::new(files)?));
        ports.insert("fw_cfg", pio::FW_CFG.start, pio::FW_CFG.len, slot)?;
    }
    Ok(())
}

/// What the ACPI tables tell of.
fn acpi(spec: &VmSpec, handout: &Handout) -> AcpiSpec {
    let found_by_acpi = spec.transport == Transport::Mmio;
    AcpiSpec {
        pci: spec.transport == Transport::Pci,
        virtio_mmio: if found_by_acpi {
            u32::try_from(spec.devices.len()).unwrap_or(u32::MAX)
        } else {
            0
        },
        fw_cfg: !handout.files.is_empty(),
        ..AcpiSpec::default()
    }
}

/// Fills guest RAM: kernel, initrd, command line, tables, generation id.
fn load(
    spec: &VmSpec,
    layout: &Layout,
    ram: &GuestRam,
    images: &Images,
    handout: &Handout,
) -> Result<EntryState, Error> {
    let tables = AcpiTables::build(layout, &acpi(spec, handout));
    let rsdp = tables
        .write(ram)
        .map_err(|source| Error::boot(&spec.kernel, source))?;
    let uuid = spec.uuid.map(|Uuid(bytes)| bytes);
    SmbiosTables::build(uuid, &handout.strings)
        .write(ram)
        .map_err(|source| Error::device("smbios", source))?;
    generation::draw(ram).map_err(|source| Error::device("generation id", source))?;
    images
        .load(ram, layout, rsdp)
        .map_err(|source| Error::boot(&spec.kernel, source))
}

/// Makes the vCPUs; the first begins at `entry`, the others wait for it to start them.
fn create_vcpus(
    vm: &Vm,
    kvm: &EarlyKvm,
    count: u8,
    entry: &EntryState,
) -> Result<Vec<Vcpu>, Error> {
    let supported = kvm.cpuid()?;
    let mut vcpus = Vec::with_capacity(usize::from(count));
    for id in 0..count {
        let vcpu = kvm.vcpu(vm, id)?;
        vcpu.set_cpuid(&supported, count)?;
        vcpu.set_boot_msrs()?;
        vcpus.push(vcpu);
    }
    if let Some(first) = vcpus.first() {
        first.set_entry(entry)?;
    }
    Ok(vcpus)
}

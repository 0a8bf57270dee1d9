//! How the guest reaches the virtio devices: PCI functions, or pages of virtio-mmio registers.

use std::sync::{Arc, Mutex};

use devices::bus::{Bus, Overlap};
use devices::pci::PciBus;
use devices::virtio::device::VirtioDevice;
use devices::virtio::transport::{VirtioContext, VirtioMmio};

use crate::config::Transport;
use crate::error::Error;
use crate::layout::{Layout, VirtioMmioPlace};
use crate::platform::{self, Platform};

/// The first PCI slot of a device: 0 is where guests look for a host bridge.
const FIRST_SLOT: u8 = 1;

/// A virtio device with its name in messages.
pub(crate) type Named = (String, Box<dyn VirtioDevice>);

/// A virtio-mmio transport in its place.
#[derive(Debug)]
pub(crate) struct PlacedMmio {
    name: String,
    place: VirtioMmioPlace,
    transport: Arc<Mutex<VirtioMmio>>,
}

/// All virtio devices of a machine.
#[derive(Debug)]
pub(crate) enum Transports {
    /// Functions of the root bus.
    Pci(PciBus),
    /// Pages of registers.
    Mmio(Vec<PlacedMmio>),
}

impl Transports {
    /// Puts `devices` into their transports, in their order.
    ///
    /// # Errors
    /// A device does not fit its transport, or there are too many.
    pub(crate) fn new(
        transport: Transport,
        devices: Vec<Named>,
        layout: &Layout,
        platform: &Platform,
        context: &VirtioContext,
    ) -> Result<Self, Error> {
        match transport {
            Transport::Pci => pci(layout, devices, context).map(Self::Pci),
            Transport::Mmio | Transport::MmioCmdline => {
                mmio(devices, platform, context).map(Self::Mmio)
            }
        }
    }

    /// Claims their addresses.
    ///
    /// # Errors
    /// Another device has a part of them.
    pub(crate) fn attach(&self, ports: &mut Bus, memory: &mut Bus) -> Result<(), Overlap> {
        match self {
            Self::Pci(bus) => bus.attach(memory, ports),
            Self::Mmio(all) => all.iter().try_for_each(|mmio| {
                let (range, slot) = (mmio.place.range, Arc::clone(&mmio.transport));
                memory.insert(&mmio.name, range.start, range.len, slot)
            }),
        }
    }
}

/// The PCI bus with every device in its slot.
fn pci(layout: &Layout, devices: Vec<Named>, context: &VirtioContext) -> Result<PciBus, Error> {
    let bus = platform::pci_bus(layout);
    for (slot, (name, device)) in (FIRST_SLOT..).zip(devices) {
        bus.add_virtio(&name, device, slot, context)
            .map_err(|source| Error::device(name, source))?;
    }
    Ok(bus)
}

fn mmio(
    devices: Vec<Named>,
    platform: &Platform,
    context: &VirtioContext,
) -> Result<Vec<PlacedMmio>, Error> {
    let mut all = Vec::with_capacity(devices.len());
    for (n, (name, device)) in (0..).zip(devices) {
        let place = VirtioMmioPlace::new(n).ok_or_else(|| {
            Error::device(&*name, "no place is left for another virtio-mmio device")
        })?;
        let line = platform.line(place.gsi);
        let transport = VirtioMmio::new(&name, device, place.range.start, line, context)
            .map_err(|source| Error::device(&*name, source))?;
        all.push(PlacedMmio {
            name,
            place,
            transport: Arc::new(Mutex::new(transport)),
        });
    }
    Ok(all)
}

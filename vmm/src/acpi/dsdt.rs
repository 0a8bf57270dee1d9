//! The Differentiated System Description Table: devices that cannot be discovered, in AML.
//!
//! No method waits or loops. PCI devices need no interrupt routing (`_PRT`): they use MSI-X alone.
//! There are no slot numbers (`_SUN`) or hot-plug slots either, so that Linux names a network
//! interface after its place on the bus (`enp0s3`).

use acpi_tables::Aml;
use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, And, Arg, CreateDWordField, Device, EISAName, Else, Equal,
    Field, FieldAccessType, FieldEntry, FieldLockRule, FieldUpdateRule, IO, If, Interrupt, Local,
    Memory32Fixed, Method, Name, NotEqual, Notify, OpRegion, OpRegionSpace, Or, Package, Path,
    ResourceTemplate, Return, Scope, Store, Uuid, ZERO,
};
use acpi_tables::sdt::Sdt;
use devices::legacy::acpi_pm::{EVENT_NEW_GENERATION, EVENT_POWER_BUTTON, SLEEP_TYPE_S5};

use super::tables::LAST_BUS;
use super::{AcpiSpec, OEM_ID, OEM_REVISION, OEM_TABLE_ID};
use crate::layout::{Layout, Range, VirtioMmioPlace, boot, gsi, mmio, pio};

const SDT_HEADER: u32 = 36;
/// The revision from which on integers have 64 bits.
const REVISION: u8 = 2;
/// What `Notify` sends when the power button is pressed (`ACPI 6.5 §5.6.6`).
const BUTTON_PRESSED: u8 = 0x80;
/// What `Notify` sends when there is a new generation id.
const NEW_GENERATION: u8 = 0x80;

/// Builds the table.
pub(super) fn dsdt(layout: &Layout, spec: &AcpiSpec) -> Sdt {
    let mut devices = Vec::new();
    processors(&mut devices, layout.cpus());
    board(&mut devices, spec);
    if spec.pci {
        host_bridge(&mut devices, layout);
    }
    if spec.serial {
        serial(&mut devices);
    }
    if spec.i8042 {
        keyboard(&mut devices);
    }
    virtio_mmio(&mut devices, spec.virtio_mmio);
    pvpanic(&mut devices);
    if spec.fw_cfg {
        fw_cfg(&mut devices);
    }
    generation(&mut devices);
    power_button(&mut devices);
    event_device(&mut devices);

    let mut body = Scope::raw("_SB_".into(), devices);
    soft_off(&mut body);
    let mut table = Sdt::new(
        *b"DSDT",
        SDT_HEADER,
        REVISION,
        OEM_ID,
        OEM_TABLE_ID,
        OEM_REVISION,
    );
    table.append_slice(&body);
    table
}

fn name(path: &str, value: &dyn Aml) -> Name {
    Name::new(path.into(), value)
}

fn resources(children: Vec<&dyn Aml>) -> Name {
    name("_CRS", &ResourceTemplate::new(children))
}

/// The legacy port descriptor of `range`.
fn ports(range: Range) -> IO {
    let start = range.start as u16;
    IO::new(start, start, 1, range.len as u8)
}

/// An interrupt that rises and is not shared.
fn interrupt(gsi: u32) -> Interrupt {
    const CONSUMER: bool = true;
    const EDGE: bool = true;
    const ACTIVE_LOW: bool = false;
    const SHARED: bool = false;
    Interrupt::new(CONSUMER, EDGE, ACTIVE_LOW, SHARED, gsi)
}

fn fixed_memory(range: Range) -> Memory32Fixed {
    const WRITABLE: bool = true;
    Memory32Fixed::new(WRITABLE, range.start as u32, range.len as u32)
}

/// What the machine does for sleep type 5 (`ACPI 6.5 §7.4.2`).
fn soft_off(sink: &mut Vec<u8>) {
    let kind = SLEEP_TYPE_S5;
    let package = Package::new(vec![&kind, &kind, &ZERO, &ZERO]);
    name("_S5_", &package).to_aml_bytes(sink);
}

/// One processor device for each vCPU; `_UID` ties it to the MADT.
fn processors(sink: &mut Vec<u8>, count: u8) {
    for id in 0..count {
        let hid = name("_HID", &"ACPI0007");
        let uid = name("_UID", &id);
        let path = Path::new(&format!("C{id:03}"));
        Device::new(path, vec![&hid, &uid]).to_aml_bytes(sink);
    }
}

/// Ports and addresses that belong to the board: Linux uses ECAM only if something reserves it.
fn board(sink: &mut Vec<u8>, spec: &AcpiSpec) {
    let hid = name("_HID", &EISAName::new("PNP0C02"));
    let uid = name("_UID", &ZERO);
    let registers = ports(pio::ACPI);
    let ecam = fixed_memory(mmio::ECAM);
    let mut taken: Vec<&dyn Aml> = vec![&registers];
    if spec.pci {
        taken.push(&ecam);
    }
    let crs = resources(taken);
    Device::new("MBRD".into(), vec![&hid, &uid, &crs]).to_aml_bytes(sink);
}

/// The PCI Express host bridge and the windows that it decodes.
fn host_bridge(sink: &mut Vec<u8>, layout: &Layout) {
    const WRITABLE: bool = true;
    const CACHE: AddressSpaceCacheable = AddressSpaceCacheable::NotCacheable;
    let hid = name("_HID", &EISAName::new("PNP0A08"));
    let cid = name("_CID", &EISAName::new("PNP0A03"));
    let [uid, segment, bus] = ["_UID", "_SEG", "_BBN"].map(|n| name(n, &ZERO));

    let buses = AddressSpace::new_bus_number(0_u16, u16::from(LAST_BUS));
    let ports = pio::PCI_BARS;
    let (first, last) = (ports.start as u16, (ports.end() - 1) as u16);
    let ports = AddressSpace::new_io(first, last, None);
    let low = mmio::PCI_MMIO32;
    let (first, last) = (low.start as u32, (low.end() - 1) as u32);
    let low = AddressSpace::new_memory(CACHE, WRITABLE, first, last, None);
    let high = layout.pci_mmio64();
    let last = high.end().saturating_sub(1).max(high.start);
    let window = AddressSpace::new_memory(CACHE, WRITABLE, high.start, last, None);
    let mut windows: Vec<&dyn Aml> = vec![&buses, &ports, &low];
    if high.len > 0 {
        windows.push(&window);
    }
    let crs = resources(windows);
    let mut control = Vec::new();
    osc(&mut control);
    let control = Bytes(control);
    let children: Vec<&dyn Aml> = vec![&hid, &cid, &uid, &segment, &bus, &crs, &control];
    Device::new("PCI0".into(), children).to_aml_bytes(sink);
}

/// AML that is ready.
struct Bytes(Vec<u8>);

impl Aml for Bytes {
    fn to_aml_bytes(&self, sink: &mut dyn acpi_tables::AmlSink) {
        sink.vec(&self.0);
    }
}

/// `_OSC` of the host bridge (`PCI Firmware 3.3 §4.5.1`): the guest may have the PCI Express
/// capability structures; hot-plug, PME and AER, which no device here has, it does not get.
fn osc(sink: &mut Vec<u8>) {
    const PCI: &str = "33DB4D5B-1FF7-401C-9657-7441C03DD766";
    const REVISION: u8 = 1;
    const GRANTED: u32 = 1 << 4;
    const WITHHELD: u32 = !GRANTED;
    const UNKNOWN_UUID: u8 = 1 << 2;
    const UNKNOWN_REVISION: u8 = 1 << 3;
    const MASKED: u8 = 1 << 4;
    const CONTROL: u8 = 8;

    let (uuid, revision, buffer) = (Arg(0), Arg(1), Arg(3));
    let (asked, refused) = (Local(0), Local(1));
    let [status, control] = ["CDW1", "CDW3"].map(Path::new);
    let status_field = CreateDWordField::new(&status, &buffer, &ZERO);
    let control_field = CreateDWordField::new(&control, &buffer, &CONTROL);

    let keep = Store::new(&asked, &control);
    let surplus = And::new(&refused, &asked, &WITHHELD);
    let grant = And::new(&control, &asked, &GRANTED);
    let set_masked = Or::new(&status, &status, &MASKED);
    let is_masked = NotEqual::new(&refused, &ZERO);
    let if_masked = If::new(&is_masked, vec![&set_masked]);
    let set_revision = Or::new(&status, &status, &UNKNOWN_REVISION);
    let other_revision = NotEqual::new(&revision, &REVISION);
    let if_revision = If::new(&other_revision, vec![&set_revision]);

    let wanted = Uuid::new(PCI);
    let is_pci = Equal::new(&uuid, &wanted);
    let negotiate: Vec<&dyn Aml> = vec![
        &control_field,
        &keep,
        &surplus,
        &if_masked,
        &grant,
        &if_revision,
    ];
    let if_pci = If::new(&is_pci, negotiate);
    let set_unknown = Or::new(&status, &status, &UNKNOWN_UUID);
    let otherwise = Else::new(vec![&set_unknown]);
    let answer = Return::new(&buffer);
    let body: Vec<&dyn Aml> = vec![&status_field, &if_pci, &otherwise, &answer];
    Method::new("_OSC".into(), 4, true, body).to_aml_bytes(sink);
}

fn serial(sink: &mut Vec<u8>) {
    let hid = name("_HID", &EISAName::new("PNP0501"));
    let uid = name("_UID", &ZERO);
    let (registers, irq) = (ports(pio::SERIAL), interrupt(gsi::SERIAL));
    let crs = resources(vec![&registers, &irq]);
    Device::new("COM1".into(), vec![&hid, &uid, &crs]).to_aml_bytes(sink);
}

/// The keyboard's half of the controller; no mouse, so that nothing probes for one.
fn keyboard(sink: &mut Vec<u8>) {
    let hid = name("_HID", &EISAName::new("PNP0303"));
    let (data, command) = (ports(pio::I8042_DATA), ports(pio::I8042_COMMAND));
    let irq = interrupt(gsi::I8042);
    let crs = resources(vec![&data, &command, &irq]);
    Device::new("KBD_".into(), vec![&hid, &crs]).to_aml_bytes(sink);
}

/// The transports in the first `count` places.
fn virtio_mmio(sink: &mut Vec<u8>, count: u32) {
    for n in 0..count {
        let Some(place) = VirtioMmioPlace::new(n) else {
            return;
        };
        let hid = name("_HID", &"LNRO0005");
        let uid = name("_UID", &n);
        let registers = fixed_memory(place.range);
        let irq = interrupt(place.gsi);
        let crs = resources(vec![&registers, &irq]);
        let path = Path::new(&format!("V{n:03}"));
        Device::new(path, vec![&hid, &uid, &crs]).to_aml_bytes(sink);
    }
}

/// The panic device (QEMU docs/specs/pvpanic.rst).
fn pvpanic(sink: &mut Vec<u8>) {
    port_device(sink, "PEVT", "QEMU0001", pio::PVPANIC);
}

/// The firmware configuration device (QEMU docs/specs/fw_cfg.rst).
fn fw_cfg(sink: &mut Vec<u8>) {
    port_device(sink, "FWCF", "QEMU0002", pio::FW_CFG);
}

/// A device of ports alone: in use, but nothing to show a user.
fn port_device(sink: &mut Vec<u8>, path: &str, hid: &'static str, range: Range) {
    const PRESENT_ENABLED_WORKING: u8 = 0b1011;
    let hid = name("_HID", &hid);
    let status = name("_STA", &PRESENT_ENABLED_WORKING);
    let port = ports(range);
    let crs = resources(vec![&port]);
    Device::new(path.into(), vec![&hid, &status, &crs]).to_aml_bytes(sink);
}

/// The generation id: `ADDR` tells its address, low half first (Microsoft, "Virtual Machine
/// Generation ID"). The paper's own identifier, "VM_Gen_Counter", is none that ACPI permits;
/// VMGENCTR stands for it.
fn generation(sink: &mut Vec<u8>) {
    let hid = name("_HID", &"PCPV0001");
    let cid = name("_CID", &"VMGENCTR");
    let ddn = name("_DDN", &"VM_Gen_Counter");
    let (low, high) = (boot::GENERATION_ID.start as u32, ZERO);
    let address = Package::new(vec![&low, &high]);
    let answer = Return::new(&address);
    let method = Method::new("ADDR".into(), 0, false, vec![&answer]);
    Device::new("VGEN".into(), vec![&hid, &cid, &ddn, &method]).to_aml_bytes(sink);
}

fn power_button(sink: &mut Vec<u8>) {
    let hid = name("_HID", &EISAName::new("PNP0C0C"));
    let uid = name("_UID", &ZERO);
    Device::new("PWRB".into(), vec![&hid, &uid]).to_aml_bytes(sink);
}

/// The generic event device (`ACPI 6.5 §5.6.9`): its method reads, and so clears, the event
/// selector and passes each event on.
fn event_device(sink: &mut Vec<u8>) {
    const REGION: &str = "EVTR";
    let hid = name("_HID", &"ACPI0013");
    let uid = name("_UID", &ZERO);
    let irq = interrupt(gsi::EVENTS);
    let crs = resources(vec![&irq]);
    let (address, len) = (pio::ACPI_EVENTS as u16, 1_u8);
    let region = OpRegion::new(REGION.into(), OpRegionSpace::SystemIO, &address, &len);
    let field = Field::new(
        REGION.into(),
        FieldAccessType::Byte,
        FieldLockRule::NoLock,
        FieldUpdateRule::WriteAsZeroes,
        vec![FieldEntry::Named(*b"EVTS", 8)],
    );
    let (events, selector) = (Local(0), Path::new("EVTS"));
    let read = Store::new(&events, &selector);
    let pressed = And::new(&ZERO, &events, &EVENT_POWER_BUTTON);
    let button = Path::new("\\_SB_.PWRB");
    let notify = Notify::new(&button, &BUTTON_PRESSED);
    let if_pressed = If::new(&pressed, vec![&notify]);
    let renewed = And::new(&ZERO, &events, &EVENT_NEW_GENERATION);
    let generation = Path::new("\\_SB_.VGEN");
    let notify = Notify::new(&generation, &NEW_GENERATION);
    let if_renewed = If::new(&renewed, vec![&notify]);
    let body: Vec<&dyn Aml> = vec![&read, &if_pressed, &if_renewed];
    let method = Method::new("_EVT".into(), 1, true, body);
    let children: Vec<&dyn Aml> = vec![&hid, &uid, &crs, &region, &field, &method];
    Device::new("GED_".into(), children).to_aml_bytes(sink);
}

//! Devices that are reached by plain accesses: PCI's configuration space, and the firmware's files.

use std::sync::{Arc, Mutex, OnceLock};

use devices::bus::Bus;
use devices::event_loop::EventLoop;
use devices::legacy::fw_cfg::{FwCfg, FwCfgFile};
use devices::lock;
use devices::pci::{PciBus, PciLayout};
use devices::virtio::device::VirtioDevice;
use devices::virtio::rng::Rng;
use devices::virtio::testing::{Echo, FakePlatform, ram};
use devices::virtio::transport::VirtioContext;

use crate::input::Input;

const ECAM: u64 = 0xe000_0000;
const WINDOW: u64 = 0xc000_0000;
const PORTS: u64 = 0xc000;
/// The ports of the firmware's files.
const FW_CFG: u64 = 0x510;
/// What a guest reads there.
const SECRET: &[u8] = b"a credential of some length";

/// The offsets in a function's header that no write changes: ids, class, header type, subsystem,
/// capability pointer.
const CONSTANT: [u64; 8] = [0x00, 0x02, 0x08, 0x0a, 0x0e, 0x2c, 0x2e, 0x34];
/// The slots that have a function.
const SLOTS: [u64; 3] = [0, 1, 3];

/// A bus with a bridge and two virtio functions.
fn machine() -> (PciBus, Bus, Bus) {
    static EVENTS: OnceLock<EventLoop> = OnceLock::new();
    let events = EVENTS.get_or_init(|| EventLoop::spawn("io").expect("a loop"));
    let ctx = VirtioContext {
        mem: ram(1 << 20),
        platform: Arc::new(FakePlatform::default()),
        events: events.handle(),
    };
    let pci = PciBus::new(PciLayout {
        ecam: ECAM..ECAM + (1 << 20),
        mmio32: WINDOW..ECAM,
        mmio64: 1 << 40..1 << 41,
        ports: PORTS..PORTS + 0x2000,
    });
    let devices: [(u8, Box<dyn VirtioDevice>); 2] =
        [(1, Box::new(Rng)), (3, Box::<Echo>::default())];
    for (slot, device) in devices {
        pci.add_virtio("test", device, slot, &ctx)
            .expect("a free slot");
    }
    let (mut mmio, mut pio) = (Bus::new(), Bus::new());
    pci.attach(&mut mmio, &mut pio).expect("empty buses");
    (pci, mmio, pio)
}

fn constants(mmio: &Bus) -> Vec<[u8; 2]> {
    let places = SLOTS
        .iter()
        .flat_map(|slot| CONSTANT.map(|it| (slot << 15) + it));
    let read = |place| {
        let mut data = [0; 2];
        mmio.read(ECAM + place, &mut data);
        data
    };
    places.map(read).collect()
}

/// Runs `data` as accesses to PCI's configuration space by memory and by ports, and to the windows
/// that it moves.
///
/// # Panics
/// Something changed that a guest cannot change, or what was saved is not restored.
pub fn configure(data: &[u8]) {
    let mut input = Input(data);
    let (pci, mmio, pio) = machine();
    let before = constants(&mmio);
    while !input.is_empty() {
        let (what, place) = (input.u8(), u64::from(input.u32()));
        let value = input.u64().to_le_bytes();
        let width = 1 << (what >> 6);
        // Mostly the functions that are there, mostly the first registers of their 4 KiB.
        let slot = SLOTS[(place >> 12 & 3).min(2) as usize];
        let near = (slot << 15) + (place & 0xfff);
        let mut read = [0; 8];
        match what & 7 {
            0 | 1 => {
                mmio.write(ECAM + near, &value[..width]);
            }
            2 => mmio.read(ECAM + near, &mut read[..width]),
            3 => {
                mmio.write(ECAM + place % (1 << 20), &value[..width]);
                mmio.read(ECAM + place % (1 << 20), &mut read[..width]);
            }
            4 => {
                let address = (0x8000_0000 | near as u32 >> 4).to_le_bytes();
                pio.write(0xcf8, &address);
                pio.write(0xcfc + place % 4, &value[..width.min(4)]);
                pio.read(0xcfc + place % 4, &mut read[..width.min(4)]);
            }
            5 => {
                pio.write(0xcf8 + place % 8, &value[..width.min(4)]);
                pio.read(0xcf8 + place % 8, &mut read[..width.min(4)]);
            }
            6 => {
                mmio.write(WINDOW + place % 0x2_0000, &value[..width]);
                mmio.read(WINDOW + place % 0x2_0000, &mut read[..width]);
                pio.write(PORTS + place % 0x100, &value[..width.min(4)]);
                pio.read(PORTS + place % 0x100, &mut read[..width.min(4)]);
            }
            _ => {
                pci.pause();
                let saved = pci.save().expect("a paused bus is saved");
                pci.restore(&saved).expect("what was saved is restored");
                pci.resume();
            }
        }
    }
    assert_eq!(constants(&mmio), before, "what a guest cannot change");
}

/// Runs `data` as accesses to the firmware's files.
///
/// # Panics
/// The guest does not find the files, or what was saved is not restored.
pub fn read_files(data: &[u8]) {
    let mut input = Input(data);
    let file = |name: &str, content: &[u8]| FwCfgFile {
        name: name.to_owned(),
        content: content.to_vec(),
    };
    let files = vec![file("opt/empty", b""), file("opt/secret", SECRET)];
    let device = FwCfg::new(files).expect("two files");
    let device = Arc::new(Mutex::new(device));
    let mut pio = Bus::new();
    pio.insert("fw_cfg", FW_CFG, 2, device.clone())
        .expect("an empty bus");
    while !input.is_empty() {
        let (what, value) = (input.u8(), input.u32().to_le_bytes());
        let width = [1, 2, 4][usize::from(what >> 6) % 3];
        let at = FW_CFG + u64::from(what & 1);
        match what >> 1 & 3 {
            0 => {
                pio.write(FW_CFG, &value[..2]);
            }
            1 => {
                pio.write(at, &value[..width]);
            }
            2 => pio.read(at, &mut [0; 4][..width]),
            _ => {
                let mut device = lock(&device);
                let saved = device.save().expect("the state is saved");
                device.restore(&saved).expect("what was saved is restored");
            }
        }
    }
    // The files begin with key 0x20, in the order of their names or of their list.
    let secret = |key: u16| {
        pio.write(FW_CFG, &key.to_le_bytes());
        let byte = |_| {
            let mut byte = [0];
            pio.read(FW_CFG + 1, &mut byte);
            byte[0]
        };
        (0..SECRET.len()).map(byte).collect::<Vec<_>>()
    };
    assert!(secret(0x21) == SECRET, "the file is as it was");
}

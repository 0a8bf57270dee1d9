//! The life of a device behind a transport's registers: every access goes the way of a guest's, and
//! the device runs on its loop's thread.

use std::sync::{Arc, Mutex};

use devices::backend::console::{Console, ConsolePump, ConsoleSpec};
use devices::backend::fs::FsSpec;
use devices::lock;
use devices::virtio::console::VirtioConsole;
use devices::virtio::core::{F_VERSION_1, Part};
use devices::virtio::device::VirtioDevice;
use devices::virtio::fs::Fs;
use devices::virtio::rng::Rng;
use devices::virtio::testing::{Echo, MmioDriver, PciDriver, TransportDriver, mmio};

use crate::ground::Folder;
use crate::input::Input;
use crate::room::{ROOMS, length};
use crate::subject::feigned;

/// The operations, one byte each; of that byte's value the remainder by [`op::COUNT`] counts.
pub mod op {
    /// The device status: value.
    pub const STATUS: u8 = 0;
    /// A reset and a start by the rules: features left out.
    pub const RUN: u8 = 1;
    /// A register of a queue: queue, which, value.
    pub const QUEUE: u8 = 2;
    /// A doorbell: queue.
    pub const NOTIFY: u8 = 3;
    /// A request: queue, room, string.
    pub const REQUEST: u8 = 4;
    /// The rules of a ring are broken: queue, how, values.
    pub const TAMPER: u8 = 5;
    /// Features: word, value.
    pub const FEATURES: u8 = 6;
    /// The device's configuration: offset, string.
    pub const CONFIG: u8 = 7;
    /// A register as it is: offset, width, value.
    pub const RAW: u8 = 8;
    /// A pause, with the state saved and restored.
    pub const PAUSE: u8 = 9;
    /// The loop has answered everything so far.
    pub const SETTLE: u8 = 10;
    /// How many there are.
    pub const COUNT: u8 = 11;
}

/// Operations of one input: each may wake the loop's thread.
const OPERATIONS: usize = 128;
/// The devices, of which an input chooses one.
const DEVICES: u8 = 5;
/// What the echo device's driver says at the end.
const LAST_WORDS: &[u8] = b"still there?";

/// What the two transports do not have in common.
pub trait Registers: TransportDriver {
    /// Brings the transport itself back to where a guest's firmware leaves it.
    fn recover(&self);
    /// Accesses a register, whatever it is.
    fn access(&self, offset: u16, kind: u8, value: u64);
    /// Waits for the loop.
    fn settle(&self);
    /// Pauses, saves, restores and resumes.
    fn save_and_restore(&self);
}

/// The data of an access: one of the widths that a processor has.
fn split(kind: u8, value: &[u8; 8]) -> &[u8] {
    &value[..1 << (kind & 3)]
}

impl Registers for PciDriver {
    fn recover(&self) {
        // The bus gave these addresses, the first of its windows, when the device was put in.
        self.write_config(0x10, &0xc000_0000_u32.to_le_bytes());
        self.write_config(0x14, &0xc000_u32.to_le_bytes());
        self.write_config(4, &7_u16.to_le_bytes());
        self.set_up_msix();
    }

    fn access(&self, offset: u16, kind: u8, value: u64) {
        let value = value.to_le_bytes();
        let data = split(kind, &value);
        let mut read = [0; 8];
        match kind >> 2 & 7 {
            0 => self.write(self.bar() + u64::from(offset), data),
            1 if kind & 3 < 3 => {
                let port = self.ports() + u64::from(offset & 0xff);
                self.pio.write(port, data);
                self.pio.read(port, &mut read[..data.len()]);
            }
            1 => self.write(self.bar() + u64::from(offset), data),
            2 => self
                .mmio
                .read(self.bar() + u64::from(offset), &mut read[..data.len()]),
            3 | 4 => self.write_config(u64::from(offset & 0xfff), data),
            5 => {
                let [byte] = self.read_config(u64::from(offset & 0xfff));
                std::hint::black_box::<u8>(byte);
            }
            6 => self.write(self.at.table + u64::from(offset & 0xff), data),
            _ => self.write_config(self.at.window + u64::from(offset & 31), data),
        }
    }

    fn settle(&self) {
        Self::settle(self);
    }

    fn save_and_restore(&self) {
        self.pci.pause();
        let saved = self.pci.save().expect("a paused bus is saved");
        self.pci
            .restore(&saved)
            .expect("what was saved is restored");
        self.pci.resume();
    }
}

impl Registers for MmioDriver {
    fn recover(&self) {}

    fn access(&self, offset: u16, kind: u8, value: u64) {
        let value = value.to_le_bytes();
        let data = split(kind, &value);
        let offset = u64::from(offset) & 0xfff;
        if kind >> 2 & 1 == 0 {
            self.write(offset, data);
        } else {
            let mut read = [0; 8];
            self.mmio.read(mmio::BASE + offset, &mut read[..data.len()]);
        }
    }

    fn settle(&self) {
        Self::settle(self);
    }

    fn save_and_restore(&self) {
        let mut transport = lock(&self.transport);
        transport.pause();
        let saved = transport.save().expect("a paused device is saved");
        transport
            .restore(&saved)
            .expect("what was saved is restored");
        transport.resume();
    }
}

/// What a device works on, kept as long as it.
#[derive(Debug, Default)]
struct Surroundings {
    folder: Option<Folder>,
    pump: Option<ConsolePump>,
}

impl Surroundings {
    fn device(&mut self, choice: u8) -> Box<dyn VirtioDevice> {
        match choice % DEVICES {
            0 => Box::new(Echo {
                config: Arc::new(Mutex::new(vec![1, 2, 3, 4])),
                ..Echo::default()
            }),
            1 => Box::new(Rng),
            2 => {
                let (handle, pump) = Console::open("hvc0", &ConsoleSpec::None).expect("a console");
                self.pump = Some(pump);
                Box::new(VirtioConsole::new(handle).expect("an eventfd"))
            }
            3 => {
                let folder = self.folder.insert(Folder::new());
                let spec = FsSpec::new("share", folder.path());
                Box::new(Fs::new(0, &spec).expect("the share"))
            }
            _ => Box::new(feigned(2, false).0),
        }
    }
}

/// Runs `data` as operations on a device behind the transport `T`.
///
/// # Panics
/// The device or the transport does what it must not.
pub fn run<T: Registers>(data: &[u8]) {
    let mut input = Input(data);
    let choice = input.u8();
    let mut around = Surroundings::default();
    let mut driver = T::with_device(around.device(choice));
    for _ in 0..OPERATIONS {
        if input.is_empty() {
            break;
        }
        step(&mut driver, &mut input);
        collect(&mut driver);
    }
    // Whatever happened, a reset gives a device that works.
    driver.recover();
    driver.run();
    if choice.is_multiple_of(DEVICES) {
        let len = u32::try_from(LAST_WORDS.len()).unwrap_or_default();
        let answer = driver.answer(1, &[LAST_WORDS], &[len]);
        assert_eq!(answer, LAST_WORDS, "the answer after a reset");
    }
    driver.set_device_status(0);
    assert_eq!(driver.device_status(), 0, "the reset ends");
}

fn step<T: Registers>(driver: &mut T, input: &mut Input<'_>) {
    match input.u8() % op::COUNT {
        op::STATUS => driver.set_device_status(input.u8()),
        op::RUN => {
            let without = input.u64() & !F_VERSION_1;
            driver.recover();
            driver.run_without(without);
        }
        op::QUEUE => set_register(driver, input),
        op::NOTIFY => driver.notify(input.u8().into()),
        op::REQUEST => {
            let (queue, room) = (queue(driver, input), input.u8());
            let writable = ROOMS[usize::from(room) % ROOMS.len()];
            let readable = [input.string()];
            let ring = &mut driver.rings()[usize::from(queue)];
            if ring.has_room(&readable, writable) {
                ring.add(&readable, writable);
                driver.notify(queue);
            }
        }
        op::TAMPER => tamper(driver, input),
        op::FEATURES => driver.set_driver_features(input.u8().into(), input.u32()),
        op::CONFIG => {
            let (offset, data) = (input.u16().into(), input.string());
            driver.write_device_config(offset, data);
            driver.read_device_config(offset, &mut [0; 8]);
            std::hint::black_box(driver.generation());
        }
        op::RAW => {
            let (offset, kind) = (input.u16(), input.u8());
            driver.access(offset, kind, input.u64());
        }
        op::PAUSE => driver.save_and_restore(),
        _ => driver.settle(),
    }
}

fn queue<T: Registers>(driver: &mut T, input: &mut Input<'_>) -> u16 {
    let count = u16::try_from(driver.rings().len()).unwrap_or(u16::MAX);
    u16::from(input.u8()) % count
}

fn set_register<T: Registers>(driver: &mut T, input: &mut Input<'_>) {
    driver.select_queue(input.u8().into());
    match input.u8() % 6 {
        0 => driver.set_queue_size(input.u16()),
        1 => driver.set_queue_address(Part::Desc, input.u64()),
        2 => driver.set_queue_address(Part::Avail, input.u64()),
        3 => driver.set_queue_address(Part::Used, input.u64()),
        4 => driver.enable_queue(input.u16()),
        _ => {
            std::hint::black_box((driver.queue_enabled(), driver.queue_size_max()));
        }
    }
}

fn tamper<T: Registers>(driver: &mut T, input: &mut Input<'_>) {
    let queue = usize::from(queue(driver, input));
    let ring = &mut driver.rings()[queue];
    match input.u8() % 3 {
        0 => {
            let index = input.u16() % ring.size;
            let address = u64::from(input.u32());
            let len = length(input.u16());
            let (flags, next) = (input.u16(), input.u16());
            ring.set_descriptor(index, address, len, flags & 7, next);
        }
        1 => ring.push(input.u16()),
        _ => ring.set_avail_idx(input.u16()),
    }
}

/// Takes what the device gave back, which may be anything.
fn collect<T: Registers>(driver: &mut T) {
    for ring in driver.rings() {
        for _ in 0..ring.size {
            if ring.try_pop_used().is_none() {
                break;
            }
        }
    }
}

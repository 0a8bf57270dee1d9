use std::io;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::*;
use crate::bus::Effect;
use crate::lock;
use crate::platform::Platform;
use crate::virtio::core::{F_RING_EVENT_IDX, F_VERSION_1};
use crate::virtio::device::{ActiveIo, DeviceError, DeviceInfo, EventLoop};
use crate::virtio::testing::pci::{common, wait};
use crate::virtio::testing::{Echo, PciDriver};

const NEEDS_RESET: u8 = 64;

fn echo() -> (Echo, PciDriver) {
    let device = Echo {
        config: Arc::new(Mutex::new(vec![1, 2, 3, 4, 5, 6, 7, 8])),
        ..Echo::default()
    };
    let driver = PciDriver::new(Box::new(device.clone()));
    (device, driver)
}

#[test]
fn the_function_says_what_it_is() {
    let (_, driver) = echo();
    assert_eq!(driver.read_config(0), [0xf4, 0x1a, 0x43, 0x10]);
    assert_eq!(driver.read_config(8), [0x01, 0x00, 0x80, 0x07]);
    assert_eq!(driver.read_config(0x2c), [0xf4, 0x1a, 0x43, 0x10]);
    assert_eq!(driver.vectors(), 3);
    assert_eq!(driver.common16(common::NUM_QUEUES), 2);
    assert_eq!(
        driver.features() & !F_RING_EVENT_IDX,
        F_VERSION_1 | 1 << 28 | 1 << 2
    );
}

#[test]
fn a_driver_finds_and_runs_a_device() {
    let (_, mut driver) = echo();
    driver.start();
    assert_eq!(driver.request(0, &[b"hello"], &[16]), b"hello");
    assert_eq!(driver.request(1, &[b"on queue 1"], &[4]), b"on q");
    wait(|| driver.messages(1) == 1 && driver.messages(2) == 1);
    assert_eq!(driver.messages(0), 0);
}

#[test]
fn chains_made_available_before_driver_ok_are_served() {
    let (_, mut driver) = echo();
    assert_eq!(driver.negotiate(F_VERSION_1), 11);
    driver.set_up_queues();
    driver.rings[0].add(&[b"early"], &[8]);
    driver.set_status(15);
    assert_eq!(driver.wait_used(0).data, b"early");
}

#[test]
fn doorbells_exist_while_the_device_runs_and_only_for_enabled_queues() {
    let (_, mut driver) = echo();
    assert_eq!(driver.negotiate(F_VERSION_1), 11);
    driver.set_up_queues();
    assert!(driver.platform.doorbells().is_empty());
    driver.set_status(15);
    let both = [driver.doorbell(0), driver.doorbell(1)];
    assert_eq!(driver.platform.doorbells(), both);
    driver.set_status(0);
    assert!(driver.platform.doorbells().is_empty());
    assert_eq!(driver.negotiate(F_VERSION_1), 11);
    driver.set_status(15);
    assert!(driver.platform.doorbells().is_empty());
    assert_eq!(driver.status(), 15);
}

#[test]
fn a_doorbell_write_that_reaches_the_transport_rings_too() {
    let (_, mut driver) = echo();
    driver.start();
    // Whoever moved the doorbells away is the test: the hypervisor's are gone.
    let ports = driver.doorbell(1);
    driver.rings[1].add(&[b"slow path"], &[16]);
    driver.write_doorbell(ports, 1);
    assert_eq!(driver.wait_used(1).data, b"slow path");
    // A driver may use the doorbells in memory beside those that the hypervisor has.
    let memory = (Space::Memory, driver.bar() + u64::from(NOTIFY) + 4);
    assert!(!driver.platform.ring(memory, 1));
    driver.rings[1].add(&[b"by memory"], &[16]);
    driver.write_doorbell(memory, 1);
    assert_eq!(driver.wait_used(1).data, b"by memory");
}

#[test]
fn doorbells_are_ports_while_ports_are_decoded_and_memory_otherwise() {
    let (_, mut driver) = echo();
    driver.start();
    assert_eq!(driver.doorbell(1), (Space::Port, 0xc004));
    assert_eq!(driver.read_config(0x14), [0x01, 0xc0, 0, 0]);
    driver.write_config(4, &[0x06, 0]);
    driver.at = driver.find_structures();
    assert_eq!(driver.doorbell(1), (Space::Memory, 0xc000_3004));
    let both = [driver.doorbell(0), driver.doorbell(1)];
    assert_eq!(driver.platform.doorbells(), both);
    assert!(driver.kick(1));
    assert_eq!(driver.request(1, &[b"memory"], &[8]), b"memory");
    // Ports that move take the doorbells with them.
    driver.write_config(4, &[0x07, 0]);
    driver.write_config(0x14, &0xd010_u32.to_le_bytes());
    driver.at = driver.find_structures();
    assert_eq!(driver.doorbell(0), (Space::Port, 0xd010));
    assert_eq!(
        driver.platform.doorbells().first(),
        Some(&driver.doorbell(0))
    );
    assert_eq!(driver.request(0, &[b"port"], &[8]), b"port");
    // Nothing listens outside the window.
    driver.write_config(0x14, &0x03f8_u32.to_le_bytes());
    assert!(
        driver
            .platform
            .doorbells()
            .iter()
            .all(|at| at.0 == Space::Memory)
    );
}

#[test]
fn a_moved_bar_takes_registers_and_doorbells_with_it() {
    let (_, mut driver) = echo();
    driver.write_config(4, &[0x06, 0]);
    driver.at = driver.find_structures();
    driver.start();
    let old = driver.doorbell(0);
    driver.write_config(4, &[0x04, 0]);
    assert!(driver.platform.doorbells().is_empty(), "decoding is off");
    assert_eq!(driver.read(driver.at.common), [0xff; 4]);
    driver.write_config(0x10, &0xd000_0000_u32.to_le_bytes());
    driver.write_config(4, &[0x06, 0]);
    driver.at = driver.find_structures();
    assert_eq!(driver.bar(), 0xd000_0000);
    assert_ne!(driver.doorbell(0), old);
    assert!(driver.platform.doorbells().contains(&driver.doorbell(0)));
    assert!(!driver.platform.doorbells().contains(&old));
    assert_eq!(driver.request(0, &[b"moved"], &[8]), b"moved");
    // Outside every window there is nothing, least of all a doorbell over RAM.
    driver.write_config(0x10, &0x0010_0000_u32.to_le_bytes());
    assert!(driver.platform.doorbells().is_empty());
}

#[test]
fn reset_takes_the_device_back_and_forgets_the_driver() {
    let (device, mut driver) = echo();
    driver.start();
    assert_eq!(driver.request(0, &[b"x"], &[1]), b"x");
    device.reset.store(false, Ordering::SeqCst);
    driver.set_status(0);
    assert_eq!(driver.status(), 0);
    assert!(device.reset.load(Ordering::SeqCst));
    driver.set_common(common::QUEUE_SELECT, &[0, 0]);
    assert_eq!(driver.common16(common::QUEUE_ENABLE), 0);
    assert_eq!(driver.common16(common::QUEUE_MSIX_VECTOR), 0xffff);
    assert_eq!(driver.common16(common::CONFIG_MSIX_VECTOR), 0xffff);
    driver.start();
    assert_eq!(driver.request(0, &[b"again"], &[8]), b"again");
}

#[test]
fn a_looping_chain_needs_a_reset_and_the_machine_goes_on() {
    let (_, mut driver) = echo();
    driver.start();
    driver.rings[0].set_descriptor(0, 0x1000, 1, 1, 0);
    driver.rings[0].push(0);
    driver.kick(0);
    wait(|| driver.status() == 15 | NEEDS_RESET);
    wait(|| driver.messages(0) == 1);
    // The other queue is dead as well, until the driver resets the device.
    driver.rings[1].add(&[b"x"], &[1]);
    driver.kick(1);
    driver.start();
    assert_eq!(driver.request(1, &[b"back"], &[8]), b"back");
}

#[test]
fn a_ring_outside_ram_is_found_at_driver_ok() {
    let (_, mut driver) = echo();
    assert_eq!(driver.negotiate(F_VERSION_1), 11);
    driver.set_common(common::CONFIG_MSIX_VECTOR, &[0, 0]);
    driver.set_common(common::QUEUE_SELECT, &[0, 0]);
    driver.set_common(common::QUEUE_DESC, &(1_u64 << 40).to_le_bytes());
    driver.set_common(common::QUEUE_ENABLE, &[1, 0]);
    driver.set_status(15);
    assert_eq!(driver.status(), 15 | NEEDS_RESET);
    assert_eq!(driver.messages(0), 1);
    assert!(driver.platform.doorbells().is_empty());
    driver.start();
}

#[test]
fn queue_registers_written_while_the_device_runs_have_no_effect() {
    let (_, mut driver) = echo();
    driver.start();
    driver.set_common(common::QUEUE_SELECT, &[0, 0]);
    let before: [u8; 32] = driver.read(driver.at.common + common::QUEUE_SELECT + 2);
    driver.set_common(common::QUEUE_SIZE, &[0, 0x80]);
    assert_eq!(driver.status(), 15 | NEEDS_RESET);
    driver.set_common(common::QUEUE_DESC, &[0xff; 8]);
    driver.set_common(common::QUEUE_ENABLE, &[0, 0]);
    assert_eq!(
        driver.read(driver.at.common + common::QUEUE_SELECT + 2),
        before
    );
}

#[test]
fn the_generation_changes_with_the_configuration() {
    let (device, driver) = echo();
    let generation = || -> [u8; 1] { driver.read(driver.at.common + common::CONFIG_GENERATION) };
    let first = generation();
    assert_eq!(generation(), first);
    assert_eq!(driver.read(driver.at.device + 2), [3, 4, 5, 6, 7, 8, 0]);
    lock(&device.config)[1] = 9;
    assert_ne!(generation(), first);
    driver.write(driver.at.device, &[0x42]);
    assert_eq!(lock(&device.config)[0], 0x42);
}

#[test]
fn without_msix_the_isr_tells_and_reading_clears_it() {
    let (_, mut driver) = echo();
    driver.write_config(driver.at.msix + 2, &[0, 0]);
    driver.start();
    assert_eq!(driver.request(0, &[b"x"], &[1]), b"x");
    let isr = |driver: &PciDriver| -> u8 { driver.read::<1>(driver.at.isr)[0] };
    wait(|| isr(&driver) == 1);
    assert_eq!(isr(&driver), 0);
    driver.set_common(common::QUEUE_SIZE, &[0, 0]);
    assert_eq!(isr(&driver), 2);
    assert_eq!(driver.platform.all_messages(), 0);
}

#[test]
fn a_vector_that_does_not_exist_reads_back_as_none() {
    let (_, driver) = echo();
    driver.set_common(common::QUEUE_MSIX_VECTOR, &[2, 0]);
    assert_eq!(driver.common16(common::QUEUE_MSIX_VECTOR), 2);
    driver.set_common(common::QUEUE_MSIX_VECTOR, &[3, 0]);
    assert_eq!(driver.common16(common::QUEUE_MSIX_VECTOR), 0xffff);
    driver.set_common(common::CONFIG_MSIX_VECTOR, &[3, 0]);
    assert_eq!(driver.common16(common::CONFIG_MSIX_VECTOR), 0xffff);
    driver.set_common(common::QUEUE_SELECT, &[2, 0]);
    assert_eq!(driver.common16(common::QUEUE_SIZE), 0);
    assert_eq!(driver.common16(common::QUEUE_MSIX_VECTOR), 0xffff);
}

#[test]
fn the_structures_are_reached_through_configuration_space() {
    let (_, driver) = echo();
    let window = driver.at.window;
    let aim = |bar: u8, offset: u32, length: u32| {
        driver.write_config(window + 4, &[bar]);
        driver.write_config(window + 8, &offset.to_le_bytes());
        driver.write_config(window + 12, &length.to_le_bytes());
    };
    aim(0, COMMON + common::DEVICE_STATUS as u32, 1);
    driver.write_config(window + 16, &[3]);
    assert_eq!(driver.status(), 3);
    assert_eq!(driver.read_config(window + 16), [3, 0, 0, 0]);
    aim(0, DEVICE, 4);
    assert_eq!(driver.read_config(window + 16), [1, 2, 3, 4]);
    // A doorbell, by its port.
    aim(1, 4, 2);
    driver.write_config(window + 16, &[1, 0]);
    for (bar, offset, length) in [
        (1, 8, 2),
        (1, DEVICE, 4),
        (2, 0, 4),
        (0, DEVICE + 1, 4),
        (0, DEVICE, 3),
        (0, DEVICE, 0),
        (0, DEVICE, u32::MAX),
        (0, TABLE, 4),
        (0, u32::MAX - 3, 4),
    ] {
        aim(bar, offset, length);
        driver.write_config(window + 16, &[7, 7, 7, 7]);
        assert_eq!(driver.read_config(window + 16), [7, 7, 7, 7]);
    }
    assert_eq!(driver.read(driver.at.device), [1, 2, 3, 4]);
}

#[test]
fn a_paused_device_comes_back_where_it_was() {
    let (_, mut driver) = echo();
    driver.start();
    assert_eq!(driver.request(0, &[b"before"], &[8]), b"before");
    assert!(driver.pci.save().is_err(), "a running device is not saved");
    driver.pci.pause();
    assert!(driver.platform.doorbells().is_empty());
    driver.rings[0].add(&[b"meanwhile"], &[16]);
    driver.pci.resume();
    assert_eq!(driver.wait_used(0).data, b"meanwhile");
    assert_eq!(driver.request(0, &[b"after"], &[8]), b"after");
}

#[test]
fn a_restored_device_serves_the_driver_it_never_met() {
    let (_, mut driver) = echo();
    driver.start();
    for i in 0..20_u8 {
        assert_eq!(driver.request(0, &[&[i]], &[1]), [i]);
    }
    driver.pci.pause();
    let states = driver.pci.save().unwrap();
    let (_, mut other) = echo();
    // The driver's side moves over: memory and where it stands in the rings.
    std::mem::swap(&mut other.mem, &mut driver.mem);
    copy_ram(&other.mem, &other.rings[0]);
    other.pci.restore(&states).unwrap();
    assert_eq!(other.pci.save().unwrap(), states, "a round trip");
    other.pci.resume();
    assert_eq!(other.status(), 15);
    assert_eq!(other.platform.doorbells().len(), 2);
    wait(|| other.messages(1) > 0);
}

/// Copies all of `from` into the RAM behind `ring`.
fn copy_ram(from: &crate::GuestRam, ring: &crate::virtio::testing::Ring) {
    use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};
    let mut bytes = vec![0; from.last_addr().0 as usize + 1];
    from.read_slice(&mut bytes, GuestAddress(0)).unwrap();
    ring.write(0, &bytes);
}

#[test]
fn a_state_with_rings_outside_ram_is_refused() {
    let (_, mut driver) = echo();
    driver.start();
    driver.pci.pause();
    let mut states = driver.pci.save().unwrap();
    let (_, payload) = &mut states[0];
    let text = String::from_utf8(payload.data.clone()).unwrap();
    let desc = format!("\"desc\":{}", driver.rings[0].desc);
    assert!(text.contains(&desc), "{text}");
    payload.data = text.replace(&desc, "\"desc\":1099511627776").into_bytes();
    let (_, other) = echo();
    assert!(other.pci.restore(&states).is_err());
}

#[test]
fn a_device_that_does_not_fit_is_refused() {
    struct Large(Vec<u16>);
    impl VirtioDevice for Large {
        fn info(&self) -> DeviceInfo {
            DeviceInfo {
                id: 1,
                features: 0,
                queue_sizes: self.0.clone(),
                runs_on: EventLoop::Shared,
            }
        }
        fn process_queue(&mut self, _: &mut ActiveIo<'_>, _: u16) -> Result<(), DeviceError> {
            Ok(())
        }
    }
    let events = crate::event_loop::EventLoop::spawn("io").unwrap();
    let ctx = VirtioContext {
        mem: crate::virtio::testing::ram(4096),
        platform: Arc::new(crate::virtio::testing::FakePlatform::default()),
        events: events.handle(),
    };
    let make = |sizes: &[u16]| VirtioPci::new("n", Box::new(Large(sizes.to_vec())), &ctx);
    assert!(matches!(make(&[3]), Err(PciError::Queue { .. })));
    assert!(matches!(
        make(&[2; 256]),
        Err(PciError::TooManyQueues { .. })
    ));
    let large = make(&[2; 255]).unwrap();
    // More queues than a BAR of ports has room for: none, and the doorbells are in memory.
    assert_eq!(large.config().bars().count(), 1);
    let full = make(&[2; 64]).unwrap();
    let bars: Vec<_> = full.config().bars().collect();
    assert_eq!(bars[1], (PORTS, 256, BarKind::Io));
}

/// What a hostile driver does.
#[derive(Debug, Clone)]
enum Act {
    Bar(u16, Vec<u8>),
    ReadBar(u16, usize),
    Config(u16, Vec<u8>),
    Status(u8),
    Queue(u16, u64, Vec<u8>),
    Ram(u32, Vec<u8>),
    Kick(u16),
    Port(u64, Vec<u8>),
    Pause,
}

fn act() -> impl Strategy<Value = Act> {
    let bytes = || {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..9),
            any::<u16>().prop_map(|v| v.to_le_bytes().to_vec()),
            any::<u32>().prop_map(|v| v.to_le_bytes().to_vec()),
            (0_u64..0x4_0000).prop_map(|v| (v & !0xf).to_le_bytes().to_vec()),
        ]
    };
    // Rings that a hostile driver places, and those of a good one that turns hostile.
    let ram = prop_oneof![0_u32..0x4_0000, 0x10_0000_u32..0x10_0200];
    prop_oneof![
        (0_u16..0x8010, bytes()).prop_map(|(at, data)| Act::Bar(at, data)),
        (0_u16..64, bytes()).prop_map(|(at, data)| Act::Bar(at, data)),
        (0_u16..0x8010, 0_usize..9).prop_map(|(at, len)| Act::ReadBar(at, len)),
        (0_u16..0x110, bytes()).prop_map(|(at, data)| Act::Config(at, data)),
        prop_oneof![Just(0), Just(1), Just(3), Just(11), Just(15), any::<u8>()]
            .prop_map(Act::Status),
        (0_u16..3, 24_u64..56, bytes()).prop_map(|(q, at, data)| Act::Queue(q, at, data)),
        (ram, bytes()).prop_map(|(at, data)| Act::Ram(at, data)),
        (0_u16..4).prop_map(Act::Kick),
        (0_u64..0x2010, bytes()).prop_map(|(at, data)| Act::Port(at, data)),
        Just(Act::Pause),
    ]
}

/// What must hold whatever the driver did.
fn check(driver: &PciDriver) -> Result<(), TestCaseError> {
    let ones: [u8; 2] = driver.read_config(0);
    prop_assert_eq!(ones, [0xf4, 0x1a], "the function is gone");
    driver.write_config(4, &[0x06, 0]);
    let bar = 0xc000_0000_u32;
    driver.write_config(0x10, &bar.to_le_bytes());
    let [status]: [u8; 1] = driver.read(u64::from(bar) + common::DEVICE_STATUS);
    let steps = [(2, 1), (8, 2), (4, 8)];
    for (step, after) in steps {
        prop_assert!(status & step == 0 || status & after != 0, "{status:#x}");
    }
    prop_assert_eq!(status & 0x30, 0);
    if status & 4 == 0 {
        prop_assert!(driver.platform.doorbells().is_empty());
    }
    for (space, address) in driver.platform.doorbells() {
        prop_assert_eq!(space, Space::Memory);
        prop_assert!((0xc000_3000..0xc000_4000).contains(&address));
    }
    driver.write_config(0x14, &0xc000_u32.to_le_bytes());
    driver.write_config(4, &[0x07, 0]);
    for (space, port) in driver.platform.doorbells() {
        prop_assert_eq!(space, Space::Port);
        prop_assert!((0xc000..0xc008).contains(&port));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Any sequence of accesses leaves a function that a good driver can still run.
    #[test]
    fn a_hostile_driver_breaks_only_its_own_device(acts in prop::collection::vec(act(), 1..80), ready in any::<bool>()) {
        let (_, mut driver) = echo();
        if ready {
            driver.start();
        }
        for act in acts {
            let bar = driver.bar();
            match act {
                Act::Bar(at, data) => driver.write(bar + u64::from(at), &data),
                Act::ReadBar(at, len) => {
                    driver.mmio.read(bar + u64::from(at), &mut vec![0; len]);
                }
                Act::Config(at, data) => driver.write_config(u64::from(at), &data),
                Act::Status(value) => driver.write(bar + common::DEVICE_STATUS, &[value]),
                Act::Queue(queue, at, data) => {
                    driver.write(bar + common::QUEUE_SELECT, &queue.to_le_bytes());
                    driver.write(bar + at, &data);
                }
                Act::Ram(at, data) => driver.rings[0].write(u64::from(at), &data),
                Act::Kick(queue) => driver.write(bar + 0x3000 + 4 * u64::from(queue), &[0, 0]),
                Act::Port(at, data) => {
                    prop_assert_eq!(driver.pio.write(0xc000 + at, &data), Effect::None);
                    driver.pio.read(0xc000 + at, &mut vec![0; data.len()]);
                }
                Act::Pause => {
                    driver.pci.pause();
                    let states = driver.pci.save();
                    prop_assert!(states.is_ok(), "{states:?}");
                    driver.pci.resume();
                }
            }
        }
        check(&driver)?;
        // A driver that resets the device and follows the rules gets it going again.
        driver.write_config(4, &[0x06, 0]);
        driver.at = driver.find_structures();
        driver.start();
        prop_assert_eq!(driver.request(0, &[b"sane"], &[8]), b"sane".to_vec());
    }
}

#[test]
fn a_hypervisor_without_vectors_is_an_error() {
    #[derive(Debug)]
    struct Poor;
    impl Platform for Poor {
        fn allocate_msi(&self) -> io::Result<Box<dyn crate::platform::Msi>> {
            Err(io::ErrorKind::OutOfMemory.into())
        }
        fn add_doorbell(
            &self,
            _: DoorbellPlace,
            _: &vmm_sys_util::eventfd::EventFd,
        ) -> io::Result<()> {
            Ok(())
        }
        fn remove_doorbell(
            &self,
            _: DoorbellPlace,
            _: &vmm_sys_util::eventfd::EventFd,
        ) -> io::Result<()> {
            Ok(())
        }
    }
    let events = crate::event_loop::EventLoop::spawn("io").unwrap();
    let ctx = VirtioContext {
        mem: crate::virtio::testing::ram(4096),
        platform: Arc::new(Poor),
        events: events.handle(),
    };
    let error = VirtioPci::new("n", Box::new(Echo::default()), &ctx).unwrap_err();
    assert!(matches!(error, PciError::Interrupt { .. }), "{error}");
}

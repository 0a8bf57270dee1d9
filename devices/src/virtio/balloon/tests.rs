//! A balloon as its driver sees it.

use std::time::Duration;

use vm_memory::Bytes;

use super::*;
use crate::virtio::testing::{DESC_F_WRITE, Driver};

const STATS: u16 = 2;
const REPORTING: u16 = 3;
const SOON: Duration = Duration::from_secs(10);
/// Guest RAM above the queues: the last of them ends here.
const FREE: u64 = 20 << 20;

fn driver() -> Driver<Balloon> {
    let device = Balloon::new(&BalloonSpec { size: 8 << 20 }).unwrap();
    let driver = Driver::new(device);
    let ring = &driver.rings[3];
    ring.write(FREE - (1 << 20), &vec![7; 1 << 20]);
    driver
}

fn byte(driver: &Driver<Balloon>, at: u64) -> u8 {
    driver.mem.read_obj(GuestAddress(at)).unwrap()
}

fn pfns(pages: &[u32]) -> Vec<u8> {
    pages.iter().flat_map(|pfn| pfn.to_le_bytes()).collect()
}

fn config(driver: &Driver<Balloon>) -> (u32, u32) {
    let mut data = [0; 8];
    driver.device.config().read(0, &mut data);
    let word = |at: usize| u32::from_le_bytes(data[at..at + 4].try_into().unwrap());
    (word(0), word(4))
}

#[test]
fn inflated_pages_go_back_to_the_host_and_their_neighbours_stay() {
    let mut driver = driver();
    let first = u32::try_from(FREE >> 12).unwrap() - 200;
    let list = pfns(&[first + 3, first, first + 1, first + 1, first + 100]);
    assert!(driver.request(INFLATE, &[&list], &[]).is_empty());
    let page = |n: u32| u64::from(first + n) << 12;
    for (n, content) in [(0, 0), (1, 0), (2, 7), (3, 0), (4, 7), (100, 0), (101, 7)] {
        assert_eq!(byte(&driver, page(n)), content, "page {n}");
        assert_eq!(byte(&driver, page(n) + 4095), content, "page {n}");
    }
    driver.rings[3].write(page(0), &[9]);
    assert!(driver.request(DEFLATE, &[&pfns(&[first])], &[]).is_empty());
    assert_eq!(byte(&driver, page(0)), 9);
}

#[test]
fn reported_pages_go_back_to_the_host() {
    let mut driver = driver();
    let at = FREE - (256 << 10);
    let ring = &mut driver.rings[usize::from(REPORTING)];
    ring.set_descriptor(0, at + 100, 128 << 10, DESC_F_WRITE, 0);
    ring.push(0);
    driver.kick(REPORTING).unwrap();
    assert!(driver.pop_used(REPORTING).is_some());
    assert_eq!((byte(&driver, at), byte(&driver, at + 4095)), (7, 7));
    assert_eq!(byte(&driver, at + 4096), 0);
    assert_eq!(byte(&driver, at + (128 << 10) - 1), 0);
    assert_eq!(byte(&driver, at + (128 << 10)), 7);
}

#[test]
fn a_page_outside_ram_ends_the_device_and_touches_nothing() {
    for pfn in [u32::MAX, u32::try_from(FREE >> 12).unwrap(), 1 << 24] {
        let mut driver = driver();
        driver.add(INFLATE, &[&pfns(&[pfn])], &[]);
        assert!(driver.kick(INFLATE).is_err(), "{pfn:#x}");
        assert_eq!(byte(&driver, FREE - 1), 7);
    }
    let mut driver = driver();
    let ring = &mut driver.rings[usize::from(REPORTING)];
    ring.set_descriptor(0, FREE - 4096, 8192, DESC_F_WRITE, 0);
    ring.push(0);
    assert!(driver.kick(REPORTING).is_err());
    assert_eq!(byte(&driver, FREE - 1), 7);
}

#[test]
fn pages_on_both_sides_of_a_border_of_ram_are_given_back() {
    let regions = [(GuestAddress(0), 8 << 12), (GuestAddress(8 << 12), 8 << 12)];
    let mem = GuestRam::from_ranges(&regions).unwrap();
    mem.write_slice(&[7; 16 << 12], GuestAddress(0)).unwrap();
    let mut balloon = Balloon::new(&BalloonSpec::default()).unwrap();
    let pages: Vec<u32> = (6..11).collect();
    balloon.give_pages(&mem, &pages).unwrap();
    let byte = |page: u64| mem.read_obj::<u8>(GuestAddress(page << 12)).unwrap();
    for (page, content) in [(5, 7), (6, 0), (7, 0), (8, 0), (10, 0), (11, 7)] {
        assert_eq!(byte(page), content, "page {page}");
    }
}

#[test]
fn a_list_of_odd_length_or_without_end_ends_the_device() {
    for list in [vec![0; 3], vec![0; MAX_PFNS * PFN_BYTES + 4]] {
        for queue in [INFLATE, DEFLATE] {
            let mut driver = driver();
            driver.add(queue, &[&list], &[]);
            assert!(driver.kick(queue).is_err());
        }
    }
    let mut driver = driver();
    assert!(driver.request(INFLATE, &[], &[8]).is_empty());
}

#[test]
fn the_host_asks_and_the_driver_answers() {
    let driver = driver();
    let handle = driver.device.handle();
    assert_eq!((config(&driver), handle.target()), ((2048, 0), 8 << 20));
    handle.resize(16 << 20);
    assert_eq!(config(&driver), (4096, 0));
    assert_eq!(driver.interrupt.config_count(), 1);
    driver.device.config().write(4, &4096u32.to_le_bytes());
    assert_eq!((config(&driver).1, handle.actual()), (4096, 16 << 20));
    driver.device.config().write(0, &7u32.to_le_bytes());
    driver.device.config().write(4, &[1, 2]);
    assert_eq!(config(&driver), (4096, 4096));
}

#[test]
fn a_balloon_without_a_driver_keeps_what_it_is_asked() {
    let mut driver = driver();
    let handle = driver.device.handle();
    driver.quiesce();
    assert!(driver.events.watched().is_empty());
    handle.resize(1 << 20);
    assert_eq!(driver.interrupt.config_count(), 0);
    driver.device.reset();
    assert_eq!(config(&driver), (256, 0));
}

#[test]
fn statistics_come_when_they_are_asked_for() {
    let mut driver = driver();
    let handle = driver.device.handle();
    let pair = |tag: u16, value: u64| [&tag.to_le_bytes()[..], &value.to_le_bytes()].concat();
    let first = [pair(4, 1 << 20), pair(99, 5), pair(5, 1 << 30)].concat();
    driver.add(STATS, &[&first], &[]);
    driver.kick(STATS).unwrap();
    assert!(driver.pop_used(STATS).is_none());
    let stats = handle.stats();
    assert_eq!((stats.free, stats.total), (Some(1 << 20), Some(1 << 30)));
    assert_eq!(stats.caches, None);
    assert_eq!(driver.poll(SOON).unwrap(), 1);
    assert!(driver.pop_used(STATS).is_some());
    driver.add(STATS, &[&pair(4, 2 << 20)], &[]);
    driver.kick(STATS).unwrap();
    assert_eq!(handle.stats().free, Some(2 << 20));
    // Twice at once: the first comes back.
    driver.add(STATS, &[&pair(4, 1)], &[]);
    driver.kick(STATS).unwrap();
    assert!(driver.pop_used(STATS).is_some());
}

#[test]
fn a_queue_whose_feature_is_missing_takes_no_number() {
    assert_eq!(Balloon::role(F_PAGE_REPORTING, 2), Some(Role::Reporting));
    assert_eq!(Balloon::role(F_PAGE_REPORTING, 3), None);
    assert_eq!(Balloon::role(F_STATS_VQ, 2), Some(Role::Stats));
    assert_eq!(Balloon::role(u64::MAX, 3), Some(Role::Reporting));
    assert_eq!(Balloon::role(0, 2), None);
}

#[test]
fn state_is_taken_back() {
    let driver = driver();
    driver.device.config().write(4, &100u32.to_le_bytes());
    let saved = driver.device.save().unwrap().unwrap();
    let mut other = Balloon::new(&BalloonSpec::default()).unwrap();
    other.restore(saved).unwrap();
    let handle = other.handle();
    assert_eq!((handle.target(), handle.actual()), (8 << 20, 100 << 12));
}

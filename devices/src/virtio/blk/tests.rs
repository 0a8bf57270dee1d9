//! A disk as its driver sees it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::backend::block::BlkSpec;
use crate::virtio::testing::{DESC_F_NEXT, DESC_F_WRITE, Driver};

const SOON: Duration = Duration::from_secs(10);
const IN: u32 = 0;
const OUT: u32 = 1;
const FLUSH: u32 = 4;
const GET_ID: u32 = 8;
const DISCARD: u32 = 11;
const WRITE_ZEROES: u32 = 13;

struct Disk {
    driver: Driver<VirtioBlk>,
    file: tempfile::NamedTempFile,
}

fn open(path: &Path, read_only: bool) -> VirtioBlk {
    let spec = BlkSpec {
        path: path.to_owned(),
        read_only,
        serial: Some("pcp-0123456789-abcdefghij".to_owned()),
    };
    VirtioBlk::new(0, RawImage::open(&spec).unwrap()).unwrap()
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 / 7 + i / 512) as u8).collect()
}

fn header(kind: u32, sector: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&kind.to_le_bytes());
    bytes[8..].copy_from_slice(&sector.to_le_bytes());
    bytes
}

fn range(sector: u64, sectors: u32, flags: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&sector.to_le_bytes());
    bytes[8..12].copy_from_slice(&sectors.to_le_bytes());
    bytes[12..].copy_from_slice(&flags.to_le_bytes());
    bytes
}

impl Disk {
    fn new(content: &[u8], read_only: bool, features: u64) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), content).unwrap();
        let driver = Driver::with_features(open(file.path(), read_only), features);
        Self { driver, file }
    }

    fn writable(content: &[u8]) -> Self {
        Self::new(content, false, u64::MAX)
    }

    /// The data and the status that the device gives back.
    fn ask(&mut self, header: [u8; 16], data: &[&[u8]], room: &[u32]) -> (Vec<u8>, u8) {
        let mut readable = vec![&header[..]];
        readable.extend(data);
        let mut writable = room.to_vec();
        writable.push(1);
        let mut answer = self.driver.request(QUEUE, &readable, &writable);
        let status = answer.pop().unwrap();
        (answer, status)
    }

    fn status(&mut self, kind: u32, sector: u64, data: &[&[u8]]) -> u8 {
        self.ask(header(kind, sector), data, &[]).1
    }

    fn content(&self) -> Vec<u8> {
        fs::read(self.file.path()).unwrap()
    }
}

#[test]
fn reads_and_writes_reach_the_image() {
    let content = pattern(64 * 512);
    let mut disk = Disk::writable(&content);
    let (data, status) = disk.ask(header(IN, 3), &[], &[512, 100, 412]);
    assert_eq!((status, data), (S_OK, content[3 * 512..5 * 512].to_vec()));
    let sectors = [[9u8; 512], [8; 512]];
    assert_eq!(disk.status(OUT, 62, &[&sectors[0], &sectors[1]]), S_OK);
    assert_eq!(disk.content()[62 * 512..], sectors.concat());
    assert_eq!(disk.content()[..62 * 512], content[..62 * 512]);
    assert_eq!(disk.status(FLUSH, 0, &[]), S_OK);
}

#[test]
fn a_large_request_of_many_buffers_is_whole() {
    let content = pattern(1 << 20);
    let mut disk = Disk::writable(&content);
    let room = [4096; 250];
    let (data, status) = disk.ask(header(IN, 8), &[], &room);
    assert_eq!(status, S_OK);
    assert!(data == content[4096..4096 * 251]);
}

#[test]
fn what_lies_outside_the_disk_is_an_error_of_the_guest() {
    let mut disk = Disk::writable(&pattern(8 * 512));
    for sector in [8, 7, u64::MAX, u64::MAX / 512, 1 << 55] {
        let (_, status) = disk.ask(header(IN, sector), &[], &[1024]);
        assert_eq!(status, S_IOERR, "read at {sector}");
        assert_eq!(
            disk.status(OUT, sector, &[&[1; 1024]]),
            S_IOERR,
            "write at {sector}"
        );
    }
    assert_eq!(disk.content(), pattern(8 * 512));
}

#[test]
fn a_length_that_is_no_multiple_of_a_sector_is_refused() {
    let mut disk = Disk::writable(&pattern(8 * 512));
    assert_eq!(disk.ask(header(IN, 0), &[], &[511]).1, S_IOERR);
    assert_eq!(disk.status(OUT, 0, &[&[1; 513]]), S_IOERR);
    assert_eq!(disk.content(), pattern(8 * 512));
}

#[test]
fn the_rest_of_the_last_sector_reads_as_zeros() {
    let content = pattern(1000);
    let mut disk = Disk::writable(&content);
    let (data, status) = disk.ask(header(IN, 0), &[], &[1024]);
    assert_eq!(status, S_OK);
    assert_eq!(data[..1000], content);
    assert_eq!(data[1000..], [0; 24]);
    assert_eq!(disk.ask(header(IN, 2), &[], &[512]).1, S_IOERR);
    assert_eq!(disk.status(OUT, 1, &[&[5; 512]]), S_OK);
    assert_eq!(disk.content().len(), 1024);
}

#[test]
fn a_file_that_became_shorter_is_an_error_and_not_zeros() {
    let mut disk = Disk::writable(&pattern(8 * 512));
    disk.file.as_file().set_len(512).unwrap();
    assert_eq!(disk.ask(header(IN, 0), &[], &[512]).1, S_OK);
    assert_eq!(disk.ask(header(IN, 0), &[], &[1024]).1, S_IOERR);
}

#[test]
fn a_read_only_disk_says_so_and_refuses_writes() {
    let mut disk = Disk::new(&pattern(8 * 512), true, u64::MAX);
    let features = disk.driver.device.info().features;
    assert_eq!(features & (F_RO | F_DISCARD | F_WRITE_ZEROES), F_RO);
    assert_eq!(disk.status(OUT, 0, &[&[1; 512]]), S_IOERR);
    assert_eq!(disk.status(DISCARD, 0, &[&range(0, 8, 0)]), S_UNSUPP);
    assert_eq!(disk.status(FLUSH, 0, &[]), S_OK);
    assert_eq!(disk.content(), pattern(8 * 512));
}

#[test]
fn the_serial_number_is_cut_to_twenty_bytes() {
    let mut disk = Disk::writable(&pattern(512));
    let (id, status) = disk.ask(header(GET_ID, 0), &[], &[20]);
    assert_eq!((&id[..], status), (&b"pcp-0123456789-abcde"[..], S_OK));
}

#[test]
fn zeroes_are_written_and_space_is_freed() {
    let mut disk = Disk::writable(&pattern(1 << 20));
    let blocks = |disk: &Disk| disk.file.as_file().metadata().unwrap().blocks();
    disk.file.as_file().sync_all().unwrap();
    let before = blocks(&disk);
    assert_eq!(disk.status(WRITE_ZEROES, 0, &[&range(1, 8, 0)]), S_OK);
    let expected = pattern(1 << 20);
    let found = disk.content();
    assert_eq!(found[512..9 * 512], [0; 8 * 512]);
    assert_eq!(found[..512], expected[..512]);
    assert!(found[9 * 512..] == expected[9 * 512..]);
    assert_eq!(
        disk.status(WRITE_ZEROES, 0, &[&range(16, 512, Range::UNMAP)]),
        S_OK
    );
    assert!(
        disk.content()[16 * 512..528 * 512]
            .iter()
            .all(|&byte| byte == 0)
    );
    let two = [range(1024, 256, 0), range(1536, 256, 0)].concat();
    assert_eq!(disk.status(DISCARD, 0, &[&two]), S_OK);
    assert_eq!(disk.content().len(), 1 << 20);
    assert!(blocks(&disk) <= before);
}

#[test]
fn malformed_ranges_are_refused() {
    let mut disk = Disk::writable(&pattern(64 * 512));
    for (kind, bad, expected) in [
        (DISCARD, range(0, 1, Range::UNMAP), S_UNSUPP),
        (DISCARD, range(60, 5, 0), S_IOERR),
        (DISCARD, range(u64::MAX, u32::MAX, 0), S_IOERR),
        (WRITE_ZEROES, range(0, 1, 2), S_UNSUPP),
        (WRITE_ZEROES, range(64, 1, 0), S_IOERR),
        (WRITE_ZEROES, range(0, u32::MAX, 0), S_IOERR),
    ] {
        assert_eq!(disk.status(kind, 0, &[&bad]), expected, "{kind} {bad:?}");
    }
    assert_eq!(disk.status(DISCARD, 0, &[]), S_IOERR);
    assert_eq!(disk.status(DISCARD, 0, &[&[0; 17]]), S_IOERR);
    let many = [range(0, 1, 0); MAX_DISCARD_SEGMENTS as usize + 1].concat();
    assert_eq!(disk.status(DISCARD, 0, &[&many]), S_IOERR);
    assert_eq!(disk.content(), pattern(64 * 512));
}

#[test]
fn an_unknown_request_is_unsupported() {
    let mut disk = Disk::writable(&pattern(512));
    for kind in [2, 3, 5, 10, 14, u32::MAX] {
        assert_eq!(disk.status(kind, 0, &[]), S_UNSUPP, "{kind}");
    }
}

#[test]
fn a_discard_that_was_not_negotiated_is_unsupported() {
    let mut disk = Disk::new(&pattern(512), false, !(F_DISCARD | F_WRITE_ZEROES));
    assert_eq!(disk.status(DISCARD, 0, &[&range(0, 1, 0)]), S_UNSUPP);
    assert_eq!(disk.status(WRITE_ZEROES, 0, &[&range(0, 1, 0)]), S_UNSUPP);
    assert_eq!(disk.content(), pattern(512));
}

#[test]
fn without_flush_a_write_is_durable_at_once() {
    let mut disk = Disk::new(&pattern(512), false, !F_FLUSH);
    assert_eq!(disk.status(OUT, 0, &[&[3; 512]]), S_OK);
    assert_eq!(disk.content(), [3; 512]);
}

#[test]
fn a_request_without_header_or_status_ends_the_device() {
    let mut disk = Disk::writable(&pattern(512));
    disk.driver.add(QUEUE, &[&header(IN, 0)], &[]);
    assert!(disk.driver.kick(QUEUE).is_err());
    let mut disk = Disk::writable(&pattern(512));
    disk.driver.add(QUEUE, &[&[0; 15]], &[513]);
    assert!(disk.driver.kick(QUEUE).is_err());
}

#[test]
fn a_buffer_outside_ram_ends_the_device_before_anything_is_read() {
    let mut disk = Disk::writable(&pattern(512));
    let end = disk.driver.ram_size();
    let ring = &mut disk.driver.rings[0];
    let at = ring.alloc(16);
    ring.write(at, &header(IN, 0));
    ring.set_descriptor(0, at, 16, DESC_F_NEXT, 1);
    ring.set_descriptor(1, end - 256, 513, DESC_F_WRITE, 0);
    ring.push(0);
    assert!(disk.driver.kick(QUEUE).is_err());
}

#[test]
fn a_full_ring_is_served_in_turns_with_few_notifications() {
    let mut disk = Disk::writable(&pattern(512));
    let readable = header(IN, 0);
    for _ in 0..80 {
        disk.driver.add(QUEUE, &[&readable], &[512, 1]);
    }
    disk.driver.kick(QUEUE).unwrap();
    let served = |disk: &mut Disk| std::iter::from_fn(|| disk.driver.pop_used(QUEUE)).count();
    assert_eq!(served(&mut disk), TURN as usize);
    assert_eq!(disk.driver.poll(SOON).unwrap(), 1);
    assert_eq!(served(&mut disk), 80 - TURN as usize);
    assert!(disk.driver.interrupts(QUEUE) <= 5);
    assert_eq!(disk.driver.poll(Duration::ZERO).unwrap(), 0);
}

#[test]
fn the_configuration_describes_the_disk() {
    let disk = Disk::writable(&pattern(9 * 512));
    let mut data = [0; 60];
    disk.driver.device.config().read(0, &mut data);
    let word = |at: usize| u32::from_le_bytes(data[at..at + 4].try_into().unwrap());
    assert_eq!(u64::from_le_bytes(data[..8].try_into().unwrap()), 9);
    assert_eq!((word(12), word(20)), (SEG_MAX, 512));
    let physical = 512u64 << data[24];
    assert_eq!(physical, disk.driver.device.image.block_size());
    assert_eq!(word(36), MAX_DISCARD_SECTORS);
    assert_eq!((word(48), word(52), data[56]), (MAX_ZEROES_SECTORS, 1, 1));
}

#[test]
fn an_error_of_the_image_is_the_guests_and_is_told_the_operator_once() {
    let mut disk = Disk::writable(&pattern(8 * 512));
    disk.file.as_file().set_len(0).unwrap();
    assert!(!disk.driver.device.failed);
    assert_eq!(disk.ask(header(IN, 0), &[], &[512]).1, S_IOERR);
    assert!(disk.driver.device.failed);
    assert_eq!(disk.status(OUT, 0, &[&[1; 512]]), S_OK);
}

#[test]
fn state_is_taken_back_by_the_same_disk_alone() {
    let mut disk = Disk::writable(&pattern(8 * 512));
    let saved = disk.driver.device.save().unwrap().unwrap();
    assert!(disk.driver.device.restore(saved.clone()).is_ok());
    let mut smaller = Disk::writable(&pattern(512));
    assert!(smaller.driver.device.restore(saved.clone()).is_err());
    let mut read_only = Disk::new(&pattern(8 * 512), true, u64::MAX);
    assert!(read_only.driver.device.restore(saved).is_err());
}

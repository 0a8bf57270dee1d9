//! A disk as its driver sees it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::request::UNMAP;
use super::*;
use crate::backend::block::{BlkSpec, Geometry, Image, IoMode};
use crate::virtio::testing::{DESC_F_NEXT, DESC_F_WRITE, Driver, Used};

const SOON: Duration = Duration::from_secs(10);
const QUEUE: u16 = 0;
const IN: u32 = 0;
const OUT: u32 = 1;
const FLUSH: u32 = 4;
const GET_ID: u32 = 8;
const DISCARD: u32 = 11;
const WRITE_ZEROES: u32 = 13;

struct Fixture {
    driver: Driver<VirtioBlk>,
    file: tempfile::NamedTempFile,
}

fn open(path: &Path, read_only: bool) -> VirtioBlk {
    let spec = BlkSpec {
        read_only,
        serial: Some("pcp-0123456789-abcdefghij".to_owned()),
        ..BlkSpec::new(path)
    };
    VirtioBlk::new(0, Disk::open(&spec).unwrap(), 1).unwrap()
}

/// The next answer, for which the device may take its time.
fn wait(driver: &mut Driver<VirtioBlk>, queue: u16) -> Used {
    loop {
        if let Some(used) = driver.pop_used(queue) {
            return used;
        }
        assert_ne!(driver.poll(SOON).unwrap(), 0, "no answer");
        if driver.again.contains(queue) {
            driver.kick(queue).unwrap();
        }
    }
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

impl Fixture {
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
        self.driver.add(QUEUE, &readable, &writable);
        self.driver.kick(QUEUE).unwrap();
        let mut answer = wait(&mut self.driver, QUEUE).data;
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
    let mut disk = Fixture::writable(&content);
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
    let mut disk = Fixture::writable(&content);
    let room = [4096; 250];
    let (data, status) = disk.ask(header(IN, 8), &[], &room);
    assert_eq!(status, S_OK);
    assert!(data == content[4096..4096 * 251]);
}

#[test]
fn what_lies_outside_the_disk_is_an_error_of_the_guest() {
    let mut disk = Fixture::writable(&pattern(8 * 512));
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
    let mut disk = Fixture::writable(&pattern(8 * 512));
    assert_eq!(disk.ask(header(IN, 0), &[], &[511]).1, S_IOERR);
    assert_eq!(disk.status(OUT, 0, &[&[1; 513]]), S_IOERR);
    assert_eq!(disk.content(), pattern(8 * 512));
}

#[test]
fn the_rest_of_the_last_sector_reads_as_zeros() {
    let content = pattern(1000);
    let mut disk = Fixture::writable(&content);
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
    let mut disk = Fixture::writable(&pattern(8 * 512));
    disk.file.as_file().set_len(512).unwrap();
    assert_eq!(disk.ask(header(IN, 0), &[], &[512]).1, S_OK);
    assert_eq!(disk.ask(header(IN, 0), &[], &[1024]).1, S_IOERR);
}

#[test]
fn a_read_only_disk_says_so_and_refuses_writes() {
    let mut disk = Fixture::new(&pattern(8 * 512), true, u64::MAX);
    let features = disk.driver.device.info().features;
    assert_eq!(features & (F_RO | F_DISCARD | F_WRITE_ZEROES), F_RO);
    assert_eq!(disk.status(OUT, 0, &[&[1; 512]]), S_IOERR);
    assert_eq!(disk.status(DISCARD, 0, &[&range(0, 8, 0)]), S_UNSUPP);
    assert_eq!(disk.status(FLUSH, 0, &[]), S_OK);
    assert_eq!(disk.content(), pattern(8 * 512));
}

#[test]
fn the_serial_number_is_cut_to_twenty_bytes() {
    let mut disk = Fixture::writable(&pattern(512));
    let (id, status) = disk.ask(header(GET_ID, 0), &[], &[20]);
    assert_eq!((&id[..], status), (&b"pcp-0123456789-abcde"[..], S_OK));
}

#[test]
fn zeroes_are_written_and_space_is_freed() {
    let mut disk = Fixture::writable(&pattern(1 << 20));
    let blocks = |disk: &Fixture| disk.file.as_file().metadata().unwrap().blocks();
    disk.file.as_file().sync_all().unwrap();
    let before = blocks(&disk);
    assert_eq!(disk.status(WRITE_ZEROES, 0, &[&range(1, 8, 0)]), S_OK);
    let expected = pattern(1 << 20);
    let found = disk.content();
    assert_eq!(found[512..9 * 512], [0; 8 * 512]);
    assert_eq!(found[..512], expected[..512]);
    assert!(found[9 * 512..] == expected[9 * 512..]);
    assert_eq!(
        disk.status(WRITE_ZEROES, 0, &[&range(16, 512, UNMAP)]),
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
    let mut disk = Fixture::writable(&pattern(64 * 512));
    for (kind, bad, expected) in [
        (DISCARD, range(0, 1, UNMAP), S_UNSUPP),
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
    let mut disk = Fixture::writable(&pattern(512));
    for kind in [2, 3, 5, 10, 14, u32::MAX] {
        assert_eq!(disk.status(kind, 0, &[]), S_UNSUPP, "{kind}");
    }
}

#[test]
fn a_discard_that_was_not_negotiated_is_unsupported() {
    let mut disk = Fixture::new(&pattern(512), false, !(F_DISCARD | F_WRITE_ZEROES));
    assert_eq!(disk.status(DISCARD, 0, &[&range(0, 1, 0)]), S_UNSUPP);
    assert_eq!(disk.status(WRITE_ZEROES, 0, &[&range(0, 1, 0)]), S_UNSUPP);
    assert_eq!(disk.content(), pattern(512));
}

#[test]
fn without_flush_a_write_is_durable_at_once() {
    let mut disk = Fixture::new(&pattern(512), false, !F_FLUSH);
    assert_eq!(disk.status(OUT, 0, &[&[3; 512]]), S_OK);
    assert_eq!(disk.content(), [3; 512]);
}

#[test]
fn a_request_without_header_or_status_ends_the_device() {
    let mut disk = Fixture::writable(&pattern(512));
    disk.driver.add(QUEUE, &[&header(IN, 0)], &[]);
    assert!(disk.driver.kick(QUEUE).is_err());
    let mut disk = Fixture::writable(&pattern(512));
    disk.driver.add(QUEUE, &[&[0; 15]], &[513]);
    assert!(disk.driver.kick(QUEUE).is_err());
}

#[test]
fn a_buffer_outside_ram_ends_the_device_before_anything_is_read() {
    let mut disk = Fixture::writable(&pattern(512));
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
    let mut disk = Fixture::writable(&pattern(512));
    let readable = header(IN, 0);
    for _ in 0..80 {
        disk.driver.add(QUEUE, &[&readable], &[512, 1]);
    }
    let mut again = false;
    disk.driver.with_io(|device, io| {
        device.process_queue(io, QUEUE).unwrap();
        again = io.again.contains(QUEUE);
    });
    assert!(again, "the rest of the loop has its turn");
    disk.driver.kick(QUEUE).unwrap();
    for _ in 0..80 {
        assert_eq!(wait(&mut disk.driver, QUEUE).data[512], S_OK);
    }
    assert!(disk.driver.pop_used(QUEUE).is_none());
    assert!(disk.driver.interrupts(QUEUE) <= 20);
}

#[test]
fn the_configuration_describes_the_disk() {
    let disk = Fixture::writable(&pattern(9 * 512));
    let mut data = [0; 60];
    disk.driver.device.config().read(0, &mut data);
    let word = |at: usize| u32::from_le_bytes(data[at..at + 4].try_into().unwrap());
    assert_eq!(u64::from_le_bytes(data[..8].try_into().unwrap()), 9);
    assert_eq!((word(12), word(20)), (SEG_MAX, 512));
    let physical = 512u64 << data[24];
    assert_eq!(physical, disk.driver.device.disk.geometry.block_size);
    assert_eq!(word(36), MAX_DISCARD_SECTORS);
    assert_eq!((word(48), word(52), data[56]), (MAX_ZEROES_SECTORS, 1, 1));
}

#[test]
fn an_error_of_the_image_is_the_guests_and_is_told_the_operator_once() {
    let mut disk = Fixture::writable(&pattern(8 * 512));
    disk.file.as_file().set_len(0).unwrap();
    assert!(!disk.driver.device.failed);
    assert_eq!(disk.ask(header(IN, 0), &[], &[512]).1, S_IOERR);
    assert!(disk.driver.device.failed);
    assert_eq!(disk.status(OUT, 0, &[&[1; 512]]), S_OK);
}

#[test]
fn state_is_taken_back_by_the_same_disk_alone() {
    let mut disk = Fixture::writable(&pattern(8 * 512));
    let saved = disk.driver.device.save().unwrap().unwrap();
    assert!(disk.driver.device.restore(saved.clone()).is_ok());
    let mut smaller = Fixture::writable(&pattern(512));
    assert!(smaller.driver.device.restore(saved.clone()).is_err());
    let mut read_only = Fixture::new(&pattern(8 * 512), true, u64::MAX);
    assert!(read_only.driver.device.restore(saved).is_err());
}

/// An image that does as it is told by the test.
#[derive(Debug, Default)]
struct Scripted {
    /// Reads wait until this many have begun.
    together: std::sync::Mutex<usize>,
    met: std::sync::Condvar,
    wanted: usize,
    flushes: std::sync::atomic::AtomicUsize,
    broken: AtomicBool,
}

impl Scripted {
    fn check(&self) -> io::Result<()> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        Ok(())
    }
}

impl Image for Scripted {
    fn read(&self, to: &mut Writer<'_>, offset: u64) -> io::Result<()> {
        self.check()?;
        let mut begun = self.together.lock().unwrap();
        *begun += 1;
        self.met.notify_all();
        let (_met, late) = self
            .met
            .wait_timeout_while(begun, SOON, |begun| *begun < self.wanted)
            .unwrap();
        assert!(!late.timed_out(), "requests are not carried out together");
        to.write(&[offset as u8; 512]);
        Ok(())
    }

    fn write(&self, from: &mut Reader<'_>, _offset: u64) -> io::Result<()> {
        self.check()?;
        from.advance(from.available());
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.check()?;
        self.flushes.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn discard(&self, _offset: u64, _len: u64) -> io::Result<()> {
        self.check()
    }

    fn write_zeroes(&self, _offset: u64, _len: u64, _unmap: bool) -> io::Result<()> {
        self.check()
    }
}

fn scripted(image: &Arc<Scripted>, cache: CacheMode, queues: u16) -> VirtioBlk {
    let disk = Disk {
        image: image.clone(),
        name: "scripted".to_owned(),
        serial: String::new(),
        read_only: false,
        geometry: Geometry {
            sectors: 1024,
            block_size: 4096,
            discard_unit: 65536,
        },
        cache,
        io: IoMode::Threads,
    };
    VirtioBlk::new(0, disk, queues).unwrap()
}

#[test]
fn several_requests_of_several_queues_are_carried_out_at_a_time() {
    let image = Arc::new(Scripted {
        wanted: 4,
        ..Scripted::default()
    });
    let mut driver = Driver::new(scripted(&image, CacheMode::Writeback, 2));
    assert_ne!(driver.features & F_MQ, 0);
    for (queue, sector) in [(0, 1), (1, 2), (0, 3), (1, 4)] {
        driver.add(queue, &[&header(IN, sector)], &[512, 1]);
    }
    driver.kick(0).unwrap();
    driver.kick(1).unwrap();
    for queue in [0, 1, 0, 1] {
        let answer = wait(&mut driver, queue).data;
        assert_eq!(answer[512], S_OK);
    }
    assert!(driver.interrupts(0) > 0 && driver.interrupts(1) > 0);
}

#[test]
fn every_kind_of_request_survives_a_back_end_that_fails() {
    let image = Arc::new(Scripted::default());
    image.broken.store(true, Ordering::SeqCst);
    let mut driver = Driver::new(scripted(&image, CacheMode::Writeback, 1));
    let mut status = |kind: u32, data: &[u8], room: &[u32]| {
        let header = header(kind, 0);
        let readable = if data.is_empty() {
            vec![&header[..]]
        } else {
            vec![&header[..], data]
        };
        driver.add(QUEUE, &readable, room);
        driver.kick(QUEUE).unwrap();
        *wait(&mut driver, QUEUE).data.last().unwrap()
    };
    for _ in 0..3 {
        assert_eq!(status(IN, &[], &[512, 1]), S_IOERR);
        assert_eq!(status(OUT, &[1; 512], &[1]), S_IOERR);
        assert_eq!(status(FLUSH, &[], &[1]), S_IOERR);
        assert_eq!(status(DISCARD, &range(0, 8, 0), &[1]), S_IOERR);
        assert_eq!(status(WRITE_ZEROES, &range(0, 8, UNMAP), &[1]), S_IOERR);
        assert_eq!(status(GET_ID, &[], &[20, 1]), S_OK);
    }
    image.broken.store(false, Ordering::SeqCst);
    assert_eq!(status(OUT, &[1; 512], &[1]), S_OK);
}

#[test]
fn quiesce_waits_for_what_is_in_flight_and_answers_it() {
    for io in [IoMode::Uring, IoMode::Threads] {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), pattern(1 << 20)).unwrap();
        let spec = BlkSpec {
            io,
            ..BlkSpec::new(file.path())
        };
        let device = VirtioBlk::new(0, Disk::open(&spec).unwrap(), 1).unwrap();
        let mut driver = Driver::new(device);
        for sector in 0..40 {
            driver.add(QUEUE, &[&header(IN, sector)], &[512, 1]);
        }
        driver.with_io(|device, io| device.take(io, QUEUE).unwrap());
        driver.quiesce();
        assert_eq!(driver.device.engine.in_flight(), 0);
        assert!(driver.events.watched().is_empty());
        let answers: Vec<_> = std::iter::from_fn(|| driver.pop_used(QUEUE)).collect();
        assert_eq!(answers.len(), 40);
        assert!(answers.iter().all(|used| used.data[512] == S_OK));
        assert!(driver.interrupts(QUEUE) > 0);
        driver.device.reset();
        driver.set_up_queues();
        driver.activate().unwrap();
        driver.add(QUEUE, &[&header(IN, 1)], &[512, 1]);
        driver.kick(QUEUE).unwrap();
        assert_eq!(wait(&mut driver, QUEUE).data[..512], pattern(1024)[512..]);
    }
}

#[test]
fn a_driver_turns_the_write_cache_off_and_on() {
    let image = Arc::new(Scripted::default());
    let mut driver = Driver::new(scripted(&image, CacheMode::Writeback, 1));
    let config = driver.device.config();
    let write = |driver: &mut Driver<VirtioBlk>| {
        driver.add(QUEUE, &[&header(OUT, 0), &[1; 512]], &[1]);
        driver.kick(QUEUE).unwrap();
        assert_eq!(wait(driver, QUEUE).data, [S_OK]);
        image.flushes.swap(0, Ordering::SeqCst)
    };
    let mut byte = [7];
    config.read(32, &mut byte);
    assert_eq!((byte, write(&mut driver)), ([1], 0));
    config.write(32, &[0]);
    config.read(32, &mut byte);
    assert_eq!((byte, write(&mut driver)), ([0], 1));
    config.write(32, &[1]);
    assert_eq!(write(&mut driver), 0);
}

#[test]
fn the_cache_modes_differ_in_when_a_write_is_flushed() {
    for (cache, features, flushes) in [
        (CacheMode::Writeback, u64::MAX, 1),
        (CacheMode::Writeback, !F_FLUSH & !F_CONFIG_WCE, 2),
        (CacheMode::Writethrough, u64::MAX, 2),
        (CacheMode::Unsafe, u64::MAX, 0),
        (CacheMode::Unsafe, !F_FLUSH, 0),
    ] {
        let image = Arc::new(Scripted::default());
        let mut driver = Driver::with_features(scripted(&image, cache, 1), features);
        for (kind, data) in [(OUT, &[1; 512][..]), (FLUSH, &[][..])] {
            let header = header(kind, 0);
            let readable = if data.is_empty() {
                vec![&header[..]]
            } else {
                vec![&header[..], data]
            };
            driver.add(QUEUE, &readable, &[1]);
            driver.kick(QUEUE).unwrap();
            assert_eq!(wait(&mut driver, QUEUE).data, [S_OK]);
        }
        let found = image.flushes.load(Ordering::SeqCst);
        assert_eq!(found, flushes, "{cache} {features:x}");
    }
}

#[test]
fn more_requests_than_are_carried_out_at_a_time_wait_in_the_ring() {
    let image = Arc::new(Scripted::default());
    let mut driver = Driver::new(scripted(&image, CacheMode::Writeback, 1));
    driver.device.buffers = MAX_BUFFERS + 1;
    driver.add(QUEUE, &[&header(IN, 0)], &[512, 1]);
    driver.kick(QUEUE).unwrap();
    assert_eq!(driver.device.engine.in_flight(), 0);
    assert!(driver.device.lanes[0].stalled);
    driver.device.buffers = 0;
    driver.kick(QUEUE).unwrap();
    assert_eq!(wait(&mut driver, QUEUE).data[512], S_OK);
}

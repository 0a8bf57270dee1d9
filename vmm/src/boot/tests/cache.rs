//! The cache of unpacked kernels: hits, damage, rivals and folders that cannot be written.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::samples::{ElfSample, Files, Loaded, compress, spec};
use crate::boot::cache::{Cache, Key};
use crate::boot::testing::bzimage;
use crate::boot::unpack::Compression;
use crate::boot::{BootSpec, Images};

fn sample() -> ElfSample {
    ElfSample::of_len(200_000)
}

fn image() -> Vec<u8> {
    bzimage(&compress(&sample().build(), Compression::Gzip))
}

fn entries(cache: &Path, extension: &str) -> Vec<PathBuf> {
    let listing = fs::read_dir(cache).unwrap();
    let paths = listing.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect()
}

fn load(kernel: &Path, cache: &Path) {
    let spec = BootSpec {
        cache: Some(cache),
        ..spec(kernel)
    };
    Loaded::new(&spec).assert_kernel(&sample());
}

/// Waits until the file is old enough to be trusted by its times.
fn settle(path: &Path) {
    let changed = fs::metadata(path).unwrap().ctime();
    let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(changed as u64);
    let due = changed + Duration::from_millis(2100);
    if let Ok(wait) = due.duration_since(SystemTime::now()) {
        std::thread::sleep(wait);
    }
}

#[test]
fn a_kernel_is_unpacked_once() {
    let files = Files::new();
    let (kernel, cache) = (files.kernel(&image()), files.cache());
    load(&kernel, &cache);
    let [entry] = &entries(&cache, "elf")[..] else {
        panic!("one entry expected");
    };
    let inode = fs::metadata(entry).unwrap().ino();
    load(&kernel, &cache);
    assert_eq!(fs::metadata(entry).unwrap().ino(), inode);
    assert!(entries(&cache, "tmp").is_empty());
}

#[test]
fn a_known_file_is_found_without_reading_it() {
    let files = Files::new();
    let (kernel, cache) = (files.kernel(&image()), files.cache());
    settle(&kernel);
    load(&kernel, &cache);
    let file = File::open(&kernel).unwrap();
    assert!(Cache::new(&cache).find_by_identity(&file).is_some());

    // Another time on the file is enough to distrust it.
    let past = SystemTime::now() - Duration::from_secs(1000);
    File::options()
        .write(true)
        .open(&kernel)
        .unwrap()
        .set_modified(past)
        .unwrap();
    assert!(Cache::new(&cache).find_by_identity(&file).is_none());
    load(&kernel, &cache);
    assert_eq!(entries(&cache, "elf").len(), 1);
}

#[test]
fn a_file_just_written_is_not_trusted_by_its_times() {
    let files = Files::new();
    let (kernel, cache) = (files.kernel(&image()), files.cache());
    load(&kernel, &cache);
    let file = File::open(&kernel).unwrap();
    assert!(Cache::new(&cache).find_by_identity(&file).is_none());
}

#[test]
fn a_corrupt_entry_is_replaced() {
    let files = Files::new();
    let (kernel, cache) = (files.kernel(&image()), files.cache());
    settle(&kernel);
    let damages: [fn(&File); 4] = [
        |f| f.write_all_at(b"XXXX", 100_000).unwrap(),
        |f| f.set_len(1000).unwrap(),
        |f| f.set_len(0).unwrap(),
        |f| {
            let end = f.metadata().unwrap().len();
            f.write_all_at(b"more", end).unwrap();
        },
    ];
    for damage in damages {
        load(&kernel, &cache);
        // File times advance by ticks: the damage must not fall into the entry's own.
        std::thread::sleep(Duration::from_millis(30));
        let entry = entries(&cache, "elf").remove(0);
        damage(&File::options().write(true).open(entry).unwrap());
        load(&kernel, &cache);
        assert_eq!(entries(&cache, "elf").len(), 1);
    }
}

#[test]
fn an_entry_of_another_kernel_is_not_taken() {
    let files = Files::new();
    let (kernel, cache) = (files.kernel(&image()), files.cache());
    load(&kernel, &cache);
    let other = ElfSample::of_len(1000);
    let image = bzimage(&compress(&other.build(), Compression::Xz));
    let other_kernel = files.write("other", &image);
    let spec = BootSpec {
        cache: Some(&cache),
        ..spec(&other_kernel)
    };
    Loaded::new(&spec).assert_kernel(&other);
    let [one, two] = &entries(&cache, "elf")[..] else {
        panic!("two entries expected");
    };
    // Swapped names are noticed by the key in the trailer.
    let aside = files.folder.path().join("aside");
    fs::rename(one, &aside).unwrap();
    fs::rename(two, one).unwrap();
    fs::rename(&aside, two).unwrap();
    load(&kernel, &cache);
    Loaded::new(&spec).assert_kernel(&other);
}

#[test]
fn a_cache_that_cannot_be_written_is_done_without() {
    let files = Files::new();
    let kernel = files.kernel(&image());
    let in_the_way = files.write("file", b"");
    load(&kernel, &in_the_way);
    load(&kernel, &in_the_way.join("below"));
    load(&kernel, Path::new("/proc/no/such/folder"));
}

#[test]
fn concurrent_starts_share_one_entry() {
    let files = Files::new();
    let (kernel, cache) = (files.kernel(&image()), files.cache());
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| load(&kernel, &cache));
        }
    });
    assert_eq!(entries(&cache, "elf").len(), 1);
    assert!(entries(&cache, "tmp").is_empty());
}

#[test]
fn a_damaged_payload_leaves_nothing_in_the_cache() {
    let files = Files::new();
    let mut broken = compress(&sample().build(), Compression::Gzip);
    let middle = broken.len() / 2;
    broken[middle..middle + 64].fill(0xa5);
    let (kernel, cache) = (files.kernel(&bzimage(&broken)), files.cache());
    let spec = BootSpec {
        cache: Some(&cache),
        ..spec(&kernel)
    };
    assert!(Images::open(&spec).is_err());
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 0);
}

#[test]
fn old_entries_and_leftovers_are_removed() {
    let files = Files::new();
    let (kernel, cache) = (files.kernel(&image()), files.cache());
    fs::create_dir(&cache).unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(100_000);
    let stale = |name: String| {
        let file = File::create(cache.join(name)).unwrap();
        file.set_modified(long_ago).unwrap();
    };
    (0..40).for_each(|n| stale(format!("{n}.elf")));
    (0..40).for_each(|n| stale(format!("{n}.id")));
    stale("77-0.tmp".to_owned());
    File::create(cache.join("78-0.tmp")).unwrap();
    load(&kernel, &cache);
    assert_eq!(entries(&cache, "elf").len(), 16);
    assert_eq!(entries(&cache, "id").len(), 32);
    assert_eq!(entries(&cache, "tmp").len(), 1);
    load(&kernel, &cache);
}

#[test]
fn keys_are_the_hash_of_the_payload() {
    let key = Key::of(&b"abc"[..]).unwrap();
    let again = Key::of(&b"abc"[..]).unwrap();
    assert!(key == again && key != Key::of(&b"abd"[..]).unwrap());
}

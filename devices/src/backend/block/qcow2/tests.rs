//! qcow2 images as a disk uses them.

use std::fs;

use imago::{FormatCreateBuilder, Storage, StorageCreateOptions};
use tempfile::TempDir;

use super::super::DiskFormat;
use super::*;

/// Makes an image of `size` bytes over `backing`: its name and format.
fn create(path: &Path, size: u64, backing: Option<(&str, &str)>) {
    let options = StorageCreateOptions::new().filename(path);
    let file = File::create_open(options).unwrap();
    let mut builder = Qcow2::<File>::create_builder(file).size(size);
    if let Some((name, format)) = backing {
        builder = builder.backing(name.to_owned(), format.to_owned());
    }
    builder.create().unwrap();
}

fn spec(path: &Path, read_only: bool) -> BlkSpec {
    BlkSpec {
        format: Some(DiskFormat::Qcow2),
        read_only,
        ..BlkSpec::new(path)
    }
}

fn open(path: &Path) -> Qcow2Image {
    Qcow2Image::open(&spec(path, false)).unwrap().0
}

fn read(image: &Qcow2Image, offset: u64, len: usize) -> Vec<u8> {
    let mut data = vec![0xee; len];
    image
        .read(&mut Writer::from(&mut data[..]), offset)
        .unwrap();
    data
}

fn write(image: &Qcow2Image, offset: u64, data: &mut [u8]) {
    image.write(&mut Reader::from(data), offset).unwrap();
}

struct Fixture {
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[test]
fn what_is_written_is_there_when_it_is_opened_again() {
    let fixture = Fixture::new();
    let path = fixture.path("disk");
    create(&path, 8 << 20, None);
    let (image, geometry) = Qcow2Image::open(&spec(&path, false)).unwrap();
    assert_eq!(geometry.sectors, 16 << 10);
    assert_eq!(geometry.discard_unit, 65536);
    write(&image, 1 << 20, &mut [7; 100_000]);
    write(&image, 512, &mut [9; 512]);
    image.settle().unwrap();
    drop(image);
    assert!(fs::metadata(&path).unwrap().len() < 4 << 20, "it is sparse");
    let (image, _) = Qcow2Image::open(&spec(&path, true)).unwrap();
    assert_eq!(read(&image, 1 << 20, 100_000), [7; 100_000]);
    assert_eq!(
        read(&image, 0, 1536),
        [[0; 512], [9; 512], [0; 512]].concat()
    );
}

#[test]
fn an_image_shows_what_it_is_based_on_and_leaves_it_alone() {
    let fixture = Fixture::new();
    fs::write(fixture.path("raw"), vec![3; 1 << 20]).unwrap();
    create(&fixture.path("middle"), 1 << 20, Some(("raw", "raw")));
    create(&fixture.path("top"), 1 << 20, Some(("middle", "qcow2")));
    let image = open(&fixture.path("top"));
    write(&image, 4096, &mut [5; 512]);
    assert_eq!(read(&image, 4096, 1024), [[5; 512], [3; 512]].concat());
    let below = spec(&fixture.path("middle"), false);
    let error = Qcow2Image::open(&below).unwrap_err();
    assert!(matches!(error, BlockError::Locked { .. }), "{error}");
    drop(image);
    assert!(
        fs::read(fixture.path("raw"))
            .unwrap()
            .iter()
            .all(|&byte| byte == 3)
    );
    assert_eq!(read(&open(&fixture.path("middle")), 4096, 512), [3; 512]);
}

#[test]
fn a_backing_image_without_a_format_is_not_opened() {
    let fixture = Fixture::new();
    fs::write(fixture.path("secret"), vec![3; 1 << 20]).unwrap();
    create(&fixture.path("disk"), 1 << 20, Some(("secret", "vmdk")));
    let error = Qcow2Image::open(&spec(&fixture.path("disk"), false)).unwrap_err();
    assert!(error.to_string().contains("unknown format"), "{error}");
}

#[test]
fn a_chain_of_images_that_leads_back_ends() {
    let fixture = Fixture::new();
    create(&fixture.path("a"), 1 << 20, Some(("b", "qcow2")));
    create(&fixture.path("b"), 1 << 20, Some(("a", "qcow2")));
    let error = Qcow2Image::open(&spec(&fixture.path("a"), true)).unwrap_err();
    assert!(error.to_string().contains("too many"), "{error}");
    let error = Qcow2Image::open(&spec(&fixture.path("a"), false)).unwrap_err();
    assert!(matches!(error, BlockError::Locked { .. }), "{error}");
}

#[test]
fn a_raw_image_is_no_qcow2_image() {
    let fixture = Fixture::new();
    fs::write(fixture.path("raw"), vec![0; 1 << 20]).unwrap();
    let error = Qcow2Image::open(&spec(&fixture.path("raw"), false)).unwrap_err();
    assert!(matches!(error, BlockError::Open { .. }), "{error}");
}

#[test]
fn an_image_that_does_not_count_its_header_is_opened_to_be_read_alone() {
    let fixture = Fixture::new();
    let path = fixture.path("disk");
    create(&path, 1 << 20, None);
    let mut bytes = fs::read(&path).unwrap();
    let table = u64::from_be_bytes(bytes[48..56].try_into().unwrap()) as usize;
    bytes[table..table + 8].fill(0);
    fs::write(&path, bytes).unwrap();
    let error = Qcow2Image::open(&spec(&path, false)).unwrap_err();
    assert!(error.to_string().contains("count its header"), "{error}");
    let (image, _) = Qcow2Image::open(&spec(&path, true)).unwrap();
    assert_eq!(read(&image, 0, 512), [0; 512]);
}

#[test]
fn zeroed_and_freed_ranges_read_as_zeros() {
    let fixture = Fixture::new();
    let path = fixture.path("disk");
    create(&path, 4 << 20, None);
    let image = open(&path);
    write(&image, 0, &mut vec![8; 1 << 20]);
    image.write_zeroes(512, 200_000, false).unwrap();
    image.write_zeroes(1 << 19, 200_000, true).unwrap();
    image.discard(3 << 18, 1 << 17).unwrap();
    image.flush().unwrap();
    let found = read(&image, 0, 1 << 20);
    let zeros = |range: std::ops::Range<usize>| found[range].iter().all(|&byte| byte == 0);
    assert!(zeros(512..200_512) && zeros(1 << 19..(1 << 19) + 200_000));
    assert!(zeros(3 << 18..7 << 17));
    assert_eq!((found[0], found[200_512], found[7 << 17]), (8, 8, 8));
}

#[test]
fn a_read_only_image_cannot_be_written() {
    let fixture = Fixture::new();
    let path = fixture.path("disk");
    create(&path, 1 << 20, None);
    let before = fs::read(&path).unwrap();
    let (image, _) = Qcow2Image::open(&spec(&path, true)).unwrap();
    assert!(
        image
            .write(&mut Reader::from(&mut [1; 512][..]), 0)
            .is_err()
    );
    image.flush().unwrap();
    drop(image);
    assert_eq!(fs::read(&path).unwrap(), before);
}

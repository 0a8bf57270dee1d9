//! The device as Linux's `qemu_fw_cfg` reads it, and as none should.

use proptest::prelude::*;

use super::*;

fn file(name: &str, content: &[u8]) -> FwCfgFile {
    FwCfgFile {
        name: name.to_owned(),
        content: content.to_vec(),
    }
}

fn device() -> FwCfg {
    let files = vec![file("opt/a", b"first"), file("opt/b/c", &[0xff, 0, 7])];
    FwCfg::new(files).unwrap()
}

/// Selects `key` and reads `len` bytes of it, one at a time.
fn bytes(device: &mut FwCfg, key: u16, len: usize) -> Vec<u8> {
    assert_eq!(device.write(0, &key.to_le_bytes()), Effect::None);
    let mut byte = [0xaa];
    let next = |_| {
        device.read(1, &mut byte);
        byte[0]
    };
    (0..len).map(next).collect()
}

#[test]
fn the_signature_and_the_interface_are_told() {
    let mut device = device();
    assert_eq!(bytes(&mut device, 0, 4), b"QEMU");
    assert_eq!(bytes(&mut device, 1, 4), [1, 0, 0, 0], "no dma");
}

#[test]
fn the_directory_leads_to_each_file() {
    let mut device = device();
    let count = bytes(&mut device, 0x19, 4);
    assert_eq!(count, [0, 0, 0, 2]);
    let directory = bytes(&mut device, 0x19, 4 + 2 * 64);
    let expected = [("opt/a", &b"first"[..]), ("opt/b/c", &[0xff, 0, 7])];
    for (entry, (name, content)) in directory[4..].chunks(64).zip(expected) {
        let size = u32::from_be_bytes(entry[..4].try_into().unwrap()) as usize;
        let key = u16::from_be_bytes(entry[4..6].try_into().unwrap());
        let end = 8 + name.len();
        assert_eq!(&entry[8..end], name.as_bytes());
        assert!(entry[end..].iter().all(|byte| *byte == 0));
        assert_eq!(bytes(&mut device, key, size), content);
    }
}

#[test]
fn a_string_instruction_reads_many_bytes_and_zeros_behind_the_end() {
    let mut device = device();
    device.write(0, &0x20_u16.to_le_bytes());
    let mut data = [0xaa; 3];
    device.read(1, &mut data);
    assert_eq!(&data, b"fir");
    let mut data = [0xaa; 4];
    device.read(1, &mut data);
    assert_eq!(&data, b"st\0\0");
    device.read(1, &mut data);
    assert_eq!(data, [0; 4]);
}

#[test]
fn selecting_again_begins_again_and_an_unknown_key_is_empty() {
    let mut device = device();
    assert_eq!(bytes(&mut device, 0x20, 2), b"fi");
    assert_eq!(bytes(&mut device, 0x20, 2), b"fi");
    for key in [2, 0x18, 0x1f, 0x22, 0x3fff] {
        assert_eq!(bytes(&mut device, key, 3), [0; 3], "{key:#x}");
    }
    // Write mode reads the same.
    assert_eq!(bytes(&mut device, 0x4020, 5), b"first");
}

#[test]
fn nothing_can_be_written() {
    let mut device = device();
    device.write(0, &0x4020_u16.to_le_bytes());
    for data in [&b"x"[..], b"xx", b"xxxx"] {
        assert_eq!(device.write(1, data), Effect::None);
    }
    // Half a selector selects nothing.
    device.write(0, &[0x21]);
    let mut data = [0; 5];
    device.read(1, &mut data);
    assert_eq!(&data, b"first");
}

#[test]
fn names_and_numbers_that_do_not_fit_are_refused() {
    let long = "n".repeat(MAX_NAME + 1);
    for name in ["", "a\0b", &long] {
        let error = FwCfg::new(vec![file(name, b"")]).unwrap_err();
        assert_eq!(error, FwCfgError::Name(name.to_owned()));
    }
    assert!(FwCfg::new(vec![file(&long[1..], b"")]).is_ok());
    let crowd = |count| FwCfg::new(vec![file("a", b""); count]);
    let mut full = crowd(0x3fe0).unwrap();
    assert_eq!(full.directory.len(), 4 + 0x3fe0 * 64);
    assert_eq!(bytes(&mut full, 0x3fff, 1), [0]);
    assert_eq!(crowd(0x3fe1).unwrap_err(), FwCfgError::TooMany(0x3fe1));
}

#[test]
fn reading_goes_on_after_save_and_restore() {
    let mut first = device();
    bytes(&mut first, 0x20, 2);
    let saved = first.save().unwrap();
    let mut second = device();
    second.restore(&saved).unwrap();
    let mut data = [0; 3];
    second.read(1, &mut data);
    assert_eq!(&data, b"rst");
    let foreign = Payload::pack("serial", 1, &0).unwrap();
    assert!(second.restore(&foreign).is_err());
}

proptest! {
    #[test]
    fn no_access_goes_beyond_an_item(
        steps in prop::collection::vec((any::<bool>(), 0_u64..4, prop::collection::vec(any::<u8>(), 0..9)), 0..64),
        at in any::<u64>(),
        key in any::<u16>(),
    ) {
        let mut device = device();
        let wild = Payload::pack(KIND, VERSION, &FwCfgStateV1 { key, at }).unwrap();
        device.restore(&wild).unwrap();
        for (write, offset, mut data) in steps {
            if write {
                prop_assert_eq!(device.write(offset, &data), Effect::None);
            } else {
                device.read(offset, &mut data);
            }
        }
        prop_assert_eq!(bytes(&mut device, 0x20, 7), b"first\0\0");
    }
}

//! Files that are no kernels, broken kernels, and kernels that do not fit.

use std::path::Path;

use proptest::prelude::*;

use super::samples::{ElfSample, Files, MIB, PVH_NOTE, compress, open, spec};
use crate::boot::testing::bzimage;
use crate::boot::unpack::Compression;
use crate::boot::{BootError, BootSpec, FileKind, Images};
use crate::layout::Layout;

fn message(bytes: &[u8]) -> String {
    let error = open(bytes).unwrap_err();
    assert!(error.hint().is_some_and(|hint| !hint.is_empty()));
    error.to_string()
}

fn with_prefix(prefix: &[u8], len: usize) -> Vec<u8> {
    let mut bytes = prefix.to_vec();
    bytes.resize(len, 0);
    bytes
}

#[test]
fn the_error_says_what_the_file_is() {
    let arm = ElfSample {
        machine: 183,
        ..ElfSample::default()
    };
    let module = ElfSample {
        kind: 1,
        ..ElfSample::default()
    };
    let mut narrow = ElfSample {
        machine: 3,
        ..ElfSample::default()
    }
    .build();
    narrow[4] = 1;
    narrow[42..46].copy_from_slice(&[32, 0, 1, 0]);
    narrow[28..32].copy_from_slice(&64_u32.to_le_bytes());
    narrow[64..96].fill(0);
    narrow[64..68].copy_from_slice(&1_u32.to_le_bytes());
    narrow[84..88].copy_from_slice(&1_u32.to_le_bytes());
    let mut arm64_image = with_prefix(b"MZ", 4096);
    arm64_image[0x38..0x3c].copy_from_slice(b"ARM\x64");
    let mut old = bzimage(b"");
    old[0x206] = 0x09;
    let cases: [(&[u8], &str); 13] = [
        (&arm.build(), "is an ELF file for arm64"),
        (&module.build(), "relocatable object"),
        (&narrow, "32-bit x86 ELF"),
        (&arm64_image, "Linux kernel for arm64"),
        (&with_prefix(b"MZ", 4096), "EFI program"),
        (&with_prefix(b"\x1f\x8b\x08", 100), "is a gzip file"),
        (b"#!/bin/sh\nexec true\n", "is a script"),
        (b"just some notes\n", "is a text file"),
        (b"070701000", "is a cpio archive"),
        (b"", "is an empty file"),
        (&[0xde, 0xad, 0xbe, 0xef], "starts with de ad be ef"),
        (&old, "boot protocol 2.09"),
        (&with_prefix(b"QFI\xfb", 512), "qcow2"),
    ];
    for (bytes, expected) in cases {
        let found = message(bytes);
        assert!(found.contains(expected), "{found:?} lacks {expected:?}");
    }
}

#[test]
fn folders_pipes_and_missing_files_are_told_apart() {
    let files = Files::new();
    let error = Images::open(&spec(files.folder.path())).unwrap_err();
    assert!(error.to_string().contains("is a directory"), "{error}");

    let pipe = files.folder.path().join("pipe");
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let error = Images::open(&spec(&pipe)).unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");

    let error = Images::open(&spec(Path::new("/no/such/kernel"))).unwrap_err();
    assert!(matches!(error, BootError::Open { .. }));
    assert_eq!(error.hint().as_deref(), Some("check the path"));
}

#[test]
fn a_kernel_cut_anywhere_is_refused() {
    let elf = ElfSample::with_notes(&[PVH_NOTE]).build();
    for len in 0..elf.len() {
        assert!(open(&elf[..len]).is_err(), "cut at {len} of {}", elf.len());
    }
    let image = bzimage(&compress(&elf, Compression::Gzip));
    for len in 0..image.len() {
        assert!(
            open(&image[..len]).is_err(),
            "cut at {len} of {}",
            image.len()
        );
    }
}

#[test]
fn a_corrupt_payload_is_refused() {
    let elf = ElfSample::of_len(50_000).build();
    for compression in [
        Compression::Gzip,
        Compression::Xz,
        Compression::Zstd,
        Compression::Lz4,
    ] {
        let packed = compress(&elf, compression);
        let mut broken = packed.clone();
        let middle = broken.len() / 2;
        broken[middle..middle + 64].fill(0xa5);
        let damaged = open(&bzimage(&broken));
        // lz4's legacy frame has no checksum: what it yields may still be an ELF file.
        if compression != Compression::Lz4 {
            assert!(
                matches!(damaged, Err(BootError::Unpack { .. })),
                "{compression}"
            );
        }
        for claim in [elf.len() as u32 - 1, elf.len() as u32 + 1] {
            let mut lying = packed.clone();
            let at = lying.len() - 4;
            lying[at..].copy_from_slice(&claim.to_le_bytes());
            let refused = open(&bzimage(&lying));
            assert!(
                matches!(refused, Err(BootError::Unpack { .. })),
                "{compression}"
            );
        }
    }
    let huge = [&compress(&elf, Compression::Zstd)[..], &[0xff; 4]].concat();
    assert!(message(&bzimage(&huge)).contains("claims to unpack"));
    let text = compress(b"not a kernel, but long enough", Compression::Gzip);
    assert!(message(&bzimage(&text)).contains("not an ELF kernel"));
}

#[test]
fn a_kernel_beyond_ram_is_refused_with_the_size_it_needs() {
    let images = open(&ElfSample::default().build()).unwrap();
    assert!(images.check(&Layout::new(19 * MIB, 1).unwrap()).is_ok());
    let error = images.check(&Layout::new(8 * MIB, 1).unwrap()).unwrap_err();
    assert!(matches!(error, BootError::KernelPlace { .. }), "{error}");
    assert!(error.hint().unwrap().contains("needs 35 MiB"), "{error}");
}

#[test]
fn a_kernel_over_the_boot_structures_is_refused() {
    let sample = ElfSample {
        code_at: 0x7000,
        entry: 0x7000,
        ..ElfSample::default()
    };
    let images = open(&sample.build()).unwrap();
    let error = images
        .check(&Layout::new(64 * MIB, 1).unwrap())
        .unwrap_err();
    assert!(matches!(error, BootError::KernelPlace { .. }));
    assert!(error.hint().unwrap().contains("above 1 MiB"));
}

#[test]
fn a_kernel_in_the_32_bit_hole_is_refused() {
    let sample = ElfSample {
        code_at: 3072 * MIB,
        entry: 3072 * MIB,
        ..ElfSample::default()
    };
    let images = open(&sample.build()).unwrap();
    let error = images
        .check(&Layout::new(8192 * MIB, 1).unwrap())
        .unwrap_err();
    assert!(error.hint().unwrap().contains("below 3 GiB"));
}

#[test]
fn an_initrd_larger_than_ram_is_refused_with_both_sizes() {
    let files = Files::new();
    let kernel = files.kernel(&ElfSample::default().build());
    let layout = Layout::new(64 * MIB, 1).unwrap();
    for (len, advice) in [
        (100 * MIB, "give the machine more memory: 119 MiB"),
        (1 << 40, "make the initrd smaller"),
    ] {
        let initrd = files.folder.path().join("initrd");
        std::fs::File::create(&initrd)
            .unwrap()
            .set_len(len)
            .unwrap();
        let spec = BootSpec {
            initrd: Some(&initrd),
            ..spec(&kernel)
        };
        let images = Images::open(&spec).unwrap();
        let error = images.check(&layout).unwrap_err();
        let hint = error.hint().unwrap();
        assert!(hint.contains(advice), "{hint}");
        let BootError::InitrdPlace { size, room, .. } = error else {
            panic!("{error}");
        };
        assert_eq!((size, room), (len, 64 * MIB - 19 * MIB));
    }
}

#[test]
fn an_initrd_fills_the_last_page_that_is_left() {
    let files = Files::new();
    let kernel = files.kernel(&ElfSample::default().build());
    let layout = Layout::new(64 * MIB, 1).unwrap();
    for (len, fits) in [(45 * MIB, true), (45 * MIB + 1, false)] {
        let initrd = files.folder.path().join("initrd");
        std::fs::File::create(&initrd)
            .unwrap()
            .set_len(len)
            .unwrap();
        let spec = BootSpec {
            initrd: Some(&initrd),
            ..spec(&kernel)
        };
        let images = Images::open(&spec).unwrap();
        assert_eq!(images.check(&layout).is_ok(), fits);
    }
}

#[test]
fn command_lines_are_bounded_and_one_line() {
    let files = Files::new();
    let kernel = files.kernel(&ElfSample::default().build());
    let open = |cmdline: &str| {
        let spec = BootSpec {
            cmdline,
            ..spec(&kernel)
        };
        Images::open(&spec)
    };
    assert!(open(&"x".repeat(2047)).is_ok());
    let error = open(&"x".repeat(2048)).unwrap_err();
    assert!(matches!(
        error,
        BootError::CommandLineLength {
            len: 2048,
            max: 2047
        }
    ));
    for bad in ["a\nb", "a\0b"] {
        let error = open(bad).unwrap_err();
        assert!(matches!(
            error,
            BootError::CommandLineCharacter { position: 1, .. }
        ));
    }
}

#[test]
fn text_needs_more_than_printable_first_bytes() {
    assert_eq!(FileKind::of(b"abc\x00"), FileKind::Unknown(*b"abc\0"));
    assert_eq!(FileKind::of(b"ab"), FileKind::Text);
    assert_eq!(FileKind::of(&[1]), FileKind::Unknown([1, 0, 0, 0]));
}

fn samples() -> impl Strategy<Value = Vec<u8>> {
    let elf = ElfSample::with_notes(&[PVH_NOTE]).build();
    let mut all = vec![elf.clone()];
    for compression in [
        Compression::None,
        Compression::Gzip,
        Compression::Xz,
        Compression::Zstd,
        Compression::Lz4,
    ] {
        all.push(bzimage(&compress(&elf, compression)));
    }
    prop::sample::select(all)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn arbitrary_bytes_never_panic(
        prefix in prop::sample::select(vec![&b""[..], b"\x7fELF\x02\x01\x01", b"MZ", b"\x7fELF\x01"]),
        rest in prop::collection::vec(any::<u8>(), 0..5000),
    ) {
        let _ = open(&[prefix, &rest].concat());
    }

    #[test]
    fn damaged_kernels_never_panic(
        sample in samples(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = sample;
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(2 * bytes.len()) + 1);
        if let Ok(images) = open(&bytes) {
            let _ = images.check(&Layout::new(64 * MIB, 1).unwrap());
        }
    }
}

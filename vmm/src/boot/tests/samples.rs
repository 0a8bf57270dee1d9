//! Kernels made for tests.

use std::io::Write;
use std::path::{Path, PathBuf};

use devices::GuestRam;
use vm_memory::{Bytes, GuestAddress};

use crate::boot::unpack::Compression;
use crate::boot::{BootError, BootSpec, EntryState, Images};
use crate::layout::Layout;

pub(super) const MIB: u64 = 1 << 20;
pub(super) const RSDP: GuestAddress = GuestAddress(0xe_0000);
pub(super) const CODE: &[u8] = b"\xb0\x41\xba\xf8\x03\x00\x00\xee\xf4";
pub(super) const PVH_NOTE: (&str, u32) = ("Xen", 18);
pub(super) const LINUX_NOTE: (&str, u32) = ("Linux", 0x101);

/// An ELF kernel of two segments: code at 16 MiB and data behind it.
#[derive(Clone)]
pub(super) struct ElfSample {
    pub(super) machine: u16,
    pub(super) kind: u16,
    pub(super) entry: u64,
    pub(super) code: Vec<u8>,
    pub(super) code_at: u64,
    pub(super) notes: Vec<(&'static str, u32)>,
}

impl Default for ElfSample {
    fn default() -> Self {
        Self {
            machine: 62,
            kind: 2,
            entry: 16 * MIB,
            code: CODE.to_vec(),
            code_at: 16 * MIB,
            notes: vec![LINUX_NOTE],
        }
    }
}

impl ElfSample {
    pub(super) fn with_notes(notes: &[(&'static str, u32)]) -> Self {
        Self {
            notes: notes.to_vec(),
            ..Self::default()
        }
    }

    /// A kernel of `len` bytes of code that compress badly.
    pub(super) fn of_len(len: usize) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8 & 0x3f
        };
        let code = (0..len).map(|_| next()).collect();
        Self {
            code,
            ..Self::default()
        }
    }

    fn note_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (owner, kind) in &self.notes {
            let owner = [owner.as_bytes(), b"\0"].concat();
            let data = (self.entry as u32).to_le_bytes();
            for word in [owner.len() as u32, data.len() as u32, *kind] {
                out.extend(word.to_le_bytes());
            }
            out.extend(&owner);
            out.resize(out.len().next_multiple_of(4), 0);
            out.extend(data);
        }
        out
    }

    pub(super) fn build(&self) -> Vec<u8> {
        let notes = self.note_bytes();
        let notes_at = 64 + 3 * 56;
        let code_at = notes_at + notes.len();
        let data_at = code_at + self.code.len();
        let mut out = b"\x7fELF\x02\x01\x01".to_vec();
        out.resize(16, 0);
        out.extend(self.kind.to_le_bytes());
        out.extend(self.machine.to_le_bytes());
        out.extend(1_u32.to_le_bytes());
        for address in [self.entry, 64, 0] {
            out.extend(address.to_le_bytes());
        }
        out.extend(0_u32.to_le_bytes());
        for half in [64_u16, 56, 3, 0, 0, 0] {
            out.extend(half.to_le_bytes());
        }
        let (code, next) = (self.code.len() as u64, self.code_at + 2 * MIB);
        let headers = [
            (4_u32, notes_at as u64, 0, notes.len() as u64, 0),
            (1, code_at as u64, self.code_at, code, code + 100),
            (1, data_at as u64, next, 4, MIB),
        ];
        for (kind, offset, address, file_len, memory_len) in headers {
            out.extend(kind.to_le_bytes());
            out.extend(7_u32.to_le_bytes());
            for field in [offset, address, address, file_len, memory_len, 4] {
                out.extend(field.to_le_bytes());
            }
        }
        out.extend(notes);
        out.extend(&self.code);
        out.extend(b"data");
        out
    }
}

/// Compresses as the kernel's build does, with the size behind it.
pub(super) fn compress(kernel: &[u8], compression: Compression) -> Vec<u8> {
    let mut out = match compression {
        Compression::None => return kernel.to_vec(),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            encoder.write_all(kernel).unwrap();
            return encoder.finish().unwrap();
        }
        Compression::Xz => {
            let mut options = lzma_rust2::XzOptions::with_preset(1);
            options.prepend_pre_filter(lzma_rust2::FilterType::BcjX86, 0);
            let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
            encoder.write_all(kernel).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Zstd => {
            let level = ruzstd::encoding::CompressionLevel::Fastest;
            ruzstd::encoding::compress_to_vec(kernel, level)
        }
        Compression::Lz4 => {
            let mut out = b"\x02\x21\x4c\x18".to_vec();
            for block in kernel.chunks(8 << 20) {
                let packed = lz4_flex::block::compress(block);
                out.extend((packed.len() as u32).to_le_bytes());
                out.extend(packed);
            }
            out
        }
    };
    out.extend((kernel.len() as u32).to_le_bytes());
    out
}

/// A folder with files for a test.
pub(super) struct Files {
    pub(super) folder: tempfile::TempDir,
}

impl Files {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub(super) fn kernel(&self, bytes: &[u8]) -> PathBuf {
        self.write("kernel", bytes)
    }

    pub(super) fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }
}

pub(super) fn spec(kernel: &Path) -> BootSpec<'_> {
    BootSpec {
        kernel,
        initrd: None,
        cmdline: "console=ttyS0",
        cache: None,
    }
}

/// Opens bytes as a kernel.
pub(super) fn open(bytes: &[u8]) -> Result<Images, BootError> {
    let files = Files::new();
    Images::open(&spec(&files.kernel(bytes)))
}

/// A machine of 64 MiB after loading.
pub(super) struct Loaded {
    pub(super) mem: GuestRam,
    pub(super) layout: Layout,
    pub(super) state: EntryState,
}

impl Loaded {
    pub(super) fn new(spec: &BootSpec<'_>) -> Self {
        let layout = Layout::new(64 * MIB, 1).unwrap();
        let mem = GuestRam::from_ranges(&[(GuestAddress(0), 64 << 20)]).unwrap();
        let state = crate::boot::load(&mem, &layout, spec, RSDP).unwrap();
        Self { mem, layout, state }
    }

    pub(super) fn bytes(&self, at: u64, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        self.mem.read_slice(&mut out, GuestAddress(at)).unwrap();
        out
    }

    pub(super) fn u64(&self, at: u64) -> u64 {
        self.mem.read_obj(GuestAddress(at)).unwrap()
    }

    pub(super) fn u32(&self, at: u64) -> u32 {
        self.mem.read_obj(GuestAddress(at)).unwrap()
    }

    /// Asserts that the sample's segments are in place.
    pub(super) fn assert_kernel(&self, sample: &ElfSample) {
        let code = self.bytes(sample.code_at, sample.code.len());
        assert!(code == sample.code, "the code differs");
        assert_eq!(self.bytes(sample.code_at + 2 * MIB, 5), b"data\0");
    }
}

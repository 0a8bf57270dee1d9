//! The kernel: recognised, unpacked if need be, and put into guest RAM.

use std::fs::File;
use std::io;
use std::path::Path;

use devices::GuestRam;
use linux_loader::loader::bootparam::setup_header;
use rustix::fs::{MemfdFlags, memfd_create};

use super::bzimage::{BzImage, Payload};
use super::cache::{Cache, Key};
use super::elf::{Elf, Segment};
use super::error::{BootError, Role};
use super::file_kind::FileKind;
use super::source::Source;
use super::sparse::SparseWriter;
use super::unpack::UnpackError;
use crate::layout::{Layout, Range, boot};

/// The command line's limit where the kernel does not tell: that of Linux on x86, less its final
/// zero byte.
const CMDLINE_MAX: usize = 2047;
/// The highest address for an initrd where the kernel does not tell (as in every bzImage's header
/// since Linux 4.x).
const INITRD_ADDR_MAX: u64 = 0x7fff_ffff;

/// Where and how the boot vCPU begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// The 64-bit Linux boot protocol.
    Linux64(u64),
    /// The PVH boot protocol.
    Pvh(u64),
}

/// A kernel that can be loaded.
#[derive(Debug)]
pub(super) struct Kernel {
    source: Source,
    segments: Vec<Segment>,
    /// What the kernel occupies once it runs, from the first byte of its first segment.
    end: u64,
    entry: Entry,
    header: Option<setup_header>,
}

impl Kernel {
    /// Opens the kernel at `path`; a bzImage's compressed kernel is looked up in `cache` or
    /// unpacked.
    pub(super) fn open(path: &Path, cache: Option<&Path>) -> Result<Self, BootError> {
        let source = Source::open(Role::Kernel, path)?;
        if Elf::recognises(source.head()) {
            return Self::from_elf(source, None);
        }
        if !BzImage::recognises(source.head()) {
            return Err(unrecognised(&source));
        }
        let image = BzImage::parse(&source)?;
        match image.payload(&source)? {
            Some(payload) => {
                let file = unpacked(&source, &payload, cache)?;
                let elf = Source::from_file(Role::Kernel, path, file)?;
                if !Elf::recognises(elf.head()) {
                    return Err(elf.damaged("what it unpacks to is not an ELF kernel"));
                }
                Self::from_elf(elf, Some(image.header))
            }
            None => Self::native(source, &image),
        }
    }

    /// An ELF kernel. Linux is entered in 64-bit mode, which spares it the way through 32-bit
    /// mode; anything else with a PVH note is entered as the note says.
    fn from_elf(source: Source, header: Option<setup_header>) -> Result<Self, BootError> {
        let elf = Elf::parse(&source)?;
        let linux = elf.linux || header.is_some();
        let entry = match (elf.entry, elf.pvh_entry) {
            (Some(entry), None) => Entry::Linux64(entry),
            (Some(entry), Some(_)) if linux => Entry::Linux64(entry),
            (_, Some(entry)) => Entry::Pvh(entry),
            (None, None) => return Err(source.damaged("it has no entry point")),
        };
        Ok(Self {
            end: elf.end(),
            segments: elf.segments,
            source,
            entry,
            header,
        })
    }

    /// A bzImage that only its own code can unpack.
    fn native(source: Source, image: &BzImage) -> Result<Self, BootError> {
        let Some(entry) = image.native_entry() else {
            return Err(source.damaged("it has neither a known payload nor a 64-bit entry point"));
        };
        let memory = image.native_range();
        let segment = Segment {
            file: image.code,
            memory,
        };
        Ok(Self {
            source,
            segments: vec![segment],
            end: memory.end(),
            entry: Entry::Linux64(entry),
            header: Some(image.header),
        })
    }

    /// The file that it is loaded from, which is an ELF file unless only its own code can unpack it.
    pub(super) fn into_file(self) -> Result<File, BootError> {
        if Elf::recognises(self.source.head()) {
            return self.source.into_file();
        }
        Err(self.source.damaged("only its own code can unpack it"))
    }

    pub(super) fn entry(&self) -> Entry {
        self.entry
    }

    /// The setup header of a bzImage.
    pub(super) fn header(&self) -> Option<setup_header> {
        self.header
    }

    /// The first address behind what the kernel occupies.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The longest command line that the kernel takes, in bytes without the final zero.
    pub(super) fn cmdline_max(&self) -> usize {
        let told = self.header.map_or(0, |header| header.cmdline_size);
        match usize::try_from(told) {
            Ok(0) | Err(_) => CMDLINE_MAX,
            Ok(told) => told,
        }
    }

    /// The highest address of an initrd's last byte.
    pub(super) fn initrd_addr_max(&self) -> u64 {
        let told = self.header.map_or(0, |header| header.initrd_addr_max);
        if told == 0 {
            INITRD_ADDR_MAX
        } else {
            told.into()
        }
    }

    /// Checks that every segment lies in RAM that is free for it.
    pub(super) fn check(&self, layout: &Layout) -> Result<(), BootError> {
        for Segment { memory, .. } in &self.segments {
            if !layout.is_loadable(memory) {
                // Beyond 1 MiB the whole kernel is named, for what it needs in all.
                let high = memory.start >= boot::HIGH_MEMORY;
                let end = if high { self.end } else { memory.end() };
                return Err(BootError::KernelPlace {
                    path: self.source.path().to_owned(),
                    range: Range::between(memory.start, end),
                    memory: layout.memory(),
                });
            }
        }
        Ok(())
    }

    /// Reads the segments into guest RAM, whose other bytes are zero as they were mapped.
    pub(super) fn load(&self, mem: &GuestRam) -> Result<(), BootError> {
        for Segment { file, memory } in &self.segments {
            self.source.load_sparse(mem, *file, memory.start)?;
        }
        Ok(())
    }
}

/// The error for a file that is neither ELF nor bzImage. Some formats are told by bytes further in.
fn unrecognised(source: &Source) -> BootError {
    const FAR: usize = 0x8010;
    let len = usize::try_from(source.len()).map_or(FAR, |len| len.min(FAR));
    match source.bytes(0, len) {
        Ok(head) => source.wrong(FileKind::of(&head.unwrap_or_default())),
        Err(error) => error,
    }
}

/// The ELF file inside a bzImage, from the cache or unpacked now.
fn unpacked(source: &Source, payload: &Payload, cache: Option<&Path>) -> Result<File, BootError> {
    let failed = |error| BootError::Unpack {
        path: source.path().to_owned(),
        compression: payload.compression,
        source: error,
    };
    let unpack = |output: &mut dyn io::Write| {
        let input = source.reader(payload.range);
        let mut output = output;
        payload
            .compression
            .unpack(input, payload.unpacked, &mut output)
    };
    if let Some(folder) = cache {
        let cache = Cache::new(folder);
        if let Some(entry) = cache.find_by_identity(source.file()) {
            return Ok(entry);
        }
        let key = Key::of(source.reader(payload.range)).map_err(|e| source.read_error(e))?;
        if let Some(entry) = cache.find_by_content(&key, source.file()) {
            return Ok(entry);
        }
        match cache.store(&key, source.file(), unpack) {
            Ok(entry) => return Ok(entry),
            Err(Some(UnpackError::Input(error))) => return Err(failed(error)),
            Err(Some(UnpackError::Output(error))) => {
                log::warn!("cannot cache an unpacked kernel: {error}");
            }
            Err(None) => {}
        }
    }
    let memory = memfd_create("kernel", MemfdFlags::CLOEXEC).map_err(|e| failed(e.into()))?;
    let mut file = SparseWriter::new(File::from(memory));
    match unpack(&mut file) {
        Ok(()) => file.finish().map_err(failed),
        Err(UnpackError::Input(error) | UnpackError::Output(error)) => Err(failed(error)),
    }
}

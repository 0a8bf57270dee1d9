//! The Linux bzImage: its setup header and the compressed kernel inside it
//! (`Linux Documentation/arch/x86/boot.rst, v6.12, "The Real-Mode Kernel Header"`).

use linux_loader::loader::bootparam::setup_header;
use vm_memory::ByteValued;

use super::error::BootError;
use super::fields::{u16_at, u32_at};
use super::file_kind::FileKind;
use super::source::Source;
use super::unpack::Compression;
use crate::layout::Range;

/// Offset of `setup_header` in a bzImage and in the zero page.
const HEADER: usize = 0x1f1;
const BOOT_FLAG: usize = 0x1fe;
/// The jump instruction's displacement: the header ends that far behind the next byte.
const JUMP: usize = 0x201;
const MAGIC: usize = 0x202;
const VERSION: usize = 0x206;
/// The oldest version that has `xloadflags` (Linux 3.8).
const OLDEST: u16 = 0x020c;
/// `xloadflags`: the kernel has a 64-bit entry point at 0x200.
const XLF_KERNEL_64: u16 = 1;
/// Where the 64-bit entry point is, from the start of the protected-mode code.
const ENTRY_64: u64 = 0x200;
/// The largest kernel that is unpacked.
const MAX_UNPACKED: u32 = 1 << 30;

/// A bzImage.
#[derive(Debug, Clone)]
pub(super) struct BzImage {
    pub(super) header: setup_header,
    /// The protected-mode code in the file.
    pub(super) code: Range,
    /// The payload in the file, if the header tells.
    payload: Option<Range>,
}

/// The compressed kernel of a bzImage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Payload {
    pub(super) compression: Compression,
    /// The compressed bytes in the file.
    pub(super) range: Range,
    /// The size of the kernel in it.
    pub(super) unpacked: u64,
}

impl BzImage {
    /// Whether the bytes begin like a bzImage.
    pub(super) fn recognises(head: &[u8]) -> bool {
        u16_at(head, BOOT_FLAG) == Some(0xaa55) && head.get(MAGIC..MAGIC + 4) == Some(b"HdrS")
    }

    /// Reads the setup header.
    pub(super) fn parse(source: &Source) -> Result<Self, BootError> {
        let head = source.head();
        let cut = || source.damaged("its setup header is truncated");
        let version = u16_at(head, VERSION).ok_or_else(cut)?;
        if version < OLDEST {
            return Err(source.wrong(FileKind::OldKernel(version)));
        }
        let mut header = setup_header::default();
        let end = MAGIC + usize::from(*head.get(JUMP).ok_or_else(cut)?);
        let known = head.get(HEADER..end).ok_or_else(cut)?;
        let len = known.len().min(size_of::<setup_header>());
        let target = header.as_mut_slice();
        for (to, from) in target.iter_mut().zip(known.iter().take(len)) {
            *to = *from;
        }
        let sectors = match header.setup_sects {
            0 => 4,
            n => u64::from(n),
        };
        let start = (sectors + 1) * 512;
        let code = Range::new(start, u64::from(header.syssize) * 16);
        if code.end() > source.len() {
            return Err(source.damaged(format!(
                "it is truncated: its header promises {} bytes, it has {}",
                code.end(),
                source.len()
            )));
        }
        let payload = Range::new(
            start + u64::from(header.payload_offset),
            header.payload_length.into(),
        );
        let payload = (header.payload_length > 4 && header.payload_offset > 0).then_some(payload);
        if payload.is_some_and(|payload| payload.end() > source.len()) {
            return Err(source.damaged("it is truncated: its payload is beyond its end"));
        }
        Ok(Self {
            header,
            code,
            payload,
        })
    }

    /// The compressed kernel; `None` if the VMM does not know how it is compressed.
    pub(super) fn payload(&self, source: &Source) -> Result<Option<Payload>, BootError> {
        let Some(mut range) = self.payload else {
            return Ok(None);
        };
        let Some(magic) = source.bytes(range.start, 6.min(range.len as usize))? else {
            return Ok(None);
        };
        let Some(compression) = Compression::of(&magic) else {
            return Ok(None);
        };
        // Whatever the compression, the last four bytes are the unpacked size; gzip's own
        // trailer ends with it, to the others it is appended.
        let Some(size) = source.bytes(range.end() - 4, 4)? else {
            return Ok(None);
        };
        let size = u32_at(&size, 0).unwrap_or(0);
        if compression == Compression::None {
            let unpacked = range.len;
            return Ok(Some(Payload {
                compression,
                range,
                unpacked,
            }));
        }
        if compression != Compression::Gzip {
            range.len -= 4;
        }
        if size == 0 || size > MAX_UNPACKED {
            let what = format!("its payload claims to unpack to {size} bytes");
            return Err(source.damaged(what));
        }
        Ok(Some(Payload {
            compression,
            range,
            unpacked: size.into(),
        }))
    }

    /// Where the protected-mode code runs and unpacks itself, for the case that the VMM does not.
    pub(super) fn native_range(&self) -> Range {
        let start = self.header.pref_address;
        Range::new(start, u64::from(self.header.init_size).max(self.code.len))
    }

    /// The address of the 64-bit entry point of the protected-mode code, if it has one.
    pub(super) fn native_entry(&self) -> Option<u64> {
        let has = self.header.xloadflags & XLF_KERNEL_64 != 0 && self.code.len > ENTRY_64;
        has.then(|| self.header.pref_address.saturating_add(ENTRY_64))
    }
}

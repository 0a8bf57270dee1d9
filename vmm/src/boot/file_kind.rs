//! What a file is that was taken for a kernel: named in the error, so that the user sees the mix-up.

use std::fmt;

use super::fields::{u16_at, u32_at};

/// What was found in place of a kernel or an initrd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileKind {
    /// A folder.
    Directory,
    /// A pipe, socket or device.
    Special,
    /// A file of no bytes.
    Empty,
    /// An ELF file for another processor.
    ForeignElf(&'static str),
    /// A 32-bit x86 ELF file without a PVH entry.
    Elf32,
    /// An ELF file that is not an executable at fixed addresses.
    ElfType(&'static str),
    /// A Linux kernel for another processor.
    ForeignKernel(&'static str),
    /// An EFI program without the Linux boot protocol.
    EfiOnly,
    /// A bzImage older than boot protocol 2.12.
    OldKernel(u16),
    /// A known format that is no kernel.
    Format(&'static str),
    /// Lines of text.
    Text,
    /// None of the above: its first bytes.
    Unknown([u8; 4]),
}

/// (offset, bytes, name) of formats that are recognised by their first bytes.
const FORMATS: [(usize, &[u8], &str); 17] = [
    (0, b"\x1f\x8b", "a gzip file"),
    (0, b"\xfd7zXZ\0", "an xz file"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd file"),
    (0, b"\x02\x21\x4c\x18", "an lz4 file"),
    (0, b"\x04\x22\x4d\x18", "an lz4 file"),
    (0, b"BZh", "a bzip2 file"),
    (0, b"07070", "a cpio archive (an initrd?)"),
    (0, b"#!", "a script"),
    (0, b"!<arch>\n", "an ar archive (a Debian package?)"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"QFI\xfb", "a qcow2 disk image"),
    (0, b"hsqs", "a squashfs image"),
    (0, b"\x27\x05\x19\x56", "a U-Boot image"),
    (0x101, b"ustar", "a tar archive"),
    (0x8001, b"CD001", "an ISO 9660 image"),
    (0x438, b"\x53\xef", "an ext4 image"),
    (0x400, b"\xe2\xe1\xf5\xe0", "an erofs image"),
];

impl FileKind {
    /// Names a file that is neither a bzImage nor an ELF file by its first bytes.
    #[must_use]
    pub fn of(head: &[u8]) -> Self {
        if head.is_empty() {
            return Self::Empty;
        }
        if head.get(0x38..0x3c) == Some(b"ARM\x64") {
            return Self::ForeignKernel("arm64");
        }
        if head.get(0x38..0x3c) == Some(b"RSC\x05") {
            return Self::ForeignKernel("riscv64");
        }
        if u32_at(head, 0x24) == Some(0x016f_2818) {
            return Self::ForeignKernel("arm");
        }
        if head.starts_with(b"MZ") {
            return Self::EfiOnly;
        }
        let known = FORMATS.iter().find(|(at, magic, _)| {
            let end = at + magic.len();
            head.get(*at..end) == Some(*magic)
        });
        if let Some((_, _, name)) = known {
            return Self::Format(name);
        }
        let text = |b: &u8| b.is_ascii_graphic() || b.is_ascii_whitespace();
        if head.iter().take(512).all(text) {
            return Self::Text;
        }
        let mut first = [0; 4];
        for (to, from) in first.iter_mut().zip(head) {
            *to = *from;
        }
        Self::Unknown(first)
    }

    /// Names an ELF file that is not for x86 by its header; `None` if it is.
    pub(super) fn foreign_elf(head: &[u8]) -> Option<Self> {
        const DATA_LITTLE_ENDIAN: u8 = 1;
        let machine = if head.get(5) == Some(&DATA_LITTLE_ENDIAN) {
            u16_at(head, 18)?
        } else {
            u16_at(head, 18)?.swap_bytes()
        };
        let name = match machine {
            3 | 62 => return None,
            2 | 43 => "sparc",
            8 => "mips",
            20 => "powerpc",
            21 => "powerpc64",
            22 => "s390x",
            40 => "arm",
            183 => "arm64",
            243 => "riscv",
            247 => "bpf",
            258 => "loongarch",
            _ => "an unknown processor",
        };
        Some(Self::ForeignElf(name))
    }

    /// What to give in its place.
    pub(super) fn kernel_hint(&self) -> &'static str {
        match self {
            Self::Directory => "name the kernel inside the folder, for example its vmlinuz",
            Self::Format("a gzip file" | "an xz file" | "a zstd file" | "an lz4 file") => {
                "unpack it first, or give the kernel's bzImage"
            }
            Self::EfiOnly => "give the kernel inside it: a unified image starts by firmware only",
            Self::ForeignElf(_) | Self::ForeignKernel(_) | Self::Elf32 => {
                "give a kernel built for x86-64"
            }
            Self::OldKernel(_) => "give Linux 3.8 or later",
            _ => "give a Linux bzImage or an ELF vmlinux for x86-64",
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory => f.write_str("a directory"),
            Self::Special => f.write_str("not a regular file"),
            Self::Empty => f.write_str("an empty file"),
            Self::ForeignElf(machine) => write!(f, "an ELF file for {machine}"),
            Self::Elf32 => f.write_str("a 32-bit x86 ELF file without a PVH entry"),
            Self::ElfType(kind) => write!(f, "an ELF {kind}"),
            Self::ForeignKernel(machine) => write!(f, "a Linux kernel for {machine}"),
            Self::EfiOnly => f.write_str("an EFI program without the Linux boot protocol"),
            Self::OldKernel(version) => write!(
                f,
                "a Linux kernel of boot protocol {}.{:02}",
                version >> 8,
                version & 0xff
            ),
            Self::Format(name) => f.write_str(name),
            Self::Text => f.write_str("a text file"),
            Self::Unknown([a, b, c, d]) => {
                write!(
                    f,
                    "of an unknown format (it starts with {a:02x} {b:02x} {c:02x} {d:02x})"
                )
            }
        }
    }
}

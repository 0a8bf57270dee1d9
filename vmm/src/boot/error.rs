//! Why a guest cannot be started from the files it was given.

use std::fmt;
use std::io;
use std::path::PathBuf;

use vm_memory::GuestMemoryError;

use super::file_kind::FileKind;
use super::unpack::Compression;
use crate::layout::{Range, boot, mmio};

/// What a file is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The guest's kernel.
    Kernel,
    /// The kernel's initial RAM disk.
    Initrd,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernel => "kernel",
            Self::Initrd => "initrd",
        })
    }
}

/// Why the guest cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The file cannot be opened.
    #[error("cannot open {role} {}", path.display())]
    Open {
        /// What the file is for.
        role: Role,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("cannot read {role} {}", path.display())]
    Read {
        /// What the file is for.
        role: Role,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is something else.
    #[error("{role} {} is {found}", path.display())]
    WrongFile {
        /// What the file is for.
        role: Role,
        /// The file.
        path: PathBuf,
        /// What it is instead.
        found: FileKind,
    },
    /// The file begins as it should but is incomplete or contradicts itself.
    #[error("kernel {} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The compressed kernel inside a bzImage does not unpack.
    #[error("cannot unpack the {compression} payload of kernel {}", path.display())]
    Unpack {
        /// The file.
        path: PathBuf,
        /// How the payload is compressed.
        compression: Compression,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel wants addresses that are not free RAM.
    #[error(
        "kernel {} needs {range}, which is not free ram of a machine with {memory} bytes",
        path.display()
    )]
    KernelPlace {
        /// The file.
        path: PathBuf,
        /// Where the kernel wants to be.
        range: Range,
        /// The machine's RAM.
        memory: u64,
    },
    /// The initrd is larger than the RAM that is left for it.
    #[error(
        "initrd {} of {size} bytes exceeds the {room} bytes that the kernel leaves of {memory}",
        path.display()
    )]
    InitrdPlace {
        /// The file.
        path: PathBuf,
        /// Its size.
        size: u64,
        /// The RAM left for it.
        room: u64,
        /// The machine's RAM.
        memory: u64,
        /// The RAM that would be left for it in the largest machine.
        most: u64,
    },
    /// The command line is too long.
    #[error("command line of {len} bytes exceeds the kernel's limit of {max}")]
    CommandLineLength {
        /// Its length.
        len: usize,
        /// What the kernel takes.
        max: usize,
    },
    /// The command line has a character that would end it early.
    #[error("command line has a forbidden character {character:?} at byte {position}")]
    CommandLineCharacter {
        /// The character.
        character: char,
        /// Where it is.
        position: usize,
    },
    /// Guest RAM does not have the address.
    #[error("cannot write {what} to guest ram at {address:#x}")]
    GuestMemory {
        /// What was to be written.
        what: &'static str,
        /// Where.
        address: u64,
        /// Why.
        #[source]
        source: GuestMemoryError,
    },
}

const MIB: u64 = 1 << 20;

fn kernel_place_hint(range: &Range, memory: u64) -> String {
    if range.start < boot::HIGH_MEMORY {
        "link the kernel at or above 1 MiB".to_owned()
    } else if range.end() > mmio::HOLE.start {
        "link the kernel below 3 GiB".to_owned()
    } else {
        let least = range.end().max(memory).div_ceil(MIB) + 16;
        format!("give the machine more memory: this kernel alone needs {least} MiB")
    }
}

impl BootError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Open { source, .. } | Self::Read { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => "check the path".to_owned(),
                io::ErrorKind::PermissionDenied => {
                    "make the file readable for the user who runs the VM".to_owned()
                }
                _ => return None,
            },
            Self::WrongFile {
                role: Role::Kernel,
                found,
                ..
            } => found.kernel_hint().to_owned(),
            Self::WrongFile {
                role: Role::Initrd, ..
            } => "give a cpio archive, compressed or not".to_owned(),
            Self::Damaged { .. } => "copy or download the kernel again".to_owned(),
            Self::Unpack { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free some space in the cache folder".to_owned()
            }
            Self::Unpack { .. } => "copy or download the kernel again".to_owned(),
            Self::KernelPlace { range, memory, .. } => kernel_place_hint(range, *memory),
            Self::InitrdPlace { size, most, .. } if size > most => {
                format!("make the initrd smaller: this kernel takes {most} bytes at most")
            }
            Self::InitrdPlace {
                size, room, memory, ..
            } => {
                let missing = size.saturating_sub(*room);
                let least = memory.saturating_add(missing).div_ceil(MIB);
                format!("give the machine more memory: {least} MiB at the very least")
            }
            Self::CommandLineLength { len, max } => {
                format!("shorten it by {} bytes", len.saturating_sub(*max))
            }
            Self::CommandLineCharacter { .. } => "write the command line as one line".to_owned(),
            Self::GuestMemory { .. } => return None,
        };
        Some(hint)
    }
}

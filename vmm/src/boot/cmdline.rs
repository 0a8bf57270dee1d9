//! The kernel's command line.

use devices::GuestRam;
use vm_memory::{Bytes, GuestAddress};

use super::error::BootError;
use crate::layout::boot::CMDLINE;

/// Checks a command line against the kernel's limit.
pub(super) fn check(cmdline: &str, max: usize) -> Result<(), BootError> {
    let forbidden = cmdline
        .char_indices()
        .find(|(_, c)| matches!(c, '\0' | '\n'));
    if let Some((position, character)) = forbidden {
        return Err(BootError::CommandLineCharacter {
            character,
            position,
        });
    }
    let max = usize::try_from(CMDLINE.len - 1).map_or(max, |room| room.min(max));
    if cmdline.len() > max {
        let len = cmdline.len();
        return Err(BootError::CommandLineLength { len, max });
    }
    Ok(())
}

/// Writes a checked command line to its place; the zero byte behind it is there already.
pub(super) fn write(mem: &GuestRam, cmdline: &str) -> Result<(), BootError> {
    let at = GuestAddress(CMDLINE.start);
    mem.write_slice(cmdline.as_bytes(), at)
        .map_err(|source| BootError::GuestMemory {
            what: "the command line",
            address: CMDLINE.start,
            source,
        })
}

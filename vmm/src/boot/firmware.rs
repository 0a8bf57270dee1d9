//! What stands in for a PC's firmware: the entry that a guest jumps to in order to restart.
//!
//! Linux on a hardware-reduced machine restarts by the EFI runtime and, without one, by a jump to
//! this entry in real mode, before it thinks of the ACPI reset register. Were there nothing, it
//! would execute zeros for ever.

use devices::GuestRam;
use devices::legacy::acpi_pm::RESET_VALUE;
use vm_memory::{Bytes, GuestAddress};

use super::error::BootError;
use crate::layout::boot::RESTART_ENTRY;
use crate::layout::pio;

/// Real-mode code: `cli; mov al, RESET_VALUE; mov dx, ACPI_RESET; out dx, al; hlt; jmp` to `hlt`.
const RESTART: [u8; 10] = {
    let [low, high] = (pio::ACPI_RESET as u16).to_le_bytes();
    [
        0xfa,
        0xb0,
        RESET_VALUE,
        0xba,
        low,
        high,
        0xee,
        0xf4,
        0xeb,
        0xfd,
    ]
};

/// Writes the entry to its place.
pub(super) fn write(mem: &GuestRam) -> Result<(), BootError> {
    mem.write_slice(&RESTART, GuestAddress(RESTART_ENTRY.start))
        .map_err(|source| BootError::GuestMemory {
            what: "the restart entry",
            address: RESTART_ENTRY.start,
            source,
        })
}

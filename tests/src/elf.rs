//! ELF kernels with a PVH entry, of a few instructions.

/// Where a tiny guest's code lies and starts.
pub const ENTRY: u32 = 0x10_0000;

/// ELF header and program header sizes (ELF-64 Object File Format, "ELF Header").
const HEADER: u32 = 64;
const PROGRAM_HEADER: u32 = 56;
const NOTE: [u32; 3] = [4, 4, XEN_ELFNOTE_PHYS32_ENTRY];
/// The note that names the 32-bit entry (Xen `public/elfnote.h`).
const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;

/// An executable for machine `machine` (62: x86-64) whose only segment is `code` at [`ENTRY`], entered there in 32-bit
/// protected mode.
#[must_use]
pub fn executable(code: &[u8], machine: u16) -> Vec<u8> {
    let code_length = u32::try_from(code.len()).unwrap_or(u32::MAX);
    let mut note: Vec<u8> = NOTE.iter().flat_map(|word| word.to_le_bytes()).collect();
    note.extend_from_slice(b"Xen\0");
    note.extend_from_slice(&ENTRY.to_le_bytes());
    let note_length = u32::try_from(note.len()).unwrap_or(u32::MAX);
    let note_at = HEADER + 2 * PROGRAM_HEADER;
    let code_at = note_at + note_length;

    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    elf.extend_from_slice(&2_u16.to_le_bytes()); // ET_EXEC
    elf.extend_from_slice(&machine.to_le_bytes());
    elf.extend_from_slice(&1_u32.to_le_bytes());
    for word in [u64::from(ENTRY), u64::from(HEADER), 0] {
        elf.extend_from_slice(&word.to_le_bytes()); // entry, program headers, section headers
    }
    elf.extend_from_slice(&0_u32.to_le_bytes());
    for half in [HEADER, PROGRAM_HEADER, 2, 64, 0, 0] {
        elf.extend_from_slice(&half.to_le_bytes()[..2]);
    }
    for (kind, at, address, length) in [
        (1, code_at, ENTRY, code_length),
        (4, note_at, 0, note_length),
    ] {
        elf.extend_from_slice(&u32::to_le_bytes(kind)); // PT_LOAD, PT_NOTE
        elf.extend_from_slice(&5_u32.to_le_bytes());
        for word in [at, address, address, length, length, 4] {
            elf.extend_from_slice(&u64::from(word).to_le_bytes());
        }
    }
    elf.extend_from_slice(&note);
    elf.extend_from_slice(code);
    elf
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_lies_where_its_header_says() {
        let elf = executable(b"\xf4\xeb\xfd", 62);
        let word = |at: usize| u64::from_le_bytes(elf[at..at + 8].try_into().unwrap());
        let code_at = usize::try_from(word(64 + 8)).unwrap();
        assert_eq!(&elf[code_at..], b"\xf4\xeb\xfd");
        assert_eq!(word(64 + 16), u64::from(ENTRY));
        assert_eq!(word(64 + 32), 3);
    }
}

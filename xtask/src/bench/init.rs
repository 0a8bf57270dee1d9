//! The smallest user space: an init that powers the machine off at once.

use anyhow::Result;
use cpio::newc;
use std::io::Write;

/// Where the program lies in its process.
const ADDRESS: u64 = 0x40_0000;
/// The sizes of the ELF header and of one program header.
const HEADERS: u64 = 64 + 56;

/// reboot(2) with its two magic numbers and `LINUX_REBOOT_CMD_POWER_OFF`; should it return, an endless loop.
const CODE: [u8; 29] = [
    0xb8, 0xa9, 0x00, 0x00, 0x00, // mov eax, 169
    0xbf, 0xad, 0xde, 0xe1, 0xfe, // mov edi, 0xfee1dead
    0xbe, 0x69, 0x19, 0x12, 0x28, // mov esi, 0x28121969
    0xba, 0xdc, 0xfe, 0x21, 0x43, // mov edx, 0x4321fedc
    0x0f, 0x05, // syscall
    0xb8, 0x22, 0x00, 0x00, 0x00, // mov eax, 34 (pause)
    0xeb, 0xf7, // jmp to syscall
];

/// An initramfs with this init alone.
pub(super) fn initramfs() -> Result<Vec<u8>> {
    let program = program();
    let mut archive = Vec::new();
    let length = u32::try_from(program.len())?;
    let entry = newc::Builder::new("init").ino(1).nlink(1).mode(0o100_755);
    let mut writer = entry.write(&mut archive, length);
    writer.write_all(&program)?;
    writer.finish()?;
    newc::trailer(&mut archive)?;
    Ok(archive)
}

/// A static 64-bit ELF executable.
fn program() -> Vec<u8> {
    let size = HEADERS + u64::try_from(CODE.len()).unwrap_or(0);
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]); // ET_EXEC, x86-64, version
    for word in [ADDRESS + HEADERS, 64, 0] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]); // PT_LOAD, read and execute
    for word in [0, ADDRESS, ADDRESS, size, size, 4096] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(CODE);
    elf
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;
    use std::time::Duration;
    use std::{fs, thread};

    use super::*;

    #[test]
    fn the_program_runs_and_waits_where_it_may_not_power_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("init");
        let mut bytes = program();
        // An unknown reboot command is an error for everybody, root included.
        let at = bytes.len() - CODE.len() + 16;
        assert_eq!(bytes[at..at + 4], 0x4321_fedc_u32.to_le_bytes());
        bytes[at] = 0;
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let mut child = Command::new(&path).spawn().unwrap();
        thread::sleep(Duration::from_millis(100));
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }
}

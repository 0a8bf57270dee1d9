//! The ELF kernel inside a bzImage: QEMU starts it without the decompression that TCG would run slowly.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;

/// Offsets in the setup header (Linux Documentation/arch/x86/boot.rst, v6.12, "The Real-Mode Kernel Header").
const SETUP_SECTS: usize = 0x1f1;
const MAGIC: usize = 0x202;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;

/// Unpacks the payload of a bzImage by the tool that its format needs.
pub(crate) fn unpack(image: &[u8]) -> Result<Vec<u8>> {
    let payload = payload(image)?;
    let (program, arguments): (_, &[&str]) = match payload {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ("zstd", &["-dcq"]),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => ("xz", &["-dc"]),
        [0x1f, 0x8b, ..] => ("gzip", &["-dc"]),
        [0x02, 0x21, 0x4c, 0x18, ..] => ("lz4", &["-dcq"]),
        _ => bail!("the kernel's payload has an unknown format"),
    };
    let kernel = command::filter(Command::new(program).args(arguments), payload)?;
    if !kernel.starts_with(b"\x7fELF") {
        bail!("the kernel's payload is no ELF file");
    }
    Ok(kernel)
}

/// The compressed kernel; its last four bytes, the unpacked size, are not part of the compressed stream.
fn payload(image: &[u8]) -> Result<&[u8]> {
    if image.get(MAGIC..MAGIC + 4) != Some(b"HdrS") {
        bail!("the file is no bzImage");
    }
    let word = |at: usize| -> Option<usize> {
        let bytes = image.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let sectors = usize::from(image[SETUP_SECTS]).max(1);
    let find = || {
        let start = (sectors + 1) * 512 + word(PAYLOAD_OFFSET)?;
        image.get(start..start.checked_add(word(PAYLOAD_LENGTH)?.checked_sub(4)?)?)
    };
    find().context("the kernel's payload lies outside the file")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 1024];
        image[SETUP_SECTS] = 1;
        image[MAGIC..MAGIC + 4].copy_from_slice(b"HdrS");
        let length = u32::try_from(payload.len()).unwrap() + 4;
        image[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4].copy_from_slice(&length.to_le_bytes());
        image.extend_from_slice(payload);
        image.extend_from_slice(&[0; 4]);
        image
    }

    #[test]
    fn a_gzip_payload_is_unpacked() {
        let packed = command::filter(Command::new("gzip").arg("-c"), b"\x7fELF rest").unwrap();
        assert_eq!(unpack(&image(&packed)).unwrap(), b"\x7fELF rest");
    }

    #[test]
    fn a_payload_beyond_the_file_is_an_error() {
        let mut image = image(b"\x1f\x8b");
        image[PAYLOAD_OFFSET + 3] = 0x7f;
        assert!(unpack(&image).unwrap_err().to_string().contains("outside"));
    }

    #[test]
    fn other_files_are_refused() {
        assert!(unpack(b"\x7fELF").is_err());
        assert!(unpack(&image(b"nothing known")).is_err());
    }
}

//! What a kernel's file tells of itself, and what is told of it beside.

pub(crate) mod btf;
pub(crate) mod config;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// How much of an uncompressed kernel is searched for its version.
const SEARCHED: u64 = 256 << 20;
/// What is in memory of it at a time.
const CHUNK: usize = 1 << 20;
/// The longest version.
const VERSION_MAX: usize = 128;
const BANNER: &[u8] = b"Linux version ";

/// The version in a kernel's file: where a bzImage's header says (Linux Documentation/arch/x86/boot.rst,
/// `kernel_version`), or the banner of an uncompressed one, which is searched for.
///
/// # Errors
/// If the file cannot be read.
pub(crate) fn version_of(path: &Path) -> io::Result<Option<String>> {
    let mut file = File::open(path)?;
    let mut head = [0; 0x210];
    let is_bzimage = match file.read_exact(&mut head) {
        Ok(()) => head.get(0x202..0x206) == Some(b"HdrS"),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
        Err(error) => return Err(error),
    };
    if is_bzimage {
        let at = u64::from(u16::from_le_bytes([head[0x20e], head[0x20f]])) + 0x200;
        file.seek(SeekFrom::Start(at))?;
        let mut text = Vec::new();
        file.take(256).read_to_end(&mut text)?;
        return Ok(first_word(&text));
    }
    file.rewind()?;
    banner(&mut file.take(SEARCHED))
}

/// The version behind the first banner in `image`.
fn banner(image: &mut impl Read) -> io::Result<Option<String>> {
    let mut window = Vec::with_capacity(CHUNK);
    loop {
        let ends = image
            .by_ref()
            .take((CHUNK - window.len()) as u64)
            .read_to_end(&mut window)?
            == 0;
        let found = find(&window, BANNER);
        if let Some(text) = found.and_then(|at| window.get(at + BANNER.len()..))
            && (text.len() >= VERSION_MAX || ends)
        {
            return Ok(first_word(text));
        }
        if ends {
            return Ok(None);
        }
        // A banner that begins at the end is whole in the next window.
        let kept = found.unwrap_or(window.len().saturating_sub(BANNER.len()));
        window.drain(..kept);
    }
}

/// Where `wanted` is in `bytes`.
fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = wanted.first()?;
    let mut from = 0;
    loop {
        let rest = bytes.get(from..)?;
        let at = from + rest.iter().position(|byte| byte == first)?;
        if bytes.get(at..)?.starts_with(wanted) {
            return Some(at);
        }
        from = at + 1;
    }
}

/// The version that `text` begins with.
fn first_word(text: &[u8]) -> Option<String> {
    let is_end = |byte: &u8| !(byte.is_ascii_alphanumeric() || b".-_+~".contains(byte));
    let end = text.iter().take(VERSION_MAX).position(is_end)?;
    let word = String::from_utf8(text.get(..end)?.to_vec()).ok()?;
    word.starts_with(|c: char| c.is_ascii_digit())
        .then_some(word)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_bzimage_tells_its_version() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bzImage");
        let mut image = vec![0; 0x1000];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x20e..0x210].copy_from_slice(&0x300_u16.to_le_bytes());
        image[0x500..0x510].copy_from_slice(b"6.12.1-amd64 (x)");
        fs::write(&path, &image).unwrap();
        assert_eq!(version_of(&path).unwrap().as_deref(), Some("6.12.1-amd64"));
    }

    #[test]
    fn a_vmlinux_has_its_banner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vmlinux");
        for (text, version) in [
            (
                &b"\x7fELF...Linux version 7.2.0-rc1+ (a@b)"[..],
                Some("7.2.0-rc1+"),
            ),
            (b"\x7fELF Linux version %s (", None),
            (b"", None),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(version_of(&path).unwrap().as_deref(), version);
        }
        assert!(version_of(&folder.path().join("none")).is_err());
    }

    #[test]
    fn a_banner_is_found_wherever_it_lies() {
        for before in [CHUNK - 20, CHUNK - 14, CHUNK - 1, CHUNK, 3 * CHUNK - 7] {
            let mut image = vec![b'L'; before];
            image.extend(b"Linux version 6.1.0 (a@b)");
            image.extend(vec![0; CHUNK]);
            let version = banner(&mut &*image).unwrap();
            assert_eq!(version.as_deref(), Some("6.1.0"), "{before}");
        }
    }
}

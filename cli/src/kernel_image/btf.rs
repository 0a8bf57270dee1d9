//! The types that a kernel tells of itself: its BTF (Linux Documentation/bpf/btf.rst).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use serde::Serialize;

/// The most that is read of a section; real ones have 6 MB.
const MAX_SECTION: u64 = 64 << 20;
const SECTION: &[u8] = b".BTF\0";
const MAGIC: u16 = 0xeb9f;
/// `BTF_KIND_FUNC`.
const FUNCTION: u32 = 12;

/// What a kernel's BTF holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Btf {
    /// Its bytes.
    pub(crate) size: u64,
    /// Its types, functions among them.
    pub(crate) types: u64,
    /// Its functions, which typed programs can be attached to.
    pub(crate) functions: u64,
}

/// The BTF of the ELF file `kernel`, if it has one.
///
/// # Errors
/// If the file cannot be read.
pub(crate) fn of_elf(kernel: &File) -> io::Result<Option<Btf>> {
    let Some(bytes) = section(kernel)? else {
        return Ok(None);
    };
    Ok(parse(&bytes))
}

/// Counts what is in `bytes`; `None` if that is no BTF.
pub(crate) fn parse(bytes: &[u8]) -> Option<Btf> {
    if number(bytes, 0, 2)? != u64::from(MAGIC) {
        return None;
    }
    let begin = number(bytes, 4, 4)?.checked_add(number(bytes, 8, 4)?)?;
    let begin = usize::try_from(begin).ok()?;
    let length = usize::try_from(number(bytes, 12, 4)?).ok()?;
    let mut rest = bytes.get(begin..begin.checked_add(length)?)?;
    let (mut types, mut functions) = (0, 0);
    while !rest.is_empty() {
        let info = u32::try_from(number(rest, 4, 4)?).ok()?;
        let kind = (info >> 24) & 0x1f;
        let members = usize::try_from(info & 0xffff).ok()?;
        types += 1;
        functions += u64::from(kind == FUNCTION);
        rest = rest.get(12 + more(kind, members)?..)?;
    }
    Some(Btf {
        size: bytes.len() as u64,
        types,
        functions,
    })
}

/// The bytes behind a type's first twelve.
fn more(kind: u32, members: usize) -> Option<usize> {
    Some(match kind {
        // Integers, variables, declaration tags.
        1 | 14 | 17 => 4,
        // Arrays.
        3 => 12,
        // Structures, unions, sections, enumerations of 64 bits.
        4 | 5 | 15 | 19 => 12 * members,
        // Enumerations, prototypes.
        6 | 13 => 8 * members,
        // Pointers, forwards, typedefs, qualifiers, functions, floats, type tags.
        2 | 7..=12 | 16 | 18 => 0,
        _ => return None,
    })
}

/// The section `.BTF` of a 64-bit ELF file (ELF, "Sections").
fn section(kernel: &File) -> io::Result<Option<Vec<u8>>> {
    let read = |at: u64, length: u64| -> io::Result<Option<Vec<u8>>> {
        if length > MAX_SECTION {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        match kernel.read_exact_at(&mut bytes, at) {
            Ok(()) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    };
    let Some(head) = read(0, 64)?.filter(|head| head.starts_with(b"\x7fELF\x02")) else {
        return Ok(None);
    };
    let field = |at, length| number(&head, at, length).unwrap_or(0);
    let (table, size, count, names) = (field(40, 8), field(58, 2), field(60, 2), field(62, 2));
    let Some(table) = read(table, size * count)?.filter(|_| size >= 64) else {
        return Ok(None);
    };
    let headers: Vec<&[u8]> = table
        .chunks_exact(usize::try_from(size).unwrap_or(usize::MAX))
        .collect();
    let place = |header: &[u8]| Some((number(header, 24, 8)?, number(header, 32, 8)?));
    let names = usize::try_from(names)
        .ok()
        .and_then(|at| headers.get(at).copied());
    let Some((at, length)) = names.and_then(place) else {
        return Ok(None);
    };
    let Some(names) = read(at, length)? else {
        return Ok(None);
    };
    let is_btf = |header: &&&[u8]| {
        let at = number(header, 0, 4).and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| names.get(at..))
            .is_some_and(|name| name.starts_with(SECTION))
    };
    match headers.iter().find(is_btf).and_then(|header| place(header)) {
        Some((at, length)) => read(at, length),
        None => Ok(None),
    }
}

/// The number of `length` bytes at `at`, the least first.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(length)?)?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// An integer, a structure of two members, a function.
    fn btf() -> Vec<u8> {
        let mut types = Vec::new();
        for (info, more) in [(1_u32 << 24, 4), (4 << 24 | 2, 24), (12 << 24, 0)] {
            types.extend([0; 4]);
            types.extend(info.to_le_bytes());
            types.extend(vec![0; 4 + more]);
        }
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        for field in [24, 0, types.len() as u32, types.len() as u32, 1] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.extend(types);
        bytes.push(0);
        bytes
    }

    fn elf(section: &[u8]) -> Vec<u8> {
        let names = b"\0.shstrtab\0.BTF\0";
        let mut bytes = vec![0; 64];
        bytes[..5].copy_from_slice(b"\x7fELF\x02");
        let (names_at, section_at) = (64, 64 + names.len());
        let table = section_at + section.len();
        bytes.extend(names);
        bytes.extend(section);
        bytes[40..48].copy_from_slice(&(table as u64).to_le_bytes());
        bytes[58..64].copy_from_slice(&[64, 0, 2, 0, 0, 0]);
        for (name, at, length) in [
            (1_u32, names_at, names.len()),
            (11, section_at, section.len()),
        ] {
            let mut header = [0; 64];
            header[..4].copy_from_slice(&name.to_le_bytes());
            header[24..32].copy_from_slice(&(at as u64).to_le_bytes());
            header[32..40].copy_from_slice(&(length as u64).to_le_bytes());
            bytes.extend(header);
        }
        bytes
    }

    fn of(bytes: &[u8]) -> Option<Btf> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        of_elf(&file).unwrap()
    }

    #[test]
    fn types_and_functions_are_counted() {
        let btf = btf();
        let counted = Btf {
            size: btf.len() as u64,
            types: 3,
            functions: 1,
        };
        assert_eq!(of(&elf(&btf)), Some(counted));
    }

    #[test]
    fn a_kernel_without_or_with_damaged_types_has_none() {
        assert_eq!(of(b""), None);
        assert_eq!(of(b"\x7fELF\x02"), None);
        assert_eq!(of(&elf(b"")), None);
        let whole = elf(&btf());
        for length in 0..whole.len() {
            assert_eq!(of(&whole[..length]), None, "{length}");
        }
        let mut odd = btf();
        odd[24 + 7] = 31;
        assert_eq!(of(&elf(&odd)), None);
    }
}

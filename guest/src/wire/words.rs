//! Numbers, words and lists as they are sent.

use std::io::{self, Read};

/// The longest word, and the longest list of them, in bytes: what Linux lets a program have (`MAX_ARG_STRLEN`, 128 KiB,
/// and a quarter of the stack's 8 MiB; execve(2)).
pub(super) const LONGEST_WORD: u32 = 128 << 10;
pub(super) const LONGEST_LIST: u32 = 2 << 20;
/// The most mounts of an order, and the most links.
const MOST_MOUNTS: u32 = 64;

pub(super) fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

pub(super) fn bytes<const N: usize>(from: &mut dyn Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

pub(super) fn byte(from: &mut dyn Read) -> io::Result<u8> {
    bytes::<1>(from).map(|[byte]| byte)
}

pub(super) fn half(from: &mut dyn Read) -> io::Result<u16> {
    bytes(from).map(u16::from_le_bytes)
}

pub(super) fn number(from: &mut dyn Read) -> io::Result<u32> {
    bytes(from).map(u32::from_le_bytes)
}

pub(super) fn long(from: &mut dyn Read) -> io::Result<u64> {
    bytes(from).map(u64::from_le_bytes)
}

pub(super) fn word(from: &mut dyn Read) -> io::Result<Vec<u8>> {
    let length = number(from)?;
    if length > LONGEST_WORD {
        return Err(wrong("a word is too long"));
    }
    let mut word = vec![0; length as usize];
    from.read_exact(&mut word)?;
    Ok(word)
}

pub(super) fn list(from: &mut dyn Read) -> io::Result<Vec<Vec<u8>>> {
    let mut room = LONGEST_LIST;
    let mut words = Vec::new();
    for _ in 0..number(from)? {
        let word = word(from)?;
        let size = u32::try_from(word.len()).unwrap_or(u32::MAX);
        // As execve(2) counts: each word has an end and a pointer.
        room = room
            .checked_sub(size.saturating_add(9))
            .ok_or_else(|| wrong("a list is too long"))?;
        words.push(word);
    }
    Ok(words)
}

/// A list of what is made of two words each.
pub(super) fn pairs<T>(from: &mut dyn Read, make: fn(Vec<u8>, Vec<u8>) -> T) -> io::Result<Vec<T>> {
    let count = number(from)?;
    if count > MOST_MOUNTS {
        return Err(wrong("there are too many mounts or links"));
    }
    (0..count)
        .map(|_| Ok(make(word(from)?, word(from)?)))
        .collect()
}

pub(super) fn put_word(to: &mut Vec<u8>, word: &[u8]) -> io::Result<()> {
    let length = u32::try_from(word.len()).unwrap_or(u32::MAX);
    if length > LONGEST_WORD {
        return Err(io::Error::from_raw_os_error(7)); // E2BIG
    }
    to.extend(length.to_le_bytes());
    to.extend(word);
    Ok(())
}

pub(super) fn put_list(to: &mut Vec<u8>, words: &[Vec<u8>]) -> io::Result<()> {
    let size: usize = words.iter().map(|word| word.len() + 9).sum();
    if size > LONGEST_LIST as usize {
        return Err(io::Error::from_raw_os_error(7)); // E2BIG
    }
    to.extend(u32::try_from(words.len()).unwrap_or(0).to_le_bytes());
    words.iter().try_for_each(|word| put_word(to, word))
}

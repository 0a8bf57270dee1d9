//! Whether an image counts its own header among what is in use (QEMU `docs/interop/qcow2.rst`,
//! "Host cluster management").
//!
//! One that does not would have its header overwritten by the next cluster that is needed, and
//! `imago` look for room without end.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

const MAGIC: u32 = 0x5146_49fb;
/// Bytes of a header of version 3.
const HEADER: usize = 104;
/// 16 bits for each count, where a header does not say: that of version 2.
const ORDER: u32 = 4;
/// The bits of a table's entry that are an offset.
const OFFSET: u64 = !0x1ff;

/// Whether the image in `file` may be written to. What is no image at all is for others to refuse.
pub(super) fn header_is_counted(file: &File) -> io::Result<bool> {
    let Some(header) = read::<HEADER>(file, 0)? else {
        return Ok(true);
    };
    if u32_at(&header, 0) != MAGIC {
        return Ok(true);
    }
    let order = match u32_at(&header, 4) {
        2 => ORDER,
        _ => u32_at(&header, 96),
    };
    let clusters_of_table = u32_at(&header, 56);
    if clusters_of_table == 0 {
        return Ok(false);
    }
    let Some(entry) = read::<8>(file, u64_at(&header, 48))? else {
        return Ok(false);
    };
    let block = u64::from_be_bytes(entry) & OFFSET;
    if block == 0 {
        return Ok(false);
    }
    let Some(counts) = read::<8>(file, block)? else {
        return Ok(false);
    };
    let first = u64::from_be_bytes(counts);
    Ok(match order {
        // The lowest bits of a byte are the first count.
        0..=2 => first >> 56 & ((1 << (1 << order)) - 1) != 0,
        3..=6 => first >> (64 - (1 << order)) != 0,
        _ => false,
    })
}

/// `N` bytes at `offset`; `None` if the file ends before.
fn read<const N: usize>(file: &File, offset: u64) -> io::Result<Option<[u8; N]>> {
    let mut bytes = [0; N];
    match file.read_exact_at(&mut bytes, offset) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) => match error.kind() {
            // An offset beyond what a file can have.
            ErrorKind::UnexpectedEof | ErrorKind::InvalidInput => Ok(None),
            _ => Err(error),
        },
    }
}

fn u32_at(bytes: &[u8; HEADER], at: usize) -> u32 {
    (u64_at(bytes, at) >> 32) as u32
}

fn u64_at(bytes: &[u8; HEADER], at: usize) -> u64 {
    let field = bytes.get(at..at + 8).and_then(|it| it.try_into().ok());
    field.map_or(0, u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// An image whose refcount table at 512 names a block at 1024 that begins with `counts`.
    fn image(version: u32, order: u32, block: u64, counts: u64) -> File {
        image_of(1, version, order, block, counts)
    }

    fn image_of(clusters: u32, version: u32, order: u32, block: u64, counts: u64) -> File {
        let mut bytes = vec![0; 2048];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &MAGIC.to_be_bytes());
        put(4, &version.to_be_bytes());
        put(48, &512_u64.to_be_bytes());
        put(56, &clusters.to_be_bytes());
        put(96, &order.to_be_bytes());
        put(512, &block.to_be_bytes());
        put(1024, &counts.to_be_bytes());
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        file
    }

    #[test]
    fn the_first_count_is_the_headers_whatever_its_width() {
        for (order, one) in [
            (0, 1 << 56),
            (2, 1 << 56),
            (3, 1 << 56),
            (4, 1 << 48),
            (6, 1),
        ] {
            let counted = |counts| header_is_counted(&image(3, order, 1024, counts)).unwrap();
            assert!(counted(one), "{order}");
            assert!(!counted(0), "{order}");
        }
        // The second count of one bit, of four, of 16.
        assert!(!header_is_counted(&image(3, 0, 1024, 2 << 56)).unwrap());
        assert!(!header_is_counted(&image(3, 2, 1024, 16 << 56)).unwrap());
        assert!(!header_is_counted(&image(2, 6, 1024, 1)).unwrap());
    }

    #[test]
    fn an_image_without_counts_counts_nothing() {
        assert!(!header_is_counted(&image(3, 4, 0, u64::MAX)).unwrap());
        assert!(!header_is_counted(&image(3, 4, 1 << 40, u64::MAX)).unwrap());
        assert!(!header_is_counted(&image(3, 4, u64::MAX, u64::MAX)).unwrap());
        assert!(!header_is_counted(&image(3, 99, 1024, u64::MAX)).unwrap());
        assert!(!header_is_counted(&image_of(0, 3, 4, 1024, u64::MAX)).unwrap());
    }
}

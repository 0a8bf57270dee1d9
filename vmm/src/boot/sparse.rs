//! Writing a file with holes where the data is zero: a quarter of an unpacked Linux, which the
//! loader then need not read.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

/// The unit that is left out if it is all zero, at a multiple of its size.
const BLOCK: usize = 64 << 10;
static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// Writes to an empty file from its start.
#[derive(Debug)]
pub(super) struct SparseWriter {
    file: File,
    written: u64,
    block: Vec<u8>,
}

impl SparseWriter {
    pub(super) fn new(file: File) -> Self {
        Self {
            file,
            written: 0,
            block: Vec::with_capacity(BLOCK),
        }
    }

    /// Writes what is left and gives the file its length.
    pub(super) fn finish(mut self) -> io::Result<File> {
        self.write_block()?;
        self.file.set_len(self.written)?;
        Ok(self.file)
    }

    fn write_block(&mut self) -> io::Result<()> {
        if ZEROS.get(..self.block.len()) != Some(&self.block) {
            self.file.write_all_at(&self.block, self.written)?;
        }
        self.written += self.block.len() as u64;
        self.block.clear();
        Ok(())
    }
}

impl Write for SparseWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let n = data.len().min(BLOCK - self.block.len());
        self.block.extend(data.iter().take(n));
        if self.block.len() == BLOCK {
            self.write_block()?;
        }
        Ok(n)
    }

    /// Does nothing: the last block is written by [`SparseWriter::finish`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn zero_blocks_become_holes_and_read_as_written() {
        let mut data = vec![1; 3000];
        data.resize(1 << 20, 0);
        data.extend([2; 100_000]);
        data.resize(3 << 20, 0);
        let mut writer = SparseWriter::new(tempfile::tempfile().unwrap());
        data.chunks(7777)
            .for_each(|part| writer.write_all(part).unwrap());
        let mut file = writer.finish().unwrap();
        let mut found = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut found).unwrap();
        assert!(found == data);
        let kept = file.metadata().unwrap().blocks() * 512;
        assert!(kept < 1 << 20, "{kept} bytes are on the disk");
    }
}

//! Unpacking the compressed kernel of a bzImage.

use std::fmt;
use std::io::{self, Read, Write};

use flate2::bufread::GzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::StreamingDecoder;

/// How the kernel in a bzImage is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// xz, with or without the x86 filter.
    Xz,
    /// Zstandard.
    Zstd,
    /// The legacy frame format of lz4.
    Lz4,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
        })
    }
}

/// The dictionary that an xz payload may want, in KiB; the kernel's build uses 32 MiB.
const XZ_MEMORY: u32 = 160 << 10;
/// The window that a zstd payload may want; the kernel's build uses 128 MiB.
const ZSTD_WINDOW: u64 = 128 << 20;
/// The size of an lz4 legacy block before compression.
const LZ4_BLOCK: usize = 8 << 20;
/// The size that such a block can grow to if it does not compress.
const LZ4_PACKED_BLOCK: usize = LZ4_BLOCK + LZ4_BLOCK / 255 + 16;
const CHUNK: usize = 128 << 10;

/// Which side of unpacking failed.
#[derive(Debug)]
pub(super) enum UnpackError {
    /// The payload cannot be read or is corrupt.
    Input(io::Error),
    /// The kernel cannot be written.
    Output(io::Error),
}

impl Compression {
    /// The compression whose format begins like this.
    #[must_use]
    pub fn of(magic: &[u8]) -> Option<Self> {
        let known: [(&[u8], Self); 5] = [
            (b"\x7fELF", Self::None),
            (b"\x1f\x8b", Self::Gzip),
            (b"\xfd7zXZ\0", Self::Xz),
            (b"\x28\xb5\x2f\xfd", Self::Zstd),
            (b"\x02\x21\x4c\x18", Self::Lz4),
        ];
        let found = known.iter().find(|(start, _)| magic.starts_with(start));
        found.map(|(_, compression)| *compression)
    }

    /// Unpacks `input` to `output`, which must come to exactly `size` bytes.
    pub(super) fn unpack(
        self,
        input: impl Read,
        size: u64,
        output: &mut impl Write,
    ) -> Result<(), UnpackError> {
        match self {
            Self::None => copy(input, size, output),
            Self::Gzip => copy(GzDecoder::new(io::BufReader::new(input)), size, output),
            Self::Xz => {
                let input = io::BufReader::with_capacity(CHUNK, input);
                copy(
                    XzReader::new_mem_limit(input, false, XZ_MEMORY),
                    size,
                    output,
                )
            }
            Self::Zstd => unzstd(input, size, output),
            Self::Lz4 => {
                let input = io::BufReader::with_capacity(CHUNK, input);
                copy(Lz4LegacyReader::new(input), size, output)
            }
        }
    }
}

fn invalid(what: &'static str) -> UnpackError {
    UnpackError::Input(io::Error::new(io::ErrorKind::InvalidData, what))
}

fn copy(mut from: impl Read, size: u64, to: &mut impl Write) -> Result<(), UnpackError> {
    let mut chunk = vec![0; CHUNK];
    let mut done = 0;
    loop {
        let n = match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(UnpackError::Input(e)),
        };
        done += n as u64;
        if done > size {
            return Err(invalid("it unpacks to more than it declares"));
        }
        let data = chunk.get(..n).unwrap_or_default();
        to.write_all(data).map_err(UnpackError::Output)?;
    }
    if done < size {
        return Err(invalid("it unpacks to less than it declares"));
    }
    Ok(())
}

fn unzstd(input: impl Read, size: u64, output: &mut impl Write) -> Result<(), UnpackError> {
    let input = io::BufReader::with_capacity(CHUNK, input);
    let mut decoder = StreamingDecoder::new_with_max_window_size(input, ZSTD_WINDOW)
        .map_err(|e| UnpackError::Input(io::Error::other(e)))?;
    copy(&mut decoder, size, output)?;
    let frame = &decoder.decoder;
    let promised = frame.get_checksum_from_data();
    if promised.is_some() && promised != frame.get_calculated_checksum() {
        return Err(invalid("its checksum is wrong"));
    }
    Ok(())
}

/// Reads lz4's legacy frame: a magic number, then blocks of a 32-bit length and as many bytes,
/// each of which unpacks on its own to at most 8 MiB.
struct Lz4LegacyReader<R> {
    input: R,
    packed: Vec<u8>,
    block: Vec<u8>,
    filled: usize,
    taken: usize,
    started: bool,
}

impl<R: Read> Lz4LegacyReader<R> {
    fn new(input: R) -> Self {
        Self {
            input,
            packed: Vec::new(),
            block: Vec::new(),
            filled: 0,
            taken: 0,
            started: false,
        }
    }

    /// Unpacks the next block; false at the end.
    fn next_block(&mut self) -> io::Result<bool> {
        const MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];
        let mut word = [0; 4];
        if !self.started {
            self.input.read_exact(&mut word)?;
            if word != MAGIC {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.started = true;
        }
        loop {
            match self.input.read(word.get_mut(..1).unwrap_or_default())? {
                0 => return Ok(false),
                _ => self
                    .input
                    .read_exact(word.get_mut(1..).unwrap_or_default())?,
            }
            // Archives may follow one another, each with its magic number.
            if word != MAGIC {
                break;
            }
        }
        let len = u32::from_le_bytes(word) as usize;
        if len > LZ4_PACKED_BLOCK {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "an lz4 block is larger than any can be",
            ));
        }
        self.packed.clear();
        let limit = len as u64;
        self.input
            .by_ref()
            .take(limit)
            .read_to_end(&mut self.packed)?;
        if self.packed.len() < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.block.resize(LZ4_BLOCK, 0);
        let unpacked = lz4_flex::block::decompress_into(&self.packed, &mut self.block)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        (self.filled, self.taken) = (unpacked, 0);
        Ok(true)
    }
}

impl<R: Read> Read for Lz4LegacyReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.filled {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let rest = self.block.get(self.taken..self.filled).unwrap_or_default();
        let mut rest = rest;
        let n = rest.read(buf)?;
        self.taken += n;
        Ok(n)
    }
}

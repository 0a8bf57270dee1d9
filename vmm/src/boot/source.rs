//! The opened files that a guest is started from, and reading them straight into guest RAM.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use devices::GuestRam;
use devices::sys::read_vectored;
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use vm_memory::{GuestAddress, GuestMemoryBackend};

use super::error::{BootError, Role};
use super::file_kind::FileKind;
use crate::layout::Range;

/// How much of a file is read when it is opened: the headers of every kernel format.
const HEAD: usize = 4096;
/// The least size of a segment that is searched for holes.
const SPARSE: u64 = 1 << 20;

/// An opened regular file and its first bytes.
#[derive(Debug)]
pub(super) struct Source {
    role: Role,
    path: PathBuf,
    file: File,
    len: u64,
    head: Vec<u8>,
}

impl Source {
    /// Opens `path`, which must be a regular file that is not empty.
    pub(super) fn open(role: Role, path: &Path) -> Result<Self, BootError> {
        // Without O_NONBLOCK, opening a pipe would wait for its writer.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)
            .map_err(|source| BootError::Open {
                role,
                path: path.to_owned(),
                source,
            })?;
        Self::from_file(role, path, file)
    }

    /// Takes an open file; errors name `path`.
    pub(super) fn from_file(role: Role, path: &Path, file: File) -> Result<Self, BootError> {
        let mut this = Self {
            role,
            path: path.to_owned(),
            file,
            len: 0,
            head: Vec::new(),
        };
        let metadata = this.file.metadata().map_err(|e| this.read_error(e))?;
        if metadata.is_dir() {
            return Err(this.wrong(FileKind::Directory));
        }
        if !metadata.is_file() {
            return Err(this.wrong(FileKind::Special));
        }
        this.len = metadata.len();
        if this.len == 0 {
            return Err(this.wrong(FileKind::Empty));
        }
        if role == Role::Kernel {
            let known = usize::try_from(this.len).map_or(HEAD, |len| len.min(HEAD));
            let mut head = vec![0; known];
            let filled = this.read_up_to(0, &mut head)?;
            head.truncate(filled);
            this.head = head;
        }
        Ok(this)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// The file, to be read from its beginning.
    pub(super) fn into_file(self) -> Result<File, BootError> {
        match seek(&self.file, SeekFrom::Start(0)) {
            Ok(_) => Ok(self.file),
            Err(errno) => Err(self.read_error(errno.into())),
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The first bytes: 4096, or fewer if the file is shorter.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    /// The error that says what this file is.
    pub(super) fn wrong(&self, found: FileKind) -> BootError {
        BootError::WrongFile {
            role: self.role,
            path: self.path.clone(),
            found,
        }
    }

    /// The error that says what is wrong with this kernel.
    pub(super) fn damaged(&self, what: impl Into<String>) -> BootError {
        BootError::Damaged {
            path: self.path.clone(),
            what: what.into(),
        }
    }

    pub(super) fn read_error(&self, source: io::Error) -> BootError {
        BootError::Read {
            role: self.role,
            path: self.path.clone(),
            source,
        }
    }

    fn read_up_to(&self, offset: u64, buf: &mut [u8]) -> Result<usize, BootError> {
        let mut done = 0;
        while done < buf.len() {
            let rest = buf.get_mut(done..).unwrap_or_default();
            match self.file.read_at(rest, offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.read_error(e)),
            }
        }
        Ok(done)
    }

    /// `len` bytes at `offset`; `None` beyond the file's end.
    pub(super) fn bytes(
        &self,
        offset: u64,
        len: usize,
    ) -> Result<Option<Cow<'_, [u8]>>, BootError> {
        let end = offset.checked_add(len as u64);
        if end.is_none_or(|end| end > self.len) {
            return Ok(None);
        }
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        if let Some(known) = self.head.get(start..start.saturating_add(len)) {
            return Ok(Some(Cow::Borrowed(known)));
        }
        let mut buf = vec![0; len];
        let filled = self.read_up_to(offset, &mut buf)?;
        Ok((filled == len).then_some(Cow::Owned(buf)))
    }

    /// Reads `range` straight into guest RAM at `to`, except for holes: RAM is zero there already.
    pub(super) fn load_sparse(
        &self,
        mem: &GuestRam,
        range: Range,
        to: u64,
    ) -> Result<(), BootError> {
        let mut at = range.start;
        while at < range.end() {
            let (start, end) = match self.data_from(at, range) {
                Ok(Some(data)) => data,
                Ok(None) => break,
                Err(_) => (at, range.end()),
            };
            self.load(mem, start, end - start, to + (start - range.start))?;
            at = end;
        }
        Ok(())
    }

    /// The next stretch of data in `range` at or behind `at`. Fails where the file system does not
    /// tell holes.
    fn data_from(&self, at: u64, range: Range) -> io::Result<Option<(u64, u64)>> {
        if range.len < SPARSE {
            return Ok(Some((at, range.end())));
        }
        let start = match seek(&self.file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let end = seek(&self.file, SeekFrom::Hole(start))?.min(range.end());
        Ok((start < end).then_some((start, end)))
    }

    /// Reads `len` bytes at `offset` straight into guest RAM at `to`.
    pub(super) fn load(
        &self,
        mem: &GuestRam,
        offset: u64,
        len: u64,
        to: u64,
    ) -> Result<(), BootError> {
        let count = usize::try_from(len).unwrap_or(usize::MAX);
        let slice =
            mem.get_slice(GuestAddress(to), count)
                .map_err(|source| BootError::GuestMemory {
                    what: match self.role {
                        Role::Kernel => "the kernel",
                        Role::Initrd => "the initrd",
                    },
                    address: to,
                    source,
                })?;
        let mut done = 0;
        while done < count {
            let rest = slice
                .offset(done)
                .map_err(|e| self.read_error(io::Error::other(e)))?;
            let at = Some(offset + done as u64);
            match read_vectored(self.file.as_fd(), &[rest], count - done, at) {
                Ok(0) => return Err(self.read_error(io::ErrorKind::UnexpectedEof.into())),
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.read_error(e)),
            }
        }
        Ok(())
    }

    /// Reads the bytes of `range` in order.
    pub(super) fn reader(&self, range: Range) -> SectionReader<'_> {
        SectionReader {
            file: &self.file,
            at: range.start,
            end: range.end(),
        }
    }
}

/// Reads one section of a file from its start to its end.
#[derive(Debug)]
pub(super) struct SectionReader<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for SectionReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let limit = buf.len().min(left);
        let n = self
            .file
            .read_at(buf.get_mut(..limit).unwrap_or_default(), self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

//! The cache of unpacked kernels: a kernel is unpacked once, then read from here.
//!
//! A folder holds, for each payload, `KEY.elf` (KEY is the payload's SHA-256): the kernel followed
//! by a trailer with its own length and SHA-256. Beside them lie small *identity* files. Each
//! records that a certain bzImage (by device, inode, size and times) has a certain entry, and what
//! that entry's inode and times were when its contents were last known to be right; where both
//! still hold, nothing is hashed. A touched, copied or edited file differs there, is hashed, and a
//! corrupt entry is replaced.
//!
//! Entries appear by rename and are never written afterwards, so that any number of processes may
//! share the folder. Whatever goes wrong here only costs the time to unpack again.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use super::fields::u64_at;
use super::sparse::SparseWriter;

/// The most kernels that are kept; about 60 MB each.
const KEEP: usize = 16;
/// The age at which a temporary file is taken for a leftover.
const STALE: Duration = Duration::from_secs(3600);
/// A file changed this recently may change again without a new time.
const SETTLED: Duration = Duration::from_secs(2);

const MAGIC: &[u8; 16] = b"pcp-vmm kernel 1";
const TRAILER: usize = 16 + 32 + 8 + 32;

type Hash = [u8; 32];

/// A folder of unpacked kernels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cache<'a> {
    folder: &'a Path,
}

/// The name of an entry: the hash of the compressed kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(Hash);

impl Key {
    /// The key of the payload that `reader` yields.
    pub(super) fn of(mut reader: impl Read) -> io::Result<Self> {
        let mut hash = Hasher::new(io::sink());
        io::copy(&mut reader, &mut hash)?;
        Ok(Self(hash.finish().0))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut key = [0; 32];
        if text.len() != 64 {
            return None;
        }
        for (i, byte) in key.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
        }
        Some(Self(key))
    }

    fn text(&self) -> String {
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

impl<'a> Cache<'a> {
    /// The cache in `folder`, which is made when something is stored.
    pub(super) fn new(folder: &'a Path) -> Self {
        Self { folder }
    }

    fn entry_path(&self, key: &Key) -> PathBuf {
        self.folder.join(format!("{}.elf", key.text()))
    }

    fn identity_path(&self, kernel: &Metadata) -> PathBuf {
        let name = format!("{:x}-{:x}.id", kernel.dev(), kernel.ino());
        self.folder.join(name)
    }

    /// The entry of a bzImage that was seen before and has not changed, as far as its times tell.
    pub(super) fn find_by_identity(&self, kernel: &File) -> Option<File> {
        let kernel = kernel.metadata().ok()?;
        let text = fs::read_to_string(self.identity_path(&kernel)).ok()?;
        let key = text.lines().next().and_then(Key::parse)?;
        let entry = File::open(self.entry_path(&key)).ok()?;
        let expected = identity(&key, &kernel, &entry.metadata().ok()?);
        (text == expected).then_some(entry)
    }

    /// The entry of the payload with this key, after checking all of it.
    pub(super) fn find_by_content(&self, key: &Key, kernel: &File) -> Option<File> {
        let entry = File::open(self.entry_path(key)).ok()?;
        if !check(&entry, key).unwrap_or(false) {
            log::warn!("kernel cache entry {} is corrupt", key.text());
            return None;
        }
        self.remember(key, kernel, &entry);
        Some(entry)
    }

    /// Stores the kernel that `fill` writes. `Err(None)`: the folder cannot be written.
    pub(super) fn store<E>(
        &self,
        key: &Key,
        kernel: &File,
        fill: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<File, Option<E>> {
        let temporary = Temporary::create(self.folder).map_err(|e| self.unwritable(&e))?;
        let file = temporary.file.try_clone();
        let file = file.map_err(|e| self.unwritable(&e))?;
        let mut hasher = Hasher::new(SparseWriter::new(file));
        fill(&mut hasher).map_err(Some)?;
        let (hash, len, mut writer) = hasher.finish_with_len();
        let finish = || {
            writer.write_all(MAGIC)?;
            writer.write_all(&key.0)?;
            writer.write_all(&len.to_le_bytes())?;
            writer.write_all(&hash)?;
            writer.finish()?;
            temporary.publish(&self.entry_path(key))
        };
        let entry = finish().map_err(|e| self.unwritable(&e))?;
        self.remember(key, kernel, &entry);
        self.prune();
        Ok(entry)
    }

    fn unwritable<E>(&self, error: &io::Error) -> Option<E> {
        let folder = self.folder.display();
        log::warn!("kernel cache {folder} cannot be written, each start unpacks anew: {error}");
        None
    }

    /// Notes that the kernel file has this entry.
    fn remember(&self, key: &Key, kernel: &File, entry: &File) {
        let (Ok(kernel), Ok(entry)) = (kernel.metadata(), entry.metadata()) else {
            return;
        };
        if !settled(&kernel) {
            return;
        }
        let note = || {
            let mut temporary = Temporary::create(self.folder)?;
            let text = identity(key, &kernel, &entry);
            temporary.file.write_all(text.as_bytes())?;
            temporary.publish(&self.identity_path(&kernel)).map(drop)
        };
        if let Err(error) = note() {
            log::debug!("cannot note a kernel's identity: {error}");
        }
    }

    /// Removes the oldest entries beyond [`KEEP`], notes beyond as many again, and leftovers.
    fn prune(&self) {
        let Ok(listing) = fs::read_dir(self.folder) else {
            return;
        };
        let mut entries = Vec::new();
        let mut notes = Vec::new();
        for file in listing.flatten() {
            let path = file.path();
            let Some(modified) = file.metadata().and_then(|m| m.modified()).ok() else {
                continue;
            };
            match path.extension().and_then(|e| e.to_str()) {
                Some("elf") => entries.push((modified, path)),
                Some("id") => notes.push((modified, path)),
                Some("tmp") if modified.elapsed().is_ok_and(|age| age > STALE) => remove(&path),
                _ => {}
            }
        }
        for (mut list, keep) in [(entries, KEEP), (notes, 2 * KEEP)] {
            list.sort();
            let surplus = list.len().saturating_sub(keep);
            list.iter().take(surplus).for_each(|(_, path)| remove(path));
        }
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        log::debug!("cannot remove {}: {error}", path.display());
    }
}

/// Whether the file's last change is old enough that another would show in its times.
fn settled(metadata: &Metadata) -> bool {
    let seconds = u64::try_from(metadata.ctime()).unwrap_or(u64::MAX);
    let changed = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    let age = changed.and_then(|changed| SystemTime::now().duration_since(changed).ok());
    age.is_some_and(|age| age > SETTLED)
}

/// What an identity file says: the key, then the bzImage and the entry as they were.
fn identity(key: &Key, kernel: &Metadata, entry: &Metadata) -> String {
    let mut text = key.text();
    text.push('\n');
    for file in [kernel, entry] {
        let _ = writeln!(
            text,
            "{} {} {} {}.{} {}.{}",
            file.dev(),
            file.ino(),
            file.size(),
            file.mtime(),
            file.mtime_nsec(),
            file.ctime(),
            file.ctime_nsec(),
        );
    }
    text
}

/// Whether an entry is whole, and the one of this key.
fn check(entry: &File, key: &Key) -> io::Result<bool> {
    let size = entry.metadata()?.len();
    let Some(len) = size.checked_sub(TRAILER as u64) else {
        return Ok(false);
    };
    let mut trailer = [0; TRAILER];
    entry.read_exact_at(&mut trailer, len)?;
    let header = trailer.starts_with(MAGIC)
        && trailer.get(16..48) == Some(&key.0)
        && u64_at(&trailer, 48) == Some(len);
    if !header {
        return Ok(false);
    }
    let mut contents = entry;
    contents.rewind()?;
    let found = Key::of(contents.take(len))?;
    Ok(trailer.get(56..) == Some(&found.0))
}

/// A file under construction, removed unless it is published.
struct Temporary {
    file: File,
    path: PathBuf,
}

impl Temporary {
    fn create(folder: &Path) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        loop {
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!("{}-{n}.tmp", std::process::id()));
            let opened = OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path);
            match opened {
                Ok(file) => return Ok(Self { file, path }),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Gives the file its name, once its contents are on the disk.
    fn publish(self, path: &Path) -> io::Result<File> {
        self.file.sync_data()?;
        fs::rename(&self.path, path)?;
        self.file.try_clone()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename there is nothing left to remove.
        let _ = fs::remove_file(&self.path);
    }
}

/// Hashes and counts what is written through it.
struct Hasher<W> {
    hash: Sha256,
    len: u64,
    to: W,
}

impl<W: Write> Hasher<W> {
    fn new(to: W) -> Self {
        Self {
            hash: Sha256::new(),
            len: 0,
            to,
        }
    }

    fn finish(self) -> (Hash, W) {
        (self.hash.finalize().into(), self.to)
    }

    fn finish_with_len(self) -> (Hash, u64, W) {
        let len = self.len;
        let (hash, to) = self.finish();
        (hash, len, to)
    }
}

impl<W: Write> Write for Hasher<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let n = self.to.write(data)?;
        self.hash.update(data.get(..n).unwrap_or_default());
        self.len += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

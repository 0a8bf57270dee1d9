//! Debian's kernels in the cache: a folder for each, with the kernel, its configuration and its modules.
//!
//! ```text
//! FOLDER/6.12.57+deb13-cloud-amd64/vmlinuz      a bzImage
//!                                  config       what it was built with
//!                                  modules/     as /lib/modules/RELEASE, with depmod's indexes
//!                                  kernel.json  where it came from
//! ```
//!
//! A kernel appears by rename once it is whole and on the disk, and leaves its name before it is removed; what a killed
//! process left has a name with a dot and is swept away by the next one that adds or removes. One process at a time does
//! that. Who uses a kernel holds a shared lock on its folder; a locked one is not removed.

mod add;
mod error;
mod offer;
mod suite;
mod version;

use std::cmp::Ordering;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

pub use add::Order;
pub use error::KernelError;
pub use offer::{Offer, Package};
pub use suite::Source;

use crate::image::KernelFlavour;

const RECORD: &str = "kernel.json";
/// What is still being made or removed has a name that begins so.
const HIDDEN: char = '.';

/// A kernel in the cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachedKernel {
    /// Its release, as `uname -r` tells it; its folder's name.
    pub release: String,
    /// The package's version.
    pub version: String,
    /// The flavour.
    pub flavour: KernelFlavour,
    /// The suite that it came from.
    pub suite: String,
    /// The bytes that it takes on the disk.
    pub size: u64,
    /// The packages that it was unpacked from.
    pub packages: Vec<Package>,
    #[serde(skip)]
    folder: PathBuf,
}

impl CachedKernel {
    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The bzImage.
    #[must_use]
    pub fn image(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    /// What it was built with, in the form of `/boot/config-RELEASE`.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.join("config")
    }

    /// The folder with its modules and their indexes.
    #[must_use]
    pub fn modules(&self) -> PathBuf {
        self.folder.join("modules")
    }

    fn load(folder: PathBuf) -> Result<Self, KernelError> {
        let path = folder.join(RECORD);
        let text = fs::read(&path).map_err(KernelError::file("read", &path))?;
        let record: Self =
            serde_json::from_slice(&text).map_err(|source| KernelError::Record { path, source })?;
        Ok(Self { folder, ..record })
    }

    /// The newer one is greater; of two flavours of a version, the cloud's.
    fn order(&self, other: &Self) -> Ordering {
        version::compare(&self.version, &other.version)
            .then_with(|| other.flavour.cmp(&self.flavour))
    }

    /// Whether `wanted` names it: by its release, its package's version, or how one of them begins.
    #[must_use]
    pub fn is_named(&self, wanted: &str) -> bool {
        offer::names(wanted, &self.release, &self.version)
    }
}

/// A folder of the cache that should hold a kernel.
#[derive(Debug)]
pub struct Entry {
    /// Its name: the kernel's release.
    pub name: String,
    /// The kernel, or why it is none.
    pub kernel: Result<CachedKernel, KernelError>,
}

/// A kernel that is not removed while this lives.
#[derive(Debug)]
pub struct Held {
    _folder: File,
}

/// The cache's folder of Debian's kernels.
#[derive(Clone, Debug)]
pub struct KernelStore {
    folder: PathBuf,
}

impl KernelStore {
    /// The kernels in `folder`, which is made when one is added.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// All that the folder has, the newest kernel first, what is no kernel last.
    ///
    /// # Errors
    /// If the folder cannot be listed; that it is not there is none.
    pub fn entries(&self) -> Result<Vec<Entry>, KernelError> {
        let failed = |error| KernelError::file("list", &self.folder)(error);
        let listing = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            listing => listing.map_err(failed)?,
        };
        let mut entries = Vec::new();
        for entry in listing {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with(HIDDEN) && entry.path().is_dir() {
                let kernel = CachedKernel::load(entry.path());
                entries.push(Entry { name, kernel });
            }
        }
        entries.sort_by(|a, b| match (&a.kernel, &b.kernel) {
            (Ok(a), Ok(b)) => b.order(a),
            (Ok(_), Err(_)) => Ordering::Less,
            (Err(_), Ok(_)) => Ordering::Greater,
            (Err(_), Err(_)) => a.name.cmp(&b.name),
        });
        Ok(entries)
    }

    /// The kernels, the newest first.
    ///
    /// # Errors
    /// As [`KernelStore::entries`].
    pub fn kernels(&self) -> Result<Vec<CachedKernel>, KernelError> {
        let entries = self.entries()?.into_iter();
        Ok(entries.filter_map(|entry| entry.kernel.ok()).collect())
    }

    /// The newest kernel that `wanted` names, held.
    ///
    /// # Errors
    /// If the folder cannot be listed, or the kernel's not be locked.
    pub fn hold(&self, wanted: &str) -> Result<Option<(CachedKernel, Held)>, KernelError> {
        for kernel in self.kernels()? {
            if !kernel.is_named(wanted) {
                continue;
            }
            let failed = |error| KernelError::file("lock", &kernel.folder)(error);
            let folder = match File::open(&kernel.folder) {
                // It has just been removed.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                folder => folder.map_err(failed)?,
            };
            flock(&folder, FlockOperation::LockShared).map_err(|errno| failed(errno.into()))?;
            if is_still_at(&folder, &kernel.folder) {
                return Ok(Some((kernel, Held { _folder: folder })));
            }
        }
        Ok(None)
    }

    /// Removes the entry `name`, as [`KernelStore::entries`] names it.
    ///
    /// # Errors
    /// If it is in use, or cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), KernelError> {
        let _lock = self.lock(|| ())?;
        self.sweep()?;
        self.remove_locked(name)
    }

    /// Removes an entry; the lock is held.
    fn remove_locked(&self, name: &str) -> Result<(), KernelError> {
        let path = self.folder.join(name);
        let failed = |error| KernelError::file("remove", &path)(error);
        let folder = File::open(&path).map_err(failed)?;
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(KernelError::InUse(name.to_owned())),
            locked => locked.map_err(|errno| failed(errno.into()))?,
        }
        let gone = self.folder.join(format!("{HIDDEN}{name}.gone"));
        fs::rename(&path, &gone).map_err(failed)?;
        fs::remove_dir_all(&gone).map_err(KernelError::file("remove", &gone))
    }

    /// Waits until no other process adds or removes, and says by `waits` that it does; the lock ends with the file.
    fn lock(&self, waits: impl FnOnce()) -> Result<File, KernelError> {
        fs::create_dir_all(&self.folder).map_err(KernelError::file("create", &self.folder))?;
        let path = self.folder.join(".lock");
        let failed = |error| KernelError::file("lock", &path)(error);
        let file = File::create(&path).map_err(failed)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            waits();
            flock(&file, FlockOperation::LockExclusive).map_err(|errno| failed(errno.into()))?;
        }
        Ok(file)
    }

    /// Removes what killed processes left; the lock is held.
    fn sweep(&self) -> Result<(), KernelError> {
        let failed = |error| KernelError::file("list", &self.folder)(error);
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let left =
                name.starts_with(HIDDEN) && (name.ends_with(".part") || name.ends_with(".gone"));
            if left {
                let path = entry.path();
                fs::remove_dir_all(&path).map_err(KernelError::file("remove", &path))?;
            }
        }
        Ok(())
    }
}

/// Whether the folder that `open` was opened as is still the one at `path`.
fn is_still_at(open: &File, path: &Path) -> bool {
    let same = || {
        let (open, there) = (open.metadata().ok()?, fs::metadata(path).ok()?);
        Some((open.dev(), open.ino()) == (there.dev(), there.ino()))
    };
    same().unwrap_or(false)
}

#[cfg(test)]
mod tests;

//! Debian packages as material: fetched from a suite, unpacked into a folder of the cache that is complete or absent.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

use crate::{apt, bzimage, command};

/// A kernel package, unpacked.
#[derive(Debug)]
pub(crate) struct KernelTree {
    /// The bzImage.
    pub(crate) image: PathBuf,
    /// The module folder of its version.
    pub(crate) modules: PathBuf,
}

impl KernelTree {
    /// Finds the kernel in a tree that its packages were unpacked into, and indexes its modules.
    pub(crate) fn index(root: &Path) -> Result<Self> {
        let modules = root.join("lib/modules");
        let modules = if modules.is_dir() {
            modules
        } else {
            root.join("usr/lib/modules")
        };
        let modules = only_entry(&modules)?;
        let version = modules
            .file_name()
            .context("the kernel package has no version")?
            .to_owned();
        let depmod = apt::which("depmod").context("`depmod` (package kmod) is missing")?;
        // depmod looks for lib/modules under its base, wherever the package has put it.
        let base = modules
            .ancestors()
            .nth(3)
            .context("the modules have no base folder")?;
        command::run(Command::new(depmod).arg("-b").arg(base).arg(&version))?;
        let inside = modules.join("vmlinuz");
        let boot = root.join("boot");
        let image = boot.join(format!("vmlinuz-{}", version.to_string_lossy()));
        let image = if inside.exists() { inside } else { image };
        Ok(Self { image, modules })
    }

    /// The ELF kernel inside the bzImage.
    pub(crate) fn elf(&self) -> Result<Vec<u8>> {
        let image = fs::read(&self.image)
            .with_context(|| format!("cannot read {}", self.image.display()))?;
        bzimage::unpack(&image)
    }
}

/// The only entry of the folder `dir`.
pub(crate) fn only_entry(dir: &Path) -> Result<PathBuf> {
    let list = || format!("cannot list {}", dir.display());
    let mut entries = fs::read_dir(dir).with_context(list)?;
    let entry = entries
        .next()
        .with_context(|| format!("{} is empty", dir.display()))?;
    Ok(entry.with_context(list)?.path())
}

/// Makes the folder `dir` by `fill`, which gets another name for it until it is complete. The folder beside it, `lock`,
/// lets one process at a time do so.
pub(crate) fn make_whole(dir: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if dir.exists() {
        return Ok(());
    }
    let base = dir
        .parent()
        .context("a folder of the cache has no parent")?;
    fs::create_dir_all(base).with_context(|| format!("cannot make {}", base.display()))?;
    let lock = File::create(base.join("lock")).context("cannot make the cache's lock")?;
    flock(&lock, FlockOperation::LockExclusive).context("cannot take the cache's lock")?;
    if dir.exists() {
        return Ok(());
    }
    let part = dir.with_added_extension("part");
    if part.exists() {
        fs::remove_dir_all(&part).with_context(|| format!("cannot clear {}", part.display()))?;
    }
    fs::create_dir_all(&part).with_context(|| format!("cannot make {}", part.display()))?;
    fill(&part)?;
    fs::rename(&part, dir).with_context(|| format!("cannot make {}", dir.display()))
}

/// Unpacks the packages in `debs` whose names start with `prefix` into `root`.
pub(crate) fn unpack(debs: &Path, prefix: &str, root: &Path) -> Result<()> {
    fs::create_dir_all(root).with_context(|| format!("cannot make {}", root.display()))?;
    let list = || format!("cannot list {}", debs.display());
    let mut found = false;
    for entry in fs::read_dir(debs).with_context(list)? {
        let path = entry.with_context(list)?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.starts_with(prefix) && name.ends_with(".deb") {
            apt::unpack(&path, root)?;
            found = true;
        }
    }
    if !found {
        bail!("no package {prefix}* was fetched");
    }
    Ok(())
}

/// A short digest, for names in the cache.
pub(crate) fn digest(value: &impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

//! Folders of many small files, handed to L1 as read-only disk images: 9p is slow for those.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::debs::digest;
use crate::{apt, command, place};

/// An image of `dir`, made or found in the cache by what the folder holds now.
pub(super) fn of(dir: &Path) -> Result<PathBuf> {
    let images = place::cache()?.join("lab/images");
    fs::create_dir_all(&images).with_context(|| format!("cannot make {}", images.display()))?;
    let folder = digest(&dir);
    let image = images.join(format!("{folder}-{}.erofs", stamp(dir)?));
    if image.exists() {
        return Ok(image);
    }
    apt::ensure(&["erofs-utils"])?;
    eprintln!("lab: making a disk image of {}", dir.display());
    for entry in fs::read_dir(&images)?.filter_map(Result::ok) {
        if entry.file_name().to_string_lossy().starts_with(&folder) {
            fs::remove_file(entry.path()).context("cannot remove an image of an older state")?;
        }
    }
    let part = images.join(format!("{folder}.part"));
    let tool = apt::which("mkfs.erofs").context("`mkfs.erofs` is missing")?;
    command::run(Command::new(tool).arg("--quiet").arg(&part).arg(dir))?;
    fs::rename(&part, &image).with_context(|| format!("cannot make {}", image.display()))?;
    Ok(image)
}

/// A digest of the tree's names, sizes, kinds and times, without reading contents.
fn stamp(dir: &Path) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        let list = || format!("cannot list {}", folder.display());
        let entries = fs::read_dir(&folder).with_context(list)?;
        let mut entries = entries.collect::<Result<Vec<_>, _>>().with_context(list)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let meta = entry
                .metadata()
                .with_context(|| entry.path().display().to_string())?;
            entry.path().hash(&mut hasher);
            (meta.mode(), meta.size(), meta.uid(), meta.gid()).hash(&mut hasher);
            (meta.mtime(), meta.mtime_nsec(), meta.ctime()).hash(&mut hasher);
            if meta.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(format!("{:016x}", hasher.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_deep_in_the_tree_changes_the_stamp() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/b/file"), "1").unwrap();
        let first = stamp(dir.path()).unwrap();
        assert_eq!(stamp(dir.path()).unwrap(), first);
        fs::write(dir.path().join("a/b/file"), "22").unwrap();
        let second = stamp(dir.path()).unwrap();
        assert_ne!(second, first);
        fs::rename(dir.path().join("a/b/file"), dir.path().join("a/b/other")).unwrap();
        assert_ne!(stamp(dir.path()).unwrap(), second);
    }
}

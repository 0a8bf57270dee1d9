//! What a program must not leave behind: processes, and files in the folders that it was given.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The processes that carry `mark` in their environment, except this one.
#[must_use]
pub fn processes(mark: &str) -> Vec<u32> {
    let entries = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers
        .filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment
                .windows(mark.len())
                .any(|window| window == mark.as_bytes())
        })
        .collect()
}

/// Every file under `folder`.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let list = || format!("cannot list {}", folder.display());
        for entry in fs::read_dir(&folder).with_context(list)? {
            let entry = entry.with_context(list)?;
            if entry.file_type().with_context(list)?.is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}

/// Fails if a process with `mark` lives or a file lies in one of `folders`.
pub(crate) fn check(mark: &str, folders: &[PathBuf]) -> Result<()> {
    let processes = processes(mark);
    if !processes.is_empty() {
        bail!("processes are left behind: {processes:?}");
    }
    for folder in folders {
        let files = files(folder)?;
        if !files.is_empty() {
            bail!("files are left behind: {files:?}");
        }
    }
    Ok(())
}

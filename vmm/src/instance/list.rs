//! Who runs: the folders of a runtime directory, and what of them is left over.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::{RECORD, Record, is_locked, leftovers, lock, remove, remove_sockets};

/// A machine that runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its folder.
    pub folder: PathBuf,
    /// What it wrote down; nothing while it starts.
    pub record: Option<Record>,
}

impl Entry {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        let name = self.folder.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Where its control socket is.
    #[must_use]
    pub fn control(&self) -> PathBuf {
        match &self.record {
            Some(record) => record.control.clone(),
            None => self.folder.join(super::CONTROL),
        }
    }
}

/// All machines that run, by name; what is left of others is removed on the way.
///
/// # Errors
/// The runtime directory cannot be read; one that is not there has no machines.
pub fn list(runtime: &Path) -> io::Result<Vec<Entry>> {
    let folders = match fs::read_dir(runtime) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut entries = Vec::new();
    for folder in folders {
        let folder = folder?.path();
        entries.extend(look(&folder)?);
    }
    entries.sort_by(|a, b| a.folder.cmp(&b.folder));
    Ok(entries)
}

/// The machine called `name`, if it runs.
///
/// # Errors
/// Its folder cannot be read.
pub fn find(runtime: &Path, name: &str) -> io::Result<Option<Entry>> {
    look(&runtime.join(name))
}

/// The machine of `folder`, if it runs; removes what is left of one that does not.
fn look(folder: &Path) -> io::Result<Option<Entry>> {
    match is_locked(&folder.join(RECORD)) {
        Ok(true) => Ok(Some(Entry {
            folder: folder.to_owned(),
            record: Record::read(folder).ok(),
        })),
        Ok(false) => {
            clear(folder);
            Ok(None)
        }
        // Its machine was killed before it wrote anything; one that starts makes it again.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let _ = fs::remove_dir(folder);
            Ok(None)
        }
        // No machine's, or not one of this user's.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotADirectory | ErrorKind::PermissionDenied
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether a machine runs in `folder`.
#[must_use]
pub fn is_running(folder: &Path) -> bool {
    is_locked(&folder.join(RECORD)).unwrap_or(false)
}

/// Removes what is left in `folder` of a machine that ran, unless one has taken its name again.
pub fn clear(folder: &Path) {
    let open = || -> io::Result<File> {
        let file = OpenOptions::new().write(true).open(folder.join(RECORD))?;
        lock(&file)?;
        Ok(file)
    };
    if let Ok(_held) = open() {
        leftovers::remove(&folder.join(RECORD));
        remove_sockets(folder);
        remove(folder);
    }
}

//! What was changed on this host, written down before it is done.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Change;
use crate::lock::Lock;
use crate::whole_file;

/// The record's name in the state folder.
const RECORD: &str = "network.json";
/// What is locked by who changes the network.
const LOCK: &str = "network.lock";
/// A number of the running kernel's own: a host that was started anew has none of the changes.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// The record, held by this process alone.
#[derive(Debug)]
pub(crate) struct Ledger {
    folder: PathBuf,
    record: Record,
    lock: Option<Lock>,
}

/// What the file holds.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    version: u32,
    boot: String,
    /// Whether the last setup came to its end.
    whole: bool,
    changes: Vec<Change>,
}

/// Why the record cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    /// Another process changes the network.
    #[error("another `pcp-vmm network` is at work")]
    Busy,
    /// It cannot be read or written.
    #[error("cannot use `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is none of ours.
    #[error("`{}` is no record of the network", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Where reading stopped.
        source: serde_json::Error,
    },
}

impl Ledger {
    /// The record in `folder`, to be read.
    pub(crate) fn read(folder: &Path) -> Result<Self, LedgerError> {
        Ok(Self {
            folder: folder.to_owned(),
            record: Record::read(&folder.join(RECORD))?,
            lock: None,
        })
    }

    /// The record in `folder`, which is made if it is not there, to be written by this process alone.
    pub(crate) fn hold(folder: &Path) -> Result<Self, LedgerError> {
        let path = folder.join(LOCK);
        let failed = |source| LedgerError::File {
            path: path.clone(),
            source,
        };
        fs::create_dir_all(folder).map_err(failed)?;
        let Some(lock) = Lock::try_take(&path).map_err(failed)? else {
            return Err(LedgerError::Busy);
        };
        let mut ledger = Self::read(folder)?;
        ledger.lock = Some(lock);
        Ok(ledger)
    }

    /// What was changed, in that order.
    pub(crate) fn changes(&self) -> &[Change] {
        &self.record.changes
    }

    /// Whether a setup was interrupted.
    pub(crate) fn is_half_done(&self) -> bool {
        !self.record.changes.is_empty() && !self.record.whole
    }

    /// Whether `change` is written down.
    pub(crate) fn has(&self, is_it: impl Fn(&Change) -> bool) -> bool {
        self.record.changes.iter().any(is_it)
    }

    /// Writes down a change that is about to be made.
    pub(crate) fn begin(&mut self, change: &Change) -> Result<(), LedgerError> {
        self.record.whole = false;
        if !self.record.changes.contains(change) {
            self.record.changes.push(change.clone());
        }
        self.write()
    }

    /// Strikes out a change that is not there any more.
    pub(crate) fn strike(&mut self, change: &Change) -> Result<(), LedgerError> {
        self.record.changes.retain(|other| other != change);
        self.write()
    }

    /// Writes down that the setup came to its end.
    pub(crate) fn finish(&mut self) -> Result<(), LedgerError> {
        if self.record.changes.is_empty() {
            return Ok(());
        }
        self.record.whole = true;
        self.write()
    }

    fn write(&mut self) -> Result<(), LedgerError> {
        let path = self.folder.join(RECORD);
        let failed = |source| LedgerError::File {
            path: path.clone(),
            source,
        };
        if self.record.changes.is_empty() {
            return match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(error)),
                _ => Ok(()),
            };
        }
        self.record.version = 1;
        self.record.boot = boot();
        let text = serde_json::to_vec_pretty(&self.record).map_err(|error| failed(error.into()))?;
        whole_file::write(&path, &text, 0o644).map_err(failed)
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if self.lock.take().is_some() && self.record.changes.is_empty() {
            let _ = fs::remove_dir(&self.folder);
        }
    }
}

impl Record {
    fn read(path: &Path) -> Result<Self, LedgerError> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => {
                return Err(LedgerError::File {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let record: Self = serde_json::from_slice(&text).map_err(|source| LedgerError::Form {
            path: path.to_owned(),
            source,
        })?;
        Ok(if record.boot == boot() {
            record
        } else {
            Self::default()
        })
    }
}

fn boot() -> String {
    let text = fs::read_to_string(BOOT).unwrap_or_default();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_kept_until_they_are_struck_out() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("state");
        let mut ledger = Ledger::hold(&folder).unwrap();
        ledger.begin(&Change::Bridge).unwrap();
        ledger.begin(&Change::Rules).unwrap();
        ledger.begin(&Change::Bridge).unwrap();
        assert!(matches!(Ledger::hold(&folder), Err(LedgerError::Busy)));
        drop(ledger);
        let mut ledger = Ledger::hold(&folder).unwrap();
        assert_eq!(ledger.changes(), [Change::Bridge, Change::Rules]);
        assert!(ledger.is_half_done());
        ledger.finish().unwrap();
        assert!(!Ledger::read(&folder).unwrap().is_half_done());
        for change in [Change::Bridge, Change::Rules] {
            ledger.strike(&change).unwrap();
        }
        drop(ledger);
        assert!(!folder.exists());
    }

    #[test]
    fn a_record_of_another_boot_counts_for_nothing_and_garbage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(RECORD);
        let text = r#"{"version":1,"boot":"other","whole":true,"changes":[{"change":"bridge"}]}"#;
        fs::write(&path, text).unwrap();
        assert_eq!(Ledger::read(folder.path()).unwrap().changes(), []);
        fs::write(&path, "{").unwrap();
        let error = Ledger::read(folder.path()).unwrap_err();
        assert!(matches!(error, LedgerError::Form { .. }));
    }
}

//! The files of the state folder: what is assigned, and the pools.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::{Assignments, MacPrefix, Pools};
use crate::diagnostic::Diagnostic;
use crate::lock::Lock;
use crate::output::Stop;
use crate::whole_file;

/// What is assigned.
const FILE: &str = "ids.json";
/// The ranges of the pools, if the user says so.
const RESOURCES: &str = "idresources.json";
/// What is locked by who changes the assignments.
const LOCK: &str = "ids.lock";
/// How long others may take to change them.
const PATIENCE: Duration = Duration::from_secs(10);
/// The time between two looks at the lock.
const LOOK: Duration = Duration::from_millis(2);

/// The assignments of a state folder.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    /// The pools.
    pub(crate) pools: Pools,
    /// What is assigned.
    pub(crate) assignments: Assignments,
    /// As the file has it.
    kept: Assignments,
    lock: Option<Lock>,
}

/// Why the assignments cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// Others have them, and do not let go.
    #[error("another process has held `{}` for {} s", path.display(), PATIENCE.as_secs())]
    Busy {
        /// The lock.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("cannot use `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is none of ours.
    #[error("`{}` does not hold assigned identifiers", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Where reading stopped.
        source: serde_json::Error,
    },
    /// A newer program wrote the file.
    #[error("`{}` has a version that this program does not know", path.display())]
    Version {
        /// The file.
        path: PathBuf,
    },
    /// The pools are not good.
    #[error("`{}` does not describe pools", path.display())]
    Resources {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong.
        problems: Vec<String>,
    },
}

impl Store {
    /// What is assigned in `folder`, to be read.
    pub(crate) fn read(folder: &Path) -> Result<Self, StoreError> {
        let assignments = assignments(&folder.join(FILE))?;
        Ok(Self {
            folder: folder.to_owned(),
            pools: pools(&folder.join(RESOURCES))?,
            kept: assignments.clone(),
            assignments,
            lock: None,
        })
    }

    /// What is assigned in `folder`, which is made if it is not there, to be changed by this process alone.
    pub(crate) fn hold(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(LOCK);
        let failed = |source| StoreError::File {
            path: path.clone(),
            source,
        };
        fs::create_dir_all(folder).map_err(failed)?;
        let end = Instant::now() + PATIENCE;
        let lock = loop {
            match Lock::try_take(&path).map_err(failed)? {
                Some(lock) => break lock,
                None if Instant::now() < end => thread::sleep(LOOK),
                None => return Err(StoreError::Busy { path }),
            }
        };
        let mut store = Self::read(folder)?;
        store.lock = Some(lock);
        Ok(store)
    }

    /// What MAC addresses from here begin with.
    pub(crate) fn mac_prefix(&self) -> MacPrefix {
        MacPrefix::of(&self.folder)
    }

    /// Writes what has changed, whole or not at all.
    pub(crate) fn save(&mut self) -> Result<(), StoreError> {
        debug_assert!(self.lock.is_some(), "others may write at the same time");
        if self.assignments == self.kept {
            return Ok(());
        }
        let path = self.folder.join(FILE);
        let write = || -> io::Result<()> {
            let mut text = serde_json::to_vec_pretty(&self.assignments)?;
            text.push(b'\n');
            whole_file::write(&path, &text, 0o600)
        };
        write().map_err(|source| StoreError::File {
            path: path.clone(),
            source,
        })?;
        self.kept = self.assignments.clone();
        Ok(())
    }
}

fn assignments(path: &Path) -> Result<Assignments, StoreError> {
    let Some(text) = contents(path)? else {
        return Ok(Assignments::default());
    };
    let path = path.to_owned();
    // A newer version may have other fields.
    let version = serde_json::from_slice::<serde_json::Value>(&text).ok();
    let version = version.and_then(|it| it.get("version")?.as_u64());
    if version.is_some_and(|it| it != u64::from(Assignments::VERSION)) {
        return Err(StoreError::Version { path });
    }
    match serde_json::from_slice(&text) {
        Ok(found) => Ok(found),
        Err(source) => Err(StoreError::Form { path, source }),
    }
}

fn pools(path: &Path) -> Result<Pools, StoreError> {
    let Some(text) = contents(path)? else {
        return Ok(Pools::default());
    };
    Pools::parse(&text).map_err(|problems| StoreError::Resources {
        path: path.to_owned(),
        problems,
    })
}

/// What the file holds, if it is there.
fn contents(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::File {
            path: path.to_owned(),
            source,
        }),
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Diagnostic::from(error).into()
    }
}

impl From<StoreError> for Diagnostic {
    fn from(error: StoreError) -> Self {
        let failed = Self::failure("ids", "cannot assign identifiers").because(&error);
        match &error {
            StoreError::Busy { .. } => failed.hint("`fuser` on that file tells which one"),
            StoreError::File { .. } => failed
                .hint("`--state-dir DIR` names a folder of yours for what is kept between runs"),
            StoreError::Form { path, .. } => failed.hint(format!(
                "mend it, or remove `{}`: all VMs then get identifiers anew",
                path.display()
            )),
            StoreError::Version { .. } => failed.hint(
                "use the newer `pcp-vmm` that wrote it, or another folder (`--state-dir DIR`)",
            ),
            StoreError::Resources { problems, .. } => problems
                .iter()
                .fold(failed, |it, problem| it.cause(problem.clone()))
                .hint("a pool is written as `\"ports\": { \"min\": 28000, \"max\": 32767 }`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn give(store: &mut Store, vm: &str) -> u64 {
        let pool = store.pools.get("cids").unwrap();
        let given = store.assignments.assign("cids", pool, vm, |_| true);
        given.unwrap().id
    }

    #[test]
    fn what_was_saved_is_there_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        assert!(Store::read(&path).unwrap().assignments.ids.is_empty());
        let mut store = Store::hold(&path).unwrap();
        store.save().unwrap();
        assert!(!path.join(FILE).exists(), "nothing was assigned");
        let id = give(&mut store, "a");
        store.save().unwrap();
        drop(store);
        let mut store = Store::hold(&path).unwrap();
        assert_eq!(give(&mut store, "a"), id);
        assert_eq!(give(&mut store, "b"), id + 1);
        drop(store);
        // Not saved.
        assert_eq!(Store::read(&path).unwrap().assignments.vms().len(), 1);
    }

    #[test]
    fn those_that_come_at_once_get_different_ones() {
        let folder = tempfile::tempdir().unwrap();
        let ids: Vec<u64> = thread::scope(|scope| {
            let each = |number: u32| {
                let mut store = Store::hold(folder.path()).unwrap();
                let id = give(&mut store, &format!("vm{number}"));
                store.save().unwrap();
                id
            };
            let threads: Vec<_> = (0..20).map(|it| scope.spawn(move || each(it))).collect();
            threads.into_iter().map(|it| it.join().unwrap()).collect()
        });
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (1000..1020).collect::<Vec<u64>>());
    }

    #[test]
    fn a_file_that_is_none_of_ours_is_an_error_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        for (text, is_it) in [
            ("{", "Form"),
            ("", "Form"),
            ("[]", "Form"),
            (
                r#"{"version":1,"ids":{"ports":{"a":-1}},"lastAssignments":{}}"#,
                "Form",
            ),
            (
                r#"{"version":1,"ids":{},"lastAssignments":{},"more":1}"#,
                "Form",
            ),
            (r#"{"version":2,"identifiers":{}}"#, "Version"),
        ] {
            let path = folder.path().join(FILE);
            fs::write(&path, text).unwrap();
            let error = Store::hold(folder.path()).unwrap_err();
            assert!(format!("{error:?}").starts_with(is_it), "{text}: {error:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(Diagnostic::from(error).hints.len(), 1);
        }
        fs::remove_file(folder.path().join(FILE)).unwrap();
        fs::write(folder.path().join(RESOURCES), r#"{"cids":1,"x y":2}"#).unwrap();
        let diagnostic = Diagnostic::from(Store::read(folder.path()).unwrap_err());
        assert_eq!(diagnostic.causes.len(), 3, "{diagnostic:?}");
    }
}

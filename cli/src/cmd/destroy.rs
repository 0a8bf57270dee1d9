//! `pcp-vmm destroy`: VMs are ended, and what is kept of them is removed.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::Serialize;
use vmm::config::is_name;
use vmm::instance::Entry;

use super::image::agreed;
use super::stop::{DEFAULT, end};
use super::{ids, logins};
use crate::args::{CommonArgs, DestroyArgs};
use crate::at_once::{at_once, parted};
use crate::diagnostic::Diagnostic;
use crate::exit::Exit;
use crate::folders;
use crate::ids::Store;
use crate::instances::{RuntimeDir, named};
use crate::output::{Output, Stop};
use crate::ssh_key::SshKey;

/// What was done, in JSON.
#[derive(Debug, Serialize)]
struct Destroyed {
    names: Vec<String>,
    /// The folders whose keys are gone.
    keys: Vec<PathBuf>,
}

/// Where things are kept.
struct Kept {
    state: PathBuf,
    logs: PathBuf,
}

/// Ends VMs and removes what is kept of them.
pub(crate) fn destroy(
    args: &DestroyArgs,
    common: &CommonArgs,
    runtime: &RuntimeDir,
    output: Output,
) -> Result<Exit, Stop> {
    let kept = Kept {
        state: folders::state_dir(common)?,
        logs: folders::log_dir(common)?,
    };
    let all = runtime.all()?;
    let (entries, ended) = if args.all {
        (all, Vec::new())
    } else {
        sorted(&args.names, &all, &kept)?
    };
    let mut names: Vec<String> = entries.iter().map(Entry::name).collect();
    names.extend(ended.iter().cloned());
    if !args.force && !agreed("destroy", &names, output)? {
        return Ok(Exit::Failure);
    }
    let ends = at_once(&entries, |entry| {
        end(entry, &DEFAULT, output).map(|_| entry.clone())
    });
    let (gone, mut failed) = parted(ends);
    let directory = std::env::current_dir().ok();
    let started = gone
        .iter()
        .filter_map(|entry| entry.record.as_ref()?.directory.clone());
    let directories: BTreeSet<PathBuf> = started.chain(directory).collect();
    let names: Vec<String> = gone.iter().map(Entry::name).chain(ended).collect();
    if !names.is_empty() {
        failed.extend(ids::give_back(&kept.state, &names).err());
        failed.extend(logins::forget(&names).err());
        failed.extend(names.iter().filter_map(|name| kept.forget(name).err()));
    }
    let (keys, unfit) = parted(kept.keys_without_a_vm(&directories, runtime)?);
    failed.extend(unfit);
    let keys = keys.into_iter().flatten().collect();
    if output.is_json() {
        output.json(&Destroyed { names, keys })?;
    } else {
        for name in &names {
            output.data(format!("destroyed {name}\n"))?;
        }
        for key in &keys {
            output.note(format!("removed the SSH key of {}", key.display()));
        }
    }
    output.failures(failed)?;
    Ok(Exit::Success)
}

/// The VMs that `names` tell of: those that run, and the names of others of which something is kept.
fn sorted(
    names: &[String],
    all: &[Entry],
    kept: &Kept,
) -> Result<(Vec<Entry>, Vec<String>), Diagnostic> {
    let (mut entries, mut ended) = (Vec::<Entry>::new(), Vec::new());
    for name in names {
        match named(all, std::slice::from_ref(name)) {
            Ok(found) => {
                let fresh = found.into_iter().filter(|it| !entries.contains(it));
                let fresh: Vec<Entry> = fresh.collect();
                entries.extend(fresh);
            }
            Err(unknown) if !is_name(name) || !kept.knows(name)? => return Err(unknown),
            Err(_) if ended.contains(name) => {}
            Err(_) => ended.push(name.clone()),
        }
    }
    Ok((entries, ended))
}

impl Kept {
    /// Whether something is kept of the VM `name`.
    fn knows(&self, name: &str) -> Result<bool, Diagnostic> {
        let store = Store::read(&self.state)?;
        Ok(store.assignments.vms().contains(name)
            || self.log(name).exists()
            || self.logs.join(name).join("serial.log").exists()
            || logins::has_block(name)?)
    }

    /// What the process of a daemon says.
    fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// Removes the logs of the VM `name`. What else is in their folder stays: a folder of logs is what the user says it is.
    fn forget(&self, name: &str) -> Result<(), Diagnostic> {
        let folder = self.logs.join(name);
        let failed = |path: &Path, error: &io::Error| {
            let what = format!("cannot remove `{}`", path.display());
            Diagnostic::failure("log-dir", what).because(error)
        };
        let inside = match fs::read_dir(&folder) {
            Ok(files) => files
                .filter_map(Result::ok)
                .filter(|file| is_console_log(&file.file_name().to_string_lossy()))
                .map(|file| file.path())
                .collect(),
            Err(_) => Vec::new(),
        };
        for path in inside.iter().chain([&self.log(name)]) {
            match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(failed(path, &error));
                }
                _ => {}
            }
        }
        match fs::remove_dir(&folder) {
            Err(error)
                if ![
                    ErrorKind::NotFound,
                    ErrorKind::DirectoryNotEmpty,
                    ErrorKind::NotADirectory,
                ]
                .contains(&error.kind()) =>
            {
                Err(failed(&folder, &error))
            }
            _ => Ok(()),
        }
    }

    /// Removes the keys of `directories`, but none that a VM which runs was told.
    fn keys_without_a_vm(
        &self,
        directories: &BTreeSet<PathBuf>,
        runtime: &RuntimeDir,
    ) -> Result<Vec<Result<Option<PathBuf>, Diagnostic>>, Diagnostic> {
        let left = runtime.all()?;
        let used = |directory: &&PathBuf| {
            let key = SshKey::place(&self.state, directory);
            let has = |entry: &Entry| {
                let record = entry.record.as_ref();
                record.is_some_and(|it| it.ssh_key.as_ref() == Some(&key))
            };
            left.iter().any(has)
        };
        let unused = directories.iter().filter(|directory| !used(directory));
        let removed = unused.map(|directory| {
            let removed = SshKey::remove(&self.state, directory).map_err(|error| {
                let what = format!("cannot remove the SSH key of `{}`", directory.display());
                Diagnostic::failure("state-dir", what).because(&error)
            });
            removed.map(|was_there| was_there.then(|| directory.clone()))
        });
        Ok(removed.collect())
    }
}

/// Whether a console's log may have this name.
fn is_console_log(name: &str) -> bool {
    let Some((console, end)) = name.split_once(".log") else {
        return false;
    };
    let number = console.strip_prefix("console");
    let known = console == "serial"
        || number.is_some_and(|number| number.chars().all(|c| c.is_ascii_digit()));
    known && ["", ".1", ".last"].contains(&end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_logs_are_removed_from_a_folder_that_holds_more() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept {
            state: dir.path().join("state"),
            logs: dir.path().to_owned(),
        };
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("vm")).unwrap();
        let own = [
            "vm/serial.log",
            "vm/serial.log.last",
            "vm/console1.log.1",
            "vm.log",
        ];
        let others = [
            "vm/notes",
            "vm/serial.logs",
            "vm/console.log.2",
            "other.log",
        ];
        for name in own.iter().chain(&others) {
            fs::write(path(name), "").unwrap();
        }
        assert!(kept.knows("vm").unwrap() && !kept.knows("nobody").unwrap());
        kept.forget("vm").unwrap();
        assert!(own.iter().all(|name| !path(name).exists()));
        assert!(others.iter().all(|name| path(name).exists()));
        fs::remove_dir_all(path("vm")).unwrap();
        fs::create_dir(path("vm")).unwrap();
        kept.forget("vm").unwrap();
        assert!(!path("vm").exists());
        kept.forget("vm").unwrap();
    }
}

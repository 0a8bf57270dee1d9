//! The VMs that run, found by what the user calls them.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use vmm::control::protocol::{Answer, Request};
use vmm::control::{ControlClient, ControlError};
use vmm::instance::{self, Entry};

use crate::args::{CommonArgs, TargetArgs};
use crate::diagnostic::Diagnostic;
use crate::env;
use crate::nearest::nearest;
use crate::vm_status::PATIENCE;

/// The folder of the running VMs.
#[derive(Debug)]
pub(crate) struct RuntimeDir {
    path: PathBuf,
}

impl RuntimeDir {
    /// The folder that the user names, or the usual one.
    pub(crate) fn of(args: &CommonArgs) -> Result<Self, Diagnostic> {
        let named = env::get(env::RUNTIME_DIR).map(PathBuf::from);
        let Some(path) = args.runtime_dir.clone().or(named) else {
            let path = env::runtime_dir();
            return Ok(Self { path });
        };
        let path = std::path::absolute(path).map_err(|error| {
            Diagnostic::usage("runtime-dir", "`--runtime-dir` names no folder").because(&error)
        })?;
        Ok(Self { path })
    }

    /// The folder `path`, which is absolute.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder, to be written to: nobody else may have made it to see what we put there.
    pub(crate) fn for_a_start(&self) -> Result<&Path, Diagnostic> {
        match fs::symlink_metadata(&self.path) {
            Ok(found) if found.is_dir() => {
                let own = found.uid() == rustix::process::geteuid().as_raw();
                if own && found.mode() & 0o022 == 0 {
                    return Ok(&self.path);
                }
                let shown = self.path.display();
                Err(Diagnostic::failure(
                    "runtime-dir",
                    format!("cannot keep running VMs in `{shown}`"),
                )
                .cause("others may write to it")
                .hint("`--runtime-dir DIR` names a folder that is yours alone"))
            }
            // It is made, or what is wrong with it is told, when it is needed.
            _ => Ok(&self.path),
        }
    }

    /// All VMs that run.
    pub(crate) fn all(&self) -> Result<Vec<Entry>, Diagnostic> {
        instance::list(&self.path).map_err(|error| {
            let shown = self.path.display();
            let what = format!("cannot list the running VMs in `{shown}`");
            let diagnostic = Diagnostic::failure("runtime-dir", what).because(&error);
            match error.kind() {
                ErrorKind::PermissionDenied => diagnostic.hint(
                    "VMs of another user are managed by that user, or with `--runtime-dir DIR`",
                ),
                _ => diagnostic.hint("`--runtime-dir DIR` names another folder"),
            }
        })
    }

    /// The VMs that `target` names; never none.
    pub(crate) fn select(&self, target: &TargetArgs) -> Result<Vec<Entry>, Diagnostic> {
        let all = self.all()?;
        if target.all {
            return Ok(all);
        }
        named(&all, &target.names)
    }
}

/// Those of `all` that `names` tell of, in the order of the names and none twice.
pub(crate) fn named(all: &[Entry], names: &[String]) -> Result<Vec<Entry>, Diagnostic> {
    let mut selected: Vec<Entry> = Vec::new();
    for name in names {
        let by_name: Vec<&Entry> = all.iter().filter(|entry| entry.name() == *name).collect();
        let found = if by_name.is_empty() {
            all.iter().filter(|entry| is_called(entry, name)).collect()
        } else {
            by_name
        };
        if found.is_empty() {
            return Err(unknown(all, name));
        }
        for entry in found {
            if !selected.contains(entry) {
                selected.push(entry.clone());
            }
        }
    }
    Ok(selected)
}

/// Whether `word` is the variant or the process name of a VM.
fn is_called(entry: &Entry, word: &str) -> bool {
    let Some(record) = &entry.record else {
        return false;
    };
    [&record.variant, &record.process]
        .into_iter()
        .flatten()
        .any(|known| known == word)
}

fn unknown(all: &[Entry], name: &str) -> Diagnostic {
    let what = format!("no VM `{}` runs", name.escape_debug());
    let diagnostic = Diagnostic::failure("unknown-vm", what);
    if all.is_empty() {
        return diagnostic.hint("no VM runs at all: `pcp-vmm run` starts one");
    }
    let mut known: Vec<String> = all.iter().map(Entry::name).collect();
    let variants = all
        .iter()
        .filter_map(|entry| entry.record.as_ref()?.variant.clone());
    known.extend(variants);
    match nearest(name, known) {
        Some(nearest) => diagnostic.hint(format!("did you mean `{nearest}`?")),
        None => diagnostic.hint("`pcp-vmm ls` lists the VMs that run"),
    }
}

impl RuntimeDir {
    /// The one VM called `name`.
    pub(crate) fn one(&self, name: &str) -> Result<Entry, Diagnostic> {
        let mut found = named(&self.all()?, &[name.to_owned()])?;
        match (found.pop(), found.len()) {
            (Some(entry), 0) => Ok(entry),
            (last, _) => {
                let names: Vec<String> = found.iter().chain(&last).map(Entry::name).collect();
                let name = name.escape_debug();
                Err(
                    Diagnostic::failure("several-vms", format!("`{name}` is more than one VM"))
                        .cause(format!("these run: {}", names.join(", ")))
                        .hint("name one of them"),
                )
            }
        }
    }
}

/// A connection to the control socket of a VM.
pub(crate) fn connect(entry: &Entry) -> Result<ControlClient, Diagnostic> {
    let connected = ControlClient::connect(&entry.control(), PATIENCE);
    connected.map_err(|error| silent(entry, &error))
}

/// Has a VM do something; its answer.
pub(crate) fn ask(entry: &Entry, request: &Request) -> Result<Answer, Diagnostic> {
    let answer = connect(entry)?.ask(request);
    answer.map_err(|error| silent(entry, &error))
}

/// What is said when a VM does not do what it is asked.
pub(crate) fn silent(entry: &Entry, error: &ControlError) -> Diagnostic {
    let name = entry.name();
    match error {
        ControlError::Refused { .. } => {
            Diagnostic::failure("refused", format!("`{name}` does not do that"))
                .because(error)
                .hint(format!("`pcp-vmm status {name}` tells what it has"))
        }
        ControlError::Silent { .. } | ControlError::Garbled { .. } => {
            Diagnostic::failure("no-answer", format!("`{name}` does not answer"))
                .because(error)
                .hint(format!(
                    "`pcp-vmm ls` tells whether it still runs; `pcp-vmm kill {name}` ends it"
                ))
        }
    }
}

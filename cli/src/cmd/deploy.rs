//! `pcp-vmm deploy`: a declared set of VMs brought to the wanted state.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::ids;
use super::stop::{DEFAULT, end_quietly};
use crate::args::{CommonArgs, DeployArgs};
use crate::at_once::at_once;
use crate::deployment::{self, Steps, Wishes};
use crate::diagnostic::Diagnostic;
use crate::exit::Exit;
use crate::folders;
use crate::instances::RuntimeDir;
use crate::lock::Lock;
use crate::output::{Output, Stop};
use crate::whole_file;

/// What was started for a file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    version: u32,
    file: PathBuf,
    vms: Wishes,
}

/// Brings the VMs of a file to the wanted state.
pub(crate) fn deploy(
    args: &DeployArgs,
    common: &CommonArgs,
    runtime: &RuntimeDir,
    output: Output,
) -> Result<Exit, Stop> {
    let shown = args.file.display();
    let failed = || Diagnostic::usage("deploy", format!("cannot use `{shown}`"));
    let file = std::path::absolute(&args.file).map_err(|error| failed().because(&error))?;
    let wishes = if args.undeploy {
        Wishes::new()
    } else {
        let text = fs::read_to_string(&file).map_err(|error| {
            let what = failed().because(&error);
            what.hint("`pcp-vmm deploy --help` shows what such a file looks like")
        })?;
        deployment::parse(&text).map_err(|problems| {
            let told = problems.into_iter().fold(failed(), Diagnostic::cause);
            told.hint("`pcp-vmm deploy --help` shows what such a file looks like")
        })?
    };
    let state_dir = folders::state_dir(common)?;
    let record = format!("{}.json", folders::name_of(&file));
    let path = state_dir.join("deploy").join(record);
    // What runs is looked at, changed and written down by one at a time; who only looks may be late.
    let _lock = match args.dry_run {
        true => None,
        false => Some(lock(&path, output).map_err(|error| kept(&path, &error))?),
    };
    let mut record = read(&path).map_err(|error| kept(&path, &error))?;
    let running: BTreeSet<String> = runtime.all()?.iter().map(|entry| entry.name()).collect();
    let steps = deployment::steps(&wishes, &record.vms, &running);
    if !args.dry_run {
        strangers(&wishes, &record.vms, &running)?;
        record.file = file;
        let log_dir = folders::log_dir(common)?;
        let places = Places {
            runtime,
            log_dir,
            state_dir,
        };
        carry_out(&steps, &wishes, &mut record, &path, &places, output)?;
    }
    if output.is_json() {
        output.json(&steps)?;
    } else {
        let started = steps.start.concat();
        for (word, names) in [
            ("stop", &steps.stop),
            ("start", &started),
            ("keep", &steps.keep),
        ] {
            for name in names {
                output.data(format!("{word} {name}\n"))?;
            }
        }
    }
    Ok(Exit::Success)
}

/// VMs that run under a wanted name, and were started by others.
fn strangers(
    wishes: &Wishes,
    deployed: &Wishes,
    running: &BTreeSet<String>,
) -> Result<(), Diagnostic> {
    let names: Vec<&String> = wishes
        .keys()
        .filter(|&name| running.contains(name) && !deployed.contains_key(name))
        .collect();
    let Some(first) = names.first() else {
        return Ok(());
    };
    let what = Diagnostic::failure("name-in-use", "VMs run under names of the file");
    let what = names.iter().fold(what, |it, name| {
        it.cause(format!("`{name}` was started by somebody else"))
    });
    Err(what.hint(format!(
        "`pcp-vmm stop {first}` ends it; or give the VM of the file another name"
    )))
}

/// Where the VMs are, and what they say.
struct Places<'a> {
    runtime: &'a RuntimeDir,
    log_dir: PathBuf,
    state_dir: PathBuf,
}

fn carry_out(
    steps: &Steps,
    wishes: &Wishes,
    record: &mut Record,
    path: &Path,
    places: &Places<'_>,
    output: Output,
) -> Result<(), Stop> {
    let runtime = places.runtime;
    let entries = runtime.all()?;
    let gone: Vec<_> = entries
        .into_iter()
        .filter(|it| steps.stop.contains(&it.name()))
        .collect();
    let mut failed = end_quietly(&gone, &DEFAULT, output);
    let survivors: BTreeSet<String> = runtime.all()?.iter().map(|entry| entry.name()).collect();
    // What the file does not want any more gives back its ports.
    let unwanted = record.vms.keys().filter(|it| !wishes.contains_key(*it));
    ids::give_back(
        &places.state_dir,
        unwanted.filter(|it| !survivors.contains(*it)),
    )?;
    record
        .vms
        .retain(|name, _| steps.keep.contains(name) || survivors.contains(name));
    write(path, record).map_err(|error| kept(path, &error))?;
    for names in &steps.start {
        if !failed.is_empty() {
            break;
        }
        // Written down before it is done: what is interrupted here is stopped or kept by the next deployment.
        for name in names {
            if let Some(wanted) = wishes.get(name) {
                record.vms.insert(name.clone(), wanted.clone());
            }
        }
        write(path, record).map_err(|error| kept(path, &error))?;
        let outcomes = at_once(names, |name| {
            let flags = wishes.get(name).map(|it| it.run.as_slice());
            start(name, flags.unwrap_or_default(), places)
        });
        failed.extend(outcomes.into_iter().flatten());
    }
    if let Some(last) = failed.pop() {
        failed.push(last.hint("`pcp-vmm deploy` again goes on from here"));
    }
    output.failures(failed)
}

/// Starts one VM and waits for its guest; why it failed.
fn start(name: &str, flags: &[String], places: &Places<'_>) -> Option<Diagnostic> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["run", "--daemon", "--quiet", "--name", name]);
    command.arg("--runtime-dir").arg(places.runtime.path());
    command.arg("--log-dir").arg(&places.log_dir);
    command
        .arg("--state-dir")
        .arg(&places.state_dir)
        .args(flags);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let failed = || Diagnostic::failure("deploy", format!("`{name}` was not started"));
    match command.stderr(Stdio::piped()).output() {
        Ok(done) if done.status.success() => None,
        Ok(done) => {
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            let lines = said.lines().filter(|line| !line.trim().is_empty());
            Some(lines.fold(failed(), Diagnostic::cause))
        }
        Err(error) => Some(failed().because(&error)),
    }
}

fn read(path: &Path) -> io::Result<Record> {
    match fs::read(path) {
        Ok(text) => Ok(serde_json::from_slice(&text)?),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Record::default()),
        Err(error) => Err(error),
    }
}

/// Keeps other deployments of the same file waiting.
fn lock(path: &Path, output: Output) -> io::Result<Lock> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    Lock::take(&path.with_extension("lock"), || {
        output.note("waiting for another deployment of the file to end");
    })
}

/// Writes the record, whole or not at all; one of nothing is removed.
fn write(path: &Path, record: &mut Record) -> io::Result<()> {
    if record.vms.is_empty() {
        return whole_file::remove(path);
    }
    record.version = 1;
    whole_file::write(path, &serde_json::to_vec_pretty(record)?, 0o644)
}

fn kept(path: &Path, error: &io::Error) -> Diagnostic {
    let what = format!("cannot use the record `{}`", path.display());
    Diagnostic::failure("state-dir", what)
        .because(error)
        .hint("`--state-dir DIR` names another folder for such records")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_nothing_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deploy/x.json");
        drop(lock(&path, Output::for_usage_errors(false)).unwrap());
        let mut record = Record::default();
        record.vms.insert("a".into(), deployment::Wanted::default());
        write(&path, &mut record).unwrap();
        assert_eq!(read(&path).unwrap().vms, record.vms);
        record.vms.clear();
        write(&path, &mut record).unwrap();
        assert!(!path.exists());
    }
}

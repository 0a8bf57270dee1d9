//! `run --daemon`: the VM goes on by itself, and who started it hears whether its guest is ready.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use vmm::config::ConsoleSpec;
use vmm::instance::Entry;

use super::Surroundings;
use super::interrupted::Held;
use super::plan::Plan;
use crate::args::RunArgs;
use crate::cmd::stop::{FORCE, end};
use crate::cmd::wait;
use crate::diagnostic::Diagnostic;
use crate::exit::Exit;
use crate::folders;
use crate::output::{Output, Stop};
use crate::process::Process;
use crate::wanted::Wanted;
use crate::whole_file;

/// The flag by which the VM's own process knows that it has no terminal.
const DETACHED: &str = "--detached";
/// How long the process may take to its name in the runtime directory.
const APPEARANCE: Duration = Duration::from_secs(30);
/// The time between two looks for it.
const LOOK: Duration = Duration::from_millis(10);
/// How much of the log is shown after a failure.
const SAID_MAX: u64 = 8 << 10;

/// Starts the VM of `plan` in a process of its own, and waits until its guest is ready.
pub(super) fn start(
    args: &RunArgs,
    plan: &Plan,
    surroundings: &Surroundings<'_>,
    output: Output,
) -> Result<Exit, Stop> {
    let name = &plan.resolved.spec.name;
    if plan.resolved.spec.serial == ConsoleSpec::Stdio {
        return Err(
            Diagnostic::usage("daemon", format!("cannot run `{name}` as a daemon"))
                .cause("its serial console is this terminal")
                .hint("`--console none`, or `tcp=PORT`, `unix=PATH` or `file=PATH` leads elsewhere")
                .into(),
        );
    }
    if let Some(path) = &args.pid_file {
        free(path)?;
    }
    let folder = folders::log_dir(surroundings.common)?;
    let log = Log::open(&folder, name)?;
    let held = Held::hold().map_err(|error| {
        Diagnostic::failure("signals", "cannot take signals over").because(&error)
    })?;
    let mut child = spawn(surroundings, &log)?;
    let interrupted = held.end(child.id());
    let begin = Instant::now();
    let mut entry = None;
    let mut come_up = || -> Result<(), Diagnostic> {
        let found = entry.insert(appeared(&mut child, surroundings, begin)?);
        is_ready(plan, found, begin, args.ready_timeout)?;
        match &args.pid_file {
            Some(path) => announce(path, &child, found),
            None => Ok(()),
        }
    };
    let done = come_up();
    if let Some(signal) = interrupted.by() {
        let _ = child.wait();
        // One that was written while the VM ended is nobody's.
        if let Some(path) = &args.pid_file
            && fs::read_to_string(path).is_ok_and(|text| text.trim() == child.id().to_string())
        {
            let _ = fs::remove_file(path);
        }
        return Ok(Exit::Signal(signal));
    }
    let Err(why) = done else {
        output.note(format!(
            "{name} is ready after {:.1} s (process {})",
            begin.elapsed().as_secs_f64(),
            child.id()
        ));
        if output.is_json() {
            output.json(&serde_json::json!({
                "name": name, "pid": child.id(), "log": log.path,
                "seconds": (begin.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
            }))?;
        }
        return Ok(Exit::Success);
    };
    if let Some(entry) = entry {
        // It is of no use that it goes on, and told if it does.
        let _ = end(&entry, &FORCE, output);
    }
    let _ = child.kill();
    let _ = child.wait();
    if !output.is_json() {
        output.talk(&log.said());
    }
    Err(why
        .hint(format!("its log is `{}`", log.path.display()))
        .into())
}

/// The process that runs the VM: the same command line, and the flag that says that it is this process. Nothing is taken
/// out: only the parser knows which words are flags.
fn spawn(surroundings: &Surroundings<'_>, log: &Log) -> Result<Child, Diagnostic> {
    let words = surroundings.invocation.args.iter().skip(1);
    let mut command = Command::new("/proc/self/exe");
    let failed = |error: &io::Error| {
        Diagnostic::failure("daemon", "cannot start the VM's process").because(error)
    };
    let streams = [log.file.try_clone(), log.file.try_clone()];
    let [out, err] = streams.map(|file| file.map(Stdio::from));
    command
        .args(words)
        .arg(DETACHED)
        .stdin(Stdio::null())
        .stdout(out.map_err(|error| failed(&error))?)
        .stderr(err.map_err(|error| failed(&error))?)
        // Who waits for the guest is told by this process.
        .env_remove(crate::env::NOTIFY_SOCKET);
    command.spawn().map_err(|error| failed(&error))
}

/// The VM in the runtime directory, once it is there.
fn appeared(
    child: &mut Child,
    surroundings: &Surroundings<'_>,
    begin: Instant,
) -> Result<Entry, Diagnostic> {
    let failed = |why: String| {
        let what = "the VM did not start";
        Diagnostic::failure("daemon", what).cause(why)
    };
    loop {
        let all = surroundings.runtime.all()?;
        let is_it = |entry: &Entry| entry.record.as_ref().is_some_and(|it| it.pid == child.id());
        if let Some(entry) = all.into_iter().find(is_it) {
            return Ok(entry);
        }
        match child.try_wait() {
            Ok(None) if begin.elapsed() < APPEARANCE => std::thread::sleep(LOOK),
            Ok(None) => return Err(failed("it takes too long".to_owned())),
            Ok(Some(status)) => return Err(failed(format!("its process ended with {status}"))),
            Err(error) => return Err(failed(error.to_string())),
        }
    }
}

/// Waits until the guest is ready: as its bundle says, or, without one, until the machine answers.
fn is_ready(plan: &Plan, entry: &Entry, begin: Instant, limit: Duration) -> Result<(), Diagnostic> {
    if plan.bundle.is_some() {
        return wait::one(entry, &[Wanted::Ready], begin, Some(begin + limit)).map(drop);
    }
    let pid = entry.record.as_ref().map_or(0, |record| record.pid);
    let process = Process::open(pid).ok().flatten();
    loop {
        let answer = crate::instances::connect(entry).and_then(|mut client| {
            client
                .info()
                .map_err(|error| crate::instances::silent(entry, &error))
        });
        let ended = process.as_ref().is_none_or(|it| it.wait(LOOK));
        match answer {
            Ok(_) => return Ok(()),
            Err(_) if ended => {
                let what = format!("`{}` ended before it was ready", entry.name());
                return Err(Diagnostic::failure("ended", what));
            }
            Err(why) if begin.elapsed() > limit => return Err(why),
            Err(_) => {}
        }
    }
}

/// The log of a VM, to which its process appends.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    file: File,
    /// Where this run's part begins.
    from: u64,
}

impl Log {
    fn open(folder: &Path, name: &str) -> Result<Self, Diagnostic> {
        let path = folder.join(format!("{name}.log"));
        let open = || -> io::Result<(File, u64)> {
            fs::create_dir_all(folder)?;
            let mut options = OpenOptions::new();
            let file = options.append(true).create(true).mode(0o600).open(&path)?;
            let from = file.metadata()?.len();
            Ok((file, from))
        };
        match open() {
            Ok((file, from)) => Ok(Self { path, file, from }),
            Err(error) => {
                let what = format!("cannot write the log `{}`", path.display());
                Err(Diagnostic::failure("log-dir", what)
                    .because(&error)
                    .hint("`--log-dir DIR` names a folder of yours"))
            }
        }
    }

    /// What this run has said, its end if it is long.
    fn said(&self) -> String {
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(&self.path)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(
                self.from.max(length.saturating_sub(SAID_MAX)),
            ))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().unwrap_or_default();
        super::report::printable(&String::from_utf8_lossy(&bytes))
    }
}

/// Whether no process that lives has the PID file.
fn free(path: &Path) -> Result<(), Diagnostic> {
    let failed = || {
        let what = format!("cannot use the PID file `{}`", path.display());
        Diagnostic::failure("pid-file", what)
    };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed().because(&error)),
    };
    let pid = text.trim().parse().ok();
    let pid = pid.ok_or_else(|| {
        failed()
            .cause("it is there and holds no process's number")
            .hint("name another file, or remove this one")
    })?;
    match Process::open(pid) {
        Ok(Some(process)) if !process.wait(Duration::ZERO) => Err(failed()
            .cause(format!("process {pid} runs"))
            .hint(format!("`kill {pid}` ends it"))),
        _ => Ok(()),
    }
}

/// Writes the PID file, whole or not at all.
fn write(path: &Path, pid: u32) -> Result<(), Diagnostic> {
    whole_file::write(path, format!("{pid}\n").as_bytes(), 0o644).map_err(|error| {
        let what = format!("cannot write the PID file `{}`", path.display());
        Diagnostic::failure("pid-file", what).because(&error)
    })
}

/// Writes the PID file of a VM that goes on.
fn announce(path: &Path, child: &Child, entry: &Entry) -> Result<(), Diagnostic> {
    write(path, child.id())?;
    // One that still has its name gives it up before it removes the file, and one that has none may have looked for
    // the file before.
    if vmm::instance::is_running(&entry.folder) {
        return Ok(());
    }
    let _ = fs::remove_file(path);
    Err(Diagnostic::failure("daemon", "the VM has ended"))
}

/// The process's own PID file, which goes with it.
#[derive(Debug)]
pub(super) struct PidFile(PathBuf);

impl PidFile {
    /// That of this process, once it is written.
    pub(super) fn of(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Writes that of this process, unless one that lives has it.
    pub(super) fn write(path: &Path) -> Result<Self, Diagnostic> {
        free(path)?;
        write(path, std::process::id())?;
        Ok(Self::of(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_pid_file_belongs_to_the_process_that_lives() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vm.pid");
        free(&path).unwrap();
        write(&path, std::process::id()).unwrap();
        let why = free(&path).unwrap_err();
        assert!(why.causes.concat().contains("runs"), "{why:?}");
        let mut child = Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        write(&path, pid).unwrap();
        free(&path).unwrap();
        fs::write(&path, "x").unwrap();
        assert!(free(&path).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        drop(PidFile::of(&path));
        assert!(!path.exists());
    }

    #[test]
    fn a_log_shows_what_this_run_said() {
        let folder = tempfile::tempdir().unwrap();
        let before = Log::open(&folder.path().join("logs"), "vm").unwrap();
        (&before.file).write_all(b"old\n").unwrap();
        let log = Log::open(&folder.path().join("logs"), "vm").unwrap();
        (&log.file).write_all(b"error: \x1b[31mnew\n").unwrap();
        let said = log.said();
        assert!(said.contains("new") && !said.contains("old"), "{said}");
        assert!(!said.contains('\x1b'));
    }
}

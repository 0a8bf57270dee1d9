//! The fixture: one run of the program in surroundings of its own, which it must leave as it found them.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, process};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{Stream, leftovers, time};

/// The program under test, as `PCP_VMM_BIN` names it.
///
/// # Errors
///
/// When the variable is not set or names no file.
pub fn program() -> Result<PathBuf> {
    let name =
        env::var_os("PCP_VMM_BIN").context("PCP_VMM_BIN does not name the program to test")?;
    let path = PathBuf::from(name);
    ensure!(
        path.is_file(),
        "PCP_VMM_BIN names no file: {}",
        path.display()
    );
    Ok(path)
}

/// A running `pcp-vmm`, with its own home, temporary and runtime folders.
#[derive(Debug)]
pub struct TestVm {
    child: Child,
    stdin: Option<ChildStdin>,
    /// Its standard output; with `--console stdio`, the guest's console.
    pub out: Stream,
    /// Its standard error.
    pub err: Stream,
    home: TempDir,
    kept: Vec<TempDir>,
    mark: String,
    begin: Instant,
}

/// How a run of the program ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status, or 128 and the number of the signal that ended it.
    pub code: i32,
    /// All of its standard output.
    pub out: String,
    /// All of its standard error.
    pub err: String,
    /// How long it ran.
    pub time: Duration,
}

impl TestVm {
    /// Starts `pcp-vmm ARGUMENTS…`.
    ///
    /// # Errors
    ///
    /// When the program cannot be started.
    pub fn start<A: AsRef<OsStr>>(arguments: &[A]) -> Result<Self> {
        Self::start_with(arguments, |_| {})
    }

    /// [`Self::start`], with a say in how.
    ///
    /// # Errors
    ///
    /// When the program cannot be started.
    pub fn start_with<A: AsRef<OsStr>>(
        arguments: &[A],
        adapt: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let home = tempfile::tempdir().context("cannot make a folder for the run")?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{}-{number}-{}", process::id(), home.path().display());
        let mut command = Command::new(program()?);
        command
            .args(arguments)
            .env("PCP_VMM_TEST_RUN", &mark)
            .env("PCP_VMM_RUNTIME_DIR", home.path().join(INSTANCES))
            .env("PCP_VMM_STATE_DIR", home.path().join("state"))
            .env_remove("PCP_VMM_CACHE");
        for (variable, name) in FOLDERS {
            let folder = home.path().join(name);
            fs::create_dir(&folder).context("cannot make a folder for the run")?;
            command.env(variable, folder);
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        adapt(&mut command);
        let begin = Instant::now();
        let mut child = command.spawn().context("cannot start the program")?;
        let out = Stream::read(child.stdout.take().context("no standard output")?);
        let err = Stream::read(child.stderr.take().context("no standard error")?);
        let stdin = child.stdin.take();
        Ok(Self {
            child,
            stdin,
            out,
            err,
            home,
            kept: Vec::new(),
            mark,
            begin,
        })
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A folder that lives as long as this run, for sockets and files of the test.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.home.path()
    }

    /// The program's runtime directory.
    #[must_use]
    pub fn instances(&self) -> PathBuf {
        self.home.path().join(INSTANCES)
    }

    /// Keeps a folder of the test until the program has ended.
    #[must_use]
    pub fn keep(mut self, folder: TempDir) -> Self {
        self.kept.push(folder);
        self
    }

    /// Types `text` at the program's standard input.
    ///
    /// # Errors
    ///
    /// When the program does not read any more.
    pub fn type_in(&mut self, text: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().context("standard input is closed")?;
        stdin
            .write_all(text.as_bytes())
            .and_then(|()| stdin.flush())
            .context("cannot type")
    }

    /// Closes the program's standard input.
    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Sends `signal` to the program.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .context("no process")?;
        kill_process(pid, signal).context("cannot send a signal")
    }

    /// Waits until the program ends by itself, and checks that it left nothing behind.
    ///
    /// # Errors
    ///
    /// When it does not end within `seconds` (more in the lab), or leaves a process or a file.
    pub fn wait(mut self, seconds: u64) -> Result<Ended> {
        let end = Instant::now() + time::limit(seconds);
        let status = loop {
            if let Some(status) = self
                .child
                .try_wait()
                .context("cannot wait for the program")?
            {
                break status;
            }
            if Instant::now() > end {
                bail!(
                    "the program did not end;\nits output: {}\nits errors: {}",
                    self.out.text(),
                    self.err.text()
                );
            }
            std::thread::sleep(Duration::from_micros(500));
        };
        let time = self.begin.elapsed();
        let text = |stream: &Stream| -> Result<String> {
            Ok(String::from_utf8_lossy(&stream.wait_for_end(5)?).into_owned())
        };
        let ended = Ended {
            code: code(status),
            out: text(&self.out)?,
            err: text(&self.err)?,
            time,
        };
        // The home folder may keep a cache; these must be empty again.
        let folders = ["tmp", "runtime"].map(|name| self.home.path().join(name));
        leftovers::check(&format!("PCP_VMM_TEST_RUN={}", self.mark), &folders)
            .with_context(|| format!("after the end with {}: {}", ended.code, ended.err))?;
        Ok(ended)
    }
}

/// The program's runtime directory in its own folder.
const INSTANCES: &str = "runtime/pcp-vmm";

/// The folders that the program gets as its own.
const FOLDERS: [(&str, &str); 5] = [
    ("HOME", "home"),
    ("TMPDIR", "tmp"),
    ("XDG_RUNTIME_DIR", "runtime"),
    ("XDG_CACHE_HOME", "cache"),
    ("XDG_CONFIG_HOME", "config"),
];

impl Drop for TestVm {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            // The test has failed already; what matters is that the guest does not go on.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn code(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|number| 128 + number))
        .unwrap_or(-1)
}

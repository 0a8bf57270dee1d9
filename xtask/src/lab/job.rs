//! One call of the lab: the folder through which the host tells L1 what to run.

use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::LabArgs;
use crate::command::{shell_line, shell_quote};
use crate::place;

/// The exit status of a command that did not end in time.
pub(super) const TIMED_OUT: u8 = 124;
/// The exit status when the lab ended without the command's status.
pub(super) const NO_STATUS: u8 = 125;

/// Variables that L1 gets beside those that [`PREFIXES`] begin.
const VARIABLES: [&str; 4] = ["TERM", "HOME", "NO_COLOR", "XDG_CACHE_HOME"];
const PREFIXES: [&str; 4] = ["PCP_VMM_", "RUST", "CARGO_HOME", "NEXTEST_"];

/// A command on its way into the lab.
#[derive(Debug)]
pub(super) struct Job {
    dir: TempDir,
    /// The folder in which the command starts.
    pub(super) directory: PathBuf,
    /// Folders of the host that are writable in the lab.
    pub(super) shares: Vec<PathBuf>,
    /// Bytes that end each output stream; the command cannot print them by chance.
    pub(super) mark: String,
}

impl Job {
    /// Writes down what to run.
    pub(super) fn new(args: &LabArgs) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("pcp-vmm-lab-").tempdir();
        let dir = dir.context("cannot make a temporary folder")?;
        let work = args.work.as_deref().unwrap_or(place::top());
        let mut shares = vec![real(work)?, place::cache()?];
        for extra in &args.rw {
            shares.push(real(extra)?);
        }
        let here = env::current_dir().context("cannot tell the current folder")?;
        let inside = shares.iter().any(|share| here.starts_with(share));
        let directory = if inside { here } else { shares[0].clone() };
        let random = || RandomState::new().hash_one(0);
        let mark = format!("\0lab {:016x}{:016x}\0", random(), random()).replace('\0', "\u{1}");
        let job = Self {
            dir,
            directory,
            shares,
            mark,
        };
        job.write("cmd", &command_line(args))?;
        Ok(job)
    }

    /// The script with the command.
    pub(super) fn command_file(&self) -> PathBuf {
        self.path("cmd")
    }

    /// The path of a file of this job.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The job's folder.
    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file of this job.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Writes what L1 reads: variables, shares, and the second half of its init.
    pub(super) fn describe(&self, terminal: bool, modules: &Path) -> Result<()> {
        let mut conf = String::new();
        let mut set = |key: &str, value: &str| writeln!(conf, "{key}={}", shell_quote(value));
        set("directory", &self.directory.to_string_lossy())?;
        set("modules", &modules.to_string_lossy())?;
        set("mark", &self.mark)?;
        set("terminal", if terminal { "1" } else { "" })?;
        set("export LANG", "C.UTF-8")?;
        set("export PATH", &env::var("PATH").unwrap_or_default())?;
        set("export PCP_VMM_LAB", "1")?;
        for (key, value) in env::vars() {
            let wanted =
                VARIABLES.contains(&&*key) || PREFIXES.iter().any(|it| key.starts_with(it));
            if wanted
                && key
                    .bytes()
                    .all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
            {
                set(&format!("export {key}"), &value)?;
            }
        }
        self.write("conf", &conf)?;
        let mut list = String::new();
        for (tag, path) in self.tags() {
            writeln!(list, "{tag} {}", path.display())?;
        }
        self.write("shares", &list)?;
        let start = place::top().join("tests/lab/start");
        let start = fs::read_to_string(&start)
            .with_context(|| format!("cannot read {}", start.display()))?;
        self.write("start", &start)
    }

    /// The shares with their 9p tags.
    pub(super) fn tags(&self) -> impl Iterator<Item = (String, &Path)> {
        self.shares
            .iter()
            .enumerate()
            .map(|(index, path)| (format!("share{index}"), path.as_path()))
    }
}

fn command_line(args: &LabArgs) -> String {
    match args.command.as_slice() {
        [] => "exec bash -i\n".into(),
        [line] => format!("{line}\n"),
        words => format!("exec {}\n", shell_line(words)),
    }
}

fn real(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).with_context(|| format!("cannot use `{}`", path.display()))
}

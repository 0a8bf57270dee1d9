//! `cargo xtask fuzz`: builds the fuzz targets and runs them for a given time, each from the inputs that the
//! repository keeps and from those that earlier runs found here.

mod build;
mod report;
mod session;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

pub(crate) use report::Report;
use session::{Outcome, Progress};

use crate::place;

/// Targets that run at the same time.
const LANES: usize = 2;
/// How often the terminal is told how it goes.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// What `cargo xtask fuzz` is told.
#[derive(Args, Debug)]
pub(crate) struct FuzzArgs {
    /// The targets; all without
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// How long to run all of them in total, once they are built
    #[arg(long, value_name = "N", default_value_t = 2.0)]
    minutes: f64,
    /// Lists the targets
    #[arg(long)]
    list: bool,
    /// Runs the one target on this input alone, as after a finding
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Prints the results as JSON
    #[arg(long)]
    json: bool,
}

/// The task itself.
pub(crate) fn main(args: &FuzzArgs) -> Result<ExitCode> {
    let known = build::targets()?;
    if args.list {
        println!("{}", known.join("\n"));
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(name) = args.targets.iter().find(|name| !known.contains(name)) {
        bail!("there is no target `{name}`; `cargo xtask fuzz --list` shows them");
    }
    let targets = if args.targets.is_empty() {
        known
    } else {
        args.targets.clone()
    };
    if !(args.minutes > 0.0 && args.minutes < 1e5) {
        bail!("--minutes {} is no time to run for", args.minutes);
    }
    build::set_up()?;
    if let Some(input) = &args.input {
        let [target] = targets.as_slice() else {
            bail!("--input needs the one target that it is for");
        };
        eprintln!("building the target");
        build::build(&targets)?;
        return session::replay(target, input);
    }
    eprintln!("building {} targets", targets.len());
    build::build(&targets)?;
    let tty = std::io::stderr().is_terminal();
    let report = run(&targets, args.minutes, |line| {
        if tty {
            eprint!("\r\x1b[K{line}");
        }
    })?;
    report.print(args.json);
    Ok(if report.findings() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Builds all targets and runs them for `minutes` in total, for a stage of the tests.
pub(crate) fn stage(minutes: f64) -> Result<Report> {
    build::set_up()?;
    let targets = build::targets()?;
    build::build(&targets)?;
    run(&targets, minutes, |_| ())
}

/// Runs built targets, [`LANES`] at a time, for `minutes` in total; tells `tell` how it goes.
fn run(targets: &[String], minutes: f64, mut tell: impl FnMut(&str)) -> Result<Report> {
    let lanes = LANES.min(targets.len());
    let rounds = targets.len().div_ceil(lanes);
    let each = Duration::from_secs_f64(minutes * 60.0).div_f64(rounds as f64);
    let each = each.max(Duration::from_secs(1));
    let progress: Vec<_> = targets
        .iter()
        .map(|_| Mutex::new(Progress::default()))
        .collect();
    let next = Mutex::new(0);
    let work = || -> Result<Vec<(usize, Outcome)>> {
        let mut done = Vec::new();
        loop {
            let index = {
                let mut next = next.lock().unwrap_or_else(|e| e.into_inner());
                *next += 1;
                *next - 1
            };
            let (Some(target), Some(progress)) = (targets.get(index), progress.get(index)) else {
                return Ok(done);
            };
            done.push((index, session::run(target, each, progress)?));
        }
    };
    let outcomes = thread::scope(|scope| {
        let threads: Vec<_> = (0..lanes).map(|_| scope.spawn(work)).collect();
        while !threads.iter().all(thread::ScopedJoinHandle::is_finished) {
            tell(&line(targets, &progress));
            thread::sleep(TELL_EVERY);
        }
        tell("");
        let join = |thread: thread::ScopedJoinHandle<'_, Result<_>>| {
            thread.join().ok().context("a thread of xtask failed")?
        };
        threads.into_iter().map(join).collect::<Result<Vec<_>>>()
    })?;
    let mut outcomes: Vec<_> = outcomes.into_iter().flatten().collect();
    outcomes.sort_by_key(|(index, _)| *index);
    Ok(Report {
        outcomes: outcomes.into_iter().map(|(_, outcome)| outcome).collect(),
    })
}

/// One line about what runs now.
fn line(targets: &[String], progress: &[Mutex<Progress>]) -> String {
    let mut words = Vec::new();
    let mut done = 0;
    for (target, progress) in targets.iter().zip(progress) {
        match &*progress.lock().unwrap_or_else(|e| e.into_inner()) {
            Progress::Waiting => {}
            Progress::Running { begin, said } => {
                words.push(format!("{target} {} s {said}", begin.elapsed().as_secs()));
            }
            Progress::Done => done += 1,
        }
    }
    format!("[{done}/{}] {}", targets.len(), words.join("   "))
}

/// What the targets leave behind, out of the repository.
fn folder(kind: &str, target: &str) -> PathBuf {
    place::target().join("fuzz").join(kind).join(target)
}

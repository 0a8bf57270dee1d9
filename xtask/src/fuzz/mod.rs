//! `cargo xtask fuzz`: builds the fuzz targets and runs them for a given time, each from the inputs that the
//! repository keeps and from those that earlier runs found here.

mod build;
mod plan;
mod record;
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

use plan::Plan;
use record::Record;
pub(crate) use report::Report;
use session::Progress;

use crate::place;

/// Targets that run at the same time, unless another number is given.
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
    /// Runs each target until `fuzz/record.tsv` has this many minutes of processor time for it, and adds to that record
    /// after each piece: the run may be ended and gone on with
    #[arg(long, value_name = "N", conflicts_with = "minutes")]
    up_to: Option<f64>,
    /// How many run at the same time, in a run `--up-to`
    #[arg(long, value_name = "N", default_value_t = LANES, requires = "up_to", value_parser = lanes)]
    lanes: usize,
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
    let (option, minutes) = match args.up_to {
        Some(minutes) => ("--up-to", minutes),
        None => ("--minutes", args.minutes),
    };
    if !(minutes > 0.0 && minutes < 1e5) {
        bail!("{option} {minutes} is no time to run for");
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
    let plan = match args.up_to {
        Some(minutes) => Plan::up_to(&targets, minutes, Record::load()?),
        None => Plan::once(&targets, minutes),
    };
    let tty = std::io::stderr().is_terminal();
    let report = run(&targets, plan, args.lanes, |line| {
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
    run(&targets, Plan::once(&targets, minutes), LANES, |_| ())
}

fn lanes(text: &str) -> Result<usize> {
    let lanes: usize = text.parse()?;
    if !(1..=64).contains(&lanes) {
        bail!("from 1 to 64");
    }
    Ok(lanes)
}

/// Runs built targets as planned, so many at a time; tells `tell` how it goes.
fn run(targets: &[String], plan: Plan, lanes: usize, mut tell: impl FnMut(&str)) -> Result<Report> {
    let progress: Vec<_> = targets
        .iter()
        .map(|_| Mutex::new(Progress::default()))
        .collect();
    let plan = Mutex::new(plan);
    let plan = || plan.lock().unwrap_or_else(|e| e.into_inner());
    let work = || -> Result<()> {
        loop {
            let Some((index, time)) = plan().next() else {
                return Ok(());
            };
            let (Some(target), Some(progress)) = (targets.get(index), progress.get(index)) else {
                return Ok(());
            };
            let outcome = session::run(target, time, progress)?;
            plan().done(index, outcome)?;
        }
    };
    thread::scope(|scope| {
        let lanes = lanes.min(targets.len());
        let threads: Vec<_> = (0..lanes).map(|_| scope.spawn(work)).collect();
        while !threads.iter().all(thread::ScopedJoinHandle::is_finished) {
            tell(&line(targets, &progress));
            thread::sleep(TELL_EVERY);
        }
        tell("");
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().ok().context("a thread of xtask failed")?)
    })?;
    let outcomes = plan().outcomes();
    Ok(Report { outcomes })
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

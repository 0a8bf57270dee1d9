//! `pcp-vmm vmtest`: the targets of a `vmtest.toml`, each by `exec`.

mod trial;

use std::path::{Path, PathBuf};
use std::{env, fs};

use regex_lite::Regex;
use serde::Serialize;
use vmm::config::value::MemorySize;

use self::trial::Trial;
use super::interrupt::Interrupt;
use super::matrix::folder;
use crate::args::{CommonArgs, VmtestArgs};
use crate::diagnostic::Diagnostic;
use crate::exit::Exit;
use crate::matrix::cells::Cell;
use crate::matrix::results::{Counts, Outcome, Verdict, table};
use crate::output::{Output, Stop};
use crate::vmtest::file::{ARCH, Target, foreign, parse};
use crate::vmtest::order::Order;

/// vmtest's status for a VM that failed: sysexits' `EX_UNAVAILABLE`.
const UNAVAILABLE: u8 = 69;
const DOCUMENT: &str = "docs/vmtest.md tells what is taken, and what cannot be had";

/// What `results.json` holds, and `--json` prints.
#[derive(Debug, Serialize)]
struct Results<'a> {
    counts: Counts,
    targets: &'a [Outcome],
}

/// Runs the targets.
pub(crate) fn vmtest(args: &VmtestArgs, common: &CommonArgs, output: Output) -> Result<Exit, Stop> {
    let (targets, base) = match &args.kernel {
        Some(kernel) => (vec![alone(args, kernel)], current()?),
        None => read(args, output)?,
    };
    let orders = orders(&targets, &base)?;
    for (target, order) in targets.iter().zip(&orders) {
        for warning in &order.warnings {
            output.warn(format!("{}: {warning}", target.name));
        }
    }
    let cells = cells(&targets, &orders)?;
    if let Some(results) = &args.results {
        folder::make(results)?;
    }
    // Before there are threads: they have the same mask.
    let interrupt = Interrupt::take_over()?;
    let mut outcomes: Vec<Outcome> = Vec::new();
    for (cell, order) in cells.into_iter().zip(&orders) {
        let before = outcomes.iter().filter(|it| it.cell.name == cell.name);
        let trial = Trial {
            order,
            timeout: args.timeout,
            results: args.results.as_deref(),
            number: before.count() + 1,
            common,
            interrupt: &interrupt,
            output,
        };
        let attempts = trial.run(&cell);
        outcomes.push(Outcome::new(cell, attempts));
    }
    tell(args, &outcomes, output)?;
    Ok(match (interrupt.signal(), outcomes.as_slice()) {
        (Some(signal), _) => Exit::Signal(signal),
        (None, [one]) => Exit::Command(status(one)),
        (None, all) => Exit::Command(failures(all)),
    })
}

/// The status of one target.
fn status(outcome: &Outcome) -> u8 {
    let status = outcome.attempts.last().and_then(|it| it.status);
    match outcome.verdict {
        Verdict::Passed => 0,
        Verdict::Failed | Verdict::Timeout => status
            .and_then(|it| u8::try_from(it).ok())
            .unwrap_or(UNAVAILABLE),
        Verdict::Error | Verdict::Interrupted => UNAVAILABLE,
    }
}

/// The status of several: how many did not pass.
fn failures(outcomes: &[Outcome]) -> u8 {
    let passed = |it: &&Outcome| it.verdict == Verdict::Passed;
    let others = outcomes.len() - outcomes.iter().filter(passed).count();
    u8::try_from(others).unwrap_or(u8::MAX)
}

/// Says how all came out. Standard output is the commands', but with `--json`.
fn tell(args: &VmtestArgs, outcomes: &[Outcome], output: Output) -> Result<(), Stop> {
    let counts = Counts::of(outcomes);
    let results = Results {
        counts,
        targets: outcomes,
    };
    if let Some(results_folder) = &args.results {
        let name = args
            .config
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        folder::write(results_folder, &name, &results, outcomes)?;
    }
    if output.is_json() {
        return output.json(&results);
    }
    if outcomes.len() > 1 {
        output.note(table("TARGET", outcomes).trim_end());
        output.note(counts.told());
    }
    Ok(())
}

fn current() -> Result<PathBuf, Diagnostic> {
    env::current_dir().map_err(|error| {
        Diagnostic::failure("folder", "cannot tell the current folder").because(&error)
    })
}

/// The target that the flags give.
fn alone(args: &VmtestArgs, kernel: &Path) -> Target {
    let name = kernel.file_name().unwrap_or_default().to_string_lossy();
    let command = args.command.join(" ");
    let mut target = Target::new(name.into_owned(), kernel.to_owned(), command);
    target.kernel_args = args.kargs.clone().unwrap_or_default();
    target.qemu_command.clone_from(&args.qemu_command);
    if let Some(rootfs) = &args.rootfs {
        target.rootfs.clone_from(rootfs);
    }
    if let Some(arch) = args.arch.as_ref().filter(|it| *it != ARCH) {
        target.unfit.push(foreign(arch));
    }
    target
}

/// The targets of the file that are wanted, and its folder.
fn read(args: &VmtestArgs, output: Output) -> Result<(Vec<Target>, PathBuf), Diagnostic> {
    let filter = Regex::new(&args.filter).map_err(|error| {
        let what = format!("`{}` is no regular expression", args.filter.escape_debug());
        Diagnostic::usage("filter", what)
            .because(&error)
            .hint("`--filter` is matched with the targets' names")
    })?;
    let file = &args.config;
    let cannot = || Diagnostic::usage("vmtest", format!("cannot read `{}`", file.display()));
    let failed = |error: &std::io::Error| {
        cannot()
            .because(error)
            .hint("`--config FILE` names a vmtest.toml, and `--kernel FILE COMMAND` does without")
    };
    let text = fs::read_to_string(file).map_err(|error| failed(&error))?;
    let found = parse(&text).map_err(|problems| {
        let told = problems.iter().map(|it| format!("{}:{it}", file.display()));
        told.fold(cannot(), Diagnostic::cause).hint(DOCUMENT)
    })?;
    for warning in &found.warnings {
        output.warn(format!("{}:{warning}", file.display()));
    }
    let all = found.targets.len();
    let mut wanted = found.targets;
    wanted.retain(|target| filter.is_match(&target.name));
    if wanted.is_empty() {
        let what = format!("none of the {all} targets is to be run");
        return Err(Diagnostic::usage("filter", what)
            .cause(format!("`{}` matches no name", args.filter.escape_debug())));
    }
    let folder = match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let folder = fs::canonicalize(folder).map_err(|error| failed(&error))?;
    Ok((wanted, folder))
}

/// What the targets are for `exec`: all, or all that none of them can have.
fn orders(targets: &[Target], base: &Path) -> Result<Vec<Order>, Diagnostic> {
    let mut problems = Vec::new();
    let mut orders = Vec::new();
    for target in targets {
        match Order::of(target, base) {
            Ok(order) => orders.push(order),
            Err(why) => problems.extend(why.into_iter().map(|it| (&target.name, it))),
        }
    }
    if problems.is_empty() {
        return Ok(orders);
    }
    let first = Diagnostic::usage("vmtest", "cannot run these targets");
    let all = problems.into_iter().fold(first, |diagnostic, (name, why)| {
        diagnostic.cause(format!("`{}`: {why}", name.escape_debug()))
    });
    Err(all.hint(DOCUMENT).hint("`--filter` leaves targets out"))
}

/// The targets as the results have them.
fn cells(targets: &[Target], orders: &[Order]) -> Result<Vec<Cell>, Diagnostic> {
    let cell = |(target, order): (&Target, &Order)| {
        let wrong = |what: &str, value: &str| {
            let what = format!("`{}`: {what} is `{}`", target.name, value.escape_debug());
            Diagnostic::usage("vmtest", what).hint(DOCUMENT)
        };
        let memory: Result<MemorySize, _> = order.memory.parse();
        let memory = memory.map_err(|_| wrong("memory", &order.memory))?;
        let cpus = order.cpus.parse();
        Ok(Cell {
            name: target.name.clone(),
            kernel: order.kernel.to_string_lossy().into_owned(),
            root: None,
            variant: None,
            parameters: [].into(),
            memory: memory.0,
            cpus: cpus.map_err(|_| wrong("num_cpus", &order.cpus))?,
            flags: order.flags.clone(),
        })
    };
    targets.iter().zip(orders).map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::results::tests::outcome;

    #[test]
    fn one_target_ends_as_its_command_and_several_by_their_failures() {
        let of = |verdict, code| outcome("a", &[(verdict, code)]);
        assert_eq!(status(&of(Verdict::Passed, 0)), 0);
        assert_eq!(status(&of(Verdict::Failed, 137)), 137);
        assert_eq!(status(&of(Verdict::Failed, 69)), 69);
        assert_eq!(status(&of(Verdict::Timeout, 124)), 124);
        assert_eq!(status(&of(Verdict::Error, 125)), UNAVAILABLE);
        assert_eq!(status(&outcome("a", &[])), UNAVAILABLE);
        let mut many = vec![of(Verdict::Failed, 1), of(Verdict::Passed, 0)];
        assert_eq!(failures(&many), 1);
        many.extend((0..300).map(|_| of(Verdict::Error, 125)));
        assert_eq!(failures(&many), 255);
    }
}

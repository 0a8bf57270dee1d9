//! `pcp-vmm matrix`: a command over kernels, roots, machines and parameters.

mod board;
pub(super) mod folder;
mod trial;

use std::fs;
use std::path::Path;
use std::thread::available_parallelism;

use serde::Serialize;

use self::board::Board;
use self::trial::Trial;
use super::interrupt::Interrupt;
use crate::args::{CommonArgs, MatrixArgs};
use crate::diagnostic::Diagnostic;
use crate::exit::Exit;
use crate::matrix::cells::{Cell, cells};
use crate::matrix::file::{Matrix, parse};
use crate::matrix::results::{Counts, Outcome, table};
use crate::matrix::schedule::{Share, within};
use crate::output::{Output, Stop};

/// What `results.json` holds, and `--json` prints.
#[derive(Debug, Serialize)]
struct Results<'a> {
    file: &'a Path,
    counts: Counts,
    cells: &'a [Outcome],
}

/// Runs the matrix.
pub(crate) fn matrix(args: &MatrixArgs, common: &CommonArgs, output: Output) -> Result<Exit, Stop> {
    let matrix = read(&args.file)?;
    let cells = cells(&matrix);
    let budget = budget(args, &matrix)?;
    fitting(&cells, budget, args)?;
    if args.list {
        return list(&cells, output);
    }
    folder::make(&args.results)?;
    // Before there are threads: they have the same mask.
    let interrupt = Interrupt::take_over()?;
    let board = Board::new(cells.len(), output);
    let trial = Trial {
        matrix: &matrix,
        results: &args.results,
        common,
        interrupt: &interrupt,
    };
    let shares: Vec<Share> = cells.iter().map(share).collect();
    let run = |number: usize| cells.get(number).map(|cell| trial.run(cell, &board));
    let attempts = within(budget, &shares, || interrupt.signal().is_some(), run);
    board.close();
    let outcomes: Vec<Outcome> = cells
        .into_iter()
        .zip(attempts)
        .map(|(cell, attempts)| Outcome::new(cell, attempts.flatten().unwrap_or_default()))
        .collect();
    let counts = Counts::of(&outcomes);
    let results = Results {
        file: &args.file,
        counts,
        cells: &outcomes,
    };
    let name = args.file.file_name().unwrap_or_default().to_string_lossy();
    folder::write(&args.results, &name, &results, &outcomes)?;
    if output.is_json() {
        output.json(&results)?;
    } else {
        output.data(table("CELL", &outcomes))?;
        output.note(counts.told());
    }
    Ok(match interrupt.signal() {
        Some(signal) => Exit::Signal(signal),
        None if counts.passed == counts.cells => Exit::Success,
        None => Exit::Failure,
    })
}

fn read(file: &Path) -> Result<Matrix, Diagnostic> {
    let cannot = || Diagnostic::usage("matrix", format!("cannot read `{}`", file.display()));
    let text = fs::read_to_string(file).map_err(|error| cannot().because(&error))?;
    parse(&text).map_err(|problems| {
        let told = problems.iter().map(|it| format!("{}:{it}", file.display()));
        told.fold(cannot(), Diagnostic::cause)
            .hint("docs/matrix.md describes the file")
    })
}

fn share(cell: &Cell) -> Share {
    Share {
        memory: cell.memory,
        cpus: cell.cpus,
    }
}

/// What the cells may take together: as asked for, as the file says, or of what this machine has.
fn budget(args: &MatrixArgs, matrix: &Matrix) -> Result<Share, Diagnostic> {
    let named = args.memory.map(|it| it.0).or(matrix.budget.memory);
    let memory = named.map_or_else(free_memory, Ok)?;
    let processors =
        || available_parallelism().map_or(1, |it| u32::try_from(it.get()).unwrap_or(1));
    let cpus = args.cpus.or(matrix.budget.cpus);
    Ok(Share {
        memory,
        cpus: cpus.unwrap_or_else(processors),
    })
}

/// Three quarters of what programs can still have (`MemAvailable`, proc_meminfo(5)).
fn free_memory() -> Result<u64, Diagnostic> {
    let failed = || {
        Diagnostic::failure("memory", "cannot tell this machine's free memory")
            .hint("`--memory SIZE` says how much guests may have together")
    };
    let text = fs::read_to_string("/proc/meminfo").map_err(|error| failed().because(&error))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kib.ok_or_else(failed)? * 1024 / 4 * 3)
}

/// Refuses cells that never fit.
fn fitting(cells: &[Cell], budget: Share, args: &MatrixArgs) -> Result<(), Diagnostic> {
    let large: Vec<_> = cells.iter().filter(|it| !budget.holds(share(it))).collect();
    if cells.is_empty() {
        let what = format!("`{}` has no cells", args.file.display());
        return Err(Diagnostic::usage("matrix", what).hint("`exclude` leaves all of them out"));
    }
    if large.is_empty() {
        return Ok(());
    }
    let mib = |bytes: u64| bytes >> 20;
    let what = format!(
        "{} of {} cells want more than the budget of {} MiB and {} vCPUs",
        large.len(),
        cells.len(),
        mib(budget.memory),
        budget.cpus
    );
    let told = large.iter().take(5).map(|cell| {
        let (memory, cpus) = (mib(cell.memory), cell.cpus);
        format!("`{}` wants {memory} MiB and {cpus} vCPUs", cell.name)
    });
    Err(told
        .fold(Diagnostic::usage("budget", what), Diagnostic::cause)
        .hint("`--memory SIZE` and `--cpus N` give more"))
}

fn list(cells: &[Cell], output: Output) -> Result<Exit, Stop> {
    if output.is_json() {
        output.json(&cells)?;
    } else {
        let lines = cells.iter().map(|it| format!("{}\n", it.name));
        output.data(lines.collect::<String>())?;
    }
    Ok(Exit::Success)
}

//! `pcp-vmm lifecycle`: guests tested from their build to their end.

mod board;
mod consoles;
mod deep;
mod depth;
mod finish;
mod inside;
mod machine;
mod promised;
mod state;
mod test;

pub(crate) use deep::test as test_deeply;

use std::fs;
use std::path::Path;
use std::time::Instant;

use vmm::control::protocol::ConsoleName;

use self::board::Board;
use self::inside::Inquiry;
use self::machine::Machine;
use self::test::Suite;
use super::run::load_bundle;
use crate::args::{CommonArgs, LifecycleVerb, PhaseArgs, TestArgs};
use crate::diagnostic::Diagnostic;
use crate::exit::Exit;
use crate::instances::RuntimeDir;
use crate::lifecycle::case::Case;
use crate::lifecycle::report::{CaseReport, SuiteReport, Verdict};
use crate::lifecycle::{Ledger, Limits, Phase, junit, text};
use crate::output::{Output, Stop};

/// The network devices of this machine.
const DEVICES: &str = "/sys/class/net";

/// Does what `verb` says.
pub(crate) fn dispatch(
    verb: LifecycleVerb,
    common: &CommonArgs,
    runtime: &RuntimeDir,
    output: Output,
) -> Result<Exit, Stop> {
    match verb {
        LifecycleVerb::Test(args) => test(&args, common, runtime, output),
        LifecycleVerb::Phase(args) => phase(&args, common, runtime, output),
        LifecycleVerb::Status(args) => state::status(&args, runtime, output),
        LifecycleVerb::ForceKill(args) => state::force_kill(&args, runtime, output),
    }
}

/// The test of a bundle's guest.
fn case_of(bundle: &Path) -> Result<Case, Diagnostic> {
    let bundle = load_bundle(bundle)?;
    Ok(Case {
        name: bundle.variant.clone(),
        variant: bundle.variant,
        tap: false,
    })
}

fn test(
    args: &TestArgs,
    common: &CommonArgs,
    runtime: &RuntimeDir,
    output: Output,
) -> Result<Exit, Stop> {
    let cases = match &args.bundle {
        Some(dir) => vec![case_of(dir)?],
        None if args.all => Case::select(&args.only, &args.skip)?,
        None => Case::select(&args.variant, &[])?,
    };
    let begin = Instant::now();
    let suite = Suite {
        common,
        runtime,
        limits: Limits::new(args.common.timeout_scale, &args.common.timeout),
        flags: &args.common.run,
        runner: args.runner.as_deref(),
        bundle: args.bundle.as_deref(),
        phases: &Phase::ALL,
        keep: None,
        output,
    };
    runtime.for_a_start()?;
    if let Some(path) = &args.junit {
        // A file that cannot be written is told before the work, not after it.
        written(path, "")?;
    }
    let mut reports: Vec<CaseReport> = Vec::new();
    for case in &cases {
        if let Some(reason) = case.obstacle(Path::new(DEVICES)) {
            output.note(text::skipped(&case.name, &reason).trim_end());
            reports.push(CaseReport::skipped(&case.name, reason));
            continue;
        }
        reports.push(suite.test(case).0);
    }
    let report = SuiteReport::new(reports, begin.elapsed());
    if let Some(path) = &args.junit {
        written(path, &junit::xml(&report))?;
    }
    if output.is_json() {
        output.json(&report)?;
    } else if output.is_quiet() || report.tests.len() > 1 {
        output.data(text::summary(&report))?;
    }
    Ok(match report.failed {
        0 => Exit::Success,
        _ => Exit::Failure,
    })
}

fn written(path: &Path, contents: &str) -> Result<(), Diagnostic> {
    fs::write(path, contents).map_err(|error| {
        Diagnostic::failure("junit", format!("cannot write `{}`", path.display())).because(&error)
    })
}

/// One phase alone.
fn phase(
    args: &PhaseArgs,
    common: &CommonArgs,
    runtime: &RuntimeDir,
    output: Output,
) -> Result<Exit, Stop> {
    let case = match (&args.bundle, &args.variant) {
        (Some(dir), _) => case_of(dir)?,
        (None, Some(name)) => Case::find(name)?,
        (None, None) => return Err(Diagnostic::usage("usage", "no variant is named").into()),
    };
    if let Some(reason) = case.obstacle(Path::new(DEVICES)) {
        return Err(Diagnostic::failure("network", reason).into());
    }
    let phases = [args.phase];
    let suite = Suite {
        common,
        runtime,
        limits: Limits::new(args.common.timeout_scale, &args.common.timeout),
        flags: &args.common.run,
        runner: None,
        bundle: args.bundle.as_deref(),
        phases: &phases,
        keep: None,
        output,
    };
    let ledger = Ledger::new(
        &case.name,
        &case.variant,
        &phases,
        &suite.limits,
        Instant::now(),
    );
    let board = Board::new(ledger, output);
    alone(&suite, &case, args.phase, &board)?;
    let (report, _) = board.close(None);
    if output.is_json() {
        output.json(&report)?;
    }
    Ok(match report.verdict {
        Verdict::Passed => Exit::Success,
        _ => Exit::Failure,
    })
}

fn alone(suite: &Suite<'_>, case: &Case, phase: Phase, board: &Board) -> Result<(), Stop> {
    if phase == Phase::Build {
        suite.build(case, board);
        return Ok(());
    }
    let bundle = match suite.bundle {
        Some(dir) => load_bundle(dir)?,
        None => super::image::bundle_of(
            &case.variant,
            phase != Phase::Start,
            suite.common,
            suite.output,
        )?,
    };
    if phase == Phase::Start {
        suite.start(case, &bundle, board, true);
        return Ok(());
    }
    let Some(mut machine) = Machine::running(suite.runtime, &bundle)? else {
        if phase == Phase::Exit {
            board.begin(phase);
            board.pass(phase, "VM exited cleanly");
            board.end(phase);
            return Ok(());
        }
        let what = format!("no VM `{}` runs", bundle.hostname);
        return Err(Diagnostic::failure("unknown-vm", what)
            .hint(format!(
                "`pcp-vmm lifecycle phase start --variant {}` starts it",
                case.name
            ))
            .into());
    };
    match phase {
        Phase::Serial | Phase::Virtio => consoles::check(&machine, phase, board),
        Phase::Services | Phase::Metrics => {
            let inquiry = Inquiry {
                machine: &machine,
                bundle: &bundle,
                limits: &suite.limits,
                board,
            };
            inquiry.check(&[phase]);
        }
        Phase::Depth => {
            let mut shell = inside::connect(&machine, &suite.limits).ok();
            depth::check(&bundle, shell.as_mut(), &suite.limits, board);
        }
        Phase::Shutdown => {
            let mut shell = inside::connect(&machine, &suite.limits).ok();
            finish::shut_down(&machine, shell.as_mut(), board);
        }
        _ => finish::wait_exit(&mut machine, board, suite.output),
    }
    Ok(())
}

/// The consoles, in the order of the phases.
const CONSOLES: [ConsoleName; 2] = [ConsoleName::Serial, ConsoleName::Virtio];

//! `pcp-vmm test`: the deeper suite, with its results in a folder.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use vmm::control::protocol::ConsoleName;

use super::machine::Machine;
use super::test::Suite;
use super::{DEVICES, case_of, junit, text};
use crate::args::{CommonArgs, ConsoleArg, DeepArgs};
use crate::diagnostic::Diagnostic;
use crate::exit::Exit;
use crate::instances::RuntimeDir;
use crate::lifecycle::case::Case;
use crate::lifecycle::report::{CaseReport, SuiteReport};
use crate::lifecycle::{Limits, Phase};
use crate::output::{Output, Stop};

/// What the deeper suite does.
pub(super) const PHASES: [Phase; 7] = [
    Phase::Build,
    Phase::Start,
    Phase::Services,
    Phase::Metrics,
    Phase::Depth,
    Phase::Shutdown,
    Phase::Exit,
];
/// How long a console may take to tell its past.
const PATIENCE: Duration = Duration::from_secs(2);

/// Runs the deeper suite.
pub(crate) fn test(
    args: &DeepArgs,
    common: &CommonArgs,
    runtime: &RuntimeDir,
    output: Output,
) -> Result<Exit, Stop> {
    let cases = match (&args.bundle, args.all) {
        (Some(dir), _) => vec![case_of(dir)?],
        (None, true) => Case::select(&[], &[])?,
        (None, false) => Case::select(&args.variant, &[])?,
    };
    runtime.for_a_start()?;
    let begin = Instant::now();
    let mut reports = Vec::new();
    for case in &cases {
        if let Some(reason) = case.obstacle(Path::new(DEVICES)) {
            output.note(text::skipped(&case.name, &reason).trim_end());
            reports.push(CaseReport::skipped(&case.name, reason));
            continue;
        }
        let folder = folder_of(&args.results, case);
        fs::create_dir_all(&folder).map_err(|error| unwritten(&folder, &error))?;
        let suite = Suite {
            common,
            runtime,
            limits: Limits::new(args.common.timeout_scale, &args.common.timeout),
            flags: &args.common.run,
            runner: None,
            bundle: args.bundle.as_deref(),
            phases: &PHASES,
            keep: Some(&folder),
            output,
        };
        let (report, said) = suite.test(case);
        let one = SuiteReport::new(vec![report.clone()], begin.elapsed());
        let json = serde_json::to_string_pretty(&one)
            .map_err(|error| Diagnostic::failure("json", "cannot write JSON").because(&error))?;
        for (name, contents) in [
            ("results.txt", said),
            ("results.json", json),
            ("junit.xml", junit::xml(&one)),
        ] {
            let path = folder.join(name);
            fs::write(&path, contents).map_err(|error| unwritten(&path, &error))?;
        }
        output.note(format!("the results are in {}", folder.display()));
        reports.push(report);
    }
    let report = SuiteReport::new(reports, begin.elapsed());
    if output.is_json() {
        output.json(&report)?;
    }
    Ok(match report.failed {
        0 => Exit::Success,
        _ => Exit::Failure,
    })
}

/// Where the results of `case` go: `base-user`, `base-tap`.
fn folder_of(results: &Path, case: &Case) -> PathBuf {
    let net = if case.tap { "tap" } else { "user" };
    results.join(format!("{}-{net}", case.variant))
}

fn unwritten(path: &Path, error: &std::io::Error) -> Diagnostic {
    Diagnostic::failure("results", format!("cannot write `{}`", path.display())).because(error)
}

/// Keeps what the consoles have printed in `folder`.
pub(super) fn keep_consoles(machine: &Machine, folder: &Path) {
    let all = [
        (ConsoleArg::Serial, ConsoleName::Serial),
        (ConsoleArg::Virtio, ConsoleName::Virtio),
    ];
    for (which, name) in all {
        let Ok(attached) = machine.attach(Some(which), None) else {
            continue;
        };
        let mut past = attached.read;
        let more = attached.past.saturating_sub(past.len() as u64);
        if attached.stream.set_read_timeout(Some(PATIENCE)).is_ok() {
            // What does not come is not kept.
            let _ = attached.stream.take(more).read_to_end(&mut past);
        }
        let path = folder.join(format!("console-{}.log", name.device()));
        if let Err(error) = fs::write(&path, past) {
            log::warn!("cannot write `{}`: {error}", path.display());
        }
    }
}

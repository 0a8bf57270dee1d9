//! `pcp-vmm doctor`: what this machine lacks.

use std::fmt::Write;

use serde::Serialize;

use crate::doctor::{self, Check, State};
use crate::exit::Exit;
use crate::output::{Output, Stop};

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    /// Whether nothing failed.
    ok: bool,
    /// Each thing that was looked at.
    checks: &'a [Check],
}

/// Looks at the machine and reports.
pub(crate) fn doctor(output: Output) -> Result<Exit, Stop> {
    report(&doctor::checks(), output)
}

/// Reports `checks`.
pub(super) fn report(checks: &[Check], output: Output) -> Result<Exit, Stop> {
    let ok = checks.iter().all(|check| check.state != State::Fail);
    if output.is_json() {
        output.json(&Report { ok, checks })?;
    } else {
        output.data(text(checks, output))?;
    }
    Ok(if ok { Exit::Success } else { Exit::Failure })
}

fn text(checks: &[Check], output: Output) -> String {
    let mut text = String::new();
    let width = checks
        .iter()
        .map(|check| check.name.len())
        .max()
        .unwrap_or(0);
    for check in checks {
        if output.is_quiet() && check.state == State::Ok {
            continue;
        }
        let color = match check.state {
            State::Ok => "32",
            State::Warn => "33;1",
            State::Fail => "31;1",
        };
        let word = output.paint_data(color, &format!("{:<4}", check.state.word()));
        let (name, message) = (check.name, &check.message);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{word}  {name:<width$}  {message}");
        if let Some(hint) = &check.hint {
            let _ = writeln!(text, "      {:<width$}  hint: {hint}", "");
        }
    }
    text
}

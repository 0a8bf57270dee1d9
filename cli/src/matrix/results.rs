//! What became of the cells.

use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;
use serde_json::Value;

use super::cells::Cell;
use crate::table::Table;

/// How a run of a cell came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// The command ended with status 0.
    Passed,
    /// It ended with another, or by a signal, or is not there.
    Failed,
    /// Its time was up.
    Timeout,
    /// The VM or its kernel failed, or could not be started.
    Error,
    /// It was not run, or not to its end, since the matrix was interrupted.
    Interrupted,
}

impl Verdict {
    /// That of `exec`'s status and the reason in its report: a command has statuses of its own.
    pub(crate) fn of(status: Option<i32>, reason: Option<&str>) -> Self {
        match (status, reason) {
            (_, Some("timeout")) => Self::Timeout,
            (_, Some("interrupted")) => Self::Interrupted,
            (Some(0), _) => Self::Passed,
            (Some(_), Some("exited" | "signalled" | "not-found" | "not-executable")) => {
                Self::Failed
            }
            _ => Self::Error,
        }
    }

    /// Its word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Error => "error",
            Self::Interrupted => "interrupted",
        }
    }
}

/// One run of a cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Attempt {
    /// How it came out.
    pub(crate) verdict: Verdict,
    /// The status of `exec`, or what ended it otherwise.
    pub(crate) status: Option<i32>,
    /// The seconds that it took.
    pub(crate) seconds: f64,
    /// What command and kernel said, if it is kept.
    pub(crate) log: Option<PathBuf>,
    /// The report of `exec`, if it wrote one.
    pub(crate) report: Option<Value>,
}

impl Attempt {
    /// A run since `begin` that ended with `status` and left `report`; a signal to this program may be why.
    pub(crate) fn since(
        begin: Instant,
        status: Option<i32>,
        report: Option<Value>,
        log: Option<PathBuf>,
        interrupted: bool,
    ) -> Self {
        let reason = report.as_ref().and_then(|it| it.get("reason")?.as_str());
        let verdict = if interrupted && status != Some(0) {
            Verdict::Interrupted
        } else {
            Verdict::of(status, reason)
        };
        Self {
            verdict,
            status,
            seconds: begin.elapsed().as_secs_f64(),
            log,
            report,
        }
    }
}

/// All runs of a cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Outcome {
    /// The cell.
    #[serde(flatten)]
    pub(crate) cell: Cell,
    /// The last run's verdict.
    pub(crate) verdict: Verdict,
    /// Whether it took another run to pass.
    pub(crate) flaky: bool,
    /// The runs, in order.
    pub(crate) attempts: Vec<Attempt>,
}

impl Outcome {
    /// What `attempts` come to; none is one that was not begun.
    pub(crate) fn new(cell: Cell, attempts: Vec<Attempt>) -> Self {
        let verdict = attempts
            .last()
            .map_or(Verdict::Interrupted, |it| it.verdict);
        Self {
            cell,
            verdict,
            flaky: verdict == Verdict::Passed && attempts.len() > 1,
            attempts,
        }
    }

    /// The seconds of all runs.
    pub(crate) fn seconds(&self) -> f64 {
        self.attempts.iter().fold(0.0, |sum, it| sum + it.seconds)
    }

    /// How it came out, in words: retries are told.
    pub(crate) fn told(&self) -> String {
        let word = self.verdict.word();
        let status = self.attempts.last().and_then(|it| it.status);
        let word = match (self.verdict, status) {
            (Verdict::Failed, Some(status)) => format!("{word} ({status})"),
            _ => word.to_owned(),
        };
        match self.attempts.as_slice() {
            [] | [_] => word,
            [before @ .., _] => {
                let before: Vec<_> = before.iter().map(|it| it.verdict.word()).collect();
                format!("{word}, after {}", before.join(", "))
            }
        }
    }
}

/// How many cells came out how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// All cells.
    pub(crate) cells: usize,
    /// Those that passed, with or without retries.
    pub(crate) passed: usize,
    /// Those that passed, but not at once.
    pub(crate) flaky: usize,
    /// Those whose command failed.
    pub(crate) failed: usize,
    /// Those whose time was up.
    pub(crate) timeout: usize,
    /// Those whose VM failed.
    pub(crate) error: usize,
    /// Those that were not run to their end.
    pub(crate) interrupted: usize,
}

impl Counts {
    /// Those of `outcomes`.
    pub(crate) fn of(outcomes: &[Outcome]) -> Self {
        let count = |verdict| outcomes.iter().filter(|it| it.verdict == verdict).count();
        Self {
            cells: outcomes.len(),
            passed: count(Verdict::Passed),
            flaky: outcomes.iter().filter(|it| it.flaky).count(),
            failed: count(Verdict::Failed),
            timeout: count(Verdict::Timeout),
            error: count(Verdict::Error),
            interrupted: count(Verdict::Interrupted),
        }
    }

    /// In a sentence.
    pub(crate) fn told(self) -> String {
        let mut parts = vec![format!("{} of {} passed", self.passed, self.cells)];
        for (number, what) in [
            (self.flaky, "of them only after a retry"),
            (self.failed, "failed"),
            (self.timeout, "took too long"),
            (self.error, "whose VM failed"),
            (self.interrupted, "interrupted"),
        ] {
            if number > 0 {
                parts.push(format!("{number} {what}"));
            }
        }
        parts.join(", ")
    }
}

/// The outcomes as a table; `what` is the head of their names.
pub(crate) fn table(what: &str, outcomes: &[Outcome]) -> String {
    let mut table = Table::new(&[what, "RESULT", "SECONDS", "LOG"]);
    for outcome in outcomes {
        let log = outcome.attempts.last().and_then(|it| it.log.as_ref());
        let log = log.map(|it| it.display().to_string());
        table.row([
            outcome.cell.name.clone(),
            outcome.told(),
            format!("{:.1}", outcome.seconds()),
            log.unwrap_or_default(),
        ]);
    }
    table.text()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn outcome(name: &str, verdicts: &[(Verdict, i32)]) -> Outcome {
        let cell = Cell {
            name: name.to_owned(),
            kernel: "6.1".to_owned(),
            root: None,
            variant: None,
            parameters: [("N".to_owned(), "1".to_owned())].into(),
            memory: 512 << 20,
            cpus: 1,
            flags: Vec::new(),
        };
        let attempts = verdicts.iter().map(|(verdict, status)| Attempt {
            verdict: *verdict,
            status: Some(*status),
            seconds: 1.25,
            log: Some(format!("results/{name}.log").into()),
            report: None,
        });
        Outcome::new(cell, attempts.collect())
    }

    #[test]
    fn a_commands_own_status_is_told_from_those_of_exec() {
        assert_eq!(Verdict::of(Some(0), Some("exited")), Verdict::Passed);
        assert_eq!(Verdict::of(Some(124), Some("exited")), Verdict::Failed);
        assert_eq!(Verdict::of(Some(124), Some("timeout")), Verdict::Timeout);
        assert_eq!(Verdict::of(Some(125), Some("guest-panic")), Verdict::Error);
        assert_eq!(Verdict::of(Some(125), None), Verdict::Error);
        assert_eq!(Verdict::of(None, None), Verdict::Error);
        assert_eq!(Verdict::of(Some(139), Some("signalled")), Verdict::Failed);
    }

    #[test]
    fn retries_are_told() {
        let outcomes = [
            outcome("a", &[(Verdict::Passed, 0)]),
            outcome("b", &[(Verdict::Error, 125), (Verdict::Passed, 0)]),
            outcome("c", &[(Verdict::Failed, 7), (Verdict::Failed, 7)]),
            outcome("d", &[]),
        ];
        let told: Vec<_> = outcomes.iter().map(Outcome::told).collect();
        assert_eq!(
            told,
            [
                "passed",
                "passed, after error",
                "failed (7), after failed",
                "interrupted"
            ]
        );
        assert_eq!(
            Counts::of(&outcomes).told(),
            "2 of 4 passed, 1 of them only after a retry, 1 failed, 1 interrupted"
        );
        assert!(
            table("CELL", &outcomes).contains("passed, after error       2.5      results/b.log")
        );
    }
}

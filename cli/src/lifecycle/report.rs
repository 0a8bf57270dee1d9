//! What the suite found, as `--json` has it (`docs/lifecycle.md`).

use std::time::Duration;

use serde::Serialize;

use super::Phase;

/// How a phase or a test came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// All is as it should be.
    Passed,
    /// Something is not.
    Failed,
    /// It was not looked at.
    Skipped,
}

impl Verdict {
    /// In a table.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Passed => "PASS",
            Self::Failed => "FAIL",
            Self::Skipped => "SKIP",
        }
    }
}

/// What a line of a phase says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mark {
    /// Something on the way.
    Note,
    /// A thing is as it should be.
    Passed,
    /// It is not.
    Failed,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// What came of it.
    #[serde(rename = "result")]
    pub(crate) mark: Mark,
    /// What, in words.
    pub(crate) text: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<String>,
    /// Milliseconds since its phase began.
    pub(crate) after_ms: u64,
}

/// A phase.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct PhaseReport {
    /// Which.
    pub(crate) phase: Phase,
    /// Its number.
    pub(crate) number: &'static str,
    /// How it came out.
    #[serde(rename = "result")]
    pub(crate) verdict: Verdict,
    /// How long it might take.
    pub(crate) timeout_seconds: f64,
    /// Milliseconds from the begin of the test to that of the phase.
    pub(crate) began_ms: u64,
    /// Milliseconds that it took.
    pub(crate) duration_ms: u64,
    /// What was looked at.
    pub(crate) checks: Vec<Check>,
}

/// What helps to find out why a test failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Evidence {
    /// The last lines of the guest's console.
    pub(crate) console: Vec<String>,
    /// The journals of units that failed.
    pub(crate) journals: Vec<Journal>,
    /// What to try.
    pub(crate) hints: Vec<String>,
}

/// The last lines of a unit's journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Journal {
    /// The unit.
    pub(crate) unit: String,
    /// The lines.
    pub(crate) lines: Vec<String>,
}

/// A test: one guest from its build to its end.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct CaseReport {
    /// The test's name: a variant, with `-tap` for its form on a TAP.
    pub(crate) name: String,
    /// How it came out.
    #[serde(rename = "result")]
    pub(crate) verdict: Verdict,
    /// Why it was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// Milliseconds that it took.
    pub(crate) duration_ms: u64,
    /// Its phases.
    pub(crate) phases: Vec<PhaseReport>,
    /// Where it failed, what was found then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) evidence: Option<Evidence>,
}

impl CaseReport {
    /// A test that was not run.
    pub(crate) fn skipped(name: &str, reason: String) -> Self {
        Self {
            name: name.to_owned(),
            verdict: Verdict::Skipped,
            reason: Some(reason),
            duration_ms: 0,
            phases: Vec::new(),
            evidence: None,
        }
    }
}

/// A run of the suite.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct SuiteReport {
    /// The version of this format.
    pub(crate) version: u32,
    /// How many tests passed.
    pub(crate) passed: usize,
    /// How many failed.
    pub(crate) failed: usize,
    /// How many were skipped.
    pub(crate) skipped: usize,
    /// Milliseconds of it all.
    pub(crate) duration_ms: u64,
    /// The tests.
    pub(crate) tests: Vec<CaseReport>,
}

impl SuiteReport {
    /// Of these tests, which took `duration`.
    pub(crate) fn new(tests: Vec<CaseReport>, duration: Duration) -> Self {
        let count = |verdict| tests.iter().filter(|test| test.verdict == verdict).count();
        Self {
            version: 1,
            passed: count(Verdict::Passed),
            failed: count(Verdict::Failed),
            skipped: count(Verdict::Skipped),
            duration_ms: millis(duration),
            tests,
        }
    }
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

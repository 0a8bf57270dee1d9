//! The state of one test: what the probes report, in whatever order, becomes the phases' results, the lines to show
//! (in the phases' order) and each phase's deadline. Pure: time is given to it.

use std::time::{Duration, Instant};

use super::report::{CaseReport, Check, Evidence, Mark, PhaseReport, Verdict, millis};
use super::{Limits, Phase, text};

/// What a probe reports.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A phase begins.
    Began(Phase),
    /// A thing on the way.
    Note(Phase, String),
    /// A thing is as it should be.
    Passed(Phase, String),
    /// It is not, because of the second.
    Failed(Phase, String, String),
    /// A phase has ended; whether it was looked at is known from its lines.
    Ended(Phase),
}

/// A phase as it goes on.
#[derive(Debug)]
struct Stage {
    phase: Phase,
    limit: Duration,
    began: Option<Instant>,
    ended: Option<Instant>,
    checks: Vec<Check>,
    /// How many of the checks were shown; nothing before its heading was.
    shown: Option<usize>,
    closed: bool,
}

/// The state of one test.
#[derive(Debug)]
pub(crate) struct Ledger {
    name: String,
    begin: Instant,
    stages: Vec<Stage>,
}

impl Ledger {
    /// A test called `name` of these phases with a guest of `variant`, which begins now.
    pub(crate) fn new(
        name: &str,
        variant: &str,
        phases: &[Phase],
        limits: &Limits,
        now: Instant,
    ) -> Self {
        let stage = |&phase| Stage {
            phase,
            limit: limits.of(phase, variant),
            began: None,
            ended: None,
            checks: Vec::new(),
            shown: None,
            closed: false,
        };
        Self {
            name: name.to_owned(),
            begin: now,
            stages: phases.iter().map(stage).collect(),
        }
    }

    /// Takes a report of a probe; the lines that may be shown now.
    pub(crate) fn take(&mut self, event: Event, now: Instant) -> String {
        let (phase, line) = match event {
            Event::Began(phase) => {
                if let Some(stage) = self.stage(phase) {
                    stage.began = Some(now);
                }
                return self.news();
            }
            Event::Ended(phase) => {
                if let Some(stage) = self.stage(phase) {
                    stage.ended = Some(now);
                }
                return self.news();
            }
            Event::Note(phase, text) => (phase, (Mark::Note, text, None)),
            Event::Passed(phase, text) => (phase, (Mark::Passed, text, None)),
            Event::Failed(phase, text, cause) => (phase, (Mark::Failed, text, Some(cause))),
        };
        if let Some(stage) = self.stage(phase) {
            let (mark, text, cause) = line;
            let began = *stage.began.get_or_insert(now);
            stage.checks.push(Check {
                mark,
                text,
                cause,
                after_ms: millis(now.saturating_duration_since(began)),
            });
        }
        self.news()
    }

    fn stage(&mut self, phase: Phase) -> Option<&mut Stage> {
        self.stages.iter_mut().find(|stage| stage.phase == phase)
    }

    /// The lines that nobody saw yet and whose turn has come.
    fn news(&mut self) -> String {
        let mut news = String::new();
        for stage in &mut self.stages {
            if stage.closed {
                continue;
            }
            if stage.began.is_none() {
                break;
            }
            let shown = stage.shown.unwrap_or_else(|| {
                news.push_str(&text::heading(stage.phase, stage.limit));
                0
            });
            let new = stage.checks.get(shown..).unwrap_or_default();
            news.extend(new.iter().map(text::line));
            stage.shown = Some(stage.checks.len());
            if stage.ended.is_none() {
                break;
            }
            news.push('\n');
            stage.closed = true;
        }
        news
    }

    /// When `phase` must have ended: its time counts from when it began and all before it have ended. Nothing while
    /// one of them goes on.
    pub(crate) fn deadline(&self, phase: Phase) -> Option<Instant> {
        Some(self.turn(phase)? + self.stages.iter().find(|it| it.phase == phase)?.limit)
    }

    /// When the turn of `phase` came.
    pub(crate) fn turn(&self, phase: Phase) -> Option<Instant> {
        let mut turn = self.begin;
        for stage in &self.stages {
            if stage.phase == phase {
                return Some(turn.max(stage.began?));
            }
            turn = turn.max(stage.ended?);
        }
        None
    }

    /// What is being waited for, in the phases' words.
    pub(crate) fn current(&self) -> String {
        let on = |stage: &&Stage| stage.began.is_some() && stage.ended.is_none();
        let words: Vec<&str> = self
            .stages
            .iter()
            .filter(on)
            .map(|stage| stage.phase.word())
            .collect();
        words.join(", ")
    }

    /// Whether something failed so far.
    pub(crate) fn has_failed(&self) -> bool {
        self.stages
            .iter()
            .any(|stage| stage.verdict() == Verdict::Failed)
    }

    /// Whether `phase` failed.
    pub(crate) fn failed(&self, phase: Phase) -> bool {
        let mut stages = self.stages.iter();
        stages.any(|stage| stage.phase == phase && stage.verdict() == Verdict::Failed)
    }

    /// The report at the end.
    pub(crate) fn close(&self, evidence: Option<Evidence>, now: Instant) -> CaseReport {
        let since = |at: Instant, from: Instant| millis(at.saturating_duration_since(from));
        let phases = self.stages.iter().map(|stage| {
            let began = stage.began.unwrap_or(now);
            PhaseReport {
                phase: stage.phase,
                number: stage.phase.number(),
                verdict: stage.verdict(),
                timeout_seconds: stage.limit.as_secs_f64(),
                began_ms: since(began, self.begin),
                duration_ms: since(stage.ended.unwrap_or(now), began),
                checks: stage.checks.clone(),
            }
        });
        let phases: Vec<PhaseReport> = phases.collect();
        let all_passed = phases.iter().all(|it| it.verdict == Verdict::Passed);
        CaseReport {
            name: self.name.clone(),
            verdict: if all_passed {
                Verdict::Passed
            } else {
                Verdict::Failed
            },
            reason: None,
            duration_ms: since(now, self.begin),
            phases,
            evidence,
        }
    }
}

impl Stage {
    fn verdict(&self) -> Verdict {
        let mut marks = self.checks.iter().map(|check| check.mark);
        if marks.clone().any(|mark| mark == Mark::Failed) {
            Verdict::Failed
        } else if marks.any(|mark| mark == Mark::Passed) {
            Verdict::Passed
        } else {
            Verdict::Skipped
        }
    }
}

#[cfg(test)]
mod tests;

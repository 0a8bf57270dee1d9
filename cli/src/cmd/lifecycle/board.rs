//! Where the probes of a test report to: the ledger, and who watches.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use crate::lifecycle::ledger::Event;
use crate::lifecycle::report::{CaseReport, Evidence};
use crate::lifecycle::{Ledger, Phase};
use crate::output::Output;

/// The board of one test.
#[derive(Debug)]
pub(super) struct Board {
    ledger: Mutex<Ledger>,
    output: Output,
    bar: Option<ProgressBar>,
    said: Mutex<String>,
}

impl Board {
    pub(super) fn new(ledger: Ledger, output: Output) -> Self {
        let bar = output.shows_progress().then(|| {
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self {
            ledger: Mutex::new(ledger),
            output,
            bar,
            said: Mutex::default(),
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a report and shows what may be shown.
    pub(super) fn tell(&self, event: Event) {
        let mut ledger = self.ledger();
        let lines = ledger.take(event, Instant::now());
        if let Some(bar) = &self.bar {
            bar.set_message(ledger.current());
        }
        // Under the lock, so that lines stay in order.
        self.show(&lines);
    }

    /// Shows `text`, unless only the end is wanted.
    pub(super) fn show(&self, text: &str) {
        self.said
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_str(text);
        if text.is_empty() || self.output.is_json() || self.output.is_quiet() {
            return;
        }
        // The test goes on and is cleared up even if nobody reads it any more.
        let print = || drop(self.output.data(text));
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Says what a phase is waiting for.
    pub(super) fn waiting(&self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{}: {what}", self.ledger().current()));
        }
    }

    pub(super) fn begin(&self, phase: Phase) {
        self.tell(Event::Began(phase));
    }

    pub(super) fn note(&self, phase: Phase, text: impl Into<String>) {
        self.tell(Event::Note(phase, text.into()));
    }

    pub(super) fn pass(&self, phase: Phase, text: impl Into<String>) {
        self.tell(Event::Passed(phase, text.into()));
    }

    pub(super) fn fail(&self, phase: Phase, text: impl Into<String>, cause: impl Into<String>) {
        self.tell(Event::Failed(phase, text.into(), cause.into()));
    }

    pub(super) fn end(&self, phase: Phase) {
        self.tell(Event::Ended(phase));
    }

    /// How much time `phase` has; nothing while there is no limit yet.
    pub(super) fn left(&self, phase: Phase) -> Option<Duration> {
        let deadline = self.ledger().deadline(phase)?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }

    /// Whether the time of `phase` is up.
    pub(super) fn late(&self, phase: Phase) -> bool {
        self.left(phase).is_some_and(|left| left.is_zero())
    }

    /// Whether the turn of `phase` came more than `limit` ago.
    pub(super) fn beyond(&self, phase: Phase, limit: Duration) -> bool {
        let turn = self.ledger().turn(phase);
        turn.is_some_and(|turn| turn.elapsed() > limit)
    }

    pub(super) fn has_failed(&self) -> bool {
        self.ledger().has_failed()
    }

    pub(super) fn failed(&self, phase: Phase) -> bool {
        self.ledger().failed(phase)
    }

    /// The report at the end, and all that was shown or would have been.
    pub(super) fn close(self, evidence: Option<Evidence>) -> (CaseReport, String) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let report = self.ledger().close(evidence, Instant::now());
        let said = self
            .said
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        (report, said)
    }
}

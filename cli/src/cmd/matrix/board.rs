//! How a matrix goes on: on a terminal a line for each cell that runs, and everywhere one for each that has ended.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::matrix::results::Outcome;
use crate::output::Output;

/// Where the cells' progress is shown.
#[derive(Debug)]
pub(super) struct Board {
    output: Output,
    bars: Option<(MultiProgress, ProgressBar)>,
    failed: Mutex<usize>,
}

impl Board {
    pub(super) fn new(cells: usize, output: Output) -> Self {
        let bars = output.shows_progress().then(|| {
            let all = MultiProgress::new();
            let sum = all.add(ProgressBar::new(cells as u64));
            styled(&sum, "{pos} of {len} done{msg}, {elapsed}");
            sum.enable_steady_tick(Duration::from_millis(200));
            (all, sum)
        });
        Self {
            output,
            bars,
            failed: Mutex::new(0),
        }
    }

    /// A line for a cell that begins to run.
    pub(super) fn begin(&self, name: &str, attempt: u32) -> Option<ProgressBar> {
        let (all, sum) = self.bars.as_ref()?;
        let line = all.insert_before(sum, ProgressBar::new_spinner());
        styled(&line, "{spinner} {wide_msg} {elapsed}");
        let again = if attempt > 1 {
            format!(" (run {attempt})")
        } else {
            String::new()
        };
        line.set_message(format!("{name}{again}"));
        line.enable_steady_tick(Duration::from_millis(200));
        Some(line)
    }

    /// Says something about a cell.
    pub(super) fn say(&self, text: &str) {
        match &self.bars {
            Some((all, _)) => all.suspend(|| self.output.note(text)),
            None => self.output.note(text),
        }
    }

    /// A cell has ended for good.
    pub(super) fn end(&self, outcome: &Outcome) {
        let name = &outcome.cell.name;
        self.say(&format!(
            "{name}: {}, {:.1} s",
            outcome.told(),
            outcome.seconds()
        ));
        let Some((_, sum)) = &self.bars else { return };
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if outcome.verdict != crate::matrix::results::Verdict::Passed {
            *failed += 1;
            sum.set_message(format!(", {failed} not passed"));
        }
        sum.inc(1);
    }

    /// Takes all lines away.
    pub(super) fn close(&self) {
        if let Some((_, sum)) = &self.bars {
            sum.finish_and_clear();
        }
    }
}

/// The templates are fixed and valid; were one not, the old style would stay.
fn styled(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

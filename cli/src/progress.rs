//! How a long piece of work goes on: a bar on a terminal, plain lines elsewhere.

use std::time::{Duration, Instant};

use guest::image::{Event, Progress};
use indicatif::{ProgressBar, ProgressStyle};

use crate::output::Output;

/// Shows an image build.
#[derive(Debug)]
pub(crate) struct BuildProgress {
    output: Output,
    bar: Option<ProgressBar>,
    step: String,
    since: Instant,
    reused: bool,
}

impl BuildProgress {
    /// Nothing is shown before the first event.
    pub(crate) fn new(output: Output) -> Self {
        let bar = output.shows_progress().then(|| {
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self {
            output,
            bar,
            step: String::new(),
            since: Instant::now(),
            reused: false,
        }
    }

    /// Leaves the last step as a fact, if it is one.
    pub(crate) fn finish(mut self, done: bool) {
        if done {
            self.end_step();
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn measure(&self, template: &str, done: u64, total: u64) {
        let Some(bar) = &self.bar else { return };
        set_template(bar, template);
        bar.set_length(total);
        bar.set_position(done);
    }

    fn end_step(&mut self) {
        if let Some(bar) = &self.bar
            && !self.step.is_empty()
        {
            let how = if self.reused {
                "as before".to_owned()
            } else {
                format!("{:.1} s", self.since.elapsed().as_secs_f64())
            };
            let line = format!("{} ({how})", self.step);
            bar.suspend(|| self.output.note(line));
        }
        self.reused = false;
        self.since = Instant::now();
    }
}

impl Progress for BuildProgress {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Step {
                number,
                count,
                title,
            } => {
                self.end_step();
                self.step = format!("[{number}/{count}] {title}");
                match &self.bar {
                    Some(bar) => {
                        set_template(bar, "{spinner} {wide_msg}");
                        bar.set_message(self.step.clone());
                    }
                    None => self.output.note(&self.step),
                }
            }
            Event::Reused => {
                self.reused = true;
                if self.bar.is_none() {
                    self.output.note("  as before");
                }
            }
            Event::Detail(line) => {
                log::info!("{line}");
                if let Some(bar) = &self.bar {
                    bar.set_message(format!("{}: {line}", self.step));
                }
            }
            Event::Packages { done, total } => {
                self.measure("{spinner} {wide_msg} {pos} of {len}", done, total);
            }
            Event::Bytes { done, total } => {
                self.measure("{spinner} {wide_msg} {bytes} of {total_bytes}", done, total);
            }
            Event::Warning(text) => match &self.bar {
                Some(bar) => bar.suspend(|| self.output.warn(text)),
                None => self.output.warn(text),
            },
        }
    }
}

/// The templates are fixed and valid; were one not, the old style would stay.
fn set_template(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

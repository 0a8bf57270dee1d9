//! Times of what happened, told when it happens and again as a table.

use std::time::{Duration, Instant};

/// A clock with the moments that were reached.
#[derive(Debug)]
pub(crate) struct Phases {
    begin: Instant,
    reached: Vec<(String, Duration)>,
}

impl Phases {
    /// Starts the clock.
    pub(crate) fn begin() -> Self {
        Self {
            begin: Instant::now(),
            reached: Vec::new(),
        }
    }

    /// Notes and tells that `what` is so now.
    pub(crate) fn done(&mut self, what: &str) -> Duration {
        let time = self.begin.elapsed();
        println!("{:8.2} s  {what}", time.as_secs_f64());
        self.reached.push((what.into(), time));
        time
    }

    /// Prints all of it: when, and how long since the one before.
    pub(crate) fn print(&self) {
        println!("{:>10}  {:>10}", "at", "took");
        let mut before = Duration::ZERO;
        for (what, time) in &self.reached {
            let took = time.saturating_sub(before).as_secs_f64();
            println!("{:8.2} s  {took:8.2} s  {what}", time.as_secs_f64());
            before = *time;
        }
    }
}

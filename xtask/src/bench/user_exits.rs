//! A count of KVM's returns to user space, by the kernel's own tracepoint.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;

const TRACING: &str = "/sys/kernel/tracing";
const EVENT: &str = "/sys/kernel/tracing/events/kvm/kvm_userspace_exit";
const KEYS: &str = "hist:keys=reason";

/// A running count of all machines' returns to user space.
pub(super) struct UserExits(());

impl UserExits {
    /// Begins to count.
    pub(super) fn start() -> Result<Self> {
        if !Path::new(EVENT).exists() {
            command::run(Command::new("mount").args(["-t", "tracefs", "tracefs", TRACING]))
                .context("cannot mount tracefs; counting needs root")?;
        }
        trigger(KEYS)?;
        Ok(Self(()))
    }

    /// Ends the count and returns it.
    pub(super) fn stop(self) -> Result<f64> {
        let text = fs::read_to_string(format!("{EVENT}/hist")).context("cannot read the count")?;
        trigger(&format!("!{KEYS}"))?;
        hits(&text).with_context(|| format!("the kernel gave no count:\n{text}"))
    }
}

fn trigger(text: &str) -> Result<()> {
    fs::write(format!("{EVENT}/trigger"), text)
        .with_context(|| format!("cannot set the trigger `{text}` (CONFIG_HIST_TRIGGERS)"))
}

/// The sum that a histogram ends with (Linux, Documentation/trace/histogram.rst, "Totals").
fn hits(text: &str) -> Option<f64> {
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Hits:"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_a_histogram_is_found() {
        let text = "# event histogram\n\n{ reason: 2 } hitcount: 41\n\nTotals:\n    Hits: 42\n    Entries: 2\n";
        assert_eq!(hits(text), Some(42.0));
        assert_eq!(hits("no histogram"), None);
    }
}

//! How long each target has run in all, kept in the repository: `fuzz/record.tsv`.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::session::Outcome;
use crate::place;

const HEAD: &str = "target\tseconds\tprocessor seconds\texecutions\tfindings";

/// What one target has done in all recorded runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Total {
    pub(super) target: String,
    /// By the clock.
    pub(super) time: Duration,
    /// Of a processor, which a busy machine gives less of.
    pub(super) processor: Duration,
    pub(super) executions: u64,
    /// Inputs that ended a target, each mended since.
    pub(super) findings: u64,
}

/// The totals of all targets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    totals: Vec<Total>,
}

fn path() -> PathBuf {
    place::top().join("fuzz/record.tsv")
}

impl Record {
    /// The record as it is kept; an empty one if there is none yet.
    pub(super) fn load() -> Result<Self> {
        let path = path();
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text).with_context(|| format!("in {}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Adds what a run of a target did, and keeps it. A crash in between leaves the former record.
    pub(super) fn add(&mut self, outcome: &Outcome) -> Result<()> {
        let total = self.total_mut(&outcome.target);
        total.time += outcome.time;
        total.processor += outcome.processor;
        total.executions += outcome.executions;
        total.findings += outcome.findings.len() as u64;
        let (path, draft) = (path(), path().with_extension("tsv.new"));
        fs::write(&draft, self.print())
            .and_then(|()| fs::rename(&draft, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// How long a target has run.
    pub(super) fn processor(&self, target: &str) -> Duration {
        let total = self.totals.iter().find(|it| it.target == target);
        total.map_or(Duration::ZERO, |it| it.processor)
    }

    /// A record of these targets and seconds.
    #[cfg(test)]
    pub(super) fn of(totals: &[(&str, u64)]) -> Self {
        let mut record = Self::default();
        for (target, seconds) in totals {
            record.total_mut(target).processor = Duration::from_secs(*seconds);
        }
        record
    }

    fn total_mut(&mut self, target: &str) -> &mut Total {
        let place = self.totals.binary_search_by_key(&target, |it| &it.target);
        let (Ok(at) | Err(at)) = place;
        if place.is_err() {
            let total = Total {
                target: target.to_owned(),
                ..Total::default()
            };
            self.totals.insert(at, total);
        }
        &mut self.totals[at]
    }

    fn parse(text: &str) -> Result<Self> {
        let mut record = Self::default();
        let mut lines = text.lines();
        if lines.next() != Some(HEAD) {
            bail!("the first line is not `{HEAD}`");
        }
        for line in lines {
            let fields: Vec<_> = line.split('\t').collect();
            let [target, time, processor, executions, findings] = fields.as_slice() else {
                bail!("`{line}` has not five fields");
            };
            let number = |text: &str| {
                let number = text.parse::<u64>();
                number.with_context(|| format!("`{text}` in `{line}` is no number"))
            };
            let total = record.total_mut(target);
            total.time = Duration::from_secs(number(time)?);
            total.processor = Duration::from_secs(number(processor)?);
            total.executions = number(executions)?;
            total.findings = number(findings)?;
        }
        Ok(record)
    }

    fn print(&self) -> String {
        let mut text = format!("{HEAD}\n");
        for it in &self.totals {
            let (time, processor) = (it.time.as_secs(), it.processor.as_secs());
            let Total {
                target,
                executions,
                findings,
                ..
            } = it;
            text += &format!("{target}\t{time}\t{processor}\t{executions}\t{findings}\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let mut record = Record::of(&[("p9", 20), ("fs", 1800)]);
        record.total_mut("fs").executions = 7;
        let text = record.print();
        assert_eq!(
            text,
            format!("{HEAD}\nfs\t0\t1800\t7\t0\np9\t0\t20\t0\t0\n")
        );
        assert_eq!(Record::parse(&text).ok(), Some(record));
    }

    #[test]
    fn a_broken_record_is_an_error() {
        let of = |text: &str| match Record::parse(text) {
            Ok(record) => panic!("{record:?}"),
            Err(error) => format!("{error:#}"),
        };
        assert!(of("fs\t1\t2\t3\t4\n").contains("first line"));
        assert!(of(&format!("{HEAD}\nfs\t1\n")).contains("five fields"));
        assert!(of(&format!("{HEAD}\nfs\tx\t1\t2\t3\n")).contains("`x`"));
    }
}

//! Which target runs next, and for how long.

use std::time::Duration;

use anyhow::Result;

use super::LANES;
use super::record::Record;
use super::session::Outcome;

/// A recorded run is made of pieces of this length, so that little is lost when it is ended.
const PIECE: Duration = Duration::from_secs(300);
/// Shorter ones would mostly read the inputs that are kept.
const SHORTEST: Duration = Duration::from_secs(30);

/// What is to be run, and what came of it.
#[derive(Debug)]
pub(super) struct Plan {
    targets: Vec<Target>,
    length: Length,
}

#[derive(Debug)]
struct Target {
    name: String,
    runs: bool,
    outcome: Option<Outcome>,
}

#[derive(Debug)]
enum Length {
    /// Each target once, for so long.
    Once(Duration),
    /// Each until the record has this much of a processor for it.
    UpTo(Duration, Record),
}

impl Plan {
    /// Every target once, all in `minutes`.
    pub(super) fn once(targets: &[String], minutes: f64) -> Self {
        let rounds = targets.len().div_ceil(LANES.min(targets.len()).max(1));
        let each = Duration::from_secs_f64(minutes * 60.0).div_f64(rounds.max(1) as f64);
        Self::new(targets, Length::Once(each.max(Duration::from_secs(1))))
    }

    /// Every target until `record` has `minutes` of processor time for it.
    pub(super) fn up_to(targets: &[String], minutes: f64, record: Record) -> Self {
        let goal = Duration::from_secs_f64(minutes * 60.0);
        Self::new(targets, Length::UpTo(goal, record))
    }

    fn new(targets: &[String], length: Length) -> Self {
        let target = |name: &String| Target {
            name: name.clone(),
            runs: false,
            outcome: None,
        };
        Self {
            targets: targets.iter().map(target).collect(),
            length,
        }
    }

    /// The next target to run, by its index, and for how long; nothing if none is left.
    pub(super) fn next(&mut self) -> Option<(usize, Duration)> {
        let idle = self.targets.iter().enumerate().filter(|(_, it)| !it.runs);
        let next = match &self.length {
            Length::Once(time) => idle
                .filter(|(_, it)| it.outcome.is_none())
                .map(|(index, _)| (index, *time))
                .next(),
            // The one with the least comes first; what found something has to be mended before it goes on.
            Length::UpTo(goal, record) => idle
                .filter(|(_, it)| it.outcome.as_ref().is_none_or(|it| it.findings.is_empty()))
                .map(|(index, it)| (index, goal.saturating_sub(record.processor(&it.name))))
                .filter(|(_, left)| *left >= Duration::from_secs(1))
                .max_by_key(|(index, left)| (*left, usize::MAX - index))
                .map(|(index, left)| (index, left.clamp(SHORTEST, PIECE))),
        }?;
        self.targets[next.0].runs = true;
        Some(next)
    }

    /// What came of a target's run.
    pub(super) fn done(&mut self, index: usize, outcome: Outcome) -> Result<()> {
        if let Length::UpTo(_, record) = &mut self.length {
            record.add(&outcome)?;
        }
        let target = &mut self.targets[index];
        target.runs = false;
        target.outcome = Some(match target.outcome.take() {
            Some(former) => former.and(outcome),
            None => outcome,
        });
        Ok(())
    }

    /// The outcomes of all that ran, in the targets' order.
    pub(super) fn outcomes(&self) -> Vec<Outcome> {
        let outcomes = self.targets.iter().filter_map(|it| it.outcome.clone());
        outcomes.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        ["blk", "fs", "net"].map(str::to_owned).to_vec()
    }

    #[test]
    fn every_target_runs_once_within_the_time() {
        let mut plan = Plan::once(&names(), 2.0);
        let minute = Duration::from_secs(60);
        for index in 0..3 {
            assert_eq!(plan.next(), Some((index, minute)));
            let done = plan.done(index, Outcome::default());
            assert!(done.is_ok());
        }
        assert_eq!(plan.next(), None);
        assert_eq!(plan.outcomes().len(), 3);
    }

    #[test]
    fn the_target_with_the_least_time_comes_first() {
        let had = [("blk", 1700), ("fs", 100), ("net", 1800)];
        let mut plan = Plan::up_to(&names(), 30.0, Record::of(&had));
        assert_eq!(plan.next(), Some((1, PIECE)));
        assert_eq!(plan.next(), Some((0, Duration::from_secs(100))));
        assert_eq!(plan.next(), None, "one runs, the other had its time");
    }

    #[test]
    fn what_found_something_is_not_run_again() {
        let mut plan = Plan::up_to(&names(), 30.0, Record::default());
        plan.targets[0].outcome = Some(Outcome {
            findings: vec!["it ended".into()],
            ..Outcome::default()
        });
        assert_eq!(plan.next().map(|it| it.0), Some(1));
        assert_eq!(plan.next().map(|it| it.0), Some(2));
        assert_eq!(plan.next(), None);
    }
}

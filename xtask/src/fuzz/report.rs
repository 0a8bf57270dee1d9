//! The results of all targets.

use std::fmt::Write;
use std::path::Path;

use serde_json::json;

use super::session::Outcome;

/// How the targets did.
#[derive(Debug)]
pub(crate) struct Report {
    pub(super) outcomes: Vec<Outcome>,
}

impl Report {
    /// The number of targets that found nothing.
    pub(crate) fn clean(&self) -> usize {
        let clean = self.outcomes.iter().filter(|it| it.findings.is_empty());
        clean.count()
    }

    /// The number of findings of all targets.
    pub(crate) fn findings(&self) -> usize {
        self.outcomes.iter().map(|it| it.findings.len()).sum()
    }

    /// The table, with each finding behind it.
    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "{:12} {:>11} {:>8} {:>9} {:>9} {:>8}\n",
            "target", "executions", "exec/s", "coverage", "features", "crashes"
        );
        for it in &self.outcomes {
            let _ = writeln!(
                text,
                "{:12} {:>11} {:>8} {:>9} {:>9} {:>8}",
                it.target,
                it.executions,
                it.per_second,
                it.coverage,
                it.features,
                it.findings.len()
            );
        }
        for it in &self.outcomes {
            for finding in &it.findings {
                let _ = writeln!(text, "\n{}: {finding}\n{}", it.target, it.said);
                if Path::new(finding).exists() {
                    let _ = writeln!(text, "again: {}", it.reproduce(finding));
                }
                let _ = writeln!(text, "the whole log: {}", it.log.display());
            }
        }
        text
    }

    /// Prints the table, or one JSON object.
    pub(super) fn print(&self, as_json: bool) {
        if !as_json {
            print!("{}", self.table());
            return;
        }
        let targets: Vec<_> = self.outcomes.iter().map(row).collect();
        println!("{}", json!({ "targets": targets }));
    }
}

fn row(it: &Outcome) -> serde_json::Value {
    let finding = |finding: &String| {
        let again = Path::new(finding).exists().then(|| it.reproduce(finding));
        json!({ "finding": finding, "reproduce": again })
    };
    json!({
        "target": it.target,
        "executions": it.executions,
        "per_second": it.per_second,
        "coverage": it.coverage,
        "features": it.features,
        "crashes": it.findings.iter().map(finding).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_a_line_and_every_finding_is_told() {
        let good = Outcome {
            target: "fs".into(),
            executions: 100,
            ..Outcome::default()
        };
        let bad = Outcome {
            target: "p9".into(),
            findings: vec!["it ended".into()],
            said: "last words".into(),
            ..Outcome::default()
        };
        let report = Report {
            outcomes: vec![good, bad],
        };
        assert_eq!((report.clean(), report.findings()), (1, 1));
        let text = report.table();
        assert!(
            text.contains("fs") && text.contains("p9: it ended\nlast words"),
            "{text}"
        );
        assert!(!text.contains("again:"));
    }
}

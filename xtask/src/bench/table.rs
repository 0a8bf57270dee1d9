//! Samples, their median and spread, and how they are shown.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

/// Measurements of one thing, in one unit.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    /// What was measured.
    pub(super) name: String,
    /// What its median is compared with: the first row's of the same group.
    pub(super) group: String,
    /// The numbers, in the table's unit.
    pub(super) samples: Vec<f64>,
}

/// Rows in one unit.
#[derive(Debug, Serialize)]
pub(super) struct Table<'a> {
    pub(super) title: &'static str,
    pub(super) unit: &'a str,
    pub(super) rows: Vec<Row>,
}

#[derive(Serialize)]
struct Summary<'a> {
    name: &'a str,
    group: &'a str,
    unit: &'a str,
    runs: usize,
    median: f64,
    low: f64,
    high: f64,
    ratio: f64,
}

impl Row {
    pub(super) fn new(name: impl Into<String>, group: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            group: group.into(),
            samples: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, sample: f64) {
        self.samples.push(sample);
    }

    /// The value below which `percent` of the samples lie; between two samples the line that joins them counts.
    pub(super) fn quantile(&self, percent: usize) -> f64 {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        let Some(last) = sorted.len().checked_sub(1) else {
            return f64::NAN;
        };
        let (index, rest) = (percent * last / 100, percent * last % 100);
        let (low, high) = (sorted[index], sorted[(index + 1).min(last)]);
        low + (high - low) * f64::from(u8::try_from(rest).unwrap_or(0)) / 100.0
    }

    pub(super) fn median(&self) -> f64 {
        self.quantile(50)
    }
}

impl Table<'_> {
    /// Prints the table, or one JSON object.
    pub(super) fn print(&self, json: bool) -> Result<()> {
        if json {
            let rows: Vec<_> = self.summaries().collect();
            println!(
                "{}",
                serde_json::json!({ "title": self.title, "rows": rows })
            );
            return Ok(());
        }
        println!("{} ({})", self.title, self.unit);
        println!(
            "{:52} {:>5} {:>9} {:>9} {:>9} {:>6}",
            "", "runs", "median", "10 %", "90 %", "ratio"
        );
        for row in self.summaries() {
            println!(
                "{:52} {:5} {:9.2} {:9.2} {:9.2} {:6.2} {}",
                row.name,
                row.runs,
                row.median,
                row.low,
                row.high,
                row.ratio,
                bar(row.median / self.longest(row.group))
            );
        }
        Ok(())
    }

    /// The largest median of a group.
    fn longest(&self, group: &str) -> f64 {
        let rows = self.rows.iter().filter(|row| row.group == group);
        rows.map(Row::median).fold(0.0, f64::max)
    }

    fn summaries(&self) -> impl Iterator<Item = Summary<'_>> {
        self.rows.iter().map(|row| {
            let first = self
                .rows
                .iter()
                .find(|other| other.group == row.group)
                .unwrap_or(row);
            Summary {
                name: &row.name,
                group: &row.group,
                unit: self.unit,
                runs: row.samples.len(),
                median: row.median(),
                low: row.quantile(10),
                high: row.quantile(90),
                ratio: row.median() / first.median(),
            }
        })
    }
}

/// `part` of a full bar, in eighths of a character.
fn bar(part: f64) -> String {
    const WIDTH: u8 = 24;
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let length = (part * f64::from(WIDTH) * 8.0).round();
    let eighths = (0..=WIDTH * 8).find(|&it| f64::from(it) >= length);
    let eighths = usize::from(eighths.unwrap_or(0));
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

pub(super) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_the_samples() {
        let mut row = Row::new("x", "g");
        for sample in [4.0, 1.0, 3.0, 2.0] {
            row.push(sample);
        }
        assert!((row.median() - 2.5).abs() < 1e-9);
        assert!((row.quantile(0) - 1.0).abs() < 1e-9);
        assert!((row.quantile(100) - 4.0).abs() < 1e-9);
    }

    #[test]
    fn a_bar_is_as_long_as_its_part_of_the_whole() {
        assert_eq!(bar(1.0), "█".repeat(24));
        assert_eq!(bar(0.5), "█".repeat(12));
        assert_eq!(bar(0.5 + 0.5 / 24.0), "█".repeat(12) + "▌");
        assert_eq!(bar(0.0), "");
        assert_eq!(bar(f64::NAN), "");
    }

    #[test]
    fn the_first_row_of_a_group_is_what_others_are_compared_with() {
        let row = |name: &str, group: &str, sample| Row {
            name: name.into(),
            group: group.into(),
            samples: vec![sample],
        };
        let rows = vec![row("a", "x", 4.0), row("b", "x", 1.0), row("c", "y", 7.0)];
        let table = Table {
            title: "t",
            unit: "ms",
            rows,
        };
        let ratios: Vec<_> = table.summaries().map(|it| it.ratio).collect();
        assert_eq!(ratios, [1.0, 0.25, 1.0]);
    }
}

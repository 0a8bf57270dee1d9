//! What becomes of each option: the translation as it grows.

use serde::Serialize;

/// What becomes of an option.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    /// The option as it was written, or in brackets what its absence means.
    pub(crate) option: String,
    /// What becomes of it.
    pub(crate) effect: String,
    /// The flags of `pcp-vmm run` that say the same.
    pub(crate) flags: Vec<String>,
}

/// An option that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Refusal {
    /// The option as it was written.
    pub(crate) option: String,
    /// Why.
    pub(crate) why: String,
}

/// The rows, one for each option in the order of the command line, then those of what was left out.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) rows: Vec<Row>,
    pub(super) refused: Vec<Refusal>,
}

impl Table {
    /// Adds a row without an effect, and gives its number.
    pub(super) fn add(&mut self, option: impl Into<String>) -> usize {
        self.rows.push(Row {
            option: option.into(),
            effect: String::new(),
            flags: Vec::new(),
        });
        self.rows.len() - 1
    }

    /// Says in words what becomes of an option.
    pub(super) fn note(&mut self, row: usize, effect: impl AsRef<str>) {
        if let Some(row) = self.rows.get_mut(row) {
            if !row.effect.is_empty() {
                row.effect.push_str("; ");
            }
            row.effect.push_str(effect.as_ref());
        }
    }

    /// Says it by a flag that can be there several times.
    pub(super) fn flag(&mut self, row: usize, flag: &str, value: &str) {
        if let Some(row) = self.rows.get_mut(row) {
            row.flags.push(format!("{flag}={value}"));
        }
    }

    /// Says it by a flag that can be there once: an earlier option that said it counts no more.
    pub(super) fn set(&mut self, row: usize, flag: &str, value: &str) {
        let start = format!("{flag}=");
        for earlier in &mut self.rows {
            let before = earlier.flags.len();
            earlier.flags.retain(|flag| !flag.starts_with(&start));
            if earlier.flags.len() < before {
                "a later option says otherwise".clone_into(&mut earlier.effect);
            }
        }
        self.flag(row, flag, value);
    }

    /// Whether a flag is said.
    pub(super) fn says(&self, flag: &str) -> bool {
        let start = format!("{flag}=");
        let mut flags = self.rows.iter().flat_map(|row| &row.flags);
        flags.any(|flag| flag.starts_with(&start))
    }

    /// Says that an option cannot be had.
    pub(super) fn refuse(&mut self, row: usize, why: impl Into<String>) {
        let option = self.rows.get(row).map(|row| row.option.clone());
        self.refused.push(Refusal {
            option: option.unwrap_or_default(),
            why: why.into(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_two_options_counts() {
        let mut table = Table::default();
        let rows = [table.add("-m 1"), table.add("-m 2")];
        table.set(rows[0], "--memory", "1M");
        table.set(rows[1], "--memory", "2M");
        assert_eq!(table.rows[0].flags, [""; 0]);
        assert_eq!(table.rows[0].effect, "a later option says otherwise");
        assert_eq!(table.rows[1].flags, ["--memory=2M"]);
        assert!(table.says("--memory") && !table.says("--mem"));
    }
}

//! Reading a TOML file whose problems are all told at once, each with its line and column.

use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::nearest::nearest;

pub(crate) type Table<'t> = DeTable<'t>;
pub(crate) type Item<'t> = Spanned<DeValue<'t>>;

/// Reads `text`; `meaning` takes what it means from its table.
///
/// # Errors
/// Every problem that it has, as `LINE:COLUMN: text`, in the order of the file.
pub(crate) fn read<T>(
    text: &str,
    meaning: impl FnOnce(&mut Reader<'_>, &Table<'_>) -> T,
) -> Result<T, Vec<String>> {
    let mut reader = Reader {
        text,
        problems: Vec::new(),
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        reader.problem(error.span().unwrap_or(0..0), error.message());
    }
    // What cannot be read has no meaning to be looked at.
    let found = reader
        .problems
        .is_empty()
        .then(|| meaning(&mut reader, table.get_ref()));
    reader.problems.sort_by_key(|(at, _)| *at);
    match found {
        Some(found) if reader.problems.is_empty() => Ok(found),
        _ => Err(reader.told()),
    }
}

/// A file as it is read.
#[derive(Debug)]
pub(crate) struct Reader<'t> {
    text: &'t str,
    problems: Vec<(usize, String)>,
}

impl Reader<'_> {
    /// Says what is wrong, and where.
    pub(crate) fn problem(&mut self, at: Range<usize>, what: impl Into<String>) {
        self.problems.push((at.start, what.into()));
    }

    fn told(&self) -> Vec<String> {
        let told = self.problems.iter();
        told.map(|(at, what)| self.at(*at, what)).collect()
    }

    /// `what` with the line and column of a place in the file.
    pub(crate) fn at(&self, place: usize, what: &str) -> String {
        let before = self.text.get(..place).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default();
        let column = column.chars().count() + 1;
        format!("{line}:{column}: {what}")
    }

    /// What is wrong with the table's keys that are none of `known`, and where they are.
    pub(crate) fn strange(
        table: &Table<'_>,
        known: &[&str],
        what: &str,
    ) -> Vec<(Range<usize>, String)> {
        let strange = table.iter().filter(|(key, _)| {
            let name: &str = key.get_ref();
            !known.contains(&name)
        });
        let told = strange.map(|(key, _)| {
            let name: &str = key.get_ref();
            let meant = match nearest(name, known.iter().copied()) {
                Some(meant) => format!("; did you mean `{meant}`?"),
                None => format!("; there are {}", known.join(", ")),
            };
            let name = name.escape_debug();
            (key.span(), format!("{what} has no `{name}`{meant}"))
        });
        told.collect()
    }

    /// Says which of the table's keys are none of `known`.
    pub(crate) fn only(&mut self, table: &Table<'_>, known: &[&str], what: &str) {
        for (at, what) in Self::strange(table, known, what) {
            self.problem(at, what);
        }
    }

    /// A whole number in `range`.
    pub(crate) fn number(
        &mut self,
        item: &Item<'_>,
        what: &str,
        range: RangeInclusive<u32>,
    ) -> Option<u32> {
        let number = item.get_ref().as_integer();
        let number = number.and_then(|it| u32::from_str_radix(it.as_str(), it.radix()).ok());
        let number = number.filter(|it| range.contains(it));
        if number.is_none() {
            let (least, most) = range.into_inner();
            self.problem(
                item.span(),
                format!("`{what}` is no number from {least} to {most}"),
            );
        }
        number
    }

    /// The table called `what` in `table`.
    pub(crate) fn table<'i, 't>(
        &mut self,
        table: &'i Table<'t>,
        what: &str,
    ) -> Option<&'i Table<'t>> {
        let item = table.get(what)?;
        let found = item.get_ref().as_table();
        if found.is_none() {
            self.problem(item.span(), format!("`{what}` is no table"));
        }
        found
    }
}

/// A text, a number or a truth as a word.
pub(crate) fn word(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        _ => None,
    }
}

//! The file of a matrix. All that is wrong with it is told at once, each with its line and column.

use std::collections::BTreeMap;

use vmm::config::value::MemorySize;

use crate::toml_reader::{Item, Reader, Table, read, word};

/// What a file says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Matrix {
    /// The command and its arguments.
    pub(crate) command: Vec<String>,
    /// The kernels, as `exec --kernel` takes them.
    pub(crate) kernels: Vec<String>,
    /// The roots, as `exec --root` takes them; `exec`'s own without any.
    pub(crate) roots: Vec<String>,
    /// The variants, by name; without any, there is one without a name.
    pub(crate) variants: BTreeMap<String, Machine>,
    /// The values of each parameter.
    pub(crate) parameters: BTreeMap<String, Vec<String>>,
    /// What is left out: what a cell must be to be meant.
    pub(crate) exclude: Vec<BTreeMap<String, String>>,
    /// What all cells have.
    pub(crate) machine: Machine,
    /// The seconds that a cell may take.
    pub(crate) timeout: f64,
    /// How often one that did not pass is run again.
    pub(crate) retries: u32,
    /// What cells may take together.
    pub(crate) budget: Budget,
}

/// A machine; what a variant does not say is as for all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Machine {
    /// Bytes of memory.
    pub(crate) memory: Option<u64>,
    /// Processors.
    pub(crate) cpus: Option<u32>,
    /// More flags of `exec`.
    pub(crate) flags: Vec<String>,
}

/// What cells that run at the same time may have together; this machine's without.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Bytes of memory.
    pub(crate) memory: Option<u64>,
    /// Processors.
    pub(crate) cpus: Option<u32>,
}

/// The seconds that a cell may take where the file does not say.
const TIMEOUT: f64 = 600.0;
const KEYS: [&str; 12] = [
    "command",
    "kernels",
    "roots",
    "memory",
    "cpus",
    "flags",
    "timeout",
    "retries",
    "variant",
    "parameters",
    "exclude",
    "budget",
];

/// Reads a file.
///
/// # Errors
/// Every problem that it has, as `LINE:COLUMN: text`, in the order of the file.
pub(crate) fn parse(text: &str) -> Result<Matrix, Vec<String>> {
    read(text, |reader, table| reader.matrix(table))
}

impl Reader<'_> {
    fn matrix(&mut self, table: &Table<'_>) -> Matrix {
        self.only(table, &KEYS, "a matrix");
        let matrix = Matrix {
            command: self.command(table),
            kernels: match table.get("kernels") {
                Some(item) => self.words(item, "kernels"),
                None => vec!["host".to_owned()],
            },
            roots: match table.get("roots") {
                Some(item) => self.words(item, "roots"),
                None => Vec::new(),
            },
            variants: self.variants(table),
            parameters: self.parameters(table),
            exclude: Vec::new(),
            machine: self.machine(table),
            timeout: self.timeout(table),
            retries: match table.get("retries") {
                Some(item) => self.number(item, "retries", 0..=100).unwrap_or(0),
                None => 0,
            },
            budget: self.budget(table),
        };
        let exclude = self.exclude(table, &matrix);
        Matrix { exclude, ..matrix }
    }

    /// A command: words, or a line for the shell.
    fn command(&mut self, table: &Table<'_>) -> Vec<String> {
        let Some(item) = table.get("command") else {
            self.problem(
                0..0,
                "there is no `command`, a list of words or a line for the shell",
            );
            return Vec::new();
        };
        match item.get_ref().as_str() {
            Some(line) => ["sh", "-c", line].map(str::to_owned).to_vec(),
            None => self.words(item, "command"),
        }
    }

    /// A list of words that is not empty.
    fn words(&mut self, item: &Item<'_>, what: &str) -> Vec<String> {
        let words = self.list(item, what);
        if words.is_empty() && item.get_ref().as_array().is_some_and(|it| it.is_empty()) {
            self.problem(item.span(), format!("`{what}` is empty"));
        }
        words
    }

    fn list(&mut self, item: &Item<'_>, what: &str) -> Vec<String> {
        let Some(list) = item.get_ref().as_array() else {
            self.problem(item.span(), format!("`{what}` is no list of words"));
            return Vec::new();
        };
        let mut words: Vec<String> = Vec::new();
        for one in list.iter() {
            match word(one.get_ref()) {
                Some(word) if what == "flags" || what == "command" || !words.contains(&word) => {
                    words.push(word);
                }
                Some(word) => {
                    let word = word.escape_debug();
                    self.problem(one.span(), format!("`{what}` has `{word}` twice"));
                }
                None => self.problem(one.span(), format!("`{what}` has what is no word")),
            }
        }
        words
    }

    fn memory(&mut self, table: &Table<'_>) -> Option<u64> {
        let item = table.get("memory")?;
        let size = word(item.get_ref()).and_then(|it| it.parse::<MemorySize>().ok());
        if size.is_none() {
            self.problem(item.span(), "`memory` is no size, such as \"512M\"");
        }
        size.map(|it| it.0)
    }

    fn cpus(&mut self, table: &Table<'_>, most: u32) -> Option<u32> {
        let item = table.get("cpus")?;
        self.number(item, "cpus", 1..=most)
    }

    fn machine(&mut self, table: &Table<'_>) -> Machine {
        let flags = match table.get("flags") {
            Some(item) => {
                let flags = self.list(item, "flags");
                if let Some(why) = super::cells::unfit(&flags) {
                    self.problem(item.span(), format!("`flags`: {why}"));
                }
                flags
            }
            None => Vec::new(),
        };
        Machine {
            memory: self.memory(table),
            cpus: self.cpus(table, 64),
            flags,
        }
    }

    fn timeout(&mut self, table: &Table<'_>) -> f64 {
        let Some(item) = table.get("timeout") else {
            return TIMEOUT;
        };
        let text = word(item.get_ref()).unwrap_or_default();
        match text.parse::<f64>() {
            Ok(seconds) if seconds > 0.0 && seconds <= 1e6 => seconds,
            _ => {
                self.problem(
                    item.span(),
                    "`timeout` is no number of seconds up to 1000000",
                );
                TIMEOUT
            }
        }
    }

    fn budget(&mut self, table: &Table<'_>) -> Budget {
        let Some(budget) = self.table(table, "budget") else {
            return Budget::default();
        };
        self.only(budget, &["memory", "cpus"], "a budget");
        Budget {
            memory: self.memory(budget),
            cpus: self.cpus(budget, 4096),
        }
    }

    fn variants(&mut self, table: &Table<'_>) -> BTreeMap<String, Machine> {
        let mut variants = BTreeMap::new();
        for (name, item) in self.table(table, "variant").into_iter().flatten() {
            let Some(fields) = item.get_ref().as_table() else {
                self.problem(item.span(), "a variant is a table `[variant.NAME]`");
                continue;
            };
            self.only(fields, &["memory", "cpus", "flags"], "a variant");
            variants.insert(name.get_ref().to_string(), self.machine(fields));
        }
        variants
    }

    fn parameters(&mut self, table: &Table<'_>) -> BTreeMap<String, Vec<String>> {
        let mut parameters = BTreeMap::new();
        for (name, item) in self.table(table, "parameters").into_iter().flatten() {
            let text: &str = name.get_ref();
            let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if text.starts_with(|c: char| c.is_ascii_digit()) || !text.chars().all(good) {
                let text = text.escape_debug();
                let what = format!("`{text}` is no name of a variable: letters, digits and `_`");
                self.problem(name.span(), what);
            }
            if ["kernel", "root", "variant"].contains(&text) {
                self.problem(name.span(), format!("`{text}` is no parameter's name"));
            }
            parameters.insert(text.to_owned(), self.words(item, text));
        }
        parameters
    }

    fn exclude(&mut self, table: &Table<'_>, matrix: &Matrix) -> Vec<BTreeMap<String, String>> {
        let Some(item) = table.get("exclude") else {
            return Vec::new();
        };
        let tables = item.get_ref().as_array();
        let tables = tables.map(|all| all.iter().map(|it| it.get_ref().as_table()));
        let Some(tables) = tables.and_then(|all| all.collect::<Option<Vec<_>>>()) else {
            self.problem(item.span(), "`exclude` is tables `[[exclude]]`");
            return Vec::new();
        };
        let mut all = Vec::new();
        for fields in tables {
            let mut meant = BTreeMap::new();
            for (key, value) in fields {
                let name: &str = key.get_ref();
                let text = word(value.get_ref()).unwrap_or_default();
                let known = match name {
                    "kernel" => matrix.kernels.contains(&text),
                    "root" => matrix.roots.contains(&text),
                    "variant" => matrix.variants.contains_key(&text),
                    other => matrix
                        .parameters
                        .get(other)
                        .is_some_and(|it| it.contains(&text)),
                };
                if !known {
                    let what = format!(
                        "no cell has the {} `{}`",
                        name.escape_debug(),
                        text.escape_debug()
                    );
                    self.problem(value.span(), what);
                }
                meant.insert(name.to_owned(), text);
            }
            all.push(meant);
        }
        all
    }
}

#[cfg(test)]
mod tests;

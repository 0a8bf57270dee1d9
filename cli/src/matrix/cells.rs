//! The cells of a matrix: each kernel with each variant and each combination of parameters.

use std::collections::BTreeMap;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{Args, Command};
use serde::Serialize;

use super::file::{Machine, Matrix};
use crate::args::ExecArgs;
use crate::folders;

/// Bytes of memory and processors of `exec` where nothing else is said.
const MEMORY: u64 = 512 << 20;
const CPUS: u32 = 1;
/// What a matrix says of a cell itself, by the parser's names.
const TAKEN: [&str; 8] = [
    "vm",
    "kernel",
    "memory",
    "cpus",
    "timeout",
    "report",
    "end_with_parent",
    "command",
];

/// One run of the command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Cell {
    /// Its name.
    pub(crate) name: String,
    /// The kernel.
    pub(crate) kernel: String,
    /// The root, if there are any.
    pub(crate) root: Option<String>,
    /// The variant, if there are any.
    pub(crate) variant: Option<String>,
    /// The parameters, which the command finds in its environment.
    pub(crate) parameters: BTreeMap<String, String>,
    /// Bytes of memory.
    pub(crate) memory: u64,
    /// Processors.
    pub(crate) cpus: u32,
    /// More flags of `exec`.
    pub(crate) flags: Vec<String>,
}

impl Cell {
    /// The name of its files.
    pub(crate) fn file_name(&self) -> String {
        folders::name_of(Path::new(&self.name))
    }

    /// Whether it is all that `meant` says.
    fn is(&self, meant: &BTreeMap<String, String>) -> bool {
        meant.iter().all(|(key, value)| match key.as_str() {
            "kernel" => self.kernel == *value,
            "root" => self.root.as_ref() == Some(value),
            "variant" => self.variant.as_ref() == Some(value),
            name => self.parameters.get(name) == Some(value),
        })
    }
}

/// The cells in the order of the file, kernel by kernel.
pub(crate) fn cells(matrix: &Matrix) -> Vec<Cell> {
    let mut combinations = vec![BTreeMap::new()];
    for (name, values) in &matrix.parameters {
        let with = |before: &BTreeMap<String, String>, value: &String| {
            let mut all = before.clone();
            all.insert(name.clone(), value.clone());
            all
        };
        combinations = combinations
            .iter()
            .flat_map(|before| values.iter().map(move |value| with(before, value)))
            .collect();
    }
    let plain = Machine::default();
    let mut variants: Vec<(Option<&String>, &Machine)> = matrix
        .variants
        .iter()
        .map(|(name, it)| (Some(name), it))
        .collect();
    if variants.is_empty() {
        variants.push((None, &plain));
    }
    let mut roots: Vec<Option<&String>> = matrix.roots.iter().map(Some).collect();
    if roots.is_empty() {
        roots.push(None);
    }
    let mut cells = Vec::new();
    for kernel in &matrix.kernels {
        for root in &roots {
            for (variant, machine) in &variants {
                for parameters in &combinations {
                    let place = (kernel, *root, *variant);
                    cells.push(cell(matrix, place, machine, parameters));
                }
            }
        }
    }
    cells.retain(|cell| !matrix.exclude.iter().any(|meant| cell.is(meant)));
    cells
}

fn cell(
    matrix: &Matrix,
    (kernel, root, variant): (&String, Option<&String>, Option<&String>),
    machine: &Machine,
    parameters: &BTreeMap<String, String>,
) -> Cell {
    let told = parameters
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    let words = [kernel.to_owned()]
        .into_iter()
        .chain(root.cloned())
        .chain(variant.cloned())
        .chain(told);
    let all = &matrix.machine;
    Cell {
        name: words.collect::<Vec<_>>().join(" "),
        kernel: kernel.to_owned(),
        root: root.cloned(),
        variant: variant.cloned(),
        parameters: parameters.clone(),
        memory: machine.memory.or(all.memory).unwrap_or(MEMORY),
        cpus: machine.cpus.or(all.cpus).unwrap_or(CPUS),
        flags: all.flags.iter().chain(&machine.flags).cloned().collect(),
    }
}

/// Why `flags` are none that a cell can have.
pub(super) fn unfit(flags: &[String]) -> Option<String> {
    let words = ["exec"].into_iter().chain(flags.iter().map(String::as_str));
    let parser = ExecArgs::augment_args(Command::new("exec"));
    let matches = match parser.try_get_matches_from(words.chain(["--", "true"])) {
        Ok(matches) => matches,
        Err(error) => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            return Some(first.strip_prefix("error: ").unwrap_or(first).to_owned());
        }
    };
    let is_given = |id: &&&str| {
        matches.value_source(id) == Some(ValueSource::CommandLine) && **id != "command"
    };
    if let Some(taken) = TAKEN.iter().find(is_given) {
        let flag = match *taken {
            "vm" => "in".to_owned(),
            other => other.replace('_', "-"),
        };
        return Some(format!("`--{flag}` is given by the matrix itself"));
    }
    let command = matches.get_raw("command").map_or(0, Iterator::count);
    (command > 1).then(|| "the command is given by `command`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::file::parse;
    use super::*;

    #[test]
    fn every_combination_is_a_cell_but_the_excluded() {
        let text = "\
command = 'true'
kernels = ['6.1', './bzImage']
memory = '1G'
flags = ['--net', 'none']
[variant.a]
[variant.b]
cpus = 2
flags = ['--user', '1']
[parameters]
N = [1, 2]
[[exclude]]
variant = 'a'
N = 2
";
        let cells = cells(&parse(text).unwrap());
        let names: Vec<_> = cells.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "6.1 a N=1",
                "6.1 b N=1",
                "6.1 b N=2",
                "./bzImage a N=1",
                "./bzImage b N=1",
                "./bzImage b N=2",
            ]
        );
        assert_eq!((cells[0].memory, cells[0].cpus), (1 << 30, 1));
        assert_eq!(cells[1].cpus, 2);
        assert_eq!(cells[1].flags, ["--net", "none", "--user", "1"]);
        assert!(!cells[3].file_name().contains('/'));
    }

    #[test]
    fn each_kernel_has_each_root() {
        let text = "\
command = 'true'
kernels = ['6.1', '6.12']
roots = ['/', 'debian']
[[exclude]]
root = '/'
kernel = '6.12'
";
        let cells = cells(&parse(text).unwrap());
        let names: Vec<_> = cells.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["6.1 /", "6.1 debian", "6.12 debian"]);
        assert_eq!(cells[1].root.as_deref(), Some("debian"));
        let problems = parse(&text.replace("root = '/'", "root = '/none'")).unwrap_err();
        assert!(
            problems[0].contains("no cell has the root `/none`"),
            "{problems:?}"
        );
        let why = unfit(&["--root".to_owned(), "/".to_owned()]);
        assert_eq!(why, None);
    }

    #[test]
    fn flags_that_exec_does_not_have_are_told() {
        let unfit = |flags: &[&str]| {
            let flags: Vec<_> = flags.iter().map(|&it| it.to_owned()).collect();
            unfit(&flags)
        };
        assert_eq!(unfit(&["--net", "none", "--env", "A=b"]), None);
        let why = unfit(&["--nett", "none"]).unwrap();
        assert!(why.contains("--nett"), "{why}");
        let why = unfit(&["-m", "1G"]).unwrap();
        assert_eq!(why, "`--memory` is given by the matrix itself");
        let why = unfit(&["--in", "base"]).unwrap();
        assert_eq!(why, "`--in` is given by the matrix itself");
        assert!(unfit(&["--", "rm"]).is_some());
    }
}

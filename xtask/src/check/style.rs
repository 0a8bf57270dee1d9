//! Rules about the shape of files: size, header, names, printing, unfinished marks.

use super::Finding;
use super::layering::inside;
use super::source::Source;

/// The most production lines of a file.
const MAX_LINES: usize = 500;
/// The modules that may print.
const PRINTERS: [&str; 2] = ["cli/src/output", "xtask/src/main"];
/// Words that say nothing about what a type is.
const EMPTY_NAMES: [&str; 5] = ["Manager", "Helper", "Util", "Utils", "Common"];

/// Files with too much production code.
pub(super) fn sizes(sources: &[Source]) -> Vec<Finding> {
    let sizes = sources
        .iter()
        .map(|source| (source, source.production_lines()));
    let large = sizes.filter(|(_, lines)| *lines >= MAX_LINES);
    large
        .map(|(it, lines)| Finding::new(&it.path, format!("{lines} production lines")))
        .collect()
}

/// Files that do not begin by saying what they are.
pub(super) fn headers(sources: &[Source]) -> Vec<Finding> {
    let bare = sources.iter().filter(|source| {
        // A file of tests beside its module needs no other title than its path.
        !source.text.starts_with("//!") && !source.path.ends_with("/tests.rs")
    });
    bare.map(|source| Finding::new(&source.path, "does not begin with `//!`"))
        .collect()
}

/// Permissions to print outside the modules that do.
pub(super) fn printing(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        let tests = source.is_test() || inside(&source.path, &PRINTERS);
        if !tests && source.code.contains("clippy::print_") {
            findings.push(Finding::new(&source.path, "allows itself to print"));
        }
    }
    findings
}

/// Types and modules with names that say nothing.
pub(super) fn names(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        for (index, line) in source.code.lines().enumerate() {
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            let declared = words
                .by_ref()
                .any(|word| matches!(word, "struct" | "enum" | "trait" | "mod"))
                .then(|| words.next())
                .flatten();
            let Some(name) = declared else { continue };
            let empty = |word: &&str| name.ends_with(*word) || name == word.to_lowercase();
            if EMPTY_NAMES.iter().any(empty) {
                findings.push(Finding::new(
                    source.line(index),
                    format!("the name `{name}` is empty"),
                ));
            }
        }
    }
    findings
}

/// Marks of unfinished work.
pub(super) fn marks(sources: &[Source]) -> Vec<Finding> {
    // Written so that this file has none.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("todo", "!("),
    ];
    let mut findings = Vec::new();
    for source in sources {
        for (index, line) in source.text.lines().enumerate() {
            if let Some(mark) = marks.iter().find(|mark| line.contains(**mark)) {
                findings.push(Finding::new(
                    source.line(index),
                    format!("has the mark {mark}"),
                ));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_500_production_lines_is_too_large() {
        let just = Source::new(
            "vmm/src/a.rs",
            "x\n".repeat(499) + "#[cfg(test)]\nmod tests {\n}\n",
        );
        let over = Source::new("vmm/src/b.rs", "x\n".repeat(500));
        assert_eq!(
            sizes(&[just, over]),
            [Finding::new("vmm/src/b.rs", "500 production lines")]
        );
    }

    #[test]
    fn empty_names_are_found_in_declarations_alone() {
        let text =
            "pub struct DeviceManager;\nmod util;\nlet common = Utility;\nstruct Commoner;\n";
        let found = names(&[Source::new("vmm/src/a.rs", text)]);
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn a_permission_to_print_is_found_outside_the_output() {
        let text = "#![allow(clippy::print_stdout, reason = \"\")]\n";
        let sources = ["cli/src/output.rs", "vmm/src/lib.rs"].map(|path| Source::new(path, text));
        assert_eq!(printing(&sources).len(), 1);
    }

    #[test]
    fn unfinished_marks_are_found() {
        let text = format!("// {}: later\n", concat!("TO", "DO"));
        assert_eq!(marks(&[Source::new("vmm/src/a.rs", text)]).len(), 1);
    }

    #[test]
    fn a_file_without_header_is_found() {
        assert_eq!(
            headers(&[Source::new("vmm/src/a.rs", "fn a() {}\n")]).len(),
            1
        );
        assert_eq!(headers(&[Source::new("vmm/src/a.rs", "//! A.\n")]).len(), 0);
    }
}

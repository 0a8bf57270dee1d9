//! The generated part of `docs/`: manual pages, completions and references are what the program writes now.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Finding, failure};
use crate::place;

/// How to make the documents fresh again.
const REMEDY: &str = "run `cargo run -p pcp-vmm-cli -- docs docs` and commit the result";

/// Documents that differ from what the program writes.
pub(super) fn fresh() -> Result<Vec<Finding>> {
    let written = tempfile::tempdir().context("cannot make a temporary folder")?;
    let mut program = Command::new("cargo");
    program.args([
        "run",
        "--quiet",
        "--package",
        "pcp-vmm-cli",
        "--",
        "--quiet",
        "docs",
    ]);
    program.arg(written.path()).current_dir(place::top());
    if let Some(finding) = failure(&mut program) {
        return Ok(vec![finding]);
    }
    compare(written.path(), &place::top().join("docs"))
}

/// Files of `written` that `kept` lacks or has otherwise, and files that only `kept` has in a folder of `written`.
fn compare(written: &Path, kept: &Path) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let stale = |path: PathBuf, what: &str| {
        Finding::new(path.display().to_string(), format!("{what}; {REMEDY}"))
    };
    for name in names(written)? {
        let (new, old) = (written.join(&name), kept.join(&name));
        if new.is_dir() {
            let old_names = if old.is_dir() {
                names(&old)?
            } else {
                BTreeSet::new()
            };
            let gone = old_names
                .difference(&names(&new)?)
                .cloned()
                .collect::<Vec<_>>();
            findings.extend(
                gone.iter()
                    .map(|name| stale(old.join(name), "is written no more")),
            );
            findings.extend(compare(&new, &old)?);
        } else if fs::read(&old).ok() != Some(fs::read(&new).context("cannot read a document")?) {
            findings.push(stale(old, "is not fresh"));
        }
    }
    Ok(findings)
}

fn names(folder: &Path) -> Result<BTreeSet<PathBuf>> {
    let list = || format!("cannot list {}", folder.display());
    let entries = fs::read_dir(folder).with_context(list)?;
    entries
        .map(|entry| Ok(entry.with_context(list)?.file_name().into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_missing_and_stale_documents_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let (new, old) = (folder.path().join("new"), folder.path().join("old"));
        for path in [
            "new/man/a.1",
            "new/man/b.1",
            "new/cli.md",
            "old/man/a.1",
            "old/man/c.1",
            "old/own.md",
        ] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "text").unwrap();
        }
        fs::write(old.join("man/a.1"), "other").unwrap();
        let places = compare(&new, &old).unwrap().into_iter().map(|it| it.place);
        let mut places: Vec<_> = places
            .map(|it| it[old.to_str().unwrap().len() + 1..].to_owned())
            .collect();
        places.sort();
        assert_eq!(places, ["cli.md", "man/a.1", "man/b.1", "man/c.1"]);
    }
}

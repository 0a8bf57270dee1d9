//! `cargo xtask check`: format, lints, and the project's own rules about its sources.

mod citations;
mod docs;
mod layering;
mod source;
mod style;

use std::fmt;
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};
use source::Source;

use crate::{command, place};

/// One breach of a rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    place: String,
    what: String,
}

impl Finding {
    fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            what: what.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// The fuzz targets' manifest: they are a workspace of their own.
const FUZZ: &str = "fuzz/Cargo.toml";

/// The rules in the order in which they are checked.
type Rule = (&'static str, fn(&[Source]) -> Result<Vec<Finding>>);
const RULES: [Rule; 12] = [
    ("format", |_| {
        let mut findings = cargo(&["fmt", "--all", "--check"])?;
        findings.extend(cargo(&["fmt", "--manifest-path", FUZZ, "--check"])?);
        Ok(findings)
    }),
    ("lints", |_| lints()),
    ("crates depend downwards", |_| layering::crates()),
    ("KVM is named in vmm::kvm alone", |sources| {
        Ok(layering::kvm(sources))
    }),
    ("unsafe code in its listed modules alone", |sources| {
        Ok(layering::unsafe_modules(sources))
    }),
    ("printing in its listed modules alone", |sources| {
        Ok(style::printing(sources))
    }),
    ("file sizes", |sources| Ok(style::sizes(sources))),
    ("file headers", |sources| Ok(style::headers(sources))),
    ("names", |sources| Ok(style::names(sources))),
    ("no unfinished marks", |sources| Ok(style::marks(sources))),
    ("citations", |sources| Ok(citations::check(sources))),
    ("generated documents are fresh", |_| docs::fresh()),
];

/// The number of rules kept and broken.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outcome {
    pub(crate) kept: usize,
    pub(crate) broken: usize,
}

/// Checks every rule and prints each as a line, with what breaks it.
pub(crate) fn run(mut print: impl FnMut(&str)) -> Result<Outcome> {
    let sources = source::all(place::top())?;
    let mut outcome = Outcome::default();
    for (name, rule) in RULES {
        let findings = rule(&sources)?;
        print(&format!(
            "{} {name}",
            if findings.is_empty() {
                "ok    "
            } else {
                "FAILED"
            }
        ));
        for finding in &findings {
            print(&format!("       {finding}"));
        }
        if findings.is_empty() {
            outcome.kept += 1;
        } else {
            outcome.broken += 1;
        }
    }
    Ok(outcome)
}

/// The task itself.
pub(crate) fn main() -> Result<ExitCode> {
    let outcome = run(|line| println!("{line}"))?;
    if outcome.broken > 0 {
        bail!("{} of {} rules are broken", outcome.broken, RULES.len());
    }
    Ok(ExitCode::SUCCESS)
}

/// Clippy in the whole workspace, and in all of the fuzz targets' that needs no libFuzzer.
fn lints() -> Result<Vec<Finding>> {
    let wanted = ["--", "-D", "warnings"];
    let all = ["clippy", "--quiet", "--workspace", "--all-targets"];
    let mut findings = cargo(&[&all[..], &wanted].concat())?;
    let target = place::target();
    let target = target.to_string_lossy();
    let fuzz = ["clippy", "--quiet", "--manifest-path", FUZZ];
    let parts = ["--target-dir", &*target, "--lib", "--examples"];
    findings.extend(cargo(&[&fuzz[..], &parts, &wanted].concat())?);
    Ok(findings)
}

fn cargo(arguments: &[&str]) -> Result<Vec<Finding>> {
    let mut cargo = Command::new("cargo");
    cargo.args(arguments).current_dir(place::top());
    Ok(failure(&mut cargo).into_iter().collect())
}

fn failure(command: &mut Command) -> Option<Finding> {
    let error = command::run(command).err()?;
    Some(Finding::new("cargo", format!("{error:#}")))
}

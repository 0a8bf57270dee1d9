//! `cargo xtask test`: everything that CI checks, as a plan of named stages with a log each.
//!
//! A stage passes, fails, or is not run because one that it needs failed. Nothing is left out silently: what the machine
//! lacks is installed by the first stage or is that stage's failure.

mod counts;
mod lab;
mod stages;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use counts::Counts;

use crate::{command, place};

/// What `cargo xtask test` is told.
#[derive(Args, Debug)]
pub(crate) struct TestArgs {
    /// Lists the stages
    #[arg(long)]
    list: bool,
    /// Runs this stage and those that it needs; may be given again
    #[arg(long, value_name = "NAME")]
    stage: Vec<String>,
}

/// One step of the plan.
struct Stage {
    name: &'static str,
    about: &'static str,
    /// Stages that must have passed.
    needs: &'static [&'static str],
    run: fn(&mut Log) -> Result<Counts>,
}

/// A stage's log file.
struct Log {
    file: File,
    path: PathBuf,
}

impl Log {
    fn create(folder: &Path, name: &str) -> Result<Self> {
        let path = folder.join(format!("{name}.log"));
        let file =
            File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { file, path })
    }

    fn line(&mut self, text: &str) -> Result<()> {
        writeln!(self.file, "{text}").context("cannot write the log")
    }

    /// Tells the terminal as well.
    fn tell(&mut self, text: &str) -> Result<()> {
        println!("      {text}");
        self.line(text)
    }

    /// Runs `command` with its output in this log; returns that output and whether the command succeeded.
    fn run(&mut self, command: &mut Command) -> Result<(String, bool)> {
        let (said, status) = self.status(command)?;
        Ok((said, status.success()))
    }

    /// Runs `command` with its output in this log; returns that output and how the command ended.
    fn status(&mut self, command: &mut Command) -> Result<(String, ExitStatus)> {
        self.line(&format!("$ {}", command::name(command)))?;
        let start = fs::metadata(&self.path)
            .context("cannot read the log")?
            .len();
        let both = || self.file.try_clone().context("cannot share the log");
        command.stdin(Stdio::null()).stdout(both()?).stderr(both()?);
        let status = command
            .status()
            .with_context(|| format!("cannot start {}", command::name(command)))?;
        let all = fs::read(&self.path).context("cannot read the log")?;
        let said = all.get(usize::try_from(start)?..).unwrap_or_default();
        Ok((String::from_utf8_lossy(said).into_owned(), status))
    }

    /// Runs `command`, which must succeed.
    fn must(&mut self, command: &mut Command) -> Result<()> {
        if self.run(command)?.1 {
            return Ok(());
        }
        bail!("{} failed", command::name(command))
    }

    /// Runs a test program, or cargo running several, and counts the tests that it reports.
    fn tests(&mut self, command: &mut Command) -> Result<Counts> {
        let (said, success) = self.run(command)?;
        judge(command, &said, success)
    }
}

/// The tests that `command` reported in what it `said`; an error where that and its success do not fit.
fn judge(command: &Command, said: &str, success: bool) -> Result<Counts> {
    let counts = counts::read(said);
    if !success && counts.failed == 0 {
        bail!("{} failed", command::name(command));
    }
    if counts == Counts::default() {
        bail!("{} ran no test", command::name(command));
    }
    Ok(counts)
}

/// How a stage ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Passed,
    Failed,
    NotRun,
}

/// Runs the plan, or the chosen stages of it.
pub(crate) fn main(args: &TestArgs) -> Result<ExitCode> {
    let plan = stages::PLAN;
    if args.list {
        for stage in &plan {
            println!("{:10} {}", stage.name, stage.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(name) = args
        .stage
        .iter()
        .find(|name| plan.iter().all(|it| it.name != **name))
    {
        bail!("there is no stage `{name}`; `cargo xtask test --list` shows them");
    }
    let chosen = chosen(&plan, &args.stage);
    let folder = place::target().join("xtask/test");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;

    let mut total = Counts::default();
    let mut ends: Vec<(&str, End)> = Vec::new();
    for (index, stage) in chosen.iter().enumerate() {
        let title = format!(
            "[{}/{}] {:10} {}",
            index + 1,
            chosen.len(),
            stage.name,
            stage.about
        );
        let failed = |name: &&&str| {
            ends.iter()
                .any(|(it, end)| it == *name && *end != End::Passed)
        };
        let end = if let Some(cause) = stage.needs.iter().find(failed) {
            println!("{title}: not run, for `{cause}` failed");
            total.skipped += 1;
            End::NotRun
        } else {
            println!("{title}");
            let counts = attend(stage, &folder)?;
            total = total + counts;
            if counts.failed == 0 {
                End::Passed
            } else {
                End::Failed
            }
        };
        ends.push((stage.name, end));
    }
    println!(
        "{} passed, {} failed, {} skipped",
        total.passed, total.failed, total.skipped
    );
    let good = total.failed == 0 && ends.iter().all(|(_, end)| *end == End::Passed);
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The stages called `names` and those that they need, in the plan's order; all of them without names.
fn chosen<'a>(plan: &'a [Stage], names: &[String]) -> Vec<&'a Stage> {
    let mut wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    // A stage comes after those that it needs.
    for stage in plan.iter().rev() {
        if wanted.contains(&stage.name) {
            wanted.extend(stage.needs);
        }
    }
    plan.iter()
        .filter(|stage| wanted.is_empty() || wanted.contains(&stage.name))
        .collect()
}

/// Runs one stage and prints how it ended; a stage that fails otherwise than by its tests counts as one failure.
fn attend(stage: &Stage, folder: &Path) -> Result<Counts> {
    let begin = Instant::now();
    let mut log = Log::create(folder, stage.name)?;
    let (counts, error) = match (stage.run)(&mut log) {
        Ok(counts) => (counts, None),
        Err(error) => (
            Counts {
                failed: 1,
                ..Counts::default()
            },
            Some(error),
        ),
    };
    let time = begin.elapsed().as_secs_f64();
    match (&error, counts) {
        (
            None,
            Counts {
                passed: 0,
                failed: 0,
                skipped: 0,
            },
        ) => println!("      done in {time:.1} s"),
        _ => println!("      {counts} in {time:.1} s"),
    }
    if counts.failed > 0 {
        if let Some(error) = error {
            log.line(&format!("error: {error:#}"))?;
        }
        let said = fs::read(&log.path).unwrap_or_default();
        println!(
            "{}\n      the whole log: {}",
            command::last_lines(&said, 30),
            log.path.display()
        );
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_brings_those_that_it_needs() {
        let names = |names: &[&str]| -> Vec<_> {
            let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
            let stages = chosen(&stages::PLAN, &names);
            stages.iter().map(|stage| stage.name).collect()
        };
        assert_eq!(names(&["stock"]), ["set-up", "release", "stock"]);
        assert_eq!(names(&[]).len(), stages::PLAN.len());
    }
}

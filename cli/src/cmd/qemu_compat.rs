//! `pcp-vmm qemu-compat`: a VM from QEMU's command line.

use clap::FromArgMatches;
use serde::Serialize;

use super::run::{self, Surroundings};
use super::version;
use crate::args::{QemuCompatArgs, RunArgs, run_alone};
use crate::diagnostic::Diagnostic;
use crate::exit::Exit;
use crate::lifecycle::questions::quoted;
use crate::output::{Output, Stop};
use crate::qemu::{Image, Refusal, Row, Translation, translate};

/// What `--explain --json` prints.
#[derive(Serialize)]
struct Explained<'a> {
    options: &'a [Row],
    refused: &'a [Refusal],
    warnings: &'a [String],
    /// The flags of `pcp-vmm run`, if nothing is refused.
    run: Option<Vec<&'a str>>,
}

/// Runs the VM that QEMU's command line asks for, or says what that comes to.
pub(crate) fn obey(
    args: &QemuCompatArgs,
    surroundings: &Surroundings<'_>,
    output: Output,
) -> Result<Exit, Stop> {
    let is_version = |word: &String| matches!(word.as_str(), "-version" | "--version");
    if args.argv.first().is_some_and(is_version) {
        return version::print(output);
    }
    let translation = translate(&args.argv, &Image::of);
    if args.explain {
        explain(&translation, output)?;
    }
    if !translation.refused.is_empty() {
        return Err(refused(&translation).into());
    }
    if args.explain {
        return Ok(Exit::Success);
    }
    for warning in &translation.warnings {
        output.warn(warning);
    }
    as_qemu(start(&translation, surroundings, output))
}

/// Runs the VM by the flags of `run`.
fn start(
    translation: &Translation,
    surroundings: &Surroundings<'_>,
    output: Output,
) -> Result<Exit, Stop> {
    let words = std::iter::once("run").chain(translation.flags());
    let parsed = run_alone().try_get_matches_from(words);
    let parsed = parsed.and_then(|matches| Ok((RunArgs::from_arg_matches(&matches)?, matches)));
    let (args, matches) = parsed.map_err(|error| Diagnostic::from_clap(&error))?;
    run::run(&args, &matches, surroundings, output)
}

/// The end of a run as QEMU tells it: what ended it from outside ended it well, and what is wrong with the command line is a
/// failure like others.
fn as_qemu(ended: Result<Exit, Stop>) -> Result<Exit, Stop> {
    match ended {
        Ok(Exit::Signal(signal))
            if matches!(
                i32::from(signal),
                libc::SIGHUP | libc::SIGINT | libc::SIGTERM
            ) =>
        {
            Ok(Exit::Success)
        }
        Err(Stop::Failed(mut diagnostic)) if diagnostic.exit == Exit::Usage => {
            diagnostic.exit = Exit::Failure;
            let hint =
                "`pcp-vmm qemu-compat --explain ARGV…` shows from which option each flag comes";
            Err(diagnostic.hint(hint).into())
        }
        other => other,
    }
}

/// All that cannot be had, as one error.
fn refused(translation: &Translation) -> Diagnostic {
    let first = Diagnostic::failure("qemu-option", "cannot run this command line of QEMU's");
    let all = translation.refused.iter();
    let all = all.fold(first, |diagnostic, Refusal { option, why }| {
        diagnostic.cause(format!("`{}`: {why}", option.escape_debug()))
    });
    all.hint("`docs/qemu-compat.md` lists what is taken; `pcp-vmm qemu-compat --explain ARGV…` shows what becomes of the rest")
}

/// Shows what becomes of each option.
fn explain(translation: &Translation, output: Output) -> Result<(), Stop> {
    let refused = &translation.refused;
    let Translation { rows, warnings, .. } = translation;
    if output.is_json() {
        return output.json(&Explained {
            options: rows,
            refused,
            warnings,
            run: refused.is_empty().then(|| translation.flags().collect()),
        });
    }
    let mut text = String::new();
    for Row {
        option,
        effect,
        flags,
    } in rows
    {
        let why = refused.iter().find(|refusal| refusal.option == *option);
        let effect = match why {
            Some(_) => "cannot be had, see below",
            None => effect,
        };
        text.push_str(&format!("{}\n    {effect}\n", option.escape_debug()));
        for flag in flags {
            text.push_str(&format!("    {}\n", shell_word(flag)));
        }
    }
    for warning in warnings {
        text.push_str(&format!("\nwarning: {warning}\n"));
    }
    if refused.is_empty() {
        text.push_str("\nThe same by `pcp-vmm run`:\npcp-vmm run");
        for flag in translation.flags() {
            text.push_str(&format!(" \\\n    {}", shell_word(flag)));
        }
        text.push('\n');
    }
    output.data(text)
}

/// A word as a shell takes it.
fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if word.chars().all(plain) {
        return word.to_owned();
    }
    quoted(word)
}

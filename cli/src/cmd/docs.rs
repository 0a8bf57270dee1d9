//! `pcp-vmm docs`: the manual pages, the completion scripts and the reference, all from the same
//! definitions as the help.

mod markdown;

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::completions;
use crate::args::Cli;
use crate::diagnostic::Diagnostic;
use crate::exit::Exit;
use crate::output::{Output, Stop};

/// The shells and the names under which they look for completions.
const SHELLS: [(Shell, &str); 3] = [
    (Shell::Bash, "pcp-vmm.bash"),
    (Shell::Zsh, "_pcp-vmm"),
    (Shell::Fish, "pcp-vmm.fish"),
];

/// Writes everything into `dir`.
pub(crate) fn write(dir: &Path, output: Output) -> Result<Exit, Stop> {
    for (path, contents) in files()? {
        let path = dir.join(path);
        let parent = path.parent().unwrap_or(dir);
        let written = fs::create_dir_all(parent).and_then(|()| fs::write(&path, contents));
        written.map_err(|error| {
            Diagnostic::failure("docs", format!("cannot write `{}`", path.display()))
                .because(&error)
        })?;
        output.note(format!("wrote {}", path.display()));
    }
    Ok(Exit::Success)
}

/// Every generated file: its path and its contents.
fn files() -> Result<Vec<(PathBuf, Vec<u8>)>, Diagnostic> {
    let mut command = Cli::command().color(clap::ColorChoice::Never);
    command.build();
    let mut files = vec![
        ("cli.md".into(), markdown::cli(&command).into_bytes()),
        ("exit-codes.md".into(), markdown::exit_codes().into_bytes()),
        (
            "environment.md".into(),
            markdown::environment().into_bytes(),
        ),
    ];
    for (shell, name) in SHELLS {
        files.push((
            Path::new("completions").join(name),
            completions::script(shell),
        ));
    }
    let mut pages = Vec::new();
    collect(&command, "pcp-vmm".to_owned(), &mut pages);
    for (name, command) in pages {
        let path = Path::new("man").join(format!("{name}.1"));
        files.push((path, page(&name, command)?));
    }
    Ok(files)
}

/// `command` and all visible verbs below it, each with its page's name.
fn collect<'a>(command: &'a Command, name: String, pages: &mut Vec<(String, &'a Command)>) {
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        collect(verb, format!("{name}-{}", verb.get_name()), pages);
    }
    pages.push((name, command));
}

fn page(name: &str, command: &Command) -> Result<Vec<u8>, Diagnostic> {
    let manual = format!("pcp-vmm {}", env!("CARGO_PKG_VERSION"));
    // What the short help leaves out, the manual must not.
    let shown = command.clone().disable_help_flag(true);
    let shown = shown.mut_args(|arg| arg.hide_short_help(false));
    let man = Man::new(shown).title(name).source(manual).manual("PCP");
    let mut text = Vec::new();
    man.render(&mut text).map_err(|error| {
        Diagnostic::failure("docs", format!("cannot render {name}")).because(&error)
    })?;
    if let Some(examples) = command.get_before_help() {
        text.extend(examples_section(&examples.to_string()).into_bytes());
    }
    Ok(text)
}

/// The examples of the help as a section of a manual page, line by line as they are.
fn examples_section(examples: &str) -> String {
    let mut section = ".SH EXAMPLES\n.nf\n".to_owned();
    for line in examples.trim_end().lines().skip(1) {
        let line = line.trim_start().replace('\\', "\\\\").replace('-', "\\-");
        // `\&` keeps a leading dot or quote from being a request.
        section.push_str(&format!("\\&{line}\n"));
    }
    section.push_str(".fi\n");
    section
}

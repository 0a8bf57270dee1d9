//! The reference in Markdown.

use std::fmt::Write;

use clap::{Arg, Command};

use crate::env;
use crate::exit::Exit;

const NOTE: &str = "<!-- Written by `pcp-vmm docs`; change the program, not this file. -->\n";

/// The command line, verb by verb.
pub(crate) fn cli(command: &Command) -> String {
    let mut text = format!(
        "{NOTE}\n# Command line\n\nSee also the [exit statuses](exit-codes.md) and the \
         [environment](environment.md).\n"
    );
    section(command, &mut text);
    text
}

/// The exit statuses.
pub(crate) fn exit_codes() -> String {
    let mut text = format!("{NOTE}\n# Exit status\n\n| status | meaning |\n|---|---|\n");
    for exit in Exit::ALL {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(text, "| {} | {} |", exit.label(), exit.meaning());
    }
    text
}

/// The environment variables.
pub(crate) fn environment() -> String {
    let mut text = format!("{NOTE}\n# Environment\n\n| variable | meaning |\n|---|---|\n");
    for variable in env::ALL {
        let _ = writeln!(text, "| `{}` | {} |", variable.name, variable.meaning);
    }
    text.push_str("| `PATH` | Where the tools that build images are looked for. |\n");
    text
}

fn section(command: &Command, text: &mut String) {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let _ = writeln!(text, "\n## {name}\n");
    if let Some(about) = command.get_long_about().or_else(|| command.get_about()) {
        let _ = writeln!(text, "{about}\n");
    }
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let _ = writeln!(text, "```\n{usage}\n```");
    if let Some(examples) = command.get_before_help() {
        let _ = writeln!(text, "\n```\n{}\n```", examples.to_string().trim_end());
    }
    for heading in headings(command) {
        let _ = writeln!(text, "\n**{}**\n", heading.unwrap_or("Options"));
        let of_heading = arguments(command).filter(|arg| arg.get_help_heading() == heading);
        for arg in of_heading {
            let _ = writeln!(text, "* {}", argument(arg));
        }
    }
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        section(verb, text);
    }
}

/// The headings in the order of their first argument.
fn headings(command: &Command) -> Vec<Option<&str>> {
    let mut headings = Vec::new();
    for arg in arguments(command) {
        if !headings.contains(&arg.get_help_heading()) {
            headings.push(arg.get_help_heading());
        }
    }
    headings
}

/// The arguments worth telling: global ones only at the top.
fn arguments(command: &Command) -> impl Iterator<Item = &Arg> {
    let top = command.get_name() == "pcp-vmm";
    command
        .get_arguments()
        .filter(move |arg| !arg.is_hide_set() && arg.get_id() != "help")
        .filter(move |arg| top || !arg.is_global_set())
}

fn argument(arg: &Arg) -> String {
    let mut names = Vec::new();
    names.extend(arg.get_short().map(|short| format!("-{short}")));
    names.extend(arg.get_long().map(|long| format!("--{long}")));
    let mut spelling = names.join(", ");
    if arg.get_action().takes_values() {
        let values = arg.get_value_names().unwrap_or_default();
        let value = values.first().map_or("", |name| name.as_str());
        let separator = if spelling.is_empty() { "" } else { " " };
        let _ = write!(spelling, "{separator}{value}");
    }
    let help = arg.get_long_help().or_else(|| arg.get_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let stop = if help.ends_with('.') { "" } else { "." };
    let mut line = format!("`{spelling}`: {help}{stop}");
    let possible = arg.get_possible_values();
    if !possible.is_empty() && arg.get_action().takes_values() {
        let names: Vec<&str> = possible
            .iter()
            .map(clap::builder::PossibleValue::get_name)
            .collect();
        let _ = write!(line, " One of {}.", names.join(", "));
    }
    let defaults: Vec<_> = arg
        .get_default_values()
        .iter()
        .map(|d| d.to_string_lossy())
        .collect();
    if !defaults.is_empty() && arg.get_action().takes_values() {
        let _ = write!(line, " Default: {}.", defaults.join(", "));
    }
    if let Some(variable) = arg.get_env() {
        let _ = write!(line, " Environment: `{}`.", variable.to_string_lossy());
    }
    line
}

//! The command line as types. Doc comments here are the help, the manual and the reference.

mod image;
mod run;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
pub(crate) use image::{ImageArgs, ImageVerb, RemoveArgs};
pub(crate) use run::RunArgs;

use crate::exit::Exit;

/// Help begins with what the command does, then shows it in use.
const TEMPLATE: &str = "\
{about-with-newline}
{before-help}{usage-heading} {usage}

{all-args}{after-help}";

const EXAMPLES: &str = "\
Examples:
  pcp-vmm run                      start the base guest; builds its image at first
  pcp-vmm run --variant eval --memory 2G
  pcp-vmm run --kernel vmlinux --initrd initrd
  pcp-vmm doctor                   what this machine lacks, and how to get it";

/// Runs PCP's MicroVMs on KVM.
#[derive(Debug, Parser)]
#[command(
    name = "pcp-vmm",
    help_template = TEMPLATE,
    before_help = EXAMPLES,
    after_help = Exit::HELP,
    max_term_width = 100,
    disable_help_subcommand = true,
    args_conflicts_with_subcommands = false,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    /// Print the version; with --json, what it was built from too.
    #[arg(short = 'V', long)]
    pub(crate) version: bool,

    #[command(flatten)]
    pub(crate) common: CommonArgs,

    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
}

/// What every verb understands.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct CommonArgs {
    /// Write results and errors as JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Say nothing but results, warnings and errors.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    /// Log more: -v what happens, -vv details, -vvv everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    /// Use colours.
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_short_help = true
    )]
    pub(crate) color: ColorChoice,

    /// Show no progress bars.
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) no_progress: bool,

    /// Append the log to this file instead of showing it.
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub(crate) log_file: Option<PathBuf>,

    /// How log lines are written.
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "text",
        hide_short_help = true
    )]
    pub(crate) log_format: LogFormat,
}

/// When colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Run(Box<RunArgs>),
    Image(ImageArgs),
    /// Check whether this machine can run VMs; say what is missing and how to get it.
    #[command(
        help_template = TEMPLATE,
        after_help = "Exit status: 0 if nothing failed, 1 otherwise. Warnings do not count."
    )]
    Doctor,
    /// Write the completion script of a shell to standard output.
    #[command(
        help_template = TEMPLATE,
        before_help = "\
Example:
  pcp-vmm completions bash > ~/.local/share/bash-completion/completions/pcp-vmm\n"
    )]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages, the completion scripts and the reference into a folder.
    #[command(hide = true)]
    Docs {
        /// The folder; the project's own is `docs`.
        dir: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}

//! The command line as types. Doc comments here are the help, the manual and the reference.

mod image;
mod instance;
mod run;

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Command, FromArgMatches, Parser, Subcommand, ValueEnum};
pub(crate) use image::{BuildArgs, ImageArgs, ImageVerb, KernelArg, RemoveArgs, RootDiskArg};
pub(crate) use instance::{KillArgs, LsArgs, StopArgs, TargetArgs};
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

    /// The folder of the running VMs [default: $PCP_VMM_RUNTIME_DIR, else /run/pcp-vmm for root and
    /// $XDG_RUNTIME_DIR/pcp-vmm for others].
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        hide_short_help = true,
        help_heading = "Folders"
    )]
    pub(crate) runtime_dir: Option<PathBuf>,

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

/// What to do. The arguments of a verb are defined when it is used: to define them all takes as
/// long as to start a VM.
#[derive(Debug)]
pub(crate) enum Verb {
    /// `pcp-vmm run`.
    Run(Box<RunArgs>),
    /// `pcp-vmm ls`.
    Ls(LsArgs),
    /// `pcp-vmm stop`.
    Stop(StopArgs),
    /// `pcp-vmm kill`.
    Kill(KillArgs),
    /// `pcp-vmm image`.
    Image(ImageArgs),
    /// `pcp-vmm doctor`.
    Doctor,
    /// `pcp-vmm completions`.
    Completions(CompletionsArgs),
    /// `pcp-vmm docs`.
    Docs(DocsArgs),
}

/// Check whether this machine can run VMs; say what is missing and how to get it.
#[derive(Debug, Args)]
#[command(
    help_template = TEMPLATE,
    after_help = "Exit status: 0 if nothing failed, 1 otherwise. Warnings do not count."
)]
struct DoctorArgs {}

/// Write the completion script of a shell to standard output.
#[derive(Debug, Args)]
#[command(
    help_template = TEMPLATE,
    before_help = "\
Example:
  pcp-vmm completions bash > ~/.local/share/bash-completion/completions/pcp-vmm\n"
)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    pub(crate) shell: clap_complete::Shell,
}

/// Write the manual pages, the completion scripts and the reference into a folder.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE, hide = true)]
pub(crate) struct DocsArgs {
    /// The folder; the project's own is `docs`.
    pub(crate) dir: PathBuf,
}

/// A verb: its name, what it does, and the definition of its arguments.
type Definition = (&'static str, &'static str, fn(Command) -> Command);

/// The visible verbs in the order of the help.
const VERBS: [Definition; 7] = [
    (
        "run",
        "Start a VM and stay with it until it ends",
        RunArgs::augment_args,
    ),
    ("ls", "List the VMs that run", LsArgs::augment_args),
    (
        "stop",
        "Ask VMs to shut down, and end those that do not",
        StopArgs::augment_args,
    ),
    (
        "kill",
        "End VMs at once, without asking their guests",
        KillArgs::augment_args,
    ),
    (
        "image",
        "Build, list and remove guest images",
        ImageArgs::augment_args,
    ),
    (
        "doctor",
        "Check whether this machine can run VMs; say what is missing and how to get it",
        DoctorArgs::augment_args,
    ),
    (
        "completions",
        "Write the completion script of a shell to standard output",
        CompletionsArgs::augment_args,
    ),
];

impl Subcommand for Verb {
    fn augment_subcommands(command: Command) -> Command {
        let verbs =
            VERBS.map(|(name, about, define)| Command::new(name).about(about).defer(define));
        let docs = Command::new("docs")
            .hide(true)
            .defer(DocsArgs::augment_args);
        command.subcommands(verbs).subcommand(docs)
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        name == "docs" || VERBS.iter().any(|(verb, ..)| *verb == name)
    }
}

impl FromArgMatches for Verb {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        match matches.subcommand() {
            Some(("run", verb)) => RunArgs::from_arg_matches(verb).map(Box::new).map(Self::Run),
            Some(("ls", verb)) => LsArgs::from_arg_matches(verb).map(Self::Ls),
            Some(("stop", verb)) => StopArgs::from_arg_matches(verb).map(Self::Stop),
            Some(("kill", verb)) => KillArgs::from_arg_matches(verb).map(Self::Kill),
            Some(("image", verb)) => ImageArgs::from_arg_matches(verb).map(Self::Image),
            Some(("doctor", _)) => Ok(Self::Doctor),
            Some(("completions", verb)) => {
                CompletionsArgs::from_arg_matches(verb).map(Self::Completions)
            }
            Some(("docs", verb)) => DocsArgs::from_arg_matches(verb).map(Self::Docs),
            _ => Err(clap::Error::new(ErrorKind::InvalidSubcommand)),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_verbs_short_description_is_that_of_its_arguments() {
        for (name, about, define) in VERBS {
            let defined = define(Command::new(name));
            assert_eq!(
                defined.get_about().map(ToString::to_string).as_deref(),
                Some(about)
            );
        }
    }
}

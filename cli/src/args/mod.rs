//! The command line as types. Doc comments here are the help, the manual and the reference.

mod agent;
mod exec;
mod ids;
mod image;
mod instance;
mod kernel;
mod lifecycle;
mod logins;
mod manage;
mod matrix;
mod network;
mod program;
mod qemu_compat;
mod run;
mod sandbox;
mod service;
mod start;
mod verbs;
mod vmtest;

use std::path::PathBuf;

pub(crate) use agent::AgentArgs;
use clap::{Args, Parser, ValueEnum};
pub(crate) use exec::{ExecArgs, ExecNet};
pub(crate) use ids::{IdsArgs, IdsVerb};
pub(crate) use image::{BuildArgs, ImageArgs, ImageVerb, KernelArg, RemoveArgs, RootDiskArg};
pub(crate) use instance::{DestroyArgs, KillArgs, LsArgs, StopArgs, TargetArgs, seconds};
pub(crate) use kernel::{
    KernelAddArgs, KernelArgs, KernelCheckArgs, KernelLsArgs, KernelRmArgs, KernelShowArgs,
    KernelUnpackArgs, KernelVerb, MirrorArgs, PurposeArg,
};
pub(crate) use lifecycle::{
    DeepArgs, LifecycleArgs, LifecycleStatusArgs, LifecycleVerb, PhaseArgs, TestArgs, VariantArgs,
};
pub(crate) use logins::{InventoryArgs, SshConfigArgs};
pub(crate) use manage::{
    BalloonArgs, ConsoleArg, ConsoleArgs, EventsArgs, ForwardArgs, ForwardVerb, InspectArgs,
    LinkArgs, LogsArgs, PauseArgs, ResumeArgs, SshArgs, StatusArgs, WaitArgs,
};
pub(crate) use matrix::MatrixArgs;
pub(crate) use network::{CheckArgs, NetworkArgs, NetworkVerb, SetupArgs, TeardownArgs};
pub(crate) use program::{CompletionsArgs, DocsArgs, DoctorArgs};
pub(crate) use qemu_compat::QemuCompatArgs;
pub(crate) use run::RunArgs;
pub(crate) use sandbox::SandboxArgs;
pub(crate) use service::{DeployArgs, GenerateArgs, ServiceArgs, ServiceVerb};
pub(crate) use start::{command_of_run, run_alone};
pub(crate) use verbs::Verb;
pub(crate) use vmtest::VmtestArgs;

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

    /// The folder of what is kept between runs [default: $PCP_VMM_STATE_DIR, else /var/lib/pcp-vmm for root
    /// and $XDG_STATE_HOME/pcp-vmm for others].
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        hide_short_help = true,
        help_heading = "Folders"
    )]
    pub(crate) state_dir: Option<PathBuf>,

    /// The folder of logs: what a daemon says in NAME.log, what consoles print in NAME/serial.log and NAME/console.log. Without
    /// it, only VMs that run as daemons have logs [default: $PCP_VMM_LOG_DIR, else /var/log/pcp-vmm for root and `log` in
    /// the state folder for others].
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        hide_short_help = true,
        help_heading = "Folders"
    )]
    pub(crate) log_dir: Option<PathBuf>,

    /// The folder of what is there only while an image is built, some 2 GiB [default: $PCP_VMM_TMP_DIR, else the cache].
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        hide_short_help = true,
        help_heading = "Folders"
    )]
    pub(crate) tmp_dir: Option<PathBuf>,

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

//! The command line as types. Doc comments here are the help, the manual and the reference.

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
mod service;
mod start;

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Command, FromArgMatches, Parser, Subcommand, ValueEnum};
pub(crate) use exec::{ExecArgs, ExecNet};
pub(crate) use ids::{IdsArgs, IdsVerb};
pub(crate) use image::{BuildArgs, ImageArgs, ImageVerb, KernelArg, RemoveArgs, RootDiskArg};
pub(crate) use instance::{DestroyArgs, KillArgs, LsArgs, StopArgs, TargetArgs, seconds};
pub(crate) use kernel::{
    KernelAddArgs, KernelArgs, KernelCheckArgs, KernelLsArgs, KernelRmArgs, KernelShowArgs,
    KernelVerb, MirrorArgs, PurposeArg,
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
use program::DoctorArgs;
pub(crate) use program::{CompletionsArgs, DocsArgs};
pub(crate) use qemu_compat::QemuCompatArgs;
pub(crate) use run::RunArgs;
pub(crate) use service::{DeployArgs, GenerateArgs, ServiceArgs, ServiceVerb};
pub(crate) use start::{command_of_run, run_alone};

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

/// What to do. The arguments of a verb are defined when it is used: to define them all takes as
/// long as to start a VM.
#[derive(Debug)]
pub(crate) enum Verb {
    /// `pcp-vmm run`.
    Run(Box<RunArgs>),
    /// `pcp-vmm exec`.
    Exec(Box<ExecArgs>),
    /// `pcp-vmm qemu-compat`.
    QemuCompat(QemuCompatArgs),
    /// `pcp-vmm ls`.
    Ls(LsArgs),
    /// `pcp-vmm status`.
    Status(StatusArgs),
    /// `pcp-vmm inspect`.
    Inspect(InspectArgs),
    /// `pcp-vmm wait`.
    Wait(WaitArgs),
    /// `pcp-vmm console`.
    Console(ConsoleArgs),
    /// `pcp-vmm logs`.
    Logs(LogsArgs),
    /// `pcp-vmm ssh`.
    Ssh(SshArgs),
    /// `pcp-vmm ssh-config`.
    SshConfig(SshConfigArgs),
    /// `pcp-vmm inventory`.
    Inventory(InventoryArgs),
    /// `pcp-vmm events`.
    Events(EventsArgs),
    /// `pcp-vmm pause`.
    Pause(PauseArgs),
    /// `pcp-vmm resume`.
    Resume(ResumeArgs),
    /// `pcp-vmm forward`.
    Forward(ForwardArgs),
    /// `pcp-vmm balloon`.
    Balloon(BalloonArgs),
    /// `pcp-vmm link`.
    Link(LinkArgs),
    /// `pcp-vmm stop`.
    Stop(StopArgs),
    /// `pcp-vmm kill`.
    Kill(KillArgs),
    /// `pcp-vmm destroy`.
    Destroy(DestroyArgs),
    /// `pcp-vmm test`.
    Test(DeepArgs),
    /// `pcp-vmm lifecycle`.
    Lifecycle(LifecycleArgs),
    /// `pcp-vmm network`.
    Network(NetworkArgs),
    /// `pcp-vmm service`.
    Service(ServiceArgs),
    /// `pcp-vmm deploy`.
    Deploy(DeployArgs),
    /// `pcp-vmm ids`.
    Ids(IdsArgs),
    /// `pcp-vmm image`.
    Image(ImageArgs),
    /// `pcp-vmm kernel`.
    Kernel(KernelArgs),
    /// `pcp-vmm matrix`.
    Matrix(MatrixArgs),
    /// `pcp-vmm doctor`.
    Doctor,
    /// `pcp-vmm completions`.
    Completions(CompletionsArgs),
    /// `pcp-vmm docs`.
    Docs(DocsArgs),
}

/// A verb: its name, what it does, and the definition of its arguments.
type Definition = (&'static str, &'static str, fn(Command) -> Command);

/// The visible verbs in the order of the help.
const VERBS: [Definition; 32] = [
    (
        "run",
        "Start a VM and stay with it until it ends",
        RunArgs::augment_args,
    ),
    (
        "exec",
        "Run a command in a VM of its own, and end as it ends",
        ExecArgs::augment_args,
    ),
    (
        "qemu-compat",
        "Run a VM from QEMU's command line",
        QemuCompatArgs::augment_args,
    ),
    ("ls", "List the VMs that run", LsArgs::augment_args),
    ("status", "Tell how VMs are", StatusArgs::augment_args),
    (
        "inspect",
        "Show what a VM was started with",
        InspectArgs::augment_args,
    ),
    (
        "wait",
        "Wait until VMs are as wanted",
        WaitArgs::augment_args,
    ),
    (
        "console",
        "Use a console of a VM on this terminal",
        ConsoleArgs::augment_args,
    ),
    (
        "logs",
        "Show what a VM's console has printed",
        LogsArgs::augment_args,
    ),
    (
        "ssh",
        "Log in to a VM's guest, or run a command there",
        SshArgs::augment_args,
    ),
    (
        "ssh-config",
        "Let ssh, scp, rsync and editors reach guests by their VM's name",
        SshConfigArgs::augment_args,
    ),
    (
        "inventory",
        "List the VMs that run as an inventory for Ansible",
        InventoryArgs::augment_args,
    ),
    (
        "events",
        "Tell what happened to VMs: phases of the boot, changes, their end",
        EventsArgs::augment_args,
    ),
    (
        "pause",
        "Stop the vCPUs of VMs where they are",
        PauseArgs::augment_args,
    ),
    ("resume", "Let paused VMs go on", ResumeArgs::augment_args),
    (
        "forward",
        "Add, remove and list the host ports that lead into a VM",
        ForwardArgs::augment_args,
    ),
    (
        "balloon",
        "Show the size of a VM's balloon, or ask its guest for another one",
        BalloonArgs::augment_args,
    ),
    (
        "link",
        "Show whether a VM's network cards have a link, or take it down and up",
        LinkArgs::augment_args,
    ),
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
        "destroy",
        "End VMs and remove what is kept of them",
        DestroyArgs::augment_args,
    ),
    (
        "lifecycle",
        "Test guests from their build to their end, phase by phase",
        LifecycleArgs::augment_args,
    ),
    ("test", "Test guests in depth", DeepArgs::augment_args),
    (
        "network",
        "Set up PCP's TAP network on this host, and take it away again",
        NetworkArgs::augment_args,
    ),
    (
        "service",
        "Define VMs as services of this machine's service manager",
        ServiceArgs::augment_args,
    ),
    (
        "deploy",
        "Bring a declared set of VMs to the wanted state",
        DeployArgs::augment_args,
    ),
    (
        "ids",
        "List, reserve, export and free the ports and other identifiers of VMs",
        IdsArgs::augment_args,
    ),
    (
        "image",
        "Build, list and remove guest images",
        ImageArgs::augment_args,
    ),
    (
        "kernel",
        "Fetch, list, check and remove Debian's kernels",
        KernelArgs::augment_args,
    ),
    (
        "matrix",
        "Run a command over kernels, machines and parameters, each in a VM of its own",
        MatrixArgs::augment_args,
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
            Some(("exec", verb)) => ExecArgs::from_arg_matches(verb)
                .map(Box::new)
                .map(Self::Exec),
            Some(("qemu-compat", verb)) => {
                QemuCompatArgs::from_arg_matches(verb).map(Self::QemuCompat)
            }
            Some(("ls", verb)) => LsArgs::from_arg_matches(verb).map(Self::Ls),
            Some(("status", verb)) => StatusArgs::from_arg_matches(verb).map(Self::Status),
            Some(("inspect", verb)) => InspectArgs::from_arg_matches(verb).map(Self::Inspect),
            Some(("wait", verb)) => WaitArgs::from_arg_matches(verb).map(Self::Wait),
            Some(("console", verb)) => ConsoleArgs::from_arg_matches(verb).map(Self::Console),
            Some(("logs", verb)) => LogsArgs::from_arg_matches(verb).map(Self::Logs),
            Some(("ssh", verb)) => SshArgs::from_arg_matches(verb).map(Self::Ssh),
            Some(("ssh-config", verb)) => {
                SshConfigArgs::from_arg_matches(verb).map(Self::SshConfig)
            }
            Some(("inventory", verb)) => InventoryArgs::from_arg_matches(verb).map(Self::Inventory),
            Some(("events", verb)) => EventsArgs::from_arg_matches(verb).map(Self::Events),
            Some(("pause", verb)) => PauseArgs::from_arg_matches(verb).map(Self::Pause),
            Some(("resume", verb)) => ResumeArgs::from_arg_matches(verb).map(Self::Resume),
            Some(("forward", verb)) => ForwardArgs::from_arg_matches(verb).map(Self::Forward),
            Some(("balloon", verb)) => BalloonArgs::from_arg_matches(verb).map(Self::Balloon),
            Some(("link", verb)) => LinkArgs::from_arg_matches(verb).map(Self::Link),
            Some(("stop", verb)) => StopArgs::from_arg_matches(verb).map(Self::Stop),
            Some(("kill", verb)) => KillArgs::from_arg_matches(verb).map(Self::Kill),
            Some(("destroy", verb)) => DestroyArgs::from_arg_matches(verb).map(Self::Destroy),
            Some(("lifecycle", verb)) => LifecycleArgs::from_arg_matches(verb).map(Self::Lifecycle),
            Some(("test", verb)) => DeepArgs::from_arg_matches(verb).map(Self::Test),
            Some(("network", verb)) => NetworkArgs::from_arg_matches(verb).map(Self::Network),
            Some(("service", verb)) => ServiceArgs::from_arg_matches(verb).map(Self::Service),
            Some(("deploy", verb)) => DeployArgs::from_arg_matches(verb).map(Self::Deploy),
            Some(("ids", verb)) => IdsArgs::from_arg_matches(verb).map(Self::Ids),
            Some(("image", verb)) => ImageArgs::from_arg_matches(verb).map(Self::Image),
            Some(("kernel", verb)) => KernelArgs::from_arg_matches(verb).map(Self::Kernel),
            Some(("matrix", verb)) => MatrixArgs::from_arg_matches(verb).map(Self::Matrix),
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

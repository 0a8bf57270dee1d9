//! The verbs that look into VMs that run, and change them.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use vmm::config::value::MemorySize;
use vmm::control::protocol::{ConsoleName, LinkState};

use super::TEMPLATE;
use super::instance::{TargetArgs, seconds};
use crate::wanted::Wanted;

/// Tell how VMs are.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

const INSPECT: &str = "\
Show what a VM was started with: its record, its whole spec and its status, as JSON; with --resolved, \
each value and where it comes from.";

/// Show what a VM was started with.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE, long_about = INSPECT)]
pub(crate) struct InspectArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,

    /// Show each value with its origin instead.
    #[arg(long)]
    pub(crate) resolved: bool,
}

const WAIT: &str = "\
Wait until VMs are as wanted, in all that is asked for.

What is waited for:
  ready         the services of its bundle are active and its metrics have values;
                without a bundle, a login is offered
  kernel, init, userspace, login
                the guest has come so far, as its consoles tell
  ssh           the guest's SSH server answers
  service:NAME  the guest's systemd calls the unit active
  metric:NAME   the guest's pmcd has values of the metric
  console:REGEX a console has printed, or prints, a line that matches
  exit          the VM has ended

A VM that is only being started is given five seconds to appear. One that ends before it is as wanted \
is a failure.";

/// Wait until VMs are as wanted.
#[derive(Debug, Args)]
#[command(
    help_template = TEMPLATE,
    long_about = WAIT,
    before_help = "\
Examples:
  pcp-vmm wait base --timeout 120
  pcp-vmm wait pcp-vm --for service:pmcd --for metric:kernel.all.load
  pcp-vmm wait vm --for 'console:^done$'\n"
)]
pub(crate) struct WaitArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,

    /// What to wait for; may be given several times [default: ready].
    #[arg(long = "for", value_name = "WHAT")]
    pub(crate) wanted: Vec<Wanted>,

    /// Give up after so long [default: never].
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Option<Duration>,
}

const CONSOLE: &str = "\
Use a console of a VM on this terminal, from the first byte that is still known on. Others may use it \
at the same time. Ctrl-] leaves it; the VM goes on.";

/// Use a console of a VM on this terminal.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE, long_about = CONSOLE)]
pub(crate) struct ConsoleArgs {
    /// The VM.
    #[arg(value_name = "VM")]
    pub(crate) name: String,

    /// Which console [default: the one that has printed most].
    pub(crate) console: Option<ConsoleArg>,

    /// Show at most so much of what was printed before.
    #[arg(long, value_name = "SIZE")]
    pub(crate) replay: Option<MemorySize>,
}

/// A console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConsoleArg {
    /// The serial port, ttyS0.
    Serial,
    /// The virtio console, hvc0.
    Virtio,
}

impl From<ConsoleArg> for ConsoleName {
    fn from(console: ConsoleArg) -> Self {
        match console {
            ConsoleArg::Serial => Self::Serial,
            ConsoleArg::Virtio => Self::Virtio,
        }
    }
}

/// Show what a VM's console has printed, as far as it is still known (1 MiB).
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE)]
pub(crate) struct LogsArgs {
    /// The VM.
    #[arg(value_name = "VM")]
    pub(crate) name: String,

    /// Which console [default: the one that has printed most].
    pub(crate) console: Option<ConsoleArg>,

    /// Go on with what it prints, until the VM ends.
    #[arg(short, long)]
    pub(crate) follow: bool,

    /// Only the last so many lines.
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) lines: Option<usize>,
}

const SSH: &str = "\
Log in to a VM's guest over SSH, or run a command there; the exit status is that of `ssh`. User, \
password and key are those of the guest's bundle, and the host port is the one that leads to its port \
22. The guest's key is not kept or checked: the way to it does not leave this machine.";

/// Log in to a VM's guest, or run a command there.
#[derive(Debug, Args)]
#[command(
    help_template = TEMPLATE,
    long_about = SSH,
    before_help = "\
Examples:
  pcp-vmm ssh base
  pcp-vmm ssh pcp-vm -- pminfo -f kernel.all.load\n"
)]
pub(crate) struct SshArgs {
    /// The VM.
    #[arg(value_name = "VM")]
    pub(crate) name: String,

    /// The user to log in as [default: the bundle's, else root].
    #[arg(short, long, value_name = "USER")]
    pub(crate) user: Option<String>,

    /// Give a guest that is still booting so long to answer; 0 asks it at once.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    pub(crate) timeout: Duration,

    /// The command and its arguments.
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
}

/// Tell what happened to VMs: phases of the boot, changes, their end.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE)]
pub(crate) struct EventsArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,

    /// Go on with what happens, until the VMs end.
    #[arg(short, long)]
    pub(crate) follow: bool,
}

/// Stop the vCPUs of VMs where they are.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE)]
pub(crate) struct PauseArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

/// Let paused VMs go on.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE)]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

/// Show the size of a VM's balloon, or ask its guest for another one.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE)]
pub(crate) struct BalloonArgs {
    /// The VM.
    #[arg(value_name = "VM")]
    pub(crate) name: String,

    /// What the guest is to give; 0 gives all back to it.
    #[arg(value_name = "SIZE")]
    pub(crate) size: Option<MemorySize>,
}

/// Show whether a VM's network cards have a link, or take it down and up.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE)]
pub(crate) struct LinkArgs {
    /// The VM.
    #[arg(value_name = "VM")]
    pub(crate) name: String,

    /// The new state.
    pub(crate) state: Option<LinkArg>,
}

/// Whether the cable is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LinkArg {
    /// It is in.
    Up,
    /// It is out.
    Down,
}

impl From<LinkArg> for LinkState {
    fn from(state: LinkArg) -> Self {
        match state {
            LinkArg::Up => Self::Up,
            LinkArg::Down => Self::Down,
        }
    }
}

/// Add, remove and list the host ports that lead into a VM.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE)]
pub(crate) struct ForwardArgs {
    #[command(subcommand)]
    pub(crate) verb: ForwardVerb,
}

/// What to do with forwards.
#[derive(Debug, Subcommand)]
pub(crate) enum ForwardVerb {
    /// Lead host ports into the guest.
    #[command(help_template = TEMPLATE)]
    Add {
        /// The VM.
        #[arg(value_name = "VM")]
        name: String,
        /// The ports, as in `run --forward`.
        #[arg(value_name = "[tcp:|udp:][ADDR:]HOST:GUEST", required = true)]
        forwards: Vec<String>,
    },
    /// Close host ports; connections that came through them stay.
    #[command(help_template = TEMPLATE)]
    Rm {
        /// The VM.
        #[arg(value_name = "VM")]
        name: String,
        /// The ports; the guest's may be left out.
        #[arg(value_name = "[tcp:|udp:][ADDR:]HOST[:GUEST]", required = true)]
        forwards: Vec<String>,
    },
    /// List the host ports that lead into VMs.
    #[command(help_template = TEMPLATE)]
    Ls {
        #[command(flatten)]
        target: TargetArgs,
    },
}

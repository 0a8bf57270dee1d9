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
    /// The VM, by name or by variant; not with --all.
    #[arg(value_name = "VM", required_unless_present = "all")]
    name: Option<String>,

    /// Which console [default: the one that has printed most].
    console: Option<ConsoleArg>,

    /// Show at most so much of what was printed before.
    #[arg(long, value_name = "SIZE")]
    pub(crate) replay: Option<MemorySize>,

    /// The one VM that runs: a terminal shows one console.
    #[arg(short, long)]
    all: bool,
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

const LOGS: &str = "\
Show what a VM's console has printed: while it runs, as far as it is still known (1 MiB); once it has ended, \
what is in its log in the log folder, if it had one.";

/// Show what a VM's console has printed.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE, long_about = LOGS)]
pub(crate) struct LogsArgs {
    /// The VM, by name or by variant; not with --all.
    #[arg(value_name = "VM", required_unless_present = "all")]
    name: Option<String>,

    /// Which console [default: the one that has printed most].
    console: Option<ConsoleArg>,

    /// Go on with what it prints, until the VM ends.
    #[arg(short, long)]
    pub(crate) follow: bool,

    /// Only the last so many lines.
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) lines: Option<usize>,

    /// All VMs that run; each line begins with its VM's name.
    #[arg(short, long)]
    all: bool,
}

const SSH: &str = "\
Log in to a VM's guest over SSH, or run a command there; the exit status is that of `ssh`. User, \
password and key are those of the guest's bundle, or the key is that of the folder in which the VM was \
started; the host port is the one that leads to its port 22. The guest's own key is not kept or checked: \
the way to it does not leave this machine.";

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
    /// The VM, by name or by variant; not with --all.
    #[arg(value_name = "VM", required_unless_present = "all")]
    name: Option<String>,

    /// All VMs that run, for a command; each line begins with its VM's name.
    #[arg(short, long, conflicts_with = "name")]
    all: bool,

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
    /// The VM, by name or by variant; not with --all.
    #[arg(value_name = "VM", required_unless_present = "all")]
    name: Option<String>,

    /// What the guest is to give; 0 gives all back to it.
    #[arg(value_name = "SIZE")]
    size: Option<MemorySize>,

    /// All VMs that run.
    #[arg(short, long)]
    all: bool,
}

/// Show whether a VM's network cards have a link, or take it down and up.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE)]
pub(crate) struct LinkArgs {
    /// The VM, by name or by variant; not with --all.
    #[arg(value_name = "VM", required_unless_present = "all")]
    name: Option<String>,

    /// The new state.
    state: Option<LinkArg>,

    /// All VMs that run.
    #[arg(short, long)]
    all: bool,
}

impl BalloonArgs {
    /// Which VMs, and the size.
    pub(crate) fn read(&self) -> Result<(TargetArgs, Option<MemorySize>), String> {
        let parse = |text: &str| {
            text.parse::<MemorySize>()
                .map_err(|error| error.to_string())
        };
        shifted(self.all, self.name.as_deref(), self.size, parse)
    }
}

impl LinkArgs {
    /// Which VMs, and the new state.
    pub(crate) fn read(&self) -> Result<(TargetArgs, Option<LinkArg>), String> {
        shifted(self.all, self.name.as_deref(), self.state, choice)
    }
}

impl ConsoleArgs {
    /// Which VM, and which console.
    pub(crate) fn read(&self) -> Result<(TargetArgs, Option<ConsoleArg>), String> {
        shifted(self.all, self.name.as_deref(), self.console, choice)
    }
}

impl SshArgs {
    /// Which VMs.
    pub(crate) fn target(&self) -> TargetArgs {
        TargetArgs {
            names: self.name.clone().into_iter().collect(),
            all: self.all,
        }
    }
}

impl LogsArgs {
    /// Which VMs, and which console.
    pub(crate) fn read(&self) -> Result<(TargetArgs, Option<ConsoleArg>), String> {
        shifted(self.all, self.name.as_deref(), self.console, choice)
    }
}

fn choice<T: ValueEnum>(text: &str) -> Result<T, String> {
    T::from_str(text, false).map_err(|_| format!("`{}` is none of its values", text.escape_debug()))
}

/// With --all, what stands in the VM's place is the value behind it.
fn shifted<T: Copy>(
    all: bool,
    name: Option<&str>,
    value: Option<T>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<(TargetArgs, Option<T>), String> {
    let names = match (all, name, value) {
        (true, Some(_), Some(_)) => return Err("a VM is named beside `--all`".to_owned()),
        (true, Some(text), None) => {
            let value =
                parse(text).map_err(|why| format!("{why}; a VM is not named beside `--all`"))?;
            return Ok((
                TargetArgs {
                    names: Vec::new(),
                    all,
                },
                Some(value),
            ));
        }
        (_, name, _) => name.map(str::to_owned).into_iter().collect(),
    };
    Ok((TargetArgs { names, all }, value))
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
    /// Lead host ports into guests.
    #[command(help_template = TEMPLATE)]
    Add(AddForwardArgs),
    /// Close host ports; connections that came through them stay.
    #[command(help_template = TEMPLATE)]
    Rm(RemoveForwardArgs),
    /// List the host ports that lead into VMs.
    #[command(help_template = TEMPLATE)]
    Ls {
        #[command(flatten)]
        target: TargetArgs,
    },
}

/// `forward add`.
#[derive(Debug, Args)]
pub(crate) struct AddForwardArgs {
    /// The VMs, by name or, for all of a kind, by variant; not with --all.
    #[arg(value_name = "VM", required_unless_present = "all")]
    name: Option<String>,

    /// The ports, as in `run --forward`.
    #[arg(
        value_name = "[tcp:|udp:][ADDR:]HOST:GUEST",
        required_unless_present = "all"
    )]
    forwards: Vec<String>,

    /// All VMs that run.
    #[arg(short, long)]
    all: bool,
}

/// `forward rm`.
#[derive(Debug, Args)]
pub(crate) struct RemoveForwardArgs {
    /// The VMs, by name or, for all of a kind, by variant; not with --all.
    #[arg(value_name = "VM", required_unless_present = "all")]
    name: Option<String>,

    /// The ports; the guest's may be left out.
    #[arg(
        value_name = "[tcp:|udp:][ADDR:]HOST[:GUEST]",
        required_unless_present = "all"
    )]
    forwards: Vec<String>,

    /// All VMs that run.
    #[arg(short, long)]
    all: bool,
}

impl AddForwardArgs {
    /// Which VMs, and the ports.
    pub(crate) fn read(&self) -> Result<(TargetArgs, Vec<String>), String> {
        with_forwards(self.all, self.name.as_deref(), &self.forwards)
    }
}

impl RemoveForwardArgs {
    /// Which VMs, and the ports.
    pub(crate) fn read(&self) -> Result<(TargetArgs, Vec<String>), String> {
        with_forwards(self.all, self.name.as_deref(), &self.forwards)
    }
}

/// With --all, what stands in the VM's place is the first port.
fn with_forwards(
    all: bool,
    name: Option<&str>,
    forwards: &[String],
) -> Result<(TargetArgs, Vec<String>), String> {
    let mut name = name.map(str::to_owned);
    let first = name.take_if(|_| all);
    let forwards: Vec<String> = first.into_iter().chain(forwards.to_vec()).collect();
    if forwards.is_empty() {
        return Err("no port is named".to_owned());
    }
    let names = name.into_iter().collect();
    Ok((TargetArgs { names, all }, forwards))
}

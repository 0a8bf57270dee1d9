//! The verbs for VMs that run.

use std::time::Duration;

use clap::Args;

use super::TEMPLATE;

/// Which VMs.
#[derive(Debug, Clone, Args)]
pub(crate) struct TargetArgs {
    /// The VMs, by name or, for all of a kind, by variant.
    #[arg(value_name = "VM", required_unless_present = "all")]
    pub(crate) names: Vec<String>,

    /// All VMs that run.
    #[arg(short, long, conflicts_with = "names")]
    pub(crate) all: bool,
}

/// List the VMs that run.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE)]
pub(crate) struct LsArgs {
    /// Only these, by name or by variant.
    #[arg(value_name = "VM")]
    pub(crate) names: Vec<String>,
}

const STOP: &str = "\
Ask VMs to shut down, and end those that do not.

First the guest's power button is pressed, then Ctrl-Alt-Del, then the VM ends without the guest's \
consent; last, its process is killed. Each step has its deadline, and what it took is told. All VMs \
are stopped at the same time.";

/// Ask VMs to shut down, and end those that do not.
#[derive(Debug, Args)]
#[command(
    help_template = TEMPLATE,
    long_about = STOP,
    before_help = "\
Examples:
  pcp-vmm stop pcp-vm
  pcp-vmm stop --all --power-button 60\n"
)]
pub(crate) struct StopArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,

    /// How long the guest has to heed the power button; 0: it is not pressed.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) power_button: Duration,

    /// How long it then has to heed Ctrl-Alt-Del; 0: it is not pressed.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) ctrl_alt_del: Duration,
}

const KILL: &str = "\
End VMs at once, without asking their guests.

The process is sent SIGTERM, and SIGKILL if it is still there after a second. What the guest had not \
written yet is lost to it, as with a power failure.";

/// End VMs at once, without asking their guests.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE, long_about = KILL)]
pub(crate) struct KillArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

const DESTROY: &str = "\
End VMs and remove what is kept of them.

VMs that run are stopped as by `pcp-vmm stop`. Then their logs, the identifiers that they were given, and their blocks in \
~/.ssh/config are removed, and the SSH key of the folder in which they were started, and of this one, unless another VM that \
runs has it. Images, disks and shares stay. Without a terminal to ask on, --force is needed.";

/// End VMs and remove what is kept of them.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE, long_about = DESTROY)]
pub(crate) struct DestroyArgs {
    /// The VMs, by name or, if they run, by variant.
    #[arg(value_name = "VM", required_unless_present = "all")]
    pub(crate) names: Vec<String>,

    /// All VMs that run.
    #[arg(short, long, conflicts_with = "names")]
    pub(crate) all: bool,

    /// Do not ask.
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// A time in seconds, up to a day.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse::<f64>().ok();
    let number = number.filter(|number| (0.0..=86_400.0).contains(number));
    number
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "not a number of seconds from 0 to 86400".to_owned())
}

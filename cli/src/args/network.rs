//! `pcp-vmm network`.

use clap::{Args, Subcommand};

use super::TEMPLATE;

const LONG: &str = "\
Set up PCP's TAP network on this host, and take it away again.

The network is the bridge pcpbr0 with 10.177.0.1/24, the TAP pcptap0 with several queues, NAT and forwarding for \
10.177.0.0/24, and access to the kernel's vhost-net. Its guest has the address 10.177.0.20: `pcp-vmm run --net tap`.

What is there already is used as it is. What is changed is written down in the state folder before it is done, and \
exactly that is taken back.";

/// Set up PCP's TAP network on this host, and take it away again.
#[derive(Debug, Args)]
#[command(
    help_template = TEMPLATE,
    long_about = LONG,
    before_help = "\
Examples:
  pcp-vmm network check
  sudo pcp-vmm network setup
  pcp-vmm run --variant base --net tap
  sudo pcp-vmm network teardown\n"
)]
pub(crate) struct NetworkArgs {
    #[command(subcommand)]
    pub(crate) verb: NetworkVerb,
}

/// What to do with the network.
#[derive(Debug, Subcommand)]
pub(crate) enum NetworkVerb {
    /// Tell whether this host can have the network, and what is in the way.
    Check(CheckArgs),
    /// Set the network up; needs root.
    Setup(SetupArgs),
    /// Take back what `setup` changed; needs root.
    Teardown(TeardownArgs),
    /// Tell what of the network is there, and what of it `setup` made.
    ///
    /// The status is 0 if a guest could use it, else 1.
    Status,
}

/// `network check`.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE)]
pub(crate) struct CheckArgs {
    /// Who is to use the TAP, by name or number [default: who calls, through sudo too].
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
}

/// `network setup`.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE)]
pub(crate) struct SetupArgs {
    /// Who is to use the TAP, by name or number [default: who calls, through sudo too].
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,

    /// Print the commands that would change the host; change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `network teardown`.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE)]
pub(crate) struct TeardownArgs {
    /// Take the TAP away even from a VM that uses it.
    #[arg(long)]
    pub(crate) force: bool,

    /// Print the commands that would change the host; change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

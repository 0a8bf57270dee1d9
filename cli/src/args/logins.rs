//! The verbs that tell other programs the way into the guests.

use std::path::PathBuf;

use clap::Args;

use super::TEMPLATE;

const SSH_CONFIG: &str = "\
Let ssh, scp, rsync and editors reach guests by their VM's name.

Prints a block for each VM in the form of ssh_config(5). With --write, the blocks are put into the user's configuration, between \
lines that mark them, before what else is there: the first value that ssh finds is the one it takes. A block that is there already \
is replaced; nothing else of the file is touched. A password has no place there: a comment tells it.";

/// Let ssh, scp, rsync and editors reach guests by their VM's name.
#[derive(Debug, Args)]
#[command(
    help_template = TEMPLATE,
    long_about = SSH_CONFIG,
    before_help = "\
Examples:
  pcp-vmm ssh-config --write --all
  pcp-vmm ssh-config --remove pcp-vm\n"
)]
pub(crate) struct SshConfigArgs {
    /// The VMs, by name or, for all of a kind, by variant; with --remove, the names in the file.
    #[arg(value_name = "VM", required_unless_present = "all")]
    pub(crate) names: Vec<String>,

    /// All VMs that run. With --write, blocks of others are removed; with --remove, all blocks.
    #[arg(short, long, conflicts_with = "names")]
    pub(crate) all: bool,

    /// Put the blocks into the configuration.
    #[arg(short, long)]
    pub(crate) write: bool,

    /// Remove the blocks from the configuration.
    #[arg(short, long, conflicts_with = "write")]
    pub(crate) remove: bool,

    /// The configuration [default: ~/.ssh/config].
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

const INVENTORY: &str = "\
List the VMs that run as an inventory for Ansible.

The output is that of a dynamic inventory script: hosts with their connection variables, all together and in a group for each \
variant. The password of a debug image is in it.";

/// List the VMs that run as an inventory for Ansible.
#[derive(Debug, Args)]
#[command(
    help_template = TEMPLATE,
    long_about = INVENTORY,
    before_help = "\
Example:
  printf '#!/bin/sh\\nexec pcp-vmm inventory \"$@\"\\n' > vms; chmod +x vms
  ansible -i ./vms all -m raw -a uptime\n"
)]
pub(crate) struct InventoryArgs {
    /// All hosts; as without it.
    #[arg(long, conflicts_with = "host")]
    pub(crate) list: bool,

    /// The variables of this VM alone.
    #[arg(long, value_name = "VM")]
    pub(crate) host: Option<String>,
}

//! `pcp-vmm agent`.

use std::path::PathBuf;

use clap::Args;

use super::TEMPLATE;

/// Put the agent that `exec --in` calls into a guest's root file system.
#[derive(Debug, Args)]
#[command(
    help_template = TEMPLATE,
    before_help = "\
Examples:
  pcp-vmm agent ./debian                        the program, and a unit for systemd
  pcp-vmm agent --program ./pcp-vmm-agent       the program alone; `pcp-vmm-agent agent` runs it\n",
    after_help = "Guests of `pcp-vmm image build` have the agent already. Others need a kernel with vsock for virtio, and a VM with a \
socket device: `pcp-vmm run --vsock cid=3,socket=PATH`. The agent runs commands that the host orders, as the guest's superuser, and \
takes calls of the host alone."
)]
pub(crate) struct AgentArgs {
    /// The folder of the guest's root file system.
    #[arg(
        value_name = "ROOT",
        required_unless_present = "program",
        conflicts_with = "program"
    )]
    pub(crate) root: Option<PathBuf>,

    /// Write the program to this file: static, for x86-64.
    #[arg(long, value_name = "FILE")]
    pub(crate) program: Option<PathBuf>,
}

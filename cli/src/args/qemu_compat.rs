//! `pcp-vmm qemu-compat`.

use clap::Args;

use super::TEMPLATE;

const EXAMPLES: &str = "\
Examples:
  pcp-vmm qemu-compat -M microvm -m 512 -nodefaults -no-reboot -kernel bzImage \\
      -append console=ttyS0 -serial stdio
  pcp-vmm qemu-compat --explain -enable-kvm -m 1G -kernel bzImage   show what becomes of it
";

const LONG: &str = "\
Run a VM from QEMU's command line.

The options of QEMU are translated into flags of `pcp-vmm run`, and the VM runs in this process. What cannot be had is an \
error that names each such option; nothing is started then. The program does the same when it is called by a name that \
begins with `qemu-system-` or is `qemu-kvm`. `docs/qemu-compat.md` lists what is taken.

The options of this verb come first; from the first other word on, the command line is QEMU's.";

/// Run a VM from QEMU's command line.
#[derive(Debug, Args)]
#[command(
    help_template = TEMPLATE,
    before_help = EXAMPLES,
    long_about = LONG,
    after_help = "\
Exit status: as QEMU's, 0 when the guest powered off or rebooted, and when a signal or the monitor ended the VM; 1 when it \
cannot run. A guest that panics, does not boot or makes KVM fail is told apart as with `pcp-vmm run`."
)]
pub(crate) struct QemuCompatArgs {
    /// Show what becomes of each option, and the flags of `pcp-vmm run` that say the same; start nothing.
    #[arg(long)]
    pub(crate) explain: bool,

    /// QEMU's command line, without the program's name.
    #[arg(
        value_name = "ARGV",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(crate) argv: Vec<String>,
}

//! `pcp-vmm vmtest`.

use std::path::PathBuf;

use clap::Args;

use super::{TEMPLATE, seconds};

const ABOUT: &str = "\
Run the targets of a vmtest.toml, each in a VM of its own.

The file is vmtest's. Its targets run by `pcp-vmm exec`, one after the other, as the superuser of their guest, with this program's environment and \
without a network; a command on this machine's root starts in the folder of the file, which is /mnt/vmtest too, and changes there reach it. \
Changes to other folders go to RAM and end with the VM, but in `mounts` with `writable`. With --kernel the one target is given by flags.

A target with `image` or `uefi`, or for another architecture, is refused: docs/vmtest.md has all differences.";

const EXAMPLES: &str = "\
Examples:
  pcp-vmm vmtest
  pcp-vmm vmtest --config ci/vmtest.toml --filter '^6\\.' --results out
  pcp-vmm vmtest -k ./bzImage 'uname -r'
  pcp-vmm vmtest -k ./bzImage -r ./rootfs -
";

const STATUS: &str = "\
Exit status, as vmtest's: of one target the command's own, 128+N if signal N ended it, 124 if its time was up, 69 if its VM failed; \
of several how many did not pass, 255 at most. 2 if the command line or the file is wrong; 128+N if signal N ended this program.";

/// Run the targets of a vmtest.toml, each in a VM of its own.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE, long_about = ABOUT, before_help = EXAMPLES, after_help = STATUS)]
pub(crate) struct VmtestArgs {
    /// The file with the targets.
    #[arg(short, long, value_name = "FILE", default_value = "vmtest.toml")]
    pub(crate) config: PathBuf,

    /// Run only the targets whose names this regular expression matches.
    #[arg(short, long, value_name = "REGEX", default_value = ".*")]
    pub(crate) filter: String,

    /// Run COMMAND with this kernel.
    #[arg(
        short,
        long,
        value_name = "FILE",
        conflicts_with = "config",
        requires = "command",
        help_heading = "One target"
    )]
    pub(crate) kernel: Option<PathBuf>,

    /// More words for the kernel command line.
    #[arg(
        long,
        value_name = "TEXT",
        requires = "kernel",
        help_heading = "One target"
    )]
    pub(crate) kargs: Option<String>,

    /// The guest's root [default: /].
    #[arg(
        short,
        long,
        value_name = "DIR",
        requires = "kernel",
        help_heading = "One target"
    )]
    pub(crate) rootfs: Option<PathBuf>,

    /// The guest's architecture [default: x86_64, the only one].
    #[arg(
        short,
        long,
        value_name = "ARCH",
        requires = "kernel",
        help_heading = "One target"
    )]
    pub(crate) arch: Option<String>,

    /// The QEMU that vmtest would call; there is a warning that it is not.
    // No `-q`: that is `--quiet` in all verbs.
    #[arg(
        long,
        value_name = "PROGRAM",
        requires = "kernel",
        help_heading = "One target"
    )]
    pub(crate) qemu_command: Option<String>,

    /// The command, a line for bash; `-` is a shell on this terminal.
    #[arg(
        value_name = "COMMAND",
        requires = "kernel",
        help_heading = "One target"
    )]
    pub(crate) command: Vec<String>,

    /// End the VM of a target after so many seconds.
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds, help_heading = "Results")]
    pub(crate) timeout: Option<std::time::Duration>,

    /// The folder for logs, results.json and junit.xml; made if it is missing. Without it there are none.
    #[arg(long, value_name = "DIR", help_heading = "Results")]
    pub(crate) results: Option<PathBuf>,
}

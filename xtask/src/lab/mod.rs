//! `cargo xtask lab`: runs a command where `/dev/kvm` can run stock kernels.
//!
//! Where the processor offers virtualization the command runs on the machine itself. Elsewhere it runs in L1, a Debian
//! kernel under QEMU's TCG, whose emulated SVM gives L1's KVM true hardware. L1's root is the machine's own file tree,
//! read-only under a RAM overlay; the work tree and the project's cache folder are writable at their own paths.

mod console;
mod host;
mod image;
mod job;
mod output;
mod qemu;
mod setup;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
pub(crate) use host::has_hardware_kvm;

/// What `cargo xtask lab` is told.
#[derive(Args, Debug, Clone)]
pub(crate) struct LabArgs {
    /// Processors of the lab; with more than one, QEMU's nested SVM sometimes corrupts a guest's memory or the lab's
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) smp: u16,
    /// Memory of the lab, in MiB
    #[arg(long, default_value_t = 4096, value_name = "MIB", value_parser = clap::value_parser!(u32).range(512..))]
    pub(crate) mem: u32,
    /// Ends the command after so many seconds with status 124 (0: never) [default: 600; with --shell 0]
    #[arg(long, value_name = "S")]
    pub(crate) timeout: Option<u64>,
    /// Counts instructions as time: one processor, slow, repeatable
    #[arg(long)]
    pub(crate) icount: bool,
    /// Timers to the nanosecond, for measurements: by default they go off at the next of 250 ticks a second, for want of
    /// which the lab may come to stand still
    #[arg(long)]
    pub(crate) precise_timers: bool,
    /// Uses the lab even where the processor offers virtualization
    #[arg(long)]
    pub(crate) force_lab: bool,
    /// Gives the command (by default a shell) this terminal
    #[arg(long)]
    pub(crate) shell: bool,
    /// The folder that is writable in the lab [default: the project's work tree]
    #[arg(long, value_name = "DIR")]
    pub(crate) work: Option<PathBuf>,
    /// One more folder that is writable in the lab
    #[arg(long, value_name = "DIR")]
    pub(crate) rw: Vec<PathBuf>,
    /// A disk image, seen as /dev/lab/disk0, disk1 …
    #[arg(long, value_name = "FILE[,ro]")]
    pub(crate) disk: Vec<String>,
    /// Hands a folder of many files over as a read-only disk image, mounted at the folder's own path
    #[arg(long, value_name = "DIR")]
    pub(crate) image_of: Vec<PathBuf>,
    /// Tells on standard error how long the parts took
    #[arg(long, short)]
    pub(crate) verbose: bool,
    /// The command; a single word is a line for bash
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
}

impl LabArgs {
    /// The seconds after which the command is ended, if ever.
    fn limit(&self) -> Option<std::time::Duration> {
        let seconds = self.timeout.unwrap_or(if self.shell { 0 } else { 600 });
        (seconds > 0).then(|| std::time::Duration::from_secs(seconds))
    }
}

/// A static busybox, which is one of the lab's parts.
pub(crate) fn busybox() -> Result<PathBuf> {
    Ok(setup::ensure()?.busybox)
}

/// Runs the command and returns its exit status (124: timeout; 125: it never gave one).
pub(crate) fn main(args: &LabArgs) -> Result<ExitCode> {
    if args.command.is_empty() && !args.shell {
        bail!("give a command after `--`, or `--shell`");
    }
    let code = if !args.force_lab && has_hardware_kvm() {
        host::run(args)?
    } else {
        let parts = setup::ensure()?;
        qemu::run(args, &parts)?
    };
    Ok(ExitCode::from(code))
}

//! The machine itself as the lab, where its KVM has hardware behind it.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use super::job::{Job, TIMED_OUT};
use super::{LabArgs, watch};

/// Whether the processor offers virtualization and `/dev/kvm` opens.
pub(crate) fn has_hardware_kvm() -> bool {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    offers_virtualization(&info)
        && fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/kvm")
            .is_ok()
}

fn offers_virtualization(cpuinfo: &str) -> bool {
    let flags = cpuinfo
        .lines()
        .find(|line| line.starts_with("flags"))
        .unwrap_or_default();
    flags
        .split_whitespace()
        .any(|flag| flag == "vmx" || flag == "svm")
}

/// Runs the command on the machine itself.
pub(super) fn run(args: &LabArgs) -> Result<u8> {
    let job = Job::new(args)?;
    let mut command = Command::new("bash");
    command.arg(job.command_file()).current_dir(&job.directory);
    if !args.shell {
        command.stdin(Stdio::null()).process_group(0);
    }
    let watch = watch::Watch::new()?;
    let child = command.spawn().context("cannot start bash")?;
    let deadline = args.limit().map(|limit| Instant::now() + limit);
    match watch.wait_child(child, deadline)? {
        watch::End::Status(code) => Ok(code),
        watch::End::TimedOut => {
            eprintln!("lab: the command did not end in time");
            Ok(TIMED_OUT)
        }
        watch::End::Signal(number) => Ok(watch::signal_code(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtualization_is_read_from_the_flags_alone() {
        assert!(offers_virtualization(
            "model name\t: x\nflags\t\t: fpu vmx sse\n"
        ));
        assert!(offers_virtualization("flags\t\t: fpu svm\n"));
        assert!(!offers_virtualization(
            "flags\t\t: fpu sse\nvmx flags\t: vnmi\n"
        ));
        assert!(!offers_virtualization("flags\t\t: fpu svm_lock\n"));
        assert!(!offers_virtualization(""));
    }
}

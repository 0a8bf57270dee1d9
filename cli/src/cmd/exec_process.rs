//! A run of `pcp-vmm exec` in a process of its own, which the first signals to this one end too.

use std::io;
use std::process::{Command, Stdio};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::interrupt::Interrupt;
use crate::args::CommonArgs;
use crate::vm_process::OURSELVES;

/// The command line of `exec` up to the flags of one run. It ends with this process.
pub(super) fn command(common: &CommonArgs) -> Command {
    let mut command = Command::new(OURSELVES);
    command.args(["exec", &format!("--end-with-parent={}", std::process::id())]);
    if let Some(folder) = &common.runtime_dir {
        command.arg("--runtime-dir").arg(folder);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs the command with what `carry` does with its streams; its status, unless a signal ended `exec` itself.
pub(super) fn run(
    command: &mut Command,
    interrupt: &Interrupt,
    carry: impl FnOnce(&mut std::process::Child),
) -> io::Result<Option<i32>> {
    let mut child = command.spawn()?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        interrupt.tell(pid);
    }
    carry(&mut child);
    if let Some(pid) = pid {
        // Its number is its own until it is waited for below.
        let _ = waitid(
            WaitId::Pid(pid),
            WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
        );
        interrupt.forget(pid);
    }
    Ok(child.wait()?.code())
}

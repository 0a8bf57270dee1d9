//! `pcp-vmm ssh`: a login, or a command in the guest.

use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::Instant;

use vmm::instance::Entry;

use super::logs::Lines;
use super::wait;
use crate::args::SshArgs;
use crate::at_once::{at_once, parted};
use crate::diagnostic::Diagnostic;
use crate::exit::Exit;
use crate::instances::RuntimeDir;
use crate::output::{Output, Stop};
use crate::ssh::Login;
use crate::vm_status::VmStatus;
use crate::wanted::Wanted;

/// Becomes `ssh` to the guest, or runs a command in several.
pub(crate) fn log_in(args: &SshArgs, runtime: &RuntimeDir, output: Output) -> Result<Exit, Stop> {
    let entries = runtime.select(&args.target())?;
    if let [entry] = entries.as_slice() {
        let error = login(entry, args)?.command(&args.command).exec();
        return Err(failed(&entry.name(), &error).into());
    }
    if args.command.is_empty() {
        let names: Vec<String> = entries.iter().map(Entry::name).collect();
        return Err(Diagnostic::failure("several-vms", "a login is to one VM")
            .cause(format!("these run: {}", names.join(", ")))
            .hint("name one of them, or give a command for all: `pcp-vmm ssh --all -- uptime`")
            .into());
    }
    let run = |entry: &Entry| -> Result<bool, Stop> {
        let mut ssh = login(entry, args)?.command(&args.command);
        let name = entry.name();
        let done = ssh.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
        let done = done.map_err(|error| failed(&name, &error))?;
        let mut lines = Lines::new(&name);
        let text = [lines.whole(&done.stdout), lines.rest()].concat();
        output.data(text)?;
        Ok(done.status.success())
    };
    let (done, failed) = parted(at_once(&entries, run));
    output.failures(failed)?;
    Ok(if done.into_iter().all(|well| well) {
        Exit::Success
    } else {
        Exit::Failure
    })
}

/// The way into a guest that answers.
fn login(entry: &Entry, args: &SshArgs) -> Result<Login, Diagnostic> {
    let Some(status) = VmStatus::of(entry) else {
        let what = format!("`{}` has just ended", entry.name());
        return Err(Diagnostic::failure("ended", what));
    };
    let login = Login::of(entry, &status, args.user.as_deref())?;
    if !args.timeout.is_zero() {
        // `ssh` itself says nothing, or tells of a reset connection, while the guest boots.
        let begin = Instant::now();
        wait::one(entry, &[Wanted::Ssh], begin, Some(begin + args.timeout))?;
    }
    Ok(login)
}

fn failed(name: &str, error: &std::io::Error) -> Diagnostic {
    let diagnostic =
        Diagnostic::failure("ssh", format!("cannot log in to `{name}`")).because(error);
    match error.kind() {
        ErrorKind::NotFound => diagnostic.hint("install `ssh`: `apt install openssh-client`"),
        _ => diagnostic,
    }
}

//! `pcp-vmm ssh`: a login, or a command in the guest.

use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::time::Instant;

use super::wait;
use crate::args::SshArgs;
use crate::diagnostic::Diagnostic;
use crate::exit::Exit;
use crate::instances::RuntimeDir;
use crate::output::Stop;
use crate::ssh::Login;
use crate::vm_status::VmStatus;
use crate::wanted::Wanted;

/// Becomes `ssh` to the guest.
pub(crate) fn log_in(args: &SshArgs, runtime: &RuntimeDir) -> Result<Exit, Stop> {
    let entry = runtime.one(&args.name)?;
    let Some(status) = VmStatus::of(&entry) else {
        let ended = Diagnostic::failure("ended", format!("`{}` has just ended", args.name));
        return Err(ended.into());
    };
    let login = Login::of(&entry, &status, args.user.as_deref())?;
    if !args.timeout.is_zero() {
        // `ssh` itself says nothing, or tells of a reset connection, while the guest boots.
        let begin = Instant::now();
        wait::one(&entry, &[Wanted::Ssh], begin, Some(begin + args.timeout))?;
    }
    let error = login.command(&args.command).exec();
    let name = &args.name;
    let diagnostic =
        Diagnostic::failure("ssh", format!("cannot log in to `{name}`")).because(&error);
    Err(match error.kind() {
        ErrorKind::NotFound => diagnostic.hint("install `ssh`: `apt install openssh-client`"),
        _ => diagnostic,
    }
    .into())
}

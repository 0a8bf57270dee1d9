//! `pcp-vmm run`: from flags, files and a bundle to a VM, and from its end to an exit status.

mod daemon;
mod identifiers;
mod instance;
mod interrupted;
mod launch;
mod plan;
pub(super) mod report;

use self::daemon::PidFile;
use clap::ArgMatches;
pub(crate) use plan::load as load_bundle;
use rustix::process::{Pid, Signal};
use vmm::config::{Problem, Resolved};
use vmm::kvm::EarlyKvm;

use crate::args::{CommonArgs, RunArgs};
use crate::diagnostic::Diagnostic;
use crate::exit::Exit;
use crate::folders;
use crate::identity::Invocation;
use crate::instances::RuntimeDir;
use crate::output::{Output, Stop};

/// What a run finds in place.
#[derive(Debug)]
pub(crate) struct Surroundings<'a> {
    /// The command line.
    pub(crate) invocation: &'a Invocation,
    /// KVM, with the machine perhaps begun.
    pub(crate) kvm: &'a EarlyKvm,
    /// The folder of the running VMs.
    pub(crate) runtime: &'a RuntimeDir,
    /// What every verb understands.
    pub(crate) common: &'a CommonArgs,
    /// Whether the command line is QEMU's: it alone counts, no configuration file, and a name in use is no error.
    pub(crate) qemu: bool,
}

/// Runs a VM until it ends.
pub(crate) fn run(
    args: &RunArgs,
    matches: &ArgMatches,
    surroundings: &Surroundings<'_>,
    output: Output,
) -> Result<Exit, Stop> {
    if let Some(parent) = args.end_with_parent {
        end_with_parent(parent, Signal::TERM)?;
    }
    if args.detached {
        // One that leads a session already has run itself anew under its name.
        let _ = rustix::process::setsid();
    }
    let mut plan = plan::plan(args, matches, surroundings, output)?;
    let verdict = plan.resolved.validate();
    if args.dry_run {
        report::dry_run(&plan, output)?;
        verdict.map_err(|problems| refused(&plan.resolved, &problems))?;
        return Ok(Exit::Success);
    }
    verdict.map_err(|problems| refused(&plan.resolved, &problems))?;
    // The daemon's own process has the flag too, as its command line is the user's.
    if args.daemon && !args.detached {
        return daemon::start(args, &plan, surroundings, output);
    }
    if let Some(name) = &plan.process_name
        && let Err(error) = surroundings.invocation.become_named(name)
    {
        log::warn!("the process keeps its name: cannot run `/proc/self/exe`: {error}");
    }
    let path = args.pid_file.as_deref().map(std::path::absolute);
    plan.resolved.spec.pid_file = path.and_then(Result::ok);
    let pid_file = plan.resolved.spec.pid_file.as_deref();
    let _pid_file = if args.detached {
        pid_file.map(PidFile::of)
    } else {
        pid_file.map(PidFile::write).transpose()?
    };
    let common = surroundings.common;
    // A daemon's consoles are logged beside what it says itself.
    let logs = (args.detached || folders::names_log_dir(common)).then(|| folders::log_dir(common));
    let logs = logs.transpose()?;
    let mut instance = instance::claim(&mut plan, surroundings)?;
    instance::give_agent(&mut plan, &instance);
    let _claims = identifiers::assign(&mut plan, common, output)?;
    let verdict = plan.resolved.validate();
    verdict.map_err(|problems| refused(&plan.resolved, &problems))?;
    instance::describe(&mut plan, &mut instance, logs.as_deref())?;
    report::banner(&plan, output);
    launch::launch(&plan, surroundings.kvm, output)
}

/// Has the kernel end this process by `signal` with the one that started it (`PR_SET_PDEATHSIG`), which stays so when the
/// process replaces itself. That one is `known` unless it is 0: it may have ended before this process could ask.
pub(super) fn end_with_parent(known: u32, signal: Signal) -> Result<(), Diagnostic> {
    use rustix::process::{getppid, set_parent_process_death_signal};
    let number = |pid: Option<Pid>| pid.map_or(0, |pid| pid.as_raw_pid().unsigned_abs());
    let parent = match known {
        0 => number(getppid()),
        known => known,
    };
    let failed = || Diagnostic::failure("parent", "cannot end with the process that started this");
    let set = set_parent_process_death_signal(Some(signal));
    set.map_err(|error| failed().because(&error))?;
    if number(getppid()) == parent {
        return Ok(());
    }
    Err(failed().cause("it has ended already"))
}

/// All problems of a spec as one failure.
fn refused(resolved: &Resolved, problems: &[Problem]) -> Diagnostic {
    let name = &resolved.spec.name;
    let first = Diagnostic::usage("config", format!("cannot run `{}`", name.escape_debug()));
    problems.iter().fold(first, |diagnostic, problem| {
        let origins = resolved.origins(problem.field);
        let from = match origins.as_slice() {
            [] => String::new(),
            origins => format!(" (from {})", origins.join(", ")),
        };
        diagnostic
            .cause(format!("{problem}{from}"))
            .hint(format!("{}: {}", problem.field, problem.hint))
    })
}

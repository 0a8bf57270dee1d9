//! `pcp-vmm exec`: one command in a VM of its own, and its end as this program's.

mod kernel;
mod order;
mod outcome;
mod session;
mod vm;

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use guest::wire::{How, News, Size, Step};

use self::kernel::Kernel;
use self::outcome::{Ending, Outcome};
use self::session::{Event, Session, Signals};
use self::vm::Vm;
use super::console::RawTerminal;
use crate::args::{CommonArgs, ExecArgs};
use crate::diagnostic::Diagnostic;
use crate::exit::Exit;
use crate::instances::RuntimeDir;
use crate::output::{Output, Stop};

/// Runs the command. What goes wrong with the VM has a status that a command hardly has.
pub(crate) fn exec(
    args: &ExecArgs,
    runtime: &RuntimeDir,
    common: &CommonArgs,
    output: Output,
) -> Result<Exit, Stop> {
    run(args, runtime, common, output).map_err(|stop| match stop {
        Stop::Failed(mut diagnostic) if diagnostic.exit == Exit::Failure => {
            diagnostic.exit = Exit::Internal;
            Stop::Failed(diagnostic)
        }
        other => other,
    })
}

fn run(
    args: &ExecArgs,
    runtime: &RuntimeDir,
    common: &CommonArgs,
    output: Output,
) -> Result<Exit, Stop> {
    let begin = Instant::now();
    let terminal = size_of_terminal();
    let order = order::of(args, terminal)?;
    let deadline = args.timeout.map(Duration::try_from_secs_f64).transpose();
    let deadline = deadline.map_err(|_| {
        Diagnostic::usage("timeout", "cannot wait so long")
            .hint("`--timeout` is a number of seconds")
    })?;
    let kernel = Kernel::find(args)?;
    // Before there are threads: they have the same mask.
    let signals = Signals::take_over().map_err(|error| {
        Diagnostic::failure("signals", "cannot take signals over").because(&error)
    })?;
    let mut vm = Vm::start(args, &kernel, runtime, common)?;
    let raw = terminal.and_then(|_| RawTerminal::enter());
    let mut outcome = Outcome::new(args, &kernel, begin);
    let ending = match Session::open(&vm.socket(), order, signals) {
        Ok(mut session) => follow(
            &mut session,
            &mut vm,
            &mut outcome,
            deadline.map(|it| begin + it),
        ),
        Err(error) => Ending::Broken(format!("cannot listen for the guest: {error}")),
    };
    outcome.ended_at(Instant::now());
    let told = vm.end(&ending, output);
    drop(raw);
    outcome.close(ending, told);
    if let Some(path) = &args.report {
        outcome.write(path)?;
    }
    outcome.result(args, output)
}

/// The terminal's size, if standard input and output are one.
fn size_of_terminal() -> Option<Size> {
    if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(io::stdin()).ok()?;
    Some(Size {
        rows: size.ws_row,
        columns: size.ws_col,
    })
}

/// Follows the command to its end.
fn follow(
    session: &mut Session,
    vm: &mut Vm,
    outcome: &mut Outcome,
    deadline: Option<Instant>,
) -> Ending {
    let mut ended = None;
    loop {
        if let Some(how) = ended
            && session.is_drained()
        {
            return Ending::Command(how);
        }
        match session.next(deadline, vm) {
            Event::News(News::Started) => outcome.started_at(Instant::now()),
            Event::News(News::Failed { step, errno }) => return Ending::NotStarted { step, errno },
            Event::News(News::Ended { how, usage }) => {
                outcome.usage = Some(usage);
                ended = Some(how);
            }
            Event::Opened | Event::Carried => {}
            Event::Signal { number, by_keys } => {
                // Before the command runs there is nobody to pass it to.
                if !session.pass(number, by_keys) {
                    return Ending::Interrupted(number);
                }
            }
            Event::Deadline => return Ending::Late,
            Event::VmEnded => {
                session.drain();
                return match ended {
                    Some(how) => Ending::Command(how),
                    None => Ending::VmEnded,
                };
            }
            Event::Broken(why) => return Ending::Broken(why),
        }
    }
}

/// The status that a command's end is, as shells have it.
fn status(how: How) -> u8 {
    match how {
        How::Exited(status) => status,
        How::Signalled(signal) => 128_u8.saturating_add(signal),
    }
}

/// What could not be done for the command.
fn words(step: Step) -> &'static str {
    match step {
        Step::Mount => "a folder of `--rw` cannot be mounted",
        Step::Streams => "its streams cannot be made",
        Step::Folder => "its folder cannot be entered",
        Step::Program => "it cannot be executed",
    }
}

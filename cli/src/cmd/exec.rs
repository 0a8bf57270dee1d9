//! `pcp-vmm exec`: one command in a VM of its own, and its end as this program's.

mod fitness;
mod inside;
pub(super) mod kernel;
mod order;
mod outcome;
pub(super) mod places;
mod session;
mod vm;

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use guest::wire::{How, News, Size, Step, Token};
use rustix::process::Signal;
use serde_json::{Value, json};

use self::inside::Way;
use self::kernel::Kernel;
pub(super) use self::outcome::Outcome;
use self::outcome::{Ending, Told};
use self::places::Places;
use self::session::{Event, Session, Signals};
use self::vm::Vm;
use super::console::RawTerminal;
use super::run::end_with_parent;
use crate::args::{CommonArgs, ExecArgs};
use crate::diagnostic::Diagnostic;
use crate::exit::Exit;
use crate::instances::RuntimeDir;
use crate::output::{Output, Stop};

/// What a command finds in a VM that runs.
const IN_GUEST: &str = "the path, the folder and the interpreter are the guest's";

/// Runs the command. What goes wrong with the VM has a status that a command hardly has.
pub(crate) fn exec(
    args: &ExecArgs,
    runtime: &RuntimeDir,
    common: &CommonArgs,
    output: Output,
) -> Result<Exit, Stop> {
    run(args, runtime, common, output).map_err(as_the_vms)
}

/// A failure of this program told apart from one of the command.
pub(super) fn as_the_vms(stop: Stop) -> Stop {
    match stop {
        Stop::Failed(mut diagnostic) if diagnostic.exit == Exit::Failure => {
            diagnostic.exit = Exit::Internal;
            Stop::Failed(diagnostic)
        }
        other => other,
    }
}

fn run(
    args: &ExecArgs,
    runtime: &RuntimeDir,
    common: &CommonArgs,
    output: Output,
) -> Result<Exit, Stop> {
    let begin = Instant::now();
    if args.end_with_parent {
        // A command may take another signal for its own.
        end_with_parent(Signal::KILL)?;
    }
    let frame = Frame {
        args,
        begin,
        deadline: deadline(args.timeout)?.map(|it| begin + it),
        terminal: size_of_terminal(),
    };
    let outcome = match &args.vm {
        Some(name) => frame.inside(name, runtime)?,
        None => frame.own(&Places::of(args)?, runtime, common, output)?,
    };
    if let Some(path) = &args.report {
        outcome.write(path)?;
    }
    outcome.result(args, output)
}

/// Runs the command of `args` in a VM of its own with the folders `places`, and without a terminal, for another verb.
pub(super) fn in_vm(
    args: &ExecArgs,
    places: &Places,
    runtime: &RuntimeDir,
    common: &CommonArgs,
    output: Output,
) -> Result<Outcome, Diagnostic> {
    let begin = Instant::now();
    let frame = Frame {
        args,
        begin,
        deadline: deadline(args.timeout)?.map(|it| begin + it),
        terminal: None,
    };
    frame.own(places, runtime, common, output)
}

/// The time that `--timeout` gives.
pub(super) fn deadline(seconds: Option<f64>) -> Result<Option<Duration>, Diagnostic> {
    let time = seconds.map(Duration::try_from_secs_f64).transpose();
    time.map_err(|_| {
        Diagnostic::usage("timeout", "cannot wait so long")
            .hint("`--timeout` is a number of seconds")
    })
}

/// What is known before there is a VM.
struct Frame<'a> {
    args: &'a ExecArgs,
    begin: Instant,
    deadline: Option<Instant>,
    terminal: Option<Size>,
}

impl Frame<'_> {
    /// Runs the command in a VM of its own.
    fn own(
        &self,
        places: &Places,
        runtime: &RuntimeDir,
        common: &CommonArgs,
        output: Output,
    ) -> Result<Outcome, Diagnostic> {
        let order = order::of(self.args, places, self.terminal)?;
        let kernel = Kernel::find(self.args, places)?;
        // Before there are threads: they have the same mask.
        let signals = take_over()?;
        let mut vm = Vm::start(self.args, &kernel, places, runtime, common)?;
        // To tell the version may take reading the kernel.
        let version = match &self.args.report {
            Some(_) => json!({ "path": kernel.path, "version": kernel.version() }),
            None => Value::Null,
        };
        let mut outcome = Outcome::new(self.args, version, places.told(), self.begin);
        let session = Session::open(&vm.socket(), Token::default(), order, signals);
        let raw = self.terminal.and_then(|_| RawTerminal::enter());
        let ending = self.follow(session, &mut || vm.has_ended(), &mut outcome);
        outcome.ended_at(Instant::now());
        let told = vm.end(&ending, output);
        drop(raw);
        outcome.close(ending, told);
        Ok(outcome)
    }

    /// Runs the command in the VM called `name`.
    fn inside(&self, name: &str, runtime: &RuntimeDir) -> Result<Outcome, Diagnostic> {
        let order = order::inside(self.args, self.terminal)?;
        let way = Way::into(&runtime.one(name)?)?;
        let signals = take_over()?;
        let mut outcome = Outcome::new(self.args, Value::Null, IN_GUEST, self.begin);
        let call = way.new_call()?;
        let session = Session::open(&way.place(&call), call.token, order, signals);
        way.make(&call)?;
        let raw = self.terminal.and_then(|_| RawTerminal::enter());
        let ending = self.follow(session, &mut || way.is_closed(), &mut outcome);
        outcome.ended_at(Instant::now());
        drop(raw);
        outcome.close(ending, Told::default());
        Ok(outcome)
    }

    fn follow(
        &self,
        session: io::Result<Session>,
        vm_has_ended: &mut dyn FnMut() -> bool,
        outcome: &mut Outcome,
    ) -> Ending {
        match session {
            Ok(mut session) => follow(&mut session, vm_has_ended, outcome, self.deadline),
            Err(error) => Ending::Broken(format!("cannot listen for the guest: {error}")),
        }
    }
}

fn take_over() -> Result<Signals, Diagnostic> {
    Signals::take_over()
        .map_err(|error| Diagnostic::failure("signals", "cannot take signals over").because(&error))
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
    vm_has_ended: &mut dyn FnMut() -> bool,
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
        match session.next(deadline, vm_has_ended) {
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
        Step::Mount => "a folder of `--rw` or `--share` cannot be mounted",
        Step::Streams => "its streams cannot be made",
        Step::Folder => "its folder cannot be entered",
        Step::Program => "it cannot be executed",
    }
}

//! `pcp-vmm exec`: one command in a VM of its own, and its end as this program's.

mod fitness;
pub(super) mod image;
mod inside;
pub(super) mod kernel;
mod order;
mod outcome;
pub(super) mod places;
mod session;
mod vm;

use std::ffi::OsString;
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
    if let Some(parent) = args.end_with_parent {
        // A command may take another signal for its own.
        end_with_parent(parent, Signal::KILL)?;
    }
    let terminal = size_of_terminal();
    if args.debug_shell_on_failure && terminal.is_none() {
        return Err(
            Diagnostic::usage("terminal", "there is no terminal for a shell")
                .hint("`--debug-shell-on-failure` wants standard input and output to be one")
                .into(),
        );
    }
    let frame = Frame::new(args, begin, terminal)?;
    let outcome = match &args.vm {
        Some(name) => frame.inside(name, runtime)?,
        None => {
            let guest = Guest {
                places: Places::of(args)?,
                environment: std::env::vars_os().collect(),
            };
            frame.own(&guest, runtime, common, output)?
        }
    };
    if let Some(path) = &args.report {
        outcome.write(path)?;
    }
    outcome.result(args, output)
}

/// What a command finds in a VM of its own.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) places: Places,
    /// The environment, before `--env` changes it.
    pub(super) environment: Vec<(OsString, OsString)>,
}

/// Runs the command of `args` in a VM of its own with `guest` around it, and without a terminal, for another verb.
pub(super) fn in_vm(
    args: &ExecArgs,
    guest: &Guest,
    runtime: &RuntimeDir,
    common: &CommonArgs,
    output: Output,
) -> Result<Outcome, Diagnostic> {
    let frame = Frame::new(args, Instant::now(), None)?;
    frame.own(guest, runtime, common, output)
}

/// What is known before there is a VM.
struct Frame<'a> {
    args: &'a ExecArgs,
    begin: Instant,
    deadline: Option<Instant>,
    /// When a command of an own VM has to run.
    boot: Instant,
    terminal: Option<Size>,
}

/// The point in time `seconds` after `begin`, as `flag` asks.
fn after(begin: Instant, flag: &'static str, seconds: f64) -> Result<Instant, Diagnostic> {
    let length = Duration::try_from_secs_f64(seconds).ok();
    length.and_then(|it| begin.checked_add(it)).ok_or_else(|| {
        Diagnostic::usage(flag, "cannot wait so long")
            .hint(format!("`--{flag}` is a number of seconds"))
    })
}

impl<'a> Frame<'a> {
    fn new(args: &'a ExecArgs, begin: Instant, terminal: Option<Size>) -> Result<Self, Diagnostic> {
        let until = |flag, seconds| after(begin, flag, seconds);
        Ok(Self {
            args,
            begin,
            deadline: args.timeout.map(|it| until("timeout", it)).transpose()?,
            boot: until("boot-timeout", args.boot_timeout)?,
            terminal,
        })
    }

    /// Runs the command in a VM of its own.
    fn own(
        &self,
        Guest {
            places,
            environment,
        }: &Guest,
        runtime: &RuntimeDir,
        common: &CommonArgs,
        output: Output,
    ) -> Result<Outcome, Diagnostic> {
        let order = order::of(self.args, places, environment, self.terminal)?;
        if let Err(error) = order.check() {
            let mut outcome = Outcome::new(self.args, Value::Null, places.told(), self.begin);
            outcome.close(Ending::refused(&error), Told::default());
            return Ok(outcome);
        }
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
        let shell = order.stays.then(|| order::shell(&order));
        let mut session = Session::open(&vm.socket(), Token::default(), order, signals);
        let raw = self.terminal.and_then(|_| RawTerminal::enter());
        let limits = Limits {
            all: self.deadline,
            start: Some(self.boot),
        };
        let ending = self.follow(&mut session, limits, &mut || vm.has_ended(), &mut outcome);
        outcome.ended_at(Instant::now());
        if let (Some(shell), Ok(session)) = (shell, &mut session)
            && ending.leaves_a_guest()
        {
            output.note("the command failed; this is a shell in its guest, and `exit` leaves it\r");
            if session.order(Token::default(), shell).is_ok() {
                let mut aside = Outcome::new(self.args, Value::Null, places.told(), self.begin);
                follow(
                    session,
                    &mut || vm.has_ended(),
                    &mut aside,
                    Limits::default(),
                );
            }
        }
        drop(session);
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
        let mut session = Session::open(&way.place(&call), call.token, order, signals);
        way.make(&call)?;
        let raw = self.terminal.and_then(|_| RawTerminal::enter());
        let limits = Limits {
            all: self.deadline,
            start: None,
        };
        let ending = self.follow(&mut session, limits, &mut || way.is_closed(), &mut outcome);
        outcome.ended_at(Instant::now());
        drop(raw);
        outcome.close(ending, Told::default());
        Ok(outcome)
    }

    fn follow(
        &self,
        session: &mut io::Result<Session>,
        limits: Limits,
        vm_has_ended: &mut dyn FnMut() -> bool,
        outcome: &mut Outcome,
    ) -> Ending {
        match session {
            Ok(session) => follow(session, vm_has_ended, outcome, limits),
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

/// Until when a command may run, and until when it has to be started.
#[derive(Clone, Copy, Default)]
struct Limits {
    all: Option<Instant>,
    start: Option<Instant>,
}

impl Limits {
    /// The one that comes first, and what it means.
    fn next(self) -> (Option<Instant>, Ending) {
        match (self.all, self.start) {
            (Some(all), Some(start)) if all <= start => (Some(all), Ending::Late),
            (_, Some(start)) => (Some(start), Ending::Hung),
            (all, None) => (all, Ending::Late),
        }
    }
}

/// Follows the command to its end.
fn follow(
    session: &mut Session,
    vm_has_ended: &mut dyn FnMut() -> bool,
    outcome: &mut Outcome,
    mut limits: Limits,
) -> Ending {
    let mut ended = None;
    loop {
        if let Some(how) = ended
            && session.is_drained()
        {
            return Ending::Command(how);
        }
        let (deadline, late) = limits.next();
        match session.next(deadline, vm_has_ended) {
            Event::News(News::Started) => {
                limits.start = None;
                outcome.started_at(Instant::now());
            }
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
            Event::Deadline => return late,
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

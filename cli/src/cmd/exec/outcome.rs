//! What became of the command, in a status, in words, and in JSON.

use std::io;
use std::path::Path;
use std::time::Instant;

use guest::wire::{How, Step, Usage};
use serde_json::{Value, json};

use super::super::run::report::console_tail;
use super::{status, words};
use crate::args::ExecArgs;
use crate::diagnostic::Diagnostic;
use crate::exit::Exit;
use crate::output::{Output, Stop};

/// How many of the console's last lines are shown.
const TAIL_LINES: usize = 20;
const ENOENT: i32 = 2;

/// How it came to an end.
#[derive(Debug)]
pub(super) enum Ending {
    /// The command ended.
    Command(How),
    /// It could not be started.
    NotStarted { step: Step, errno: i32 },
    /// Its time was up.
    Late,
    /// The guest was not up in time.
    Hung,
    /// A signal came before it ran.
    Interrupted(i32),
    /// The VM ended before it did.
    VmEnded,
    /// The agent cannot be understood.
    Broken(String),
}

impl Ending {
    /// The command is one that no guest can start.
    pub(super) fn refused(error: &io::Error) -> Self {
        Self::NotStarted {
            step: Step::Program,
            errno: error.raw_os_error().unwrap_or(0),
        }
    }

    /// Whether the command failed and its guest is still there.
    pub(super) fn leaves_a_guest(&self) -> bool {
        match self {
            Self::Command(how) => *how != How::Exited(0),
            Self::NotStarted { .. } => true,
            _ => false,
        }
    }
}

/// What the VM said in the end.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Why it ended.
    pub(super) reason: Option<String>,
    /// The last of its console.
    pub(super) console: String,
    /// Why it failed.
    pub(super) failure: Option<String>,
}

/// How Linux begins a panic, and how one goes on that is for want of memory (mm/oom_kill.c) or of a first process
/// (kernel/exit.c).
const PANIC: &str = "Kernel panic - not syncing: ";
const WITHOUT_MEMORY: [&str; 2] = ["Out of memory", "System is deadlocked on memory"];
const WITHOUT_INIT: [&str; 1] = ["Attempted to kill init!"];
/// How Linux tells of a process that it ended to have its memory (mm/oom_kill.c).
const KILLED: &str = "Out of memory: Killed process ";
/// How the guest's init begins what it says.
const INIT: &str = "pcp-vmm-init: ";

impl Told {
    /// Whether the guest's kernel gave up for one of the reasons `why`.
    fn panicked_for(&self, why: &[&str]) -> bool {
        let mut panics = self.console.split(PANIC).skip(1);
        panics.any(|panic| why.iter().any(|why| panic.starts_with(why)))
    }

    /// What the guest's init said last, which is why it gave up.
    fn words_of_init(&self) -> impl Iterator<Item = &str> {
        let lines = self.console.lines();
        lines.filter_map(|line| Some(line.split_once(INIT)?.1.trim_end()))
    }
}

/// Everything about a run.
#[derive(Debug)]
pub(in crate::cmd) struct Outcome {
    command: Vec<String>,
    kernel: Value,
    begin: Instant,
    started: Option<Instant>,
    ended: Instant,
    /// What the command finds in the guest.
    surroundings: &'static str,
    pub(super) usage: Option<Usage>,
    ending: Ending,
    told: Told,
}

impl Outcome {
    pub(super) fn new(
        args: &ExecArgs,
        kernel: Value,
        surroundings: &'static str,
        begin: Instant,
    ) -> Self {
        let text = |word: &std::ffi::OsString| word.to_string_lossy().into_owned();
        Self {
            command: args.command.iter().map(text).collect(),
            kernel,
            begin,
            started: None,
            ended: begin,
            surroundings,
            usage: None,
            ending: Ending::VmEnded,
            told: Told::default(),
        }
    }

    /// The command began to run.
    pub(super) fn started_at(&mut self, when: Instant) {
        self.started = Some(when);
    }

    /// It was over.
    pub(super) fn ended_at(&mut self, when: Instant) {
        self.ended = when;
    }

    /// All is known.
    pub(super) fn close(&mut self, ending: Ending, told: Told) {
        self.ending = ending;
        self.told = told;
    }

    /// The command's own status, if it ran to its end.
    pub(in crate::cmd) fn of_command(&self) -> Option<u8> {
        match &self.ending {
            Ending::Command(how) => Some(status(*how)),
            _ => None,
        }
    }

    /// The status, and a word for what it is due to.
    fn status(&self) -> (u8, &'static str) {
        match &self.ending {
            Ending::Command(how @ How::Exited(_)) => (status(*how), "exited"),
            Ending::Command(how) => (status(*how), "signalled"),
            Ending::NotStarted {
                step: Step::Program,
                errno: ENOENT,
            } => (127, "not-found"),
            Ending::NotStarted { .. } => (126, "not-executable"),
            Ending::Late => (124, "timeout"),
            Ending::Interrupted(signal) => (
                128_u8.saturating_add(u8::try_from(*signal).unwrap_or(127)),
                "interrupted",
            ),
            Ending::Hung => (125, "boot-timeout"),
            Ending::VmEnded if self.told.panicked_for(&WITHOUT_MEMORY) => (125, "out-of-memory"),
            Ending::VmEnded if self.told.panicked_for(&WITHOUT_INIT) => (125, "init-died"),
            Ending::VmEnded if self.told.reason.as_deref() == Some("panic") => (125, "guest-panic"),
            Ending::VmEnded => (125, "vm-ended"),
            Ending::Broken(_) => (125, "agent"),
        }
    }

    /// Writes the outcome as JSON.
    pub(in crate::cmd) fn write(&self, path: &Path) -> Result<(), Diagnostic> {
        let (status, reason) = self.status();
        let signal = match self.ending {
            Ending::Command(How::Signalled(signal)) => Some(signal),
            _ => None,
        };
        let ms =
            |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64() * 1e3;
        let usage = self.usage.map(|usage| {
            json!({ "user_us": usage.user_us, "kernel_us": usage.kernel_us, "most_kib": usage.most_kib })
        });
        let value = json!({
            "command": self.command,
            "status": status,
            "reason": reason,
            "signal": signal,
            "kernel": self.kernel,
            "boot_ms": self.started.map(|it| ms(self.begin, it)),
            "command_ms": self.started.map(|it| ms(it, self.ended)),
            "total_ms": ms(self.begin, self.ended),
            "usage": usage,
            "console_tail": self.told.console,
        });
        std::fs::write(path, format!("{value:#}\n")).map_err(|error| {
            Diagnostic::new(
                Exit::Internal,
                "report",
                format!("cannot write `{}`", path.display()),
            )
            .because(&error)
        })
    }

    /// The status of this program, with what there is to say of it.
    pub(in crate::cmd) fn result(&self, args: &ExecArgs, output: Output) -> Result<Exit, Stop> {
        let (status, reason) = self.status();
        let exit = Exit::Command(status);
        let command = self.command.join(" ");
        let failure = |what: String| Diagnostic::new(exit, reason, what);
        Err(match &self.ending {
            Ending::Interrupted(_) => return Ok(exit),
            Ending::Command(how) => {
                if *how != How::Exited(0) && self.told.console.contains(KILLED) {
                    output.warn("the guest's memory ran out, and its kernel ended processes; `--memory` gives it more");
                }
                return Ok(exit);
            }
            Ending::NotStarted { step, errno } => failure(format!("cannot run `{command}` in the guest"))
                .cause(format!("{}: {}", words(*step), io::Error::from_raw_os_error(*errno)))
                .hint(self.surroundings),
            Ending::Late => {
                let seconds = args.timeout.unwrap_or_default();
                self.show_console(output);
                let what = match self.started {
                    Some(_) => format!("`{command}` still ran after {seconds} s"),
                    None => format!("the guest was not up after {seconds} s"),
                };
                failure(what).hint("`--timeout` gives it longer")
            }
            Ending::Hung => {
                let seconds = args.boot_timeout;
                self.show_console(output);
                failure(format!("the guest was not up after {seconds} s"))
                    .cause(format!("`{command}` did not begin"))
                    .hint("`--kernel-arg loglevel=7` has the kernel tell what it does, and `--console FILE` keeps it")
                    .hint("`--boot-timeout` gives it longer")
            }
            Ending::VmEnded => {
                self.show_console(output);
                let mut diagnostic = failure(format!("the VM ended before `{command}`"));
                if let Some(reason) = &self.told.reason {
                    diagnostic = diagnostic.cause(format!("reason: {reason}"));
                }
                if let Some(why) = &self.told.failure {
                    diagnostic = diagnostic.cause(why.as_str());
                }
                for words in self.told.words_of_init() {
                    diagnostic = diagnostic.cause(format!("its init: {words}"));
                }
                match args.vm {
                    Some(_) => diagnostic.hint("`pcp-vmm logs` has what its consoles printed, if they are logged"),
                    None => diagnostic.hint("`--console FILE` keeps all that the kernel prints; `--memory` gives it more memory"),
                }
            }
            Ending::Broken(why) => {
                self.show_console(output);
                failure(format!("lost `{command}`")).cause(why.as_str()).hint("`--console FILE` keeps what the kernel prints")
            }
        }
        .into())
    }

    fn show_console(&self, output: Output) {
        console_tail(self.told.console.as_bytes(), TAIL_LINES, output);
    }
}

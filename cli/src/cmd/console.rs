//! `pcp-vmm console`: a console of a VM on this terminal.

use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use vmm::control::protocol::{ConsoleName, Info};
use vmm::instance::Entry;

use super::adjust::usage;
use crate::args::{ConsoleArg, ConsoleArgs};
use crate::diagnostic::Diagnostic;
use crate::exit::Exit;
use crate::instances::{RuntimeDir, connect, silent};
use crate::output::{Output, Stop};

/// Ctrl-], which leaves the console.
const ESCAPE: u8 = 0x1d;
/// How long a terminal may take to answer what it was asked in the console's past.
const ECHO: Duration = Duration::from_millis(150);
/// What is typed ahead of the guest at most.
const TYPED_MAX: usize = 64 << 10;

/// A connection to a console.
#[derive(Debug)]
pub(super) struct Attached {
    /// Which one it is.
    pub(super) console: ConsoleName,
    /// The connection.
    pub(super) stream: UnixStream,
    /// What of it was read already.
    pub(super) read: Vec<u8>,
    /// How many bytes are the console's past.
    pub(super) past: u64,
}

/// Connects to a console of the VM of `entry`, with `last` bytes of its past.
pub(super) fn open(
    entry: &Entry,
    console: Option<ConsoleArg>,
    last: Option<u64>,
) -> Result<Attached, Diagnostic> {
    let mut client = connect(entry)?;
    let console = match console {
        Some(console) => console.into(),
        None => {
            let info = client.info().map_err(|error| silent(entry, &error))?;
            loudest(&info)
        }
    };
    let attached = client.into_console(console, last);
    let (stream, read, past) = attached.map_err(|error| silent(entry, &error))?;
    Ok(Attached {
        console,
        stream,
        read,
        past,
    })
}

/// The console that has printed most.
fn loudest(info: &Info) -> ConsoleName {
    let loudest = info.consoles.iter().max_by_key(|console| console.output);
    loudest.map_or(ConsoleName::Serial, |console| console.console)
}

/// Uses a console on this terminal.
pub(crate) fn attach(
    args: &ConsoleArgs,
    runtime: &RuntimeDir,
    output: Output,
) -> Result<Exit, Stop> {
    let (target, console) = args.read().map_err(usage)?;
    let entries = runtime.select(&target)?;
    let [entry] = entries.as_slice() else {
        return Err(several(&entries));
    };
    let attached = open(entry, console, args.replay.map(|size| size.0))?;
    let name = entry.name();
    let device = attached.console.device();
    let failed = |error: io::Error| {
        Diagnostic::failure("console", format!("cannot use {device} of `{name}`")).because(&error)
    };
    let terminal = RawTerminal::enter();
    if terminal.is_some() {
        output.note(format!("{device} of {name}; Ctrl-] leaves it\r"));
    }
    let mut session = Session::new(attached, terminal.is_some()).map_err(failed)?;
    let end = session.run(output)?;
    drop(terminal);
    match end {
        End::Left => output.note(format!("\nleft {device} of {name}, which goes on")),
        End::Over => output.note(format!("\n{name} has ended")),
    }
    Ok(Exit::Success)
}

/// What is said where a terminal would show several consoles, or none.
fn several(entries: &[Entry]) -> Stop {
    let names: Vec<String> = entries.iter().map(Entry::name).collect();
    let failure = Diagnostic::failure("several-vms", "a terminal shows one console");
    match names.as_slice() {
        [] => failure.cause("no VM runs"),
        names => failure
            .cause(format!("these run: {}", names.join(", ")))
            .hint("name one of them; `pcp-vmm logs --all -f` shows what all of them print"),
    }
    .into()
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The user left.
    Left,
    /// The VM ended.
    Over,
}

/// The terminal in raw mode; as it was when dropped.
#[derive(Debug)]
pub(super) struct RawTerminal(Termios);

impl RawTerminal {
    /// Standard input's, if it is a terminal.
    pub(super) fn enter() -> Option<Self> {
        let stdin = io::stdin();
        let before = stdin
            .is_terminal()
            .then(|| tcgetattr(&stdin).ok())
            .flatten()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // Nobody is left to tell.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// What goes both ways.
#[derive(Debug)]
struct Session {
    stream: UnixStream,
    read: Vec<u8>,
    /// How much of the past is still to come.
    past: u64,
    /// Until when what is typed may be the terminal's answer to the past.
    deaf_until: Option<Instant>,
    typed: Vec<u8>,
    /// Whether there is more to type.
    open: bool,
    terminal: bool,
}

impl Session {
    fn new(attached: Attached, terminal: bool) -> io::Result<Self> {
        attached.stream.set_nonblocking(true)?;
        Ok(Self {
            stream: attached.stream,
            read: attached.read,
            past: attached.past,
            deaf_until: None,
            typed: Vec::new(),
            open: true,
            terminal,
        })
    }

    fn run(&mut self, output: Output) -> Result<End, Stop> {
        let first = std::mem::take(&mut self.read);
        self.show(&first, output)?;
        loop {
            let (input, stream) = self.wait()?;
            if stream && !self.hear(output)? {
                return Ok(End::Over);
            }
            if input && !self.type_in()? {
                return Ok(End::Left);
            }
            if !self.typed.is_empty() && !self.send() {
                return Ok(End::Over);
            }
        }
    }

    /// Waits; whether something was typed, and whether the console has something to say.
    fn wait(&self) -> Result<(bool, bool), Stop> {
        let stdin = io::stdin();
        // A terminal is always read, for the key that leaves.
        let wanted = self.open && (self.terminal || self.typed.len() < TYPED_MAX);
        let mut flags = PollFlags::IN;
        if !self.typed.is_empty() {
            flags |= PollFlags::OUT;
        }
        let mut fds = vec![PollFd::new(&self.stream, flags)];
        if wanted {
            fds.push(PollFd::new(&stdin, PollFlags::IN));
        }
        match poll(&mut fds, None::<&Timespec>) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => {
                let failed = Diagnostic::failure("console", "cannot wait for the console");
                return Err(failed.because(&error).into());
            }
        }
        let ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
        Ok((ready(1), ready(0)))
    }

    /// Shows what the console says; whether it is still there.
    fn hear(&mut self, output: Output) -> Result<bool, Stop> {
        let mut bytes = [0; 16 << 10];
        match self.stream.read(&mut bytes) {
            Ok(0) => Ok(false),
            Ok(count) => {
                let bytes = bytes.get(..count).unwrap_or_default();
                self.show(bytes, output).map(|()| true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            Err(_) => Ok(false),
        }
    }

    fn show(&mut self, bytes: &[u8], output: Output) -> Result<(), Stop> {
        output.data(bytes)?;
        if self.past > 0 {
            self.past = self.past.saturating_sub(bytes.len() as u64);
            self.deaf_until = Some(Instant::now() + ECHO);
        }
        Ok(())
    }

    /// Takes what was typed; whether the user stays.
    fn type_in(&mut self) -> Result<bool, Stop> {
        let mut bytes = [0; 4096];
        let count = io::stdin().lock().read(&mut bytes).map_err(|error| {
            Diagnostic::failure("console", "cannot read what is typed").because(&error)
        })?;
        let bytes = bytes.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            self.open = false;
            return Ok(!self.terminal);
        }
        if !self.terminal {
            self.typed.extend(bytes);
            return Ok(true);
        }
        let escape = bytes.iter().position(|&byte| byte == ESCAPE);
        let before = bytes.get(..escape.unwrap_or(count)).unwrap_or_default();
        let deaf = self.deaf_until.is_some_and(|until| Instant::now() < until);
        if !deaf && self.typed.len() < TYPED_MAX {
            self.typed.extend(before);
        }
        if escape.is_some() {
            // What was typed before still counts.
            self.send();
        }
        Ok(escape.is_none())
    }

    /// Sends what was typed, as far as the console takes it; whether it is still there.
    fn send(&mut self) -> bool {
        match self.stream.write(&self.typed) {
            Ok(count) => {
                self.typed.drain(..count);
                true
            }
            Err(error) => matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ),
        }
    }
}

//! How each thing that is waited for is seen.

use std::io::{ErrorKind, Read};
use std::process::Stdio;
use std::time::{Duration, Instant};

use guest::bundle::Bundle;
use regex_lite::Regex;
use vmm::Landmark;
use vmm::control::protocol::{Event, EventKind, Request};
use vmm::instance::Entry;

use super::super::console;
use super::{InVain, Waiting};
use crate::args::ConsoleArg;
use crate::diagnostic::Diagnostic;
use crate::instances::{connect, silent};
use crate::printable::Printable;
use crate::ssh::{Login, greets};
use crate::vm_status::VmStatus;
use crate::wanted::Wanted;

/// The longest wait for one thing before others are looked at.
const SLICE: Duration = Duration::from_millis(100);
/// The time between two questions to the guest.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a guest may take for one answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How much of a line is looked at.
const LINE_MAX: usize = 64 << 10;

/// Waits until the VM is as `wanted`.
pub(super) fn until(waiting: &Waiting<'_>, wanted: &Wanted) -> Result<(), InVain> {
    match wanted {
        Wanted::Ready => ready(waiting),
        Wanted::Phase(phase) => passed(waiting, *phase),
        Wanted::Ssh => {
            let login = login(waiting)?;
            repeatedly(waiting, || Ok(greets(login.address())))
        }
        Wanted::Service(unit) => asked(waiting, &is_active(unit)),
        Wanted::Metric(metric) => asked(waiting, &has_values(metric)),
        Wanted::Console(pattern) => printed(waiting, pattern),
        Wanted::Exit => {
            let left = waiting.left().unwrap_or(Duration::MAX / 4);
            match waiting.process.wait(left) {
                true => Ok(()),
                false => Err(InVain::Late(None)),
            }
        }
    }
}

impl Waiting<'_> {
    /// How much time is left; nothing where there is no limit.
    fn left(&self) -> Option<Duration> {
        let deadline = self.deadline?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }

    /// Rests for `pause` at most; an error once the VM has ended or time has passed.
    fn rest(&self, pause: Duration) -> Result<(), InVain> {
        let left = self.left().unwrap_or(pause);
        if self.process.wait(pause.min(left)) {
            return Err(InVain::Ended);
        }
        match self.left() {
            Some(Duration::ZERO) => Err(InVain::Late(None)),
            _ => Ok(()),
        }
    }
}

/// Looks again and again until there is nothing more to say against it.
fn repeatedly(
    waiting: &Waiting<'_>,
    mut look: impl FnMut() -> Result<Option<String>, Diagnostic>,
) -> Result<(), InVain> {
    loop {
        let Some(why) = look()? else {
            return Ok(());
        };
        match waiting.rest(PAUSE) {
            Err(InVain::Late(_)) => return Err(InVain::Late(Some(why))),
            other => other?,
        }
    }
}

fn login(waiting: &Waiting<'_>) -> Result<Login, InVain> {
    // The control socket comes a moment after the record.
    loop {
        match VmStatus::of(waiting.entry) {
            None => return Err(InVain::Ended),
            Some(status) if status.uptime_ms.is_some() => {
                return Ok(Login::of(waiting.entry, &status, None)?);
            }
            Some(_) => waiting.rest(SLICE)?,
        }
    }
}

fn is_active(unit: &str) -> String {
    format!("systemctl is-active --quiet {unit} || {{ echo {unit} is not active >&2; exit 1; }}")
}

fn has_values(metric: &str) -> String {
    format!(
        "pminfo -f {metric} 2>/dev/null | grep -q ' value ' || \
         {{ echo {metric} has no values >&2; exit 1; }}"
    )
}

/// Asks the guest's shell until it says yes.
fn asked(waiting: &Waiting<'_>, script: &str) -> Result<(), InVain> {
    let login = login(waiting)?;
    repeatedly(waiting, || match greets(login.address()) {
        None => run(&login, script),
        why => Ok(why),
    })
}

/// Runs `script` in the guest; if it does not succeed, what was said last.
fn run(login: &Login, script: &str) -> Result<Option<String>, Diagnostic> {
    let mut ssh = login.command(&[script.to_owned()]);
    let streams = ssh.stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = streams.stderr(Stdio::piped()).spawn().map_err(|error| {
        let failed = Diagnostic::failure("ssh", "cannot start `ssh`").because(&error);
        failed.hint("install it: `apt install openssh-client`")
    })?;
    let end = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(10)),
            _ => {
                // It is only a client; the guest notices that it is gone.
                let _ = child.kill();
                let _ = child.wait();
                return Ok(Some("the guest does not answer a command".to_owned()));
            }
        }
    };
    if status.success() {
        return Ok(None);
    }
    let mut said = String::new();
    if let Some(errors) = child.stderr.take() {
        // Bytes that are no text are as good as nothing.
        let _ = errors.take(4096).read_to_string(&mut said);
    }
    let last = said.lines().last().unwrap_or("the command fails").trim();
    Ok(Some(last.to_owned()))
}

/// What the bundle calls ready.
fn ready(waiting: &Waiting<'_>) -> Result<(), InVain> {
    let record = waiting.entry.record.as_ref();
    let Some(dir) = record.and_then(|record| record.bundle.as_ref()) else {
        return passed(waiting, Landmark::Login);
    };
    let bundle = Bundle::load(dir).map_err(|error| {
        let shown = dir.display();
        Diagnostic::failure("bundle", format!("cannot read bundle `{shown}` any more"))
            .because(&error)
            .hint("`--for` names what to wait for")
    })?;
    let services = bundle.services.iter().map(|unit| is_active(unit));
    let metrics = bundle.metrics.iter().map(|metric| has_values(metric));
    let all: Vec<String> = services.chain(metrics).collect();
    if all.is_empty() {
        return passed(waiting, Landmark::Login);
    }
    asked(waiting, &all.join("\n"))
}

/// The guest came to `phase`.
fn passed(waiting: &Waiting<'_>, phase: Landmark) -> Result<(), InVain> {
    let is_it = |event: &Event| match event.kind {
        // A later one tells of it too; a panic does not.
        EventKind::Phase { phase: seen } => seen >= phase && seen != Landmark::Panic,
        _ => false,
    };
    let follow = || {
        let mut client = connect(waiting.entry).ok()?;
        let answer = client.ask(&Request::Events { follow: true }).ok()?;
        Some((client, answer.events.unwrap_or_default()))
    };
    let (mut client, events) = loop {
        match follow() {
            Some(following) => break following,
            // The socket comes a moment after the record.
            None => waiting.rest(SLICE)?,
        }
    };
    if events.iter().any(is_it) {
        return Ok(());
    }
    loop {
        match client.next_event_within(SLICE) {
            Ok(Some(event)) if is_it(&event) => return Ok(()),
            Ok(Some(_)) => {}
            Ok(None) => waiting.rest(Duration::ZERO)?,
            Err(error) if error.is_end() => return Err(InVain::Ended),
            Err(error) => return Err(silent(waiting.entry, &error).into()),
        }
    }
}

/// A console has printed a line that matches.
fn printed(waiting: &Waiting<'_>, pattern: &Regex) -> Result<(), InVain> {
    let mut watched = loop {
        match watch(waiting.entry) {
            Some(watched) => break watched,
            None => waiting.rest(SLICE)?,
        }
    };
    loop {
        for console in &mut watched {
            if console.matches(pattern) {
                return Ok(());
            }
        }
        watched.retain(|console| !console.over);
        if watched.is_empty() {
            return Err(InVain::Ended);
        }
        match waiting.rest(Duration::ZERO) {
            // Its last words may still be on their way.
            Err(InVain::Ended) | Ok(()) => {}
            other => return other,
        }
    }
}

/// A console that is watched.
#[derive(Debug)]
struct Watched {
    attached: console::Attached,
    filter: Printable,
    line: Vec<u8>,
    over: bool,
}

/// The consoles of a VM from their first known byte on; `None` if it does not answer.
fn watch(entry: &Entry) -> Option<Vec<Watched>> {
    let open = |which| {
        let attached = console::open(entry, Some(which), None).ok()?;
        attached.stream.set_read_timeout(Some(SLICE / 2)).ok()?;
        Some(Watched {
            attached,
            filter: Printable::default(),
            line: Vec::new(),
            over: false,
        })
    };
    let consoles = [ConsoleArg::Serial, ConsoleArg::Virtio];
    let watched: Vec<Watched> = consoles.into_iter().filter_map(open).collect();
    (!watched.is_empty()).then_some(watched)
}

impl Watched {
    /// Whether what has come now completes a line, or a prompt, that matches.
    fn matches(&mut self, pattern: &Regex) -> bool {
        let mut bytes = std::mem::take(&mut self.attached.read);
        if bytes.is_empty() {
            bytes.resize(16 << 10, 0);
            let count = match self.attached.stream.read(&mut bytes) {
                Ok(0) => {
                    self.over = true;
                    0
                }
                Ok(count) => count,
                Err(error) if is_timeout(error.kind()) => 0,
                Err(_) => {
                    self.over = true;
                    0
                }
            };
            bytes.truncate(count);
        }
        for byte in self.filter.filter(&bytes) {
            if byte != b'\n' {
                if self.line.len() < LINE_MAX {
                    self.line.push(byte);
                }
            } else if is_match(pattern, &std::mem::take(&mut self.line)) {
                return true;
            }
        }
        !bytes.is_empty() && is_match(pattern, &self.line)
    }
}

fn is_match(pattern: &Regex, line: &[u8]) -> bool {
    pattern.is_match(&String::from_utf8_lossy(line))
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

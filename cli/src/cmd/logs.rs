//! `pcp-vmm logs`: what a console has printed.

use std::fs;
use std::io::{self, IsTerminal, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;

use vmm::config::is_name;
use vmm::instance::Entry;

use super::adjust::usage;
use super::console;
use crate::args::{CommonArgs, ConsoleArg, LogsArgs, TargetArgs};
use crate::at_once::{at_once, parted};
use crate::diagnostic::Diagnostic;
use crate::exit::Exit;
use crate::folders;
use crate::instances::RuntimeDir;
use crate::output::{Output, Stop};
use crate::printable::Printable;

/// Shows what consoles of VMs have printed.
pub(crate) fn show(
    args: &LogsArgs,
    common: &CommonArgs,
    runtime: &RuntimeDir,
    output: Output,
) -> Result<Exit, Stop> {
    let (target, console) = args.read().map_err(usage)?;
    // What a guest prints must not command this terminal.
    let mut filter = io::stdout().is_terminal().then(Printable::default);
    let mut print = |bytes: &[u8]| match &mut filter {
        Some(filter) => output.data(filter.filter(bytes)),
        None => output.data(bytes),
    };
    let entries = match runtime.select(&target) {
        Err(unknown) if unknown.code == "unknown-vm" => {
            let past = past_of_ended(&target, console, common)?.ok_or(unknown)?;
            print(last(&past, args.lines))?;
            return Ok(Exit::Success);
        }
        other => other?,
    };
    if let [entry] = entries.as_slice() {
        one(entry, console, args, &mut print)?;
        return Ok(Exit::Success);
    }
    // Several at once only where they go on; else one after the other.
    let show = |entry: &Entry| -> Result<(), Stop> {
        let mut lines = Lines::new(&entry.name());
        one(entry, console, args, &mut |bytes| {
            output.data(lines.whole(bytes))
        })?;
        output.data(lines.rest())
    };
    let outcomes: Vec<Result<(), Stop>> = if args.follow {
        at_once(&entries, show)
    } else {
        entries.iter().map(show).collect()
    };
    output.failures(parted(outcomes).1)?;
    Ok(Exit::Success)
}

/// The lines of a VM, each behind its name.
#[derive(Debug)]
pub(super) struct Lines {
    name: String,
    begun: Vec<u8>,
    filter: Printable,
}

impl Lines {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: format!("{name}: "),
            begun: Vec::new(),
            filter: Printable::default(),
        }
    }

    /// Those that end in `bytes`.
    pub(super) fn whole(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.begun
            .extend_from_slice(self.filter.filter(bytes).as_ref());
        let end = self.begun.iter().rposition(|&byte| byte == b'\n');
        let rest = self.begun.split_off(end.map_or(0, |at| at + 1));
        let whole = std::mem::replace(&mut self.begun, rest);
        let lines = whole.split_inclusive(|&byte| byte == b'\n');
        lines
            .flat_map(|line| [self.name.as_bytes(), line].concat())
            .collect()
    }

    /// The last one, if it has no end.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        match std::mem::take(&mut self.begun) {
            rest if rest.is_empty() => rest,
            rest => [self.name.as_bytes(), &rest, b"\n"].concat(),
        }
    }
}

/// Gives `print` what a VM's console has printed, and prints.
fn one(
    entry: &Entry,
    console: Option<ConsoleArg>,
    args: &LogsArgs,
    print: &mut dyn FnMut(&[u8]) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let attached = console::open(entry, console, None)?;
    let mut stream = attached.stream;
    let mut past = attached.read;
    let length = usize::try_from(attached.past).unwrap_or(usize::MAX);
    while past.len() < length {
        let more = next(&mut stream)?;
        if more.is_empty() {
            break;
        }
        past.extend(more);
    }
    if !args.follow {
        past.truncate(length);
    }
    print(last(&past, args.lines))?;
    if !args.follow {
        return Ok(());
    }
    loop {
        let more = next(&mut stream)?;
        if more.is_empty() {
            return Ok(());
        }
        print(&more)?;
    }
}

/// What the VM of `target`, which does not run, printed in its last run, if it has a log.
fn past_of_ended(
    target: &TargetArgs,
    console: Option<ConsoleArg>,
    common: &CommonArgs,
) -> Result<Option<Vec<u8>>, Diagnostic> {
    let [name] = target.names.as_slice() else {
        return Ok(None);
    };
    if !is_name(name) {
        return Ok(None);
    }
    let folder = folders::log_dir(common)?.join(name);
    let logs = match console {
        Some(ConsoleArg::Serial) => &["serial.log"][..],
        Some(ConsoleArg::Virtio) => &["console.log"],
        None => &["serial.log", "console.log"],
    };
    let mut pasts = Vec::new();
    for log in logs {
        let path = folder.join(log);
        pasts.extend(logged(&path).map_err(|error| {
            let what = format!("cannot read the log `{}`", path.display());
            Diagnostic::failure("log-dir", what).because(&error)
        })?);
    }
    // The one that has printed most; the serial one, if they are equals.
    Ok(pasts.into_iter().rev().max_by_key(Vec::len))
}

/// What is in a console's log, with what went before it; `None` if there is no log.
fn logged(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let read = |path: &Path| match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    let Some(newest) = read(path)? else {
        return Ok(None);
    };
    let before = read(&path.with_extension("log.1"))?;
    Ok(Some([before.unwrap_or_default(), newest].concat()))
}

/// The last `lines` lines of `text`, or all of it.
fn last(text: &[u8], lines: Option<usize>) -> &[u8] {
    let from = lines.map_or(0, |lines| last_lines(text, lines));
    text.get(from..).unwrap_or_default()
}

/// Where the last `lines` lines of `text` begin.
fn last_lines(text: &[u8], lines: usize) -> usize {
    if lines == 0 {
        return text.len();
    }
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    let mut ends = (0..body.len())
        .rev()
        .filter(|&at| body.get(at) == Some(&b'\n'));
    ends.nth(lines - 1).map_or(0, |at| at + 1)
}

fn next(stream: &mut UnixStream) -> Result<Vec<u8>, Diagnostic> {
    let mut bytes = vec![0; 32 << 10];
    loop {
        match stream.read(&mut bytes) {
            Ok(count) => {
                bytes.truncate(count);
                return Ok(bytes);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The VM has ended, and not waited for us.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(Vec::new()),
            Err(error) => {
                let failed = Diagnostic::failure("console", "cannot read the console");
                return Err(failed.because(&error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_told_whole_behind_its_vms_name() {
        let mut lines = Lines::new("a");
        assert_eq!(lines.whole(b"on"), b"");
        assert_eq!(lines.whole(b"e\ntwo\nth"), b"a: one\na: two\n");
        assert_eq!(lines.rest(), b"a: th\n");
        assert_eq!(lines.rest(), b"");
    }

    #[test]
    fn a_log_is_read_with_what_went_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("serial.log");
        assert_eq!(logged(&path).unwrap(), None);
        fs::write(&path, "two\n").unwrap();
        fs::write(folder.path().join("serial.log.1"), "one\n").unwrap();
        fs::write(folder.path().join("serial.log.last"), "of another run\n").unwrap();
        assert_eq!(logged(&path).unwrap().unwrap(), b"one\ntwo\n");
    }

    #[test]
    fn the_last_lines_are_found_with_and_without_an_end() {
        let last = |text: &'static [u8], lines| &text[last_lines(text, lines)..];
        assert_eq!(last(b"a\nb\nc\n", 2), b"b\nc\n");
        assert_eq!(last(b"a\nb\nlogin: ", 1), b"login: ");
        assert_eq!(last(b"a\nb\n", 9), b"a\nb\n");
        assert_eq!(last(b"a\nb\n", 0), b"");
        assert_eq!(last(b"", 3), b"");
    }
}

//! `pcp-vmm logs`: what a console has printed.

use std::io::{self, IsTerminal, Read};
use std::os::unix::net::UnixStream;

use vmm::instance::Entry;

use super::adjust::usage;
use super::console;
use crate::args::{ConsoleArg, LogsArgs};
use crate::at_once::{at_once, parted};
use crate::diagnostic::Diagnostic;
use crate::exit::Exit;
use crate::instances::RuntimeDir;
use crate::output::{Output, Stop};
use crate::printable::Printable;

/// Shows what consoles of VMs have printed.
pub(crate) fn show(args: &LogsArgs, runtime: &RuntimeDir, output: Output) -> Result<Exit, Stop> {
    let (target, console) = args.read().map_err(usage)?;
    let entries = runtime.select(&target)?;
    if let [entry] = entries.as_slice() {
        // What a guest prints must not command this terminal.
        let mut filter = io::stdout().is_terminal().then(Printable::default);
        let mut print = |bytes: &[u8]| match &mut filter {
            Some(filter) => output.data(filter.filter(bytes)),
            None => output.data(bytes),
        };
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
    let from = args.lines.map_or(0, |lines| last_lines(&past, lines));
    print(past.get(from..).unwrap_or_default())?;
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
    fn the_last_lines_are_found_with_and_without_an_end() {
        let last = |text: &'static [u8], lines| &text[last_lines(text, lines)..];
        assert_eq!(last(b"a\nb\nc\n", 2), b"b\nc\n");
        assert_eq!(last(b"a\nb\nlogin: ", 1), b"login: ");
        assert_eq!(last(b"a\nb\n", 9), b"a\nb\n");
        assert_eq!(last(b"a\nb\n", 0), b"");
        assert_eq!(last(b"", 3), b"");
    }
}

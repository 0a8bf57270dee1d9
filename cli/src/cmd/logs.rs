//! `pcp-vmm logs`: what a console has printed.

use std::io::{self, IsTerminal, Read};
use std::os::unix::net::UnixStream;

use super::console;
use crate::args::LogsArgs;
use crate::diagnostic::Diagnostic;
use crate::exit::Exit;
use crate::instances::RuntimeDir;
use crate::output::{Output, Stop};
use crate::printable::Printable;

/// Shows what a VM's console has printed.
pub(crate) fn show(args: &LogsArgs, runtime: &RuntimeDir, output: Output) -> Result<Exit, Stop> {
    let entry = runtime.one(&args.name)?;
    let attached = console::open(&entry, args.console, None)?;
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
    // What a guest prints must not command this terminal.
    let mut filter = io::stdout().is_terminal().then(Printable::default);
    let mut print = |bytes: &[u8]| match &mut filter {
        Some(filter) => output.data(filter.filter(bytes)),
        None => output.data(bytes),
    };
    let from = args.lines.map_or(0, |lines| last_lines(&past, lines));
    print(past.get(from..).unwrap_or_default())?;
    if !args.follow {
        return Ok(Exit::Success);
    }
    loop {
        let more = next(&mut stream)?;
        if more.is_empty() {
            return Ok(Exit::Success);
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
    fn the_last_lines_are_found_with_and_without_an_end() {
        let last = |text: &'static [u8], lines| &text[last_lines(text, lines)..];
        assert_eq!(last(b"a\nb\nc\n", 2), b"b\nc\n");
        assert_eq!(last(b"a\nb\nlogin: ", 1), b"login: ");
        assert_eq!(last(b"a\nb\n", 9), b"a\nb\n");
        assert_eq!(last(b"a\nb\n", 0), b"");
        assert_eq!(last(b"", 3), b"");
    }
}

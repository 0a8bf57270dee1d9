//! The only place that prints. Standard output is for data, standard error for talk.

use std::io::{self, ErrorKind, IsTerminal, Write};

use serde::Serialize;

use crate::args::{ColorChoice, CommonArgs};
use crate::diagnostic::Diagnostic;
use crate::env;

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Human,
    /// For programs.
    Json,
}

/// Writes results, talk and errors in the way that the user asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
    quiet: bool,
    color: bool,
    color_data: bool,
    progress: bool,
}

/// Why a command ended before its time.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Something failed; it has not been reported yet.
    Failed(Box<Diagnostic>),
    /// Whoever read the output has gone away, which is no fault.
    ReaderGone,
}

/// What a failure is in JSON.
#[derive(Serialize)]
struct Failure<'a> {
    error: &'a Diagnostic,
}

impl From<Diagnostic> for Stop {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Failed(Box::new(diagnostic))
    }
}

impl Output {
    /// The output that `args` and the environment ask for.
    pub(crate) fn new(args: &CommonArgs) -> Self {
        let terminal = io::stderr().is_terminal();
        let colors = |terminal: bool| match args.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => colors_wanted(terminal),
        };
        Self {
            format: if args.json {
                Format::Json
            } else {
                Format::Human
            },
            quiet: args.quiet,
            color: colors(terminal),
            color_data: colors(io::stdout().is_terminal()),
            progress: terminal
                && !args.quiet
                && !args.json
                && !args.no_progress
                && !env::is_set(env::CI),
        }
    }

    /// The output for errors of the command line itself, before it is understood.
    pub(crate) fn for_usage_errors(json: bool) -> Self {
        Self {
            format: if json { Format::Json } else { Format::Human },
            quiet: false,
            color: colors_wanted(io::stderr().is_terminal()),
            color_data: colors_wanted(io::stdout().is_terminal()),
            progress: false,
        }
    }

    /// Whether results are written as JSON.
    pub(crate) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Whether only results and errors are written.
    pub(crate) fn is_quiet(self) -> bool {
        self.quiet
    }

    /// Whether progress may be shown: on a terminal that nobody asked to be kept still.
    pub(crate) fn shows_progress(self) -> bool {
        self.progress
    }

    /// Writes `text` to standard output as it is.
    pub(crate) fn data(self, text: impl AsRef<[u8]>) -> Result<(), Stop> {
        let mut out = io::stdout().lock();
        let written = out.write_all(text.as_ref()).and_then(|()| out.flush());
        written.map_err(|e| stdout_failed(&e))
    }

    /// Writes `value` to standard output as JSON.
    pub(crate) fn json<T: Serialize>(self, value: &T) -> Result<(), Stop> {
        let mut text = serde_json::to_string_pretty(value)
            .map_err(|e| Diagnostic::failure("json", "cannot write JSON").because(&e))?;
        text.push('\n');
        self.data(text)
    }

    /// Says `text` on standard error, unless the user wants quiet or JSON.
    pub(crate) fn note(self, text: impl AsRef<str>) {
        if !self.quiet && !self.is_json() {
            self.talk(&format!("{}\n", text.as_ref()));
        }
    }

    /// Warns of `text` on standard error, even where notes are unwanted.
    pub(crate) fn warn(self, text: impl AsRef<str>) {
        if self.is_json() {
            let value = serde_json::json!({ "warning": text.as_ref() });
            return self.talk(&format!("{value}\n"));
        }
        let label = self.paint("33;1", "warning:");
        self.talk(&format!("{label} {}\n", text.as_ref()));
    }

    /// A failure's text before and behind a cause that is not known yet, for whoever cannot ask
    /// any more by then.
    pub(crate) fn around_cause(self, diagnostic: Diagnostic) -> (String, String) {
        const MARK: &str = "@cause@";
        let text = self.error_text(&diagnostic.cause(MARK));
        match text.split_once(MARK) {
            Some((head, tail)) => (head.to_owned(), tail.to_owned()),
            None => (text, String::new()),
        }
    }

    /// Reports a failure on standard error.
    pub(crate) fn error(self, diagnostic: &Diagnostic) {
        self.talk(&self.error_text(diagnostic));
    }

    /// Ends a command that did its work for several: all failures but the last are reported, and that one is left to the end
    /// of the program, as every command's is.
    pub(crate) fn failures<E: Into<Stop>>(
        self,
        failed: impl IntoIterator<Item = E>,
    ) -> Result<(), Stop> {
        let mut last: Option<Stop> = None;
        for stop in failed.into_iter().map(Into::into) {
            match (&last, &stop) {
                // That the reader is gone hides no failure.
                (Some(Stop::Failed(_)), Stop::ReaderGone) => continue,
                (Some(Stop::Failed(before)), Stop::Failed(_)) => self.error(before),
                _ => {}
            }
            last = Some(stop);
        }
        last.map_or(Ok(()), Err)
    }

    fn error_text(self, diagnostic: &Diagnostic) -> String {
        if self.is_json() {
            // A diagnostic is strings only, which JSON can always hold.
            let text = serde_json::to_string(&Failure { error: diagnostic }).unwrap_or_default();
            return format!("{text}\n");
        }
        let mut text = format!("{} {}\n", self.paint("31;1", "error:"), diagnostic.message);
        for cause in &diagnostic.causes {
            let label = self.paint("1", "caused by:");
            text.push_str(&format!("{label} {cause}\n"));
        }
        if !diagnostic.hints.is_empty() {
            text.push('\n');
        }
        for hint in &diagnostic.hints {
            let label = self.paint("36;1", "hint:");
            text.push_str(&format!("{label} {hint}\n"));
        }
        text
    }

    /// `text` in the colour `code` where standard error has colours.
    pub(crate) fn paint(self, code: &str, text: &str) -> String {
        if self.color {
            sgr(code, text)
        } else {
            text.to_owned()
        }
    }

    /// As [`Output::paint`], for standard output.
    pub(crate) fn paint_data(self, code: &str, text: &str) -> String {
        if self.color_data {
            sgr(code, text)
        } else {
            text.to_owned()
        }
    }

    /// The parser's help, with its bold headings where colour is wanted.
    pub(crate) fn styled(self, text: &clap::builder::StyledStr) -> String {
        if self.color_data && self.color {
            text.ansi().to_string()
        } else {
            text.to_string()
        }
    }

    /// Asks `question` on standard error.
    pub(crate) fn ask(self, question: &str) {
        self.talk(question);
    }

    /// Writes `text` to standard error as it is.
    pub(crate) fn talk(self, text: &str) {
        // Nobody is left to tell that standard error is closed.
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}

/// What the environment says about colours (<https://no-color.org>, <https://bixense.com/clicolors>).
fn colors_wanted(terminal: bool) -> bool {
    !env::is_set(env::NO_COLOR) && (terminal || env::is_set(env::CLICOLOR_FORCE))
}

/// `text` in the colour `code` (ECMA-48, SGR).
fn sgr(code: &str, text: &str) -> String {
    format!("\x1b[{code}m{text}\x1b[0m")
}

fn stdout_failed(error: &io::Error) -> Stop {
    if error.kind() == ErrorKind::BrokenPipe {
        Stop::ReaderGone
    } else {
        Diagnostic::failure("output", "cannot write to standard output")
            .because(error)
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_failure_ends_the_program_whoever_reads_its_output() {
        let output = Output::for_usage_errors(true);
        let failure = |code| Stop::from(Diagnostic::failure(code, "it failed"));
        output.failures(Vec::<Stop>::new()).unwrap();
        let gone = output.failures([Stop::ReaderGone]).unwrap_err();
        assert!(matches!(gone, Stop::ReaderGone));
        let mixed = [
            failure("a"),
            Stop::ReaderGone,
            failure("b"),
            Stop::ReaderGone,
        ];
        match output.failures(mixed) {
            Err(Stop::Failed(last)) => assert_eq!(last.code, "b"),
            other => panic!("{other:?}"),
        }
    }
}

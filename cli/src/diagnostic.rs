//! What the user reads when something fails: the error, its causes and what to do.

use std::error::Error;

use serde::Serialize;

use crate::exit::Exit;

/// A failure as it is shown: `error:`, `caused by:` and `hint:`.
#[derive(Debug, Serialize)]
pub(crate) struct Diagnostic {
    /// The exit status that goes with it.
    #[serde(skip)]
    pub(crate) exit: Exit,
    /// A stable word for programs.
    pub(crate) code: &'static str,
    /// What could not be done.
    pub(crate) message: String,
    /// Why, the nearest cause first.
    pub(crate) causes: Vec<String>,
    /// What to do about it.
    #[serde(rename = "hint", serialize_with = "joined")]
    pub(crate) hints: Vec<String>,
}

/// Several hints are one text with a line each; none is null.
fn joined<S: serde::Serializer>(hints: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    if hints.is_empty() {
        serializer.serialize_none()
    } else {
        serializer.serialize_str(&hints.join("\n"))
    }
}

impl Diagnostic {
    /// A failure to do what was asked.
    pub(crate) fn failure(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Exit::Failure, code, message)
    }

    /// A fault of the command line, of the configuration or of a bundle.
    pub(crate) fn usage(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, code, message)
    }

    /// A failure with an exit status of its own.
    pub(crate) fn new(exit: Exit, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            exit,
            code,
            message: message.into(),
            causes: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// Adds `error` and all that lies behind it as causes.
    pub(crate) fn because(mut self, error: &dyn Error) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            let text = plain(&error.to_string());
            // A transparent wrapper says the same as what it wraps.
            if self.causes.last() != Some(&text) {
                self.causes.push(text);
            }
            next = error.source();
        }
        self
    }

    /// Adds one cause.
    pub(crate) fn cause(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// Adds what to do about it; a hint that is there already is not repeated.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        if !self.hints.contains(&hint) {
            self.hints.push(hint);
        }
        self
    }

    /// The usage error that the command-line parser found.
    pub(crate) fn from_clap(error: &clap::Error) -> Self {
        let text = error.render().to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        let mut message = String::new();
        let mut diagnostic = Self::usage("usage", "");
        for line in text.lines() {
            let line = line.trim();
            if let Some(usage) = line.strip_prefix("Usage: ") {
                diagnostic = diagnostic.hint(format!("usage is `{usage}`"));
            } else if let Some(tip) = line.strip_prefix("tip: ") {
                diagnostic = diagnostic.hint(tip);
            } else if line.starts_with("For more information") {
                break;
            } else if !line.is_empty() {
                let separator = if message.is_empty() { "" } else { " " };
                message.push_str(separator);
                message.push_str(line);
            }
        }
        diagnostic.message = message;
        diagnostic.hint("all options: `pcp-vmm --help`, `pcp-vmm VERB --help`")
    }
}

/// A cause without the number that the standard library adds to the system's words.
fn plain(text: &str) -> String {
    let words = match text.rsplit_once(" (os error ") {
        Some((words, number)) if number.ends_with(')') => words,
        _ => text,
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("inner")]
    struct Inner;

    #[test]
    fn the_whole_chain_of_causes_is_kept_in_order() {
        let diagnostic = Diagnostic::failure("x", "cannot do it").because(&Outer(Inner));
        assert_eq!(diagnostic.causes, ["outer", "inner"]);
    }

    #[test]
    fn the_systems_words_come_without_a_number() {
        let error = std::io::Error::from_raw_os_error(2);
        let diagnostic = Diagnostic::failure("x", "y").because(&error);
        assert_eq!(diagnostic.causes, ["No such file or directory"]);
        assert_eq!(plain("a (os error b"), "a (os error b");
    }

    #[test]
    fn json_has_one_hint_or_null() {
        let json = |d: &Diagnostic| serde_json::to_value(d).unwrap();
        let diagnostic = Diagnostic::failure("x", "y");
        assert!(json(&diagnostic)["hint"].is_null());
        let diagnostic = diagnostic.hint("a").hint("b").hint("a");
        assert_eq!(json(&diagnostic)["hint"], "a\nb");
        assert!(json(&diagnostic).get("exit").is_none());
    }
}

//! What a VM is waited for, as `wait --for` says it.

use std::str::FromStr;

use regex_lite::Regex;
use vmm::Landmark;

/// What a VM is to be, or to have done.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    /// Ready by the definition of its bundle.
    Ready,
    /// The guest has come so far.
    Phase(Landmark),
    /// The guest's SSH server answers.
    Ssh,
    /// A unit of the guest's is active.
    Service(String),
    /// A metric of the guest's has values.
    Metric(String),
    /// A console has printed a line that matches.
    Console(Regex),
    /// It has ended.
    Exit,
}

/// Why a text is no [`Wanted`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum WantedError {
    /// Not one of the known forms.
    #[error(
        "wait for ready, kernel, init, userspace, login, ssh, service:NAME, metric:NAME, \
         console:REGEX or exit"
    )]
    Form,
    /// What follows `service:` or `metric:` is no name.
    #[error("`{0}` is no name of a unit or metric")]
    Name(String),
    /// What follows `console:` is no regular expression.
    #[error("{0}")]
    Regex(#[from] regex_lite::Error),
}

impl FromStr for Wanted {
    type Err = WantedError;

    fn from_str(text: &str) -> Result<Self, WantedError> {
        let phases = [
            Landmark::Kernel,
            Landmark::Init,
            Landmark::Userspace,
            Landmark::Login,
        ];
        if let Some(phase) = phases.into_iter().find(|phase| phase.word() == text) {
            return Ok(Self::Phase(phase));
        }
        match (text, text.split_once(':')) {
            ("ready", _) => Ok(Self::Ready),
            ("ssh", _) => Ok(Self::Ssh),
            ("exit", _) => Ok(Self::Exit),
            (_, Some(("service", unit))) => name(unit).map(Self::Service),
            (_, Some(("metric", metric))) => name(metric).map(Self::Metric),
            (_, Some(("console", pattern))) => Ok(Self::Console(Regex::new(pattern)?)),
            _ => Err(WantedError::Form),
        }
    }
}

/// A name of a unit or metric; nothing that a shell would take for more than a word.
fn name(text: &str) -> Result<String, WantedError> {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-@:".contains(c);
    if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(good) {
        Ok(text.to_owned())
    } else {
        Err(WantedError::Name(text.escape_debug().to_string()))
    }
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Phase(phase) => f.write_str(phase.word()),
            Self::Ssh => f.write_str("ssh"),
            Self::Service(unit) => write!(f, "service:{unit}"),
            Self::Metric(metric) => write!(f, "metric:{metric}"),
            Self::Console(pattern) => write!(f, "console:{pattern}"),
            Self::Exit => f.write_str("exit"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_shown_as_it_was() {
        for text in [
            "ready",
            "kernel",
            "login",
            "ssh",
            "exit",
            "service:pmcd",
            "service:getty@tty1.service",
            "metric:kernel.all.load",
            "console:^done: .*$",
        ] {
            assert_eq!(text.parse::<Wanted>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_form_or_would_run_something_is_refused() {
        for text in [
            "",
            "panic",
            "readiness",
            "service:",
            "service:a;reboot",
            "service:-a",
            "metric:$(reboot)",
            "metric:a b",
            "console:(",
        ] {
            assert!(text.parse::<Wanted>().is_err(), "{text}");
        }
    }
}

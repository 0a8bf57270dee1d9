//! Exit statuses: what each number means.

use std::process::ExitCode;

/// How the program ended, as its caller sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; for `run`, the guest powered itself off or rebooted.
    Success,
    /// What was asked for could not be done, or is not so.
    Failure,
    /// The command line, the configuration or the bundle is wrong.
    Usage,
    /// The sandbox ended the VMM.
    Sandbox,
    /// The guest's kernel panicked.
    GuestPanic,
    /// The guest did not boot in time.
    BootTimeout,
    /// The VMM itself failed while the guest ran.
    Internal,
    /// The VM was ended by this signal.
    Signal(u8),
    /// For `exec`: as the command in the VM ended.
    Command(u8),
}

impl Exit {
    /// One example of each status, in the order of the table.
    pub(crate) const ALL: [Self; 8] = [
        Self::Success,
        Self::Failure,
        Self::Usage,
        Self::Sandbox,
        Self::GuestPanic,
        Self::BootTimeout,
        Self::Internal,
        Self::Signal(0),
    ];

    /// The number that the caller gets.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Sandbox => 122,
            Self::GuestPanic => 123,
            Self::BootTimeout => 124,
            Self::Internal => 125,
            Self::Signal(signal) => 128_u8.saturating_add(signal),
            Self::Command(status) => status,
        }
    }

    /// The number as the table shows it.
    pub(crate) fn label(self) -> String {
        match self {
            Self::Signal(_) => "128+N".to_owned(),
            other => other.code().to_string(),
        }
    }

    /// What the status means, in one clause.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Success => "done; for `run`: the guest powered off or rebooted",
            Self::Failure => "what was asked for could not be done, or is not so",
            Self::Usage => "the command line, the configuration or the bundle is wrong",
            Self::Sandbox => "the sandbox ended the VMM",
            Self::GuestPanic => "the guest's kernel panicked",
            Self::BootTimeout => "the guest did not boot in time",
            Self::Internal => "the VMM itself failed while the guest ran",
            Self::Signal(_) => "the VM was ended by signal N",
            Self::Command(_) => "for `exec`: as the command ended",
        }
    }

    /// The status as a section of help and manual pages.
    pub(crate) const HELP: &'static str = "\
Exit status:
  0      done; for `run`: the guest powered off or rebooted
  1      what was asked for could not be done, or is not so
  2      the command line, the configuration or the bundle is wrong
  122    the sandbox ended the VMM
  123    the guest's kernel panicked
  124    the guest did not boot in time
  125    the VMM itself failed while the guest ran
  128+N  the VM was ended by signal N";
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_text_is_the_table() {
        let mut table = "Exit status:".to_owned();
        for exit in Exit::ALL {
            table.push_str(&format!("\n  {:<5}  {}", exit.label(), exit.meaning()));
        }
        assert_eq!(Exit::HELP, table);
    }

    #[test]
    fn a_signal_is_reported_as_shells_do() {
        assert_eq!(Exit::Signal(15).code(), 143);
        assert_eq!(Exit::Signal(200).code(), 255);
    }
}

//! The name under which the process is found: `microvm@NAME` and an argument `process=NAME`.
//!
//! PCP's scripts look for exactly one process by its command line (`pgrep -f`), so the program
//! runs itself once more with those words. They carry no meaning: nothing is chosen by them.

use std::convert::Infallible;
use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

const MARK: &str = "process=";

/// The command line as the user wrote it, and whether the process has its name already.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// The arguments, the program's name first.
    pub(crate) args: Vec<OsString>,
    named: bool,
}

impl Invocation {
    /// The command line of this process.
    pub(crate) fn current() -> Self {
        Self::new(env::args_os().collect())
    }

    fn new(mut args: Vec<OsString>) -> Self {
        let named = args
            .get(1)
            .and_then(|arg| arg.to_str())
            .is_some_and(|arg| arg.starts_with(MARK));
        if named {
            args.remove(1);
        }
        if let Some(program) = args.first_mut() {
            *program = "pcp-vmm".into();
        }
        Self { args, named }
    }

    /// Whether a glance tells that this process is going to run a machine, and not replace itself
    /// before. A guess either way costs time alone.
    pub(crate) fn is_about_to_run(&self) -> bool {
        let word = |index: usize| self.args.get(index).map(|arg| arg.as_encoded_bytes());
        let has = |flag: &[u8]| {
            let mut args = self.args.iter();
            args.any(|arg| arg.as_encoded_bytes().starts_with(flag))
        };
        let runs = word(1) == Some(b"run") && (self.named || has(b"--kernel"));
        let daemon = (has(b"--daemon") || has(b"-D")) && !has(b"--detached");
        runs && !daemon && !has(b"--dry-run")
    }

    /// Replaces the process by itself under `name`; returns only if it has a name already or the
    /// system refuses.
    pub(crate) fn become_named(&self, name: &str) -> io::Result<()> {
        if self.named {
            return Ok(());
        }
        let Err::<Infallible, _>(error) = self.exec(name);
        Err(error)
    }

    fn exec(&self, name: &str) -> Result<Infallible, io::Error> {
        let error = Command::new("/proc/self/exe")
            .arg0(format!("microvm@{name}"))
            .arg(format!("{MARK}{name}"))
            .args(self.args.iter().skip(1))
            .exec();
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(args: &[&str]) -> Invocation {
        Invocation::new(args.iter().map(Into::into).collect())
    }

    #[test]
    fn the_words_of_the_name_are_no_arguments() {
        let invocation = new(&["microvm@pcp-vm", "process=pcp-vm", "run", "--net", "none"]);
        assert!(invocation.named);
        assert_eq!(invocation.args, ["pcp-vmm", "run", "--net", "none"]);
    }

    #[test]
    fn a_plain_command_line_is_kept() {
        let invocation = new(&["/usr/bin/pcp-vmm", "run", "process=x"]);
        assert!(!invocation.named);
        assert_eq!(invocation.args, ["pcp-vmm", "run", "process=x"]);
    }

    #[test]
    fn a_named_process_does_not_start_itself_again() {
        let invocation = new(&["microvm@a", "process=a", "run"]);
        assert!(invocation.become_named("a").is_ok());
    }

    #[test]
    fn a_glance_tells_what_runs_a_machine() {
        let runs = |args: &[&str]| new(args).is_about_to_run();
        assert!(runs(&["x", "process=x", "run"]));
        assert!(runs(&["x", "run", "--kernel", "k"]));
        assert!(runs(&["x", "run", "--cpus", "1", "--kernel=k"]));
        // It replaces itself before.
        assert!(!runs(&["x", "run", "--variant", "base"]));
        assert!(!runs(&["x", "run", "--kernel", "k", "--dry-run"]));
        assert!(!runs(&["x", "run", "-D", "--kernel", "k"]));
        assert!(runs(&["x", "run", "-D", "--kernel", "k", "--detached"]));
        assert!(!runs(&["x", "doctor"]));
    }

    #[test]
    fn an_empty_command_line_is_no_fault() {
        assert!(new(&[]).args.is_empty());
        assert!(!new(&[]).is_about_to_run());
    }
}

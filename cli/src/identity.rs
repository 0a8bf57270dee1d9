//! The name under which the process is found: `microvm@NAME` and an argument `process=NAME`.
//!
//! PCP's scripts look for exactly one process by its command line (`pgrep -f`), so the program
//! runs itself once more with those words. They carry no meaning: nothing is chosen by them.
//!
//! One family of names does carry a meaning: called as QEMU is, the program takes QEMU's command line (`qemu-compat`).

use std::convert::Infallible;
use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

const MARK: &str = "process=";
/// The verb whose own options come before a command line that is not ours.
const QEMU: &str = "qemu-compat";
/// The options of that verb, which it has in common with others or not.
const QEMU_OWN: &[&str] = &[
    "--explain",
    "--json",
    "--quiet",
    "-q",
    "--verbose",
    "-v",
    "-vv",
    "-vvv",
    "--no-progress",
    "--help",
    "-h",
];
/// Those that have a value, in the same word.
const QEMU_OWN_WITH_VALUE: &[&str] = &[
    "--runtime-dir=",
    "--state-dir=",
    "--log-dir=",
    "--log-file=",
    "--log-format=",
    "--color=",
];

/// The command line as the user wrote it, and whether the process has its name already.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// The arguments, the program's name first.
    pub(crate) args: Vec<OsString>,
    /// The program's name as it was called.
    program: OsString,
    named: bool,
}

impl Invocation {
    /// The command line of this process.
    pub(crate) fn current() -> Self {
        let mut args: Vec<OsString> = env::args_os().collect();
        // Who gives the process a name of its own (`exec -a`) still has called the program by its path.
        let file = rustix::param::linux_execfn().to_string_lossy().into_owned();
        let name = args.first().cloned().unwrap_or_default();
        if is_qemu(&name.to_string_lossy()) || is_qemu(&file) {
            args.insert(1.min(args.len()), QEMU.into());
        }
        Self::new(args)
    }

    fn new(mut args: Vec<OsString>) -> Self {
        let named = args
            .get(1)
            .and_then(|arg| arg.to_str())
            .is_some_and(|arg| arg.starts_with(MARK));
        if named {
            args.remove(1);
        }
        let mut program = OsString::new();
        if let Some(first) = args.first_mut() {
            program = std::mem::replace(first, "pcp-vmm".into());
        }
        if let Some(at) = foreign_from(&args) {
            args.insert(at, "--".into());
        }
        Self {
            args,
            program,
            named,
        }
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
        if self.named || self.is_named(name) {
            return Ok(());
        }
        let Err::<Infallible, _>(error) = self.exec(name);
        Err(error)
    }

    /// Whether who started this process gave it the name, as PCP's runner does.
    fn is_named(&self, name: &str) -> bool {
        let mark = format!("{MARK}{name}");
        let words = self.args.iter().map(|arg| arg.to_string_lossy());
        self.program == *format!("microvm@{name}") && words.into_iter().any(|it| it.contains(&mark))
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

/// Whether a program of this name takes QEMU's command line.
fn is_qemu(path: &str) -> bool {
    let name = Path::new(path).file_name().unwrap_or_default();
    let name = name.to_string_lossy();
    name.starts_with("qemu-system-") || name == "qemu-kvm"
}

/// Where in `args` the command line begins that is QEMU's, if one does and nothing says so yet. Its options look like ours.
fn foreign_from(args: &[OsString]) -> Option<usize> {
    let is_own = |word: &OsString| {
        let word = word.to_string_lossy();
        let valued = |option: &&str| word.starts_with(*option);
        QEMU_OWN.contains(&&*word) || QEMU_OWN_WITH_VALUE.iter().any(valued)
    };
    let verb = 1 + args.iter().skip(1).take_while(|word| is_own(word)).count();
    if args.get(verb)? != QEMU {
        return None;
    }
    let begin = verb + 1;
    let begin = begin
        + args
            .iter()
            .skip(begin)
            .take_while(|word| is_own(word))
            .count();
    (args.get(begin)? != "--").then_some(begin)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

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
    fn qemus_command_line_begins_after_the_verbs_own_options() {
        for (args, want) in [
            (
                &["x", "qemu-compat", "-vga", "none"][..],
                "qemu-compat -- -vga none",
            ),
            (
                &[
                    "x",
                    "-v",
                    "qemu-compat",
                    "--explain",
                    "--json",
                    "-m",
                    "1",
                    "--json",
                ],
                "-v qemu-compat --explain --json -- -m 1 --json",
            ),
            (&["x", "qemu-compat", "--", "-m"], "qemu-compat -- -m"),
            (&["x", "qemu-compat", "--help"], "qemu-compat --help"),
            (&["x", "qemu-compat", "-h"], "qemu-compat -h"),
            (&["x", "run", "qemu-compat", "-m"], "run qemu-compat -m"),
        ] {
            assert_eq!(new(args).args[1..].join(OsStr::new(" ")), want);
        }
        assert!(is_qemu("/a/bin/qemu-system-x86_64") && is_qemu("qemu-kvm"));
        assert!(!is_qemu("/a/qemu-system-x86_64/pcp-vmm") && !is_qemu("qemu"));
    }

    #[test]
    fn a_name_that_was_given_is_kept() {
        let given = new(&["microvm@a", "qemu-compat", "-name", "a,process=a"]);
        assert!(given.is_named("a") && !given.is_named("b"));
        assert!(!new(&["pcp-vmm", "qemu-compat", "-name", "a,process=a"]).is_named("a"));
    }

    #[test]
    fn an_empty_command_line_is_no_fault() {
        assert!(new(&[]).args.is_empty());
        assert!(!new(&[]).is_about_to_run());
    }
}

//! Runs the host's programs and passes on what they say.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use super::error::{ImageError, Tool, tells_of_full_disk};

/// How many of a program's last lines an error shows.
const TAIL_LINES: usize = 6;
/// How apt and mmdebstrap begin the lines that tell why; others, which may follow, tell of the cleaning up.
const ERROR: &str = "E: ";
/// Longer lines are cut: they are for people.
const MAX_LINE: u64 = 4096;

/// The machine that builds.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// Where programs are looked for.
    path: OsString,
    /// Whether this is root, who can give files their owners.
    pub(crate) privileged: bool,
}

impl Host {
    /// This machine, as this process may use it.
    pub(crate) fn current() -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        Self::new(&path, rustix::process::geteuid().is_root())
    }

    /// A machine whose programs are in `path`, or where tools for the administrator are.
    pub(crate) fn new(path: &OsStr, privileged: bool) -> Self {
        let mut path = path.to_owned();
        path.push(":/usr/sbin:/sbin");
        Self { path, privileged }
    }

    /// A call of the program `name`, which ends when this process does, however that ends.
    pub(crate) fn program(&self, name: &str) -> Program {
        self.call(name, &[&["setpriv", "--pdeathsig", "TERM"]])
    }

    /// The same for a program that mounts things: for root, whose mounts would stay, they are its own.
    pub(crate) fn program_that_mounts(&self, name: &str) -> Program {
        let mut wrappers: Vec<&[&str]> = vec![&["setpriv", "--pdeathsig", "TERM"]];
        if self.privileged {
            wrappers.push(&["unshare", "--mount", "--propagation", "private"]);
        }
        self.call(name, &wrappers)
    }

    /// A call of `name` by those of `wrappers` (util-linux) that are there.
    fn call(&self, name: &str, wrappers: &[&[&str]]) -> Program {
        let there = self.has(name);
        let usable = |wrapper: &&&[&str]| there && wrapper.first().is_some_and(|it| self.has(it));
        let mut words: Vec<&str> = Vec::new();
        for wrapper in wrappers.iter().filter(usable) {
            words.extend(*wrapper);
            words.push("--");
        }
        words.push(name);
        let mut command = Command::new(words.first().unwrap_or(&name));
        command.args(words.iter().skip(1));
        // Messages are read for what they say.
        command
            .env("LC_ALL", "C.UTF-8")
            .env("PATH", &self.path)
            .stdin(Stdio::null());
        Program {
            command,
            name: name.to_owned(),
        }
    }

    /// Those of `tools` that the machine does not have.
    pub(crate) fn missing(&self, tools: &[Tool]) -> Vec<Tool> {
        let missing = |tool: &Tool| !self.has(tool.program);
        tools.iter().copied().filter(missing).collect()
    }

    fn has(&self, program: &str) -> bool {
        let mut places = std::env::split_paths(&self.path);
        places.any(|place| is_executable(&place.join(program)))
    }
}

fn is_executable(file: &Path) -> bool {
    rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok() && file.is_file()
}

/// One call of a program.
#[derive(Debug)]
pub(crate) struct Program {
    command: Command,
    name: String,
}

impl Program {
    /// Adds an argument.
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets a variable of the environment.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets the folder that it runs in.
    pub(crate) fn folder(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Runs the program to its end and gives every line that it writes to `hear`.
    pub(crate) fn run(mut self, mut hear: impl FnMut(&str)) -> Result<(), ImageError> {
        let start = |name: &str, source| ImageError::Start {
            program: name.to_owned(),
            source,
        };
        let (reader, writer) = io::pipe().map_err(|error| start(&self.name, error))?;
        let copy = writer
            .try_clone()
            .map_err(|error| start(&self.name, error))?;
        self.command.stdout(writer).stderr(copy);
        let mut child = self
            .command
            .spawn()
            .map_err(|error| start(&self.name, error))?;
        // The command holds the pipe's other end; reading would never end.
        drop(self.command);
        let mut tail = VecDeque::new();
        let mut errors = Vec::new();
        let mut disk_full = false;
        for_each_line(reader, |line| {
            if tail.len() == TAIL_LINES {
                tail.pop_front();
            }
            tail.push_back(line.to_owned());
            if line.starts_with(ERROR) && errors.len() < TAIL_LINES {
                errors.push(line.to_owned());
            }
            disk_full |= tells_of_full_disk(line);
            hear(line);
        });
        let status = child.wait().map_err(|error| start(&self.name, error))?;
        if status.success() {
            return Ok(());
        }
        Err(ImageError::Program {
            program: self.name,
            status,
            tail: if errors.is_empty() {
                tail.into()
            } else {
                errors
            },
            disk_full,
        })
    }

    /// Runs the program and returns its standard output.
    pub(crate) fn output(mut self) -> Result<String, ImageError> {
        let output = self
            .command
            .stderr(Stdio::piped())
            .output()
            .map_err(|source| ImageError::Start {
                program: self.name.clone(),
                source,
            })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        let mut tail: Vec<_> = stderr
            .lines()
            .rev()
            .take(TAIL_LINES)
            .map(str::to_owned)
            .collect();
        tail.reverse();
        Err(ImageError::Program {
            program: self.name,
            status: output.status,
            disk_full: stderr.lines().any(tells_of_full_disk),
            tail,
        })
    }
}

/// Gives every line to `hear`, cut to a bound; carriage returns end lines too (progress displays).
fn for_each_line(reader: impl io::Read, mut hear: impl FnMut(&str)) {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut limited = io::Read::take(&mut reader, MAX_LINE);
        match limited.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let text = text
            .trim_end()
            .rsplit('\r')
            .next()
            .unwrap_or_default()
            .trim();
        if !text.is_empty() {
            hear(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host::new(&std::env::var_os("PATH").unwrap(), false)
    }

    fn shell(script: &str) -> Program {
        host().program("sh").args(["-c", script])
    }

    #[test]
    fn both_outputs_are_heard_line_by_line() {
        let mut lines = Vec::new();
        shell("echo one; echo two >&2; printf '10%%\\r20%%\\n'; printf end")
            .run(|line| lines.push(line.to_owned()))
            .unwrap();
        assert_eq!(lines, ["one", "two", "20%", "end"]);
    }

    #[test]
    fn an_error_shows_the_last_lines() {
        let error = shell("for i in 1 2 3 4 5 6 7 8; do echo $i; done; exit 3")
            .run(|_| ())
            .unwrap_err();
        let text = error.to_string();
        assert_eq!(text, "`sh` failed (exit status: 3): 3 | 4 | 5 | 6 | 7 | 8");
    }

    #[test]
    fn an_error_shows_the_lines_that_say_what_it_is() {
        let error = shell("echo 'E: why'; for i in 1 2 3 4 5 6 7 8; do echo I: $i; done; exit 3")
            .run(|_| ())
            .unwrap_err();
        assert_eq!(error.to_string(), "`sh` failed (exit status: 3): E: why");
    }

    #[test]
    fn a_line_without_end_does_not_grow() {
        let mut longest = 0;
        shell("head -c 100000 /dev/zero | tr '\\0' x")
            .run(|l| longest = l.len().max(longest))
            .unwrap();
        assert_eq!(longest as u64, MAX_LINE);
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = host().program("no-such-program").run(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "cannot start `no-such-program`");
    }

    #[test]
    fn output_is_standard_output_alone() {
        assert_eq!(shell("echo a; echo b >&2").output().unwrap(), "a\n");
        assert!(
            shell("echo why >&2; false")
                .output()
                .unwrap_err()
                .to_string()
                .ends_with(": why")
        );
    }

    #[test]
    fn a_program_ends_with_the_thread_that_called_it() {
        use std::os::unix::process::ExitStatusExt;
        let mut program = shell("echo runs; exec sleep 60");
        let caller = std::thread::spawn(move || {
            let mut child = program.command.stdout(Stdio::piped()).spawn().unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap())
                .read_line(&mut line)
                .unwrap();
            assert_eq!(line, "runs\n");
            child
        });
        let status = caller.join().unwrap().wait().unwrap();
        assert_eq!(status.signal(), Some(15), "{status}");
    }

    #[test]
    fn missing_tools_are_found_out() {
        let tool = |program| Tool {
            program,
            package: "p",
        };
        assert_eq!(
            host().missing(&[tool("sh"), tool("no-such-tool")]),
            [tool("no-such-tool")]
        );
    }
}

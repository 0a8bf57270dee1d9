//! The host's own programs that look at its network and change it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A program and the package that has it.
pub(crate) const TOOLS: [(&str, &str); 3] = [
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("sysctl", "procps"),
];
/// Where administrators' programs are, which others may not have in their `PATH`.
const PLACES: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Whether `program` is installed.
pub(crate) fn is_there(program: &str) -> bool {
    path_of(program).is_some()
}

fn path_of(program: &str) -> Option<std::path::PathBuf> {
    let search = std::env::var_os("PATH").unwrap_or_default();
    let named = std::env::split_paths(&search).chain(PLACES.map(Into::into));
    let mut paths = named.map(|dir: std::path::PathBuf| dir.join(program));
    paths.find(|path| Path::is_file(path))
}

/// Runs a command: what it prints, or why it failed.
pub(crate) fn run(words: &[String]) -> Result<String, String> {
    let Some((program, arguments)) = words.split_first() else {
        return Ok(String::new());
    };
    let path = path_of(program).ok_or_else(|| format!("there is no `{program}`"))?;
    let mut command = Command::new(path);
    command.args(arguments).stdin(Stdio::null());
    // What is said is looked at and shown.
    command.env("LC_ALL", "C");
    let output = command
        .output()
        .map_err(|error| format!("cannot run `{program}`: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(said(&output))
}

/// What a command that failed said, on one line.
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.bytes().all(|byte| byte == b'^'))
        .collect();
    match lines.as_slice() {
        [] => format!("it ended with {}", output.status),
        lines => lines.join("; "),
    }
}

/// A command as one would type it.
pub(crate) fn shown(words: &[String]) -> String {
    let quoted = |word: &String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    };
    let words: Vec<String> = words.iter().map(quoted).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn a_command_is_shown_so_that_a_shell_takes_it_back() {
        assert_eq!(
            shown(&words(&["ip", "link", "10.0.0.1/24"])),
            "ip link 10.0.0.1/24"
        );
        assert_eq!(shown(&words(&["nft", "a { b; }", ""])), "nft 'a { b; }' ''");
        assert_eq!(shown(&words(&["it's"])), "'it'\\''s'");
    }

    #[test]
    fn a_failure_is_told_in_the_programs_words() {
        assert_eq!(run(&words(&["echo", "a"])).unwrap(), "a\n");
        let why = run(&words(&["sh", "-c", "echo no >&2; echo ^^^ >&2; exit 3"])).unwrap_err();
        assert_eq!(why, "no");
        assert!(
            run(&words(&["false"]))
                .unwrap_err()
                .contains("exit status: 1")
        );
        assert!(
            run(&words(&["no-such-program"]))
                .unwrap_err()
                .contains("there is no")
        );
    }
}

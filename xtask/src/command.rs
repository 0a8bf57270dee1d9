//! Running other programs, with errors that name the program and show what it said.

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};

/// Runs `command` to its end; its output is shown only if it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// Runs `command` and returns what it printed.
pub(crate) fn text(command: &mut Command) -> Result<String> {
    Ok(String::from_utf8_lossy(&output(command)?).into_owned())
}

fn output(command: &mut Command) -> Result<Vec<u8>> {
    command.stdin(Stdio::null());
    let done = command
        .output()
        .with_context(|| format!("cannot start {}", name(command)))?;
    if !done.status.success() {
        let said = [done.stderr, done.stdout].concat();
        bail!(
            "{} ended with {}:\n{}",
            name(command),
            done.status,
            last_lines(&said, 15)
        );
    }
    Ok(done.stdout)
}

/// Gives `input` to `command` and returns what it printed.
pub(crate) fn filter(command: &mut Command, input: &[u8]) -> Result<Vec<u8>> {
    let context = format!("cannot run {}", name(command));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| context.clone())?;
    let stdin = child.stdin.take();
    let done = thread::scope(|scope| {
        // A program that stops reading early shows in its exit status.
        scope.spawn(move || stdin.map(|mut pipe| pipe.write_all(input)));
        child.wait_with_output()
    });
    let done = done.with_context(|| context.clone())?;
    if !done.status.success() {
        bail!("{} ended with {}", name(command), done.status);
    }
    Ok(done.stdout)
}

/// The program and its first arguments, for messages.
pub(crate) fn name(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args().take(4));
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    format!("`{}`", words.join(" "))
}

/// The last `count` lines of a program's output.
pub(crate) fn last_lines(output: &[u8], count: usize) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// `words` as one line that a POSIX shell reads back unchanged.
pub(crate) fn shell_line(words: &[String]) -> String {
    words
        .iter()
        .map(|word| shell_quote(word))
        .collect::<Vec<_>>()
        .join(" ")
}

/// `word` in single quotes.
pub(crate) fn shell_quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_a_quoted_line_back_unchanged() {
        let words = ["a b", "it's", "$HOME", "", "*"].map(String::from);
        let script = format!("printf '<%s>' {}", shell_line(&words));
        let read = text(Command::new("sh").args(["-c", &script])).unwrap();
        assert_eq!(read, "<a b><it's><$HOME><><*>");
    }

    #[test]
    fn a_failed_command_is_named_with_what_it_said() {
        let error = run(Command::new("sh").args(["-c", "echo cause; exit 3"])).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("`sh -c") && message.contains("cause"),
            "{message}"
        );
    }

    #[test]
    fn a_filter_takes_more_than_a_pipe_holds() {
        let input = vec![7; 1 << 20];
        assert_eq!(filter(&mut Command::new("cat"), &input).unwrap(), input);
    }
}

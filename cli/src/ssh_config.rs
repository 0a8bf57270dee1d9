//! Marked blocks in a configuration of ssh (ssh_config(5)), one for each VM.

use std::fmt::Write as _;
use std::iter;

use thiserror::Error;

use crate::ssh::Login;

const BEGIN: &str = "# BEGIN pcp-vmm ";
const END: &str = "# END pcp-vmm ";

/// Why a configuration is left as it is.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// A block begins and does not end.
    #[error("the block of `{0}` has no line `{END}{0}`")]
    Endless(String),
    /// A file's name cannot be written in a configuration.
    #[error("the key's name has a quotation mark or a line's end: `{0}`")]
    Unquotable(String),
}

/// A part of a configuration.
#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    /// Not ours.
    Other(&'a str),
    /// The block of a VM.
    Block { name: &'a str, text: &'a str },
}

/// The block of the VM `name`.
pub(crate) fn block(name: &str, login: &Login) -> Result<String, Unfit> {
    let address = login.address();
    let mut text = format!(
        "{BEGIN}{name}\nHost {name}\n  HostName {}\n  Port {}\n  User {}\n",
        address.ip(),
        address.port(),
        login.user()
    );
    // The guest makes its host key at each start.
    text.push_str("  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n");
    if let Some(key) = login.key() {
        let key = key.to_string_lossy();
        if key.contains(['"', '\n', '\r']) {
            return Err(Unfit::Unquotable(key.into_owned()));
        }
        // Percent signs begin tokens there (ssh_config(5), TOKENS).
        let key = key.replace('%', "%%");
        let _ = writeln!(text, "  IdentityFile \"{key}\"\n  IdentitiesOnly yes");
    } else if let Some(password) = login.password() {
        text.push_str("  PubkeyAuthentication no\n");
        if !password.contains(['\n', '\r']) {
            let _ = writeln!(text, "  # Password: {password}");
        }
    }
    let _ = writeln!(text, "{END}{name}");
    Ok(text)
}

/// `config` with `blocks` (name and text) in it: in the place of those of the same names, else at its beginning.
pub(crate) fn with(config: &str, blocks: &[(String, String)]) -> Result<String, Unfit> {
    let parts = parts(config)?;
    let has = |wanted: &str| {
        parts
            .iter()
            .any(|part| matches!(part, Part::Block { name, .. } if *name == wanted))
    };
    let fresh = blocks.iter().filter(|(name, _)| !has(name));
    let mut text: String = fresh.map(|(_, text)| text.as_str()).collect();
    let mut put: Vec<&str> = Vec::new();
    for part in &parts {
        match part {
            Part::Other(other) => text.push_str(other),
            Part::Block { name, text: old } => {
                match blocks.iter().find(|(wanted, _)| wanted == name) {
                    // A second block of a name would never be read.
                    Some(_) if put.contains(name) => {}
                    Some((_, new)) => {
                        put.push(name);
                        text.push_str(new);
                    }
                    None => text.push_str(old),
                }
            }
        }
    }
    Ok(text)
}

/// `config` without the blocks whose name `goes`.
pub(crate) fn without(config: &str, goes: impl Fn(&str) -> bool) -> Result<String, Unfit> {
    let parts = parts(config)?;
    let stays = parts.iter().filter_map(|part| match part {
        Part::Other(text) => Some(*text),
        Part::Block { name, text } => (!goes(name)).then_some(*text),
    });
    Ok(stays.collect())
}

/// The names of the blocks in `config`.
pub(crate) fn names(config: &str) -> Result<Vec<&str>, Unfit> {
    let parts = parts(config)?;
    let names = parts.iter().filter_map(|part| match part {
        Part::Block { name, .. } => Some(*name),
        Part::Other(_) => None,
    });
    Ok(names.collect())
}

fn parts(config: &str) -> Result<Vec<Part<'_>>, Unfit> {
    let mut parts = Vec::new();
    let mut rest = config;
    while let Some((at, name)) = begin(rest) {
        let (before, block) = rest.split_at(at);
        if !before.is_empty() {
            parts.push(Part::Other(before));
        }
        let end = lines(block).find_map(|(at, line)| {
            let ends = line.trim_end().strip_prefix(END) == Some(name);
            ends.then_some(at + line.len())
        });
        let Some(end) = end else {
            return Err(Unfit::Endless(name.to_owned()));
        };
        let (text, after) = block.split_at(end);
        // Another block's begin within it means that its own end was lost.
        if begin(text.strip_prefix(BEGIN).unwrap_or_default()).is_some() {
            return Err(Unfit::Endless(name.to_owned()));
        }
        parts.push(Part::Block { name, text });
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Other(rest));
    }
    Ok(parts)
}

/// Where the first block of `text` begins, and its name.
fn begin(text: &str) -> Option<(usize, &str)> {
    lines(text).find_map(|(at, line)| Some((at, line.trim_end().strip_prefix(BEGIN)?)))
}

/// The lines of `text` with their ends, and where each begins.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut lines = text.split_inclusive('\n');
    let mut at = 0;
    iter::from_fn(move || {
        let line = lines.next()?;
        let begin = at;
        at += line.len();
        Some((begin, line))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(name: &str, port: u16) -> (String, String) {
        let text = format!("{BEGIN}{name}\nHost {name}\n  Port {port}\n{END}{name}\n");
        (name.to_owned(), text)
    }

    #[test]
    fn blocks_come_first_and_once_and_go_without_a_trace() {
        let own = "Host *\n  User me\n";
        let once = with(own, &[made("a", 1), made("b", 2)]).unwrap();
        assert!(once.starts_with(&made("a", 1).1) && once.ends_with(own));
        assert_eq!(with(&once, &[made("a", 1), made("b", 2)]).unwrap(), once);
        let changed = with(&once, &[made("b", 3)]).unwrap();
        assert!(changed.contains("Port 3\n") && !changed.contains("Port 2\n"));
        assert_eq!(names(&changed).unwrap(), ["a", "b"]);
        assert_eq!(
            without(&changed, |name| name == "a").unwrap(),
            made("b", 3).1 + own
        );
        assert_eq!(without(&changed, |_| true).unwrap(), own);
    }

    #[test]
    fn what_is_not_ours_stays_as_it_is_to_the_byte() {
        let own = "\tHost x\r\n# BEGIN other y\n\n  Port 1";
        assert_eq!(without(own, |_| true).unwrap(), own);
        let with = with(own, &[made("a", 1)]).unwrap();
        assert_eq!(without(&with, |_| true).unwrap(), own);
    }

    #[test]
    fn a_block_without_its_end_is_an_error() {
        let torn = format!("{BEGIN}a\nHost a\n");
        assert_eq!(
            with(&torn, &[made("b", 1)]),
            Err(Unfit::Endless("a".to_owned()))
        );
        let swallowed = format!("{torn}{}{}", made("b", 1).1, made("a", 2).1);
        assert_eq!(
            without(&swallowed, |_| true),
            Err(Unfit::Endless("a".to_owned()))
        );
    }

    #[test]
    fn a_login_becomes_what_ssh_reads() {
        let address = "127.0.0.1:22022".parse().unwrap();
        let login = Login::new(address, "root", None, Some("/k e/100%".into()));
        let text = block("vm", &login).unwrap();
        assert!(text.contains("  HostName 127.0.0.1\n  Port 22022\n  User root\n"));
        assert!(text.contains("  IdentityFile \"/k e/100%%\"\n  IdentitiesOnly yes\n"));
        let login = Login::new(address, "root", Some("pcp"), None);
        let text = block("vm", &login).unwrap();
        assert!(text.contains("  PubkeyAuthentication no\n  # Password: pcp\n"));
        let odd = Login::new(address, "root", None, Some("/a\"b".into()));
        assert!(matches!(block("vm", &odd), Err(Unfit::Unquotable(_))));
    }
}

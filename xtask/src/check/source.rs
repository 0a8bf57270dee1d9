//! The project's Rust files, and their code apart from comments, texts and tests.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The crates' folders. That of the fuzz targets may have results of theirs beside its sources.
pub(super) const CRATES: [&str; 9] = [
    "cli",
    "vmm",
    "devices",
    "guest",
    "xtask",
    "tests",
    "fuzz/src",
    "fuzz/fuzz_targets",
    "fuzz/examples",
];

/// One Rust file.
#[derive(Debug)]
pub(super) struct Source {
    /// Its path from the top of the work tree.
    pub(super) path: String,
    /// All of it.
    pub(super) text: String,
    /// Its production part with comments and literals blanked; lines keep their numbers.
    pub(super) code: String,
}

impl Source {
    pub(super) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let (path, text) = (path.into(), text.into());
        let code = blank(production(&path, &text));
        Self { path, text, code }
    }

    /// The place of line `index`, counted from zero.
    pub(super) fn line(&self, index: usize) -> String {
        format!("{}:{}", self.path, index + 1)
    }

    /// The number of lines of the production part.
    pub(super) fn production_lines(&self) -> usize {
        self.code.lines().count()
    }

    /// Whether the file holds nothing but tests or their fixtures.
    pub(super) fn is_test(&self) -> bool {
        is_test(&self.path)
    }
}

/// All Rust files of the crates under `top`.
pub(super) fn all(top: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut folders: Vec<_> = CRATES.iter().map(|name| top.join(name)).collect();
    while let Some(folder) = folders.pop() {
        let list = || format!("cannot list {}", folder.display());
        for entry in fs::read_dir(&folder).with_context(list)? {
            let path = entry.with_context(list)?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                let name = path.strip_prefix(top).unwrap_or(&path).to_string_lossy();
                sources.push(Source::new(name, text));
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

fn is_test(path: &str) -> bool {
    path.starts_with("tests/")
        || path.ends_with("/tests.rs")
        || path.ends_with("/testing.rs")
        || path
            .split('/')
            .any(|part| part == "tests" || part == "testing")
}

/// `text` up to its inline test module; nothing of a file of tests.
fn production<'a>(path: &str, text: &'a str) -> &'a str {
    if is_test(path) && !path.starts_with("tests/") {
        return "";
    }
    let mut at = 0;
    while let Some(found) = text[at..].find("#[cfg(test)]\n") {
        let start = at + found;
        let rest = &text[start..];
        let item = rest
            .lines()
            .find(|line| !line.starts_with("#[") && !line.starts_with("//"));
        let at_column_0 = start == 0 || text[..start].ends_with('\n');
        if at_column_0 && item.is_some_and(|line| line.contains("mod ") && line.ends_with('{')) {
            return &text[..start];
        }
        at = start + 1;
    }
    text
}

/// `text` with comments, strings and characters replaced by blanks.
fn blank(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let literal = literal_length(rest);
        let length = literal.unwrap_or(first.len_utf8());
        if literal.is_some() {
            out.extend(
                rest[..length]
                    .chars()
                    .map(|c| if c == '\n' { '\n' } else { ' ' }),
            );
        } else {
            out.push(first);
        }
        rest = &rest[length..];
    }
    out
}

/// The length of the comment or literal that `text` starts with.
fn literal_length(text: &str) -> Option<usize> {
    let end = |pattern: &str, from: usize| {
        text[from..]
            .find(pattern)
            .map_or(text.len(), |at| from + at + pattern.len())
    };
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(end("*/", 2));
    }
    if let Some(raw) = text.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            return Some(end(&format!("\"{}", "#".repeat(hashes)), hashes + 2));
        }
    }
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(at + 1),
            // A lifetime, not a character.
            _ if quote == '\'' && (at > 1 && !text[1..].starts_with('\\')) => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_no_code() {
        let text = "a // unsafe\nb(\"unsafe \\\" x\", 'u', r#\"unsafe \" x\"#) /* unsafe\n */ c";
        let code = blank(text);
        assert!(!code.contains("unsafe"), "{code}");
        assert_eq!(code.lines().count(), 3);
        assert!(code.starts_with("a ") && code.ends_with(" c"));
    }

    #[test]
    fn lifetimes_are_code() {
        assert_eq!(
            blank("fn f<'a>(x: &'a str) -> &'a str"),
            "fn f<'a>(x: &'a str) -> &'a str"
        );
        assert_eq!(blank("m('\\n', '\\'', x)"), "m(    ,     , x)");
    }

    #[test]
    fn an_inline_test_module_is_left_out() {
        let text = "fn a() {}\n\n#[cfg(test)]\nmod tests {\n    unsafe {}\n}\n";
        let source = Source::new("vmm/src/a.rs", text);
        assert_eq!(source.production_lines(), 2);
        assert!(!source.code.contains("unsafe"));
        let declared = Source::new("vmm/src/a.rs", "#[cfg(test)]\nmod tests;\nfn b() {}\n");
        assert!(declared.code.contains("fn b"));
    }
}

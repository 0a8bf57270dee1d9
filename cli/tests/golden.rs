//! What the program says and with which status it ends, word by word.
//!
//! Each file of `golden/` holds a command line, then the exit status, standard output and standard
//! error that belong to it. With `UPDATE_GOLDEN=1` the files are written instead of compared: the
//! difference is then read and committed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod fixture;

use std::fmt::Write;
use std::fs;
use std::path::Path;

use fixture::Fixture;

/// The words of `line`; quotes keep words together.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![];
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_ascii_whitespace().map(str::to_owned));
        }
    }
    words
}

fn transcript(fixture: &Fixture, line: &str) -> String {
    let words = words(line);
    let args: Vec<&str> = words.iter().map(String::as_str).collect();
    let ran = fixture.run(&args);
    let mut text = format!("$ pcp-vmm {line}\nstatus {}\n", ran.status);
    for (name, said) in [("out", ran.out), ("err", ran.err)] {
        if !said.is_empty() {
            write!(text, "--- {name}\n{said}").unwrap();
        }
    }
    text
}

#[test]
fn every_command_line_gives_its_transcript() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let fixture = Fixture::new();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut paths: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    paths.sort();
    assert!(paths.len() > 20, "where are the transcripts?");
    let mut differing = vec![];
    for path in paths {
        let want = fs::read_to_string(&path).unwrap();
        let line = want
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("$ pcp-vmm"));
        let line = line.unwrap_or_else(|| panic!("{} has no command line", path.display()));
        let have = transcript(&fixture, line.trim_start());
        if update {
            fs::write(&path, &have).unwrap();
        } else if have != want {
            differing.push(format!("{}:\n{have}", path.display()));
        }
    }
    assert!(
        differing.is_empty(),
        "other than recorded:\n{}",
        differing.join("\n")
    );
}

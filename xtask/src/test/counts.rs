//! How many tests passed, failed and were skipped, read from what test programs print.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Add;

/// Numbers of tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) skipped: usize,
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

/// The sum of all results in `output`: `test result:` lines of Rust's own harness and `Summary` lines of nextest.
pub(super) fn read(output: &str) -> Counts {
    let results = output.lines().filter(|line| {
        let line = line.trim_start();
        line.starts_with("test result: ")
            || (line.starts_with("Summary [") && line.contains(" run: "))
    });
    results.map(read_line).fold(Counts::default(), Add::add)
}

/// How one test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Passed,
    Failed,
    Skipped,
    /// It was started and nothing tells its end.
    Begun,
}

/// How the tests ended that Rust's own harness ran one after the other, as far as `output` tells.
pub(super) fn verdicts(output: &str) -> BTreeMap<String, Verdict> {
    let mut found = BTreeMap::new();
    let mut begun: Option<String> = None;
    for line in output.lines() {
        let mut end = line.trim_end();
        if let Some((name, rest)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.split_once(" ... "))
        {
            found.insert(name.to_owned(), Verdict::Begun);
            begun = Some(name.to_owned());
            end = rest.trim_end();
        }
        // Other output may stand between a test's name and its end.
        let verdict = match end {
            "ok" => Verdict::Passed,
            "FAILED" => Verdict::Failed,
            end if end.starts_with("ignored") => Verdict::Skipped,
            _ => continue,
        };
        if let Some(name) = begun.take() {
            found.insert(name, verdict);
        }
    }
    found
}

fn read_line(line: &str) -> Counts {
    let before = |word: &str| {
        let number = line.split([' ', ';', ',']).filter(|part| !part.is_empty());
        let mut last = "";
        for part in number {
            if part == word {
                return last.parse().unwrap_or(0);
            }
            last = part;
        }
        0
    };
    let failed = before("failed") + before("timed");
    Counts {
        passed: before("passed"),
        failed,
        skipped: before("ignored") + before("skipped"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_each_test_is_read() {
        let output = "running 4 tests\ntest a::b ... ok\ntest c ... ignored, no such thing\n\
            test d ... warn  main vmm: a word\nFAILED\ntest e ... lab: it ended\n[ 1.0] ok\n";
        let verdicts: Vec<_> = verdicts(output).into_iter().collect();
        let expected = [
            ("a::b", Verdict::Passed),
            ("c", Verdict::Skipped),
            ("d", Verdict::Failed),
            ("e", Verdict::Begun),
        ];
        assert_eq!(verdicts, expected.map(|(name, it)| (name.to_owned(), it)));
    }

    #[test]
    fn both_harnesses_are_understood() {
        let output = "running 3 tests\n\
            test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
            test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out\n\
                 Summary [   1.234s] 12 tests run: 10 passed (1 slow), 2 failed, 3 skipped\n";
        assert_eq!(
            read(output),
            Counts {
                passed: 17,
                failed: 4,
                skipped: 4
            }
        );
    }

    #[test]
    fn other_lines_count_nothing() {
        assert_eq!(
            read("7 passed, 1 failed\nSummary of things\n"),
            Counts::default()
        );
    }
}

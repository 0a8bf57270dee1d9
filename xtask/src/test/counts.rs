//! How many tests passed, failed and were skipped, read from what test programs print.

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

/// The names of the tests that failed, from the list at the end of what Rust's own harness prints.
pub(super) fn failed(output: &str) -> Vec<String> {
    let Some((_, list)) = output.rsplit_once("\nfailures:\n") else {
        return Vec::new();
    };
    let names = list.lines().map_while(|line| line.strip_prefix("    "));
    names.map(|name| name.trim().to_owned()).collect()
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
    fn the_failed_tests_are_named_at_the_end() {
        let output = "test a::b ... FAILED\n\nfailures:\n\n---- a::b stdout ----\nno\n\n\nfailures:\n    \
            a::b\n    c\n\ntest result: FAILED. 0 passed; 2 failed; 0 ignored";
        assert_eq!(failed(output), ["a::b", "c"]);
        assert_eq!(failed("test result: ok. 1 passed"), [""; 0]);
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

//! `bench devices`: what the devices' tests of speed say of themselves, without KVM: a driver in the test's own thread.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Options;
use super::table::{Row, Table};
use crate::{command, place};

/// What a test says of a figure begins so.
const MARK: &str = "speed: ";

/// Runs the tests as often as told and prints their figures.
pub(super) fn run(options: &Options) -> Result<()> {
    let mut tables: Vec<(String, Vec<Row>)> = Vec::new();
    for _ in 0..options.runs(5) {
        let said = tests()?;
        let figures: Vec<_> = said.lines().filter_map(figure).collect();
        if figures.is_empty() {
            bail!("the tests said nothing of their speed:\n{said}");
        }
        for (name, value, unit) in figures {
            let place = tables.iter().position(|(it, _)| it == unit);
            let place = place.unwrap_or_else(|| {
                tables.push((unit.to_owned(), Vec::new()));
                tables.len() - 1
            });
            let rows = &mut tables[place].1;
            match rows.iter_mut().find(|row| row.name == name) {
                Some(row) => row.push(value),
                None => {
                    let mut row = Row::new(name, unit);
                    row.push(value);
                    rows.push(row);
                }
            }
        }
    }
    for (unit, rows) in tables {
        Table {
            title: "The devices' own work, without KVM: files at their best, packets in the middle",
            unit: &unit,
            rows,
        }
        .print(options.json)?;
    }
    Ok(())
}

/// One run of the tests, one after the other; what they said.
fn tests() -> Result<String> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(place::top()).args([
        "test",
        "--quiet",
        "--release",
        "--locked",
        "--package",
        "devices",
        "--lib",
        "::speed::",
        "--",
        "--nocapture",
        "--test-threads",
        "1",
    ]);
    let done = cargo.output().context("cannot start cargo")?;
    let said = String::from_utf8_lossy(&[done.stderr, done.stdout].concat()).into_owned();
    if !done.status.success() {
        let last = command::last_lines(said.as_bytes(), 30);
        bail!("the tests of speed ended with {}:\n{last}", done.status);
    }
    Ok(said)
}

/// Name, value and unit of `speed: NAME: VALUE UNIT (REST`.
fn figure(line: &str) -> Option<(&str, f64, &str)> {
    let (_, line) = line.split_once(MARK)?;
    let (name, rest) = line.rsplit_once(": ")?;
    let mut words = rest.split_whitespace();
    let value = words.next()?.parse().ok()?;
    Some((name, value, words.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tests_line_gives_its_figure() {
        let line = "..speed: a frame of 4 KiB to the guest: 371 ns (10 % 350, mean 402)";
        let found = figure(line).unwrap();
        assert_eq!(found, ("a frame of 4 KiB to the guest", 371.0, "ns"));
        assert!(figure("test result: ok").is_none());
    }
}

//! Building the targets with the pinned toolchain, as cargo-fuzz would.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{apt, command, place};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Coverage for libFuzzer, address sanitizer, assertions: the flags of cargo-fuzz.
const FLAGS: [&str; 9] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "-Zsanitizer=address",
    "-Cdebug-assertions",
];

/// The names of all targets: those of the files in `fuzz/fuzz_targets`.
pub(super) fn targets() -> Result<Vec<String>> {
    let folder = place::top().join("fuzz/fuzz_targets");
    let list = || format!("cannot list {}", folder.display());
    let mut names = Vec::new();
    for entry in folder.read_dir().with_context(list)? {
        let path = entry.with_context(list)?.path();
        if path.extension().is_some_and(|it| it == "rs") {
            names.extend(path.file_stem().map(|it| it.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

/// What building and running the targets needs: libFuzzer is C++, and a target makes itself a network.
pub(super) fn set_up() -> Result<()> {
    apt::ensure(&["gcc", "g++", "libc6-dev", "iproute2", "util-linux", "mount"])
}

/// Where a target is built.
pub(super) fn path(target: &str) -> PathBuf {
    let folder = place::target().join("fuzz").join(TARGET);
    folder.join("release").join(target)
}

/// Builds the targets.
pub(super) fn build(targets: &[String]) -> Result<()> {
    let mut cargo = Command::new("cargo");
    // Not locked: a crate of the workspace may have another dependency than when this lock was written.
    cargo.args(["build", "--release", "--target", TARGET]);
    cargo.arg("--manifest-path");
    cargo.arg(place::top().join("fuzz/Cargo.toml"));
    cargo
        .arg("--target-dir")
        .arg(place::target().join("fuzz"))
        .args(targets.iter().flat_map(|target| ["--bin", target]))
        .current_dir(place::top())
        .env("RUSTFLAGS", FLAGS.join(" "))
        // The sanitizers are there in the pinned compiler, but behind the gate of unstable options.
        .env("RUSTC_BOOTSTRAP", "1");
    command::run(&mut cargo)
}

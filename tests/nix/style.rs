//! Every file of Nix parses, is formatted, and defines nothing that is not used.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Nix;
use super::nix::place;

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|it| it == "nix") {
            found.push(path);
        }
    }
    found
}

fn all() -> Vec<PathBuf> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = [place().join("flake"), place().join("stub"), tests.into()].map(|it| files(&it));
    let found = found.concat();
    assert!(found.len() > 30, "{found:?}");
    found
}

fn passes(program: &str, flag: &str) {
    let tool = place().join("tools/bin").join(program);
    let done = Command::new(tool).arg(flag).args(all()).output().unwrap();
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    assert!(done.status.success(), "{said}");
}

#[test]
fn every_file_parses() {
    for nix in Nix::both() {
        // Those of other tests are read by these.
        for file in all().into_iter().filter(|it| it.starts_with(place())) {
            let done = nix.run(&["nix-instantiate", "--parse", file.to_str().unwrap()]);
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            assert!(
                done.status.success(),
                "{}: {}: {said}",
                nix.name,
                file.display()
            );
        }
    }
}

#[test]
fn every_file_is_formatted() {
    passes("nixpkgs-fmt", "--check");
}

#[test]
fn nothing_is_defined_and_not_used() {
    // An overlay's arguments have their names, used or not.
    let tool = place().join("tools/bin/deadnix");
    let done = Command::new(tool)
        .args(["--fail", "--no-lambda-arg"])
        .args(all())
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stdout)
    );
}

//! What the tests of the flake need: two versions of Nix, linters, and the flake beside its stand-in of nixpkgs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{apt, command, debs, place, release};

/// The suite that has a current Nix. It is unpacked, not installed: its libraries are newer than the machine's.
const SUITE: &str = "sid";
/// The linter and the formatter, which Debian does not have.
const TOOLS: [(&str, &str); 2] = [("deadnix", "1.3.1"), ("nixpkgs-fmt", "1.3.0")];
/// What of the work tree the flake is made of.
const FLAKE: [&str; 5] = [
    "flake.nix",
    "flake.lock",
    "Cargo.toml",
    "nix",
    "guest/recipe",
];

/// The folder of the flake's tests.
pub(crate) fn place() -> PathBuf {
    place::target().join("xtask/nix")
}

/// Prepares a folder with `flake` and `stub`, copies of this work tree's; `current`, the root of a current Nix; and `tools`.
pub(crate) fn ensure() -> Result<PathBuf> {
    apt::ensure(&[
        "nix-bin",
        "bash-static",
        "busybox-static",
        "debian-archive-keyring",
        "gcc",
        "jq",
        "libc6-dev",
        "shellcheck",
        "util-linux",
    ])?;
    let dir = place();
    for old in ["flake", "stub", "current", "tools"] {
        remove(&dir.join(old))?;
    }
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    link(&current()?, &dir.join("current"))?;
    link(&tools()?, &dir.join("tools"))?;

    let flake = dir.join("flake");
    fs::create_dir_all(flake.join("guest")).context("cannot make the flake's folder")?;
    for part in FLAKE {
        copy(&place::top().join(part), &flake.join(part))?;
    }
    let stub = dir.join("stub");
    fs::rename(flake.join("nix/stub"), &stub).context("cannot move the stand-in of nixpkgs")?;
    let bin = stub.join("bin");
    fs::create_dir(&bin).context("cannot make the stand-in's programs")?;
    copy(Path::new("/bin/bash-static"), &bin.join("bash"))?;
    copy(Path::new("/bin/busybox"), &bin.join("busybox"))?;
    copy(&release::path(), &bin.join("pcp-vmm"))?;
    Ok(dir)
}

/// The root of a current Nix and its libraries.
fn current() -> Result<PathBuf> {
    let base = place::cache()?.join("nix");
    let dir = base.join(SUITE);
    debs::make_whole(&dir, |part| {
        eprintln!("fetching nix from {SUITE}");
        let lists = base.join("apt");
        let suite = apt::Suite::fetch(SUITE, &lists)?;
        let wanted = |name: &String| {
            let library = name.starts_with("lib") && !name.contains("perl");
            library || ["nix-bin", "bash-static", "zlib1g"].contains(&name.as_str())
        };
        let packages: Vec<String> = suite.closure("nix-bin", &lists)?;
        let packages: Vec<String> = packages.into_iter().filter(wanted).collect();
        let archives = base.join("debs");
        suite.download(&packages, &archives)?;
        // Where base-files, which is not among them, has them.
        for folder in ["bin", "lib", "lib64", "sbin"] {
            let inside = Path::new("usr").join(folder);
            fs::create_dir_all(part.join(&inside)).context("cannot make the root's folders")?;
            link(&inside, &part.join(folder))?;
        }
        debs::unpack(&archives, "", part)?;
        link(Path::new("bash-static"), &part.join("usr/bin/sh"))?;
        fs::remove_dir_all(&archives).context("cannot remove the packages")
    })
    .context("cannot prepare a current Nix")?;
    Ok(dir)
}

/// The folder with the linter and the formatter, built once.
fn tools() -> Result<PathBuf> {
    let name = TOOLS.map(|(name, version)| format!("{name}-{version}"));
    let dir = place::cache()?.join("nix-tools").join(name.join("-"));
    debs::make_whole(&dir, |part| {
        for (name, version) in TOOLS {
            let mut install = Command::new("cargo");
            install.args(["install", "--locked", "--version", version, name, "--root"]);
            command::run(install.arg(part)).with_context(|| format!("cannot install {name}"))?;
        }
        Ok(())
    })?;
    Ok(dir)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    command::run(Command::new("cp").arg("-a").arg(from).arg(to))
}

fn link(to: &Path, at: &Path) -> Result<()> {
    symlink(to, at).with_context(|| format!("cannot make {}", at.display()))
}

fn remove(path: &Path) -> Result<()> {
    command::run(Command::new("rm").arg("-rf").arg(path))
}

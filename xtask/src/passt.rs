//! A passt that speaks vhost-user, with its C library: Debian 12's is too old.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::{apt, debs, place};

/// The release that has it.
const SUITE: &str = "trixie";
const PACKAGES: [&str; 2] = ["passt", "libc6"];

/// The folder that the packages are unpacked in; fetched first if it is missing.
pub(crate) fn ensure() -> Result<PathBuf> {
    let base = place::cache()?.join("passt");
    let dir = base.join(SUITE);
    if dir.exists() {
        return Ok(dir);
    }
    eprintln!("fetching passt from {SUITE}");
    apt::ensure(&["debian-archive-keyring"])?;
    debs::make_whole(&dir, |part| {
        let suite = apt::Suite::fetch(SUITE, &base.join("apt"))?;
        let debs = base.join("debs");
        suite.download(&PACKAGES.map(String::from), &debs)?;
        for package in PACKAGES {
            debs::unpack(&debs, &format!("{package}_"), part)?;
        }
        fs::remove_dir_all(&debs).context("cannot remove the packages")
    })
    .context("cannot prepare passt")?;
    Ok(dir)
}

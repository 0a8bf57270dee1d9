//! The release binary: fully static, for musl.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{apt, command, place};

const TARGET: &str = "x86_64-unknown-linux-musl";
/// The size that the stripped binary must stay below.
pub(crate) const MAX_SIZE: u64 = 8 << 20;

/// What a machine needs to build the workspace.
pub(crate) fn set_up() -> Result<()> {
    // The linker for programs of the machine itself: build scripts, tests, xtask.
    apt::ensure(&["gcc", "libc6-dev"])?;
    let mut rustc = Command::new("rustc");
    rustc
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(place::top());
    let folder = command::text(&mut rustc)?;
    if Path::new(folder.trim()).exists() {
        return Ok(());
    }
    let mut rustup = Command::new("rustup");
    rustup
        .args(["target", "add", TARGET])
        .current_dir(place::top());
    command::run(&mut rustup).with_context(|| {
        format!("cannot add Rust's target {TARGET}; without rustup, install it by hand")
    })
}

/// The command that builds the image of `variant`, or finds it built.
pub(crate) fn image_command(variant: &str) -> Command {
    let mut build = Command::new(path());
    build.args(["image", "build", "--variant", variant, "--install-missing"]);
    if !rustix::process::geteuid().is_root() {
        // Only root can give the files of a shared folder their owners.
        build.args(["--root-disk", "erofs"]);
    }
    build
}

/// The command that builds the binary.
pub(crate) fn build_command() -> Command {
    let mut cargo = Command::new("cargo");
    cargo.args([
        "build",
        "--release",
        "--locked",
        "--package",
        "pcp-vmm-cli",
        "--target",
        TARGET,
    ]);
    cargo.current_dir(place::top());
    cargo
}

/// Where the binary is built.
pub(crate) fn path() -> PathBuf {
    place::target().join(TARGET).join("release/pcp-vmm")
}

/// An error if the file is not a small static program: one with a dynamic loader or larger than [`MAX_SIZE`].
pub(crate) fn check(path: &Path) -> Result<u64> {
    let program = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let size = u64::try_from(program.len())?;
    if needs_loader(&program).context("the binary is no 64-bit ELF file")? {
        bail!(
            "{} is not static: it names a dynamic loader",
            path.display()
        );
    }
    if size >= MAX_SIZE {
        bail!(
            "{} has {size} bytes; it must stay below {MAX_SIZE}",
            path.display()
        );
    }
    Ok(size)
}

/// Whether a 64-bit ELF file has a `PT_INTERP` program header.
fn needs_loader(elf: &[u8]) -> Option<bool> {
    const PT_INTERP: u32 = 3;
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let half = |at: usize| {
        Some(usize::from(u16::from_le_bytes(
            elf.get(at..at + 2)?.try_into().ok()?,
        )))
    };
    let table = usize::try_from(u64::from_le_bytes(elf.get(32..40)?.try_into().ok()?)).ok()?;
    let (size, count) = (half(54)?, half(56)?);
    for index in 0..count {
        let at = table.checked_add(index * size)?;
        let kind = u32::from_le_bytes(elf.get(at..at.checked_add(4)?)?.try_into().ok()?);
        if kind == PT_INTERP {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_is_told_from_others() {
        let shell = fs::read("/bin/sh").unwrap();
        assert_eq!(needs_loader(&shell), Some(true));
        assert_eq!(needs_loader(&shell[..70]), None);
        assert_eq!(needs_loader(b"#!/bin/sh\n"), None);
    }
}

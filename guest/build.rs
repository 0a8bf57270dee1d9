//! Compiles the guest's init for the static target and leaves it where `src/init.rs` embeds it.
//!
//! The init runs inside guests whatever the host's target is, so it is always x86_64-unknown-linux-musl.
//! It uses the standard library alone: one call of the same `rustc`, no registry and no second cargo.
//! `PCP_VMM_GUEST_INIT` names a ready-made one instead, for builders that lack the target.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const TARGET: &str = "x86_64-unknown-linux-musl";

fn main() -> Result<(), Box<dyn Error>> {
    // Without the builder of images nothing embeds it, and the target may not be there yet.
    if env::var_os("CARGO_FEATURE_IMAGE").is_none() {
        return Ok(());
    }
    println!("cargo::rerun-if-changed=init");
    println!("cargo::rerun-if-changed=src/wire.rs");
    println!("cargo::rerun-if-changed=src/wire");
    println!("cargo::rerun-if-env-changed=PCP_VMM_GUEST_INIT");
    let output = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?).join("init");
    match env::var_os("PCP_VMM_GUEST_INIT") {
        Some(path) => {
            println!("cargo::rerun-if-changed={}", Path::new(&path).display());
            fs::copy(&path, &output)?;
            Ok(())
        }
        None => compile(&output),
    }
}

fn compile(output: &Path) -> Result<(), Box<dyn Error>> {
    let rustc = env::var_os("RUSTC").ok_or("RUSTC is not set")?;
    let mut command = Command::new(rustc);
    command.args([
        "--crate-name",
        "init",
        "--crate-type",
        "bin",
        "--edition",
        "2024",
    ]);
    command.args(["--target", TARGET, "--cap-lints", "allow"]);
    for option in [
        "opt-level=s",
        "panic=abort",
        "lto=fat",
        "codegen-units=1",
        "strip=symbols",
        "relocation-model=static",
    ] {
        command.args(["-C", option]);
    }
    command.arg("-o").arg(output).arg("init/main.rs");
    if command.status()?.success() {
        return Ok(());
    }
    Err(format!(
        "the guest's init does not compile; if the target is missing: rustup target add {TARGET}, \
         or set PCP_VMM_GUEST_INIT to a ready-made init"
    )
    .into())
}

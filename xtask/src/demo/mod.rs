//! `cargo xtask demo`: from a fresh machine to a PCP guest that answers, in one command without questions.

mod guest;
mod phases;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use phases::Phases;

use crate::{apt, command, lab, place, release};

/// What `cargo xtask demo` is told.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// The second half, where KVM works: starts the guest with this program
    #[arg(long, hide = true, value_name = "FILE")]
    start: Option<PathBuf>,
}

/// Sets up, builds, boots, asks, powers off.
pub(crate) fn main(args: &DemoArgs) -> Result<ExitCode> {
    if let Some(vmm) = &args.start {
        guest::show(vmm)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut phases = Phases::begin();
    release::set_up()?;
    apt::ensure(&["openssh-client"])?;
    phases.done("the machine has what the build needs");

    step("building the static binary (the first time this takes some minutes)");
    let built = release::build_command()
        .status()
        .context("cannot start cargo")?;
    if !built.success() {
        bail!("cannot build the program");
    }
    let vmm = release::path();
    release::check(&vmm)?;
    phases.done("the binary is built");

    step("building the base image from Debian packages (the first time this takes some minutes)");
    build_image()?;
    phases.done("the image is built");

    if lab::has_hardware_kvm() {
        step("starting the guest on this machine's KVM");
        guest::show(&vmm)?;
    } else {
        step("this machine's KVM cannot run stock kernels: starting the guest in the lab");
        in_lab(&vmm)?;
    }
    phases.done("the guest was started, asked and powered off");
    println!("\nthis command:");
    phases.print();
    Ok(ExitCode::SUCCESS)
}

fn step(what: &str) {
    println!("== {what}");
}

/// The folder of the base image.
pub(crate) fn bundle() -> Result<PathBuf> {
    Ok(place::cache()?.join("images/base"))
}

/// Builds the image of the variant `base`, or finds it built.
pub(crate) fn build_image() -> Result<()> {
    let mut build = release::image_command("base");
    let status = build.stdin(Stdio::null()).status();
    let status = status.with_context(|| format!("cannot start {}", command::name(&build)))?;
    if !status.success() {
        bail!(
            "cannot build the image: {} ended with {status}",
            command::name(&build)
        );
    }
    Ok(())
}

/// Runs the second half of the demonstration in the lab.
fn in_lab(vmm: &Path) -> Result<()> {
    let xtask = env::current_exe().context("cannot find this program")?;
    let begin = Instant::now();
    let mut call = Command::new(&xtask);
    call.args(["lab", "--force-lab", "--timeout", "900"]);
    // The guest's root is a folder of many small files.
    call.arg("--image-of").arg(bundle()?);
    call.arg("--")
        .arg(&xtask)
        .args(["demo", "--start"])
        .arg(vmm);
    let status = call
        .current_dir(place::top())
        .status()
        .context("cannot start the lab")?;
    if !status.success() {
        bail!("the lab ended with {status} after {:.0?}", begin.elapsed());
    }
    Ok(())
}

//! `cargo xtask bench`: the program beside QEMU, measured by one harness in alternated runs.
//!
//! Where a measurement needs stock kernels and the machine's KVM cannot run them, xtask calls itself in the lab. Absolute
//! times in the lab mean little; the ratios of two programs in the same lab do.

mod boot;
mod contestant;
mod devices;
mod exec;
mod init;
mod lifecycle;
mod loads;
mod mem;
mod net;
mod peers;
mod qemu;
mod ready;
mod sandbox;
mod start;
mod table;
mod user_exits;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::{env, fs};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use loads::Subject;

use crate::{apt, command, lab, place, release};

/// What `cargo xtask bench` is told.
#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// From exec to the first byte of a tiny guest, and to the end; on /dev/kvm itself
    Start(Options),
    /// A stock kernel from start to power-off; in the lab
    Boot(Options),
    /// The base guest from start to an answering pmcd; in the lab
    Ready(Options),
    /// The lifecycle suite of the base guest, phase by phase; in the lab
    Lifecycle(Options),
    /// A command in a VM of its own, beside virtme-ng and vmtest; in the lab
    Exec(Options),
    /// A derivation that Nix builds in a VM; in the lab
    Sandbox(Options),
    /// A shared folder, over virtio-fs and 9p; in the lab
    Fs(Options),
    /// A disk; in the lab
    Blk(Options),
    /// 64 MiB through hvc0, and the cost of a byte on ttyS0; in the lab
    Console(Options),
    /// TCP between a guest and the host; in the lab
    Net(Options),
    /// What a frame and a cached read cost, without KVM: the devices' tests of speed
    Devices(Options),
    /// The program's own memory beyond its guest's; on /dev/kvm itself
    Mem(Options),
}

#[derive(Args, Debug, Clone)]
struct Options {
    /// Measured runs of each contestant
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    runs: Option<u16>,
    /// Writes the results as JSON
    #[arg(long)]
    json: bool,
    /// Counts instructions as time (lab only): slow, repeatable
    #[arg(long)]
    icount: bool,
    /// The QEMU to compare with [default: the one in the search path]
    #[arg(long, value_name = "FILE")]
    qemu: Option<PathBuf>,
    /// The program to measure [default: the release binary, built first]
    #[arg(long, value_name = "FILE")]
    vmm: Option<PathBuf>,
    /// Another build of the program, measured in turn with it (`fs`, `blk` and `console`)
    #[arg(long, value_name = "FILE")]
    before: Option<PathBuf>,
    /// The base guest, for `ready` with an EROFS disk as its root, for `lifecycle` with a share [default: built first]
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// Measures only the contestants whose names contain this (`fs`, `blk`, `console` and `net`)
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Measures only the parts of the load whose names contain this (`fs`)
    #[arg(long, value_name = "TEXT")]
    part: Option<String>,
    /// Files of the tree that `fs` lists and asks for
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    files: Option<u32>,
    /// The program of the load (for `fs`, `blk` and `console`) [default: built first]
    #[arg(long, value_name = "FILE", hide = true)]
    load: Option<PathBuf>,
}

impl Options {
    fn runs(&self, default: u16) -> usize {
        usize::from(self.runs.unwrap_or(default))
    }

    /// Whether the contestant `name` is wanted.
    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|text| name.contains(&**text))
    }

    fn qemu(&self) -> Result<PathBuf> {
        if let Some(path) = &self.qemu {
            return Ok(path.clone());
        }
        apt::ensure(&["qemu-system-x86"])?;
        apt::which("qemu-system-x86_64").context("`qemu-system-x86_64` is missing")
    }

    /// The program: as given, or built now.
    fn vmm(&self) -> Result<PathBuf> {
        if let Some(path) = &self.vmm {
            return fs::canonicalize(path).with_context(|| format!("no file {}", path.display()));
        }
        release::set_up()?;
        command::run(release::build_command().arg("--quiet"))?;
        Ok(release::path())
    }
}

/// Measures, and prints a table or JSON.
pub(crate) fn main(args: &BenchArgs) -> Result<ExitCode> {
    match &args.what {
        What::Start(options) => start::run(options)?,
        What::Devices(options) => devices::run(options)?,
        What::Mem(options) => mem::run(options)?,
        What::Boot(options) => {
            if options.icount || !lab::has_hardware_kvm() {
                return in_lab("boot", options);
            }
            boot::run(options)?;
        }
        What::Ready(options) => {
            if !lab::has_hardware_kvm() && env::var_os("PCP_VMM_LAB").is_none() {
                return in_lab("ready", options);
            }
            ready::run(options)?;
        }
        What::Lifecycle(options) => {
            if !lab::has_hardware_kvm() && env::var_os("PCP_VMM_LAB").is_none() {
                return in_lab("lifecycle", options);
            }
            lifecycle::run(options)?;
        }
        What::Exec(options) => {
            if !lab::has_hardware_kvm() && env::var_os("PCP_VMM_LAB").is_none() {
                return in_lab("exec", options);
            }
            exec::run(options)?;
        }
        What::Sandbox(options) => {
            if !lab::has_hardware_kvm() && env::var_os("PCP_VMM_LAB").is_none() {
                return in_lab("sandbox", options);
            }
            sandbox::run(options)?;
        }
        What::Fs(options) => {
            let files = options.files.unwrap_or(100_000);
            return load(Subject::Fs { files }, "fs", options);
        }
        What::Blk(options) => return load(Subject::Blk, "blk", options),
        What::Console(options) => return load(Subject::Console, "console", options),
        What::Net(options) => {
            if options.icount || !lab::has_hardware_kvm() && env::var_os("PCP_VMM_LAB").is_none() {
                return in_lab("net", options);
            }
            net::run(options)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn load(subject: Subject, name: &str, options: &Options) -> Result<ExitCode> {
    if !lab::has_hardware_kvm() && env::var_os("PCP_VMM_LAB").is_none() {
        return in_lab(name, options);
    }
    loads::run(subject, options)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the measurement `name` by this same program in the lab.
fn in_lab(name: &str, options: &Options) -> Result<ExitCode> {
    if env::var_os("PCP_VMM_LAB").is_some() {
        bail!("the lab's KVM does not work");
    }
    let vmm = options.vmm()?;
    let xtask = env::current_exe().context("cannot find this program")?;
    let mut call = Command::new(&xtask);
    // A timer that goes off late adds the same time to both programs.
    call.args([
        "lab",
        "--force-lab",
        "--timeout",
        "3000",
        "--precise-timers",
    ]);
    // One processor, with which the emulated machine is reliable.
    call.args(["--smp", "1"]);
    // All of it is written to between two runs.
    if name == "boot" {
        call.args(["--mem", "2048"]);
    }
    let bundle = match name {
        "ready" => Some(options.bundle.clone().map_or_else(ready::prepare, Ok)?),
        "lifecycle" => Some(options.bundle.clone().map_or_else(lifecycle::prepare, Ok)?),
        _ => None,
    };
    if let (Some(bundle), "lifecycle") = (&bundle, name) {
        // Its root is a folder of many small files.
        call.arg("--image-of").arg(bundle);
    }
    if name == "exec" {
        for folder in exec::prepare(&vmm)? {
            call.arg("--image-of").arg(folder);
        }
    }
    if name == "sandbox" {
        sandbox::prepare(&vmm)?;
    }
    if options.icount {
        call.arg("--icount").env(contestant::COUNTED, "1");
    }
    call.arg("--")
        .arg(&xtask)
        .args(["bench", name, "--vmm"])
        .arg(vmm);
    if let Some(runs) = options.runs {
        call.args(["--runs", &runs.to_string()]);
    }
    if let Some(only) = &options.only {
        call.args(["--only", only]);
    }
    if let Some(before) = &options.before {
        call.arg("--before").arg(fs::canonicalize(before)?);
    }
    if let Some(part) = &options.part {
        call.args(["--part", part]);
    }
    if let Some(files) = options.files {
        call.args(["--files", &files.to_string()]);
    }
    call.arg("--qemu").arg(options.qemu()?);
    if options.json {
        call.arg("--json");
    }
    if matches!(name, "fs" | "blk" | "console") {
        let load = options.load.clone().map_or_else(loads::prepare, Ok)?;
        call.arg("--load").arg(load);
    }
    if let Some(bundle) = bundle {
        call.arg("--bundle").arg(bundle);
    }
    // Fetched here, where there is a network.
    call.env("PCP_VMM_KERNELS", crate::kernels::ensure()?);
    let status = call
        .current_dir(place::top())
        .status()
        .context("cannot start the lab")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

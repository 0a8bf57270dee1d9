//! `bench start`: how long a program takes to have a guest run, and to be gone again.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use pcp_vmm_tests::guests::{Code, Stop};

use super::Options;
use super::contestant::{Contestant, alternate};
use super::table::{Row, Table, milliseconds};

/// The port of QEMU's isa-debug-exit, and the status that the value 0 makes.
const DEBUG_EXIT: u16 = 0x501;
const LIMIT: Duration = Duration::from_secs(10);

/// Measures both programs with the same guest, ours also without its sandbox.
pub(super) fn run(options: &Options) -> Result<()> {
    let vmm = options.vmm()?;
    let qemu = options.qemu()?;
    let folder = tempfile::tempdir().context("cannot make a folder for the guest")?;
    let kernel = folder.path().join("kernel");
    // The same guest for all: what stops one is an unclaimed port of the other.
    let code = Code::default()
        .print("!")
        .out(DEBUG_EXIT, 0)
        .stop(Stop::PowerOff);
    code.write(&kernel)?;
    let open = Contestant {
        name: "pcp-vmm --sandbox off".into(),
        ..ours(&vmm, &kernel).args(["--sandbox", "off"])
    };
    let contestants = [microvm(&qemu, &kernel), ours(&vmm, &kernel), open];
    let mut first: Vec<_> = contestants
        .iter()
        .map(|it| Row::new(format!("{}: first byte", it.name), "first byte"))
        .collect();
    let mut end: Vec<_> = contestants
        .iter()
        .map(|it| Row::new(format!("{}: end", it.name), "end"))
        .collect();
    alternate(&contestants, options.runs(51), LIMIT, |index, run| {
        first[index].push(milliseconds(run.first_byte));
        end[index].push(milliseconds(run.end));
    })?;
    first.extend(end);
    let title = "From exec to a tiny guest's first byte, and to the end; 128 MiB, 1 vCPU";
    Table {
        title,
        unit: "ms",
        rows: first,
    }
    .print(options.json)
}

fn ours(vmm: &Path, kernel: &Path) -> Contestant {
    Contestant::new("pcp-vmm", vmm)
        .args([
            "run",
            "--kernel",
            &kernel.to_string_lossy(),
            "--memory",
            "128M",
            "--cpus",
            "1",
        ])
        .args(["--net", "none", "--console", "stdio"])
}

fn microvm(qemu: &Path, kernel: &Path) -> Contestant {
    let machine = "microvm,acpi=off,pit=off,pic=off,rtc=off,isa-serial=on,x-option-roms=off";
    Contestant::new("QEMU microvm", qemu)
        .args([
            "-M",
            machine,
            "-accel",
            "kvm",
            "-cpu",
            "host,-arch-capabilities",
            "-m",
            "128",
            "-smp",
            "1",
        ])
        .args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-serial",
            "stdio",
        ])
        .args([
            "-device",
            &format!("isa-debug-exit,iobase={DEBUG_EXIT:#x},iosize=1"),
        ])
        .args(["-kernel", &kernel.to_string_lossy()])
        .codes(&[1])
}

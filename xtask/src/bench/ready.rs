//! `bench ready`: the base guest from the program's start to an answering pmcd, beside QEMU with the
//! same kernel, initrd, root disk and command line.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context, Result, bail};
use pcp_vmm_tests::ssh::{Ssh, speaks};
use serde_json::Value;

use super::Options;
use super::contestant::{Contestant, refresh};
use super::qemu::microvm;
use super::table::{Row, Table};
use crate::{command, place, release};

const PMCD: u16 = 44321;
const SSH: u16 = 22022;
const LIMIT: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(20);
/// Processors of the guest.
const CPUS: &str = "2";
/// The guest's own account of its start.
const UNITS: &str = "systemd-analyze; systemd-analyze blame --no-pager | head -15";

/// Builds the guest with its root on a disk, which both programs can serve.
pub(super) fn prepare() -> Result<PathBuf> {
    let folder = place::cache()?.join("images/base-disk");
    let mut build = release::image_command("base");
    if rustix::process::geteuid().is_root() {
        build.args(["--root-disk", "erofs"]);
    }
    build.arg("--output").arg(&folder).stdout(Stdio::null());
    command::run(&mut build)?;
    Ok(folder)
}

/// Measures both programs in turn.
pub(super) fn run(options: &Options) -> Result<()> {
    let bundle = match &options.bundle {
        Some(bundle) => bundle.clone(),
        None => prepare()?,
    };
    // In memory: reading the files is not measured.
    let files = tempfile::tempdir().context("cannot make a folder")?;
    for name in ["bundle.json", "kernel", "initrd", "root.erofs"] {
        let to = files.path().join(name);
        fs::copy(bundle.join(name), to).with_context(|| format!("cannot copy `{name}`"))?;
    }
    let ours = Contestant::new("pcp-vmm", &options.vmm()?)
        .args(["run", "--no-progress", "--cpus", CPUS, "--bundle"])
        .args([files.path().to_string_lossy()]);
    let pair = [qemu(&options.qemu()?, files.path())?, ours];
    let mut rows = pair.each_ref().map(|it| Row::new(&it.name, "ready"));
    let mut units = pair.each_ref().map(|_| String::new());
    for _ in 0..options.runs(3) {
        for ((contestant, row), units) in pair.iter().zip(&mut rows).zip(&mut units) {
            refresh()?;
            let (time, said) = ready(contestant)?;
            row.push(time.as_secs_f64());
            *units = said;
        }
    }
    let title = if env::var_os("PCP_VMM_LAB").is_some() {
        "The base guest from start to an answering pmcd, in the lab; 1024 MiB, 2 vCPUs"
    } else {
        "The base guest from start to an answering pmcd; 1024 MiB, 2 vCPUs"
    };
    let rows = rows.to_vec();
    Table {
        title,
        unit: "s",
        rows,
    }
    .print(options.json)?;
    if !options.json {
        for (contestant, units) in pair.iter().zip(units) {
            println!(
                "\n{}, the guest's slowest units in its last run:\n{units}",
                contestant.name
            );
        }
    }
    Ok(())
}

/// QEMU with the devices of a variant.
fn qemu(program: &Path, files: &Path) -> Result<Contestant> {
    let manifest = fs::read(files.join("bundle.json")).context("cannot read the manifest")?;
    let manifest: Value = serde_json::from_slice(&manifest).context("the manifest is no JSON")?;
    let cmdline = manifest["cmdline"]
        .as_str()
        .context("the manifest has no command line")?;
    let file = |name: &str| files.join(name).to_string_lossy().into_owned();
    let net = format!("user,id=n,hostfwd=tcp::{PMCD}-:{PMCD},hostfwd=tcp::{SSH}-:22");
    let disk = format!(
        "if=none,id=d,format=raw,readonly=on,file={}",
        file("root.erofs")
    );
    Ok(microvm("QEMU microvm", program, "1024", CPUS)
        .args([
            "-kernel",
            &file("kernel"),
            "-initrd",
            &file("initrd"),
            "-append",
            cmdline,
        ])
        .args([
            "-serial",
            "tcp:127.0.0.1:24500,server,nowait",
            "-netdev",
            &net,
        ])
        .args([
            "-device",
            "virtio-net-pci,netdev=n,romfile=",
            "-drive",
            &disk,
        ])
        .args([
            "-device",
            "virtio-blk-pci,drive=d,serial=root",
            "-device",
            "virtio-rng-pci",
        ])
        .args([
            "-chardev",
            "socket,id=c,host=127.0.0.1,port=24501,server=on,wait=off",
        ])
        .args([
            "-device",
            "virtio-serial-pci",
            "-device",
            "virtconsole,chardev=c",
        ]))
}

/// Starts the guest, waits for pmcd, asks for its units, and powers it off.
fn ready(contestant: &Contestant) -> Result<(Duration, String)> {
    let mut words = Command::new(&contestant.words[0]);
    words.args(&contestant.words[1..]);
    words
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let begin = Instant::now();
    let mut child = words
        .spawn()
        .with_context(|| format!("cannot start {}", contestant.name))?;
    let mut wait = |what: &str, holds: &mut dyn FnMut() -> bool| -> Result<()> {
        while !holds() {
            if let Some(status) = child.try_wait().context("cannot wait for a program")? {
                bail!("{} ended with {status} before {what}", contestant.name);
            }
            if begin.elapsed() > LIMIT {
                child.kill().context("cannot end a program")?;
                bail!("{} had no {what} within {LIMIT:?}", contestant.name);
            }
            thread::sleep(POLL);
        }
        Ok(())
    };
    wait("pmcd", &mut || speaks(PMCD))?;
    let time = begin.elapsed();
    let ssh = Ssh::new(SSH, "pcp")?;
    let mut units = String::new();
    wait("finished start", &mut || match ssh.text(UNITS, LIMIT) {
        Ok(said) => {
            units = said;
            true
        }
        Err(_) => false,
    })?;
    let _ = ssh.run("systemctl poweroff", LIMIT);
    let end = Instant::now() + LIMIT;
    while child
        .try_wait()
        .context("cannot wait for a program")?
        .is_none()
    {
        if Instant::now() > end {
            child.kill().context("cannot end a program")?;
        }
        thread::sleep(POLL);
    }
    Ok((time, units))
}

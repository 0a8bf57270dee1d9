//! `bench exec`: a command that does nothing, in a VM of its own with one and the same Debian kernel, by this program and by
//! virtme-ng and vmtest on QEMU.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Options;
use super::contestant::{Contestant, alternate};
use super::peers::{Guest, Installed, Peers};
use super::table::{Row, Table};
use crate::command;

/// A series of Debian's kernels that has 9p, which vmtest wants.
const SERIES: &str = "6.1";
const GUEST: Guest = Guest {
    memory: "512M",
    cpus: "1",
};
const LIMIT: Duration = Duration::from_secs(300);
/// The part of the better peer's time that this program may take.
const WANTED: f64 = 0.5;
/// Shows that a program runs the right kernel and tells how the command ended.
const PROOF: &str = "uname -r; exit 7";

/// The folders of many small files that the measurement reads, fetched first if they are missing.
pub(super) fn prepare(vmm: &Path) -> Result<Vec<PathBuf>> {
    let peers = Peers::ensure()?;
    if kernel(vmm)?.is_none() {
        let mut add = Command::new(vmm);
        command::run(add.args(["kernel", "add", SERIES, "--flavour", "standard"]))?;
    }
    let mut folders = vec![kernel(vmm)?.context("the kernel is not in the cache")?];
    folders.extend(peers.folders().map(Path::to_owned));
    Ok(folders)
}

/// The folder of the kernel, if the program's cache has it.
fn kernel(vmm: &Path) -> Result<Option<PathBuf>> {
    let flavour = |release: &str| !release.contains("-cloud-");
    let mut list = Command::new(vmm);
    let list = command::text(list.args(["kernel", "ls", "--json"]))?;
    let list: Value = serde_json::from_str(&list).context("the list of kernels is no JSON")?;
    let found = list
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|it| Some((it["release"].as_str()?, it["path"].as_str()?)))
        .find(|(release, _)| release.starts_with(&format!("{SERIES}.")) && flavour(release));
    Ok(found.map(|(_, folder)| folder.into()))
}

/// Measures the three programs in turn.
pub(super) fn run(options: &Options) -> Result<()> {
    let vmm = options.vmm()?;
    let qemu = options.qemu()?;
    if env::var_os("PCP_VMM_LAB").is_none() {
        prepare(&vmm)?;
    }
    let peers = Peers::ensure()?;
    let cached = kernel(&vmm)?.context("the kernel is not in the cache")?;
    // As on a machine that has this kernel installed, and in memory.
    let files = tempfile::tempdir().context("cannot make a folder")?;
    let release = cached.file_name().context("the kernel has no release")?;
    let release = release.to_string_lossy().into_owned();
    let image = files.path().join(format!("boot/vmlinuz-{release}"));
    let modules = files.path().join("lib/modules").join(&release);
    for file in [&image, &modules] {
        fs::create_dir_all(file.parent().unwrap_or(file)).context("cannot make a folder")?;
    }
    fs::copy(cached.join("vmlinuz"), &image).context("cannot copy the kernel")?;
    symlink(cached.join("modules"), &modules).context("cannot make a link to the modules")?;
    let program = files.path().join("pcp-vmm");
    fs::copy(&vmm, &program).context("cannot copy the program")?;
    let kernel = Installed {
        image: &image,
        modules: &modules,
    };
    let ours = |words: &[&str]| {
        Contestant::new("pcp-vmm", &program)
            .args(["exec", "--kernel", &image.to_string_lossy()])
            .args(["--memory", GUEST.memory, "--cpus", GUEST.cpus])
            .args([
                "--runtime-dir",
                &files.path().join("running").to_string_lossy(),
            ])
            .args(["--"])
            .args(words)
    };
    let all = |line: &str, words: &[&str], folder: &str| -> Result<[Contestant; 3]> {
        Ok([
            peers.virtme_ng(&qemu, &kernel, &GUEST, line),
            peers.vmtest(&qemu, &kernel, &GUEST, line, &files.path().join(folder))?,
            ours(words),
        ])
    };
    for proof in all(PROOF, &["sh", "-c", PROOF], "proof")? {
        let said = proof.codes(&[7]).said(LIMIT)?;
        if !said.contains(&release) {
            bail!("the command did not run on {release}:\n{said}");
        }
    }
    let contestants = all("true", &["true"], "true")?.map(Contestant::silent);
    let mut rows = contestants.each_ref().map(|it| Row::new(&it.name, "exec"));
    alternate(&contestants, options.runs(3), LIMIT, |index, run| {
        rows[index].push(run.end.as_secs_f64());
    })?;
    print(options, &rows)
}

fn print(options: &Options, rows: &[Row; 3]) -> Result<()> {
    let [virtme_ng, vmtest, ours] = rows;
    let better = if virtme_ng.median() < vmtest.median() {
        virtme_ng
    } else {
        vmtest
    };
    let (mut first, mut second) = (better.clone(), ours.clone());
    for row in [&mut first, &mut second] {
        row.group = "better".into();
    }
    second.name = format!("pcp-vmm, to {}", better.name);
    let mut all = rows.to_vec();
    all.extend([first, second]);
    let title = if env::var_os("PCP_VMM_LAB").is_some() {
        "`true` in a VM of its own with Debian's 6.1, in the lab; 512 MiB, 1 vCPU"
    } else {
        "`true` in a VM of its own with Debian's 6.1; 512 MiB, 1 vCPU"
    };
    let part = ours.median() / better.median();
    Table {
        title,
        unit: "s",
        rows: all,
    }
    .print(options.json)?;
    if !options.json {
        println!(
            "\npcp-vmm takes {part:.2} of the time of {}; at most {WANTED:.2} is wanted",
            better.name
        );
    }
    if part > WANTED {
        bail!(
            "pcp-vmm takes {part:.2} of the time of {}, more than {WANTED:.2}",
            better.name
        );
    }
    Ok(())
}

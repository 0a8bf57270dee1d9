//! `bench sandbox`: what a VM adds to a derivation that Nix builds, with this program's VM and with QEMU's as nixpkgs' vmTools
//! start it.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, Result, bail};

use super::Options;
use super::contestant::{Contestant, alternate};
use super::peers;
use super::table::{Row, Table};
use crate::initrd::Recipe;
use crate::{apt, command, lab, place};

/// A series of Debian's kernels.
const SERIES: &str = "6.12";
const LIMIT: Duration = Duration::from_secs(300);
/// The part of QEMU's overhead that this program's may be.
const WANTED: f64 = 0.5;
/// What builders call.
const APPLETS: [&str; 10] = [
    "cat", "chmod", "cp", "echo", "mkdir", "mount", "poweroff", "sh", "sleep", "test",
];
/// What QEMU's guest loads for its shares, where it is not built in.
const MODULES: [&str; 2] = ["virtio_pci", "virtiofs"];
/// Set in the namespace that has a store of its own.
const INSIDE: &str = "PCP_VMM_BENCH_STORE";

/// Fetches what the measurement takes.
pub(super) fn prepare(vmm: &Path) -> Result<()> {
    apt::ensure(&["nix-bin", "busybox-static"])?;
    peers::virtiofsd()?;
    let mut add = Command::new(vmm);
    command::run(add.args(["kernel", "add", SERIES]))
}

/// Measures, in a mount namespace with a store of its own.
pub(super) fn run(options: &Options) -> Result<()> {
    if let Some(folder) = env::var_os(INSIDE) {
        return measure(options, Path::new(&folder));
    }
    let vmm = options.vmm()?;
    if env::var_os("PCP_VMM_LAB").is_none() {
        prepare(&vmm)?;
    }
    let folder = tempfile::tempdir_in("/var/tmp").context("cannot make a folder")?;
    // Debian's QEMU needs no sandbox for that, and virtiofsd may need rights.
    let settings = "sandbox = false\nbuild-users-group =\nsubstitute = false\nsystem-features = kvm\nmax-jobs = 1\n";
    fs::write(folder.path().join("nix.conf"), settings).context("cannot write nix.conf")?;
    let mut inside = Command::new("unshare");
    inside.args(["--mount", "sh"]);
    inside.arg(place::top().join("tests/variants/nix/private.sh"));
    inside.arg(folder.path()).arg(env::current_exe()?);
    inside.args(["bench", "sandbox", "--vmm"]).arg(vmm);
    inside.arg("--qemu").arg(options.qemu()?);
    inside.args(["--runs", &options.runs(5).to_string()]);
    if options.json {
        inside.arg("--json");
    }
    // It has a home of its own there.
    let cache = place::cache()?;
    inside
        .env("PCP_VMM_CACHE", &cache)
        .env(INSIDE, folder.path());
    inside.env("XDG_CACHE_HOME", cache.parent().unwrap_or(&cache));
    // It has told why, if it failed.
    match inside.status().context("cannot start `unshare`")? {
        status if status.success() => Ok(()),
        status => bail!("the measurement ended with {status}"),
    }
}

/// The folder of the newest kernel of the series in the program's cache.
fn kernel(vmm: &Path) -> Result<PathBuf> {
    let mut show = Command::new(vmm);
    let text = command::text(show.args(["--json", "kernel", "show", SERIES]))?;
    let shown: serde_json::Value = serde_json::from_str(&text).context("no JSON")?;
    let image = shown["kernel"].as_str().context("the kernel has no file")?;
    let folder = Path::new(image).parent().context("it has no folder")?;
    Ok(folder.to_owned())
}

fn measure(options: &Options, folder: &Path) -> Result<()> {
    let vmm = options.vmm()?;
    let kernel = kernel(&vmm)?;
    let tools = folder.join("tools");
    fs::create_dir_all(tools.join("bin")).context("cannot make a folder")?;
    fs::copy("/bin/busybox", tools.join("bin/busybox")).context("cannot copy busybox")?;
    for name in APPLETS {
        symlink("busybox", tools.join("bin").join(name)).context("cannot make a link")?;
    }
    let recipe = Recipe {
        busybox: &lab::busybox()?,
        modules: &kernel.join("modules"),
        wanted: &MODULES,
        more: &[],
        init: include_bytes!("sandbox-init"),
        job_folder: false,
    };
    let initrd = folder.join("initrd");
    fs::write(&initrd, recipe.build()?).context("cannot write the initrd")?;
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let given = [
        ("vmm", text(vmm)),
        ("tools", text(tools)),
        ("kernel", text(kernel.join("vmlinuz"))),
        ("modules", text(kernel.join("modules"))),
        ("initrd", text(initrd)),
        (
            "vmNix",
            text(place::top().join("nix/vm/run-in-linux-vm.nix")),
        ),
        ("qemu", text(options.qemu()?)),
        ("virtiofsd", text(peers::virtiofsd()?)),
    ];
    let expression = text(place::top().join("xtask/src/bench/sandbox.nix"));
    let contestant = |name: &str, attribute: &str| {
        let mut line = format!("nix-build --no-out-link {expression} -A {attribute}");
        for (name, value) in &given {
            line.push_str(&format!(" --argstr {name} '{value}'"));
        }
        line.push_str(" --argstr nonce $(date +%s%N)");
        Contestant::new(name, Path::new("/bin/sh")).args(["-c", &line])
    };
    let contestants = [
        contestant("no VM", "native"),
        contestant("QEMU", "qemu"),
        contestant("pcp-vmm", "ours"),
    ];
    let mut rows = contestants
        .each_ref()
        .map(|it| Row::new(&it.name, "derivation"));
    alternate(&contestants, options.runs(5), LIMIT, |index, run| {
        rows[index].push(run.end.as_secs_f64());
    })?;
    print(options, &rows)
}

fn print(options: &Options, rows: &[Row; 3]) -> Result<()> {
    let [native, qemu, ours] = rows.each_ref().map(Row::median);
    let part = (ours - native) / (qemu - native);
    Table {
        title: "A derivation of one line that Nix builds, as it is and in VMs; 512 MiB, 1 vCPU, Debian's 6.12",
        unit: "s",
        rows: rows.to_vec(),
    }
    .print(options.json)?;
    if !options.json {
        println!(
            "\npcp-vmm's VM adds {:.2} s, QEMU's with virtiofsd {:.2} s: {part:.2} of it; at most {WANTED:.2} is wanted",
            ours - native,
            qemu - native
        );
    }
    if part > WANTED {
        bail!("pcp-vmm's VM adds {part:.2} of what QEMU's adds, more than {WANTED:.2}");
    }
    Ok(())
}

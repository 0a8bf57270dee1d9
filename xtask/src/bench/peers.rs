//! The programs that run a command in a VM on QEMU, each in its newest version, from their registries.
//!
//! virtme-ng gets what it is fastest with: the virtiofsd that is written in Rust, with which it takes QEMU's `microvm`
//! machine; and udev, without which it does not find the streams of its command. vmtest gets qemu-guest-agent, which it
//! needs, an initramfs with 9p, which Debian's kernels have as modules, and a kernel that does not print its boot to the
//! serial port, as it would by default.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result};

use super::contestant::Contestant;
use crate::debs::make_whole;
use crate::initrd::Recipe;
use crate::{apt, command, lab, place};

const VIRTME_NG: &str = "1.42";
const VMTEST: &str = "0.18.0";
const VIRTIOFSD: &str = "1.14.0";
/// What the peers call, and what they are built with.
const PACKAGES: [&str; 9] = [
    "qemu-system-x86",
    "qemu-guest-agent",
    "python3",
    "python3-pip",
    "file",
    "kmod",
    "udev",
    "libcap-ng-dev",
    "libseccomp-dev",
];
/// What a guest takes to mount its root by 9p, and to have a port for the agent.
const MODULES: [&str; 4] = ["virtio_pci", "virtio_console", "9pnet_virtio", "9p"];

/// Where the peers are.
#[derive(Debug)]
pub(super) struct Peers {
    virtme_ng: PathBuf,
    vmtest: PathBuf,
    virtiofsd: PathBuf,
}

/// A kernel as a machine has it installed, with its modules.
#[derive(Debug)]
pub(super) struct Installed<'a> {
    pub(super) image: &'a Path,
    pub(super) modules: &'a Path,
}

/// What every guest has.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) memory: &'static str,
    pub(super) cpus: &'static str,
}

impl Peers {
    /// The peers, fetched and built first if they are missing.
    pub(super) fn ensure() -> Result<Self> {
        apt::ensure(&PACKAGES)?;
        let base = place::cache()?.join("peers");
        let virtme_ng = base.join(format!("virtme-ng-{VIRTME_NG}"));
        make_whole(&virtme_ng, |part| {
            eprintln!("fetching virtme-ng {VIRTME_NG}");
            let mut pip = Command::new("/usr/bin/python3");
            pip.args(["-m", "pip", "install", "--quiet", "--target"]);
            pip.arg(part).arg(format!("virtme-ng=={VIRTME_NG}"));
            command::run(&mut pip)
        })
        .context("cannot install virtme-ng")?;
        Ok(Self {
            virtme_ng,
            vmtest: crate_of(&base, "vmtest", VMTEST)?,
            virtiofsd: virtiofsd_in(&base)?,
        })
    }

    /// The folders of many small files among them.
    pub(super) fn folders(&self) -> [&Path; 1] {
        [&self.virtme_ng]
    }

    /// `line` by virtme-ng.
    pub(super) fn virtme_ng(
        &self,
        qemu: &Path,
        kernel: &Installed<'_>,
        guest: &Guest,
        line: &str,
    ) -> Contestant {
        let path = |folder: &Path| folder.join("bin").display().to_string();
        let search = env::var("PATH").unwrap_or_default();
        let search = [path(&self.virtme_ng), path(&self.virtiofsd), search].join(":");
        Contestant::new("virtme-ng", Path::new("/usr/bin/env"))
            .args([format!("PATH={search}")])
            .args([format!("PYTHONPATH={}", self.virtme_ng.display())])
            .args(["vng", "--run", &kernel.image.to_string_lossy()])
            .args(["--qemu", &qemu.to_string_lossy()])
            .args(["--memory", guest.memory, "--cpus", guest.cpus])
            .args(["--exec", line])
    }

    /// `line` by vmtest, whose files go to `folder`.
    pub(super) fn vmtest(
        &self,
        qemu: &Path,
        kernel: &Installed<'_>,
        guest: &Guest,
        line: &str,
        folder: &Path,
    ) -> Result<Contestant> {
        fs::create_dir_all(folder).context("cannot make a folder")?;
        let recipe = Recipe {
            busybox: &lab::busybox()?,
            modules: kernel.modules,
            wanted: &MODULES,
            more: &[],
            init: include_bytes!("vmtest-init"),
            job_folder: false,
        };
        let initrd = folder.join("initrd");
        fs::write(&initrd, recipe.build()?).context("cannot write vmtest's initramfs")?;
        let target = [
            format!("name = {:?}", "target"),
            format!("kernel = {:?}", kernel.image),
            format!("qemu_command = {qemu:?}"),
            "kernel_args = \"quiet\"".to_owned(),
            format!("command = {line:?}"),
            "[target.vm]".to_owned(),
            format!("memory = {:?}", guest.memory),
            format!("num_cpus = {}", guest.cpus),
            format!("extra_args = [\"-initrd\", {initrd:?}]"),
        ];
        let file = folder.join("vmtest.toml");
        fs::write(&file, format!("[[target]]\n{}\n", target.join("\n")))
            .context("cannot write vmtest's configuration")?;
        let program = self.vmtest.join("bin/vmtest");
        Ok(Contestant::new("vmtest", &program).args(["--config", &file.to_string_lossy()]))
    }
}

/// The program virtiofsd, fetched and built first if it is missing.
pub(super) fn virtiofsd() -> Result<PathBuf> {
    apt::ensure(&["libcap-ng-dev", "libseccomp-dev"])?;
    let folder = virtiofsd_in(&place::cache()?.join("peers"))?;
    Ok(folder.join("bin/virtiofsd"))
}

fn virtiofsd_in(base: &Path) -> Result<PathBuf> {
    crate_of(base, "virtiofsd", VIRTIOFSD)
}

/// The folder with the program of a crate, built first if it is missing.
fn crate_of(base: &Path, name: &str, version: &str) -> Result<PathBuf> {
    let folder = base.join(format!("{name}-{version}"));
    make_whole(&folder, |part| {
        eprintln!("building {name} {version}");
        let mut install = Command::new("cargo");
        install.args(["install", "--quiet", "--locked", "--root"]);
        install
            .arg(part)
            .args(["--version", &format!("={version}"), name]);
        command::run(install.current_dir(base))
    })
    .with_context(|| format!("cannot build {name}"))?;
    Ok(folder)
}

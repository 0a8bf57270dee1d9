//! The files of a measurement, in memory: their reading from the machine's disk is not measured.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use pcp_vmm_tests::{initrd, kernels::Kernel};
use tempfile::TempDir;

use crate::bench::Options;
use crate::bench::contestant::Contestant;
use crate::bench::qemu::microvm;
use crate::{command, place, release};

/// It has every device's driver, and both file systems.
const KERNEL: &str = "6.12-standard";

/// The program that does the load, built for the guest.
pub(crate) fn prepare() -> Result<PathBuf> {
    release::set_up()?;
    let target = "x86_64-unknown-linux-musl";
    command::run(Command::new("cargo").current_dir(place::top()).args([
        "build",
        "--quiet",
        "--release",
        "--locked",
        "--package",
        "pcp-vmm-tests",
        "--bin",
        "load",
        "--target",
        target,
    ]))?;
    Ok(place::target().join(target).join("release/load"))
}

/// A folder with all that both programs need.
pub(super) struct Files {
    folder: TempDir,
    vmm: PathBuf,
    qemu: PathBuf,
    kernel: Kernel,
    load: Vec<u8>,
}

impl Files {
    pub(super) fn new(options: &Options) -> Result<Self> {
        let load = match &options.load {
            Some(path) => path.clone(),
            None => prepare()?,
        };
        let files = Self {
            folder: tempfile::tempdir().context("cannot make a folder")?,
            vmm: options.vmm()?,
            qemu: options.qemu()?,
            kernel: Kernel::named(KERNEL)?,
            load: fs::read(&load).with_context(|| format!("cannot read {}", load.display()))?,
        };
        fs::copy(files.kernel.elf(), files.path("vmlinux")).context("cannot copy the kernel")?;
        Ok(files)
    }

    /// The words of one of this program's contestants with `program` in its place; `None` for another's.
    pub(super) fn words_of(&self, one: &Contestant, program: &str) -> Option<Vec<String>> {
        let (first, rest) = one.words.split_first()?;
        let ours = *first == self.vmm.to_string_lossy();
        ours.then(|| [&[program.to_owned()], rest].concat())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    /// Writes the initramfs `name`, whose guest has `programs` at its root and runs `script` up to the first failure.
    pub(super) fn initramfs(
        &self,
        name: &str,
        programs: &[(String, Vec<u8>)],
        script: &str,
    ) -> Result<()> {
        let base = self.kernel.initrd()?;
        let script = format!("set -e\n{script}echo load ended\n");
        let mut all = vec![("load", &*self.load), ("job", script.as_bytes())];
        all.extend(programs.iter().map(|(name, data)| (&**name, &**data)));
        fs::write(self.path(name), initrd::with_programs(&base, &all)?)
            .context("cannot write the initramfs")
    }

    pub(super) fn ours(&self, name: &str, initrd: &str) -> Contestant {
        Contestant::new(name, &self.vmm)
            .args([
                "run",
                "--kernel",
                &self.text("vmlinux"),
                "--initrd",
                &self.text(initrd),
            ])
            .args([
                "--memory",
                "512M",
                "--cpus",
                "1",
                "--console",
                "serial=stdio",
                "--net",
                "none",
            ])
    }

    pub(super) fn qemu(&self, name: &str, initrd: &str) -> Contestant {
        microvm(name, &self.qemu, "512", "1")
            .args(["-object", "memory-backend-memfd,id=ram,size=512M,share=on"])
            .args(["-machine", "memory-backend=ram"])
            .args(["-serial", "stdio", "-kernel", &self.text("vmlinux")])
            .args(["-initrd", &self.text(initrd)])
    }
}

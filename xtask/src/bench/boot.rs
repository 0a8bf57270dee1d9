//! `bench boot`: a stock kernel from the program's start to the machine's power-off, beside QEMU.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, Result};
use pcp_vmm_tests::kernels::Kernel;
use tempfile::TempDir;

use super::contestant::{Contestant, alternate};
use super::qemu::{COMMAND_LINE, microvm};
use super::table::{Row, Table};
use super::{Options, init};

const KERNEL: &str = "6.12-standard";
const LIMIT: Duration = Duration::from_secs(300);

/// The files of a run, in memory: their reading is not measured.
struct Files {
    folder: TempDir,
}

impl Files {
    fn copy(kernel: &Kernel, vmm: &Path) -> Result<Self> {
        let files = Self {
            folder: tempfile::tempdir().context("cannot make a folder")?,
        };
        for (name, from) in [
            ("bzImage", kernel.image()),
            ("vmlinux", kernel.elf()),
            ("vmm", vmm.into()),
        ] {
            fs::copy(&from, files.path(name))
                .with_context(|| format!("cannot copy {}", from.display()))?;
        }
        fs::write(files.path("initrd"), init::initramfs()?)
            .context("cannot write the initramfs")?;
        fs::write(files.path("disk"), vec![0; 1 << 20]).context("cannot write the disk")?;
        fs::create_dir(files.path("share")).context("cannot make the share")?;
        Ok(files)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    fn ours(&self, name: &str, kernel: &str, devices: bool) -> Contestant {
        let one = Contestant::new(name, &self.path("vmm"))
            .args([
                "run",
                "--kernel",
                &self.text(kernel),
                "--initrd",
                &self.text("initrd"),
            ])
            .args(["--cmdline", COMMAND_LINE, "--memory", "512M", "--cpus", "1"])
            .args(["--console", "serial=stdio"]);
        if !devices {
            return one.args(["--net", "none"]);
        }
        one.args(["--net", "user", "--console", "virtio=none", "--rng=true"])
            .args([
                "--disk",
                &self.text("disk"),
                "--share",
                &format!("data={}", self.text("share")),
            ])
    }

    fn qemu(&self, name: &str, program: &Path, kernel: &str, devices: bool) -> Contestant {
        let one = microvm(name, program, "512", "1")
            .args(["-serial", "stdio", "-append", COMMAND_LINE])
            .args([
                "-kernel",
                &self.text(kernel),
                "-initrd",
                &self.text("initrd"),
            ]);
        if !devices {
            return one;
        }
        let disk = format!("if=none,id=d,format=raw,file={}", self.text("disk"));
        one.args([
            "-netdev",
            "user,id=n",
            "-device",
            "virtio-net-pci,netdev=n,romfile=",
        ])
        .args(["-drive", &disk, "-device", "virtio-blk-pci,drive=d"])
        .args(["-device", "virtio-rng-pci", "-device", "virtio-serial-pci"])
        .args(["-chardev", "null,id=c", "-device", "virtconsole,chardev=c"])
    }
}

/// Measures both programs, with the ELF kernel and the bzImage, without devices and with all.
pub(super) fn run(options: &Options) -> Result<()> {
    let vmm = options.vmm()?;
    let qemu = options.qemu()?;
    let files = Files::copy(&Kernel::named(KERNEL)?, &vmm)?;
    let groups = ["ELF", "bzImage", "ELF, devices"];
    let pairs = [
        files.qemu("QEMU microvm, vmlinux", &qemu, "vmlinux", false),
        files.ours("pcp-vmm, vmlinux", "vmlinux", false),
        files.qemu("QEMU microvm, bzImage", &qemu, "bzImage", false),
        files.ours("pcp-vmm, bzImage", "bzImage", false),
        files.qemu(
            "QEMU microvm, vmlinux, all its devices",
            &qemu,
            "vmlinux",
            true,
        ),
        files.ours("pcp-vmm, vmlinux, all devices", "vmlinux", true),
    ];
    let mut rows: Vec<_> = pairs
        .iter()
        .zip(0..)
        .map(|(it, index)| Row::new(&it.name, groups[index / 2]))
        .collect();
    alternate(
        &pairs,
        options.runs(if options.icount { 3 } else { 7 }),
        LIMIT,
        |index, run| {
            rows[index].push(run.end.as_secs_f64());
        },
    )?;
    // With every device ours, against QEMU without any.
    let mut bare = rows[0].clone();
    bare.group = "bare".into();
    let mut full = rows[5].clone();
    full.group = "bare".into();
    full.name = "pcp-vmm, vmlinux, all devices, to QEMU bare".into();
    rows.extend([bare, full]);
    let lab = env::var_os("PCP_VMM_LAB").is_some();
    let title = if lab {
        "Debian 6.12 from start to power-off, in the lab; 512 MiB, 1 vCPU"
    } else {
        "Debian 6.12 from start to power-off; 512 MiB, 1 vCPU"
    };
    Table {
        title,
        unit: "s",
        rows,
    }
    .print(options.json)
}

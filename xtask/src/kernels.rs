//! Debian's kernels for the tests and measurements: bzImage, the ELF file inside it, and an initramfs with busybox.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::debs::{self, KernelTree, digest};
use crate::initrd::Recipe;
use crate::{apt, lab, place};

/// Changes whenever what [`fill`] makes does.
const RECIPE: u32 = 2;

/// One kernel: its name here, the suite that has it, and the package that depends on its newest version.
struct Source {
    name: &'static str,
    suite: &'static str,
    package: &'static str,
    series: &'static str,
}

const SOURCES: [Source; 6] = [
    source(
        "6.1-standard",
        "bookworm",
        "linux-image-amd64",
        "linux-image-6.1.",
    ),
    source(
        "6.1-cloud",
        "bookworm",
        "linux-image-cloud-amd64",
        "linux-image-6.1.",
    ),
    source(
        "6.12-standard",
        "trixie",
        "linux-image-amd64",
        "linux-image-6.12.",
    ),
    source(
        "6.12-cloud",
        "trixie",
        "linux-image-cloud-amd64",
        "linux-image-6.12.",
    ),
    source(
        "7-standard",
        "trixie-backports",
        "linux-image-amd64",
        "linux-image-7.",
    ),
    source(
        "7-cloud",
        "trixie-backports",
        "linux-image-cloud-amd64",
        "linux-image-7.",
    ),
];

const fn source(
    name: &'static str,
    suite: &'static str,
    package: &'static str,
    series: &'static str,
) -> Source {
    Source {
        name,
        suite,
        package,
        series,
    }
}

/// The modules in the initramfs: every device that the machine has, and file systems.
const MODULES: [&str; 8] = [
    "virtio_pci",
    "virtio_console",
    "virtio_net",
    "virtio_blk",
    "virtio_rng",
    "virtiofs",
    "overlay",
    "ext4",
];

/// More of them, which the cloud flavour does not have.
const STANDARD_MODULES: [&str; 2] = ["9p", "9pnet_virtio"];
/// Modules that a test loads by `load NAME`, where the kernel has them.
const MORE: [&str; 5] = [
    "virtio_mmio",
    "virtio_balloon",
    "vmw_vsock_virtio_transport",
    "qemu_fw_cfg",
    "pvpanic-mmio",
];

/// `cargo xtask kernels`.
pub(crate) fn main() -> Result<ExitCode> {
    println!("{}", ensure()?.display());
    Ok(ExitCode::SUCCESS)
}

/// The folder with all kernels, each in a folder of its name; fetched first if it is missing.
pub(crate) fn ensure() -> Result<PathBuf> {
    let base = place::cache()?.join("debian-kernels");
    let init = place::top().join("tests/stock/init");
    let init = fs::read(&init).with_context(|| format!("cannot read {}", init.display()))?;
    let names = SOURCES.map(|it| (it.name, it.suite));
    let dir = base.join(digest(&(
        RECIPE,
        names,
        MODULES,
        STANDARD_MODULES,
        MORE,
        &init,
    )));
    let missing = SOURCES
        .iter()
        .filter(|source| !dir.join(source.name).exists());
    for source in missing {
        apt::ensure(&["kmod", "xz-utils", "zstd", "debian-archive-keyring"])?;
        let busybox = lab::busybox()?;
        debs::make_whole(&dir.join(source.name), |part| {
            fill(source, &base, part, &busybox, &init)
        })
        .with_context(|| format!("cannot prepare the kernel {}", source.name))?;
    }
    Ok(dir)
}

fn fill(source: &Source, base: &Path, dir: &Path, busybox: &Path, init: &[u8]) -> Result<()> {
    eprintln!("fetching the kernel {} from {}", source.name, source.suite);
    let suite = apt::Suite::fetch(source.suite, &base.join("apt").join(source.suite))?;
    let packages = suite.depends(source.package)?;
    let image = packages
        .into_iter()
        .find(|name| name.starts_with(source.series));
    let image = image.with_context(|| format!("{} has no such kernel", source.suite))?;
    // Newer packages keep the image, the modules and their indexes apart.
    let version = image.trim_start_matches("linux-image-").to_owned();
    let mut parts = suite.depends(&image)?;
    parts.retain(|name| name.starts_with("linux-") && name.ends_with(&version));
    parts.push(image);
    let debs = base.join("debs").join(source.name);
    suite.download(&parts, &debs)?;
    let tree = dir.join("tree");
    for part in &parts {
        debs::unpack(&debs, &format!("{part}_"), &tree)?;
    }
    // What is unpacked is needed no more; an interrupted set-up finds what it has fetched.
    fs::remove_dir_all(&debs).context("cannot remove the packages")?;
    let kernel = KernelTree::index(&tree)?;
    let mut wanted = MODULES.to_vec();
    if source.name.ends_with("-standard") {
        wanted.extend(STANDARD_MODULES);
    }
    let recipe = Recipe {
        busybox,
        modules: &kernel.modules,
        wanted: &wanted,
        more: &MORE,
        init,
        job_folder: false,
    };
    let write = |name: &str, content: &[u8]| {
        fs::write(dir.join(name), content).with_context(|| format!("cannot write {name}"))
    };
    write("initrd", &recipe.build()?)?;
    write("vmlinux", &kernel.elf()?)?;
    fs::rename(&kernel.image, dir.join("vmlinuz")).context("cannot move the kernel")?;
    fs::remove_dir_all(&tree).context("cannot remove the rest of the package")
}

//! The lab's parts: QEMU, a kernel and its modules, fetched and unpacked once into the project's cache folder.
//!
//! A folder's name carries a digest of the recipe it was made by, and it gets that name only when it is complete: an
//! interrupted set-up starts again from the packages already fetched, and two checkouts never see each other's half work.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::debs::{self, KernelTree, digest};
use crate::initrd::Recipe;
use crate::{apt, place};

/// Changes whenever what [`fill`] makes does.
const RECIPE: u32 = 2;
/// What the machine itself must have. Its own QEMU brings the libraries of the one that runs the lab.
const PACKAGES: [&str; 6] = [
    "qemu-system-x86",
    "seabios",
    "kmod",
    "xz-utils",
    "zstd",
    "debian-archive-keyring",
];
/// The series of the kernel that L1 runs.
const KERNEL_SERIES: &str = "linux-image-6.12";
/// What L1 loads before it changes its root.
const MODULES: [&str; 7] = [
    "virtio_pci",
    "virtio_console",
    "virtio_blk",
    "9pnet_virtio",
    "9p",
    "overlay",
    "kvm_amd",
];

/// The lab's files.
#[derive(Debug)]
pub(crate) struct Parts {
    /// The unpacked packages of QEMU.
    pub(crate) qemu: PathBuf,
    pub(crate) kernel: PathBuf,
    pub(crate) initrd: PathBuf,
    /// The folder whose only entry holds the kernel's modules.
    pub(crate) modules: PathBuf,
    /// A static busybox.
    pub(crate) busybox: PathBuf,
}

/// The lab's parts, made first if they are missing.
pub(crate) fn ensure() -> Result<Parts> {
    let release = apt::release()?;
    let base = place::cache()?.join("lab");
    let init = fs::read(place::top().join("tests/lab/init")).context("cannot read L1's init")?;
    let recipe = digest(&(RECIPE, &release, PACKAGES, KERNEL_SERIES));
    let dir = base.join(format!("parts-{recipe}"));
    let start = base.join(format!("start-{}", digest(&(&recipe, MODULES, &init))));
    apt::ensure(&PACKAGES)?;
    debs::make_whole(&dir, |part| fill(part, &base, &release)).context("cannot set the lab up")?;
    let parts = Parts {
        qemu: dir.join("qemu"),
        kernel: dir.join("vmlinux"),
        modules: dir.join("modules"),
        busybox: dir.join("busybox/bin/busybox"),
        initrd: start.join("initrd"),
    };
    debs::make_whole(&start, |part| {
        let recipe = Recipe {
            busybox: &parts.busybox,
            modules: &debs::only_entry(&parts.modules)?,
            wanted: &MODULES,
            more: &[],
            init: &init,
            job_folder: true,
        };
        write(&part.join("initrd"), &recipe.build()?)
    })?;
    Ok(parts)
}

/// Fetches the packages and makes the parts in `part`.
fn fill(part: &Path, base: &Path, release: &str) -> Result<()> {
    let suite = match release {
        // QEMU 7.2, bookworm's own, is slow in emulating SVM, and stock guests panic in it.
        "bookworm" => "bookworm-backports",
        "trixie" => "trixie",
        other => {
            bail!("no recipe for Debian `{other}`; the lab knows bookworm (12) and trixie (13)")
        }
    };
    eprintln!("lab: setting up once: fetching QEMU and a kernel from {suite}");
    let source = apt::Suite::fetch(suite, &base.join("apt").join(suite))?;
    let image = source.depends("linux-image-amd64")?;
    let image = image
        .into_iter()
        .find(|name| name.starts_with(KERNEL_SERIES));
    let image = image.with_context(|| format!("{suite} has no {KERNEL_SERIES} kernel"))?;
    let version = source.version("qemu-system-x86")?;
    let debs = base.join("debs").join(suite);
    for name in ["x86", "common", "data"] {
        source.download(&[format!("qemu-system-{name}={version}")], &debs)?;
    }
    source.download(std::slice::from_ref(&image), &debs)?;
    let own = apt::Suite::fetch(release, &base.join("apt").join(release))?;
    own.download(&["busybox-static".into()], &debs)?;

    eprintln!("lab: unpacking");
    let tree = part.join("kernel");
    debs::unpack(&debs, "qemu-system-", &part.join("qemu"))?;
    debs::unpack(&debs, "busybox-static_", &part.join("busybox"))?;
    debs::unpack(&debs, &format!("{image}_"), &tree)?;
    let kernel = KernelTree::index(&tree)?;
    write(&part.join("vmlinux"), &kernel.elf()?)?;
    let modules = kernel
        .modules
        .parent()
        .context("the modules have no folder")?;
    fs::rename(modules, part.join("modules")).context("cannot move the modules")?;
    fs::remove_dir_all(&tree).context("cannot remove the rest of the kernel package")
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

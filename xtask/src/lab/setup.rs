//! The lab's parts: QEMU, a kernel and its modules, fetched and unpacked once into the project's cache folder.
//!
//! A folder's name carries a digest of the recipe it was made by, and it gets that name only when it is complete: an
//! interrupted set-up starts again from the packages already fetched, and two checkouts never see each other's half work.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

use super::{initrd, kernel};
use crate::{apt, command, place};

/// Changes whenever what [`unpack`] makes does.
const RECIPE: u32 = 1;
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

/// The lab's files.
#[derive(Debug)]
pub(super) struct Parts {
    /// The unpacked packages of QEMU.
    pub(super) qemu: PathBuf,
    pub(super) kernel: PathBuf,
    pub(super) initrd: PathBuf,
    /// The folder of the kernel's modules, named by its version's parent.
    pub(super) modules: PathBuf,
}

/// The lab's parts, made first if they are missing.
pub(super) fn ensure() -> Result<Parts> {
    let release = apt::release()?;
    let base = place::cache()?.join("lab");
    let init = fs::read(place::top().join("tests/lab/init")).context("cannot read L1's init")?;
    let recipe = digest(&(RECIPE, &release, PACKAGES, KERNEL_SERIES));
    let dir = base.join(format!("parts-{recipe}"));
    let initrd = base.join(format!(
        "initrd-{}",
        digest(&(&recipe, initrd::MODULES, &init))
    ));
    apt::ensure(&PACKAGES)?;
    let parts = Parts {
        qemu: dir.join("qemu"),
        kernel: dir.join("vmlinux"),
        modules: dir.join("kernel/lib/modules"),
        initrd,
    };
    if !parts.initrd.exists() || !dir.exists() {
        fs::create_dir_all(&base).with_context(|| format!("cannot make {}", base.display()))?;
        let lock = File::create(base.join("lock")).context("cannot make the set-up's lock")?;
        flock(&lock, FlockOperation::LockExclusive).context("cannot take the set-up's lock")?;
        if !dir.exists() {
            unpack(&base, &dir, &release).context("cannot set the lab up")?;
        }
        let version = modules_dir(&parts.modules)?;
        let archive = initrd::build(&dir.join("busybox/bin/busybox"), &version, &init)?;
        write_whole(&parts.initrd, &archive)?;
    }
    Ok(parts)
}

/// Fetches the packages and fills `dir`.
fn unpack(base: &Path, dir: &Path, release: &str) -> Result<()> {
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
    let qemu = ["x86", "common", "data"].map(|part| format!("qemu-system-{part}={version}"));
    let debs = base.join("debs");
    let plain = apt::Suite::fetch(release, &base.join("apt").join(release))?;
    plain.download(&["busybox-static".into()], &debs)?;
    source.download(&[&qemu[..], std::slice::from_ref(&image)].concat(), &debs)?;

    let part = dir.with_extension("part");
    if part.exists() {
        fs::remove_dir_all(&part).with_context(|| format!("cannot clear {}", part.display()))?;
    }
    eprintln!("lab: unpacking");
    for (prefix, root) in [
        ("qemu-system-", "qemu"),
        (&*format!("{image}_"), "kernel"),
        ("busybox-static_", "busybox"),
    ] {
        let root = part.join(root);
        fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
        for deb in packages_in(&debs, prefix)? {
            apt::unpack(&deb, &root)?;
        }
    }
    let kernel_root = part.join("kernel");
    let version = modules_dir(&kernel_root.join("lib/modules"))?;
    let name = version
        .file_name()
        .context("the kernel package has no version")?;
    command::run(
        std::process::Command::new(apt::which("depmod").context("no depmod")?)
            .arg("-b")
            .arg(&kernel_root)
            .arg(name),
    )?;
    let boot = kernel_root
        .join("boot")
        .join(format!("vmlinuz-{}", name.to_string_lossy()));
    let image = fs::read(&boot).with_context(|| format!("cannot read {}", boot.display()))?;
    write_whole(&part.join("vmlinux"), &kernel::unpack(&image)?)?;
    fs::rename(&part, dir).with_context(|| format!("cannot make {}", dir.display()))
}

/// The newest of each package whose file name starts with `prefix`.
fn packages_in(debs: &Path, prefix: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(debs).with_context(|| format!("cannot list {}", debs.display()))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            name.starts_with(prefix) && name.ends_with(".deb")
        })
        .collect();
    found.sort();
    if found.is_empty() {
        bail!("no package {prefix}* was fetched");
    }
    Ok(found)
}

/// The only folder in `modules`: that of the kernel's version.
fn modules_dir(modules: &Path) -> Result<PathBuf> {
    let mut entries =
        fs::read_dir(modules).with_context(|| format!("cannot list {}", modules.display()))?;
    let entry = entries
        .next()
        .context("the kernel package has no modules")??;
    Ok(entry.path())
}

/// Writes a file that others see complete or not at all.
fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let part = path.with_extension("part");
    fs::write(&part, content)
        .and_then(|()| fs::rename(&part, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// A short digest for names in the cache.
pub(super) fn digest(value: &impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

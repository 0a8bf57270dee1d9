//! The kernel of a guest that runs one command, with its modules, and the initrd made of them.

use std::cell::OnceCell;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use guest::initramfs;
use guest::kernels::{CachedKernel, Held};
use guest::modules::{Module, ModuleTree};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};

use super::fitness;
use super::places::{Places, Root};
use crate::args::{ExecArgs, ExecNet};
use crate::cmd::kernel;
use crate::diagnostic::Diagnostic;
use crate::kernel_image::version_of;

/// What the guest's init and its agent need, in the order in which it is loaded. A kernel without modules has it built in,
/// or the init says what it lacks.
const WANTED: [&str; 4] = [
    "virtio_pci",
    "virtiofs",
    "vmw_vsock_virtio_transport",
    "virtio_rng",
];
/// What lays a layer over the root, and what is for the network: each takes its time to be unpacked and loaded.
const LAYER: &str = "overlay";
const NETWORK: &str = "virtio_net";

/// The file system of a root on a disk; for another, `--module` names its module.
const ROOT_FORMAT: &str = "ext4";

/// A kernel ready to run a command.
#[derive(Debug)]
pub(super) struct Kernel {
    /// Its file.
    pub(super) path: PathBuf,
    version: Version,
    /// An initrd for it; a file in memory that a child inherits.
    initrd: OwnedFd,
    /// Keeps one of the cache there.
    _held: Option<Held>,
}

/// The version of a kernel; that of a file takes reading it, and is not always wanted.
#[derive(Debug)]
struct Version(OnceCell<Option<String>>);

impl Version {
    fn known(version: String) -> Self {
        Self(OnceCell::from(Some(version)))
    }

    /// The version of the kernel `path`, as `uname -r` tells it, if it is known.
    fn of(&self, path: &Path) -> Option<&str> {
        let read = || {
            version_of(path).unwrap_or_else(|error| {
                log::warn!("cannot tell the version of {}: {error}", path.display());
                None
            })
        };
        self.0.get_or_init(read).as_deref()
    }
}

impl Kernel {
    /// The kernel that `args` name.
    pub(super) fn find(args: &ExecArgs, places: &Places) -> Result<Self, Diagnostic> {
        let (path, version, held) = chosen(&args.kernel)?;
        let modules = modules(args, places, &path, &version)?;
        let initrd = write(&modules)?;
        Ok(Self {
            path,
            version,
            initrd,
            _held: held,
        })
    }

    /// Its version, as `uname -r` tells it, if it is known.
    pub(super) fn version(&self) -> Option<&str> {
        self.version.of(&self.path)
    }

    /// Where a child of this process finds the initrd.
    pub(super) fn initrd(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.initrd.as_raw_fd()).into()
    }
}

/// The kernel that `wanted` names, `host`, a version or a file, and what keeps one of the cache there.
fn chosen(wanted: &Path) -> Result<(PathBuf, Version, Option<Held>), Diagnostic> {
    let text = wanted.to_string_lossy();
    if text == "host" {
        return Ok((of_host()?, Version::known(release()?), None));
    }
    if is_version(&text) {
        let (kernel, held) = cached(&text)?;
        let version = Version::known(kernel.release.clone());
        return Ok((kernel.image(), version, Some(held)));
    }
    File::open(wanted).map_err(|error| {
        let what = format!("cannot read the kernel `{}`", wanted.display());
        Diagnostic::usage("kernel", what)
            .because(&error)
            .hint("`--kernel` is `host`, a version in the cache, or the file of a bzImage or an ELF vmlinux")
    })?;
    Ok((wanted.to_owned(), Version(OnceCell::new()), None))
}

/// The file of the kernel that `wanted` names, and what keeps one of the cache there.
pub(in crate::cmd) fn image(wanted: &Path) -> Result<(PathBuf, Option<Held>), Diagnostic> {
    chosen(wanted).map(|(image, _, held)| (image, held))
}

/// Whether `text` is a version; a file of such a name is `./NAME`.
pub(in crate::cmd) fn is_version(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit()) && !text.contains('/')
}

/// The newest kernel of the cache that `wanted` names.
fn cached(wanted: &str) -> Result<(CachedKernel, Held), Diagnostic> {
    let store = kernel::store()?;
    let found = store.hold(wanted).map_err(|error| {
        kernel::failed(
            format!("cannot use the kernel {}", wanted.escape_debug()),
            &error,
        )
    })?;
    found.ok_or_else(|| kernel::unknown(&store, wanted))
}

/// The version of the kernel that runs here.
pub(in crate::cmd) fn release() -> Result<String, Diagnostic> {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease");
    let text = text.map_err(|error| {
        Diagnostic::failure("kernel", "cannot tell this machine's kernel").because(&error)
    })?;
    Ok(text.trim_end().to_owned())
}

/// The file of the kernel that runs here.
pub(in crate::cmd) fn of_host() -> Result<PathBuf, Diagnostic> {
    let release = release()?;
    let places = [
        format!("/boot/vmlinuz-{release}"),
        format!("/lib/modules/{release}/vmlinuz"),
        "/run/booted-system/kernel".to_owned(),
    ];
    let found = places.iter().find(|path| Path::new(path).exists());
    found.map(PathBuf::from).ok_or_else(|| {
        Diagnostic::failure(
            "kernel",
            format!("the file of this machine's kernel {release} is not there"),
        )
        .cause(format!("none of {}", places.join(", ")))
        .hint("`--kernel FILE` names a kernel, and `--kernel VERSION` one that `pcp-vmm kernel add VERSION` fetched")
    })
}

/// The modules to load.
fn modules(
    args: &ExecArgs,
    places: &Places,
    kernel: &Path,
    version: &Version,
) -> Result<Vec<Module>, Diagnostic> {
    let failed = |error: &guest::modules::ModuleError| {
        Diagnostic::failure("modules", "cannot use the kernel's modules")
            .because(error)
            .hint("`--modules DIR` names the folder with `modules.dep`")
    };
    let near = || folder_near(kernel, || version.of(kernel).map(str::to_owned));
    let Some(folder) = args.modules.clone().or_else(near) else {
        if let Some(name) = args.module.first() {
            let what = format!("no modules are known for `{}`", kernel.display());
            return Err(Diagnostic::failure("modules", what)
                .cause(format!("`{name}` is to be loaded"))
                .hint("`--modules DIR` names the folder with `modules.dep`"));
        }
        fitness::check(kernel, None, || version.of(kernel))?;
        return Ok(Vec::new());
    };
    let tree = ModuleTree::open(&folder).map_err(|error| failed(&error))?;
    fitness::check(kernel, Some(&tree), || version.of(kernel))?;
    let root = match &places.root {
        Root::Disk => Some(ROOT_FORMAT),
        Root::Image(image) => Some(image.module()),
        Root::Folder(_) | Root::Ram => None,
    };
    let layer = matches!(places.root, Root::Folder(_) | Root::Image(_)).then_some(LAYER);
    let network = (args.net == ExecNet::User).then_some(NETWORK);
    let disks = (!args.disk.is_empty() || root.is_some()).then_some("virtio_blk");
    let mut wanted: Vec<&str> = WANTED
        .into_iter()
        .chain(layer)
        .chain(network)
        .chain(disks)
        .chain(root)
        .filter(|name| tree.resolve(&[name]).is_ok())
        .collect();
    wanted.extend(args.module.iter().map(String::as_str));
    tree.resolve(&wanted).map_err(|error| failed(&error))
}

/// The folder of the modules of the kernel `image`: beside it, or of its version.
pub(in crate::cmd) fn folder_near(
    image: &Path,
    version: impl FnOnce() -> Option<String>,
) -> Option<PathBuf> {
    let has_index = |place: &PathBuf| place.join("modules.dep").exists();
    let beside = image.parent().unwrap_or(Path::new("."));
    let first = beside.join("modules");
    if has_index(&first) {
        return Some(first);
    }
    let version = version()?;
    let places = [
        beside.join("lib/modules").join(&version),
        beside.join("../lib/modules").join(&version),
        Path::new("/lib/modules").join(&version),
    ];
    places.into_iter().find(has_index)
}

/// Writes the initrd to a file in memory.
fn write(modules: &[Module]) -> Result<OwnedFd, Diagnostic> {
    let failed = || Diagnostic::failure("initrd", "cannot make the guest's initrd");
    let file =
        memfd_create("initrd", MemfdFlags::CLOEXEC).map_err(|error| failed().because(&error))?;
    let mut file = io::BufWriter::with_capacity(1 << 20, File::from(file));
    initramfs::write(modules, &mut file).map_err(|error| failed().because(&error))?;
    file.flush().map_err(|error| failed().because(&error))?;
    let file = file
        .into_inner()
        .map_err(|error| failed().because(error.error()))?;
    // The VM's process inherits it.
    fcntl_setfd(&file, FdFlags::empty()).map_err(|error| failed().because(&error))?;
    Ok(file.into())
}

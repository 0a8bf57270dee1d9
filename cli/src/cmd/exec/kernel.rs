//! The kernel of a guest that runs one command, with its modules, and the initrd made of them.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use guest::initramfs;
use guest::modules::{Module, ModuleTree};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};

use crate::args::ExecArgs;
use crate::diagnostic::Diagnostic;

/// What the guest's init and its agent need, in the order in which it is loaded. A kernel without modules has it built in,
/// or the init says what it lacks.
const WANTED: [&str; 6] = [
    "virtio_pci",
    "virtiofs",
    "overlay",
    "vmw_vsock_virtio_transport",
    "virtio_rng",
    "virtio_net",
];
/// How much of an uncompressed kernel is searched for its version.
const SEARCHED: u64 = 256 << 20;

/// A kernel ready to run a command.
#[derive(Debug)]
pub(super) struct Kernel {
    /// Its file.
    pub(super) path: PathBuf,
    /// Its version, as `uname -r` tells it, if it is known.
    pub(super) version: Option<String>,
    /// An initrd for it; a file in memory that a child inherits.
    initrd: OwnedFd,
}

impl Kernel {
    /// The kernel that `args` name.
    pub(super) fn find(args: &ExecArgs) -> Result<Self, Diagnostic> {
        let host = args.kernel == Path::new("host");
        let path = if host {
            of_host()?
        } else {
            args.kernel.clone()
        };
        let version = match host {
            true => Some(release()?),
            false => version_of(&path).map_err(|error| {
                let what = format!("cannot read the kernel `{}`", path.display());
                Diagnostic::usage("kernel", what)
                    .because(&error)
                    .hint("`--kernel` is `host`, or the file of a bzImage or an ELF vmlinux")
            })?,
        };
        let modules = modules(args, &path, version.as_deref())?;
        let initrd = write(&modules)?;
        Ok(Self {
            path,
            version,
            initrd,
        })
    }

    /// Where a child of this process finds the initrd.
    pub(super) fn initrd(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.initrd.as_raw_fd()).into()
    }
}

/// The version of the kernel that runs here.
fn release() -> Result<String, Diagnostic> {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease");
    let text = text.map_err(|error| {
        Diagnostic::failure("kernel", "cannot tell this machine's kernel").because(&error)
    })?;
    Ok(text.trim_end().to_owned())
}

/// The file of the kernel that runs here.
fn of_host() -> Result<PathBuf, Diagnostic> {
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
        .hint("`--kernel FILE` names a kernel")
    })
}

/// The modules to load.
fn modules(
    args: &ExecArgs,
    kernel: &Path,
    version: Option<&str>,
) -> Result<Vec<Module>, Diagnostic> {
    let failed = |error: &guest::modules::ModuleError| {
        Diagnostic::failure("modules", "cannot use the kernel's modules")
            .because(error)
            .hint("`--modules DIR` names the folder with `modules.dep`")
    };
    let Some(folder) = folder(args, kernel, version) else {
        if let Some(name) = args.module.first() {
            let what = format!("no modules are known for `{}`", kernel.display());
            return Err(Diagnostic::failure("modules", what)
                .cause(format!("`{name}` is to be loaded"))
                .hint("`--modules DIR` names the folder with `modules.dep`"));
        }
        return Ok(Vec::new());
    };
    let tree = ModuleTree::open(&folder).map_err(|error| failed(&error))?;
    let mut wanted: Vec<&str> = WANTED
        .into_iter()
        .filter(|name| tree.resolve(&[name]).is_ok())
        .collect();
    wanted.extend(args.module.iter().map(String::as_str));
    tree.resolve(&wanted).map_err(|error| failed(&error))
}

/// The folder of the modules: as given, of this machine, or near the kernel.
fn folder(args: &ExecArgs, kernel: &Path, version: Option<&str>) -> Option<PathBuf> {
    if let Some(folder) = &args.modules {
        return Some(folder.clone());
    }
    let beside = kernel.parent().unwrap_or(Path::new("."));
    let mut places = vec![beside.join("modules")];
    if let Some(version) = version {
        places.extend([
            beside.join("lib/modules").join(version),
            beside.join("../lib/modules").join(version),
            Path::new("/lib/modules").join(version),
        ]);
    }
    places
        .into_iter()
        .find(|place| place.join("modules.dep").exists())
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

/// The version in a kernel's file: where a bzImage's header says (Linux Documentation/arch/x86/boot.rst,
/// `kernel_version`), or the banner of an uncompressed one.
fn version_of(path: &Path) -> io::Result<Option<String>> {
    let mut file = File::open(path)?;
    let mut head = [0; 0x210];
    let is_bzimage = match file.read_exact(&mut head) {
        Ok(()) => head.get(0x202..0x206) == Some(b"HdrS"),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
        Err(error) => return Err(error),
    };
    if is_bzimage {
        let at = u64::from(u16::from_le_bytes([head[0x20e], head[0x20f]])) + 0x200;
        file.seek(SeekFrom::Start(at))?;
        let mut text = Vec::new();
        file.take(256).read_to_end(&mut text)?;
        return Ok(first_word(&text));
    }
    const BANNER: &[u8] = b"Linux version ";
    let length = fs::metadata(path)?.len();
    if length > SEARCHED {
        return Ok(None);
    }
    let image = fs::read(path)?;
    let found = image
        .windows(BANNER.len())
        .position(|window| window == BANNER);
    let text = found.and_then(|at| image.get(at + BANNER.len()..));
    Ok(text.and_then(first_word))
}

/// The version that `text` begins with.
fn first_word(text: &[u8]) -> Option<String> {
    let is_end = |byte: &u8| !(byte.is_ascii_alphanumeric() || b".-_+~".contains(byte));
    let end = text.iter().take(128).position(is_end)?;
    let word = String::from_utf8(text.get(..end)?.to_vec()).ok()?;
    word.starts_with(|c: char| c.is_ascii_digit())
        .then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bzimage_tells_its_version() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bzImage");
        let mut image = vec![0; 0x1000];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x20e..0x210].copy_from_slice(&0x300_u16.to_le_bytes());
        image[0x500..0x510].copy_from_slice(b"6.12.1-amd64 (x)");
        fs::write(&path, &image).unwrap();
        assert_eq!(version_of(&path).unwrap().as_deref(), Some("6.12.1-amd64"));
    }

    #[test]
    fn a_vmlinux_has_its_banner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vmlinux");
        for (text, version) in [
            (
                &b"\x7fELF...Linux version 7.2.0-rc1+ (a@b)"[..],
                Some("7.2.0-rc1+"),
            ),
            (b"\x7fELF Linux version %s (", None),
            (b"", None),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(version_of(&path).unwrap().as_deref(), version);
        }
        assert!(version_of(&folder.path().join("none")).is_err());
    }
}

//! From a tree's archive to what a bundle delivers: the root file system, the kernel, the initrd.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::error::{ImageError, Tool};
use super::program::{Host, Program};
use super::spec::{Event, Progress, RootForm};
use crate::bundle::DiskFormat;
use crate::initramfs::{self, InitramfsError};
use crate::modules::ModuleTree;

/// tar counts in records of this size.
const RECORD: u64 = 10240;

/// The modules that the initrd loads, where the kernel has them as modules. The network card's and
/// the random number generator's are not needed for the root; loaded here, they cost udev no time.
const MODULES: [&str; 7] = [
    "virtio_pci",
    "virtio_mmio",
    "fuse",
    "virtiofs",
    "overlay",
    "virtio_net",
    "virtio_rng",
];
/// Those that a disk needs besides the one of its file system.
const DISK_MODULES: [&str; 1] = ["virtio_blk"];

/// The programs that a build of `form` calls.
pub(super) fn tools(host: &Host, form: RootForm) -> Vec<Tool> {
    let tool = |program, package| Tool { program, package };
    let mut tools = vec![tool("mmdebstrap", "mmdebstrap"), tool("tar", "tar")];
    match form {
        RootForm::Share => {}
        RootForm::Disk(DiskFormat::Erofs) => tools.push(tool("mkfs.erofs", "erofs-utils")),
        RootForm::Disk(DiskFormat::Ext4) => tools.push(tool("mke2fs", "e2fsprogs")),
    }
    if !host.privileged {
        tools.extend([tool("newuidmap", "uidmap"), tool("unshare", "util-linux")]);
    }
    tools
}

/// A tree's archive and where its parts go.
pub(super) struct Delivery<'d> {
    /// The machine that builds.
    pub(super) host: &'d Host,
    /// The archive.
    pub(super) archive: &'d Path,
    /// The folder that becomes the bundle.
    pub(super) folder: &'d Path,
}

impl Delivery<'_> {
    /// Unpacks the tree to where the guest will have it, or makes a disk of it.
    pub(super) fn root(
        &self,
        form: RootForm,
        progress: &mut dyn Progress,
    ) -> Result<(), ImageError> {
        let format = match form {
            RootForm::Share => return self.unpack(&self.folder.join("root"), progress),
            RootForm::Disk(format) => format,
        };
        let tree = self.folder.join("tree");
        let disk = self.folder.join(disk_name(format));
        if self.host.privileged {
            self.unpack(&tree, progress)?;
            self.make_disk(format, &tree, &disk)?
                .run(|line| progress.event(Event::Detail(line)))?;
            return fs::remove_dir_all(&tree).map_err(ImageError::file("remove", &tree));
        }
        // Owners exist only inside one user namespace: unpacking, making the disk and removing the
        // tree all happen in it.
        create(&tree)?;
        let archive_size = size(self.archive)?;
        let script = r#"set -eu
tar --extract --file "$1" --directory "$2" --numeric-owner --exclude './dev/*' --exclude './boot/*'
shift 2
"$@"
rm -rf "$tree""#;
        let make = self.make_disk_sized(format, &tree, &disk, archive_size);
        self.host
            .program("unshare")
            .args([
                "--user",
                "--map-root-user",
                "--map-auto",
                "sh",
                "-c",
                script,
                "sh",
            ])
            .arg(self.archive)
            .arg(&tree)
            .args(make)
            .env("tree", &tree)
            .run(|line| progress.event(Event::Detail(line)))
    }

    fn unpack(&self, target: &Path, progress: &mut dyn Progress) -> Result<(), ImageError> {
        create(target)?;
        let total = size(self.archive)?;
        self.tar(target)
            .args(["--numeric-owner", "--xattrs", "--xattrs-include=*"])
            .args(["--exclude=./dev/*", "--exclude=./boot/*"])
            .args(["--checkpoint=500", "--checkpoint-action=echo=%u"])
            .run(|line| {
                let records = line
                    .rsplit(' ')
                    .next()
                    .and_then(|word| word.parse::<u64>().ok());
                progress.event(match records {
                    Some(records) => Event::Bytes {
                        done: records * RECORD,
                        total,
                    },
                    None => Event::Detail(line),
                });
            })
    }

    /// tar, about to extract into `target`; the names of what to extract must come after it.
    fn tar(&self, target: &Path) -> Program {
        let tar = self
            .host
            .program("tar")
            .arg("--extract")
            .arg("--file")
            .arg(self.archive);
        tar.arg("--directory").arg(target)
    }

    fn make_disk(
        &self,
        format: DiskFormat,
        tree: &Path,
        disk: &Path,
    ) -> Result<Program, ImageError> {
        let mut words = self
            .make_disk_sized(format, tree, disk, size(self.archive)?)
            .into_iter();
        let name = words.next().unwrap_or_default();
        Ok(self.host.program(&name.to_string_lossy()).args(words))
    }

    /// The command that makes a disk of `tree`; the archive's size is close to the tree's.
    fn make_disk_sized(
        &self,
        format: DiskFormat,
        tree: &Path,
        disk: &Path,
        archive_size: u64,
    ) -> Vec<PathBuf> {
        let words: Vec<PathBuf> = match format {
            DiskFormat::Erofs => vec!["mkfs.erofs".into(), disk.into(), tree.into()],
            DiskFormat::Ext4 => {
                // Room for the file system's own tables, and for small files' last blocks.
                let mib = archive_size.div_ceil(1 << 20) * 5 / 4 + 64;
                let options = ["mke2fs", "-q", "-t", "ext4", "-L", "root", "-d"];
                let mut words: Vec<PathBuf> = options.iter().map(PathBuf::from).collect();
                words.extend([tree.into(), disk.into(), format!("{mib}M").into()]);
                words
            }
        };
        words
    }

    /// Takes the kernel out of the tree, writes the initrd for it, and tells its release.
    pub(super) fn kernel(&self, form: RootForm) -> Result<String, ImageError> {
        let work = self.folder.join("kernel-files");
        create(&work)?;
        self.tar(&work)
            .args([
                "--no-same-owner",
                "--wildcards",
                "./boot/vmlinuz-*",
                "./usr/lib/modules/*",
            ])
            .run(|_| ())?;
        let image = only_entry(&work.join("boot"))?;
        let name = image
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let release = name
            .strip_prefix("vmlinuz-")
            .ok_or(ImageError::NoKernel)?
            .to_owned();
        let modules = ModuleTree::open(&work.join("usr/lib/modules").join(&release))?;
        let mut wanted = MODULES.to_vec();
        if let RootForm::Disk(format) = form {
            wanted.extend(DISK_MODULES);
            wanted.push(format.name());
        }
        let modules = modules.resolve(&wanted)?;
        let initrd = self.folder.join("initrd");
        let file = File::create(&initrd).map_err(ImageError::file("create", &initrd))?;
        let mut output = BufWriter::new(file);
        initramfs::write(&modules, &mut output)?;
        output.flush().map_err(InitramfsError::Write)?;
        let kernel = self.folder.join("kernel");
        fs::rename(&image, &kernel).map_err(ImageError::file("place", &kernel))?;
        fs::remove_dir_all(&work).map_err(ImageError::file("remove", &work))?;
        Ok(release)
    }

    /// The versions of the tree's packages, by name.
    pub(super) fn packages(&self) -> Result<Vec<(String, String)>, ImageError> {
        let status = self
            .tar(self.folder)
            .args(["--to-stdout", "./var/lib/dpkg/status"])
            .output()?;
        Ok(parse_status(&status))
    }
}

/// The name of a disk in its bundle.
pub(super) fn disk_name(format: DiskFormat) -> String {
    format!("root.{}", format.name())
}

fn create(folder: &Path) -> Result<(), ImageError> {
    fs::create_dir_all(folder).map_err(ImageError::file("create", folder))
}

fn size(file: &Path) -> Result<u64, ImageError> {
    Ok(fs::metadata(file)
        .map_err(ImageError::file("read", file))?
        .len())
}

fn only_entry(folder: &Path) -> Result<PathBuf, ImageError> {
    let mut entries = fs::read_dir(folder)
        .map_err(|_| ImageError::NoKernel)?
        .flatten();
    entries
        .next()
        .map(|entry| entry.path())
        .ok_or(ImageError::NoKernel)
}

/// Name and version of every installed package (deb-status format: paragraphs of `Field: value`).
fn parse_status(status: &str) -> Vec<(String, String)> {
    status
        .split("\n\n")
        .filter_map(|paragraph| {
            let field = |name: &str| {
                paragraph
                    .lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            };
            let installed = field("Status")?.ends_with(" installed");
            installed.then_some((field("Package")?.to_owned(), field("Version")?.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installed_packages_are_found_in_dpkgs_status() {
        let status = "Package: pcp\nStatus: install ok installed\nVersion: 6.3.8-1\n\n\
                      Package: old\nStatus: deinstall ok config-files\nVersion: 1\n\n\
                      Package: dbus\nStatus: install ok installed\nDescription: x\n Version: 9\n\
                      Version: 1.16\n";
        let found = parse_status(status);
        let expected = [("pcp", "6.3.8-1"), ("dbus", "1.16")];
        assert_eq!(
            found,
            expected.map(|(name, version)| (name.into(), version.into()))
        );
    }
}

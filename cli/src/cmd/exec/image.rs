//! A disk image that is a guest's root: what is in it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::places::plain;
use crate::diagnostic::Diagnostic;
use crate::qemu::Image as Form;

/// By this serial number the guest finds it among its disks.
const SERIAL: &str = "pcpvmm-root";
/// What a guest does with one whose file system is not known here: it tries all that it knows, and it knows this one.
const LIKELY: &str = "ext4";

/// File systems by their marks: where one is, the mark, and Linux's name, which is its module's too (Linux
/// include/uapi/linux/magic.h, and fs/*/ for the places).
const MARKS: [(u64, &[u8], &str); 5] = [
    (0x438, b"\x53\xef", "ext4"),
    (1024, b"\xe2\xe1\xf5\xe0", "erofs"),
    (0, b"hsqs", "squashfs"),
    (0, b"XFSB", "xfs"),
    (0x1_0040, b"_BHRfS_M", "btrfs"),
];

const RAW: &str = "raw";

/// The format of a disk image, as it looks.
pub(in crate::cmd) fn format_of(image: &Path) -> Result<&'static str, Diagnostic> {
    match Form::of(image) {
        Form::Raw => Ok(RAW),
        Form::Qcow2 => Ok("qcow2"),
        Form::Qcow2WithOthers => {
            let what = format!("cannot use the disk image `{}`", image.display());
            Err(Diagnostic::usage("disk", what)
                .cause("it has a backing file")
                .hint("`qemu-img convert -O qcow2 IMAGE NEW` writes one that needs no other"))
        }
    }
}

/// An image.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cmd) struct Image {
    path: PathBuf,
    format: &'static str,
    /// Its file system, where its mark is found.
    found: Option<&'static str>,
}

impl Image {
    /// The image in the file `path`, which is looked into.
    pub(super) fn open(path: &Path) -> Result<Self, Diagnostic> {
        let failed = || {
            let what = format!("cannot use the disk image `{}`", path.display());
            Diagnostic::usage("disk", what)
        };
        let unreadable = |error: io::Error| failed().because(&error);
        let file = File::open(path).map_err(unreadable)?;
        let format = format_of(path)?;
        let has = |place: u64, mark: &[u8]| {
            let mut bytes = vec![0; mark.len()];
            file.read_exact_at(&mut bytes, place).is_ok() && bytes == mark
        };
        let found = MARKS.iter().find(|(place, mark, _)| has(*place, mark));
        if format == RAW && found.is_none() {
            return Err(failed()
                .cause("no ext4, erofs, squashfs, xfs or btrfs is in it")
                .hint(
                    "a root is a folder, a bundle, or an image of a file system without partitions",
                ));
        }
        Ok(Self {
            path: std::fs::canonicalize(path).map_err(unreadable)?,
            format,
            found: found.map(|(_, _, name)| *name),
        })
    }

    /// The module of its file system.
    pub(super) fn module(&self) -> &'static str {
        self.found.unwrap_or(LIKELY)
    }

    /// The value of `pcpvmm.root=`.
    pub(super) fn root(&self) -> String {
        format!("disk:{SERIAL}:{}", self.found.unwrap_or("auto"))
    }

    /// The value of `run --disk`: nobody writes to it.
    pub(super) fn disk(&self) -> String {
        let format = self.format;
        format!("{},format={format},ro,serial={SERIAL}", plain(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(place: usize, mark: &[u8]) -> Result<Image, Diagnostic> {
        let mut bytes = vec![0; 70_000];
        bytes[place..place + mark.len()].copy_from_slice(mark);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        Image::open(file.path())
    }

    #[test]
    fn an_image_is_known_by_the_mark_in_it() {
        for (place, mark, name) in MARKS {
            let image = image(usize::try_from(place).unwrap(), mark).unwrap();
            assert_eq!(image.module(), name);
            assert_eq!(image.root(), format!("disk:pcpvmm-root:{name}"));
            assert!(image.disk().ends_with(",format=raw,ro,serial=pcpvmm-root"));
        }
        let qcow2 = image(0, b"QFI\xfb\0\0\0\x03").unwrap();
        assert_eq!(qcow2.root(), "disk:pcpvmm-root:auto");
        assert!(qcow2.disk().contains("format=qcow2"));
    }

    #[test]
    fn what_is_no_image_of_a_file_system_is_refused() {
        for (mark, why) in [
            (&b"nothing"[..], "no ext4"),
            (b"QFI\xfb\0\0\0\x03\0\0\0\0\0\0\0\x68", "a backing file"),
        ] {
            let refused = image(0, mark).unwrap_err();
            assert!(refused.causes.join(" ").contains(why), "{refused:?}");
        }
        assert!(Image::open(Path::new("/nonexistent")).is_err());
    }
}

//! The initrd: a cpio archive with our init, the modules that it loads, and the folders it mounts on.
//!
//! It is not compressed: the VMM puts it into guest memory as it is, and the guest unpacks it by
//! copying. The same input gives the same bytes.

use std::io::{self, Write};

use cpio::newc::{self, Builder, ModeFileType};

use crate::init::INIT;
use crate::modules::{Module, ModuleError};

/// The folders that the init needs.
const FOLDERS: [&str; 7] = ["dev", "layer", "lower", "modules", "proc", "root", "sys"];

/// Why an initrd cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum InitramfsError {
    /// A module cannot be read.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// A module is too large for the archive's format.
    #[error("module `{0}` has 4 GiB or more")]
    TooLarge(String),
    /// The archive cannot be written.
    #[error("cannot write the initrd")]
    Write(#[source] io::Error),
}

/// Writes an initrd that loads `modules` in the order given.
///
/// # Errors
/// If a module cannot be read or `output` cannot be written.
pub fn write(modules: &[Module], output: &mut dyn Write) -> Result<(), InitramfsError> {
    let mut archive = Archive { output, number: 0 };
    for name in FOLDERS {
        archive.entry(name, ModeFileType::Directory, 0o755, &[])?;
    }
    archive.console()?;
    archive.entry("init", ModeFileType::Regular, 0o755, INIT)?;
    let mut list = String::new();
    for module in modules {
        let file = format!("{}.ko", module.name);
        let contents = module.read()?;
        archive.entry(
            &format!("modules/{file}"),
            ModeFileType::Regular,
            0o644,
            &contents,
        )?;
        list.push_str(&file);
        list.push('\n');
    }
    archive.entry(
        "modules/list",
        ModeFileType::Regular,
        0o644,
        list.as_bytes(),
    )?;
    newc::trailer(archive.output).map_err(InitramfsError::Write)?;
    Ok(())
}

struct Archive<'w> {
    output: &'w mut dyn Write,
    number: u32,
}

impl Archive<'_> {
    fn entry(
        &mut self,
        name: &str,
        kind: ModeFileType,
        mode: u32,
        contents: &[u8],
    ) -> Result<(), InitramfsError> {
        let size =
            u32::try_from(contents.len()).map_err(|_| InitramfsError::TooLarge(name.to_owned()))?;
        let builder = Builder::new(name).mode(mode).set_mode_file_type(kind);
        self.write(builder, size, contents)
            .map_err(InitramfsError::Write)
    }

    /// The kernel opens `/dev/console` for the init before anything is mounted. Character device
    /// 5:1 (Linux Documentation/admin-guide/devices.txt).
    fn console(&mut self) -> Result<(), InitramfsError> {
        let builder = Builder::new("dev/console")
            .mode(0o600)
            .set_mode_file_type(ModeFileType::Char)
            .rdev_major(5)
            .rdev_minor(1);
        self.write(builder, 0, &[]).map_err(InitramfsError::Write)
    }

    fn write(&mut self, builder: Builder, size: u32, contents: &[u8]) -> io::Result<()> {
        self.number += 1;
        let mut entry = builder.ino(self.number).write(&mut self.output, size);
        entry.write_all(contents)?;
        entry.finish()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::{Command, Stdio};

    use super::*;

    fn modules(dir: &std::path::Path) -> Vec<Module> {
        ["one", "two"]
            .map(|name| {
                let path = dir.join(format!("{name}.ko"));
                fs::write(&path, name.repeat(777)).unwrap();
                Module {
                    name: name.to_owned(),
                    path,
                }
            })
            .to_vec()
    }

    fn archive(dir: &std::path::Path) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&modules(dir), &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert_eq!(archive(a.path()), archive(b.path()));
    }

    #[test]
    fn the_archive_holds_what_the_init_needs() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = archive(dir.path());
        let mut rest = &bytes[..];
        let mut found = Vec::new();
        loop {
            let reader = newc::Reader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            let (name, mode) = (reader.entry().name().to_owned(), reader.entry().mode());
            let mut contents = Vec::new();
            rest = reader.to_writer(&mut contents).unwrap();
            found.push((name, mode, contents));
        }
        let get = |name: &str| found.iter().find(|(n, ..)| n == name).unwrap();
        assert_eq!(get("init").2, INIT);
        assert_eq!(get("init").1, 0o100_755);
        assert_eq!(get("root").1, 0o040_755);
        assert_eq!(get("dev/console").1, 0o020_600);
        assert_eq!(get("modules/list").2, b"one.ko\ntwo.ko\n");
        assert_eq!(get("modules/two.ko").2, "two".repeat(777).as_bytes());
    }

    #[test]
    fn gnu_cpio_reads_the_archive() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = archive(dir.path());
        let listing = Command::new("cpio")
            .args(["--list", "--quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match listing {
            Ok(child) => child,
            // The archive's form is checked above; this test adds a second reader where there is one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => panic!("{error}"),
        };
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{output:?}"
        );
        let names = String::from_utf8(output.stdout).unwrap();
        let expected = "dev\nlayer\nlower\nmodules\nproc\nroot\nsys\ndev/console\ninit\n\
                        modules/one.ko\nmodules/two.ko\nmodules/list\n";
        assert_eq!(names, expected);
    }

    #[test]
    fn a_missing_module_is_an_error() {
        let module = Module {
            name: "m".into(),
            path: "/nonexistent/m.ko".into(),
        };
        let error = write(&[module], &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/m.ko"), "{error}");
    }
}

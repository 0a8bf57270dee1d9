//! Initramfs archives of the lab and of the stock kernels under test: busybox, a few modules, and an init script.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use cpio::newc;
use guest::modules::{ModuleError, ModuleTree};

/// The empty folders that init mounts things on.
const FOLDERS: [&str; 10] = [
    "bin", "m", "proc", "sys", "dev", "host", "root", "rw", "job", "tmp",
];

/// What an archive is made of.
#[derive(Debug)]
pub(crate) struct Recipe<'a> {
    /// A static busybox.
    pub(crate) busybox: &'a Path,
    /// The module folder of one kernel version.
    pub(crate) modules: &'a Path,
    /// The modules that init loads, without those that they need.
    pub(crate) wanted: &'a [&'a str],
    /// Modules that init can load besides, where the kernel has them.
    pub(crate) more: &'a [&'a str],
    /// The script.
    pub(crate) init: &'a [u8],
    /// Whether the archive has a folder `/job`; without one, a file of that name may follow in another archive.
    pub(crate) job_folder: bool,
}

impl Recipe<'_> {
    /// The archive: `/init`, `/bin/busybox`, the modules as `/m/NAME.ko`, their names in load order in `/modules`, and
    /// for each of the others what it takes in `/m/NAME.list`.
    pub(crate) fn build(&self) -> Result<Vec<u8>> {
        let mut archive = Archive::default();
        for name in FOLDERS
            .iter()
            .filter(|name| **name != "job" || self.job_folder)
        {
            archive.add(name, 0o040_755, &[])?;
        }
        let busybox = fs::read(self.busybox)
            .with_context(|| format!("cannot read {}", self.busybox.display()))?;
        archive.add("bin/busybox", 0o100_755, &busybox)?;
        archive.add("init", 0o100_755, self.init)?;
        let mut names = String::new();
        let tree = ModuleTree::open(self.modules)?;
        let mut there = HashSet::new();
        for module in tree.resolve(self.wanted)? {
            archive.add(&format!("m/{}.ko", module.name), 0o100_644, &module.read()?)?;
            names.push_str(&module.name);
            names.push('\n');
            there.insert(module.name);
        }
        for wanted in self.more {
            let modules = match tree.resolve(&[wanted]) {
                Err(ModuleError::Missing { .. }) => continue,
                other => other?,
            };
            let mut list = String::new();
            for module in modules {
                list.push_str(&module.name);
                list.push('\n');
                if there.insert(module.name.clone()) {
                    archive.add(&format!("m/{}.ko", module.name), 0o100_644, &module.read()?)?;
                }
            }
            archive.add(&format!("m/{wanted}.list"), 0o100_644, list.as_bytes())?;
        }
        archive.add("modules", 0o100_644, names.as_bytes())?;
        archive.finish()
    }
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.entries += 1;
        let size = u32::try_from(content.len()).context("a file is too large for the initramfs")?;
        let entry = newc::Builder::new(name)
            .ino(self.entries)
            .mode(mode)
            .nlink(1);
        let mut writer = entry.write(&mut self.bytes, size);
        writer.write_all(content)?;
        writer.finish()?;
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<u8>> {
        newc::trailer(&mut self.bytes)?;
        Ok(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_holds_init_and_the_modules_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("modules.dep", "kernel/a.ko: kernel/b.ko\nkernel/b.ko:\n");
        fs::create_dir(folder.path().join("kernel")).unwrap();
        write("kernel/a.ko", "A");
        write("kernel/b.ko", "B");
        write("busybox", "static");
        let recipe = Recipe {
            busybox: &folder.path().join("busybox"),
            modules: folder.path(),
            wanted: &["a"],
            more: &[],
            init: b"#!/bin/busybox sh\n",
            job_folder: false,
        };
        let bytes = recipe.build().unwrap();
        let mut rest = &bytes[..];
        let mut files = Vec::new();
        loop {
            let mut reader = newc::Reader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            let mut content = String::new();
            std::io::Read::read_to_string(&mut reader, &mut content).unwrap();
            files.push((reader.entry().name().to_owned(), content));
            rest = reader.finish().unwrap();
        }
        let content = |name: &str| {
            files
                .iter()
                .find(|(it, _)| it == name)
                .map(|(_, text)| text.as_str())
        };
        assert_eq!(content("modules"), Some("b\na\n"));
        assert_eq!(content("m/a.ko"), Some("A"));
        assert_eq!(content("init"), Some("#!/bin/busybox sh\n"));
        assert_eq!(content("job"), None);
    }
}

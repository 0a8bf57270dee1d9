//! L1's initramfs: busybox, the few modules that find the host's tree and start KVM, and init.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use cpio::newc;

use crate::command;

/// The modules that L1 loads before it changes its root, without their dependencies.
pub(super) const MODULES: [&str; 7] = [
    "virtio_pci",
    "virtio_console",
    "virtio_blk",
    "9pnet_virtio",
    "9p",
    "overlay",
    "kvm_amd",
];
/// Loaded when the job has disk images to mount.
pub(super) const DIRECTORIES: [&str; 10] = [
    "bin", "m", "proc", "sys", "dev", "host", "root", "rw", "job", "tmp",
];

/// Builds the archive from busybox, the unpacked kernel package's module folder, and the init script.
pub(super) fn build(busybox: &Path, modules: &Path, init: &[u8]) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for name in DIRECTORIES {
        archive.add(name, 0o040_755, &[])?;
    }
    archive.add("bin/busybox", 0o100_755, &read(busybox)?)?;
    archive.add("init", 0o100_755, init)?;
    let list = read(&modules.join("modules.dep"))?;
    let order = load_order(&String::from_utf8_lossy(&list), &MODULES);
    let mut names = String::new();
    for file in order {
        let name = stem(&file).to_owned();
        archive.add(
            &format!("m/{name}.ko"),
            0o100_644,
            &module(&modules.join(&file))?,
        )?;
        names.push_str(&name);
        names.push('\n');
    }
    archive.add("modules", 0o100_644, names.as_bytes())?;
    archive.finish()
}

/// The module files for `wanted`, each after those it needs. A module that `modules.dep` lacks is built into the kernel.
fn load_order(dep: &str, wanted: &[&str]) -> Vec<PathBuf> {
    let mut order: Vec<PathBuf> = Vec::new();
    for name in wanted {
        let line = dep.lines().filter_map(|line| line.split_once(':'));
        let Some((file, needs)) = line
            .into_iter()
            .find(|(file, _)| stem(Path::new(file)).replace('-', "_") == *name)
        else {
            continue;
        };
        // modules.dep names the nearest dependency first.
        for file in needs.split_whitespace().rev().chain([file]) {
            if !order.iter().any(|it| it == Path::new(file)) {
                order.push(file.into());
            }
        }
    }
    order
}

/// A module's name in its file name.
fn stem(file: &Path) -> &str {
    let name = file
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    name.split_once(".ko").map_or(name, |(stem, _)| stem)
}

fn module(file: &Path) -> Result<Vec<u8>> {
    let bytes = read(file)?;
    match file.extension().and_then(|it| it.to_str()) {
        Some("xz") => command::filter(Command::new("xz").arg("-dc"), &bytes),
        Some("zst") => command::filter(Command::new("zstd").arg("-dcq"), &bytes),
        _ => Ok(bytes),
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
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
    fn modules_come_after_what_they_need_and_once() {
        let dep = "k/kvm-amd.ko.xz: k/ccp.ko.xz k/kvm.ko.xz k/irqbypass.ko.xz\n\
                   k/kvm.ko.xz: k/irqbypass.ko.xz\nk/9p.ko.xz: k/9pnet.ko.xz k/netfs.ko.xz\n";
        let order = load_order(dep, &["kvm", "kvm_amd", "9p", "built_in"]);
        let names: Vec<_> = order.iter().map(|file| stem(file)).collect();
        assert_eq!(
            names,
            ["irqbypass", "kvm", "ccp", "kvm-amd", "netfs", "9pnet", "9p"]
        );
    }
}

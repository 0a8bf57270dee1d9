//! The file `vmtest.toml`. All that is wrong with it is told at once, each with its line and column.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::toml_reader::{Item, Reader, Table, read};

/// The architecture of guests.
pub(crate) const ARCH: &str = "x86_64";
/// What a target has where the file does not say.
const MEMORY: &str = "4G";
const CPUS: u32 = 2;
const MAX_CPUS: u32 = 64;

const TARGET: [&str; 10] = [
    "name",
    "image",
    "uefi",
    "kernel",
    "kernel_args",
    "rootfs",
    "arch",
    "qemu_command",
    "command",
    "vm",
];
const VM: [&str; 5] = ["num_cpus", "memory", "mounts", "bios", "extra_args"];
const MOUNT: [&str; 2] = ["host_path", "writable"];

/// A command in a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Its name.
    pub(crate) name: String,
    /// The kernel; there is none if the target cannot be run.
    pub(crate) kernel: PathBuf,
    /// More words of the kernel command line.
    pub(crate) kernel_args: String,
    /// The folder that is the guest's root.
    pub(crate) rootfs: PathBuf,
    /// A line for bash, or `-` for a shell on this terminal.
    pub(crate) command: String,
    /// The program that would run the VM.
    pub(crate) qemu_command: Option<String>,
    /// Guest memory, as QEMU's `-m` has it.
    pub(crate) memory: String,
    /// Processors.
    pub(crate) cpus: u32,
    /// What the guest mounts, by the place there.
    pub(crate) mounts: BTreeMap<String, Mount>,
    /// More of QEMU's options.
    pub(crate) extra_args: Vec<String>,
    /// What it wants and cannot have, each with its line and column.
    pub(crate) unfit: Vec<String>,
}

/// A folder of this machine that a guest mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) host_path: PathBuf,
    pub(crate) writable: bool,
}

/// What a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    /// The targets, in order.
    pub(crate) targets: Vec<Target>,
    /// What vmtest would not take notice of, each with its line and column.
    pub(crate) warnings: Vec<String>,
}

impl Target {
    /// One that runs `command` with `kernel`.
    pub(crate) fn new(name: String, kernel: PathBuf, command: String) -> Self {
        Self {
            name,
            kernel,
            kernel_args: String::new(),
            rootfs: "/".into(),
            command,
            qemu_command: None,
            memory: MEMORY.to_owned(),
            cpus: CPUS,
            mounts: BTreeMap::new(),
            extra_args: Vec::new(),
            unfit: Vec::new(),
        }
    }
}

/// Why a guest of another architecture is not run.
pub(crate) fn foreign(arch: &str) -> String {
    let arch = arch.escape_debug();
    format!("`arch`: guests are {ARCH}, and `{arch}` would have to be emulated")
}

/// Reads a file.
///
/// # Errors
/// Every problem that it has, as `LINE:COLUMN: text`, in the order of the file.
pub(crate) fn parse(text: &str) -> Result<File, Vec<String>> {
    read(text, |reader, table| {
        let mut fields = Fields {
            reader,
            warnings: Vec::new(),
        };
        let targets = fields.targets(table);
        File {
            targets,
            warnings: fields.warnings,
        }
    })
}

struct Fields<'r, 't> {
    reader: &'r mut Reader<'t>,
    warnings: Vec<String>,
}

impl Fields<'_, '_> {
    fn problem(&mut self, item: &Item<'_>, what: impl Into<String>) {
        self.reader.problem(item.span(), what);
    }

    /// Warns of keys that have no meaning: vmtest passes over them.
    fn known(&mut self, table: &Table<'_>, known: &[&str], what: &str) {
        for (at, what) in Reader::strange(table, known, what) {
            let told = self.reader.at(at.start, &what);
            self.warnings.push(told);
        }
    }

    fn targets(&mut self, table: &Table<'_>) -> Vec<Target> {
        self.known(table, &["target"], "vmtest.toml");
        let Some(item) = table.get("target") else {
            self.reader
                .problem(0..0, "there is no target, a table `[[target]]`");
            return Vec::new();
        };
        let list = item.get_ref().as_array();
        let tables = list.map(|all| all.iter().map(|it| Some((it, it.get_ref().as_table()?))));
        let Some(tables) = tables.and_then(|all| all.collect::<Option<Vec<_>>>()) else {
            self.problem(item, "a target is a table `[[target]]`");
            return Vec::new();
        };
        let read = |(item, fields)| self.target(item, fields);
        tables.into_iter().map(read).collect()
    }

    fn target(&mut self, item: &Item<'_>, fields: &Table<'_>) -> Target {
        self.known(fields, &TARGET, "a target");
        let text = |this: &mut Self, key| this.text(fields, key);
        let name = self.filled(item, fields, "name");
        let command = self.filled(item, fields, "command");
        let kernel = text(self, "kernel").unwrap_or_default();
        let mut target = Target::new(name, kernel.into(), command);
        target.kernel_args = text(self, "kernel_args").unwrap_or_default();
        target.qemu_command = text(self, "qemu_command");
        if let Some(rootfs) = text(self, "rootfs") {
            target.rootfs = rootfs.into();
        }
        self.boots(item, fields, &mut target);
        if let Some(vm) = self.reader.table(fields, "vm") {
            self.known(vm, &VM, "a VM");
            self.vm(vm, &mut target);
        }
        target
    }

    /// What a target boots: a kernel, and nothing that takes firmware or another processor.
    fn boots(&mut self, item: &Item<'_>, fields: &Table<'_>, target: &mut Target) {
        let uefi = self.truth(fields, "uefi");
        let image = self.text(fields, "image").and(fields.get("image"));
        let mut unfit = |it: &Item<'_>, why: &str| {
            target.unfit.push(self.reader.at(it.span().start, why));
        };
        match (image, fields.get("kernel")) {
            (None, None) => self.problem(item, "a target has an `image` or a `kernel`"),
            (Some(image), Some(_)) => {
                self.problem(image, "a target with a `kernel` has no `image`");
            }
            (None, Some(kernel)) if kernel.get_ref().as_str() == Some("") => {
                self.problem(kernel, "`kernel` is empty");
            }
            (Some(image), None) => unfit(
                image,
                "`image`: a disk that boots by its own boot loader takes firmware, which there is none of; `kernel` boots without",
            ),
            (None, Some(_)) => {}
        }
        match fields.get("uefi") {
            Some(it) if uefi && image.is_none() => {
                self.problem(it, "`uefi` is for a target with an `image`");
            }
            Some(it) if uefi => target.unfit.push(
                self.reader
                    .at(it.span().start, "`uefi`: there is no firmware"),
            ),
            _ => {}
        }
        if let Some(it) = fields.get("kernel_args").filter(|_| image.is_some()) {
            self.problem(it, "`kernel_args` is for a target with a `kernel`");
        }
        let arch = self.text(fields, "arch").unwrap_or(ARCH.to_owned());
        if let Some(it) = fields.get("arch").filter(|_| arch != ARCH) {
            target
                .unfit
                .push(self.reader.at(it.span().start, &foreign(&arch)));
        }
        let vm = fields.get("vm").and_then(|it| it.get_ref().as_table());
        if let Some(it) = vm.and_then(|it| it.get("bios")).filter(|_| !uefi) {
            self.problem(it, "`bios` is for a target with `uefi`");
        }
    }

    fn vm(&mut self, vm: &Table<'_>, target: &mut Target) {
        if let Some(memory) = self.text(vm, "memory") {
            target.memory = memory;
        }
        if let Some(item) = vm.get("num_cpus") {
            let number = self.reader.number(item, "num_cpus", 1..=MAX_CPUS);
            target.cpus = number.unwrap_or(CPUS);
        }
        if let Some(item) = vm.get("extra_args") {
            let list = item.get_ref().as_array();
            let words = list.map(|all| all.iter().map(|it| it.get_ref().as_str()));
            match words.and_then(|all| all.map(|it| it.map(str::to_owned)).collect()) {
                Some(words) => target.extra_args = words,
                None => self.problem(item, "`extra_args` is no list of texts"),
            }
        }
        for (place, item) in self.reader.table(vm, "mounts").into_iter().flatten() {
            let Some(fields) = item.get_ref().as_table() else {
                self.problem(item, "a mount is a table with `host_path`");
                continue;
            };
            self.known(fields, &MOUNT, "a mount");
            let place: &str = place.get_ref();
            if !place.starts_with('/') || place.contains(':') {
                self.problem(
                    item,
                    "the place of a mount is an absolute path without a colon",
                );
            }
            let mount = Mount {
                host_path: self.filled(item, fields, "host_path").into(),
                writable: self.truth(fields, "writable"),
            };
            target.mounts.insert(place.to_owned(), mount);
        }
    }

    fn text(&mut self, fields: &Table<'_>, key: &str) -> Option<String> {
        let item = fields.get(key)?;
        let text = item.get_ref().as_str();
        if text.is_none() {
            self.problem(item, format!("`{key}` is no text"));
        }
        text.map(str::to_owned)
    }

    /// A text that has to be there.
    fn filled(&mut self, item: &Item<'_>, fields: &Table<'_>, key: &str) -> String {
        let text = self.text(fields, key);
        match (&text, fields.get(key)) {
            (None, None) => self.problem(item, format!("there is no `{key}`")),
            (Some(text), Some(item)) if text.is_empty() => {
                self.problem(item, format!("`{key}` is empty"));
            }
            _ => {}
        }
        text.unwrap_or_default()
    }

    fn truth(&mut self, fields: &Table<'_>, key: &str) -> bool {
        let Some(item) = fields.get(key) else {
            return false;
        };
        let truth = item.get_ref().as_bool();
        if truth.is_none() {
            self.problem(item, format!("`{key}` is neither true nor false"));
        }
        truth.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests;

//! What a target is for `exec`: its flags and its command.

use std::path::{Path, PathBuf};

use super::file::Target;
use crate::qemu::{Image, translate};

/// Where the guest finds the folder of the configuration.
const SHARED: &str = "/mnt/vmtest";
/// The command that is a shell on this terminal.
const SHELL: &str = "-";
/// Words of the kernel command line that `exec` says itself.
const TAKEN: [&str; 5] = ["init=", "rdinit=", "root=", "rootfstype=", "rootflags="];

/// What `exec` is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// The kernel.
    pub(crate) kernel: PathBuf,
    /// Guest memory, as `--memory` has it.
    pub(crate) memory: String,
    /// Processors.
    pub(crate) cpus: String,
    /// The other flags.
    pub(crate) flags: Vec<String>,
    /// The command and its arguments.
    pub(crate) command: Vec<String>,
    /// Whether it talks to the user.
    pub(crate) interactive: bool,
    /// What is done otherwise than the target says.
    pub(crate) warnings: Vec<String>,
}

impl Order {
    /// What `target` is, whose paths begin at `base`, an absolute path.
    ///
    /// # Errors
    /// What it wants that cannot be had.
    pub(crate) fn of(target: &Target, base: &Path) -> Result<Self, Vec<String>> {
        let at = |path: &Path| base.join(path);
        let mut order = Self {
            kernel: at(&target.kernel),
            memory: String::new(),
            cpus: String::new(),
            flags: Vec::new(),
            command: Vec::new(),
            interactive: target.command == SHELL,
            warnings: Vec::new(),
        };
        let mut unfit = target.unfit.clone();
        if let Some(program) = &target.qemu_command {
            let program = program.escape_debug();
            let what = format!("`qemu_command`: the VM is not run by `{program}`");
            order.warnings.push(what);
        }
        for word in target.kernel_args.split_whitespace() {
            if TAKEN.iter().any(|it| word.starts_with(it)) {
                let word = word.escape_debug();
                let what =
                    format!("`kernel_args`: `{word}` is not for a guest that runs one command");
                unfit.push(what);
            }
        }
        let flag = |name: &str, value: &str| format!("--{name}={value}");
        if !target.kernel_args.trim().is_empty() {
            order
                .flags
                .push(flag("kernel-arg", target.kernel_args.trim()));
        }
        order.flags.push(flag("user", "0:0"));
        let on_host = target.rootfs == Path::new("/");
        if !on_host {
            let root = at(&target.rootfs);
            order.flags.push(flag("root", &root.to_string_lossy()));
        }
        let folder = base.to_string_lossy();
        if on_host && base != Path::new("/") {
            // By its own path too.
            order.flags.push(flag("rw", &folder));
        }
        order
            .flags
            .push(flag("share", &format!("{folder}:{SHARED}")));
        for (place, mount) in &target.mounts {
            let host = at(&mount.host_path);
            let only = if mount.writable { "" } else { ":ro" };
            let share = format!("{}:{place}{only}", host.display());
            order.flags.push(flag("share", &share));
        }
        if order.interactive {
            order.command = ["bash", "--login"].map(str::to_owned).to_vec();
        } else {
            order.command = ["bash", "-c", &target.command].map(str::to_owned).to_vec();
            let cwd = if on_host { &*folder } else { "/" };
            order.flags.push(flag("cwd", cwd));
        }
        order.machine(target, &mut unfit);
        match unfit.is_empty() {
            true => Ok(order),
            false => Err(unfit),
        }
    }

    /// Takes memory, processors and more devices from what QEMU would be told.
    fn machine(&mut self, target: &Target, unfit: &mut Vec<String>) {
        let cpus = target.cpus.to_string();
        let own = ["-m", &target.memory, "-smp", &cpus];
        let fixed = ["-nodefaults", "-no-reboot", "-append", "", "-kernel", ""];
        let words: Vec<String> = fixed.iter().chain(&own).map(|&it| it.to_owned()).collect();
        let words: Vec<String> = words.iter().chain(&target.extra_args).cloned().collect();
        let translation = translate(&words, &Image::of);
        let field = |option: &str| match option.split(' ').next() {
            Some("-m") => "memory",
            Some("-smp") => "num_cpus",
            _ => "extra_args",
        };
        for refusal in &translation.refused {
            let option = refusal.option.escape_debug();
            let field = field(&refusal.option);
            unfit.push(format!("`{field}`: `{option}`: {}", refusal.why));
        }
        for row in &translation.rows {
            for flag in &row.flags {
                let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
                match (name, value) {
                    ("--memory", size) => size.clone_into(&mut self.memory),
                    ("--cpus", number) => number.clone_into(&mut self.cpus),
                    ("--disk", _) | ("--net", "user" | "none") => self.flags.push(flag.clone()),
                    // The guest has one in any case, or it is this program's own.
                    ("--kernel" | "--cmdline" | "--rng" | "--mac", _)
                    | ("--console", "serial=none") => {}
                    ("--initrd", _) => {
                        let what = "`extra_args`: `-initrd`: the guest has an initrd of this program's, which loads the kernel's modules";
                        self.warnings.push(what.to_owned());
                    }
                    _ => {
                        let option = row.option.escape_debug();
                        unfit.push(format!("`extra_args`: `{option}`: a guest that runs one command has no such device"));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;

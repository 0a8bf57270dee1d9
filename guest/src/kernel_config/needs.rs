//! What a kernel must have been built with, for what.

use serde::Serialize;

use super::{KernelConfig, Setting};
use crate::modules::ModuleTree;

/// What a kernel is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Be the kernel of a VM.
    Run,
    /// Run a command by `pcp-vmm exec`.
    Exec,
    /// Run BPF programs, as bpftrace and libbpf load them.
    Bpf,
}

/// How much a need matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Importance {
    /// Nothing works without it.
    Needed,
    /// Something does not work without it.
    Wanted,
}

/// One need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Need {
    /// The option, without `CONFIG_`.
    pub option: &'static str,
    /// The module that it makes, if it can be one.
    pub module: Option<&'static str>,
    /// Whether it must be.
    pub importance: Importance,
    /// What it is for.
    pub reason: &'static str,
}

const fn needed(option: &'static str, reason: &'static str) -> Need {
    Need {
        option,
        module: None,
        importance: Importance::Needed,
        reason,
    }
}

const fn wanted(option: &'static str, reason: &'static str) -> Need {
    Need {
        importance: Importance::Wanted,
        ..needed(option, reason)
    }
}

const fn module(name: &'static str, need: Need) -> Need {
    Need {
        module: Some(name),
        ..need
    }
}

/// What every guest of ours has.
const MACHINE: [Need; 5] = [
    needed("64BIT", "kernels are entered in 64-bit mode"),
    needed("ACPI", "the machine is described by ACPI tables"),
    needed("PCI", "its devices are on PCI"),
    needed("PCI_MMCONFIG", "their configuration space is in memory"),
    module(
        "virtio_pci",
        needed("VIRTIO_PCI", "they are virtio devices"),
    ),
];

const RUN: [Need; 10] = [
    wanted(
        "PCI_MSI",
        "interrupts of virtio devices without sharing a line",
    ),
    wanted("SERIAL_8250_CONSOLE", "the console ttyS0"),
    wanted("BLK_DEV_INITRD", "initrds, which bundles have"),
    wanted("KVM_GUEST", "the clock and the time stolen from the guest"),
    module(
        "virtio_console",
        wanted("VIRTIO_CONSOLE", "the console hvc0"),
    ),
    module("virtio_net", wanted("VIRTIO_NET", "the network")),
    module("virtio_blk", wanted("VIRTIO_BLK", "disks")),
    module("virtiofs", wanted("VIRTIO_FS", "shares")),
    module("virtio_balloon", wanted("VIRTIO_BALLOON", "the balloon")),
    module("virtio_rng", wanted("HW_RANDOM_VIRTIO", "entropy at once")),
];

const EXEC: [Need; 14] = [
    needed("BLK_DEV_INITRD", "its init is in an initrd"),
    needed("BINFMT_ELF", "programs"),
    needed("PROC_FS", "/proc"),
    needed("SYSFS", "/sys"),
    needed("DEVTMPFS", "/dev"),
    needed("TMPFS", "the layer in RAM that takes changes"),
    module("virtiofs", needed("VIRTIO_FS", "the root, a share")),
    module(
        "overlay",
        needed("OVERLAY_FS", "the layer in RAM over the root"),
    ),
    module(
        "vmw_vsock_virtio_transport",
        needed(
            "VIRTIO_VSOCKETS",
            "the way to the host: the command's streams and its end",
        ),
    ),
    wanted("UNIX98_PTYS", "commands on a terminal"),
    wanted("SERIAL_8250_CONSOLE", "what the kernel prints"),
    wanted("CGROUPS", "/sys/fs/cgroup"),
    module(
        "virtio_net",
        wanted("VIRTIO_NET", "the network of `--net user`"),
    ),
    module("virtio_rng", wanted("HW_RANDOM_VIRTIO", "entropy at once")),
];

const BPF: [Need; 17] = [
    needed("BPF_SYSCALL", "loading programs"),
    needed("BPF_EVENTS", "programs on probes and tracepoints"),
    needed("PERF_EVENTS", "attaching to probes and tracepoints"),
    needed(
        "DEBUG_INFO_BTF",
        "typed programs (fentry, CO-RE): the types of the kernel",
    ),
    wanted("DEBUG_INFO_BTF_MODULES", "the same for modules"),
    wanted("BPF_JIT", "fast programs; fentry and fexit take it"),
    wanted("KPROBE_EVENTS", "kprobes"),
    wanted("UPROBE_EVENTS", "uprobes"),
    wanted("TRACEPOINTS", "tracepoints"),
    wanted("FTRACE_SYSCALLS", "tracepoints of system calls"),
    wanted(
        "FUNCTION_TRACER",
        "fentry and fexit; the list of functions that can be probed",
    ),
    wanted("DYNAMIC_FTRACE", "fentry and fexit"),
    wanted("HAVE_HW_BREAKPOINT", "watchpoints"),
    wanted("KALLSYMS_ALL", "names of variables"),
    wanted(
        "DEBUG_FS",
        "/sys/kernel/debug/tracing, where older tools look",
    ),
    wanted("CGROUP_BPF", "programs on control groups"),
    wanted("BPF_LSM", "programs on security hooks"),
];

impl Purpose {
    /// What it takes, the most needed first.
    pub fn needs(self) -> impl Iterator<Item = &'static Need> {
        let (machine, own): (&[Need], &[Need]) = match self {
            Self::Run => (&MACHINE, &RUN),
            Self::Exec => (&MACHINE, &EXEC),
            Self::Bpf => (&[], &BPF),
        };
        machine.iter().chain(own)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Exec => "exec",
            Self::Bpf => "bpf",
        }
    }

    /// The needed options with modules of their own that the kernel of `tree` has in no form; empty where that cannot be
    /// told.
    #[must_use]
    pub fn lacking(self, tree: &ModuleTree) -> Vec<&'static Need> {
        if !tree.tells_builtin() {
            return Vec::new();
        }
        let lacks = |need: &&Need| {
            let is_needed = need.importance == Importance::Needed;
            is_needed && need.module.is_some_and(|name| !tree.has(name))
        };
        self.needs().filter(lacks).collect()
    }
}

/// How a kernel stands to one need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The need.
    #[serde(flatten)]
    pub need: &'static Need,
    /// For what.
    pub purpose: Purpose,
    /// `built-in`, `module`, `module-missing` (it is a module, and the folder of modules lacks it), or `missing`.
    pub state: &'static str,
}

/// How a kernel stands to all needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The needs, in order.
    pub options: Vec<Row>,
}

impl Report {
    /// How a kernel with `config` stands to what `purposes` take, with the modules of `tree` where they are known.
    #[must_use]
    pub fn of(config: &KernelConfig, tree: Option<&ModuleTree>, purposes: &[Purpose]) -> Self {
        let mut report = Self::default();
        for purpose in purposes {
            for need in purpose.needs() {
                let told = |row: &&mut Row| row.need.option == need.option;
                match report.options.iter_mut().find(told) {
                    // One line for an option, with the stricter of its purposes.
                    Some(row) if need.importance == Importance::Needed => {
                        if row.need.importance == Importance::Wanted {
                            *row = Row {
                                need,
                                purpose: *purpose,
                                ..*row
                            };
                        }
                    }
                    Some(_) => {}
                    None => report.options.push(Row {
                        need,
                        purpose: *purpose,
                        state: state(config, tree, need),
                    }),
                }
            }
        }
        report
    }

    /// Notes that the kernel turned out to lack `option`, whatever its configuration says.
    pub fn lacks(&mut self, option: &str) {
        let told = self
            .options
            .iter_mut()
            .filter(|row| row.need.option == option);
        told.for_each(|row| row.state = "missing");
    }

    /// The needed options that are not there.
    pub fn missing(&self) -> impl Iterator<Item = &Row> {
        let is_missing = |row: &&Row| {
            row.need.importance == Importance::Needed && row.state.ends_with("missing")
        };
        self.options.iter().filter(is_missing)
    }
}

fn state(config: &KernelConfig, tree: Option<&ModuleTree>, need: &Need) -> &'static str {
    match config.get(need.option) {
        None => "missing",
        Some(Setting::BuiltIn | Setting::Value) => "built-in",
        Some(Setting::Module) => match (tree, need.module) {
            (Some(tree), Some(name)) if !tree.has(name) => "module-missing",
            _ => "module",
        },
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn config(without: &[&str]) -> KernelConfig {
        let purposes = [Purpose::Run, Purpose::Exec, Purpose::Bpf];
        let all = purposes.into_iter().flat_map(Purpose::needs);
        let lines = all
            .filter(|need| !without.contains(&need.option))
            .map(|need| match need.module {
                Some(_) => format!("CONFIG_{}=m\n", need.option),
                None => format!("CONFIG_{}=y\n", need.option),
            });
        KernelConfig::parse(&lines.collect::<String>()).unwrap()
    }

    fn tree(builtin: &[&str], modules: &[&str]) -> (tempfile::TempDir, ModuleTree) {
        let folder = tempfile::tempdir().unwrap();
        let lines = |names: &[&str], end: &str| -> String {
            names
                .iter()
                .map(|it| format!("kernel/{it}.ko{end}\n"))
                .collect()
        };
        fs::write(folder.path().join("modules.dep"), lines(modules, ":")).unwrap();
        fs::write(folder.path().join("modules.builtin"), lines(builtin, "")).unwrap();
        let tree = ModuleTree::open(folder.path()).unwrap();
        (folder, tree)
    }

    #[test]
    fn only_what_is_needed_and_not_there_counts() {
        let purposes = [Purpose::Exec, Purpose::Bpf];
        assert_eq!(
            Report::of(&config(&[]), None, &purposes).missing().count(),
            0
        );
        let report = Report::of(
            &config(&["VIRTIO_FS", "VIRTIO_NET", "BPF_SYSCALL"]),
            None,
            &purposes,
        );
        let missing: Vec<_> = report.missing().map(|row| row.need.option).collect();
        assert_eq!(missing, ["VIRTIO_FS", "BPF_SYSCALL"]);
        let net = report
            .options
            .iter()
            .find(|row| row.need.option == "VIRTIO_NET");
        assert_eq!(net.unwrap().state, "missing");
    }

    #[test]
    fn a_module_that_is_not_in_the_folder_is_missing() {
        let (_folder, tree) = tree(&["virtio_pci"], &["virtiofs", "vmw_vsock_virtio_transport"]);
        let report = Report::of(&config(&[]), Some(&tree), &[Purpose::Exec]);
        let missing: Vec<_> = report
            .missing()
            .map(|row| (row.need.option, row.state))
            .collect();
        assert_eq!(missing, [("OVERLAY_FS", "module-missing")]);
        let lacking: Vec<_> = Purpose::Exec
            .lacking(&tree)
            .iter()
            .map(|it| it.option)
            .collect();
        assert_eq!(lacking, ["OVERLAY_FS"]);
    }

    #[test]
    fn what_is_built_in_cannot_be_told_without_an_index() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("modules.dep"), "").unwrap();
        let tree = ModuleTree::open(folder.path()).unwrap();
        assert!(Purpose::Exec.lacking(&tree).is_empty());
    }

    #[test]
    fn an_option_has_one_line_with_the_strictest_of_its_reasons() {
        let report = Report::of(&config(&[]), None, &[Purpose::Run, Purpose::Exec]);
        let fs: Vec<_> = report
            .options
            .iter()
            .filter(|row| row.need.option == "VIRTIO_FS")
            .collect();
        assert_eq!(fs.len(), 1);
        assert_eq!(
            (fs[0].purpose, fs[0].need.importance),
            (Purpose::Exec, Importance::Needed)
        );
    }
}

//! The options of QEMU's command line: whether a value follows, and what becomes of each.

use self::Fate::{Ignored, Refused, Taken};

/// An option of QEMU's.
#[derive(Debug)]
pub(super) struct Known {
    /// Its name, without hyphens.
    pub(super) name: &'static str,
    /// Whether the next word is its value.
    pub(super) has_value: bool,
    /// What becomes of it.
    pub(super) fate: Fate,
}

/// What becomes of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is translated.
    Taken,
    /// The machine is as good without it; why.
    Ignored(&'static str),
    /// It cannot be had; why.
    Refused(&'static str),
}

const fn value(name: &'static str, fate: Fate) -> Known {
    let has_value = true;
    Known {
        name,
        has_value,
        fate,
    }
}

const fn flag(name: &'static str, fate: Fate) -> Known {
    let has_value = false;
    Known {
        name,
        has_value,
        fate,
    }
}

const NO_SCREEN: Fate = Ignored("there is no screen");
const NO_FIRMWARE: Fate = Refused("there is no firmware: a kernel is booted directly");
const NO_FLOPPY: Fate = Refused("there are only virtio disks");
const NO_EMULATION: Fate = Ignored("there is no emulated processor");
const NO_MIGRATION: Fate = Refused("a machine's state is not loaded");
const FOR_DEBUGGING: Fate = Ignored("it is about QEMU's own log");
const NO_DEBUGGER: Fate = Refused("there is no debugger's port");

/// All that are known.
pub(super) const ALL: &[Known] = &[
    value("accel", Taken),
    value("action", Taken),
    value("append", Taken),
    value("balloon", Taken),
    value("blockdev", Taken),
    value("chardev", Taken),
    value("cpu", Taken),
    value("device", Taken),
    value("display", Taken),
    value("drive", Taken),
    value("fsdev", Taken),
    value("fw_cfg", Taken),
    value("initrd", Taken),
    value("kernel", Taken),
    value("m", Taken),
    value("M", Taken),
    value("machine", Taken),
    value("mon", Taken),
    value("monitor", Taken),
    value("name", Taken),
    value("net", Taken),
    value("netdev", Taken),
    value("nic", Taken),
    value("numa", Taken),
    value("object", Taken),
    value("parallel", Taken),
    value("pidfile", Taken),
    value("qmp", Taken),
    value("qmp-pretty", Taken),
    value("sandbox", Taken),
    value("serial", Taken),
    value("smbios", Taken),
    value("smp", Taken),
    value("uuid", Taken),
    value("virtfs", Taken),
    flag("enable-kvm", Taken),
    flag("no-reboot", Taken),
    flag("nodefaults", Taken),
    flag("nographic", Taken),
    value("audio", Ignored("there is no sound")),
    value("audiodev", Ignored("there is no sound")),
    value("boot", Ignored("the kernel is booted directly")),
    value("compat", Ignored("it is about QEMU's own interfaces")),
    value("D", FOR_DEBUGGING),
    value("d", FOR_DEBUGGING),
    value("dfilter", FOR_DEBUGGING),
    value("trace", FOR_DEBUGGING),
    value("msg", FOR_DEBUGGING),
    value("echr", Ignored("Ctrl-] is the escape key")),
    value("g", NO_SCREEN),
    value("vga", NO_SCREEN),
    value("k", NO_SCREEN),
    value("global", Ignored("defaults of QEMU's devices, not of ours")),
    value("L", Ignored("there is no firmware to look for")),
    value("mem-path", Ignored("guest memory is the process's own")),
    value(
        "overcommit",
        Ignored("guest memory is taken when it is used"),
    ),
    value(
        "rtc",
        Ignored("the clock is the host's, in UTC, as by default"),
    ),
    value("seed", Ignored("the guest's random numbers are the host's")),
    value("tb-size", NO_EMULATION),
    value("watchdog-action", Ignored("there is no watchdog")),
    flag("async-teardown", Ignored("memory is given back at the end")),
    flag("full-screen", NO_SCREEN),
    flag(
        "mem-prealloc",
        Ignored("guest memory is taken when it is used"),
    ),
    flag("no-fd-bootchk", Ignored("there is no floppy")),
    flag("no-hpet", Ignored("there is no HPET")),
    flag(
        "no-user-config",
        Ignored("QEMU's configuration files do not count"),
    ),
    flag("no-quit", NO_SCREEN),
    flag("only-migratable", Ignored("it is about migration alone")),
    flag("show-cursor", NO_SCREEN),
    flag("usb", Ignored("there is no USB")),
    value(
        "acpitable",
        Refused("the ACPI tables are the machine's own"),
    ),
    value("add-fd", Refused("descriptor sets cannot be had")),
    value("bios", NO_FIRMWARE),
    value("cdrom", NO_FLOPPY),
    value("dtb", Refused("x86 has no device tree")),
    value("fda", NO_FLOPPY),
    value("fdb", NO_FLOPPY),
    value("gdb", NO_DEBUGGER),
    value("hda", NO_FLOPPY),
    value("hdb", NO_FLOPPY),
    value("hdc", NO_FLOPPY),
    value("hdd", NO_FLOPPY),
    value(
        "icount",
        Refused("the processor is the host's and is not counted"),
    ),
    value("incoming", NO_MIGRATION),
    value("iscsi", NO_FLOPPY),
    value("loadvm", NO_MIGRATION),
    value("mtdblock", NO_FLOPPY),
    value("option-rom", NO_FIRMWARE),
    value("pflash", NO_FIRMWARE),
    value(
        "plugin",
        Refused("the processor is the host's, without plugins"),
    ),
    value(
        "readconfig",
        Refused("QEMU's configuration files are not read"),
    ),
    value("run-with", Refused("the process keeps its user and root")),
    value("runas", Refused("the process keeps its user")),
    value("chroot", Refused("the process keeps its root")),
    value("sd", NO_FLOPPY),
    value("set", Refused("options are taken where they are given")),
    value("spice", Refused("there is no screen")),
    value("tpmdev", Refused("there is no TPM")),
    value("usbdevice", Refused("there is no USB")),
    value("vnc", Refused("there is no screen")),
    value("watchdog", Refused("there is no watchdog")),
    flag("daemonize", Refused("the process stays in the foreground")),
    flag("no-acpi", Refused("the machine has ACPI")),
    flag("no-shutdown", Refused("the process ends with its guest")),
    flag("preconfig", Refused("the machine is made at once")),
    flag("S", Refused("the machine runs at once")),
    flag("s", NO_DEBUGGER),
    flag("snapshot", Refused("writes to a disk stay on it")),
];

/// The option of this name.
pub(super) fn find(name: &str) -> Option<&'static Known> {
    ALL.iter().find(|known| known.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_option_is_there_once() {
        for known in ALL {
            let same = ALL.iter().filter(|it| it.name == known.name);
            assert_eq!(same.count(), 1, "{}", known.name);
        }
    }
}

//! QEMU as it is measured beside us, where a stock kernel boots.

use std::path::Path;

use super::contestant::Contestant;

/// The same for both programs.
pub(super) const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 reboot=t";
/// As little as boots a stock kernel with PCI.
const MACHINE: &str = "microvm,acpi=on,pcie=on,pit=off,pic=off,rtc=off,usb=off,x-option-roms=off,\
    isa-serial=on,auto-kernel-cmdline=off";

/// A machine with this many MiB of memory and this many processors, and nothing else yet.
pub(super) fn microvm(name: &str, program: &Path, memory: &str, cpus: &str) -> Contestant {
    Contestant::new(name, program)
        .args(["-M", MACHINE, "-accel", "kvm", "-cpu", "host"])
        .args(["-m", memory, "-smp", cpus, "-nodefaults", "-no-user-config"])
        .args(["-display", "none", "-no-reboot"])
}

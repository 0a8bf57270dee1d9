//! `/dev/kvm`: there, permitted, and able to run stock kernels.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::Path;

use super::Check;

const DEVICE: &str = "/dev/kvm";

/// All checks of KVM. Where the device cannot be opened, the others say nothing new.
pub(crate) fn checks() -> Vec<Check> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let open = OpenOptions::new().read(true).write(true).open(DEVICE);
    let device = device(open.map(drop), &cpuinfo, Path::new(DEVICE).exists());
    vec![device, stock_kernels(&cpuinfo)]
}

fn device(open: io::Result<()>, cpuinfo: &str, exists: bool) -> Check {
    const NAME: &str = "kvm";
    let Err(error) = open else {
        return Check::ok(NAME, format!("`{DEVICE}` can be opened"));
    };
    match error.kind() {
        ErrorKind::PermissionDenied => Check::fail(
            NAME,
            format!("you may not open `{DEVICE}`"),
            "`sudo usermod -aG kvm $USER`, then log in anew; or for now: \
             `sudo setfacl -m u:$USER:rw /dev/kvm`",
        ),
        ErrorKind::NotFound => {
            Check::fail(NAME, format!("there is no `{DEVICE}`"), absent(cpuinfo))
        }
        _ if exists => Check::fail(
            NAME,
            format!("cannot open `{DEVICE}`: {error}"),
            absent(cpuinfo),
        ),
        _ => Check::fail(
            NAME,
            format!("cannot open `{DEVICE}`: {error}"),
            "see `dmesg | grep kvm`",
        ),
    }
}

/// How to get a `/dev/kvm`, by what the processor offers.
fn absent(cpuinfo: &str) -> String {
    let container = "in a container, pass the device: `docker run --device /dev/kvm …`";
    if has_flag(cpuinfo, "vmx") {
        format!("`sudo modprobe kvm_intel`; {container}")
    } else if has_flag(cpuinfo, "svm") {
        format!("`sudo modprobe kvm_amd`; {container}")
    } else if has_flag(cpuinfo, "hypervisor") {
        "this machine is a VM itself: let its host pass virtualization through (nested \
         virtualization; with QEMU `-cpu host`)"
            .to_owned()
    } else {
        "switch virtualization (VT-x, AMD-V, SVM) on in the firmware's set-up".to_owned()
    }
}

fn stock_kernels(cpuinfo: &str) -> Check {
    const NAME: &str = "kvm-stock-kernels";
    let found = ["vmx", "svm"]
        .into_iter()
        .find(|flag| has_flag(cpuinfo, flag));
    match found {
        Some(flag) => Check::ok(
            NAME,
            format!("the processor virtualizes in hardware ({flag})"),
        ),
        None => Check::fail(
            NAME,
            "no hardware virtualization (neither vmx nor svm in `/proc/cpuinfo`): a `/dev/kvm` \
             here emulates the guest's kernel and stops at what it cannot emulate",
            "use a machine with VT-x or AMD-V, or let this VM's host pass it through; to develop \
             without: `cargo xtask lab -- CMD`",
        ),
    }
}

/// Whether the first processor has `flag`.
fn has_flag(cpuinfo: &str, flag: &str) -> bool {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"));
    flags.is_some_and(|line| line.split_ascii_whitespace().any(|word| word == flag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    const INTEL: &str = "processor\t: 0\nflags\t\t: fpu vmx hypervisor\n";
    const NESTED: &str = "processor\t: 0\nflags\t\t: fpu hypervisor\nvmx flags\t: vnmi\n";
    const BARE: &str = "processor\t: 0\nflags\t\t: fpu\n";

    fn hint(kind: ErrorKind, cpuinfo: &str) -> String {
        let check = device(Err(kind.into()), cpuinfo, false);
        assert_eq!(check.state, State::Fail);
        check.hint.unwrap_or_default()
    }

    #[test]
    fn each_fault_of_the_device_has_its_own_remedy() {
        assert_eq!(device(Ok(()), INTEL, true).state, State::Ok);
        assert!(hint(ErrorKind::PermissionDenied, INTEL).contains("usermod -aG kvm"));
        assert!(hint(ErrorKind::NotFound, INTEL).contains("modprobe kvm_intel"));
        assert!(hint(ErrorKind::NotFound, NESTED).contains("nested"));
        assert!(hint(ErrorKind::NotFound, BARE).contains("firmware"));
    }

    #[test]
    fn stock_kernels_need_hardware_virtualization() {
        assert_eq!(stock_kernels(INTEL).state, State::Ok);
        for cpuinfo in [NESTED, BARE, ""] {
            assert_eq!(stock_kernels(cpuinfo).state, State::Fail, "{cpuinfo}");
        }
    }
}

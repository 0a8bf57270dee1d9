//! `/dev/kvm`: there, permitted, and able to run stock kernels.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::Path;

use vmm::probe::KernelSupport;

use super::{Check, State};

const DEVICE: &str = "/dev/kvm";

/// All checks of KVM.
pub(crate) fn checks() -> Vec<Check> {
    let device = device_now();
    if device.state == State::Ok {
        vec![device, stock_kernels_now()]
    } else {
        vec![device, stock_kernels_by_processor()]
    }
}

/// Tries to open the device.
pub(crate) fn device_now() -> Check {
    let open = OpenOptions::new().read(true).write(true).open(DEVICE);
    device(open.map(drop), &cpuinfo(), Path::new(DEVICE).exists())
}

/// Asks KVM itself, with a guest of two instructions.
pub(crate) fn stock_kernels_now() -> Check {
    stock_kernels(&cpuinfo(), Some(vmm::probe::kernel_support()))
}

/// Looks at the processor's flags alone.
pub(crate) fn stock_kernels_by_processor() -> Check {
    stock_kernels(&cpuinfo(), None)
}

fn cpuinfo() -> String {
    fs::read_to_string("/proc/cpuinfo").unwrap_or_default()
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

/// What the processor's flags say and, where KVM could be asked, what a guest saw.
fn stock_kernels(cpuinfo: &str, probe: Option<Result<KernelSupport, vmm::Error>>) -> Check {
    const NAME: &str = "kvm-stock-kernels";
    let flag = ["vmx", "svm"]
        .into_iter()
        .find(|flag| has_flag(cpuinfo, flag));
    let why = match (probe, flag) {
        (Some(Ok(KernelSupport::Full)) | None, Some(flag)) => {
            return Check::ok(
                NAME,
                format!("the processor virtualizes in hardware ({flag})"),
            );
        }
        (Some(Ok(KernelSupport::Full)), None) => {
            return Check::warn(
                NAME,
                "KVM runs what kernels need, but neither vmx nor svm is in `/proc/cpuinfo`",
                "start a guest and see: `pcp-vmm run`",
            );
        }
        (Some(Err(error)), _) => format!("cannot make a test machine: {error}"),
        (Some(Ok(KernelSupport::Broken(failure))), _) => {
            format!("a test machine failed: {failure}")
        }
        (Some(Ok(KernelSupport::TinyGuestsOnly)), _) => {
            "this `/dev/kvm` cannot run stock kernels: it emulates the guest's kernel and lacks \
             instructions that Linux executes (a test guest met one)"
                .to_owned()
        }
        (None, None) => {
            "no hardware virtualization: neither vmx nor svm is in `/proc/cpuinfo`".to_owned()
        }
    };
    Check::fail(
        NAME,
        why,
        "use a machine with VT-x or AMD-V, or let this VM's host pass it through; to develop \
         without: `cargo xtask lab -- CMD`",
    )
}

/// Whether the first processor has `flag`.
fn has_flag(cpuinfo: &str, flag: &str) -> bool {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"));
    flags.is_some_and(|line| line.split_ascii_whitespace().any(|word| word == flag))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let state = |cpuinfo, probe| stock_kernels(cpuinfo, probe).state;
        assert_eq!(state(INTEL, None), State::Ok);
        for cpuinfo in [NESTED, BARE, ""] {
            assert_eq!(state(cpuinfo, None), State::Fail, "{cpuinfo}");
        }
        assert_eq!(state(INTEL, Some(Ok(KernelSupport::Full))), State::Ok);
        assert_eq!(state(BARE, Some(Ok(KernelSupport::Full))), State::Warn);
        assert_eq!(
            state(INTEL, Some(Ok(KernelSupport::TinyGuestsOnly))),
            State::Fail
        );
    }
}

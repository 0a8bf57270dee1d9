//! Tests with stock kernels, for machines with hardware behind KVM, or the lab.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod all;
mod devices;
mod disks;
mod end;
mod kernels;
mod live;
mod network;
mod qemu;
mod semantics;
mod shares;
mod sockets;
mod tap;
mod transports;
mod vhost_user;

use pcp_vmm_tests::TestVm;
use pcp_vmm_tests::kernels::Kernel;

/// The kernel that the tests of devices boot.
const KERNEL: &str = "6.12-cloud";

/// Starts `kernel` with a guest that runs `script`; more arguments follow.
fn boot(kernel: &Kernel, elf: bool, script: &str, more: &[&str]) -> TestVm {
    let folder = tempfile::tempdir().unwrap();
    let initrd = folder.path().join("initrd");
    kernel.write_initrd(script, &initrd).unwrap();
    let file = if elf { kernel.elf() } else { kernel.image() };
    let mut arguments = vec!["run", "--kernel", file.to_str().unwrap()];
    arguments.extend(["--initrd", initrd.to_str().unwrap()]);
    if !more.contains(&"--memory") {
        arguments.extend(["--memory", "512M"]);
    }
    arguments.extend(["--console", "serial=stdio"]);
    arguments.extend(more);
    TestVm::start(&arguments).unwrap().keep(folder)
}

/// Starts the usual kernel, uncompressed, with a guest that runs `script`, in whose output the kernel does not speak.
fn guest(script: &str, more: &[&str]) -> TestVm {
    let script = format!("dmesg -n 1\n{script}");
    boot(&Kernel::named(KERNEL).unwrap(), true, &script, more)
}

/// Runs `script` in a guest to its end and returns the console's output.
fn output(script: &str, more: &[&str]) -> String {
    let ended = guest(script, more).wait(120).unwrap();
    assert_eq!(ended.code, 0, "{ended:?}");
    ended.out.replace('\r', "")
}

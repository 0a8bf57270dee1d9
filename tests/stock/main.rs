//! Tests with stock kernels, for machines with hardware behind KVM, or the lab.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod kernels;
mod network;
mod shares;

use pcp_vmm_tests::TestVm;
use pcp_vmm_tests::kernels::Kernel;

/// Starts `kernel` with a guest that runs `script`; more arguments follow.
fn boot(kernel: &Kernel, elf: bool, script: &str, more: &[&str]) -> TestVm {
    let folder = tempfile::tempdir().unwrap();
    let initrd = folder.path().join("initrd");
    kernel.write_initrd(script, &initrd).unwrap();
    let file = if elf { kernel.elf() } else { kernel.image() };
    let mut arguments = vec!["run", "--kernel", file.to_str().unwrap()];
    arguments.extend([
        "--initrd",
        initrd.to_str().unwrap(),
        "--memory",
        "512M",
        "--console",
        "stdio",
    ]);
    arguments.extend(more);
    let vm = TestVm::start(&arguments).unwrap();
    // The program has read the initrd when the guest talks.
    vm.out.wait_for("Linux version", 60).unwrap();
    vm
}

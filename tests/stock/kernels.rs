//! Debian's kernels, unmodified, boot to user space and power the machine off.

use pcp_vmm_tests::kernels::Kernel;

use super::boot;

fn boots(name: &str, version: &str, elf: bool) {
    let kernel = Kernel::named(name).unwrap();
    let vm = boot(
        &kernel,
        elf,
        "echo \"user space: $(uname -r)\"\n",
        &["--cpus", "2", "--net", "none"],
    );
    let ended = vm.wait(120).unwrap();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended.out.contains(&format!("user space: {version}")),
        "{}",
        ended.out
    );
}

#[test]
fn debian_6_1_cloud() {
    boots("6.1-cloud", "6.1.", false);
}

#[test]
fn debian_6_1_standard() {
    boots("6.1-standard", "6.1.", false);
}

#[test]
fn debian_6_12_cloud() {
    boots("6.12-cloud", "6.12.", false);
}

#[test]
fn debian_6_12_standard() {
    boots("6.12-standard", "6.12.", false);
}

#[test]
fn debian_7_cloud() {
    boots("7-cloud", "7.", false);
}

#[test]
fn debian_7_standard() {
    boots("7-standard", "7.", false);
}

#[test]
fn an_uncompressed_kernel() {
    boots("6.12-standard", "6.12.", true);
}

//! How a stock kernel ends, and what the program says about it.

use pcp_vmm_tests::TestVm;
use pcp_vmm_tests::kernels::Kernel;
use rustix::process::Signal;

use super::{KERNEL, guest};

#[test]
fn a_reboot_ends_the_program_with_its_reason() {
    let ended = guest("reboot -f\n", &["--net", "none", "-v"])
        .wait(120)
        .unwrap();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.err.contains("reason: reboot"), "{}", ended.err);
}

#[test]
fn a_panic_has_its_own_status_and_a_hint() {
    let ended = guest("echo c >/proc/sysrq-trigger\n", &["--net", "none"])
        .wait(120)
        .unwrap();
    assert_eq!(ended.code, 123, "{ended:?}");
    assert!(ended.out.contains("Kernel panic"), "{}", ended.out);
    assert!(
        ended.err.contains("error: ") && ended.err.contains("hint: "),
        "{}",
        ended.err
    );
}

#[test]
fn a_panic_that_no_console_shows_is_told_by_the_panic_device() {
    // The kernel prints nowhere that is watched and neither restarts nor stops.
    let silent = ["--cmdline", "console=tty0 panic=0 reboot=t"];
    let script = "load pvpanic-mmio; echo 1 >/proc/sys/kernel/sysrq
        echo silent >/dev/ttyS0
        echo c >/proc/sysrq-trigger\n";
    let vm = guest(
        script,
        &[&["--net", "none", "--cpus", "1"], &silent[..]].concat(),
    );
    let ended = vm.wait(120).unwrap();
    assert_eq!(ended.code, 123, "{ended:?}");
    assert!(ended.out.contains("silent"), "{}", ended.out);
    assert!(!ended.out.contains("Kernel panic"), "{}", ended.out);
    assert!(ended.err.contains("panicked"), "{}", ended.err);
}

#[test]
fn a_kernel_without_a_root_panics_with_its_last_lines() {
    let kernel = Kernel::named(KERNEL).unwrap();
    let elf = kernel.elf();
    let folder = tempfile::tempdir().unwrap();
    let log = format!("serial=file={}", folder.path().join("log").display());
    let arguments = [
        "run",
        "--kernel",
        elf.to_str().unwrap(),
        "--memory",
        "512M",
        "--net",
        "none",
    ];
    let vm = TestVm::start(&[&arguments[..], &["--console", &log]].concat()).unwrap();
    let ended = vm.wait(120).unwrap();
    assert_eq!(ended.code, 123, "{ended:?}");
    assert!(
        ended.err.contains("VFS: Unable to mount root"),
        "{}",
        ended.err
    );
}

#[test]
fn sigterm_ends_a_busy_machine_in_a_second() {
    let script = "for i in 1 2; do while :; do :; done & done; echo guest: busy; wait\n";
    let vm = guest(script, &["--net", "user", "--cpus", "2"]);
    vm.out.wait_for("guest: busy", 60).unwrap();
    let begin = std::time::Instant::now();
    vm.signal(Signal::TERM).unwrap();
    let ended = vm.wait(60).unwrap();
    // The lab's clock runs with its emulated processor: what takes a second there is far less elsewhere.
    assert!(
        begin.elapsed() < pcp_vmm_tests::time::limit(1),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(ended.code, 143, "{ended:?}");
}

#[test]
fn a_boot_that_takes_too_long_has_its_own_status() {
    let ended = guest(
        "sleep 1000\n",
        &[
            "--net",
            "none",
            "--boot-timeout",
            "1",
            "--cmdline",
            "console=ttyS0 rdinit=/none root=/dev/vda rootwait",
        ],
    )
    .wait(120)
    .unwrap();
    assert_eq!(ended.code, 124, "{ended:?}");
    assert!(ended.err.contains("hint: "), "{}", ended.err);
}

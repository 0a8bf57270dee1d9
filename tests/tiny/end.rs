//! Every way in which a VM ends, with its exit status and reason.

use std::time::{Duration, Instant};

use pcp_vmm_tests::guests::{Code, Stop, one_byte};
use rustix::process::Signal;

use super::Guest;

fn ends(how: Stop, reason: &str) {
    let ended = Guest::new(&one_byte(how)).start(&["-v"]).wait(20).unwrap();
    assert_eq!((ended.code, ended.out.as_str()), (0, "!"), "{ended:?}");
    assert!(ended.err.contains(reason), "no `{reason}` in {}", ended.err);
}

#[test]
fn power_off_is_told_as_the_reason() {
    ends(Stop::PowerOff, "reason: poweroff");
}

#[test]
fn an_acpi_reset_is_a_reboot() {
    ends(Stop::AcpiReset, "reason: reboot");
}

#[test]
fn a_keyboard_reset_is_a_reboot() {
    ends(Stop::KeyboardReset, "reason: reboot");
}

#[test]
fn a_triple_fault_is_a_reboot() {
    ends(Stop::TripleFault, "reason: reboot");
}

#[test]
fn a_vm_that_shares_everything_ends_like_others() {
    // What it may open by name then counts for its own folder as well.
    for how in [Stop::PowerOff, Stop::AcpiReset] {
        let vm = Guest::new(&one_byte(how)).start(&["--share", "all=/,ro"]);
        let ended = vm.wait(20).unwrap();
        assert_eq!((ended.code, ended.out.as_str()), (0, "!"), "{ended:?}");
    }
}

#[test]
fn a_panic_that_is_told_to_the_panic_device_ends_a_guest_that_goes_on() {
    // The event of QEMU docs/specs/pvpanic.rst.
    let guest = Guest::new(&Code::default().out(0x505, 1).stop(Stop::Spin));
    let ended = guest.start(&[]).wait(20).unwrap();
    assert_eq!(ended.code, 123, "{ended:?}");
    assert!(ended.err.contains("panicked"), "{}", ended.err);
}

#[test]
fn a_crash_kernel_has_the_time_that_it_needs() {
    let guest = Guest::new(&Code::default().out(0x505, 2).print("!").stop(Stop::Spin));
    let vm = guest.start(&[]);
    vm.out.wait_for("!", 20).unwrap();
    std::thread::sleep(Duration::from_secs(4));
    vm.signal(Signal::TERM).unwrap();
    assert_eq!(vm.wait(20).unwrap().code, 143);
    let guest = Guest::new(&Code::default().out(0x505, 2).stop(Stop::AcpiReset));
    assert_eq!(guest.start(&[]).wait(20).unwrap().code, 123);
}

fn is_ended_by_sigterm(how: Stop) {
    let vm = Guest::new(&one_byte(how)).start(&[]);
    vm.out.wait_for("!", 20).unwrap();
    let begin = Instant::now();
    vm.signal(Signal::TERM).unwrap();
    let ended = vm.wait(20).unwrap();
    assert!(
        begin.elapsed() < Duration::from_secs(1),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(ended.code, 143, "{ended:?}");
    // A vCPU that does not hear of the end is told of.
    assert_eq!(ended.err, "");
}

#[test]
fn sigterm_ends_a_halted_guest_in_a_second() {
    is_ended_by_sigterm(Stop::Halt);
}

#[test]
fn sigterm_ends_a_spinning_guest_in_a_second() {
    is_ended_by_sigterm(Stop::Spin);
}

#[test]
fn sigint_asks_once_and_kills_the_second_time() {
    let vm = Guest::new(&one_byte(Stop::Spin)).start(&[]);
    vm.out.wait_for("!", 20).unwrap();
    vm.signal(Signal::INT).unwrap();
    // A guest without ACPI does not hear the power button.
    std::thread::sleep(Duration::from_millis(300));
    vm.signal(Signal::INT).unwrap();
    let ended = vm.wait(5).unwrap();
    assert_eq!(ended.code, 130, "{ended:?}");
}

#[test]
fn a_guest_that_says_nothing_in_time_has_its_own_status() {
    let guest = Guest::new(&one_byte(Stop::Spin));
    let ended = guest.start(&["--boot-timeout", "1"]).wait(20).unwrap();
    assert_eq!(ended.code, 124, "{ended:?}");
    assert!(
        ended.err.contains("error: ") && ended.err.contains("hint: "),
        "{}",
        ended.err
    );
}

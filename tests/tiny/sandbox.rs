//! The sandbox, seen from outside: what the kernel says of each thread.

use std::fs;

use pcp_vmm_tests::TestVm;
use pcp_vmm_tests::guests::{Stop, one_byte};
use pcp_vmm_tests::time::wait_until;
use rustix::process::Signal;

use super::Guest;

/// Name, seccomp mode, no_new_privs and effective capabilities of each thread.
fn threads(vm: &TestVm) -> Vec<(String, String, String, u64)> {
    let tasks = fs::read_dir(format!("/proc/{}/task", vm.pid())).unwrap();
    let thread = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().to_owned()
        };
        let capabilities = u64::from_str_radix(&field("CapEff:"), 16).unwrap();
        (
            field("Name:"),
            field("Seccomp:"),
            field("NoNewPrivs:"),
            capabilities,
        )
    };
    tasks.map(|task| thread(task.unwrap())).collect()
}

/// A guest with every kind of device that runs on any KVM, halted.
fn halted(more: &[&str]) -> TestVm {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("disk"), [0; 4096]).unwrap();
    let share = format!("s={}", folder.path().display());
    let disk = folder.path().join("disk").display().to_string();
    let devices = [
        "--share",
        &share,
        "--disk",
        &disk,
        "--net",
        "user",
        "--rng=true",
    ];
    let arguments = Guest::new(&one_byte(Stop::Halt));
    let more: Vec<_> = devices.iter().chain(more).copied().collect();
    let words = arguments.arguments(&["--console", "stdio"]);
    // The network that `arguments` gives is replaced.
    let words = words
        .into_iter()
        .filter(|word| word != "none" && word != "--net");
    let words: Vec<_> = words.chain(more.iter().map(|&word| word.into())).collect();
    let vm = TestVm::start(&words)
        .unwrap()
        .keep(folder)
        .keep(arguments.folder);
    vm.out.wait_for("!", 20).unwrap();
    if !more.contains(&"off") {
        // The supervisor comes last.
        let confined = || threads(&vm).iter().all(|(_, seccomp, ..)| seccomp == "2");
        wait_until("every thread in its sandbox", 20, confined).unwrap();
    }
    vm
}

fn end(vm: TestVm) {
    vm.signal(Signal::TERM).unwrap();
    let ended = vm.wait(20).unwrap();
    assert_eq!(ended.code, 143, "{ended:?}");
}

#[test]
fn every_thread_is_confined_and_devices_have_no_capability() {
    let vm = halted(&[]);
    let threads = threads(&vm);
    let names: Vec<&str> = threads.iter().map(|(name, ..)| name.as_str()).collect();
    for name in ["vcpu0", "io", "launch"] {
        assert!(names.contains(&name), "{names:?}");
    }
    // CHOWN, DAC_OVERRIDE, FOWNER, FSETID, MKNOD and SETFCAP (Linux include/uapi/linux/capability.h).
    let for_shares: u64 = [0, 1, 3, 4, 27, 31].map(|bit| 1 << bit).iter().sum();
    for (name, seccomp, no_new_privs, capabilities) in &threads {
        assert_eq!(
            (seccomp.as_str(), no_new_privs.as_str()),
            ("2", "1"),
            "{name}"
        );
        let allowed = if ["vcpu0", "io"].contains(&name.as_str()) {
            0
        } else {
            for_shares
        };
        assert_eq!(capabilities & !allowed, 0, "{name}: {capabilities:#x}");
    }
    end(vm);
}

#[test]
fn without_a_sandbox_no_thread_is_confined() {
    let vm = halted(&["--sandbox", "off"]);
    for (name, seccomp, no_new_privs, _) in threads(&vm) {
        assert_eq!(
            (seccomp.as_str(), no_new_privs.as_str()),
            ("0", "0"),
            "{name}"
        );
    }
    end(vm);
}

#[test]
fn an_audit_says_what_would_be_allowed() {
    let vm = halted(&["--sandbox", "audit", "-v"]);
    let said = vm.err.text();
    assert!(
        said.contains("the sandbox would let the process change files beneath"),
        "{said}"
    );
    end(vm);
}

//! What the program needs of its host, and how it shows itself there.

use std::fs;
use std::process::Command;

use pcp_vmm_tests::guests::{Code, Stop, one_byte};
use pcp_vmm_tests::{TestVm, program};
use rustix::process::{Signal, geteuid};

use super::Guest;

/// Runs `pcp-vmm ARGUMENTS`, which `script` reaches as `"$@"`, in a mount namespace of its own.
fn through(script: &str, arguments: &[String]) -> (Option<i32>, String) {
    let mut unshare = Command::new("unshare");
    if !geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    let output = unshare
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(program().unwrap())
        .args(arguments)
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn tells_device_and_remedy(script: &str) {
    let guest = Guest::new(&one_byte(Stop::PowerOff));
    let (code, said) = through(script, &guest.arguments(&["--console", "none"]));
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.starts_with("error: ") && said.contains("/dev/kvm"),
        "{said}"
    );
    assert!(said.contains("hint: "), "{said}");
}

#[test]
fn a_missing_kvm_device_is_told_with_its_remedy() {
    tells_device_and_remedy("mount -t tmpfs tmpfs /dev && exec \"$@\"");
}

#[test]
fn a_forbidden_kvm_device_is_told_with_its_remedy() {
    // Without capabilities even its owner may not open a file of mode 0.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kvm");
    fs::write(&file, "").unwrap();
    tells_device_and_remedy(&format!(
        "chmod 0 {file} && mount --bind {file} /dev/kvm && \
         exec setpriv --inh-caps=-all --bounding-set=-all \"$@\"",
        file = file.display()
    ));
}

#[test]
fn the_process_is_found_by_its_name_and_argument() {
    let guest = Guest::new(&one_byte(Stop::Halt));
    let vm = guest.start(&["--process-name", "pcp-test-vm"]);
    vm.out.wait_for("!", 20).unwrap();
    let found: Vec<Vec<u8>> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok())
        .filter(|line| line.starts_with(b"microvm@pcp-test-vm\0"))
        .collect();
    assert_eq!(found.len(), 1);
    let arguments: Vec<_> = found[0].split(|&byte| byte == 0).collect();
    assert!(
        arguments.contains(&&b"process=pcp-test-vm"[..]),
        "{arguments:?}"
    );
    vm.signal(Signal::TERM).unwrap();
    vm.wait(5).unwrap();
}

#[test]
fn a_dry_run_opens_nothing() {
    let guest = Guest::new(&one_byte(Stop::PowerOff));
    let ended = TestVm::start(&guest.arguments(&["--dry-run"]))
        .unwrap()
        .wait(20)
        .unwrap();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains("128"), "{ended:?}");
    assert!(!ended.out.contains('!'), "the guest ran");
}

#[test]
fn a_full_disk_ends_a_consoles_log_and_is_told_once_and_the_guest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (runtime, logs, out) = (path("runtime"), path("logs"), path("out"));
    let console = format!("file={out}");
    let code = Code::default()
        .repeat(b'a', 300_000)
        .print("done")
        .stop(Stop::PowerOff);
    let guest = Guest::new(&code);
    let flags = ["--console", &console, "--name", "vm"];
    let folders = ["--runtime-dir", &runtime, "--log-dir", &logs];
    let script = format!("mkdir {logs} && mount -t tmpfs -o size=64k tmpfs {logs} && exec \"$@\"");
    let (code, said) = through(&script, &guest.arguments(&[&flags[..], &folders].concat()));
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.matches("ends here").count(), 1, "{said}");
    assert!(
        said.contains("No space left") && said.contains("vm/serial.log"),
        "{said}"
    );
    assert!(fs::read(&out).unwrap().ends_with(b"aaadone"));
}

//! The lifecycle suite with a VM that another program runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use pcp_vmm_tests::guests::{Stop, one_byte};
use pcp_vmm_tests::program;
use serde_json::Value;

use super::verbs::bundle;

/// Writes a program that runs `script`.
fn runner(folder: &Path, script: &str) -> PathBuf {
    let path = folder.join("runner");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Tests the guest of `bundle` on the VM that `runner` runs: the test's report.
fn test(bundle: &Path, runner: &Path) -> Value {
    test_with(bundle, &[Path::new("--runner"), runner])
}

/// Tests the guest of `bundle`, with `flags` and a second for each phase: the test's report.
fn test_with(bundle: &Path, flags: &[&Path]) -> Value {
    let mut command = Command::new(program().unwrap());
    command.args(["lifecycle", "test", "--json"]);
    for phase in [
        "serial", "virtio", "services", "metrics", "shutdown", "exit",
    ] {
        command.args(["--timeout", &format!("{phase}=1")]);
    }
    command.arg("--bundle").arg(bundle);
    command.args(flags);
    let output = command
        .env("PCP_VMM_RUNTIME_DIR", bundle.join("running"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["tests"][0].clone()
}

/// What became of a phase: its result, and the cause of its first failure.
fn phase<'a>(test: &'a Value, name: &str) -> (&'a str, &'a str) {
    let phases = test["phases"].as_array().unwrap();
    let phase = phases.iter().find(|it| it["phase"] == name).unwrap();
    let checks = phase["checks"].as_array().unwrap();
    let cause = checks.iter().find_map(|it| it["cause"].as_str());
    (phase["result"].as_str().unwrap(), cause.unwrap_or_default())
}

#[test]
fn a_runner_that_cannot_start_its_vm_is_told_in_its_words() {
    let bundle = bundle(&one_byte(Stop::Halt), 1);
    let script = runner(bundle.path(), "echo no machine here >&2; exit 3");
    let report = test(bundle.path(), &script);
    assert_eq!(phase(&report, "start"), ("failed", "no machine here"));
    let report = test(bundle.path(), Path::new("/no/such/runner"));
    let (result, cause) = phase(&report, "start");
    assert_eq!(result, "failed");
    assert!(cause.contains("cannot start `/no/such/runner`"), "{cause}");
}

#[test]
fn a_tests_vm_has_its_logs_where_the_test_is_told() {
    let bundle = bundle(&one_byte(Stop::Halt), pcp_vmm_tests::ports::free().unwrap());
    let log = bundle.path().join("logged");
    test_with(bundle.path(), &["--log-dir".as_ref(), &*log]);
    let logs: Vec<_> = fs::read_dir(&log).unwrap().collect();
    assert!(!logs.is_empty());
}

#[test]
fn a_runners_vm_is_asked_seen_to_its_end_and_not_left_behind() {
    let port = pcp_vmm_tests::ports::free().unwrap();
    let bundle = bundle(&one_byte(Stop::Halt), port);
    let folder = bundle.path();
    // A VM that never answers, and that nothing but a signal ends.
    let script = format!(
        "echo $$ >{0}/pid\nexec {1} run --bundle {0}",
        folder.display(),
        program().unwrap().display()
    );
    let begin = Instant::now();
    let report = test(folder, &runner(folder, &script));
    assert_eq!(phase(&report, "start").0, "passed", "{report:#}");
    let (result, cause) = phase(&report, "services");
    assert_eq!(result, "failed");
    assert!(cause.contains("SSH not available"), "{cause}");
    let (result, cause) = phase(&report, "shutdown");
    assert_eq!((result, cause), ("failed", "another program runs the VM"));
    let (result, cause) = phase(&report, "exit");
    assert_eq!(result, "failed");
    assert!(cause.contains("was killed"), "{cause}");
    let pid = fs::read_to_string(folder.join("pid")).unwrap();
    assert!(!Path::new(&format!("/proc/{}", pid.trim())).exists());
    assert!(begin.elapsed().as_secs() < 60);
}

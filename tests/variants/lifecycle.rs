//! The lifecycle suite with a real guest: a whole test, and its phases one by one.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pcp_vmm_tests::{TestVm, program, time};
use serde_json::{Value, json};
use tempfile::TempDir;

fn images() -> PathBuf {
    std::env::var_os("PCP_VMM_IMAGES")
        .expect("PCP_VMM_IMAGES names the images")
        .into()
}

/// The times, as many times the documented ones as the machine is slower.
fn scale() -> &'static str {
    if time::is_lab() { "8" } else { "1" }
}

#[test]
fn a_whole_lifecycle_of_the_base_guest_passes() {
    let bundle = images().join("base");
    let junit = tempfile::NamedTempFile::new().unwrap();
    let words = [
        "lifecycle",
        "test",
        "--json",
        "--timeout-scale",
        scale(),
        "--bundle",
        bundle.to_str().unwrap(),
        "--junit",
        junit.path().to_str().unwrap(),
        "--",
        "--cpus",
        "1",
    ];
    let ended = TestVm::start(&words).unwrap().wait(120).unwrap();
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    let test = &report["tests"][0];
    assert_eq!(
        (&test["name"], &test["result"]),
        (&json!("base"), &json!("passed"))
    );
    let phases = test["phases"].as_array().unwrap();
    let numbers: Vec<&str> = phases
        .iter()
        .map(|it| it["number"].as_str().unwrap())
        .collect();
    assert_eq!(numbers, ["0", "1", "2", "2b", "3", "4", "5", "6"]);
    assert!(phases.iter().all(|it| it["result"] == "passed"), "{test:#}");
    let texts = |index: usize| -> Vec<&str> {
        let checks = phases[index]["checks"].as_array().unwrap();
        checks
            .iter()
            .map(|it| it["text"].as_str().unwrap())
            .collect()
    };
    for unit in ["pmcd active", "pmproxy active", "pmlogger active"] {
        assert!(texts(4).contains(&unit), "{test:#}");
    }
    for thing in [
        "kernel.all.load",
        "mem.physmem",
        "HTTP pmproxy (port 44322)",
    ] {
        assert!(texts(5).contains(&thing), "{test:#}");
    }
    // They go on at the same time.
    let millis = |index: usize, key: &str| phases[index][key].as_u64().unwrap();
    assert_eq!(millis(2, "began_ms") / 1000, millis(4, "began_ms") / 1000);
    let xml = std::fs::read_to_string(junit.path()).unwrap();
    assert!(
        xml.contains("<testsuite name=\"base\" tests=\"8\" failures=\"0\""),
        "{xml}"
    );
}

/// Does a step of what PCP's scripts do with the base guest.
fn scripted(step: &str) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/variants/scripts.sh");
    let place = ["pcp-vm", "22022", "24500", "24501", "pmcd", "pmproxy"];
    let mut command = Command::new("bash");
    let output = command.arg(script).arg(step).args(place).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.ends_with(&format!("PASS: {step}\n")),
        "{step}: {output:?}"
    );
}

/// A bundle that promises more than its guest has, and a runtime directory.
struct Surroundings {
    folder: TempDir,
}

impl Surroundings {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bundle = folder.path().join("bundle");
        std::fs::create_dir(&bundle).unwrap();
        let original = images().join("base");
        for name in ["kernel", "initrd", "root"] {
            symlink(original.join(name), bundle.join(name)).unwrap();
        }
        let text = std::fs::read_to_string(original.join("bundle.json")).unwrap();
        let mut manifest: Value = serde_json::from_str(&text).unwrap();
        manifest["services"]
            .as_array_mut()
            .unwrap()
            .push(json!("no-such-unit"));
        std::fs::write(bundle.join("bundle.json"), manifest.to_string()).unwrap();
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(program().unwrap());
        command
            .args(words)
            .env("PCP_VMM_RUNTIME_DIR", self.path().join("running"));
        command.output().unwrap()
    }

    /// Does one phase; its status, and what it printed.
    fn phase(&self, phase: &str, words: &[&str]) -> (Option<i32>, String) {
        let bundle = self.path().join("bundle");
        let all = [
            "lifecycle",
            "phase",
            phase,
            "--bundle",
            bundle.to_str().unwrap(),
        ];
        let output = self.run(&[&all, words].concat());
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    }
}

impl Drop for Surroundings {
    fn drop(&mut self) {
        // A test that fails must not leave its guest.
        self.run(&["lifecycle", "force-kill", "--all"]);
    }
}

#[test]
fn phases_are_checked_alone_and_find_what_the_guest_lacks() {
    let here = Surroundings::new();
    let scaled = ["--timeout-scale", scale()];
    let (status, said) = here.phase("start", &[&scaled[..], &["--", "--cpus", "1"]].concat());
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("PASS: VM process running (PID: "), "{said}");
    scripted("check-process");
    let (status, said) = here.phase("virtio", &scaled);
    assert_eq!(status, Some(0), "{said}");
    assert!(
        said.contains("PASS: Virtio console answers (port 24501)"),
        "{said}"
    );

    let (status, said) = here.phase("metrics", &scaled);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("PASS: mem.physmem"), "{said}");
    scripted("verify");
    scripted("console");
    let (status, said) = here.phase("depth", &scaled);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("PASS: pcp dstat: 2 rows"), "{said}");
    let (status, said) = here.phase("services", &["--timeout", "services=40"]);
    assert_eq!(status, Some(1), "{said}");
    for line in [
        "PASS: pmcd active",
        "FAIL: no-such-unit active: it is inactive",
    ] {
        assert!(said.contains(line), "{said}");
    }

    let output = here.run(&["lifecycle", "status", "--variant", "base", "--json"]);
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(rows[0]["name"], "pcp-vm", "{rows}");
    assert!(rows[0]["pid"].is_u64() && rows[0]["ssh"] == true, "{rows}");

    let (status, said) = here.phase("shutdown", &scaled);
    assert_eq!(status, Some(0), "{said}");
    let (status, said) = here.phase("exit", &scaled);
    assert_eq!(status, Some(0), "{said}");

    // Once more, to be ended as scripts do.
    let (status, said) = here.phase("start", &[&scaled[..], &["--", "--cpus", "1"]].concat());
    assert_eq!(status, Some(0), "{said}");
    scripted("kill");
    let left = std::fs::read_dir(here.path().join("running"))
        .unwrap()
        .count();
    assert_eq!(left, 0);
}

/// PCP's network on this host, as long as the value lives.
struct Network(TempDir);

impl Network {
    fn set_up() -> Self {
        let network = Self(tempfile::tempdir().unwrap());
        network.run("setup");
        network
    }

    fn run(&self, verb: &str) {
        let mut command = Command::new(program().unwrap());
        command.args(["network", verb]);
        let state = self.0.path().join("state");
        let output = command.env("PCP_VMM_STATE_DIR", state).output().unwrap();
        assert!(output.status.success(), "{verb}: {output:?}");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.run("teardown");
    }
}

#[test]
fn the_base_guest_is_tested_on_pcps_tap_once_the_network_is_set_up() {
    let suite = |more: &[&str]| {
        let words = ["lifecycle", "test", "--json", "--variant", "base-tap"];
        let words = [&words[..], &["--timeout-scale", scale()], more].concat();
        let adapt = |command: &mut Command| {
            let cache = images();
            command.env("PCP_VMM_CACHE", cache.parent().unwrap());
        };
        let ended = TestVm::start_with(&words, adapt)
            .unwrap()
            .wait(120)
            .unwrap();
        let report: Value = serde_json::from_str(&ended.out).unwrap();
        (ended.code, report["tests"][0].clone())
    };
    let (status, skipped) = suite(&[]);
    assert_eq!((status, &skipped["result"]), (0, &json!("skipped")));
    let reason = skipped["reason"].as_str().unwrap();
    assert!(reason.contains("pcp-vmm network setup"), "{reason}");

    let network = Network::set_up();
    let (status, test) = suite(&["--", "--cpus", "1"]);
    assert_eq!(test["result"], "passed", "{test:#}");
    assert_eq!(status, 0);
    drop(network);
    let (_, skipped) = suite(&[]);
    assert_eq!(skipped["result"], "skipped");
}

//! vmtest's targets, with the kernel of the base guest.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use pcp_vmm_tests::program;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::exec::image;

/// A folder with a `vmtest.toml`, a kernel as a machine has one installed, and a root.
struct Place(TempDir);

impl Place {
    fn new(targets: &str) -> Self {
        // A folder that no guest mounts anything over.
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        let modules = image().join("root/usr/lib/modules");
        let release = fs::read_dir(&modules).unwrap().last().unwrap().unwrap();
        fs::copy(image().join("kernel"), folder.path().join("bzImage")).unwrap();
        fs::create_dir_all(folder.path().join("lib")).unwrap();
        let index = folder.path().join("lib/modules");
        std::os::unix::fs::symlink(release.path().parent().unwrap(), index).unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        fs::write(folder.path().join("data/input"), "from the host\n").unwrap();
        fs::write(folder.path().join("vmtest.toml"), targets).unwrap();
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut vmtest = Command::new(program().unwrap());
        vmtest.arg("vmtest").args(words);
        vmtest.arg("--runtime-dir").arg(self.path().join("running"));
        vmtest.current_dir(self.path()).stdin(Stdio::null());
        vmtest.env("GREETING", "hello");
        vmtest
    }

    fn vmtest(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Nothing is left of the VMs.
    fn is_clean(&self) {
        let left = fs::read_dir(self.path().join("running")).unwrap();
        assert_eq!(left.count(), 0);
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const TARGETS: &str = r#"
[[target]]
name = "passes"
kernel = "bzImage"
kernel_args = "pcp.vmtest=1"
command = '''
pwd; id -u; echo "$GREETING"; grep -o 'pcp.vmtest=1' /proc/cmdline; nproc
cat /data/input; echo more 2>/dev/null >/data/input || echo read-only
echo changed >/writable/output; echo by its other name >/mnt/vmtest/other; cat other; echo here >made; cat data/../made; rm -f /usr/bin/env
'''
[target.vm]
memory = "512M"
num_cpus = 1
mounts = { "/data" = { host_path = "data" }, "/writable" = { host_path = "data", writable = true } }

[[target]]
name = "fails by a signal"
kernel = "./bzImage"
command = "echo out; echo err >&2; kill -9 $$"
vm = { memory = "512M", num_cpus = 1 }
"#;

#[test]
fn targets_run_as_vmtest_says_and_their_failures_are_counted() {
    let place = Place::new(TARGETS);
    let output = place.vmtest(&["--results", "results"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    let folder = place.path().display();
    let said = format!(
        "{folder}\n0\nhello\npcp.vmtest=1\n1\nfrom the host\nread-only\nby its other name\nhere\nout\n"
    );
    assert_eq!(out, said, "{err}");
    assert!(err.contains("\nerr\n"), "{err}");
    assert!(err.contains("fails by a signal: failed (137)"), "{err}");
    assert!(err.contains("1 of 2 passed, 1 failed"), "{err}");
    // What the target opens reaches the host, and nothing else does.
    assert_eq!(place.read("made"), "here\n");
    assert_eq!(place.read("other"), "by its other name\n");
    assert_eq!(place.read("data/output"), "changed\n");
    assert_eq!(place.read("data/input"), "from the host\n");
    assert!(Path::new("/usr/bin/env").exists());
    assert_eq!(
        place.read("results/passes.1.log"),
        said.replace("out\n", "")
    );
    let junit = place.read("results/junit.xml");
    assert!(junit.contains("tests=\"2\" failures=\"1\""), "{junit}");
    let results: Value = serde_json::from_str(&place.read("results/results.json")).unwrap();
    let signal = &results["targets"][1]["attempts"][0]["report"]["signal"];
    assert_eq!(signal, 9, "{results}");
    place.is_clean();
}

#[test]
fn one_target_ends_as_its_command_and_json_has_standard_output_alone() {
    let place = Place::new(TARGETS);
    let output = place.vmtest(&["--filter", "^fails", "--json"]);
    assert_eq!(output.status.code(), Some(137), "{output:?}");
    let results: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(results["counts"]["failed"], 1);
    let err = text(&output.stderr);
    assert!(err.contains("out\n") && err.contains("err\n"), "{err}");
}

#[test]
fn the_one_liner_takes_another_root_and_a_vm_that_fails_is_unavailable() {
    let place = Place::new("");
    let root = image().join("root");
    let root = root.to_string_lossy();
    let words = [
        "-k",
        "bzImage",
        "-r",
        &root,
        "pwd;",
        "ls",
        "/mnt/vmtest/data;",
        "exit",
        "3",
    ];
    let output = place.vmtest(&words);
    assert_eq!(text(&output.stdout), "/\ninput\n", "{output:?}");
    assert_eq!(output.status.code(), Some(3));

    let words = ["-k", "bzImage", "echo c >/proc/sysrq-trigger; sleep 60"];
    let output = place.vmtest(&words);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    let output = place.vmtest(&["-k", "bzImage", "--timeout", "20", "sleep 600"]);
    assert_eq!(output.status.code(), Some(124), "{output:?}");
}

#[test]
fn a_signal_ends_the_target_that_runs_and_lets_no_other_begin() {
    let place = Place::new(&TARGETS.replace("pwd; id -u", "echo runs; sleep 600"));
    let mut command = place.command(&["--results", "results"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = [0; 5];
    let out = child.stdout.as_mut().unwrap();
    out.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"runs\n");
    let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let results: Value = serde_json::from_str(&place.read("results/results.json")).unwrap();
    assert_eq!(results["counts"]["interrupted"], 2, "{results}");
    assert!(
        !place
            .path()
            .join("results/fails%20by%20a%20signal.1.log")
            .exists()
    );
    place.is_clean();
}

#[test]
fn the_script_for_ci_ends_as_the_command_in_the_vm() {
    let place = Place::new("");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/pcp-vmm-ci");
    let run = |words: &[&str], program: PathBuf| {
        let mut command = Command::new(script);
        command.arg("--binary").arg(program).args(words);
        command.current_dir(place.path()).stdin(Stdio::null());
        command.env("GITHUB_STEP_SUMMARY", place.path().join("summary"));
        command.output().unwrap()
    };
    let output = run(&["--verb", "check"], program().unwrap());
    assert!(output.status.success(), "{output:?}");
    let command = "test -d /sys/fs/bpf && echo out; echo err >&2; kill -SEGV $$";
    let words = ["--kernel", "./bzImage", "--command", command];
    let output = run(&words, program().unwrap());
    assert_eq!(output.status.code(), Some(139), "{output:?}");
    assert_eq!(
        (text(&output.stdout), text(&output.stderr)),
        ("out\n".into(), "err\n".into())
    );
    let summary = place.read("summary");
    assert!(summary.contains("| reason | signalled |"), "{summary}");
}

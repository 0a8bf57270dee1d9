//! VMs that run, as the verbs for them show and end them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use pcp_vmm_tests::guests::{Code, Stop, one_byte};
use pcp_vmm_tests::time::wait_until;
use pcp_vmm_tests::{TestVm, ports, program};
use rustix::process::Signal;
use serde_json::Value;

use super::Guest;

/// A runtime directory that several VMs share.
pub(crate) struct Runtime(tempfile::TempDir);

impl Runtime {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Starts `code` with `more` arguments.
    pub(crate) fn start(&self, code: &Code, more: &[&str]) -> TestVm {
        self.start_bare(code, &[&["--net", "none"], more].concat())
    }

    /// Starts `code` with `more` arguments, which name a network if there is to be one.
    pub(crate) fn start_bare(&self, code: &Code, more: &[&str]) -> TestVm {
        let guest = Guest::new(code);
        let words = guest.arguments(&[&["--console", "stdio"], more].concat());
        // That of `arguments` itself.
        let at = words.iter().position(|word| word == "--net").unwrap();
        let words = [&words[..at], &words[at + 2..]].concat();
        self.start_words(&words).keep(guest.folder)
    }

    /// Starts the program with these words.
    pub(crate) fn start_words(&self, words: &[String]) -> TestVm {
        let adapt = |command: &mut Command| {
            command.env("PCP_VMM_RUNTIME_DIR", self.path());
        };
        TestVm::start_with(words, adapt).unwrap()
    }

    /// Starts a guest that goes on, and waits until it does.
    pub(crate) fn halted(&self, name: &str) -> TestVm {
        let vm = self.start(&one_byte(Stop::Halt), &["--name", name]);
        vm.out.wait_for("!", 20).unwrap();
        vm
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program().unwrap());
        command.args(words).env("PCP_VMM_RUNTIME_DIR", self.path());
        command
    }

    /// Runs a verb.
    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Runs a verb that must succeed; what it prints as JSON.
    pub(crate) fn json(&self, words: &[&str]) -> Value {
        let output = self.run(&[words, &["--json"]].concat());
        assert!(output.status.success(), "{words:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The names in `ls`, with their states.
    pub(crate) fn listed(&self) -> Vec<(String, String)> {
        let listed = self.json(&["ls"]);
        let text = |row: &Value, field: &str| row[field].as_str().unwrap().to_owned();
        let rows = listed.as_array().unwrap().iter();
        rows.map(|row| (text(row, "name"), text(row, "state")))
            .collect()
    }

    fn is_empty(&self) -> bool {
        fs::read_dir(self.path()).unwrap().next().is_none()
    }
}

pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn twenty_are_listed_and_nineteen_survive_a_kill() {
    let runtime = Runtime::new();
    let names: Vec<String> = (0..20).map(|number| format!("vm-{number:02}")).collect();
    let start = |name: &String| runtime.start(&one_byte(Stop::Halt), &["--name", name]);
    let mut vms: Vec<TestVm> = names.iter().map(start).collect();
    for vm in &vms {
        vm.out.wait_for("!", 60).unwrap();
    }
    let running = |names: &[String]| -> Vec<(String, String)> {
        let row = |name: &String| (name.clone(), "running".to_owned());
        names.iter().map(row).collect()
    };
    assert_eq!(runtime.listed(), running(&names));
    let pids: Vec<u32> = vms.iter().map(TestVm::pid).collect();
    let listed = runtime.json(&["ls"]);
    let told: Vec<u64> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["pid"].as_u64().unwrap())
        .collect();
    assert!(
        told.iter().eq(pids
            .iter()
            .map(|&pid| u64::from(pid))
            .collect::<Vec<_>>()
            .iter())
    );

    let killed = vms.remove(7);
    killed.signal(Signal::KILL).unwrap();
    killed.wait(20).unwrap();
    let mut left = names.clone();
    left.remove(7);
    assert_eq!(runtime.listed(), running(&left));
    assert!(!runtime.path().join("vm-07").exists());

    let ended = runtime.json(&["kill", "--all"]);
    assert_eq!(ended.as_array().unwrap().len(), 19);
    for vm in vms {
        assert_eq!(vm.wait(20).unwrap().code, 143);
    }
    assert!(runtime.is_empty());
}

#[test]
fn a_guest_that_ignores_its_buttons_is_stopped_within_the_deadlines() {
    let runtime = Runtime::new();
    let vm = runtime.halted("deaf");
    let begin = Instant::now();
    let stop = [
        "stop",
        "deaf",
        "--power-button",
        "0.5",
        "--ctrl-alt-del",
        "0.5",
    ];
    let output = runtime.run(&stop);
    assert!(output.status.success(), "{output:?}");
    assert!(begin.elapsed() < Duration::from_secs(4), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("without its guest's consent"), "{said}");
    let notes = errors(&output);
    assert!(
        notes.contains("the power button did not end it") && notes.contains("Ctrl-Alt-Del"),
        "{notes}"
    );
    assert_eq!(vm.wait(20).unwrap().code, 143);
    assert!(runtime.is_empty());
}

#[test]
fn a_name_has_one_vm_and_a_vm_without_a_name_gets_a_free_one() {
    let runtime = Runtime::new();
    let first = runtime.halted("twin");
    let second = runtime.start(&one_byte(Stop::Halt), &["--name", "twin"]);
    let ended = second.wait(20).unwrap();
    assert_eq!(ended.code, 1, "{ended:?}");
    for words in [
        "the name `twin` is in use",
        &format!("process {} runs", first.pid()),
        "`--name`",
    ] {
        assert!(ended.err.contains(words), "{}", ended.err);
    }
    let nameless = [0, 1].map(|_| {
        let vm = runtime.start(&one_byte(Stop::Halt), &[]);
        vm.out.wait_for("!", 20).unwrap();
        vm
    });
    let names: Vec<String> = runtime.listed().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["twin", "vm", "vm-2"]);
    for vm in nameless.into_iter().chain([first]) {
        vm.signal(Signal::TERM).unwrap();
        vm.wait(20).unwrap();
    }
    assert!(runtime.is_empty());
}

#[test]
fn what_a_killed_vm_left_is_no_obstacle() {
    let runtime = Runtime::new();
    let vm = runtime.halted("again");
    vm.signal(Signal::KILL).unwrap();
    vm.wait(20).unwrap();
    assert!(runtime.path().join("again/instance.json").exists());
    let vm = runtime.halted("again");
    assert_eq!(runtime.listed().len(), 1);
    vm.signal(Signal::KILL).unwrap();
    vm.wait(20).unwrap();
    assert!(runtime.listed().is_empty());
    assert!(runtime.is_empty());
}

#[test]
fn an_unknown_name_is_told_with_the_nearest() {
    let runtime = Runtime::new();
    let output = runtime.run(&["stop", "web"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("no VM runs at all"), "{output:?}");
    let vm = runtime.halted("webserver");
    for verb in ["stop", "kill", "ls"] {
        let output = runtime.run(&[verb, "webservre"]);
        assert_eq!(output.status.code(), Some(1), "{verb}");
        let said = errors(&output);
        assert!(said.contains("no VM `webservre` runs"), "{said}");
        assert!(said.contains("did you mean `webserver`?"), "{said}");
    }
    vm.signal(Signal::TERM).unwrap();
    vm.wait(20).unwrap();
}

#[test]
fn a_runtime_directory_that_cannot_be_written_is_an_error_with_a_remedy() {
    let runtime = Runtime::new();
    let file = runtime.path().join("file");
    fs::write(&file, "").unwrap();
    let guest = Guest::new(&one_byte(Stop::PowerOff));
    let words = guest.arguments(&["--runtime-dir", file.to_str().unwrap()]);
    let ended = TestVm::start(&words).unwrap().wait(20).unwrap();
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.err.contains("caused by:") && ended.err.contains("hint: `--runtime-dir DIR`"),
        "{}",
        ended.err
    );
    let dir = runtime.path().display();
    // There even root may not write.
    let read_only = format!("mount --bind {dir} {dir} && mount -o remount,ro,bind {dir}");
    let full =
        format!("mount -t tmpfs -o size=8k,mode=700 tmpfs {dir} && ! cp /bin/sh {dir} 2>/dev/null");
    for (script, why) in [
        (read_only, "Read-only file system"),
        (full, "No space left on device"),
    ] {
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        let output = command
            .args([
                "--mount",
                "sh",
                "-c",
                &format!("{script} && exec \"$@\""),
                "sh",
            ])
            .arg(program().unwrap())
            .args(guest.arguments(&["--console", "none"]))
            .env("PCP_VMM_RUNTIME_DIR", runtime.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = errors(&output);
        assert!(
            said.contains(why) && said.contains("hint: `--runtime-dir"),
            "{said}"
        );
    }
}

#[test]
fn nothing_is_left_whenever_a_vm_is_ended() {
    let runtime = Runtime::new();
    let port = ports::free().unwrap();
    let forward = format!("127.0.0.1:{port}:80");
    for round in 0..50_u32 {
        let flags = ["--name", "brief", "--net", "user", "--forward", &forward];
        let vm = runtime.start_bare(&one_byte(Stop::Spin), &flags);
        // From before its first system call to well into the guest.
        std::thread::sleep(Duration::from_micros(u64::from(round * 7919 % 50) * 200));
        let signal = [Signal::KILL, Signal::TERM, Signal::INT, Signal::HUP][round as usize % 4];
        vm.signal(signal).unwrap();
        if signal == Signal::INT {
            // Two that come before the first is looked at are one (signal(7)).
            let status = format!("/proc/{}/stat", vm.pid());
            let is_gone = || fs::read_to_string(&status).is_ok_and(|stat| stat.contains(") Z "));
            while !is_gone() {
                vm.signal(Signal::INT).unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        vm.wait(20).unwrap();
        if signal == Signal::KILL {
            assert!(runtime.listed().is_empty());
        }
        // Until it takes signals over, one ends it without a chance to clear up.
        let _ = runtime.run(&["ls"]);
        wait_until("an empty folder", 5, || runtime.is_empty()).unwrap();
        ports::ensure_free(port).unwrap();
    }
}

#[test]
fn a_vm_that_is_told_so_ends_with_the_process_that_started_it() {
    let runtime = Runtime::new();
    let guest = Guest::new(&one_byte(Stop::Halt));
    let words = guest.arguments(&["--console", "stdio", "--name", "child", "--end-with-parent"]);
    let program = program().unwrap();
    // A shell that waits for it, and is killed.
    let mut shell = Command::new("sh")
        .args(["-c", "\"$@\" & wait", "sh"])
        .arg(program)
        .args(words)
        .env("PCP_VMM_RUNTIME_DIR", runtime.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let running = [("child".to_owned(), "running".to_owned())];
    wait_until("the VM", 20, || runtime.listed() == running).unwrap();
    shell.kill().unwrap();
    shell.wait().unwrap();
    wait_until("the VM's end", 5, || runtime.is_empty()).unwrap();
}

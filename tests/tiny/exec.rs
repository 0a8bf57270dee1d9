//! Commands whose guest never runs them.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use pcp_vmm_tests::guests::{Code, Stop};
use pcp_vmm_tests::time::{limit, wait_until};
use pcp_vmm_tests::{leftovers, program};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::Guest;

/// How many callers are killed.
const ROUNDS: u64 = 50;

/// A kernel that is none, and the folders of those who try it.
struct Place {
    guest: Guest,
    mark: String,
}

impl Place {
    fn new(code: &Code) -> Self {
        let guest = Guest::new(code);
        let mark = format!("PCP_VMM_TEST_EXEC={}", guest.folder.path().display());
        for name in ["tmp", "running"] {
            fs::create_dir(guest.folder.path().join(name)).unwrap();
        }
        Self { guest, mark }
    }

    fn exec(&self, flags: &[&str], command: &[&str]) -> Command {
        let folder = self.guest.folder.path();
        let mut exec = Command::new(program().unwrap());
        exec.args(["exec", "--memory", "128M", "--net", "none", "--kernel"])
            .arg(self.guest.kernel());
        exec.arg("--runtime-dir").arg(folder.join("running"));
        exec.arg("--report").arg(folder.join("report"));
        exec.args(flags).arg("--").args(command);
        let (name, value) = self.mark.split_once('=').unwrap();
        exec.env(name, value).env("TMPDIR", folder.join("tmp"));
        exec.stdin(Stdio::null());
        exec
    }

    fn output(&self, flags: &[&str], command: &[&str]) -> (Output, Value) {
        let output = self.exec(flags, command).output().unwrap();
        let text = fs::read_to_string(self.guest.folder.path().join("report")).unwrap();
        (output, serde_json::from_str(&text).unwrap())
    }

    /// What is left of the VMs.
    fn left(&self) -> Vec<String> {
        let folder = self.guest.folder.path();
        let processes = leftovers::processes(&self.mark);
        let processes = processes.iter().map(|pid| format!("process {pid}"));
        let files = ["tmp", "running"].into_iter().flat_map(|name| {
            let all = fs::read_dir(folder.join(name)).unwrap();
            all.map(|entry| entry.unwrap().path().display().to_string())
        });
        processes.chain(files).collect()
    }
}

#[test]
fn a_guest_that_hangs_in_its_boot_ends_in_time_with_what_it_said() {
    let place = Place::new(&Code::default().print("step one\n").stop(Stop::Spin));
    let begin = Instant::now();
    let (output, report) = place.output(&["--boot-timeout", "2"], &["true"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(begin.elapsed() > Duration::from_secs(2) && begin.elapsed() < limit(20));
    assert!(said.contains("the guest was not up after 2 s"), "{said}");
    assert!(said.contains("step one"), "{said}");
    assert_eq!(report["reason"], "boot-timeout");
    assert_eq!(report["console_tail"], "step one\n");
    assert!(place.left().is_empty(), "{:?}", place.left());
    // The command's own time counts where it is shorter.
    let (output, report) = place.output(&["--boot-timeout", "60", "--timeout", "1"], &["true"]);
    assert_eq!(output.status.code(), Some(124), "{output:?}");
    assert_eq!(report["reason"], "timeout");
}

#[test]
fn a_guest_that_ends_in_its_boot_is_no_end_of_the_command() {
    let place = Place::new(&Code::default().print("on my way\n").stop(Stop::TripleFault));
    let (output, report) = place.output(&[], &["true"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(said.contains("the VM ended before `true`"), "{said}");
    assert!(said.contains("on my way"), "{said}");
    assert_eq!(report["reason"], "vm-ended");
    assert!(place.left().is_empty(), "{:?}", place.left());
}

#[test]
fn a_command_that_linux_does_not_take_starts_no_guest() {
    let place = Place::new(&Code::default().stop(Stop::Spin));
    let begin = Instant::now();
    // This machine itself takes it where the stack has no limit.
    let script = "ulimit -s unlimited; word=$(head -c 100000 /dev/zero | tr '\\0' x)
        for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25; do set -- \"$@\" $word; done
        exec \"$@\"";
    let exec = place.exec(&[], &["true"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(exec.get_program());
    let output = shell.args(exec.get_args()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(126), "{said}");
    assert!(said.contains("Argument list too long"), "{said}");
    assert!(begin.elapsed() < limit(20));
}

#[test]
fn callers_that_are_killed_at_any_moment_leave_nothing() {
    let place = Place::new(&Code::default().print("!").stop(Stop::Spin));
    let mut moment = 0x2545_f491_u64;
    for round in 0..ROUNDS {
        let mut caller = place.exec(&["--boot-timeout", "60"], &["true"]);
        let mut caller = caller.stderr(Stdio::null()).spawn().unwrap();
        moment = moment
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(round);
        std::thread::sleep(Duration::from_micros((moment >> 33) % 120_000));
        let signal = match round % 3 {
            0 => Signal::TERM,
            1 => Signal::INT,
            _ => Signal::KILL,
        };
        let pid = Pid::from_child(&caller);
        kill_process(pid, signal).unwrap();
        caller.wait().unwrap();
        wait_until("nothing to be left", 20, || place.left().is_empty()).unwrap_or_else(|error| {
            panic!("round {round}, {signal:?}: {error}: {:?}", place.left())
        });
    }
}

#[test]
fn a_kernel_is_unpacked_whole_or_not_at_all() {
    let guest = Guest::new(&Code::default().print("!").stop(Stop::PowerOff));
    let output = guest.folder.path().join("output");
    let unpack = |kernel: &std::path::Path| {
        let mut unpack = Command::new(program().unwrap());
        unpack.args(["kernel", "unpack"]).arg(kernel);
        unpack.arg("--output").arg(&output).output().unwrap()
    };
    // One that is no bzImage is what it holds.
    let done = unpack(&guest.kernel());
    assert!(done.status.success(), "{done:?}");
    let [written, kernel] = [&output, &guest.kernel()].map(|path| fs::read(path).unwrap());
    assert!(written.starts_with(b"\x7fELF") && kernel.starts_with(&written));
    fs::remove_file(&output).unwrap();
    let garbage = guest.folder.path().join("garbage");
    fs::write(&garbage, "no kernel at all").unwrap();
    for kernel in [garbage, "/nonexistent".into()] {
        let refused = unpack(&kernel);
        assert!(!refused.status.success(), "{refused:?}");
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains("hint: "), "{said}");
    }
    let left = fs::read_dir(guest.folder.path()).unwrap();
    assert_eq!(left.count(), 2, "a draft is left");
}

//! VMs that go on by themselves, as services and as declared sets.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use pcp_vmm_tests::Stream;
use pcp_vmm_tests::guests::{Code, Stop, one_byte};
use pcp_vmm_tests::time::wait_until;
use rustix::process::{Pid, Signal, kill_process};

use super::Guest;
use super::instances::{Runtime, errors};
use super::small;
use super::verbs::bundle;

/// Surroundings of daemons: their runtime, state and log folders.
struct Host {
    runtime: Runtime,
    folder: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        Self {
            runtime: Runtime::new(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn kernel(&self, name: &str, code: &Code) -> String {
        let path = self.path(name);
        code.write(&path).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.runtime.command(words);
        command.env("PCP_VMM_STATE_DIR", self.path("state"));
        command.env("PCP_VMM_LOG_DIR", self.path("log"));
        command
    }

    /// Starts a daemon with this code.
    fn daemon(&self, code: &Code, more: &[&str]) -> std::process::Output {
        let kernel = self.kernel("kernel", code);
        let words = [
            "run", "--daemon", "--kernel", &kernel, "--memory", "128M", "--cpus", "1",
        ];
        let mut command = self.command(&[&words, more].concat());
        command.output().unwrap()
    }

    fn deploy(&self, text: &str, more: &[&str]) -> std::process::Output {
        let file = self.path("vms.toml");
        fs::write(&file, text).unwrap();
        let words = ["deploy", file.to_str().unwrap()];
        self.command(&[&words, more].concat()).output().unwrap()
    }

    fn names(&self) -> Vec<String> {
        let listed = self.runtime.listed().into_iter();
        listed.map(|(name, _)| name).collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // A test that fails must not leave what goes on by itself.
        self.runtime.run(&["kill", "--all"]);
    }
}

const QUIET: [&str; 2] = ["--console", "none"];

#[test]
fn a_daemon_is_there_when_its_parent_returns_and_its_pid_file_goes_with_it() {
    let host = Host::new();
    let pid_file = host.path("vm.pid");
    let flags = ["--name", "d", "--pid-file", pid_file.to_str().unwrap()];
    let started = host.daemon(&one_byte(Stop::Halt), &[&QUIET[..], &flags].concat());
    assert!(started.status.success(), "{started:?}");
    assert_eq!(host.names(), ["d"]);
    let pid: u32 = fs::read_to_string(&pid_file)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let listed = host.runtime.json(&["ls"]);
    assert_eq!(listed[0]["pid"], pid);
    assert!(host.path("log/d.log").exists());
    // Its session is its own: the terminal of who started it can go.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let session = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .nth(3)
        .unwrap();
    assert_eq!(session, pid.to_string());

    let again = host.daemon(
        &one_byte(Stop::Halt),
        &[&QUIET[..], &["--name", "e"], &flags[2..]].concat(),
    );
    assert_eq!(again.status.code(), Some(1));
    assert!(
        errors(&again).contains(&format!("process {pid} runs")),
        "{again:?}"
    );

    let twin = host.daemon(&one_byte(Stop::Halt), &[&QUIET[..], &flags[..2]].concat());
    assert_eq!(twin.status.code(), Some(1), "{twin:?}");
    assert!(errors(&twin).contains("the name `d` is in use"), "{twin:?}");

    host.runtime.run(&["kill", "d"]);
    wait_until("the PID file's end", 10, || !pid_file.exists()).unwrap();
    assert!(host.names().is_empty());
}

#[test]
fn a_daemon_whose_start_is_interrupted_is_not_there() {
    let host = Host::new();
    let bundle = bundle(&one_byte(Stop::Halt), pcp_vmm_tests::ports::free().unwrap());
    let pid_file = host.path("vm.pid");
    let words = ["run", "--daemon", "--name", "d", "--cpus", "1", "--bundle"];
    let more = ["--pid-file", pid_file.to_str().unwrap()];
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let own = [bundle.path().to_str().unwrap()];
        let words = [&words[..], &own, &more].concat();
        let mut starter = Brief(host.command(&words).spawn().unwrap());
        wait_until("the VM", 20, || host.names() == ["d"]).unwrap();
        kill_process(Pid::from_child(&starter.0), signal).unwrap();
        let status = starter.0.wait().unwrap();
        assert_eq!(status.code(), Some(128 + signal.as_raw()), "{status:?}");
        assert!(host.names().is_empty());
        assert!(!pid_file.exists());
    }
}

#[test]
fn a_daemon_is_one_process_however_its_flag_is_written() {
    let host = Host::new();
    let kernel = host.kernel("kernel", &one_byte(Stop::Halt));
    // The last word is a value that looks like the flag: it reaches the guest.
    let own = ["run", "-vD", "--name", "d", "--ready-timeout", "20"];
    let words = [&own[..], &small(&kernel), &["--append", "-D"]].concat();
    let mut starter = Brief(host.command(&words).spawn().unwrap());
    wait_until("the daemon's parent to return", 20, || {
        starter.0.try_wait().unwrap().is_some()
    })
    .unwrap();
    assert!(starter.0.wait().unwrap().success());
    assert_eq!(host.names(), ["d"]);
    let pid = host.runtime.json(&["ls"])[0]["pid"].as_u64().unwrap();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    assert_eq!(children, "", "it has started nothing itself");
    let shown = host.runtime.json(&["inspect", "d"]);
    let cmdline = shown[0]["record"]["spec"]["cmdline"].as_str().unwrap();
    assert!(cmdline.ends_with(" -D"), "{cmdline}");
}

/// A process that does not outlive its test.
struct Brief(std::process::Child);

impl Drop for Brief {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_daemon_that_does_not_stay_is_an_error_with_what_it_said() {
    let host = Host::new();
    let pid_file = host.path("vm.pid");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let console = format!("tcp={}", taken.local_addr().unwrap().port());
    let pid_flag = pid_file.to_str().unwrap();
    let flags = ["--name", "d", "--console", &console, "--pid-file", pid_flag];
    let started = host.daemon(&one_byte(Stop::Halt), &flags);
    assert_eq!(started.status.code(), Some(1), "{started:?}");
    let said = errors(&started);
    for words in ["cannot listen on", "log/d.log"] {
        assert!(said.contains(words), "{said}");
    }
    assert!(!pid_file.exists() && host.names().is_empty());
    let terminal = host.daemon(&one_byte(Stop::Halt), &["--console", "stdio"]);
    assert_eq!(terminal.status.code(), Some(2), "{terminal:?}");
}

#[test]
fn the_service_manager_is_told_when_the_vm_is_ready_and_when_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let guest = Guest::new(&one_byte(Stop::Halt));
    let vm = pcp_vmm_tests::TestVm::start_with(&guest.arguments(&QUIET), |command| {
        command.env("NOTIFY_SOCKET", &path);
    })
    .unwrap();
    let told = || {
        let mut text = [0; 256];
        let length = socket.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length]).into_owned()
    };
    assert!(told().starts_with("READY=1\n"));
    vm.signal(Signal::TERM).unwrap();
    assert!(told().starts_with("STOPPING=1\n"));
    assert_eq!(vm.wait(20).unwrap().code, 143);
}

#[test]
fn a_declared_set_is_started_changed_and_taken_away_and_others_are_left_alone() {
    let host = Host::new();
    let kernel = host.kernel("halt", &one_byte(Stop::Halt));
    let vm = |name: &str, more: &str| {
        format!(
            "[vm.{name}]\nrun = [\"--kernel\", \"{kernel}\", \"--memory\", \"128M\", \"--cpus\", \"1\", \"--console\", \"none\"]\n{more}\n"
        )
    };
    let stranger = host.runtime.halted("stranger");
    let both = [vm("a", ""), vm("b", "after = [\"a\"]")].concat();
    let logs = host.path("logs of a set");
    let done = host.deploy(&both, &["--log-dir", logs.to_str().unwrap()]);
    assert!(done.status.success(), "{done:?}");
    assert_eq!(host.names(), ["a", "b", "stranger"]);
    assert!(logs.join("a.log").exists() && logs.join("b.log").exists());
    let pids = || -> Vec<u64> {
        let listed = host.runtime.json(&["ls"]);
        let rows = listed.as_array().unwrap().iter();
        rows.map(|row| row["pid"].as_u64().unwrap()).collect()
    };
    let before = pids();
    let again = host.deploy(&both, &["--json"]);
    let steps: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(steps["keep"], serde_json::json!(["a", "b"]));
    assert_eq!(pids(), before);

    // One changes, one goes, one comes. A guest of one instruction heeds no button.
    let next = [vm("b", "").replace("128M", "130M"), vm("c", "")].concat();
    let dry = host.deploy(&next, &["--dry-run"]);
    assert_eq!(
        String::from_utf8_lossy(&dry.stdout),
        "stop a\nstop b\nstart b\nstart c\n"
    );
    assert_eq!(pids(), before);
    host.runtime.run(&["kill", "a", "b"]);
    let done = host.deploy(&next, &[]);
    assert!(done.status.success(), "{done:?}");
    assert_eq!(host.names(), ["b", "c", "stranger"]);

    let clash = host.deploy(&[next.as_str(), &vm("stranger", "")].concat(), &[]);
    assert_eq!(clash.status.code(), Some(1), "{clash:?}");
    assert!(
        errors(&clash).contains("`stranger` was started by somebody else"),
        "{clash:?}"
    );
    assert_eq!(host.names(), ["b", "c", "stranger"]);

    host.runtime.run(&["kill", "b", "c"]);
    let gone = host.deploy("", &["--undeploy"]);
    assert!(gone.status.success(), "{gone:?}");
    assert_eq!(host.names(), ["stranger"]);
    assert_eq!(fs::read_dir(host.path("state/deploy")).unwrap().count(), 0);
    stranger.signal(Signal::TERM).unwrap();
    stranger.wait(20).unwrap();
}

#[test]
fn two_deployments_of_a_file_go_one_after_the_other() {
    let host = Host::new();
    let kernel = host.kernel("halt", &one_byte(Stop::Halt));
    let vm = |name: &str| {
        format!(
            "[vm.{name}]\nrun = [\"--kernel\", \"{kernel}\", \"--memory\", \"128M\", \"--cpus\", \"1\", \"--console\", \"none\"]\n"
        )
    };
    let file = host.path("vms.toml");
    fs::write(&file, [vm("a"), vm("b")].concat()).unwrap();
    let folder = host.path("state/deploy");
    fs::create_dir_all(&folder).unwrap();
    let record = file.to_str().unwrap().replace('/', "+");
    let lock = fs::File::create(folder.join(format!("{record}.lock"))).unwrap();
    lock.lock().unwrap();

    let start = || {
        let mut command = host.command(&["deploy", file.to_str().unwrap()]);
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Brief(piped.spawn().unwrap())
    };
    let mut both = [start(), start()];
    let said = both
        .each_mut()
        .map(|it| Stream::read(it.0.stderr.take().unwrap()));
    for stream in &said {
        let text = || stream.text();
        wait_until("it to wait", 20, || text().contains("another deployment")).unwrap();
    }
    assert!(host.names().is_empty());
    drop(lock);
    let mut outcomes = both.each_mut().map(|it| {
        assert!(it.0.wait().unwrap().success());
        std::io::read_to_string(it.0.stdout.take().unwrap()).unwrap()
    });
    outcomes.sort();
    assert_eq!(outcomes, ["keep a\nkeep b\n", "start a\nstart b\n"]);
    assert_eq!(host.names(), ["a", "b"]);
    assert_eq!(
        fs::read_dir(&folder).unwrap().count(),
        1,
        "the record alone"
    );
}

//! The verbs that look into VMs that run, and change them.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pcp_vmm_tests::guests::{Code, Stop, one_byte};
use pcp_vmm_tests::time::wait_until;
use pcp_vmm_tests::{Stream, TestVm};
use rustix::process::Signal;
use serde_json::Value;

use super::instances::{Runtime, errors};

fn end(vm: TestVm) {
    vm.signal(Signal::TERM).unwrap();
    vm.wait(20).unwrap();
}

fn boots() -> Code {
    let words = "Linux version 6\nRun /init\nsystemd[1]: hello\nvm login: ";
    Code::default().print(words)
}

#[test]
fn a_console_carries_both_ways_and_ends_with_the_vm() {
    let runtime = Runtime::new();
    let code = Code::default().print("ready\n").echo_until(b'.');
    let vm = runtime.start(&code.stop(Stop::PowerOff), &["--name", "echo"]);
    vm.out.wait_for("ready", 20).unwrap();
    let mut console = runtime.command(&["console", "echo", "serial"]);
    let console = console.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut console = console.stderr(Stdio::piped()).spawn().unwrap();
    let out = Stream::read(console.stdout.take().unwrap());
    out.wait_for("ready", 20).unwrap();
    let mut typed = console.stdin.take().unwrap();
    typed.write_all(b"abc.").unwrap();
    out.wait_for("abc.", 20).unwrap();
    assert!(console.wait().unwrap().success());
    assert_eq!(vm.wait(20).unwrap().code, 0);
}

#[test]
fn a_terminal_leaves_a_console_by_its_key_and_is_as_before() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{LocalModes, tcgetattr};
    let runtime = Runtime::new();
    let code = Code::default().print("ready\n").echo_until(b'.');
    let vm = runtime.start(&code.stop(Stop::PowerOff), &["--name", "echo"]);
    vm.out.wait_for("ready", 20).unwrap();
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let path = ptsname(&master, Vec::new()).unwrap();
    let mut options = fs::OpenOptions::new();
    let slave = options.read(true).write(true);
    let slave = slave.open(path.to_str().unwrap()).unwrap();
    let raw = || {
        !tcgetattr(&slave)
            .unwrap()
            .local_modes
            .contains(LocalModes::ICANON)
    };
    let stream = || Stdio::from(slave.try_clone().unwrap());
    let mut console = runtime.command(&["console", "echo"]);
    let console = console.stdin(stream()).stdout(stream()).stderr(stream());
    let mut console = console.spawn().unwrap();
    let mut terminal = fs::File::from(master);
    let shown = Stream::read(terminal.try_clone().unwrap());
    shown
        .wait_for("ttyS0 of echo; Ctrl-] leaves it", 20)
        .unwrap();
    shown.wait_for("ready", 20).unwrap();
    assert!(raw());
    // What is typed while the past is shown could be the terminal's own answers.
    std::thread::sleep(Duration::from_millis(300));
    terminal.write_all(b"typed").unwrap();
    shown.wait_for("typed", 20).unwrap();
    terminal.write_all(b"\x1d").unwrap();
    assert!(console.wait().unwrap().success());
    shown.wait_for("left ttyS0 of echo", 20).unwrap();
    assert!(!raw());
    assert_eq!(
        runtime.listed(),
        [("echo".to_owned(), "running".to_owned())]
    );
    end(vm);
}

#[test]
fn logs_are_what_the_console_printed() {
    let runtime = Runtime::new();
    let code = Code::default().print("one\ntwo\n").stop(Stop::Halt);
    let vm = runtime.start(&code, &["--name", "log"]);
    vm.out.wait_for("two", 20).unwrap();
    let said = |words: &[&str]| String::from_utf8(runtime.run(words).stdout).unwrap();
    assert_eq!(said(&["logs", "log"]), "one\ntwo\n");
    assert_eq!(said(&["logs", "log", "-n", "1"]), "two\n");
    let mut follower = runtime.command(&["logs", "log", "-f"]);
    let mut follower = follower.stdout(Stdio::piped()).spawn().unwrap();
    let out = Stream::read(follower.stdout.take().unwrap());
    out.wait_for("two\n", 20).unwrap();

    let other = runtime.halted("other");
    assert_eq!(
        said(&["logs", "--all", "serial"]),
        "log: one\nlog: two\nother: !\n"
    );
    for (words, why) in [
        (&["console", "--all"][..], "a terminal shows one console"),
        (&["ssh", "--all"], "a login is to one VM"),
        (
            &["logs", "--all", "log"],
            "a VM is not named beside `--all`",
        ),
    ] {
        let output = runtime.run(words);
        assert!(!output.status.success(), "{words:?}");
        assert!(errors(&output).contains(why), "{output:?}");
    }
    end(other);
    end(vm);
    assert!(follower.wait().unwrap().success());
    assert_eq!(out.wait_for_end(5).unwrap(), b"one\ntwo\n");
    let output = runtime.run(&["logs", "log"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn a_paused_guest_stands_still_and_goes_on() {
    let runtime = Runtime::new();
    let vm = runtime.start(&one_byte(Stop::Spin), &["--name", "spin"]);
    vm.out.wait_for("!", 20).unwrap();
    let cpu = || {
        runtime.json(&["status", "spin"])[0]["cpu_seconds"]
            .as_f64()
            .unwrap()
    };
    let paused = runtime.json(&["pause", "spin"]);
    assert_eq!(paused[0]["state"], "paused");
    assert_eq!(runtime.listed()[0].1, "paused");
    let before = cpu();
    std::thread::sleep(Duration::from_millis(600));
    let after = cpu();
    assert!(after - before < 0.1, "{before} {after}");
    runtime.json(&["pause", "spin"]);
    runtime.json(&["resume", "spin"]);
    assert_eq!(runtime.listed()[0].1, "running");
    wait_until("the guest to go on", 20, || cpu() - after > 0.2).unwrap();
    runtime.json(&["pause", "spin"]);
    // A guest that sleeps is woken to be asked.
    let stopped = runtime.json(&[
        "stop",
        "spin",
        "--power-button",
        "0.2",
        "--ctrl-alt-del",
        "0",
    ]);
    assert_eq!(stopped[0]["by"], "quit");
    vm.wait(20).unwrap();
}

#[test]
fn events_tell_of_the_boot_and_of_the_end() {
    let runtime = Runtime::new();
    let vm = runtime.start(&boots().stop(Stop::Halt), &["--name", "boot"]);
    vm.out.wait_for("login: ", 20).unwrap();
    let mut follower = runtime.command(&["events", "boot", "--follow", "--json"]);
    let mut follower = follower.stdout(Stdio::piped()).spawn().unwrap();
    let out = Stream::read(follower.stdout.take().unwrap());
    out.wait_for("\"login\"", 20).unwrap();
    let asked = runtime.run(&[
        "stop",
        "boot",
        "--power-button",
        "0.2",
        "--ctrl-alt-del",
        "0",
    ]);
    assert!(asked.status.success(), "{asked:?}");
    vm.wait(20).unwrap();
    assert!(follower.wait().unwrap().success());
    let said = String::from_utf8(out.wait_for_end(5).unwrap()).unwrap();
    let events: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told: Vec<&str> = events
        .iter()
        .map(|it| it["event"].as_str().unwrap())
        .collect();
    assert_eq!(
        told,
        [
            "phase",
            "phase",
            "phase",
            "phase",
            "power-button",
            "state",
            "end"
        ]
    );
    assert_eq!(events[3]["phase"], "login");
    assert_eq!(events[5]["state"], "stopping");
    assert_eq!(events[6]["reason"], "killed");
    assert!(
        events
            .iter()
            .enumerate()
            .all(|(at, it)| it["seq"] == at && it["name"] == "boot")
    );
}

#[test]
fn waiting_ends_with_what_is_waited_for_and_only_then() {
    let runtime = Runtime::new();
    let waits = |words: &[&str]| {
        let output = runtime.run(&[&["wait", "boot"], words].concat());
        (output.status.code(), errors(&output))
    };
    // Who waits may come before the VM.
    let mut early = runtime.command(&["wait", "boot", "--timeout", "20"]);
    let mut early = early.stderr(Stdio::null()).spawn().unwrap();
    let vm = runtime.start(
        &boots().echo_until(b'.').stop(Stop::PowerOff),
        &["--name", "boot"],
    );
    assert!(early.wait().unwrap().success());
    for wanted in [
        "kernel",
        "login",
        "console:^Linux version [0-9]+$",
        "console:login: $",
    ] {
        let (code, said) = waits(&["--for", wanted, "--timeout", "20"]);
        assert_eq!(code, Some(0), "{wanted}: {said}");
    }
    let begin = Instant::now();
    let (code, said) = waits(&["--for", "console:never", "--timeout", "0.5"]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("not as wanted in time (console:never)"),
        "{said}"
    );
    assert!(begin.elapsed() < Duration::from_secs(5));
    let (code, said) = waits(&["--for", "ssh", "--timeout", "5"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("no host port leads to its port 22"), "{said}");

    let mut exit = runtime
        .command(&["wait", "boot", "--for", "exit"])
        .spawn()
        .unwrap();
    let mut vain = runtime.command(&["wait", "boot", "--for", "console:never"]);
    let vain = vain.stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert!(exit.try_wait().unwrap().is_none());
    let mut vm = vm;
    vm.type_in(".").unwrap();
    assert_eq!(vm.wait(20).unwrap().code, 0);
    assert!(exit.wait().unwrap().success());
    let vain = vain.wait_with_output().unwrap();
    assert_eq!(vain.status.code(), Some(1));
    assert!(
        errors(&vain).contains("ended before it was as wanted"),
        "{vain:?}"
    );
}

#[test]
fn forwards_balloons_and_links_change_while_the_guest_runs() {
    let runtime = Runtime::new();
    let devices = ["--name", "net", "--net", "user", "--balloon"];
    let vm = runtime.start_bare(&one_byte(Stop::Halt), &devices);
    vm.out.wait_for("!", 20).unwrap();
    let port = pcp_vmm_tests::ports::free().unwrap().to_string();
    let added = runtime.json(&["forward", "add", "net", &format!("127.0.0.1:{port}:80")]);
    let text = format!("tcp:127.0.0.1:{port}:80");
    assert_eq!(added[0]["forwards"][0], text);
    std::net::TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    assert!(
        runtime.json(&["ls"])[0]["forwards"]
            .to_string()
            .contains(&port)
    );
    let removed = runtime.json(&["forward", "rm", "net", &format!("127.0.0.1:{port}")]);
    assert_eq!(removed[0]["forwards"], Value::Array(Vec::new()));
    let output = runtime.run(&["forward", "rm", "net", &port]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(errors(&output).contains("caused by:"), "{output:?}");

    assert_eq!(
        runtime.json(&["balloon", "net", "64M"])[0]["target"],
        64 << 20
    );
    assert_eq!(runtime.json(&["balloon", "--all"])[0]["target"], 64 << 20);
    assert_eq!(runtime.json(&["link", "--all", "down"])[0]["link"], "down");
    assert_eq!(runtime.json(&["link", "net"])[0]["link"], "down");
    end(vm);
}

#[test]
fn what_a_vm_was_started_with_is_shown_with_its_origins() {
    let runtime = Runtime::new();
    let vm = runtime.start(
        &one_byte(Stop::Halt),
        &["--name", "seen", "--credential", "a=SECRET"],
    );
    vm.out.wait_for("!", 20).unwrap();
    let all = runtime.json(&["inspect", "seen"]);
    assert_eq!(all[0]["record"]["spec"]["memory"], 128 << 20);
    assert_eq!(all[0]["record"]["pid"], vm.pid());
    assert_eq!(all[0]["status"]["state"], "running");
    let resolved = runtime.run(&["inspect", "seen", "--resolved"]);
    let text = String::from_utf8(resolved.stdout).unwrap();
    let line = text.lines().find(|line| line.contains("memory")).unwrap();
    assert!(
        line.contains("128 MiB") && line.contains("--memory"),
        "{text}"
    );
    assert!(!all.to_string().contains("SECRET") && !text.contains("SECRET"));
    let status = runtime.run(&["status", "--all"]);
    let text = String::from_utf8(status.stdout).unwrap();
    assert!(
        text.starts_with(&format!("seen, process {}", vm.pid())),
        "{text}"
    );
    end(vm);
}

/// A bundle around a tiny guest, whose SSH port leads nowhere.
pub(super) fn bundle(code: &Code, port: u16) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    code.write(&folder.path().join("kernel")).unwrap();
    let manifest = serde_json::json!({
        "schema_version": 1, "variant": "base", "hostname": "pcp-test-vm", "process": "pcp-test-vm",
        "kernel": "kernel", "cmdline": "", "root": { "kind": "initrd" }, "shares": [],
        "memory_mib": 128, "cpus": 1, "mac": "02:00:00:0a:cb:01",
        "forwards": [{ "name": "ssh", "protocol": "tcp", "host": port, "guest": 22 }],
        "consoles": [], "services": ["pmcd"], "metrics": ["kernel.all.load"], "http_checks": [],
        "logins": { "ssh": { "user": "root", "password": "pcp" } },
        "build": { "builder": "test", "suite": "none", "kernel_release": "0", "packages": {} },
    });
    fs::write(folder.path().join("bundle.json"), manifest.to_string()).unwrap();
    folder
}

#[test]
fn ssh_is_given_the_way_in_and_the_password_without_a_question() {
    let runtime = Runtime::new();
    let port = pcp_vmm_tests::ports::free().unwrap();
    let bundle = bundle(&one_byte(Stop::Halt), port);
    let words = ["run", "--bundle", bundle.path().to_str().unwrap()];
    let vm = runtime.start_words(&words.map(str::to_owned));
    wait_until("the VM", 20, || !runtime.listed().is_empty()).unwrap();
    // In place of `ssh`: tells what it was given, and asks for the password as `ssh` does.
    let bin = tempfile::tempdir().unwrap();
    let fake = bin.path().join("ssh");
    let script = "#!/bin/sh\necho \"$@\"\n\"$SSH_ASKPASS\" \"password: \"\nexit 7\n";
    fs::write(&fake, script).unwrap();
    fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
    let output = runtime
        .command(&["ssh", "base", "--timeout", "0", "--", "pminfo", "-f"])
        .env("PATH", bin.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains(&format!("-p {port} ")), "{said}");
    assert!(
        said.contains("root@127.0.0.1 -- pminfo -f\npcp\n"),
        "{said}"
    );
    // Nobody answers there.
    let early = runtime.run(&["ssh", "base", "--timeout", "0.5"]);
    assert_eq!(early.status.code(), Some(1));
    let text = errors(&early);
    assert!(
        text.contains("nothing answers at 127.0.0.1") && text.contains("`pcp-vmm logs "),
        "{text}"
    );
    let waited = runtime.run(&["wait", "base", "--timeout", "0.5"]);
    assert_eq!(waited.status.code(), Some(1));
    assert!(
        errors(&waited).contains("answers at 127.0.0.1"),
        "{waited:?}"
    );
    let second = runtime
        .start_words(&words.map(str::to_owned))
        .wait(20)
        .unwrap();
    assert_eq!(second.code, 1, "{second:?}");
    assert!(
        second.err.contains("the name `pcp-test-vm` is in use")
            && second.err.contains("`--name base-2`"),
        "{}",
        second.err
    );
    end(vm);
}

#[test]
fn hostile_clients_keep_nobody_from_the_control_socket() {
    let runtime = Runtime::new();
    let vm = runtime.halted("calm");
    let connect = || UnixStream::connect(runtime.path().join("calm/control")).unwrap();
    let mut garbage = connect();
    garbage.write_all(&[0xff; 3000]).unwrap();
    let mut endless = connect();
    let _ = endless.write_all(&[b'{'; 100_000]);
    let mut deaf = connect();
    deaf.set_write_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    while deaf.write_all(b"{\"request\":\"info\"}\n").is_ok() {}
    let silent: Vec<UnixStream> = (0..20).map(|_| connect()).collect();
    let begin = Instant::now();
    assert_eq!(runtime.listed()[0].1, "running");
    assert!(begin.elapsed() < Duration::from_secs(2));
    let mut said = String::new();
    let mut nonsense = connect();
    nonsense.write_all(b"nonsense\n").unwrap();
    nonsense.shutdown(std::net::Shutdown::Write).unwrap();
    nonsense.read_to_string(&mut said).unwrap();
    assert!(said.contains("\"ok\":false"), "{said}");
    drop((garbage, endless, deaf, silent));
    end(vm);
}

#[test]
fn ssh_and_ansible_are_told_the_way_in() {
    let runtime = Runtime::new();
    let port = pcp_vmm_tests::ports::free().unwrap();
    let bundle = bundle(&one_byte(Stop::Halt), port);
    let words = ["run", "--bundle", bundle.path().to_str().unwrap()];
    let vm = runtime.start_words(&words.map(str::to_owned));
    let other = runtime.halted("closed");
    wait_until("the VMs", 20, || runtime.listed().len() == 2).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    let own = "Host *\n  User somebody\n";
    fs::write(&config, own).unwrap();
    let file = ["--file", config.to_str().unwrap()];
    let run = |words: &[&str]| {
        let output = runtime.run(&[words, &file].concat());
        assert!(output.status.success(), "{output:?}");
        output
    };
    let told = run(&["ssh-config", "--write", "--all"]);
    let text = errors(&told);
    assert!(
        text.contains("cannot log in to `closed`") && text.contains("`ssh pcp-test-vm`"),
        "{text}"
    );
    let first = fs::read_to_string(&config).unwrap();
    assert!(first.ends_with(own), "{first}");
    // What ssh itself makes of it.
    let read = Command::new("ssh")
        .args(["-G", "-F", config.to_str().unwrap(), "pcp-test-vm"])
        .output()
        .unwrap();
    let read = String::from_utf8(read.stdout).unwrap();
    for line in [
        format!("port {port}\n"),
        "hostname 127.0.0.1\n".to_owned(),
        "user root\n".to_owned(),
    ] {
        assert!(read.contains(&line), "{read}");
    }
    run(&["ssh-config", "--write", "pcp-test-vm"]);
    assert_eq!(fs::read_to_string(&config).unwrap(), first);
    let one = runtime.run(&["ssh-config", "closed"]);
    assert_eq!(one.status.code(), Some(1), "{one:?}");
    run(&["ssh-config", "--remove", "pcp-test-vm"]);
    assert_eq!(fs::read_to_string(&config).unwrap(), own);
    let gone = runtime.run(&[&["ssh-config", "--remove", "pcp-test-vm"][..], &file].concat());
    assert_eq!(gone.status.code(), Some(1));
    assert!(errors(&gone).contains("has no block"), "{gone:?}");
    let inventory = runtime.run(&["inventory"]);
    let inventory: Value = serde_json::from_slice(&inventory.stdout).unwrap();
    assert_eq!(
        inventory["all"]["hosts"],
        serde_json::json!(["pcp-test-vm"])
    );
    assert_eq!(
        inventory["base"]["hosts"],
        serde_json::json!(["pcp-test-vm"])
    );
    let variables = &inventory["_meta"]["hostvars"]["pcp-test-vm"];
    assert_eq!(variables["ansible_port"], port);
    assert_eq!(variables["ansible_password"], "pcp");
    end(vm);
    end(other);
}

//! Machines that are started by QEMU's command line.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use pcp_vmm_tests::guests::{Code, Stop};
use pcp_vmm_tests::time::wait_until;
use pcp_vmm_tests::{Stream, TestVm, ports, program};

use super::Guest;

/// A guest that sends back what it receives until a full stop.
fn echo() -> Code {
    let code = Code::default().print("ready\n").echo_until(b'.');
    code.stop(Stop::PowerOff)
}

/// QEMU's command line for `guest`, and `more`.
fn argv(guest: &Guest, more: &[&str]) -> Vec<String> {
    let kernel = guest.kernel();
    let own = [
        "qemu-compat",
        "-M",
        "microvm,accel=kvm:tcg,acpi=on,pcie=on,pic=off,pit=off,rtc=on,usb=off",
    ];
    let own = own.into_iter().chain([
        "-m",
        "128",
        "-smp",
        "1",
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
    ]);
    let own = own.chain([
        "-enable-kvm",
        "-cpu",
        "host,+x2apic,-sgx",
        "-device",
        "i8042",
        "-nographic",
    ]);
    let own = own.chain([
        "-kernel",
        kernel.to_str().unwrap(),
        "-append",
        " reboot=t panic=-1",
    ]);
    own.chain(more.iter().copied()).map(str::to_owned).collect()
}

fn start(code: &Code, more: &[&str]) -> TestVm {
    let guest = Guest::new(code);
    TestVm::start(&argv(&guest, more))
        .unwrap()
        .keep(guest.folder)
}

/// A client of the TCP port, once somebody listens there.
fn client(port: u16) -> (TcpStream, Stream) {
    let mut found = None;
    wait_until("the console listens", 20, || {
        found = TcpStream::connect(("127.0.0.1", port)).ok();
        found.is_some()
    })
    .unwrap();
    let stream = found.unwrap();
    let reader = Stream::read(stream.try_clone().unwrap());
    (stream, reader)
}

#[test]
fn a_guest_with_pcps_options_is_reached_at_its_tcp_ports_and_powers_off_with_status_0() {
    let [serial, virtio] = [ports::free().unwrap(), ports::free().unwrap()];
    let forward = ports::free().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let vm = start(
        &echo(),
        &[
            "-chardev",
            "stdio,id=stdio,signal=off",
            "-device",
            "virtio-rng-pci",
            "-numa",
            "node,memdev=mem",
            "-object",
            "memory-backend-memfd,id=mem,size=128M,share=on",
            "-fsdev",
            &format!(
                "local,id=fs0,path={},security_model=none,readonly=false",
                folder.path().display()
            ),
            "-device",
            "virtio-9p-pci,fsdev=fs0,mount_tag=ro-store",
            "-netdev",
            &format!("user,id=eth0,hostfwd=tcp:127.0.0.1:{forward}-:22,"),
            "-device",
            "virtio-net-pci,netdev=eth0,mac=02:00:00:0a:cb:01,romfile=,mq=on,vectors=10",
            "-serial",
            &format!("tcp:127.0.0.1:{serial},server,nowait"),
            "-device",
            "virtio-serial-pci",
            "-chardev",
            &format!("socket,id=virtcon,port={virtio},host=127.0.0.1,server=on,wait=off"),
            "-device",
            "virtconsole,chardev=virtcon",
        ],
    );
    let (mut typed, seen) = client(serial);
    seen.wait_for("ready\n", 20).unwrap();
    // They listen too.
    drop(client(virtio));
    drop(client(forward));
    typed.write_all(b"hello.").unwrap();
    let ended = vm.wait(20).unwrap();
    assert_eq!((ended.code, ended.out.as_str()), (0, ""), "{}", ended.err);
    assert!(seen.text().ends_with("hello."), "{}", seen.text());
}

#[test]
fn ends_have_the_status_that_qemu_gives_them() {
    for how in [
        Stop::PowerOff,
        Stop::AcpiReset,
        Stop::KeyboardReset,
        Stop::TripleFault,
    ] {
        let ended = start(&Code::default().print("!").stop(how), &["-serial", "stdio"]);
        let ended = ended.wait(20).unwrap();
        assert_eq!(
            (ended.code, ended.out.as_str()),
            (0, "!"),
            "{how:?}: {}",
            ended.err
        );
    }
    let vm = start(
        &Code::default().print("!").stop(Stop::Spin),
        &["-serial", "stdio"],
    );
    vm.out.wait_for("!", 20).unwrap();
    vm.signal(rustix::process::Signal::TERM).unwrap();
    assert_eq!(vm.wait(5).unwrap().code, 0);
}

#[test]
fn a_vm_without_options_of_its_own_prints_to_standard_output_with_its_input_closed() {
    let guest = Guest::new(&Code::default().print("built").stop(Stop::PowerOff));
    let kernel = guest.kernel();
    // As nixpkgs' vmTools calls it.
    let words = [
        "qemu-compat",
        "-machine",
        "accel=kvm:tcg",
        "-cpu",
        "max",
        "-nographic",
        "-no-reboot",
        "-vga",
        "none",
    ];
    let words = words.into_iter().chain([
        "-device",
        "virtio-rng-pci",
        "-kernel",
        kernel.to_str().unwrap(),
    ]);
    let words: Vec<&str> = words
        .chain(["-append", "console=ttyS0 panic=1", "-m", "512"])
        .collect();
    let vm = TestVm::start_with(&words, |command| {
        command.stdin(Stdio::null());
    });
    let ended = vm.unwrap().wait(20).unwrap();
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (0, "built"),
        "{}",
        ended.err
    );
}

#[test]
fn the_number_of_the_process_is_in_its_file_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("vm.pid");
    let mut vm = start(
        &echo(),
        &["-serial", "stdio", "-pidfile", file.to_str().unwrap()],
    );
    vm.out.wait_for("ready", 20).unwrap();
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        format!("{}\n", vm.pid())
    );
    vm.type_in(".").unwrap();
    assert_eq!(vm.wait(20).unwrap().code, 0);
    assert!(!file.exists());
}

#[test]
fn machines_may_have_one_name_and_the_host_file_of_a_project_does_not_count() {
    let guest = Guest::new(&echo());
    fs::write(
        guest.folder.path().join("pcp-vmm.toml"),
        "memory = \"1\"\nshare = [\"a=/nowhere\"]\n",
    )
    .unwrap();
    let words = argv(&guest, &["-serial", "stdio", "-name", "machine"]);
    let first = TestVm::start_with(&words, |command| {
        command.current_dir(guest.folder.path());
    });
    let mut first = first.unwrap();
    first.out.wait_for("ready", 20).unwrap();
    let instances = first.instances();
    let second = TestVm::start_with(&words, |command| {
        command
            .env("PCP_VMM_RUNTIME_DIR", &instances)
            .env("PCP_VMM_MEMORY", "1");
    });
    let mut second = second.unwrap();
    second.out.wait_for("ready", 20).unwrap();
    assert!(instances.join("machine").exists() && instances.join("machine-2").exists());
    for vm in [&mut first, &mut second] {
        vm.type_in(".").unwrap();
    }
    assert_eq!(second.wait(20).unwrap().code, 0);
    assert_eq!(first.wait(20).unwrap().code, 0);
}

#[test]
fn by_the_name_of_qemu_the_command_line_is_qemus() {
    let guest = Guest::new(&echo());
    let home = tempfile::tempdir().unwrap();
    let called = home.path().join("qemu-system-x86_64");
    symlink(program().unwrap(), &called).unwrap();
    let words = argv(
        &guest,
        &["-serial", "stdio", "-name", "pcp-vm-9,process=pcp-vm-9"],
    );
    let mut command = Command::new(&called);
    // As PCP's runner gives the process a name of its own.
    command.arg0("microvm@pcp-vm-9").args(&words[1..]);
    command
        .env("PCP_VMM_RUNTIME_DIR", home.path().join("running"))
        .env("HOME", home.path());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = Stream::read(child.stdout.take().unwrap());
    out.wait_for("ready", 20).unwrap();
    let line = fs::read(format!("/proc/{}/cmdline", child.id())).unwrap();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    assert!(line.starts_with("microvm@pcp-vm-9 -M microvm"), "{line}");
    child.stdin.take().unwrap().write_all(b".").unwrap();
    assert!(child.wait().unwrap().success());
}

/// A guest that prints a byte and runs on.
fn endless() -> Code {
    Code::default().print("!").stop(Stop::Spin)
}

/// A client of the Unix socket, once somebody listens there.
fn monitor(path: &Path) -> BufReader<UnixStream> {
    let mut found = None;
    wait_until("the monitor listens", 20, || {
        found = UnixStream::connect(path).ok();
        found.is_some()
    })
    .unwrap();
    patient(found.unwrap())
}

fn patient(stream: UnixStream) -> BufReader<UnixStream> {
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    BufReader::new(stream)
}

/// Sends `line`, and gives the next line that has `wanted` in it.
fn ask(client: &mut BufReader<UnixStream>, line: &str, wanted: &str) -> String {
    client
        .get_mut()
        .write_all(format!("{line}\n").as_bytes())
        .unwrap();
    loop {
        let mut said = String::new();
        assert_ne!(
            client.read_line(&mut said).unwrap(),
            0,
            "no {wanted} before the end"
        );
        if said.contains(wanted) {
            return said;
        }
    }
}

/// What comes up to the next prompt.
fn prompt(client: &mut BufReader<UnixStream>) -> String {
    let mut said = Vec::new();
    while !said.ends_with(b"(qemu) ") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        said.push(byte[0]);
    }
    String::from_utf8(said).unwrap()
}

#[test]
fn a_machine_is_stopped_and_ended_by_qmp() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qmp.sock");
    let at = format!("unix:{},server,nowait", path.display());
    let vm = start(&endless(), &["-serial", "stdio", "-qmp", &at]);
    let mut client = monitor(&path);
    ask(&mut client, r#"{"execute":"qmp_capabilities"}"#, "return");
    vm.out.wait_for("!", 20).unwrap();
    let status = r#"{"execute":"query-status"}"#;
    assert!(ask(&mut client, status, "return").contains("running"));
    ask(&mut client, r#"{"execute":"stop"}"#, "STOP");
    assert!(ask(&mut client, status, "return").contains("paused"));
    ask(&mut client, r#"{"execute":"cont"}"#, "RESUME");
    ask(
        &mut client,
        r#"{"execute":"system_powerdown"}"#,
        "POWERDOWN",
    );
    let end = ask(&mut client, r#"{"execute":"quit"}"#, "SHUTDOWN");
    assert!(end.contains("host-qmp-quit"), "{end}");
    let ended = vm.wait(10).unwrap();
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(!path.exists());
}

#[test]
fn the_end_of_a_guest_is_told_to_all_who_speak_qmp() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qmp.sock");
    let at = format!("unix:{},server,nowait", path.display());
    let mut vm = start(&echo(), &["-serial", "stdio", "-qmp", &at]);
    let mut clients = [monitor(&path), monitor(&path)];
    for client in &mut clients {
        ask(client, r#"{"execute":"qmp_capabilities"}"#, "return");
    }
    vm.out.wait_for("ready", 20).unwrap();
    vm.type_in(".").unwrap();
    for client in &mut clients {
        let end = ask(client, "", "SHUTDOWN");
        assert!(
            end.contains("guest-shutdown") && end.contains("true"),
            "{end}"
        );
    }
    assert_eq!(vm.wait(20).unwrap().code, 0);
}

#[test]
fn a_test_driver_that_listens_is_connected_to_and_commands_by_the_prompt() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("monitor");
    let listener = UnixListener::bind(&path).unwrap();
    let at = format!("unix:{}", path.display());
    let vm = start(&endless(), &["-serial", "stdio", "-monitor", &at]);
    let mut client = patient(listener.accept().unwrap().0);
    prompt(&mut client);
    for (line, answer) in [
        ("info status", "running"),
        ("stop", ""),
        ("info status", "paused"),
        ("cont", ""),
    ] {
        client
            .get_mut()
            .write_all(format!("{line}\n").as_bytes())
            .unwrap();
        assert!(prompt(&mut client).contains(answer), "{line}");
    }
    for line in ["sendkey ctrl-alt-delete", "system_powerdown"] {
        client
            .get_mut()
            .write_all(format!("{line}\n").as_bytes())
            .unwrap();
        assert_eq!(prompt(&mut client), "(qemu) ", "{line}");
    }
    client.get_mut().write_all(b"quit\n").unwrap();
    assert_eq!(vm.wait(10).unwrap().code, 0);
    // The listener's socket is not ours to remove.
    assert!(path.exists());
}

#[test]
fn a_monitor_where_nobody_listens_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let at = format!("unix:{}", folder.path().join("monitor").display());
    let ended = start(&endless(), &["-monitor", &at]).wait(10).unwrap();
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("monitor `/"), "{}", ended.err);
}

#[test]
fn the_console_connects_to_a_test_driver_that_listens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shell");
    let listener = UnixListener::bind(&path).unwrap();
    let chardev = format!("socket,id=shell,path={}", path.display());
    let vm = start(&echo(), &["-chardev", &chardev, "-serial", "chardev:shell"]);
    let mut driver = patient(listener.accept().unwrap().0);
    let mut line = String::new();
    driver.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    driver.get_mut().write_all(b"typed.").unwrap();
    let mut rest = String::new();
    driver.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "typed.");
    assert_eq!(vm.wait(20).unwrap().code, 0);
    assert!(path.exists());
}

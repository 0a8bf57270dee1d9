//! Consoles: standard streams, TCP with replay and several clients, files and sockets.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use pcp_vmm_tests::guests::{Code, Stop};
use pcp_vmm_tests::time::wait_until;
use pcp_vmm_tests::{Stream, TestVm, ports};

use super::Guest;
use super::instances::{Runtime, errors};

fn echo() -> Guest {
    Guest::new(
        &Code::default()
            .print("ready\n")
            .echo_until(b'.')
            .stop(Stop::PowerOff),
    )
}

/// Starts an echoing guest with its serial port at a TCP port.
fn serve() -> (TestVm, u16) {
    let port = ports::free().unwrap();
    let console = format!("tcp={port}");
    let vm = echo().run(&["--console", &console]);
    (vm, port)
}

#[test]
fn a_console_on_an_inherited_socket_serves_who_connected_before_the_vm_was_there() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut early = TcpStream::connect(("127.0.0.1", port)).unwrap();
    // As a service manager hands it over.
    rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::empty()).unwrap();
    let console = format!("fd={}", listener.as_raw_fd());
    let vm = echo().run(&["--console", &console]);
    drop(listener);
    let mut said = [0; 6];
    early.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"ready\n");
    connect(port).write_all(b".").unwrap();
    assert_eq!(vm.wait(20).unwrap().code, 0);
}

#[test]
fn an_inherited_descriptor_that_does_not_listen_is_refused() {
    for (console, cause) in [("fd=3999", "Bad file descriptor"), ("fd=2", "from 3 on")] {
        let ended = echo().run(&["--console", console]).wait(20).unwrap();
        assert_ne!(ended.code, 0);
        assert!(ended.err.contains(cause), "{}", ended.err);
    }
}

fn connect(port: u16) -> TcpStream {
    let mut found = None;
    wait_until("the console listens", 20, || {
        found = TcpStream::connect(("127.0.0.1", port)).ok();
        found.is_some()
    })
    .unwrap();
    found.unwrap()
}

fn client(port: u16) -> (TcpStream, Stream) {
    let stream = connect(port);
    let reader = Stream::read(stream.try_clone().unwrap());
    (stream, reader)
}

#[test]
fn what_is_typed_reaches_the_guest_and_comes_back() {
    let mut vm = echo().start(&[]);
    vm.out.wait_for("ready", 20).unwrap();
    vm.type_in("hello.").unwrap();
    let ended = vm.wait(20).unwrap();
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (0, "ready\nhello."),
        "{ended:?}"
    );
}

#[test]
fn the_end_of_input_does_not_end_the_guest() {
    let mut vm = Guest::new(&Code::default().print("ready").stop(Stop::Halt)).start(&[]);
    vm.close_input();
    vm.out.wait_for("ready", 20).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    vm.signal(rustix::process::Signal::TERM).unwrap();
    assert_eq!(vm.wait(5).unwrap().code, 143);
}

#[test]
fn a_late_client_sees_the_console_from_its_first_byte() {
    let (vm, port) = serve();
    let (mut first, seen) = client(port);
    seen.wait_for("ready\n", 20).unwrap();
    first.write_all(b"one").unwrap();
    seen.wait_for("one", 20).unwrap();
    let (mut late, replay) = client(port);
    replay.wait_for("ready\none", 20).unwrap();
    late.write_all(b".").unwrap();
    assert_eq!(vm.wait(20).unwrap().code, 0);
    assert_eq!(seen.wait_for_end(5).unwrap(), b"ready\none.");
    assert_eq!(replay.wait_for_end(5).unwrap(), b"ready\none.");
    ports::ensure_free(port).unwrap();
}

#[test]
fn eight_clients_all_read_and_all_may_write() {
    let (vm, port) = serve();
    let mut clients: Vec<_> = (0..8).map(|_| client(port)).collect();
    for (index, (stream, _)) in clients.iter_mut().enumerate() {
        stream
            .write_all(&[b'0' + u8::try_from(index).unwrap()])
            .unwrap();
    }
    for (_, seen) in &clients {
        for digit in 0..8 {
            seen.wait_for(&digit.to_string(), 20).unwrap();
        }
    }
    clients[0].0.write_all(b".").unwrap();
    assert_eq!(vm.wait(20).unwrap().code, 0);
}

#[test]
fn clients_that_connect_and_drop_do_no_harm() {
    let (vm, port) = serve();
    let (mut stream, seen) = client(port);
    seen.wait_for("ready", 20).unwrap();
    let before = descriptors(&vm);
    for _ in 0..500 {
        drop(TcpStream::connect(("127.0.0.1", port)).unwrap());
    }
    wait_until("the descriptors are closed", 20, || {
        descriptors(&vm) <= before
    })
    .unwrap();
    stream.write_all(b".").unwrap();
    assert_eq!(vm.wait(20).unwrap().code, 0);
}

fn descriptors(vm: &TestVm) -> usize {
    fs::read_dir(format!("/proc/{}/fd", vm.pid()))
        .unwrap()
        .count()
}

#[test]
fn a_client_that_never_reads_does_not_slow_the_guest() {
    let port = ports::free().unwrap();
    let code = Code::default()
        .repeat(b'x', 1 << 17)
        .echo_until(b'.')
        .stop(Stop::PowerOff);
    let console = format!("tcp={port}");
    let vm = Guest::new(&code).run(&["--console", &console]);
    let idle = connect(port);
    let (mut stream, seen) = client(port);
    wait_until("all output", 120, || seen.bytes().len() == 1 << 17).unwrap();
    stream.write_all(b".").unwrap();
    assert_eq!(vm.wait(20).unwrap().code, 0);
    drop(idle);
}

#[test]
fn a_file_gets_all_output() {
    let code = Code::default().print("to a file\n").stop(Stop::PowerOff);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let console = format!("file={}", path.display());
    let vm = Guest::new(&code).run(&["--console", &console]);
    assert_eq!(vm.wait(20).unwrap().code, 0);
    assert_eq!(fs::read_to_string(&path).unwrap(), "to a file\n");
}

#[test]
fn a_unix_socket_serves_and_disappears() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("console.sock");
    let console = format!("unix={}", path.display());
    let vm = echo().run(&["--console", &console]);
    // It is there before it listens.
    let mut stream = None;
    wait_until("the socket", 20, || {
        stream = UnixStream::connect(&path).ok();
        stream.is_some()
    })
    .unwrap();
    let mut stream = stream.unwrap();
    stream.write_all(b"a.").unwrap();
    let mut seen = String::new();
    stream.read_to_string(&mut seen).unwrap();
    assert_eq!(seen, "ready\na.");
    assert_eq!(vm.wait(20).unwrap().code, 0);
    assert!(!path.exists(), "the socket is left behind");
}

#[test]
fn no_console_at_all_is_a_console() {
    let code = Code::default().print("unheard").stop(Stop::PowerOff);
    let vm = Guest::new(&code).run(&["--console", "none"]);
    let ended = vm.wait(20).unwrap();
    assert_eq!((ended.code, ended.out.as_str()), (0, ""));
}

/// What the files of a console's log hold, the oldest first.
fn logged(folder: &Path, name: &str) -> Vec<Vec<u8>> {
    let files = [".log.last", ".log.1", ".log"];
    files
        .iter()
        .map(|end| fs::read(folder.join(format!("{name}{end}"))).unwrap_or_default())
        .collect()
}

#[test]
fn consoles_are_logged_byte_by_byte_and_read_after_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().to_str().unwrap();
    let text = "\u{1b}[31mred\r\n\0\u{7f}end";
    let flags = ["--console", "none", "--name", "vm", "--log-dir", logs];
    for print in [text, "second"] {
        let guest = Guest::new(&Code::default().print(print).stop(Stop::PowerOff));
        let ended = guest.run(&flags).wait(20).unwrap();
        assert_eq!(ended.code, 0, "{ended:?}");
        if print == text {
            let kept = logged(&folder.path().join("vm"), "serial");
            assert_eq!(kept[2], text.as_bytes());
        }
    }
    let kept = logged(&folder.path().join("vm"), "serial");
    assert_eq!(
        kept,
        [text.as_bytes().to_vec(), Vec::new(), b"second".to_vec()]
    );

    let runtime = Runtime::new();
    let read = |more: &[&str]| runtime.run(&[&["logs", "vm", "--log-dir", logs], more].concat());
    assert_eq!(read(&[]).stdout, b"second");
    assert_eq!(read(&["--lines", "1", "--follow"]).stdout, b"second");
    let none = read(&["virtio"]);
    assert_eq!(none.status.code(), Some(1), "{none:?}");
    assert!(errors(&none).contains("no VM `vm` runs"), "{none:?}");
    let outside = runtime.run(&["logs", "../vm", "--log-dir", logs]);
    assert_eq!(outside.status.code(), Some(1), "{outside:?}");
}

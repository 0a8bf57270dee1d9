//! Streams between the guest's sockets and the host's, and memory that goes back to the host.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pcp_vmm_tests::TestVm;
use pcp_vmm_tests::initrd::{with_job, with_programs};
use pcp_vmm_tests::kernels::Kernel;
use pcp_vmm_tests::time::wait_until;

use super::KERNEL;

/// Starts a guest that has `socat` as a command and runs `script`.
fn guest_with_socat(script: &str, more: &[&str]) -> TestVm {
    let arguments = [&["--net", "none"], more].concat();
    boot_with_socat(&Kernel::named(KERNEL).unwrap(), script, &arguments)
}

/// The same with another kernel and with whatever network.
pub(super) fn boot_with_socat(kernel: &Kernel, script: &str, more: &[&str]) -> TestVm {
    let folder = tempfile::tempdir().unwrap();
    let initrd = folder.path().join("initrd");
    let files = files_of(Path::new("/usr/bin/socat"));
    let content: Vec<_> = files
        .iter()
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            (name.to_owned(), fs::read(path).unwrap())
        })
        .collect();
    let programs: Vec<_> = content
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .collect();
    let loader = "socat() { /ld-linux-x86-64.so.2 --library-path / /socat \"$@\"; }";
    let script = format!("{loader}\n{script}");
    let whole = with_programs(&kernel.initrd().unwrap(), &programs).unwrap();
    fs::write(&initrd, with_job(&whole, &script).unwrap()).unwrap();
    let elf = kernel.elf();
    let mut arguments = vec!["run", "--kernel", elf.to_str().unwrap()];
    arguments.extend([
        "--initrd",
        initrd.to_str().unwrap(),
        "--memory",
        "512M",
        "--cpus",
        "1",
    ]);
    arguments.extend(["--console", "serial=stdio"]);
    arguments.extend(more);
    TestVm::start(&arguments).unwrap().keep(folder)
}

/// A program of the host with its libraries and its loader.
fn files_of(program: &Path) -> Vec<PathBuf> {
    let listed = Command::new("ldd").arg(program).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let paths = listed
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    std::iter::once(program.to_owned())
        .chain(paths.map(PathBuf::from))
        .collect()
}

const LOAD: &str = "load vmw_vsock_virtio_transport\n";

#[test]
fn a_client_of_the_host_reaches_a_socket_of_the_guest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vsock");
    let script = format!(
        "{LOAD}(sleep 1; echo guest: listening) & socat VSOCK-LISTEN:1024 EXEC:cat\necho over\n"
    );
    let argument = format!("cid=3,socket={}", path.display());
    let vm = guest_with_socat(&script, &["--vsock", &argument]);
    vm.out.wait_for("guest: listening", 60).unwrap();
    let mut client = UnixStream::connect(&path).unwrap();
    client.write_all(b"CONNECT 1024\n").unwrap();
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    assert!(line.starts_with(b"OK "), "{line:?}");
    let data: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    let sent = data.clone();
    let mut writer = client.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut echo = Vec::new();
    client.read_to_end(&mut echo).unwrap();
    sending.join().unwrap();
    assert!(echo == data, "{} bytes came back", echo.len());
    let ended = vm.wait(60).unwrap();
    assert!(ended.out.contains("over"), "{}", ended.out);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(!path.exists());
}

#[test]
fn a_guest_reaches_a_socket_of_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vsock");
    let listener = UnixListener::bind(folder.path().join("vsock_80")).unwrap();
    let script = format!(
        "{LOAD}echo question | socat - VSOCK-CONNECT:2:80 | sha256sum
        socat - VSOCK-CONNECT:2:81 </dev/null || echo refused\n"
    );
    let argument = format!("cid=7,socket={}", path.display());
    let vm = guest_with_socat(&script, &["--vsock", &argument]);
    let (mut client, _) = listener.accept().unwrap();
    let mut asked = String::new();
    client.read_to_string(&mut asked).unwrap();
    assert_eq!(asked, "question\n");
    client.write_all(&vec![b'x'; 1 << 20]).unwrap();
    drop(client);
    let ended = vm.wait(60).unwrap();
    // What `head -c 1048576 /dev/zero | tr '\0' x | sha256sum` says.
    let mut sum = Command::new("sha256sum");
    let whole = folder.path().join("whole");
    fs::write(&whole, vec![b'x'; 1 << 20]).unwrap();
    let sum = String::from_utf8(sum.arg(&whole).output().unwrap().stdout).unwrap();
    let sum = sum.split_whitespace().next().unwrap();
    assert!(ended.out.contains(sum), "{}", ended.out);
    assert!(ended.out.contains("refused"), "{}", ended.out);
}

/// So many bytes, of another content for each `seed`, that are easily told apart.
fn bytes(seed: u32, count: u32) -> Vec<u8> {
    (0..count)
        .map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed * 977) >> 13) as u8)
        .collect()
}

#[test]
fn eight_connections_at_once_carry_their_data_each_way() {
    const COUNT: u32 = 2 << 20;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vsock");
    let listener = UnixListener::bind(folder.path().join("vsock_80")).unwrap();
    // Four lead into the guest, four out of it: whatever comes goes back.
    let script = format!(
        "{LOAD}socat VSOCK-LISTEN:1024,fork,backlog=8 EXEC:cat & sleep 1; echo guest: listening
        for i in 1 2 3 4; do socat VSOCK-CONNECT:2:80 EXEC:cat & done; read line\n"
    );
    let argument = format!("cid=3,socket={}", path.display());
    let mut vm = guest_with_socat(&script, &["--vsock", &argument]);
    vm.out.wait_for("guest: listening", 60).unwrap();
    let inward = (0..4).map(|_| {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(b"CONNECT 1024\n").unwrap();
        let mut byte = [0];
        while byte != *b"\n" {
            stream.read_exact(&mut byte).unwrap();
        }
        stream
    });
    let outward = (0..4).map(|_| listener.accept().unwrap().0);
    let streams: Vec<UnixStream> = inward.chain(outward).collect();
    std::thread::scope(|scope| {
        for (seed, mut stream) in (0..).zip(streams) {
            scope.spawn(move || {
                let data = bytes(seed, COUNT);
                let mut writer = stream.try_clone().unwrap();
                let sent = data.clone();
                let sending = std::thread::spawn(move || {
                    writer.write_all(&sent).unwrap();
                    writer.shutdown(Shutdown::Write).unwrap();
                });
                let mut back = Vec::new();
                stream.read_to_end(&mut back).unwrap();
                sending.join().unwrap();
                assert!(back == data, "{seed}: {} bytes came back", back.len());
            });
        }
    });
    vm.type_in("end\n").unwrap();
    assert_eq!(vm.wait(60).unwrap().code, 0);
}

/// The memory of the program that is in RAM now, in KiB.
pub(super) fn resident(vm: &TestVm) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", vm.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap()
}

const USE_MEMORY: &str = "load virtio_balloon\nmkdir /ram; mount -t tmpfs -o size=100% ram /ram
    dd if=/dev/zero of=/ram/a bs=1M count=200 2>/dev/null; echo guest: full; read go
    rm /ram/a; echo guest: freed; read go\n";

#[test]
fn memory_that_the_guest_frees_goes_back_to_the_host() {
    let mut vm = super::guest(USE_MEMORY, &["--net", "none", "--cpus", "1", "--balloon"]);
    vm.out.wait_for("guest: full", 60).unwrap();
    let full = resident(&vm);
    assert!(full > 200 << 10, "{full} KiB");
    vm.type_in("go\n").unwrap();
    vm.out.wait_for("guest: freed", 60).unwrap();
    wait_until("memory comes back", 60, || {
        resident(&vm) + (150 << 10) < full
    })
    .unwrap();
    vm.type_in("go\n").unwrap();
    assert_eq!(vm.wait(60).unwrap().code, 0);
}

#[test]
fn a_balloon_takes_memory_and_gives_it_back_before_the_guest_runs_out() {
    let script =
        "load virtio_balloon; grep MemTotal /proc/meminfo
        for i in $(seq 100); do set -- $(grep MemFree /proc/meminfo); [ $2 -lt 184320 ] && break; sleep 1; done; echo $*
        mkdir /ram; mount -t tmpfs -o size=100% ram /ram
        dd if=/dev/zero of=/ram/a bs=1M count=300 2>/dev/null && echo filled\n";
    let said = super::output(script, &["--net", "none", "--cpus", "1", "--balloon=300M"]);
    let free = said.split("MemFree:").nth(1).unwrap();
    let free: u64 = free.split_whitespace().next().unwrap().parse().unwrap();
    assert!(free < 180 << 10, "{said}");
    assert!(said.contains("filled"), "{said}");
}

/// A guest whose sockets are the host kernel's affair, on whatever transport.
fn sockets_of_the_hosts_kernel(more: &[&str], cid: u32) {
    super::tap::load(&["vhost_vsock"]);
    let script = format!(
        "load virtio_mmio\n{LOAD}echo question | socat - VSOCK-CONNECT:2:5000 | sha256sum
        socat - VSOCK-CONNECT:2:5001 </dev/null || echo guest: refused
        socat VSOCK-LISTEN:1024 EXEC:cat &
        sleep 1; echo guest: listening; wait $!; echo guest: over\n"
    );
    let listener = Command::new("socat")
        .args([
            "VSOCK-LISTEN:5000",
            "SYSTEM:cat >/dev/null; head -c 1048576 /dev/zero",
        ])
        .spawn()
        .unwrap();
    let argument = format!("cid={cid},vhost");
    let vm = guest_with_socat(&script, &[&["--vsock", &argument], more].concat());
    vm.out.wait_for("guest: listening", 60).unwrap();
    let mut client = Command::new("socat")
        .args(["-t5", "-", &format!("VSOCK-CONNECT:{cid}:1024")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let data = bytes(1, 1_000_000);
    let mut writer = client.stdin.take().unwrap();
    let sent = data.clone();
    let sending = std::thread::spawn(move || writer.write_all(&sent).unwrap());
    let mut echo = Vec::new();
    client
        .stdout
        .take()
        .unwrap()
        .read_to_end(&mut echo)
        .unwrap();
    sending.join().unwrap();
    assert!(client.wait().unwrap().success());
    assert!(echo == data, "{} bytes came back", echo.len());
    let ended = vm.wait(60).unwrap();
    // What `head -c 1048576 /dev/zero | sha256sum` says.
    let sum = "30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58";
    assert!(ended.out.contains(sum), "{}", ended.out);
    assert!(ended.out.contains("guest: refused"), "{}", ended.out);
    assert!(ended.out.contains("guest: over"), "{}", ended.out);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(listener.wait_with_output().unwrap().status.success());
}

#[test]
fn the_hosts_kernel_connects_its_sockets_with_the_guests() {
    sockets_of_the_hosts_kernel(&[], 42);
}

#[test]
fn the_hosts_kernel_does_so_over_virtio_mmio_too() {
    sockets_of_the_hosts_kernel(&["--transport", "mmio"], 43);
}

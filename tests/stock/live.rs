//! The user-mode network and the balloon while the guest runs: what is asked by the control socket, datagrams, large
//! packets, and what one VM must not reach of another or of the host.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use pcp_vmm_tests::kernels::Kernel;
use pcp_vmm_tests::time::{limit, wait_until};
use pcp_vmm_tests::{TestVm, ports};

use super::sockets::{boot_with_socat, resident};
use super::{KERNEL, guest, output};

/// The documented address, and a function that waits until somebody listens on a port.
const UP: &str = r#"
ip link set lo up; ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2
listens() {
    until cat /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6 | grep -q "$(printf ':%04X' "$1") [0-9A-F:]* 0[A7] "; do sleep 0.1; done
}
"#;

/// Tells of the card's link whenever it changes, until there is a line to read.
const CARRIER: &str = r#"
before=
while ! read -t 0.2 line; do
    now=$(cat /sys/class/net/eth0/carrier)
    [ "$now" = "$before" ] || echo "guest: carrier $now"
    before=$now
done
"#;

/// Asks at a control socket; the answer.
fn ask(socket: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(limit(20))).unwrap();
    writeln!(stream, "{request}").unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    answer
}

fn end(mut vm: TestVm) -> String {
    vm.type_in("end\n").unwrap();
    let ended = vm.wait(60).unwrap();
    assert_eq!(ended.code, 0, "{ended:?}");
    ended.err
}

#[test]
fn a_forward_and_the_link_come_and_go_while_the_guest_runs() {
    let folder = tempfile::tempdir().unwrap();
    let control = folder.path().join("control");
    let script =
        format!("{UP}nc -ll -p 5008 -e echo hi & listens 5008; echo guest: serves\n{CARRIER}");
    let place = control.display().to_string();
    let more = ["--net", "user", "--cpus", "1", "--control", &place];
    let vm = guest(&script, &more);
    vm.out.wait_for("guest: serves", 60).unwrap();
    let port = ports::free().unwrap();
    let request = |verb: &str, port: u16| {
        format!(r#"{{"request":"{verb}-forward","forward":"127.0.0.1:{port}:5008"}}"#)
    };
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    for _ in 0..2 {
        assert_eq!(ask(&control, &request("add", port)), "{\"ok\":true}\n");
        let mut said = String::new();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(limit(30))).unwrap();
        stream.read_to_string(&mut said).unwrap();
        assert_eq!(said, "hi\n");
        assert_eq!(ask(&control, &request("remove", port)), "{\"ok\":true}\n");
        let refused = TcpStream::connect(("127.0.0.1", port)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }
    // What cannot be done harms nobody, in the sandbox too.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = request("add", taken.local_addr().unwrap().port());
    for bad in [taken.as_str(), &request("remove", port), "nonsense"] {
        let answer = ask(&control, bad);
        assert!(answer.starts_with("{\"ok\":false,\"error\":"), "{answer}");
    }
    let none = ask(&control, r#"{"request":"forwards"}"#);
    assert_eq!(none, "{\"ok\":true,\"forwards\":[]}\n");
    let mut seen = vm.out.wait_for("guest: carrier 1", 60).unwrap();
    for (state, carrier) in [("down", 0), ("up", 1), ("down", 0)] {
        let request = format!(r#"{{"request":"link","state":"{state}"}}"#);
        let told = format!("{{\"ok\":true,\"link\":\"{state}\"}}\n");
        assert_eq!(ask(&control, &request), told);
        let carrier = format!("guest: carrier {carrier}");
        seen = vm.out.wait_for_after(seen, &carrier, 60).unwrap();
    }
    end(vm);
    assert!(!control.exists());
}

#[test]
fn datagrams_reach_the_guest_by_a_forward_and_come_back() {
    let port = ports::free().unwrap();
    let script = format!(
        "{UP}socat UDP-LISTEN:5300,fork EXEC:cat & listens 5300; echo guest: serves; read line\n"
    );
    let forward = format!("udp:127.0.0.1:{port}:5300");
    let more = ["--net", "user", "--forward", &forward];
    let vm = boot_with_socat(&Kernel::named(KERNEL).unwrap(), &script, &more);
    vm.out.wait_for("guest: serves", 60).unwrap();
    // Two clients, whose answers must not be mixed up; large ones come in fragments.
    let clients = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    for (client, size) in clients.iter().zip([100, 1400]) {
        client.connect(("127.0.0.1", port)).unwrap();
        client.set_read_timeout(Some(limit(30))).unwrap();
        for number in 0..10_u8 {
            let sent = vec![number; size + usize::from(number)];
            client.send(&sent).unwrap();
            let mut back = [0; 65536];
            let length = client.recv(&mut back).unwrap();
            assert!(back[..length] == sent, "{number}: {length} bytes");
        }
    }
    end(vm);
}

/// Fetches and sends so many MiB, and tells the mean size of the card's packets each way.
const VOLUME: &str = r#"
s=/sys/class/net/eth0/statistics
nc 10.0.2.2 PORT </dev/null >/dev/null; head -c 33554432 /dev/zero | nc 10.0.2.2 PORT
echo "mtu: $(cat /sys/class/net/eth0/mtu)"
for d in rx tx; do echo "$d: $(($(cat $s/${d}_bytes) / $(cat $s/${d}_packets)))"; done
"#;

/// The mean sizes of the packets that a guest receives and sends, and what the host heard of it.
fn packet_sizes(mtu: &str) -> (u64, u64) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let host = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&vec![7; 32 << 20]).unwrap();
        drop(stream);
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        heard.len()
    });
    let script = format!("{UP}{}", VOLUME.replace("PORT", &port.to_string()));
    let said = output(&script, &["--net", "user", "--cpus", "1", "--mtu", mtu]);
    assert_eq!(host.join().unwrap(), 32 << 20);
    assert!(said.contains(&format!("mtu: {mtu}\n")), "{said}");
    let size = |word: &str| -> u64 {
        let line = said.lines().find_map(|line| line.strip_prefix(word));
        line.unwrap_or_else(|| panic!("{said}")).parse().unwrap()
    };
    (size("rx: "), size("tx: "))
}

#[test]
fn large_packets_pass_by_segmentation_offload_and_by_a_large_mtu() {
    for mtu in ["1500", "65520"] {
        let (received, sent) = packet_sizes(mtu);
        // Acknowledgements count too, and are small.
        assert!(received > 3000 && sent > 3000, "{mtu}: {received}, {sent}");
    }
}

#[test]
fn a_guest_reaches_neither_another_vm_nor_what_listens_on_the_host_unasked() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let local = listener.local_addr().unwrap().port();
    let serves = format!(
        "{UP}nc -ll -p 5009 -e echo secret & listens 5009; echo guest: serves; read line\n"
    );
    let server = guest(&serves, &["--net", "user", "--cpus", "1"]);
    server.out.wait_for("guest: serves", 60).unwrap();
    // By every address of this network, and those that the other guest has or might have.
    let script = format!(
        "{UP}ip addr del 10.0.2.15/24 dev eth0; ip addr add 10.0.2.16/24 dev eth0; ip route add default via 10.0.2.2\n\
         for a in 10.0.2.15 10.0.2.2 10.0.2.3; do for p in 5009 {local}; do\n\
         nc -w 3 $a $p </dev/null; done; done; echo tried\n"
    );
    let said = output(&script, &["--net", "user,host=off", "--cpus", "1"]);
    assert!(said.contains("tried") && !said.contains("secret"), "{said}");
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    end(server);
}

#[test]
fn a_balloon_is_resized_while_the_guest_runs_and_the_host_has_the_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (control, disk) = (folder.path().join("control"), folder.path().join("disk"));
    fs::write(&disk, vec![1; 200 << 20]).unwrap();
    // The guest's page cache is in use, so that nothing is reported as free.
    let script = "load virtio_balloon; cat /dev/vda >/dev/null; echo guest: full; read line\n";
    let (place, disk) = (control.display().to_string(), disk.display().to_string());
    let more = [
        "--net",
        "none",
        "--cpus",
        "1",
        "--balloon",
        "--control",
        &place,
    ];
    let vm = guest(script, &[&more[..], &["--disk", &disk]].concat());
    vm.out.wait_for("guest: full", 60).unwrap();
    let full = resident(&vm);
    assert!(full > 200 << 10, "{full} KiB");
    let size = |mebibytes: u64| {
        let bytes = mebibytes << 20;
        let request = format!(r#"{{"request":"balloon","size":"{mebibytes}M"}}"#);
        ask(&control, &request);
        let there = format!("{{\"target\":{bytes},\"actual\":{bytes}}}");
        wait_until("the balloon's size", 60, || {
            thread::sleep(Duration::from_millis(200));
            ask(&control, r#"{"request":"balloon"}"#).contains(&there)
        })
        .unwrap();
    };
    size(350);
    wait_until("the host's memory", 60, || {
        resident(&vm) + (150 << 10) < full
    })
    .unwrap();
    size(0);
    end(vm);
}

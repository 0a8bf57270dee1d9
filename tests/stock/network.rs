//! The user-mode network, with a stock kernel's own TCP/IP on the other side.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use pcp_vmm_tests::time::{limit, wait_until};
use pcp_vmm_tests::{TestVm, ports};

use super::{guest, output};

/// Brings the network card up by DHCP and tells the lease.
const LEASE: &str = r#"
ip link set lo up; ip link set eth0 up
cat >/lease <<'END'
#!/bin/sh
[ "$1" = bound ] || exit 0
echo "lease $ip/$mask router $router dns $dns"
ip addr add "$ip/$mask" dev eth0; ip route add default via "$router"
END
chmod +x /lease
udhcpc -i eth0 -n -q -f -s /lease >/dev/console 2>&1
"#;

/// A shell function that waits until somebody listens on a port: a server that was just started may not yet.
const LISTENS: &str = r#"
listens() {
    until cat /proc/net/tcp /proc/net/tcp6 | grep -q "$(printf ':%04X' "$1") [0-9A-F:]* 0A "; do sleep 0.1; done
}
"#;

const MIB: usize = 1 << 20;

/// The sum of 32 MiB that both sides can make: lines of numbers.
fn numbers() -> Vec<u8> {
    let mut text = Vec::with_capacity(33 * MIB);
    let mut number = 0_u64;
    while text.len() < 32 * MIB {
        writeln!(text, "{number:015}").unwrap();
        number += 1;
    }
    text
}

/// Starts a guest whose servers run until a line is typed, with one host port for each of `guest_ports`.
fn serve(servers: &str, guest_ports: &[u16]) -> (TestVm, Vec<u16>) {
    let host: Vec<u16> = guest_ports.iter().map(|_| ports::free().unwrap()).collect();
    let forwards: Vec<String> = host
        .iter()
        .zip(guest_ports)
        .flat_map(|(host, guest)| ["--forward".into(), format!("127.0.0.1:{host}:{guest}")])
        .collect();
    let script = format!("{LEASE}\n{LISTENS}\n{servers}\necho 'servers run'; read line\n");
    let mut more = vec!["--net", "user", "--cpus", "2", "--memory", "768M"];
    more.extend(forwards.iter().map(String::as_str));
    let vm = guest(&script, &more);
    vm.out.wait_for("servers run", 60).unwrap();
    (vm, host)
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(limit(120))).unwrap();
    stream
}

fn end(mut vm: TestVm, host: &[u16]) {
    vm.type_in("end\n").unwrap();
    assert_eq!(vm.wait(60).unwrap().code, 0);
    for port in host {
        ports::ensure_free(*port).unwrap();
    }
}

#[test]
fn the_lease_is_the_documented_one_and_the_gateway_answers() {
    let script = format!("{LEASE}\nping -c 3 -W 20 10.0.2.2\n");
    let said = output(&script, &["--net", "user"]);
    assert!(
        said.contains("lease 10.0.2.15/24 router 10.0.2.2 dns 10.0.2.3"),
        "{said}"
    );
    assert!(said.contains("3 packets received"), "{said}");
}

#[test]
fn the_guest_reaches_a_server_on_the_host() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = String::new();
        stream.write_all(b"hello guest\n").unwrap();
        stream.read_to_string(&mut heard).unwrap();
        heard
    });
    let script = format!("{LEASE}\necho hello host | nc 10.0.2.2 {port}\n");
    let said = output(&script, &["--net", "user"]);
    assert!(said.contains("hello guest"), "{said}");
    assert_eq!(server.join().unwrap(), "hello host\n");
}

#[test]
fn eight_transfers_at_once_arrive_whole_in_the_guest() {
    let (vm, host) = serve("nc -ll -p 5001 -e md5sum & listens 5001", &[5001]);
    let data = numbers();
    let sums: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut stream = connect(host[0]);
                    stream.write_all(&data).unwrap();
                    // The guest's answer comes only when it has seen the end.
                    stream.shutdown(Shutdown::Write).unwrap();
                    let mut sum = String::new();
                    stream.read_to_string(&mut sum).unwrap();
                    sum
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .collect()
    });
    let wanted = md5(&data);
    for sum in sums {
        assert_eq!(sum.split_whitespace().next(), Some(wanted.as_str()));
    }
    end(vm, &host);
}

#[test]
fn eight_transfers_at_once_arrive_whole_on_the_host() {
    let make = "dd if=/dev/urandom of=/data bs=1M count=32 2>/dev/null; md5sum /data; nc -ll -p 5002 -e cat /data & listens 5002";
    let (vm, host) = serve(make, &[5002]);
    let said = vm.out.text();
    let sum = said
        .lines()
        .find_map(|line| line.trim_end().strip_suffix("  /data"));
    let wanted = sum.unwrap_or_else(|| panic!("no sum in: {said}"));
    // One after the other until each has its first byte, for busybox's server has room for two that wait: further ones
    // would be lost, as everywhere. Then all at once.
    let streams: Vec<TcpStream> = (0..8)
        .map(|_| {
            let stream = connect(host[0]);
            let mut first = [0];
            stream.peek(&mut first).unwrap();
            stream
        })
        .collect();
    let sums: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = streams
            .into_iter()
            .map(|mut stream| {
                scope.spawn(move || {
                    let mut data = Vec::new();
                    stream.read_to_end(&mut data).unwrap();
                    assert_eq!(data.len(), 32 * MIB);
                    md5(&data)
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .collect()
    });
    for sum in sums {
        assert_eq!(sum, wanted);
    }
    end(vm, &host);
}

#[test]
fn a_thousand_short_connections_leak_nothing() {
    let (vm, host) = serve("nc -ll -p 5003 -e echo hi & listens 5003", &[5003]);
    let once = || {
        let mut said = String::new();
        connect(host[0]).read_to_string(&mut said).unwrap();
        assert_eq!(said, "hi\n");
    };
    once();
    let descriptors = || {
        fs::read_dir(format!("/proc/{}/fd", vm.pid()))
            .unwrap()
            .count()
    };
    let (before, memory) = (descriptors(), private_kib(vm.pid()));
    for _ in 0..1000 {
        once();
    }
    wait_until("the descriptors are closed", 60, || descriptors() <= before).unwrap();
    let grown = private_kib(vm.pid()).saturating_sub(memory);
    // The guest's own memory counts too: a thousand processes have come and gone in it.
    assert!(grown < 64 << 10, "{grown} KiB more");
    end(vm, &host);
}

#[test]
fn a_refused_port_is_closed_and_a_busy_one_waits() {
    let (vm, host) = serve("nc -l -p 5005 -e cat & listens 5005", &[5004, 5005]);
    // Nobody listens in the guest: the connection ends, by its end or by a reset, maybe before it is told to be there.
    if let Ok(mut nobody) = TcpStream::connect(("127.0.0.1", host[0])) {
        nobody.set_read_timeout(Some(limit(120))).unwrap();
        let mut said = Vec::new();
        if let Err(error) = nobody.read_to_end(&mut said) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
        assert!(said.is_empty());
    }
    let mut echo = connect(host[1]);
    echo.write_all(b"ping").unwrap();
    let mut back = [0; 4];
    echo.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"ping");
    drop(echo);
    end(vm, &host);
}

fn private_kib(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let private = rollup.lines().filter(|line| line.starts_with("Private_"));
    private
        .map(|line| {
            line.split_whitespace()
                .nth(1)
                .unwrap()
                .parse::<u64>()
                .unwrap()
        })
        .sum()
}

/// The sum by the machine's own `md5sum`.
fn md5(data: &[u8]) -> String {
    let mut child = std::process::Command::new("md5sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(data).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .into()
}

#[test]
fn the_guest_gets_an_ipv6_address_and_reaches_the_host_and_is_reached_over_it() {
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let inside = TcpListener::bind("[::1]:0").unwrap().local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).unwrap();
        heard
    });
    // Nothing but what the kernel does by itself, without an address over IPv4.
    let script = format!(
        "{LISTENS}\nip link set lo up; ip link set eth0 up\n\
         until ip -6 addr show dev eth0 scope global | grep -v tentative | grep fd10:0:2; do sleep 0.2; done\n\
         ip -6 route | grep default\n\
         ping -6 -c 2 -W 20 fd10:0:2::2\n\
         echo hello host | nc fd10:0:2::2 {port}\n\
         nc -ll -p 5006 -e echo hi & listens 5006\n\
         echo 'servers run'; read line\n"
    );
    let forward = format!("{inside}:5006");
    let vm = guest(&script, &["--net", "user", "--forward", &forward]);
    vm.out.wait_for("servers run", 60).unwrap();
    let said = vm.out.text();
    assert!(said.contains("2 packets received"), "{said}");
    assert!(said.contains("default via fe80::2"), "{said}");
    assert_eq!(server.join().unwrap(), "hello host\n");
    let mut stream = TcpStream::connect(inside).unwrap();
    stream.set_read_timeout(Some(limit(120))).unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "hi\n");
    end(vm, &[]);
}

#[test]
fn a_restricted_guest_reaches_nothing_and_is_reached() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    let host = ports::free().unwrap();
    let script = format!(
        "{LEASE}\n{LISTENS}\n\
         nc -w 5 10.0.2.2 {port} </dev/null || echo 'no way out'\n\
         nc -ll -p 5007 -e echo hi & listens 5007\n\
         echo 'servers run'; read line\n"
    );
    let forward = format!("127.0.0.1:{host}:5007");
    let vm = guest(
        &script,
        &["--net", "user,restrict=on", "--forward", &forward],
    );
    vm.out.wait_for("servers run", 60).unwrap();
    assert!(vm.out.text().contains("no way out"), "{}", vm.out.text());
    assert!(listener.accept().is_err());
    let mut heard = String::new();
    connect(host).read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "hi\n");
    end(vm, &[host]);
}

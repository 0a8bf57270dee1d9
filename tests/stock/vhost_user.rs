//! A share and a network in the hands of another process, with a stock kernel on the other side.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use pcp_vmm_tests::time::wait_until;

use super::{guest, output};

/// Where Debian's packages put virtiofsd.
const PROGRAMS: [&str; 2] = ["/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd"];

struct Server(Child);

impl Server {
    fn start(share: &Path, socket: &Path) -> Self {
        let program = PROGRAMS.into_iter().map(PathBuf::from).find(|p| p.exists());
        let program = program.expect("no virtiofsd: `apt install virtiofsd qemu-system-common`");
        let newer = program.starts_with("/usr/libexec");
        let mut command = Command::new(program);
        command.arg(format!("--socket-path={}", socket.display()));
        if newer {
            command.arg(format!("--shared-dir={}", share.display()));
            command.arg("--sandbox=none");
        } else {
            command.args(["-o", &format!("source={}", share.display())]);
            command.args(["-o", "sandbox=chroot"]);
        }
        Self::listening(&mut command, socket)
    }

    /// A passt whose guest finds the host at the address that it has with our own user network.
    fn passt(socket: &Path) -> Self {
        let folder = std::env::var("PCP_VMM_PASST").expect("PCP_VMM_PASST names no folder");
        let libraries = format!("{folder}/usr/lib/x86_64-linux-gnu");
        let mut command = Command::new(format!("{libraries}/ld-linux-x86-64.so.2"));
        command.args(["--library-path", &libraries]);
        command.arg(format!("{folder}/usr/bin/passt"));
        command.args(["--vhost-user", "--foreground"]);
        command.args(["--map-host-loopback", "10.0.2.2", "-s"]);
        Self::listening(command.arg(socket), socket)
    }

    /// Starts `command` and waits until it listens: to connect would take its only turn.
    fn listening(command: &mut Command, socket: &Path) -> Self {
        let server = Self(command.stderr(Stdio::null()).spawn().unwrap());
        let path = socket.to_str().unwrap();
        let listens = |line: &str| line.ends_with(path) && line.contains(" 00010000 ");
        wait_until("the server's socket", 60, || {
            let sockets = fs::read_to_string("/proc/net/unix").unwrap();
            sockets.lines().any(listens)
        })
        .unwrap();
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Unbinds the share's device from its driver and binds it again.
const ANEW: &str = "anew() {
    d=$(basename $(dirname $(grep -l 0x001a /sys/bus/virtio/devices/*/device)))
    echo $d >/sys/bus/virtio/drivers/virtiofs/unbind; echo $d >/sys/bus/virtio/drivers/virtiofs/bind
}
";

#[test]
fn a_guest_reads_and_writes_a_share_that_virtiofsd_serves() {
    let temp = tempfile::tempdir().unwrap();
    let (share, socket) = (temp.path().join("share"), temp.path().join("socket"));
    fs::create_dir(&share).unwrap();
    fs::write(share.join("from-host"), "hello guest\n").unwrap();
    let _server = Server::start(&share, &socket);
    let script = format!(
        "{ANEW}mkdir /mnt; mount -t virtiofs ext /mnt && cat /mnt/from-host\n\
         dd if=/dev/urandom of=/mnt/data bs=1M count=8 2>/dev/null; sync\n\
         echo \"sum $(md5sum </mnt/data)\"; umount /mnt\n\
         anew; mount -t virtiofs ext /mnt && echo \"again $(md5sum </mnt/data)\"; umount /mnt\n"
    );
    let place = format!("ext={},proto=vhost-user", socket.display());
    let said = output(
        &script,
        &["--net", "none", "--share", &place, "--cpus", "1"],
    );
    assert!(said.contains("hello guest"), "{said}");
    let wanted = md5(&fs::read(share.join("data")).unwrap());
    for word in ["sum ", "again "] {
        let sum = said.lines().find_map(|line| line.strip_prefix(word));
        assert_eq!(sum.expect(&said).trim(), wanted);
    }
}

#[test]
fn a_share_whose_server_dies_is_broken_and_the_guest_goes_on() {
    let temp = tempfile::tempdir().unwrap();
    let (share, socket) = (temp.path().join("share"), temp.path().join("socket"));
    fs::create_dir(&share).unwrap();
    let server = Server::start(&share, &socket);
    let script = "mkdir /mnt; mount -t virtiofs ext /mnt && echo guest: mounted; read line\n\
                  s=$(dirname $(grep -l 0x001a /sys/bus/virtio/devices/*/device))/status\n\
                  echo status $(cat $s); ip link set lo up; ping -c 1 127.0.0.1 >/dev/null && echo goes on\n\
                  # To write back what the share holds would take for ever.\n\
                  poweroff -f -n\n";
    let place = format!("ext={},proto=vhost-user", socket.display());
    let mut vm = guest(script, &["--net", "none", "--share", &place, "--cpus", "1"]);
    vm.out.wait_for("guest: mounted", 60).unwrap();
    drop(server);
    vm.err.wait_for("went away", 60).unwrap();
    vm.type_in("go\n").unwrap();
    let ended = vm.wait(60).unwrap();
    assert_eq!(ended.code, 0, "{ended:?}");
    // DEVICE_NEEDS_RESET beside what the driver wrote (VIRTIO 1.3 §2.1).
    assert!(ended.out.contains("status 0x0000004f"), "{ended:?}");
    assert!(ended.out.contains("goes on"), "{ended:?}");
    assert_eq!(ended.err.matches("went away").count(), 1, "{ended:?}");
}

#[test]
fn a_back_end_of_another_kind_is_refused_with_a_hint() {
    let temp = tempfile::tempdir().unwrap();
    let socket = temp.path().join("socket");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    });
    let net = format!("vhost-user,socket={}", socket.display());
    let ended = guest("echo never\n", &["--net", &net]).wait(60).unwrap();
    server.join().unwrap();
    assert_ne!(ended.code, 0);
    assert!(!ended.out.contains("never"), "{ended:?}");
    assert!(
        ended
            .err
            .contains("does not answer as a vhost-user back end")
            && ended.err.contains("hint:"),
        "{ended:?}"
    );
}

/// An address by DHCP, 8 MiB each way with their sums, then the state of the link.
const NETWORK: &str = r#"
ip link set lo up; ip link set eth0 up
cat >/lease <<'END'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev eth0; ip route add default via "$router"; echo "lease $ip/$mask"
END
chmod +x /lease; udhcpc -i eth0 -n -q -f -s /lease >/dev/console 2>&1
head -c 8388608 /dev/urandom >/up; echo "up $(md5sum </up)"
nc 10.0.2.2 PORT </up
mkfifo /open; exec 5<>/open; nc 10.0.2.2 PORT </open >/down; echo "down $(md5sum </down)"
echo guest: carrier $(cat /sys/class/net/eth0/carrier); read line
i=0; while [ "$(cat /sys/class/net/eth0/carrier)" = 1 ] && [ $i -lt 100 ]; do sleep 0.2; i=$((i+1)); done
echo later $(cat /sys/class/net/eth0/carrier)
"#;

#[test]
fn passt_carries_the_guests_network_and_its_end_takes_the_link_down() {
    let temp = tempfile::tempdir().unwrap();
    let socket = temp.path().join("socket");
    let passt = Server::passt(&socket);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let host = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut up = Vec::new();
        stream.read_to_end(&mut up).unwrap();
        drop(stream);
        // Back in the other order of its bytes.
        let down: Vec<u8> = up.iter().rev().copied().collect();
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&down).unwrap();
        (md5(&up), md5(&down))
    });
    let script = NETWORK.replace("PORT", &port.to_string());
    let net = format!("vhost-user,socket={}", socket.display());
    let mut vm = guest(&script, &["--net", &net, "--cpus", "1"]);
    vm.out.wait_for("guest: carrier", 60).unwrap();
    let said = vm.out.text().replace('\r', "");
    assert!(said.contains("lease "), "{said}");
    let (up, down) = host.join().unwrap();
    for line in [
        format!("up {up}"),
        format!("down {down}"),
        "guest: carrier 1".into(),
    ] {
        assert!(said.contains(&line), "{line}: {said}");
    }
    drop(passt);
    vm.type_in("go\n").unwrap();
    let ended = vm.wait(60).unwrap();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains("later 0"), "{ended:?}");
}

/// What the machine's own `md5sum` says.
fn md5(data: &[u8]) -> String {
    let mut sum = Command::new("md5sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    sum.stdin.take().unwrap().write_all(data).unwrap();
    let said = sum.wait_with_output().unwrap().stdout;
    String::from_utf8(said).unwrap().trim().into()
}

//! TAPs with a stock kernel on the other side: PCP's own network, and one that goes with the VM.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use pcp_vmm_tests::kernels::Kernel;
use pcp_vmm_tests::program;
use pcp_vmm_tests::time::wait_until;

use super::{KERNEL, guest, output};

const MIB: usize = 1 << 20;

/// Loads what the kernel has as modules; what it has built in or lacks shows later.
pub(super) fn load(modules: &[&str]) {
    for module in modules {
        let _ = Command::new("modprobe").arg(module).status();
    }
}

fn ip(arguments: &str) {
    let done = Command::new("ip")
        .args(arguments.split(' '))
        .status()
        .unwrap();
    assert!(done.success(), "ip {arguments}");
}

fn exists(interface: &str) -> bool {
    Path::new("/sys/class/net").join(interface).exists()
}

/// A TAP that a script of the user's made, with our end of the network on it.
pub(super) struct Made(&'static str);

impl Made {
    pub(super) fn new(name: &'static str, address: &str) -> Self {
        load(&["tun"]);
        ip(&format!("tuntap add {name} mode tap multi_queue"));
        ip(&format!("addr add {address} dev {name}"));
        ip(&format!("link set {name} up"));
        Self(name)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        ip(&format!("tuntap del {} mode tap multi_queue", self.0));
    }
}

/// Takes 16 MiB from a guest's client, sums them, and gives them back.
fn echo(listener: TcpListener) -> thread::JoinHandle<(usize, u64)> {
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut data = Vec::with_capacity(16 * MIB);
        stream.read_to_end(&mut data).unwrap();
        let sum = data.iter().map(|&b| u64::from(b)).sum();
        stream.write_all(&data).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        (data.len(), sum)
    })
}

/// What a guest at `address` does: say its queues, reach the host, and send and fetch 16 MiB.
fn script(address: &str, host: &str, port: u16) -> String {
    format!(
        "ip link set eth0 up; ip addr add {address}/24 dev eth0\n\
         echo \"queues: $(ls /sys/class/net/eth0/queues | tr '\\n' ' ')\"\n\
         ping -c 3 -W 20 {host}\n\
         dd if=/dev/urandom of=/data bs=1M count=16 2>/dev/null\n\
         nc {host} {port} </data >/back; echo \"sums: $(md5sum </data) $(md5sum </back)\"\n"
    )
}

fn check(said: &str) {
    assert!(said.contains("3 packets received"), "{said}");
    let sums = said.lines().find_map(|line| line.strip_prefix("sums: "));
    let sums: Vec<_> = sums
        .unwrap()
        .split_whitespace()
        .filter(|s| *s != "-")
        .collect();
    let [there, back] = sums.as_slice() else {
        panic!("{said}");
    };
    assert_eq!(there, back);
}

#[test]
fn a_guest_uses_all_queues_of_pcps_tap_and_leaves_it() {
    let _tap = Made::new("pcptap0", "10.177.0.1/24");
    let listener = TcpListener::bind("10.177.0.1:0").unwrap();
    let script = script(
        "10.177.0.20",
        "10.177.0.1",
        listener.local_addr().unwrap().port(),
    );
    let server = echo(listener);
    let said = output(&script, &["--net", "tap,vhost=off", "--cpus", "2"]);
    assert!(said.contains("queues: rx-0 rx-1 tx-0 tx-1"), "{said}");
    check(&said);
    assert_eq!(server.join().unwrap().0, 16 * MIB);
    assert!(exists("pcptap0"));
}

#[test]
fn the_kernels_vhost_net_moves_the_packets_of_all_queues() {
    load(&["vhost_net"]);
    let _tap = Made::new("pcptest2", "10.180.0.1/24");
    let listener = TcpListener::bind("10.180.0.1:0").unwrap();
    let script = script(
        "10.180.0.20",
        "10.180.0.1",
        listener.local_addr().unwrap().port(),
    );
    let server = echo(listener);
    let net = "tap,ifname=pcptest2,vhost=on";
    let said = output(&script, &["--net", net, "--cpus", "2"]);
    assert!(said.contains("queues: rx-0 rx-1 tx-0 tx-1"), "{said}");
    check(&said);
    assert_eq!(server.join().unwrap().0, 16 * MIB);
}

/// What a user without any privilege does, who may open `/dev/kvm` and `/dev/net/tun`: a mount namespace has copies of the
/// program, the guest and the devices that this user may use.
const UNPRIVILEGED: &str = "mount -t tmpfs tmpfs $D/dev; chmod 755 $D; chown 65534 $D/home\n\
    for device in kvm net/tun; do\n\
        numbers=$(stat -c '%Hr %Lr' /dev/$device)\n\
        mknod -m 666 $D/dev/${device#*/} c $numbers; mount --bind $D/dev/${device#*/} /dev/$device\n\
    done\n\
    exec setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs \"$@\"";

#[test]
fn a_user_without_privilege_has_vhost_net_on_pcps_network_while_it_is_set_up() {
    load(&["tun", "bridge", "vhost_net"]);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["dev", "home"] {
        fs::create_dir(at(name)).unwrap();
    }
    let kernel = Kernel::named(KERNEL).unwrap();
    fs::copy(kernel.elf(), at("kernel")).unwrap();
    fs::copy(program().unwrap(), at("program")).unwrap();
    let script = "dmesg -n 1\nip link set eth0 up; ip addr add 10.177.0.20/24 dev eth0\nping -c 3 -W 20 10.177.0.1\n";
    kernel.write_initrd(script, &at("initrd")).unwrap();
    let network = |words: &[&str]| {
        let mut command = Command::new(program().unwrap());
        let state = at("state");
        command
            .arg("network")
            .args(words)
            .env("PCP_VMM_STATE_DIR", state);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    let run = |words: &[&str]| {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-ec", UNPRIVILEGED, "sh"])
            .args(words);
        command
            .env("D", folder.path())
            .env("HOME", at("home"))
            .env("XDG_RUNTIME_DIR", at("home"));
        command
            .env_remove("PCP_VMM_CACHE")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let may_open = || run(&["sh", "-c", ": <>/dev/vhost-net"]).status.success();
    let before = may_open();
    network(&["setup", "--user", "65534"]);
    assert!(may_open(), "`network setup` gives it");
    let [program, kernel, initrd] =
        ["program", "kernel", "initrd"].map(|it| at(it).display().to_string());
    let words = [
        &program,
        "run",
        "--kernel",
        &kernel,
        "--initrd",
        &initrd,
        "--memory",
        "512M",
        "--cpus",
        "2",
        "--console",
        "serial=stdio",
        "--net",
        "tap,vhost=on",
    ];
    let ended = run(&words);
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(
        ended.status.success() && said.contains("3 packets received"),
        "{ended:?}"
    );
    network(&["teardown"]);
    assert_eq!(
        may_open(),
        before,
        "`network teardown` takes back what it gave"
    );
}

#[test]
fn a_tap_made_on_the_fly_is_in_its_bridge_and_gone_with_the_vm() {
    load(&["tun", "bridge"]);
    ip("link add pcptest0 type bridge");
    ip("addr add 10.178.0.1/24 dev pcptest0");
    ip("link set pcptest0 up");
    let listener = TcpListener::bind("10.178.0.1:0").unwrap();
    let script = script(
        "10.178.0.20",
        "10.178.0.1",
        listener.local_addr().unwrap().port(),
    );
    let server = echo(listener);
    let net = "tap,ifname=pcpfly0,bridge=pcptest0,vhost=off";
    check(&output(&script, &["--net", net, "--cpus", "1"]));
    assert_eq!(server.join().unwrap().0, 16 * MIB);
    assert!(!exists("pcpfly0"));
    ip("link del pcptest0");
}

#[test]
fn the_guest_sees_its_carrier_come_and_go_with_the_hosts_interface() {
    let tap = Made::new("pcptest1", "10.179.0.1/24");
    let script = "ip link set eth0 up; echo guest: ready\n\
                  while read line; do echo \"carrier $line: $(cat /sys/class/net/eth0/carrier)\"; done\n";
    let mut vm = guest(
        script,
        &["--net", "tap,ifname=pcptest1,vhost=off", "--cpus", "1"],
    );
    vm.out.wait_for("guest: ready", 60).unwrap();
    let mut number = 0;
    let mut carrier = |wanted: char| {
        let seen = wait_until("the carrier", 60, || {
            number += 1;
            vm.type_in(&format!("{number}\n")).unwrap();
            let line = format!("carrier {number}: ");
            vm.out.wait_for(&line, 60).unwrap();
            thread::sleep(std::time::Duration::from_millis(200));
            let text = vm.out.text();
            let at = text.rfind(&line).unwrap() + line.len();
            text[at..].starts_with(wanted)
        });
        assert!(seen.is_ok(), "{}", vm.out.text());
    };
    carrier('1');
    ip(&format!("link set {} down", tap.0));
    carrier('0');
    ip(&format!("link set {} up", tap.0));
    carrier('1');
}

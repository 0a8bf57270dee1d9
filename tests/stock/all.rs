//! Every device at once, on each kernel and by each transport: its driver is bound, and data goes through it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use pcp_vmm_tests::kernels::Kernel;
use pcp_vmm_tests::time::wait_until;
use tempfile::TempDir;

use super::disks::make_qcow2;
use super::sockets::boot_with_socat;
use super::tap::{Made, load};

/// Where the packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Net {
    User,
    Tap,
    Vhost,
}

impl Net {
    fn option(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Tap => "tap,ifname=pcpall,vhost=off",
            Self::Vhost => "tap,ifname=pcpall,vhost=on",
        }
    }

    /// The addresses of the guest and of the host.
    fn addresses(self) -> (&'static str, &'static str) {
        match self {
            Self::User => ("10.0.2.15", "10.0.2.2"),
            Self::Tap | Self::Vhost => ("10.181.0.20", "10.181.0.1"),
        }
    }
}

/// What every kernel must have bound, by the devices' numbers (VIRTIO 1.3 §5): a driver and a status without fault.
const BOUND: [(&str, &str); 9] = [
    ("0x0003", "virtio_console"),
    ("0x0001", "virtio_net"),
    ("0x001a", "virtiofs"),
    ("0x0009", "9pnet_virtio"),
    ("0x0002", "virtio_blk"),
    ("0x0002", "virtio_blk"),
    ("0x0004", "virtio_rng"),
    ("0x0005", "virtio_balloon"),
    ("0x0013", "vmw_vsock_virtio_transport"),
];

const SCRIPT: &str = r#"dmesg -n 1
load virtio_mmio; load virtio_balloon; load vmw_vsock_virtio_transport; load qemu_fw_cfg; load pvpanic-mmio
exec 3<>/dev/hvc0; echo 'to the console' >&3; read line <&3; echo "console: $line"
ip link set lo up; ip link set eth0 up; ip addr add GUEST/24 dev eth0
echo "network: $(echo question | nc HOST PORT)"
mkdir /fs /p9; mount -t virtiofs fs /fs; mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 p9 /p9
for m in fs p9; do echo "share: $(cat /$m/from-host)"; echo "by $m" >/$m/from-guest; done; umount /fs /p9
for d in vda vdb; do
  printf "on $d" | dd of=/dev/$d bs=512 seek=9 conv=fsync,notrunc 2>/dev/null
  echo 3 >/proc/sys/vm/drop_caches
  echo "disk: $(dd if=/dev/$d bs=512 skip=9 count=1 2>/dev/null | head -c 6)"
done
echo "random: $(cat /sys/class/misc/hw_random/rng_current) $(head -c 64 /dev/hwrng | wc -c)"
i=0; until grep 'balloon_inflate [1-9]' /proc/vmstat || [ $i = 100 ]; do sleep 0.2; i=$((i+1)); done
echo "sockets: $(echo question | socat - VSOCK-CONNECT:2:80)"
echo "firmware: $(cat /sys/firmware/qemu_fw_cfg/by_name/opt/io.systemd.credentials/word/raw)"
echo "panic: $(cat /sys/bus/platform/devices/QEMU0001:00/capability) $(basename $(readlink /sys/bus/platform/devices/QEMU0001:00/driver))"
echo "generation: $(ls -d /sys/bus/*/drivers/vmgenid/PCPV0001:00)"
for d in /sys/bus/virtio/devices/*; do
  echo "bound: $(cat $d/device) $(basename $(readlink $d/driver)) $(cat $d/status)"
done
echo "pci: $(ls /sys/bus/pci/devices 2>/dev/null | wc -l)"
echo "doorbells by port: $(grep -c virtio-pci /proc/ioports)"
"#;

/// The host's side of one boot.
struct Host {
    folder: TempDir,
    vsock: UnixListener,
    tcp: TcpListener,
}

/// Answers one question.
fn answer(mut stream: impl Read + Write, with: &str) {
    let mut asked = [0; 9];
    stream.read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"question\n");
    stream.write_all(with.as_bytes()).unwrap();
}

impl Host {
    fn new(net: Net) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for share in ["fs", "p9"] {
            fs::create_dir(at(share)).unwrap();
            fs::write(at(share).join("from-host"), format!("for {share}\n")).unwrap();
        }
        fs::write(at("raw"), vec![0; 1 << 20]).unwrap();
        make_qcow2(&at("qcow2"), 1 << 20, None);
        let address = match net {
            Net::User => "127.0.0.1",
            Net::Tap | Net::Vhost => net.addresses().1,
        };
        Self {
            vsock: UnixListener::bind(at("vsock_80")).unwrap(),
            tcp: TcpListener::bind((address, 0)).unwrap(),
            folder,
        }
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(Path::new(&self.at(name))).unwrap()
    }

    fn arguments(&self, net: Net, transport: &str) -> Vec<String> {
        [
            ("--transport", transport.to_owned()),
            ("--net", net.option().to_owned()),
            ("--share", format!("fs={}", self.at("fs"))),
            ("--share", format!("p9={},proto=9p", self.at("p9"))),
            ("--disk", self.at("raw")),
            ("--disk", format!("{},format=qcow2", self.at("qcow2"))),
            ("--console", format!("virtio=unix={}", self.at("console"))),
            ("--rng", "true".to_owned()),
            ("--balloon", "16M".to_owned()),
            ("--vsock", format!("cid=5,socket={}", self.at("vsock"))),
            ("--credential", "word=of mouth".to_owned()),
        ]
        .into_iter()
        .map(|(flag, value)| format!("{flag}={value}"))
        .collect()
    }
}

fn works(name: &str, transport: &str, net: Net) {
    let _tap = (net != Net::User).then(|| Made::new("pcpall", "10.181.0.1/24"));
    if net == Net::Vhost {
        load(&["vhost_net"]);
    }
    let host = Host::new(net);
    let (guest, ours) = net.addresses();
    let port = host.tcp.local_addr().unwrap().port().to_string();
    let script = SCRIPT
        .replace("GUEST", guest)
        .replace("HOST", ours)
        .replace("PORT", &port);
    let arguments = host.arguments(net, transport);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let vm = boot_with_socat(&Kernel::named(name).unwrap(), &script, &arguments);
    let (tcp, vsock) = (
        host.tcp.try_clone().unwrap(),
        host.vsock.try_clone().unwrap(),
    );
    let servers = [
        thread::spawn(move || answer(tcp.accept().unwrap().0, "tcp answers")),
        thread::spawn(move || answer(vsock.accept().unwrap().0, "vsock answers")),
    ];
    let console = host.at("console");
    let console = thread::spawn(move || {
        wait_until("the console", 60, || Path::new(&console).exists()).unwrap();
        let mut stream = UnixStream::connect(console).unwrap();
        let mut heard = [0; 14];
        stream.read_exact(&mut heard).unwrap();
        stream.write_all(b"from the console\n").unwrap();
        heard
    });
    let ended = vm.wait(45).unwrap();
    let said = ended.out.replace('\r', "");
    assert_eq!(ended.code, 0, "{said}");
    let (count, doorbells) = match transport {
        "pci" => ("pci: ", "doorbells by port: 9"),
        _ => ("pci: 0", "doorbells by port: 0"),
    };
    let lines = [
        "console: from the console",
        "network: tcp answers",
        "share: for fs",
        "share: for p9",
        "disk: on vda",
        "disk: on vdb",
        "random: virtio_rng",
        "balloon_inflate ",
        "sockets: vsock answers",
        "firmware: of mouth",
        "panic: 3 pvpanic-mmio",
        "generation: /sys/bus/",
        count,
        doorbells,
    ];
    for line in lines {
        assert!(said.contains(&format!("\n{line}")), "{line}: {said}");
    }
    let bound: Vec<_> = said
        .lines()
        .filter_map(|line| line.strip_prefix("bound: "))
        .collect();
    let wanted = BOUND.map(|(id, driver)| format!("{id} {driver} 0x0000000f"));
    assert_eq!(bound, wanted, "{said}");

    assert_eq!(&console.join().unwrap(), b"to the console");
    for server in servers {
        server.join().unwrap();
    }
    for share in ["fs", "p9"] {
        let written = host.read(&format!("{share}/from-guest"));
        assert_eq!(written, format!("by {share}\n").as_bytes());
    }
    assert_eq!(host.read("raw")[9 * 512..][..6], *b"on vda");
    let image = host.read("qcow2");
    assert!(image.windows(6).any(|bytes| bytes == b"on vdb"));
}

#[test]
fn every_device_works_on_6_1() {
    works("6.1-standard", "pci", Net::Vhost);
    works("6.1-standard", "mmio", Net::User);
}

#[test]
fn every_device_works_on_6_12() {
    works("6.12-standard", "pci", Net::Tap);
    works("6.12-standard", "mmio", Net::Vhost);
}

#[test]
fn every_device_works_on_7() {
    works("7-standard", "pci", Net::User);
    works("7-standard", "mmio", Net::Tap);
}

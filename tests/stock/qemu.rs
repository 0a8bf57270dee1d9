//! A stock kernel by QEMU's command line, as microvm.nix writes it for PCP's guests.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use pcp_vmm_tests::kernels::Kernel;
use pcp_vmm_tests::time::{limit, wait_until};
use pcp_vmm_tests::{Stream, TestVm, ports};

/// What the guest does: tells over hvc0 what it finds, serves a line at port 22, and resets itself.
const SCRIPT: &str = r#"
dmesg -n 1
mkdir /mnt; mount -t 9p -o trans=virtio,version=9p2000.L,msize=65536 ro-store /mnt
{ cat /mnt/hello; cat /sys/class/net/eth0/address; nproc; cat /proc/cmdline; } > /dev/hvc0
ls /sys/bus/pci/devices > /dev/null && echo "guest: pci" > /dev/hvc0
echo written > /mnt/back
ip link set lo up; ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2
echo "guest: serves"
echo "from the guest" | nc -l -p 22
sleep 1
reboot -f
"#;

#[test]
fn a_guest_with_pcps_options_has_its_share_network_and_consoles_and_ends_with_status_0_when_it_resets()
 {
    let kernel = Kernel::named("6.12-standard").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    kernel.write_initrd(SCRIPT, at("initrd").as_ref()).unwrap();
    fs::create_dir(at("store")).unwrap();
    fs::write(at("store/hello"), "from the store\n").unwrap();
    let [serial, virtio, ssh] = [(); 3].map(|()| ports::free().unwrap());
    let line = format!(
        "qemu-compat -name pcp-test-vm -M microvm,accel=kvm:tcg,acpi=on,mem-merge=on,pcie=on,pic=off,pit=off,rtc=on,usb=off \
         -m 512 -smp 2 -nodefaults -no-user-config -no-reboot -kernel {kernel} -initrd {initrd} \
         -chardev stdio,id=stdio,signal=off -device virtio-rng-pci -enable-kvm -cpu host,+x2apic,-sgx -device i8042 \
         -nographic -qmp unix:{qmp},server,nowait -numa node,memdev=mem \
         -object memory-backend-memfd,id=mem,size=512M,share=on \
         -fsdev local,id=fs0,path={store},security_model=none,readonly=false -device virtio-9p-pci,fsdev=fs0,mount_tag=ro-store \
         -netdev user,id=eth0,hostfwd=tcp:127.0.0.1:{ssh}-:22, \
         -device virtio-net-pci,netdev=eth0,mac=02:00:00:0a:cb:01,romfile=,mq=on,vectors=10 \
         -name pcp-test-vm,process=pcp-test-vm -serial tcp:127.0.0.1:{serial},server,nowait -device virtio-serial-pci \
         -chardev socket,id=virtcon,port={virtio},host=127.0.0.1,server=on,wait=off -device virtconsole,chardev=virtcon -append",
        kernel = kernel.image().display(),
        initrd = at("initrd"),
        qmp = at("qmp"),
        store = at("store"),
    );
    let mut words: Vec<&str> = line.split_ascii_whitespace().collect();
    words.push(" reboot=t panic=-1 8250.nr_uarts=1 console=ttyS0,115200 console=hvc0 net.ifnames=0 init=/init");
    let vm = TestVm::start(&words).unwrap();
    let hvc0 = Stream::read(client(virtio));
    hvc0.wait_for("guest: pci", 120).unwrap();
    let said = hvc0.text().replace('\r', "");
    assert!(
        said.contains("from the store\n02:00:00:0a:cb:01\n2\n"),
        "{said}"
    );
    assert!(
        said.contains("console=ttyS0,115200 console=hvc0 net.ifnames=0 init=/init"),
        "{said}"
    );

    let mut qmp = BufReader::new(UnixStream::connect(at("qmp")).unwrap());
    for command in ["qmp_capabilities", "query-status"] {
        writeln!(qmp.get_mut(), r#"{{"execute":"{command}"}}"#).unwrap();
    }
    let mut lines = qmp.lines();
    let mut wait_for = |text: &str| {
        let mut lines = lines.by_ref().map(Result::unwrap);
        assert!(lines.any(|line| line.contains(text)), "no {text}");
    };
    wait_for(r#""status":"running""#);

    // The port is open before the guest listens.
    let mut said = String::new();
    wait_until("the guest serves", 60, || {
        said.clear();
        let mut stream = client(ssh);
        stream.set_read_timeout(Some(limit(30))).unwrap();
        stream.read_to_string(&mut said).is_ok() && !said.is_empty()
    })
    .unwrap();
    assert_eq!(said, "from the guest\n");
    wait_for(r#""reason":"guest-reset""#);
    let ended = vm.wait(60).unwrap();
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(fs::read_to_string(at("store/back")).unwrap(), "written\n");
}

fn client(port: u16) -> TcpStream {
    let mut found = None;
    wait_until("somebody listens", 60, || {
        found = TcpStream::connect(("127.0.0.1", port)).ok();
        found.is_some()
    })
    .unwrap();
    found.unwrap()
}

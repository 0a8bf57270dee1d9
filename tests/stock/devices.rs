//! What the guest finds: processors, memory, disks, the virtio console, randomness.

use std::fs;
use std::io::Write;
use std::net::TcpStream;

use pcp_vmm_tests::time::wait_until;
use pcp_vmm_tests::{Stream, ports};

use super::{guest, output};

#[test]
fn all_processors_and_all_memory_are_there() {
    let script = "nproc; grep MemTotal /proc/meminfo; cat /sys/devices/system/clocksource/*/current_clocksource\n";
    // Beyond the hole below 4 GiB, so that memory comes in two parts.
    let said = output(
        script,
        &["--net", "none", "--cpus", "4", "--memory", "3500M"],
    );
    assert!(said.contains("\n4\n"), "{said}");
    let total = said
        .split("MemTotal:")
        .nth(1)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap();
    let total: u64 = total.parse().unwrap();
    assert!((3_300_000..3_584_000).contains(&total), "{said}");
    assert!(said.contains("kvm-clock") || said.contains("tsc"), "{said}");
}

#[test]
fn a_writable_disk_keeps_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    let mut content = vec![0; 4 << 20];
    content[..5].copy_from_slice(b"first");
    fs::write(&disk, &content).unwrap();
    let script =
        "head -c 5 /dev/vda; echo; cat /sys/block/vda/serial; echo; cat /sys/block/vda/size
        printf second | dd of=/dev/vda bs=1 seek=1048576 conv=fsync 2>/dev/null\n";
    let argument = format!("{},serial=mine", disk.display());
    let said = output(script, &["--net", "none", "--disk", &argument]);
    assert!(said.contains("first\nmine\n8192\n"), "{said}");
    assert_eq!(fs::read(&disk).unwrap()[1 << 20..][..6], *b"second");
}

#[test]
fn a_read_only_disk_refuses_writes() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    fs::write(&disk, vec![7; 1 << 20]).unwrap();
    let script =
        "cat /sys/block/vda/ro; printf x | dd of=/dev/vda conv=fsync 2>/dev/null || echo refused\n";
    let said = output(
        script,
        &["--net", "none", "--disk", &format!("{},ro", disk.display())],
    );
    assert!(said.contains("\n1\nrefused\n"), "{said}");
    assert_eq!(fs::read(&disk).unwrap(), vec![7; 1 << 20]);
}

#[test]
fn the_virtio_console_carries_both_ways() {
    let port = ports::free().unwrap();
    let script = "exec 3<>/dev/hvc0; echo guest: open; echo 'from the guest' >&3
        read line <&3; echo \"heard $line\"\n";
    let console = format!("virtio=tcp={port}");
    let vm = guest(script, &["--net", "none", "--console", &console]);
    vm.out.wait_for("guest: open", 60).unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let seen = Stream::read(stream.try_clone().unwrap());
    seen.wait_for("from the guest", 60).unwrap();
    stream.write_all(b"hello guest\n").unwrap();
    vm.out.wait_for("heard hello guest", 60).unwrap();
    assert_eq!(vm.wait(60).unwrap().code, 0);
    ports::ensure_free(port).unwrap();
}

#[test]
fn a_late_client_of_the_virtio_console_sees_it_from_the_start() {
    let port = ports::free().unwrap();
    let script = "for i in $(seq 1 2000); do echo \"line $i of many\"; done >/dev/hvc0; echo guest: written; read go\n";
    let console = format!("virtio=tcp={port}");
    let mut vm = guest(script, &["--net", "none", "--console", &console]);
    vm.out.wait_for("guest: written", 60).unwrap();
    let seen = Stream::read(TcpStream::connect(("127.0.0.1", port)).unwrap());
    seen.wait_for("line 2000 of many", 60).unwrap();
    assert!(
        seen.text().starts_with("line 1 of many"),
        "{}",
        &seen.text()[..100]
    );
    vm.type_in("go\n").unwrap();
    assert_eq!(vm.wait(60).unwrap().code, 0);
}

#[test]
fn the_machine_tells_its_uuid_and_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    fs::write(&file, "two\nlines").unwrap();
    let from_file = format!("file=@{}", file.display());
    let script = "cat /sys/class/dmi/id/product_uuid /sys/class/dmi/id/sys_vendor
        tail -c +6 /sys/firmware/dmi/entries/11-0/raw | tr '\\0' '\\n'; dmesg | grep SMBIOS\n";
    let uuid = "a77a03d9-0001-4f00-8000-00000000000f";
    let mut arguments = vec!["--net", "none", "--cpus", "1", "--uuid", uuid];
    arguments.extend(["--credential", "word=of mouth", "--credential", &from_file]);
    let said = output(script, &arguments);
    let expected = format!(
        "{uuid}\npcp-vmm\nio.systemd.credential:word=of mouth\n\
         io.systemd.credential.binary:file=dHdvCmxpbmVz\n"
    );
    assert!(said.contains(&expected), "{said}");
}

#[test]
fn credentials_are_files_of_the_configuration_device() {
    let folder = tempfile::tempdir().unwrap();
    let [small, first, large] = ["small", "first", "large"].map(|name| folder.path().join(name));
    fs::write(&small, [0, 10, 255]).unwrap();
    // SMBIOS has room for one of the two.
    fs::write(&first, "x".repeat(50_000)).unwrap();
    let content: Vec<u8> = (0..10_001_u32).map(|n| (n % 251) as u8).collect();
    fs::write(&large, &content).unwrap();
    let script = "load qemu_fw_cfg; cd /sys/firmware/qemu_fw_cfg; cat rev
        cd by_name/opt/io.systemd.credentials; echo *; cat word/raw; echo; od -An -tx1 small/raw
        sha256sum <large/raw; tr '\\0' '\\n' </sys/firmware/dmi/tables/DMI | grep -ac credential\n";
    let arguments = [
        format!("small=@{}", small.display()),
        format!("first=@{}", first.display()),
        format!("large=@{}", large.display()),
        "word=of mouth".to_owned(),
        "a.name.that.is.longer.than.a.file.may.have=1".to_owned(),
    ];
    let mut all = vec!["--net", "none", "--cpus", "1"];
    all.extend(arguments.iter().flat_map(|it| ["--credential", it]));
    let said = output(script, &all);
    let sum = std::process::Command::new("sha256sum").arg(&large).output();
    let sum = String::from_utf8(sum.unwrap().stdout).unwrap();
    let sum = sum.split_whitespace().next().unwrap();
    // The interface without DMA; the large file is no string, the long name no file.
    let expected = format!("\n1\nlarge small word\nof mouth\n 00 0a ff\n{sum}  -\n4\n");
    assert!(said.contains(&expected), "{said}");
}

#[test]
fn a_machine_without_credentials_has_no_configuration_device() {
    let said = output(
        "ls /sys/bus/acpi/devices | tr '\\n' ' '\n",
        &["--net", "none", "--cpus", "1"],
    );
    assert!(said.contains("QEMU0001:00"), "{said}");
    assert!(!said.contains("QEMU0002:00"), "{said}");
}

#[test]
fn each_start_has_a_generation_id_of_its_own() {
    // The driver's page, in reserved memory (DESIGN.md, "What the guest sees").
    let script = "ls -d /sys/bus/*/drivers/vmgenid/PCPV0001:00
        dd if=/dev/mem bs=16 skip=65024 count=1 2>/dev/null | od -An -tx1 | sed 's/^/id:/'\n";
    let ids = [(); 2].map(|()| {
        let said = output(script, &["--net", "none", "--cpus", "1"]);
        assert!(said.contains("/drivers/vmgenid/PCPV0001:00\n"), "{said}");
        let id = said.lines().find_map(|line| line.strip_prefix("id:"));
        id.unwrap_or_else(|| panic!("{said}")).to_owned()
    });
    assert_ne!(ids[0], ids[1]);
    assert_eq!(ids[0].split_whitespace().count(), 16, "{ids:?}");
    assert!(
        ids.iter()
            .all(|id| id.chars().any(|c| c.is_ascii_hexdigit() && c != '0'))
    );
}

#[test]
fn random_numbers_come_from_the_host() {
    let script = "cat /sys/class/misc/hw_random/rng_current; head -c 4096 /dev/hwrng | sha256sum; head -c 4096 /dev/hwrng | sha256sum\n";
    let said = output(script, &["--net", "none", "--rng=true"]);
    assert!(said.contains("virtio_rng"), "{said}");
    let sums: Vec<_> = said.lines().filter(|line| line.ends_with("  -")).collect();
    assert_eq!(sums.len(), 2, "{said}");
    assert_ne!(sums[0], sums[1]);
}

#[test]
fn an_idle_guest_uses_no_processor_time() {
    let mut vm = guest(
        "echo guest: idle; read go\n",
        &["--net", "user", "--cpus", "2"],
    );
    vm.out.wait_for("guest: idle", 60).unwrap();
    // A guest settles some time after its start; one that never does fails. A hundred ticks are a second.
    wait_until("two seconds with less than 0.2 s of work", 60, || {
        let before = ticks(vm.pid());
        std::thread::sleep(std::time::Duration::from_secs(2));
        ticks(vm.pid()) - before < 20
    })
    .unwrap();
    vm.type_in("go\n").unwrap();
    assert_eq!(vm.wait(60).unwrap().code, 0);
}

fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

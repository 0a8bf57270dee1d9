//! Disks of every format: what a guest writes is there, what it frees is free, and what fails is the guest's.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{guest, output};

/// Runs `script` in a guest with one disk.
fn with_disk(script: &str, disk: &str) -> String {
    output(script, &["--net", "none", "--cpus", "1", "--disk", disk])
}

/// Makes a file system, fills it, frees what was deleted, and says the sums before and after it is mounted anew.
const FILE_SYSTEM: &str =
    "mke2fs -q /dev/vda && mkdir /mnt && mount -t ext4 /dev/vda /mnt || echo no file system
    for i in 1 2 3 4; do dd if=/dev/urandom of=/mnt/$i bs=1M count=6 2>/dev/null; done
    cd /mnt; sha256sum 1 2 > /sums; rm 3 4; sync; fstrim -v /mnt; cd /; umount /mnt
    echo 3 > /proc/sys/vm/drop_caches; mount -t ext4 /dev/vda /mnt && cd /mnt && sha256sum -c /sums
    cd /; umount /mnt; echo done\n";

#[test]
fn a_file_system_on_a_raw_disk_keeps_its_files_and_frees_space() {
    for io in ["uring", "threads"] {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk");
        fs::File::create(&disk).unwrap().set_len(64 << 20).unwrap();
        let said = with_disk(FILE_SYSTEM, &format!("{},io={io}", disk.display()));
        assert!(said.contains("1: OK\n2: OK\ndone\n"), "{said}");
        assert!(!said.contains("no file system"), "{said}");
        let bytes = fs::metadata(&disk).unwrap().blocks() * 512;
        assert!((12 << 20..20 << 20).contains(&bytes), "{bytes} bytes");
    }
}

/// A new qcow2 image, written down by hand: one header cluster, one cluster each of the reference counts' table, of a
/// block of them, and of the first-level table (QEMU `docs/interop/qcow2.rst`).
pub(super) fn make_qcow2(path: &Path, size: u64, backing: Option<(&str, &str)>) {
    const CLUSTER: usize = 64 << 10;
    let mut image = vec![0; 4 * CLUSTER];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"QFI\xfb\0\0\0\x03");
    put(20, &16u32.to_be_bytes());
    put(24, &size.to_be_bytes());
    put(36, &1u32.to_be_bytes());
    put(40, &(3 * CLUSTER as u64).to_be_bytes());
    put(48, &(CLUSTER as u64).to_be_bytes());
    put(56, &1u32.to_be_bytes());
    put(96, &4u32.to_be_bytes());
    put(100, &104u32.to_be_bytes());
    if let Some((name, format)) = backing {
        put(104, &0xe279_2acau32.to_be_bytes());
        put(108, &(format.len() as u32).to_be_bytes());
        put(112, format.as_bytes());
        put(8, &512u64.to_be_bytes());
        put(16, &(name.len() as u32).to_be_bytes());
        put(512, name.as_bytes());
    }
    put(CLUSTER, &(2 * CLUSTER as u64).to_be_bytes());
    for cluster in 0..4 {
        put(2 * CLUSTER + 2 * cluster, &1u16.to_be_bytes());
    }
    fs::write(path, image).unwrap();
}

#[test]
fn a_file_system_on_a_qcow2_disk_keeps_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    make_qcow2(&disk, 64 << 20, None);
    let argument = format!("{},format=qcow2", disk.display());
    let said = with_disk(FILE_SYSTEM, &argument);
    assert!(said.contains("1: OK\n2: OK\ndone\n"), "{said}");
    // Another guest finds what this one left.
    let script =
        "cat /sys/block/vda/size; mkdir /mnt; mount -t ext4 -o ro /dev/vda /mnt; ls -1 /mnt\n";
    let said = with_disk(script, &format!("{argument},ro"));
    assert!(said.contains("131072\n1\n2\nlost+found\n"), "{said}");
}

#[test]
fn a_qcow2_disk_shows_the_image_that_it_is_based_on_and_leaves_it_alone() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base");
    fs::write(&base, vec![b'b'; 4 << 20]).unwrap();
    let disk = folder.path().join("disk");
    make_qcow2(&disk, 4 << 20, Some(("base", "raw")));
    let script = "printf top | dd of=/dev/vda bs=1 seek=1000000 conv=fsync 2>/dev/null
        dd if=/dev/vda bs=1 skip=999998 count=7 2>/dev/null; echo\n";
    let argument = format!("{},format=qcow2", disk.display());
    assert!(with_disk(script, &argument).contains("bbtopbb\n"));
    assert!(
        with_disk(
            "dd if=/dev/vda bs=1 skip=999998 count=7 2>/dev/null; echo\n",
            &argument
        )
        .contains("bbtopbb\n")
    );
    assert!(fs::read(&base).unwrap().iter().all(|&byte| byte == b'b'));
}

#[test]
fn a_disk_that_fails_is_the_guests_trouble_alone() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    fs::write(&disk, vec![7; 8 << 20]).unwrap();
    let script = "dd if=/dev/vda of=/dev/null bs=4096 count=1 2>/dev/null && echo guest: first; read go
        for i in 1 2 3; do dd if=/dev/vda of=/dev/null bs=4096 count=1 skip=1024 iflag=direct 2>/dev/null || echo error; done
        dd if=/dev/vda of=/dev/null bs=4096 count=1 iflag=direct 2>/dev/null && echo still\n";
    let argument = disk.display().to_string();
    let mut vm = guest(
        script,
        &["--net", "none", "--cpus", "1", "--disk", &argument],
    );
    vm.out.wait_for("guest: first", 60).unwrap();
    fs::File::options()
        .write(true)
        .open(&disk)
        .unwrap()
        .set_len(1 << 20)
        .unwrap();
    vm.type_in("go\n").unwrap();
    let ended = vm.wait(60).unwrap();
    let said = ended.out.replace('\r', "");
    assert!(said.contains("error\nerror\nerror\nstill\n"), "{said}");
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.err.matches("cannot read").count(), 1, "{}", ended.err);
}

#[test]
fn several_disks_have_their_queues_and_serial_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a", "b"].map(|name| folder.path().join(name));
    for path in &paths {
        fs::write(path, vec![0; 1 << 20]).unwrap();
    }
    let [a, b] = paths.map(|path| path.display().to_string());
    let disks = [
        format!("{a},serial=first,queues=2"),
        format!("{b},serial=second,queues=1,cache=writethrough"),
    ];
    let script = "for d in vda vdb; do cat /sys/block/$d/serial; echo; ls /sys/block/$d/mq | wc -l; cat /sys/block/$d/queue/write_cache; done\n";
    let said = output(
        script,
        &[
            "--net", "none", "--cpus", "2", "--disk", &disks[0], "--disk", &disks[1],
        ],
    );
    assert!(
        said.contains("first\n2\nwrite back\nsecond\n1\nwrite through\n"),
        "{said}"
    );
}

#[test]
fn a_disk_in_use_is_not_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    fs::write(&disk, vec![0; 1 << 20]).unwrap();
    let argument = disk.display().to_string();
    let more = ["--net", "none", "--cpus", "1", "--disk", &argument];
    let mut vm = guest("echo guest: up; read go\n", &more);
    vm.out.wait_for("guest: up", 60).unwrap();
    let refused = guest("echo never\n", &more).wait(60).unwrap();
    assert_ne!(refused.code, 0);
    assert!(refused.err.contains("is in use by"), "{}", refused.err);
    assert!(refused.err.contains("read-only"), "{}", refused.err);
    vm.type_in("go\n").unwrap();
    assert_eq!(vm.wait(60).unwrap().code, 0);
}

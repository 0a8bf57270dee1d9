//! The same devices by PCI and by virtio-mmio.

use std::fs;

use super::output;

/// Counts the devices of each bus, and uses a disk and the entropy source.
const SCRIPT: &str = r#"load virtio_mmio
echo "pci functions: $(ls /sys/bus/pci/devices 2>/dev/null | wc -l)"
for d in /sys/bus/virtio/devices/*; do
    echo "$(basename "$(readlink -f "$d/..")" | sed 's/.*\(LNRO0005\|0000\).*/on \1/') $(cat "$d/device") status $(cat "$d/status")"
done
cat /sys/class/misc/hw_random/rng_current
head -c 5 /dev/vda; echo; printf second | dd of=/dev/vda bs=1 seek=4096 conv=fsync 2>/dev/null
mount -t virtiofs share /tmp && cat /tmp/file
grep virtio /proc/interrupts
"#;

#[test]
fn virtio_mmio_carries_every_device_without_pci() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    let mut content = vec![0; 1 << 20];
    content[..5].copy_from_slice(b"first");
    fs::write(&disk, &content).unwrap();
    let shared = folder.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("file"), "from the share\n").unwrap();
    let disk_argument = disk.display().to_string();
    let share = format!("share={},ro", shared.display());
    let said = output(
        SCRIPT,
        &[
            "--transport",
            "mmio",
            "--net",
            "user",
            "--rng=true",
            "--disk",
            &disk_argument,
            "--share",
            &share,
            "--console",
            "virtio=file=/dev/null",
        ],
    );
    assert!(said.contains("pci functions: 0\n"), "{said}");
    // Console, network, share, disk, entropy: all run.
    for kind in ["0x0003", "0x0001", "0x001a", "0x0002", "0x0004"] {
        assert!(
            said.contains(&format!("on LNRO0005 {kind} status 0x0000000f")),
            "{kind}: {said}"
        );
    }
    assert!(said.contains("virtio_rng"), "{said}");
    assert!(said.contains("\nfirst\n"), "{said}");
    assert!(said.contains("\nfrom the share\n"), "{said}");
    assert_eq!(fs::read(&disk).unwrap()[4096..][..6], *b"second");
}

use super::super::file::Mount;
use super::*;

fn target() -> Target {
    Target::new("t".into(), "bzImage".into(), "echo $HOME".into())
}

fn order(target: &Target) -> Order {
    Order::of(target, Path::new("/ci")).unwrap()
}

#[test]
fn a_target_on_this_machines_root_is_a_command_in_its_folder() {
    let order = order(&target());
    assert_eq!(order.kernel, Path::new("/ci/bzImage"));
    assert_eq!((&*order.memory, &*order.cpus), ("4096M", "2"));
    assert_eq!(order.command, ["bash", "-c", "echo $HOME"]);
    assert_eq!(
        order.flags,
        [
            "--user=0:0",
            "--rw=/ci",
            "--share=/ci:/mnt/vmtest",
            "--cwd=/ci",
            "--net=none",
        ]
    );
    assert!(order.warnings.is_empty() && !order.interactive);
}

#[test]
fn paths_begin_at_the_files_folder_and_another_root_has_its_own_folder() {
    let mut target = target();
    target.kernel = "/boot/vmlinuz".into();
    target.rootfs = "root".into();
    target.kernel_args = " a b=c ".into();
    target.command = "-".into();
    let mount = |host_path: &str, writable| Mount {
        host_path: host_path.into(),
        writable,
    };
    target.mounts.insert("/w".into(), mount("data", true));
    target.mounts.insert("/r".into(), mount("/srv", false));
    let order = order(&target);
    assert_eq!(order.kernel, Path::new("/boot/vmlinuz"));
    assert_eq!(order.command, ["bash", "--login"]);
    assert!(order.interactive);
    assert_eq!(
        order.flags,
        [
            "--kernel-arg=a b=c",
            "--user=0:0",
            "--root=/ci/root",
            "--share=/ci:/mnt/vmtest",
            "--share=/srv:/r:ro",
            "--share=/ci/data:/w",
            "--net=none",
        ]
    );
}

#[test]
fn qemus_arguments_count_where_exec_has_the_same() {
    let disk = tempfile::NamedTempFile::new().unwrap();
    disk.as_file().set_len(1 << 20).unwrap();
    let drive = format!("file={},format=raw,if=virtio", disk.path().display());
    let mut with = target();
    let words = [
        "-m",
        "1G",
        "-nic",
        "user,model=virtio-net-pci",
        "-drive",
        &drive,
        "-initrd",
        "x",
        "-cpu",
        "host",
    ];
    with.extra_args = words.map(str::to_owned).to_vec();
    with.qemu_command = Some("qemu".into());
    let with = order(&with);
    assert_eq!((&*with.memory, &*with.cpus), ("1024M", "2"));
    let has = |start: &str| with.flags.iter().any(|flag| flag.starts_with(start));
    assert!(
        has("--net=user") && has("--disk=") && !has("--net=none"),
        "{with:?}"
    );
    assert_eq!(with.warnings.len(), 2, "{with:?}");

    let mut without = target();
    without.memory = "lots".into();
    without.kernel_args = "init=/bin/sh".into();
    without.extra_args = ["-device", "vfio-pci,host=1", "-usb"]
        .map(str::to_owned)
        .to_vec();
    let why = Order::of(&without, Path::new("/ci")).unwrap_err();
    for start in [
        "`kernel_args`: `init=/bin/sh`",
        "`memory`: `-m lots`",
        "`extra_args`: `-device",
    ] {
        assert!(
            why.iter().any(|it| it.starts_with(start)),
            "{start}: {why:?}"
        );
    }
}

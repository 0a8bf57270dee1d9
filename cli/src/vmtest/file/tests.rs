use super::*;

fn problems(text: &str) -> Vec<String> {
    parse(text).unwrap_err()
}

#[test]
fn every_field_of_the_format_is_read() {
    let text = r#"
[[target]]
name = "6.12"
kernel = "./bzImage-6.12"
kernel_args = "threadirqs debug"
rootfs = "rootfs"
arch = "x86_64"
qemu_command = "/opt/qemu"
uefi = false
command = '''it's "quoted" \n'''
[target.vm]
num_cpus = 4
memory = "256M"
extra_args = ["-smp", "2"]
[target.vm.mounts]
"/data" = { host_path = "./data", writable = true }
"/ro" = { host_path = "/srv" }

[[target]]
name = "plain"
kernel = "/boot/vmlinuz"
command = "true"
"#;
    let file = parse(text).unwrap();
    assert_eq!(file.warnings, [""; 0]);
    let [first, second] = &file.targets[..] else {
        panic!("{file:?}")
    };
    assert_eq!(first.kernel, PathBuf::from("./bzImage-6.12"));
    assert_eq!(first.kernel_args, "threadirqs debug");
    assert_eq!(first.rootfs, PathBuf::from("rootfs"));
    assert_eq!(first.qemu_command.as_deref(), Some("/opt/qemu"));
    assert_eq!(first.command, r#"it's "quoted" \n"#);
    assert_eq!((first.cpus, first.memory.as_str()), (4, "256M"));
    assert_eq!(first.extra_args, ["-smp", "2"]);
    assert!(first.mounts["/data"].writable && !first.mounts["/ro"].writable);
    assert_eq!(first.mounts["/ro"].host_path, PathBuf::from("/srv"));
    assert_eq!(first.unfit, [""; 0]);
    let plain = Target::new("plain".into(), "/boot/vmlinuz".into(), "true".into());
    assert_eq!(*second, plain);
    assert_eq!((plain.cpus, plain.memory.as_str()), (2, "4G"));
}

#[test]
fn what_cannot_be_had_is_told_by_its_field_and_place() {
    let text = "\
[[target]]
name = 'image'
image = 'disk.qcow2'
uefi = true
command = 'true'
[target.vm]
bios = 'OVMF.fd'
[[target]]
name = 'foreign'
kernel = 'Image'
arch = 'aarch64'
command = 'true'
";
    let targets = parse(text).unwrap().targets;
    assert_eq!(targets[0].unfit.len(), 2, "{targets:?}");
    assert!(targets[0].unfit[0].starts_with("3:9: `image`"));
    assert!(targets[0].unfit[1].starts_with("4:8: `uefi`"));
    assert_eq!(
        targets[1].unfit,
        ["11:8: `arch`: guests are x86_64, and `aarch64` would have to be emulated"]
    );
}

#[test]
fn what_is_wrong_is_told_at_once_with_line_and_column() {
    let text = "\
[[target]]
name = ''
kernel = 'a'
image = 'b'
[[target]]
name = 'x'
command = 7
uefi = 'yes'
[target.vm]
num_cpus = 0
bios = 'x'
extra_args = 'x'
mounts = { data = { writable = 1 } }
";
    assert_eq!(
        problems(text),
        [
            "1:1: there is no `command`",
            "2:8: `name` is empty",
            "4:9: a target with a `kernel` has no `image`",
            "5:1: a target has an `image` or a `kernel`",
            "7:11: `command` is no text",
            "8:8: `uefi` is neither true nor false",
            "10:12: `num_cpus` is no number from 1 to 64",
            "11:8: `bios` is for a target with `uefi`",
            "12:14: `extra_args` is no list of texts",
            "13:19: the place of a mount is an absolute path without a colon",
            "13:19: there is no `host_path`",
            "13:32: `writable` is neither true nor false",
        ]
    );
    assert_eq!(
        problems("[target]\nname = 'x'\n"),
        ["1:1: a target is a table `[[target]]`"]
    );
    assert_eq!(
        problems(""),
        ["1:1: there is no target, a table `[[target]]`"]
    );
    let broken = problems("[[target]]\nname = 'x\nkernel = 5 5\n");
    assert!(broken.iter().any(|it| it.starts_with("2:")), "{broken:?}");
}

#[test]
fn what_vmtest_would_pass_over_is_a_warning() {
    let text = "[[target]]\nname = 'x'\nkernel = 'k'\ncomand = 'a'\ncommand = 'true'\n";
    assert_eq!(
        parse(text).unwrap().warnings,
        ["4:1: a target has no `comand`; did you mean `command`?"]
    );
}

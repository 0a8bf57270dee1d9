//! Folders of the host in the guest, over virtio-fs and 9p.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use pcp_vmm_tests::kernels::Kernel;
use pcp_vmm_tests::time::wait_until;

use super::{boot, guest, output};

/// How a guest mounts a share.
#[derive(Clone, Copy)]
enum Over {
    VirtioFs,
    P9,
}

impl Over {
    /// The mount command up to tag and folder.
    fn mount(self) -> &'static str {
        match self {
            Self::VirtioFs => "mount -t virtiofs",
            Self::P9 => "mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000",
        }
    }

    /// What `--share` says of it, besides tag and path.
    fn option(self) -> &'static str {
        match self {
            Self::VirtioFs => "",
            Self::P9 => ",proto=9p",
        }
    }
}

/// Says `ok NAME` for each check that passes.
const SCRIPT: &str = r#"
check() { name=$1; shift; if "$@"; then echo "ok $name"; else echo "failed $name"; fi; }
not() { ! "$@"; }
mkdir /w /r /o /t
check mounted MOUNT w /w
check mounted-read-only MOUNT r /r
cd /w
check reads grep -q "from the host" hello
check writes sh -c 'echo "from the guest" > answer'
check large sh -c 'seq 1 200000 > numbers && md5sum numbers > sum'
check tree sh -c 'mkdir -p tree/a/b && cp -a hello tree/a/b && mv tree/a tree/c && ln tree/c/b/hello hard'
check links sh -c 'ln -s hello soft && cmp soft hard'
check modes sh -c 'umask 0; mkdir open && chmod 640 answer && chown 7:8 answer'
check removed sh -c 'exec 3<>gone; echo held >&3; rm gone; test "$(stat -L -c %h /proc/self/fd/3)" = 0'
check walks sh -c 'test $(find many | wc -l) = 501 && test $(ls -l many | wc -l) = 501'
check room df -P /w
echo 3 > /proc/sys/vm/drop_caches
check checksum md5sum -c sum
cd /r
check read-only not sh -c 'echo x > new'
check refuses not rm hello
check refuses-mode not chmod 777 hello
check again grep -q "from the host" hello
mount -t tmpfs t /t; mkdir /t/up /t/work
check overlay mount -t overlay o -o lowerdir=/r,upperdir=/t/up,workdir=/t/work /o
cd /o
check changes sh -c 'echo new > hello && rm -r many && mv dir moved && grep -q new hello'
check merged sh -c 'test ! -e many && test -e moved/file && test -e /r/many/1'
cd /; umount /o; umount /r
check remounts MOUNT r /r
check still grep -q "from the host" /r/hello
umount /w /r
"#;

fn fill(share: &Path) {
    fs::write(share.join("hello"), "from the host\n").unwrap();
    fs::create_dir_all(share.join("dir")).unwrap();
    fs::write(share.join("dir/file"), "x").unwrap();
    fs::create_dir(share.join("many")).unwrap();
    for i in 1..=500 {
        fs::write(share.join(format!("many/{i}")), "").unwrap();
    }
}

fn shares(name: &str, over: Over) {
    let kernel = Kernel::named(name).unwrap();
    let (writable, read_only) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fill(writable.path());
    fill(read_only.path());
    let shares = [
        format!("w={}{}", writable.path().display(), over.option()),
        format!(
            "r={},ro,cache=always{}",
            read_only.path().display(),
            over.option()
        ),
    ];
    let mut arguments = vec!["--net", "none", "--cpus", "1"];
    for share in &shares {
        arguments.extend(["--share", share]);
    }
    let script = SCRIPT.replace("MOUNT", over.mount());
    let vm = boot(&kernel, false, &script, &arguments);
    let ended = vm.wait(240).unwrap();
    assert_eq!(ended.code, 0, "{ended:?}");
    let said = |word: &str| -> Vec<String> {
        let lines = ended.out.lines().filter_map(|line| line.strip_prefix(word));
        lines.map(|name| name.trim().to_owned()).collect()
    };
    assert_eq!(said("failed "), Vec::<String>::new(), "{}", ended.out);
    let checks = SCRIPT
        .lines()
        .filter_map(|line| line.strip_prefix("check "));
    let names: Vec<&str> = checks.filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(said("ok "), names, "{}", ended.out);

    let at = |name: &str| writable.path().join(name);
    assert_eq!(
        fs::read_to_string(at("answer")).unwrap(),
        "from the guest\n"
    );
    let meta = fs::metadata(at("answer")).unwrap();
    assert_eq!((meta.mode() & 0o777, meta.uid(), meta.gid()), (0o640, 7, 8));
    let numbers = fs::read_to_string(at("numbers")).unwrap();
    assert_eq!(numbers.lines().count(), 200_000);
    assert!(numbers.ends_with("\n200000\n"));
    assert_eq!(fs::metadata(at("tree/c/b/hello")).unwrap().nlink(), 2);
    let open = fs::metadata(at("open")).unwrap().permissions();
    assert_eq!(open.mode() & 0o777, 0o777);
    assert!(!at("gone").exists());
    let kept = fs::read_to_string(read_only.path().join("hello")).unwrap();
    assert_eq!(kept, "from the host\n");
}

#[test]
fn folders_of_the_host_on_6_1() {
    shares("6.1-cloud", Over::VirtioFs);
}

#[test]
fn folders_over_9p_on_6_1() {
    shares("6.1-standard", Over::P9);
}

#[test]
fn folders_of_the_host_on_6_12() {
    shares("6.12-cloud", Over::VirtioFs);
}

#[test]
fn folders_over_9p_on_6_12() {
    shares("6.12-standard", Over::P9);
}

#[test]
fn folders_of_the_host_on_7() {
    shares("7-cloud", Over::VirtioFs);
}

#[test]
fn folders_over_9p_on_7() {
    shares("7-standard", Over::P9);
}

#[test]
fn links_out_of_the_share_lead_nowhere_on_the_host() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret text").unwrap();
    let folder = tempfile::tempdir().unwrap();
    symlink(outside.path(), folder.path().join("out")).unwrap();
    symlink("../../../../../../etc/hostname", folder.path().join("up")).unwrap();
    let script = "mkdir /mnt; mount -t virtiofs data /mnt; cat /mnt/out/secret; cat /mnt/up; cat /mnt/../mnt/out/secret; readlink /mnt/up; echo done\n";
    let said = output(
        script,
        &[
            "--net",
            "none",
            "--share",
            &format!("data={}", folder.path().display()),
        ],
    );
    assert!(
        said.contains("done") && !said.contains("secret text"),
        "{said}"
    );
    assert!(said.contains("../../../../../../etc/hostname"), "{said}");
}

#[test]
fn a_walk_over_many_files_keeps_few_open() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..100 {
        let sub = folder.path().join(format!("folder{number}"));
        fs::create_dir(&sub).unwrap();
        for file in 0..100 {
            fs::write(sub.join(format!("file{file}")), "x").unwrap();
        }
    }
    let script = "mkdir /mnt; mount -t virtiofs data /mnt; echo $(find /mnt -type f | wc -l) files; echo walked; read line\n";
    let mut vm = guest(
        script,
        &[
            "--net",
            "none",
            "--share",
            &format!("data={}", folder.path().display()),
        ],
    );
    let descriptors = format!("/proc/{}/fd", vm.pid());
    let mut most = 0;
    wait_until("the walk", 120, || {
        most = most.max(fs::read_dir(&descriptors).map_or(0, Iterator::count));
        vm.out.text().contains("walked")
    })
    .unwrap();
    assert!(vm.out.text().contains("10000 files"), "{}", vm.out.text());
    assert!(most < 1000, "{most} descriptors");
    vm.type_in("end\n").unwrap();
    assert_eq!(vm.wait(60).unwrap().code, 0);
}

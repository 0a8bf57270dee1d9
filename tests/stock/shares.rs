//! Folders of the host in the guest, over virtio-fs and 9p.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use pcp_vmm_tests::TestVm;
use pcp_vmm_tests::kernels::Kernel;
use pcp_vmm_tests::time::wait_until;
use tempfile::TempDir;

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
    // More than may be open; how it is with a hundred thousand is for the device's own tests.
    for number in 0..20 {
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
            "--cpus",
            "1",
            "--share",
            &format!("data={}", folder.path().display()),
        ],
    );
    let descriptors = format!("/proc/{}/fd", vm.pid());
    let mut most = 0;
    wait_until("the walk", 50, || {
        // Looking costs what the guest could run in an emulation.
        sleep(Duration::from_millis(100));
        most = most.max(fs::read_dir(&descriptors).map_or(0, Iterator::count));
        vm.out.text().contains("walked")
    })
    .unwrap_or_else(|error| panic!("{error}: {}", vm.out.text()));
    assert!(vm.out.text().contains("2000 files"), "{}", vm.out.text());
    assert!(most < 1000, "{most} descriptors");
    vm.type_in("end\n").unwrap();
    assert_eq!(vm.wait(60).unwrap().code, 0);
}

/// A guest of 6.12 with a kernel that knows the protocol.
fn guest_over(over: Over, script: &str, shares: &[String]) -> TestVm {
    let name = match over {
        Over::VirtioFs => "6.12-cloud",
        Over::P9 => "6.12-standard",
    };
    let mut arguments = vec!["--net", "none", "--cpus", "1"];
    for share in shares {
        arguments.extend(["--share", share]);
    }
    let kernel = Kernel::named(name).unwrap();
    boot(
        &kernel,
        true,
        &script.replace("MOUNT", over.mount()),
        &arguments,
    )
}

/// Says what it sees each time that it is asked, and writes what it is told to.
const WATCH: &str = r#"
mkdir /w; MOUNT w /w; HOLD
echo watching
while read -r step word; do
  case $step in
    write) echo "$word" >> /w/log; echo "$step sees $(cat /w/log | tr '\n' ' ')";;
    held) echo "$step sees $(cat <&3)";;
    *) echo "$step sees $(cat /w/file) $(stat -c %s:%a /w/file) $(readlink /w/link) $(echo /w/dir/*)";;
  esac 2>&1
  echo "$step $word done"
done
"#;

/// A guest that says what it sees of a share.
struct Watcher {
    vm: TestVm,
    folder: TempDir,
}

impl Watcher {
    fn new(over: Over) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("dir")).unwrap();
        fs::write(at("file"), "first").unwrap();
        fs::set_permissions(at("file"), fs::Permissions::from_mode(0o644)).unwrap();
        symlink("one", at("link")).unwrap();
        let share = format!("w={}{}", folder.path().display(), over.option());
        // Linux's 9p client goes on with the file of a name as long as anybody has it open.
        let hold = match over {
            Over::VirtioFs => "cd /w/dir; exec 3</w/file",
            Over::P9 => ":",
        };
        let vm = guest_over(over, &WATCH.replace("HOLD", hold), &[share]);
        wait_until("the guest", 120, || vm.out.text().contains("watching")).unwrap();
        Self { vm, folder }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a file named `file` in place of the one of that name.
    fn replace(&self, content: &str) {
        fs::write(self.at("new"), content).unwrap();
        fs::rename(self.at("new"), self.at("file")).unwrap();
    }

    fn set_mode(&self, bits: u32) {
        let mode = fs::Permissions::from_mode(bits);
        fs::set_permissions(self.at("file"), mode).unwrap();
    }

    /// What the guest says of `step` has to be this.
    fn look(&mut self, step: &str, word: &str, seen: &str) {
        self.vm.type_in(&format!("{step} {word}\n")).unwrap();
        let end = format!("{step} {word} done");
        wait_until(&end, 30, || self.vm.out.text().contains(&end)).unwrap();
        let text = self.vm.out.text().replace('\r', "");
        let wanted = format!("{step} sees {seen}\n");
        assert!(text.contains(&wanted), "{wanted}: {text}");
    }
}

/// What the host changes, within a second of the change.
fn coherence(over: Over) {
    let mut guest = Watcher::new(over);
    let second = Duration::from_secs(1);
    guest.look("start", "", "first 5:644 one /w/dir/*");
    fs::write(guest.at("file"), "other").unwrap();
    sleep(second);
    guest.look("rewritten", "", "other 5:644 one /w/dir/*");
    guest.replace("longer than that");
    fs::remove_file(guest.at("link")).unwrap();
    symlink("two", guest.at("link")).unwrap();
    sleep(second);
    guest.look("replaced", "", "longer than that 16:644 two /w/dir/*");
    guest.set_mode(0o600);
    fs::write(guest.at("dir/inside"), "").unwrap();
    sleep(second);
    guest.look("added", "", "longer than that 16:600 two /w/dir/inside");
    fs::remove_dir_all(guest.at("dir")).unwrap();
    fs::create_dir(guest.at("dir")).unwrap();
    fs::write(guest.at("dir/again"), "").unwrap();
    fs::remove_file(guest.at("file")).unwrap();
    guest.replace("new");
    guest.set_mode(0o640);
    sleep(second);
    guest.look("anew", "", "new 3:640 two /w/dir/again");
    // The file that was opened is the one that was replaced.
    if let Over::VirtioFs = over {
        guest.look("held", "", "other");
    }

    // Both sides write to the end, wherever the other has moved it.
    fs::write(guest.at("log"), "h1\n").unwrap();
    guest.look("write", "g1", "h1 g1 ");
    let mut log = fs::File::options()
        .append(true)
        .open(guest.at("log"))
        .unwrap();
    log.write_all(b"h2\n").unwrap();
    sleep(second);
    guest.look("write", "g2", "h1 g1 h2 g2 ");
    log.write_all(b"h3\n").unwrap();
    assert_eq!(fs::read(guest.at("log")).unwrap(), b"h1\ng1\nh2\ng2\nh3\n");
    let text = guest.vm.out.text();
    assert!(!text.contains("Stale"), "{text}");
}

#[test]
fn changes_of_the_host_show_within_a_second_over_virtiofs() {
    coherence(Over::VirtioFs);
}

#[test]
fn changes_of_the_host_show_within_a_second_over_9p() {
    coherence(Over::P9);
}

/// Another owner than on the host, and only what is listed.
fn translated_and_listed(over: Over) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("shown"), "").unwrap();
    fs::write(folder.path().join("hidden"), "").unwrap();
    let owner = fs::metadata(folder.path()).unwrap();
    let list = tempfile::NamedTempFile::new().unwrap();
    fs::write(list.path(), format!("{}/shown\n", folder.path().display())).unwrap();
    let share = format!(
        "w={}{},uidmap=7:{}:1,gidmap=8:{}:1,only={}",
        folder.path().display(),
        over.option(),
        owner.uid(),
        owner.gid(),
        list.path().display()
    );
    let script = "mkdir /w; MOUNT w /w; cd /w; echo sees $(stat -c %u:%g shown) $(echo *); cat hidden; chown 7:8 shown && echo kept; chown 9 shown || echo refused\n";
    let ended = guest_over(over, script, &[share]).wait(120).unwrap();
    assert_eq!(ended.code, 0, "{ended:?}");
    for part in [
        "sees 7:8 shown\r",
        "hidden': No such file",
        "kept",
        "refused",
    ] {
        assert!(ended.out.contains(part), "{part}: {}", ended.out);
    }
}

#[test]
fn owners_are_translated_and_names_hidden_over_virtiofs() {
    translated_and_listed(Over::VirtioFs);
}

#[test]
fn owners_are_translated_and_names_hidden_over_9p() {
    translated_and_listed(Over::P9);
}

#[test]
fn owners_and_devices_of_a_mapped_share_stay_in_attributes() {
    let folder = tempfile::tempdir().unwrap();
    let share = format!(
        "w={},proto=9p,security=mapped-xattr",
        folder.path().display()
    );
    let script = "mkdir /w; MOUNT w /w; cd /w; echo x > file; chown 7:8 file; chmod 4711 file; mknod disk b 8 17; ln -s file link; echo sees $(stat -c %u:%g:%a file) $(stat -c %F:%t:%T disk) $(cat link)\n";
    let ended = guest_over(Over::P9, script, &[share]).wait(120).unwrap();
    let wanted = "sees 7:8:4711 block special file:8:11 x";
    assert!(ended.out.contains(wanted), "{ended:?}");
    let ours = fs::metadata(folder.path()).unwrap();
    for name in ["file", "disk", "link"] {
        let meta = fs::symlink_metadata(folder.path().join(name)).unwrap();
        assert!(meta.is_file(), "{name}");
        assert_eq!((meta.uid(), meta.mode() & 0o7777), (ours.uid(), 0o600));
    }
}

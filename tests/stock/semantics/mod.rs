//! Files of a share beside a disk's: each operation's outcome, here and with QEMU, as `docs/file-semantics.md` has it;
//! and programs that use files hard.
//!
//! `PCP_VMM_UPDATE=1` writes the table anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use pcp_vmm_tests::kernels::Kernel;
use pcp_vmm_tests::time::{limit, wait_until};
use tempfile::TempDir;

use super::boot;

/// The kernel knows both protocols, ext4 and overlays.
const KERNEL: &str = "6.12-standard";
const OPERATIONS: &str = include_str!("operations.py");
const WORK: &str = include_str!("work.sh");
const STRESS: &str = include_str!("stress.sh");
const P9: &str = "-t 9p -o trans=virtio,version=9p2000.L,msize=512000";
/// Where the table's columns are made.
const COLUMNS: [&str; 5] = [
    "native (ext4)",
    "virtio-fs",
    "9p",
    "QEMU, virtiofsd",
    "QEMU, virtio-9p",
];

/// The machine's own tree as the guest's root, under a layer in RAM, with the shares in `/mnt`.
const ROOT: &str = r#"dmesg -n 1
mkdir /lower /rw /new; mount ROOT /lower -o ro; mount -t tmpfs rw /rw; mkdir /rw/up /rw/work
mount -t overlay -o lowerdir=/lower,upperdir=/rw/up,workdir=/rw/work o /new
for d in proc sys dev; do mount --bind /$d /new/$d; done; mount -t tmpfs tmp /new/tmp
mkdir -p /new/mnt/native /new/mnt/fuse /new/mnt/p9
chroot /new /sbin/mkfs.ext4 -q /dev/vda && mount -t ext4 /dev/vda /new/mnt/native
mount -t virtiofs fuse /new/mnt/fuse; mount P9 p9 /new/mnt/p9
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
"#;

/// Two folders on ext4, and an empty disk for the guest.
struct Folders {
    temp: TempDir,
}

impl Folders {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let this = Self { temp };
        for (name, size) in [("image", 512_u64 << 20), ("disk", 256 << 20)] {
            let file = fs::File::create(this.at(name)).unwrap();
            file.set_len(size).unwrap();
        }
        fs::create_dir(this.at("mounted")).unwrap();
        run(Command::new("/sbin/mkfs.ext4")
            .arg("-q")
            .arg(this.at("image")));
        let _ = Command::new("modprobe").arg("loop").status();
        let mut mount = Command::new("mount");
        run(mount
            .args(["-o", "loop"])
            .arg(this.at("image"))
            .arg(this.at("mounted")));
        for share in ["fuse", "p9"] {
            let folder = this.at("mounted").join(share);
            fs::create_dir(&folder).unwrap();
            for (name, text) in [
                ("operations.py", OPERATIONS),
                ("work.sh", WORK),
                ("stress.sh", STRESS),
            ] {
                fs::write(folder.join(name), text).unwrap();
            }
        }
        this
    }

    fn at(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.at(name).display().to_string()
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.at("mounted"))
            .status();
    }
}

fn run(command: &mut Command) {
    let done = command.status().unwrap();
    assert!(done.success(), "{command:?}: {done}");
}

/// Boots our own VM with both shares and runs `script` in it.
fn ours(folders: &Folders, script: &str) -> String {
    let script = ROOT.replace("ROOT", "-t virtiofs root").replace("P9", P9) + script;
    let shares = [
        "root=/,ro,cache=always".to_owned(),
        format!("fuse={}", folders.text("mounted/fuse")),
        format!("p9={},proto=9p", folders.text("mounted/p9")),
    ];
    let disk = folders.text("disk");
    let mut more = vec![
        "--net", "none", "--cpus", "1", "--memory", "768M", "--disk", &disk,
    ];
    more.extend(shares.iter().flat_map(|share| ["--share", share]));
    let vm = boot(&Kernel::named(KERNEL).unwrap(), true, &script, &more);
    let ended = vm.wait(200).unwrap();
    assert_eq!(ended.code, 0, "{ended:?}");
    ended.out.replace('\r', "")
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// QEMU's file server, once it listens.
fn virtiofsd(source: &str, socket: &str) -> Process {
    let server = ["/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd"];
    let server = server.into_iter().find(|path| Path::new(path).exists());
    let mut server = Command::new(server.expect("no virtiofsd"));
    server.arg(format!("--socket-path={socket}"));
    if is_documented() {
        let options = format!("source={source},cache=auto,xattr,posix_lock,flock,sandbox=chroot");
        server.args(["-o", &options]);
    } else {
        server.args(["--sandbox=none", "--xattr"]);
        server.arg(format!("--shared-dir={source}"));
    }
    let server = Process(server.stderr(Stdio::null()).spawn().unwrap());
    wait_until("virtiofsd", 30, || Path::new(socket).exists()).unwrap();
    server
}

/// Boots QEMU's machine with both shares and runs `script` in it.
fn qemus(folders: &Folders, script: &str) -> String {
    // A root over QEMU's 9p would be slower than all that is asked.
    let script = ROOT.replace("ROOT", "-t virtiofs root").replace("P9", P9) + script;
    let kernel = Kernel::named(KERNEL).unwrap();
    let initrd = folders.at("initrd");
    kernel.write_initrd(&script, &initrd).unwrap();
    let sockets = [folders.text("socket"), folders.text("root-socket")];
    let sources = [folders.text("mounted/fuse"), "/".to_owned()];
    let _servers = [0, 1].map(|n| virtiofsd(&sources[n], &sockets[n]));
    let output = folders.text("output");
    let plain = "-M q35 -accel kvm -cpu host -m 768 -smp 1 -nodefaults -display none -no-reboot \
                 -object memory-backend-memfd,id=m,share=on,size=768M -numa node,memdev=m \
                 -device vhost-user-fs-pci,chardev=v,tag=fuse \
                 -device vhost-user-fs-pci,chardev=w,tag=root -device virtio-9p-pci,fsdev=p,mount_tag=p9 \
                 -device virtio-blk-pci,drive=d -append console=ttyS0";
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(plain.split_whitespace());
    qemu.arg("-kernel")
        .arg(kernel.image())
        .arg("-initrd")
        .arg(&initrd);
    for (flag, value) in [
        ("-serial", format!("file:{output}")),
        ("-chardev", format!("socket,id=v,path={}", sockets[0])),
        ("-chardev", format!("socket,id=w,path={}", sockets[1])),
        (
            "-fsdev",
            format!(
                "local,id=p,path={},security_model=passthrough",
                folders.text("mounted/p9")
            ),
        ),
        (
            "-drive",
            format!("file={},if=none,id=d,format=raw", folders.text("disk")),
        ),
    ] {
        qemu.args([flag, &value]);
    }
    let mut qemu = Process(qemu.spawn().unwrap());
    let said = || String::from_utf8_lossy(&fs::read(&output).unwrap_or_default()).replace('\r', "");
    let ended = wait_until("QEMU's end", limit(200).as_secs() / 4, || {
        std::thread::sleep(std::time::Duration::from_millis(200));
        qemu.0.try_wait().unwrap().is_some()
    });
    assert!(ended.is_ok(), "{}", said());
    said()
}

/// Whether the virtiofsd here is the one that the table was made with.
fn is_documented() -> bool {
    Path::new("/usr/lib/qemu/virtiofsd").exists()
}

/// Makes every operation in each of `folders` of the guest.
fn operate(places: &[&str]) -> String {
    places
        .iter()
        .map(|place| {
            format!(
                "echo column {place}; chroot /new /usr/bin/python3 /mnt/fuse/operations.py /mnt/{place}/x\n"
            )
        })
        .collect()
}

/// Runs each stressor in each of `folders` of the guest.
fn stress(places: &[&str]) -> String {
    let line = |place| {
        format!(
            "echo column {place}; mkdir /new/mnt/{place}/s; \
             chroot /new /bin/bash /mnt/fuse/stress.sh /mnt/{place}/s\n"
        )
    };
    places.iter().map(line).collect()
}

/// What was said of each of `count` operations in one folder, in their order.
fn column(said: &str, place: &str, count: usize) -> Vec<(String, String)> {
    let mark = format!("column {place}\n");
    let Some((_, part)) = said.split_once(&mark) else {
        panic!("{said}");
    };
    let part = part.split("column ").next().unwrap_or_default();
    let lines = part.lines().filter_map(|line| line.strip_prefix("op "));
    let parts = lines.filter_map(|line| line.split_once(" = "));
    let column: Vec<_> = parts
        .map(|(name, result)| (name.into(), result.trim().into()))
        .collect();
    assert_eq!(column.len(), count, "{said}");
    column
}

/// How many operations there are.
fn operations() -> usize {
    let lines = OPERATIONS.lines();
    lines.filter(|line| line.starts_with("    (\"")).count()
}

/// How many stressors there are.
fn stressors() -> usize {
    let (_, list) = STRESS.split_once("for name in ").unwrap();
    let (list, _) = list.split_once("; do").unwrap();
    list.split_whitespace().filter(|word| *word != "\\").count()
}

/// Compares columns with those of the document's table `what`, or writes them there.
fn compare(what: &str, made: &[(usize, Vec<(String, String)>)]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/file-semantics.md");
    let text = fs::read_to_string(&path).unwrap();
    let (begin, end) = (format!("<!-- {what}s -->\n"), "<!-- end -->");
    let (head, rest) = text.split_once(&begin).unwrap();
    let (table, tail) = rest.split_once(end).unwrap();
    let mut documented: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in table.lines().skip(2) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        documented.insert(cells[0], cells[1..].to_vec());
    }
    let mut new = format!(
        "| {what} | {} |\n|---|{}\n",
        COLUMNS.join(" | "),
        "---|".repeat(5)
    );
    for (row, (name, _)) in made[0].1.iter().enumerate() {
        let mut cells = documented
            .get(name.as_str())
            .cloned()
            .unwrap_or(vec![""; 5]);
        cells.resize(5, "");
        for (column, results) in made {
            cells[*column] = &results[row].1;
        }
        new += &format!("| {name} | {} |\n", cells.join(" | "));
    }
    if std::env::var_os("PCP_VMM_UPDATE").is_some() {
        fs::write(&path, format!("{head}{begin}{new}{end}{tail}")).unwrap();
    } else {
        assert_eq!(new, table, "docs/file-semantics.md is not true any more");
    }
}

#[test]
fn operations_on_our_shares_come_to_what_is_documented() {
    let folders = Folders::new();
    let said = ours(&folders, &operate(&["native", "fuse", "p9"]));
    let made = ["native", "fuse", "p9"].map(|place| column(&said, place, operations()));
    compare("operation", &(0..).zip(made).collect::<Vec<_>>());
}

#[test]
fn operations_on_qemus_shares_come_to_what_is_documented() {
    let folders = Folders::new();
    let said = qemus(&folders, &operate(&["fuse", "p9"]));
    let made = ["fuse", "p9"].map(|place| column(&said, place, operations()));
    if is_documented() {
        compare("operation", &(3..).zip(made).collect::<Vec<_>>());
    }
}

#[test]
fn stressors_on_our_shares_come_to_what_is_documented() {
    let folders = Folders::new();
    let said = ours(&folders, &stress(&["native", "fuse", "p9"]));
    let made = ["native", "fuse", "p9"].map(|place| column(&said, place, stressors()));
    compare("stressor", &(0..).zip(made).collect::<Vec<_>>());
}

#[test]
fn stressors_on_qemus_shares_come_to_what_is_documented() {
    let folders = Folders::new();
    let said = qemus(&folders, &stress(&["fuse", "p9"]));
    let made = ["fuse", "p9"].map(|place| column(&said, place, stressors()));
    if is_documented() {
        compare("stressor", &(3..).zip(made).collect::<Vec<_>>());
    }
}

/// A bare clone of this repository in a share, for the programs there.
fn repository(folders: &Folders, place: &str) {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut clone = Command::new("git");
    clone.args([
        "-c",
        "safe.directory=*",
        "clone",
        "-q",
        "--bare",
        "--no-local",
        // Its history says no more of files.
        "--depth=1",
    ]);
    let bare = folders.at("mounted").join(place).join("source.git");
    run(clone.arg(top).arg(bare));
}

/// Runs `work.sh` in a folder of the guest, with the repository `source` or without one.
fn work(place: &str, source: &str) -> String {
    // Linux's 9p client has no shared writable mapping, but with `cache=mmap`.
    let mapped = if place == "p9" { "psync" } else { "mmap" };
    format!(
        "echo column {place}; mkdir /new/mnt/{place}/work; MAPPED={mapped} chroot /new /bin/bash \
         /mnt/fuse/work.sh /mnt/{place}/work {source}\n"
    )
}

/// The programs in one share of the guest that `boot` runs.
fn programs(place: &str, boot: fn(&Folders, &str) -> String) -> Vec<(String, String)> {
    let folders = Folders::new();
    repository(&folders, place);
    let said = boot(&folders, &work(place, &format!("/mnt/{place}/source.git")));
    let made = column(&said, place, WORK.matches("    try \"").count());
    for (name, _) in made.iter().filter(|(_, result)| result != "ok") {
        eprintln!("{place}: {name}: {said}");
    }
    made
}

#[test]
fn programs_on_our_virtiofs_come_to_what_is_documented() {
    compare("program", &[(1, programs("fuse", ours))]);
}

#[test]
fn programs_on_our_9p_come_to_what_is_documented() {
    compare("program", &[(2, programs("p9", ours))]);
}

#[test]
#[ignore = "it says nothing of this program: `--ignored` renews the table"]
fn programs_on_qemus_virtiofs_come_to_what_is_documented() {
    let made = programs("fuse", qemus);
    if is_documented() {
        compare("program", &[(3, made)]);
    }
}

#[test]
#[ignore = "it says nothing of this program: `--ignored` renews the table"]
fn programs_on_qemus_9p_come_to_what_is_documented() {
    let made = programs("p9", qemus);
    if is_documented() {
        compare("program", &[(4, made)]);
    }
}

#[test]
fn programs_on_a_disk_come_to_what_is_documented() {
    let folders = Folders::new();
    repository(&folders, "fuse");
    let said = ours(&folders, &work("native", "/mnt/fuse/source.git"));
    let count = WORK.matches("    try \"").count();
    compare("program", &[(0, column(&said, "native", count))]);
}

/// What lacks a resource (3) or the system (4) is not the share's fault; 2 is a stressor that failed.
#[test]
fn a_share_withstands_stress_over_virtiofs() {
    let said = ours(&Folders::new(), &work("fuse", ""));
    let status = said.split("stress-ng ended with ").nth(1);
    let status = status.and_then(|rest| rest.lines().next());
    assert!(matches!(status, Some("0" | "3" | "4")), "{said}");
    assert!(!said.contains(" fail: "), "{said}");
}

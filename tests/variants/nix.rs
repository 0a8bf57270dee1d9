//! Derivations that Nix builds in VMs, in its own sandbox, as a plain user.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use pcp_vmm_tests::program;
use tempfile::TempDir;

/// The series of the kernel.
const SERIES: &str = "6.12";
/// What a build's script has.
const APPLETS: [&str; 25] = [
    "cat", "chmod", "chown", "cp", "dmesg", "echo", "env", "grep", "id", "ln", "mkdir", "mke2fs",
    "mount", "nproc", "poweroff", "rm", "sed", "seq", "sh", "sleep", "test", "touch", "true",
    "truncate", "uname",
];

/// Nix, with a configuration and a store of its own.
struct Nix {
    folder: TempDir,
    kernel: PathBuf,
}

impl Nix {
    fn new() -> Self {
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        let bin = folder.path().join("tools/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::copy("/bin/busybox", bin.join("busybox")).expect("busybox-static");
        for name in APPLETS {
            symlink("busybox", bin.join(name)).unwrap();
        }
        let shown = Command::new(program().unwrap())
            .args(["--json", "kernel", "show", SERIES])
            .output()
            .unwrap();
        let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("a kernel");
        let image = PathBuf::from(shown["kernel"].as_str().expect("its file"));
        let kernel = image.parent().unwrap().to_owned();
        let configuration = format!(
            "sandbox = true\nbuild-users-group = nixbld\nsubstitute = false\nsystem-features = kvm\n\
             sandbox-paths = /kernel={}\nmax-jobs = 1\ncores = 1\n",
            kernel.display()
        );
        fs::write(folder.path().join("nix.conf"), configuration).unwrap();
        Self { folder, kernel }
    }

    /// Runs `script` where Nix is, after a line that defines `build NAME`.
    fn run(&self, script: &str) -> Output {
        let top = Path::new(env!("CARGO_MANIFEST_DIR"));
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        let arguments = [
            ("vmm", text(program().unwrap())),
            ("tools", text(self.folder.path().join("tools"))),
            ("kernelImage", "/kernel/vmlinuz".to_owned()),
            ("kernelModules", "/kernel/modules".to_owned()),
            ("kernelOutside", text(self.kernel.join("vmlinuz"))),
            ("initrd", text(self.folder.path().join("initrd"))),
            ("vmNix", text(top.join("../nix/vm/run-in-linux-vm.nix"))),
        ];
        let builds = top.join("variants/nix/builds.nix");
        let mut build = format!("nix-build --no-out-link {} -A \"$@\"", builds.display());
        for (name, value) in arguments {
            build.push_str(&format!(" --argstr {name} {value}"));
        }
        let script = format!("log=$NIX_CONF_DIR/log\nbuild() {{ {build}; }}\n{script}");
        let mut nix = Command::new("unshare");
        nix.args(["--mount", "sh"])
            .arg(top.join("variants/nix/private.sh"));
        nix.arg(self.folder.path()).args(["sh", "-c", &script]);
        let output = nix.stdin(Stdio::null()).output().unwrap();
        assert!(self.kernel.exists());
        output
    }
}

#[test]
fn a_derivation_is_built_in_a_vm_by_a_plain_user_in_nixs_sandbox() {
    let script = "
        good=$(build good 2>$log) || { cat $log >&2; exit 1; }
        cat $log >&2
        cat $good/copy $good/hook $good/processors
        stat -c %U $good/copy
        if build seven 2>$log; then echo wrong; fi
        grep -o 'ends with seven' $log; grep -o 'failed with exit code 7' $log; grep never $log
        if build panics 2>$log; then echo wrong; fi
        grep -o 'sysrq triggered crash' $log | head -n 1; grep -o 'failed with exit code 125' $log
        if build late 2>$log; then echo wrong; fi
        grep -o 'still ran after 20 s' $log | head -n 1; grep -o 'failed with exit code 124' $log
        ls -A /tmp/nix-build-* 2>/dev/null || echo nothing left
    ";
    let output = Nix::new().run(script);
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    let wanted = "from the store\nafter the VM\n1\nroot\nends with seven\nfailed with exit code 7\n\
        sysrq triggered crash\nfailed with exit code 125\nstill ran after 20 s\nfailed with exit code 124\nnothing left\n";
    assert_eq!(out, wanted, "{err}");
    // What the builder wrote is in the log, in its order.
    let lines: Vec<&str> = err.lines().map(str::trim_end).collect();
    let pair = |n: u32| [format!("out {n}"), format!("err {n}")];
    let first = lines
        .iter()
        .position(|line| *line == "out 1")
        .expect("output");
    let wanted: Vec<String> = (1..=200).flat_map(pair).collect();
    assert_eq!(
        lines.get(first..first + 400),
        Some(&wanted.iter().map(String::as_str).collect::<Vec<_>>()[..])
    );
    assert!(lines[..first].contains(&"before the VM"), "{err}");
}

#[test]
fn structured_attributes_and_disk_images_reach_the_vm() {
    let script = "
        for name in structured reads; do
            made=$(build $name 2>$log) || { cat $log >&2; exit 1; }
            cat $made
        done
    ";
    let output = Nix::new().run(script);
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        out,
        "two  words\nkept\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The first stage of a guest like that of vmTools: the store and the folder for exchange, then the program of `command=`.
const STAGE1: &str = "#!/busybox sh
b=/busybox
$b mkdir -p /proc /fs
$b mount -t proc proc /proc
for word in $($b cat /proc/cmdline); do
    case $word in command=*) command=${word#command=} ;; esac
done
$b mount -t tmpfs none /fs
$b mkdir -p /fs/nix/store /fs/dev /fs/proc /fs/tmp/xchg
$b mount -t devtmpfs none /fs/dev
$b mount -t proc none /fs/proc
$b mount -t virtiofs store /fs/nix/store
$b mount -t virtiofs xchg /fs/tmp/xchg
exec $b switch_root /fs $command
";

#[test]
fn scripts_like_those_of_vm_tools_run_with_this_program_in_qemus_place() {
    let nix = Nix::new();
    let busybox = fs::read("/bin/busybox").unwrap();
    let programs: [(&str, &[u8]); 2] = [("busybox", &busybox), ("init", STAGE1.as_bytes())];
    let initrd = pcp_vmm_tests::initrd::with_programs(&[], &programs).unwrap();
    fs::write(nix.folder.path().join("initrd"), initrd).unwrap();
    // Debian 12's virtiofsd works for root alone, and outside of Nix's sandbox.
    let script = "
        as_root() { build \"$1\" --option sandbox false --option build-users-group ''; }
        made=$(as_root byQemuGood 2>$log) || { cat $log >&2; exit 1; }
        cat $made
        if as_root byQemuSeven 2>$log; then echo wrong; fi
        grep -o 'ends with seven' $log; grep -o 'failed with exit code 7' $log || cat $log >&2
    ";
    let output = nix.run(script);
    let out = String::from_utf8_lossy(&output.stdout);
    let wanted = "Linux\nends with seven\nfailed with exit code 7\n";
    assert_eq!(out, wanted, "{}", String::from_utf8_lossy(&output.stderr));
}

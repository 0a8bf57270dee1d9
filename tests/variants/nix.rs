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
const APPLETS: [&str; 24] = [
    "cat", "chmod", "chown", "cp", "dmesg", "echo", "env", "grep", "id", "ln", "mkdir", "mke2fs",
    "mount", "nproc", "rm", "sed", "seq", "sh", "sleep", "test", "touch", "true", "truncate",
    "uname",
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
            ("vmNix", text(top.join("../nix/vm/run-in-linux-vm.nix"))),
        ];
        let builds = top.join("variants/nix/builds.nix");
        let mut build = format!("nix-build --no-out-link {} -A \"$1\"", builds.display());
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

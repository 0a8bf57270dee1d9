//! The flake's programs, started.

use std::process::{Command, Output};

use pcp_vmm_tests::guests::{self, Stop};

use super::Nix;

fn said(done: &Output) -> String {
    String::from_utf8_lossy(&[&*done.stdout, &*done.stderr].concat()).into_owned()
}

/// The files below `path` in the store of `nix`.
fn scripts(nix: &Nix) -> Vec<String> {
    let paths = nix.eval(
        "--json",
        "map (it: it.outPath) (builtins.attrValues flake.packages.x86_64-linux)
          ++ map (app: dirOf (dirOf app.program)) (builtins.attrValues flake.apps.x86_64-linux)",
    );
    let paths: Vec<String> = serde_json::from_str(&paths).unwrap();
    let mut find = vec!["find", "-L"];
    find.extend(paths.iter().map(String::as_str));
    find.extend(["-path", "*/bin/*", "-type", "f", "-size", "-100k"]);
    let done = nix.run(&find);
    assert!(done.status.success(), "{}", said(&done));
    String::from_utf8(done.stdout)
        .unwrap()
        .lines()
        .map(String::from)
        .collect()
}

#[test]
fn every_script_passes_shellcheck() {
    let nix = Nix::machine();
    let packages = nix.eval("--json", "builtins.attrNames flake.packages.x86_64-linux");
    let packages: Vec<String> = serde_json::from_str(&packages).unwrap();
    let outputs: Vec<String> = packages.iter().map(|it| nix.output(it)).collect();
    let mut build = vec!["build", "--no-link"];
    build.extend(outputs.iter().map(String::as_str));
    nix.says(&build);
    let scripts = scripts(&nix);
    assert!(scripts.len() > 80, "{scripts:?}");
    let mut check = vec!["shellcheck"];
    check.extend(scripts.iter().map(String::as_str));
    let done = nix.run(&check);
    assert!(done.status.success(), "{}", said(&done));
}

#[test]
fn apps_start_and_say_that_no_guest_runs() {
    let nix = Nix::machine();
    for (app, words) in [
        ("pcp-vm-check", "0 of PCP's guests run"),
        ("pcp-vm-stop", "none of PCP's guests runs"),
        ("pcp-lifecycle-status-bpf", "not running"),
        ("pcp-lifecycle-force-kill-bpf", ""),
    ] {
        let (out, err) = nix.says(&["run", &nix.output(app)]);
        assert!(format!("{out}{err}").contains(words), "{app}: {out}{err}");
    }
    let done = nix.nix(&["run", &nix.output("pcp-vm-ssh")]);
    assert!(!done.status.success());
    assert!(
        said(&done).contains("`nix run .#pcp-microvm` starts one"),
        "{}",
        said(&done)
    );
}

#[test]
fn an_unknown_test_is_told_with_the_known_ones() {
    let nix = Nix::machine();
    for app in ["pcp-lifecycle-test-all", "pcp-test-all-microvms"] {
        let done = nix.nix(&["run", &nix.output(app), "--", "--only=bcc"]);
        assert_eq!(done.status.code(), Some(2), "{}", said(&done));
        assert!(
            said(&done).contains("there is no test `bcc`"),
            "{}",
            said(&done)
        );
        assert!(said(&done).contains("base"), "{}", said(&done));
    }
}

/// A kernel in place of the guest's: it prints a byte and powers off.
fn tiny_kernel(nix: &Nix) -> String {
    let kernel = nix.path("tiny-kernel");
    guests::one_byte(Stop::PowerOff).write(&kernel).unwrap();
    kernel.display().to_string()
}

#[test]
fn a_guest_without_kvm_says_how_to_get_it() {
    let nix = Nix::machine();
    let guest = nix.build("pcp-microvm");
    let kernel = tiny_kernel(&nix);
    // An empty folder in its place.
    let script =
        format!("mount -t tmpfs none /dev && exec {guest}/bin/microvm-run --kernel {kernel}");
    let done = nix.run(&["/bin/sh", "-c", &script]);
    assert_eq!(done.status.code(), Some(1), "{}", said(&done));
    assert!(said(&done).contains("/dev/kvm"), "{}", said(&done));
    assert!(said(&done).contains("hint:"), "{}", said(&done));
}

#[test]
fn a_guests_program_runs_a_vm_to_its_end() {
    let nix = Nix::machine();
    let guest = nix.build("pcp-microvm");
    let kernel = tiny_kernel(&nix);
    let program = format!("{guest}/bin/microvm-run");
    let done = nix.run(&[&program, "--kernel", &kernel, "--console", "serial=stdio"]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    assert!(done.stdout.contains(&b'!'), "{}", said(&done));
}

#[test]
fn identifiers_are_assigned_as_the_program_does() {
    let nix = Nix::machine();
    let state = tempfile::tempdir().unwrap();
    let assign = |words: &[&str]| {
        let mut all = vec!["--state-dir", state.path().to_str().unwrap(), "ids"];
        all.extend(words);
        let program = pcp_vmm_tests::program().unwrap();
        let done = Command::new(program).args(all).output().unwrap();
        assert!(done.status.success(), "{}", said(&done));
        done.stdout
    };
    let pools = ["cids", "macs", "addresses", "uids", "consoles", "ports"];
    for vm in ["a", "b"] {
        for pool in pools {
            assign(&["assign", vm, "--pool", pool]);
        }
    }
    assign(&["free", "a"]);
    for pool in pools {
        assign(&["assign", "c", "--pool", pool]);
    }
    let wanted = "[ \"cids\" \"macs\" \"addresses\" \"uids\" \"consoles\" \"ports\" ]";
    let text = format!(
        "let need = {wanted}; first = flake.lib.assignIds {{ vms = {{ a = need; b = need; }}; }};
         in flake.lib.assignIds {{ vms = {{ b = need; c = need; }}; previous = first; }}"
    );
    let ours: serde_json::Value = serde_json::from_str(&nix.eval("--json", &text)).unwrap();
    let theirs: serde_json::Value =
        serde_json::from_slice(&assign(&["export", "--format", "json"])).unwrap();
    for pool in pools {
        for vm in ["b", "c"] {
            let theirs = &theirs["ids"][pool][vm];
            assert!(theirs.is_u64(), "{theirs}");
            assert_eq!(&ours["ids"][pool][vm], theirs, "{pool} of {vm}");
        }
        assert_eq!(
            ours["lastAssignments"][pool],
            theirs["lastAssignments"][pool]
        );
    }
}

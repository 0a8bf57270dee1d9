//! The flake's programs, started.

use std::collections::BTreeMap;
use std::fs;
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
          ++ [ flake.checks.x86_64-linux.runner.outPath ]
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
    nix.build("checks.x86_64-linux.runner");
    let scripts = scripts(&nix);
    assert!(scripts.len() > 80, "{scripts:?}");
    let mut check = vec!["shellcheck"];
    check.extend(scripts.iter().map(String::as_str));
    let done = nix.run(&check);
    assert!(done.status.success(), "{}", said(&done));
}

/// Tests of the variants start them beside a real guest, where no Nix runs: `PCP_VMM_NIX/programs.json` says where they are.
#[test]
fn programs_are_built_and_written_down() {
    let nix = Nix::machine();
    nix.build("checks.x86_64-linux.guests");
    nix.build("checks.x86_64-linux.scripts");
    let programs = nix.eval(
        "--json",
        "builtins.mapAttrs (_: app: app.program) flake.apps.x86_64-linux
          // builtins.mapAttrs (name: it: it.outPath + \"/bin/\" + name)
            (nixpkgs.lib.filterAttrs (name: _: nixpkgs.lib.hasPrefix \"pcp-lifecycle-\" name) flake.packages.x86_64-linux)
          // (let guest = flake.packages.x86_64-linux.pcp-microvm; in {
            microvm-run = guest.outPath + \"/bin/microvm-run\";
            microvm-shutdown = guest.outPath + \"/bin/microvm-shutdown\";
            microvm-balloon = guest.outPath + \"/bin/microvm-balloon\";
            bundle = guest.bundle.outPath;
          })",
    );
    let paths: BTreeMap<String, String> = serde_json::from_str(&programs).unwrap();
    let mut there = vec!["ls", "-d"];
    there.extend(paths.values().map(String::as_str));
    let done = nix.run(&there);
    assert!(done.status.success(), "{}", said(&done));
    fs::write(nix.path("programs.json"), programs).unwrap();
}

#[test]
fn the_network_is_set_up_and_taken_away_in_a_namespace() {
    let nix = Nix::machine();
    nix.build("checks.x86_64-linux.scripts");
    let apps = nix.eval(
        "--json",
        "builtins.mapAttrs (_: app: app.program) flake.apps.x86_64-linux",
    );
    let apps: BTreeMap<String, String> = serde_json::from_str(&apps).unwrap();
    let state = tempfile::tempdir().unwrap();
    let script = format!(
        "set -e
         mount -t sysfs sysfs /sys
         {setup} --state-dir {state}
         ip -o link show pcptap0; ip -o -4 addr show pcpbr0; nft list table inet pcp-nat
         {teardown} --state-dir {state}
         ! ip link show pcpbr0 2> /dev/null",
        setup = apps["pcp-network-setup"],
        teardown = apps["pcp-network-teardown"],
        state = state.path().display(),
    );
    let done = nix.run(&["unshare", "--net", "--mount", "/bin/sh", "-c", &script]);
    let said = said(&done);
    assert!(done.status.success(), "{said}");
    for words in ["master pcpbr0", "10.177.0.1/24", "masquerade"] {
        assert!(said.contains(words), "{words}: {said}");
    }
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
fn apps_find_a_guest_that_runs_and_stop_it() {
    let nix = Nix::machine();
    let guest = nix.build("pcp-microvm");
    nix.build("checks.x86_64-linux.scripts");
    let apps = nix.eval(
        "--json",
        "builtins.mapAttrs (_: app: app.program) flake.apps.x86_64-linux",
    );
    let apps: BTreeMap<String, String> = serde_json::from_str(&apps).unwrap();
    let kernel = nix.path("halting-kernel");
    guests::one_byte(Stop::Halt).write(&kernel).unwrap();
    let script = format!(
        "set -eu
         {guest}/bin/microvm-run --kernel {kernel} 2> /dev/null & vm=$!
         trap 'kill $vm 2> /dev/null || true' EXIT
         tries=0
         until {check} | grep \"1 of PCP's guests run\"; do
           tries=$((tries + 1)); [ $tries -lt 100 ]; sleep 0.1
         done
         tr '\\0' ' ' < /proc/$vm/cmdline; echo
         {status}
         {guest}/bin/microvm-balloon 32
         {stop} --power-button 1 --ctrl-alt-del 0
         wait $vm || echo \"ended with $?\"
         {check}",
        kernel = kernel.display(),
        check = apps["pcp-vm-check"],
        status = apps["pcp-lifecycle-status-base"],
        stop = apps["pcp-vm-stop"],
    );
    let done = nix.run(&["/bin/sh", "-c", &script]);
    let said = said(&done);
    assert!(done.status.success(), "{said}");
    assert_eq!(said.matches("microvm@pcp-vm ").count(), 1, "{said}");
    assert!(said.contains("process=pcp-vm"), "{said}");
    assert!(!said.contains("not running"), "{said}");
    assert!(
        said.contains("ended with 143\n0 of PCP's guests run"),
        "{said}"
    );
}

#[test]
fn the_scripts_of_a_microvm_reach_its_control_socket() {
    let nix = Nix::machine();
    let matrix = "(import (flake + \"/nix/tests/matrix.nix\") { inherit flake nixpkgs; })";
    // The machine's own programs in place of the stand-in's.
    let script = |name: &str| {
        let text = nix.eval("--raw", &format!("{matrix}.{name}"));
        let text = text.replace("/socat/bin/", "").replace("/jq/bin/", "");
        text.replace("vm.sock", "$SOCKET")
    };
    let folder = tempfile::tempdir().unwrap();
    let kernel = folder.path().join("kernel");
    guests::one_byte(Stop::Halt).write(&kernel).unwrap();
    let text = format!(
        "set -euo pipefail
         SOCKET={folder}/vm.sock
         {program} run --name scripts --control $SOCKET --runtime-dir {folder}/run --balloon=0M --memory 128M \
           --console serial=none --kernel {kernel} & vm=$!
         trap 'kill $vm 2> /dev/null || true' EXIT
         for try in {{1..100}}; do [ -S $SOCKET ] && break; sleep 0.1; done
         SIZE=32
         echo \"balloon: $({balloon})\"
         ({shutdown}) & asked=$!
         for try in {{1..100}}; do
           echo '{{\"request\":\"events\"}}' | socat -t 5 STDIO UNIX:$SOCKET | grep -o power-button && break
           sleep 0.1
         done
         kill -0 $asked && echo 'it waits for the end'
         kill $vm
         wait $asked && echo 'it has seen the end'
         wait $vm || true
         ({shutdown}) && echo 'a VM that is gone is no fault'",
        folder = folder.path().display(),
        kernel = kernel.display(),
        program = pcp_vmm_tests::program().unwrap().display(),
        balloon = script("balloon"),
        shutdown = script("shutdown"),
    );
    let done = Command::new("bash").args(["-c", &text]).output().unwrap();
    let said = said(&done);
    assert!(done.status.success(), "{said}");
    for words in [
        "balloon: 0",
        "power-button",
        "it waits for the end",
        "it has seen the end",
        "a VM that is gone is no fault",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
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

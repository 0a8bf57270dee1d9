//! The flake's programs beside a real guest. A Debian bundle takes the place of the closure that Nix would build, and the store that
//! the flake's tests filled is mounted at /nix.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

use pcp_vmm_tests::time;

/// What is done to the guest, in order: each step's name is printed before what it says.
const STEPS: &str = r#"
set -eu
step() { echo "step $1"; }
trap 'kill $vm 2> /dev/null || true' EXIT
mount --bind "$DEBIAN" "$BUNDLE"
"$MICROVM_RUN" --cpus 1 & vm=$!
tries=0
until "$CHECK" | grep "1 of PCP's guests run"; do
  tries=$((tries + 1)); [ $tries -lt 120 ]; sleep 1
done

step serial;     "$CHECK_SERIAL" --timeout-scale "$SCALE"
step services;   "$VERIFY_SERVICES" --timeout-scale "$SCALE"
step metrics;    "$VERIFY_METRICS" --timeout-scale "$SCALE"
step check;      "$CHECK"
step status;     "$STATUS"
step process;    "$CHECK_PROCESS"
step ssh;        "$SSH" -- pminfo -f kernel.all.load
step balloon;    "$BALLOON" 64
step stop;       "$STOP" --power-button 120
step end;        wait $vm && echo "ended with 0"
step none;       "$STOP"
step full-test;  "$FULL_TEST" --timeout-scale "$SCALE" -- --cpus 1
step done
"#;

#[test]
fn the_flakes_programs_act_on_a_guest() {
    let place =
        PathBuf::from(env::var("PCP_VMM_NIX").expect("PCP_VMM_NIX names the flake's tests"));
    let images =
        PathBuf::from(env::var("PCP_VMM_IMAGES").expect("PCP_VMM_IMAGES names the images"));
    let programs = fs::read_to_string(place.join("programs.json")).unwrap();
    let programs: BTreeMap<String, String> = serde_json::from_str(&programs).unwrap();
    let home = tempfile::tempdir().unwrap();

    let mut steps = Command::new(place.join("flake/nix/tests/enter"));
    steps.arg("").arg(place.join("store-machine")).arg(&place);
    steps.args(["/bin/sh", "-c", STEPS]);
    steps
        .env("DEBIAN", images.join("base"))
        .env("SCALE", if time::is_lab() { "8" } else { "1" })
        .env("HOME", home.path())
        .env("PCP_VMM_STATE_DIR", home.path().join("state"))
        .env("PCP_VMM_RUNTIME_DIR", home.path().join("run"));
    for (variable, program) in [
        ("BUNDLE", "bundle"),
        ("MICROVM_RUN", "microvm-run"),
        ("BALLOON", "microvm-balloon"),
        ("CHECK_SERIAL", "pcp-lifecycle-check-serial-base"),
        ("VERIFY_SERVICES", "pcp-lifecycle-verify-services-base"),
        ("VERIFY_METRICS", "pcp-lifecycle-verify-metrics-base"),
        ("CHECK_PROCESS", "pcp-lifecycle-check-process-base"),
        ("STATUS", "pcp-lifecycle-status-base"),
        ("FULL_TEST", "pcp-lifecycle-full-test-base"),
        ("CHECK", "pcp-vm-check"),
        ("SSH", "pcp-vm-ssh"),
        ("STOP", "pcp-vm-stop"),
    ] {
        steps.env(variable, &programs[program]);
    }
    let done = steps.output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let all = format!("{said}{}", String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{}: {all}", done.status);
    // What each step printed, up to the next.
    let printed: BTreeMap<&str, &str> = said
        .split("step ")
        .filter_map(|step| step.split_once('\n'))
        .collect();
    for (step, words) in [
        ("check", "1 of PCP's guests run"),
        ("status", "base"),
        ("ssh", "value"),
        ("end", "ended with 0"),
        ("none", "none of PCP's guests runs"),
    ] {
        let printed = printed.get(step).copied().unwrap_or_default();
        assert!(printed.contains(words), "{step}: {all}");
    }
    assert!(!printed["status"].contains("not running"), "{all}");
    assert!(printed.contains_key("done"), "{all}");
}

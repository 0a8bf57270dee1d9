//! What the guests and the VMs of microvm.nix become: command lines, shares, ports, mounts, manifests. `UPDATE_GOLDEN=1` writes them.

use std::{env, fs};

use super::Nix;
use super::nix::goldens;

#[test]
fn the_goldens_are_fresh() {
    for nix in Nix::both() {
        for name in ["guests.txt", "microvm.txt", "manifests.json"] {
            let text = format!(
                "(import (flake + \"/nix/tests/goldens.nix\") {{ inherit flake nixpkgs; }}).\"{name}\""
            );
            let mut found = nix.eval("--raw", &text);
            if name.ends_with(".json") {
                let value: serde_json::Value = serde_json::from_str(&found).unwrap();
                found = serde_json::to_string_pretty(&value).unwrap() + "\n";
            }
            let path = goldens().join(name);
            if env::var_os("UPDATE_GOLDEN").is_some() {
                fs::write(&path, &found).unwrap();
            }
            let golden = fs::read_to_string(&path).unwrap();
            assert!(
                found == golden,
                "{}: {name} is not as the golden, which UPDATE_GOLDEN=1 writes anew:\n{found}",
                nix.name
            );
        }
    }
}

#[test]
fn each_option_of_microvm_nix_is_honoured_or_refused_with_a_reason() {
    let matrix = "(import (flake + \"/nix/tests/matrix.nix\") { inherit flake nixpkgs; })";
    for nix in Nix::both() {
        let faults = nix.eval("--json", &format!("{matrix}.faults"));
        assert_eq!(faults.trim(), "{}", "{}", nix.name);
        let refused = nix.eval("--json", &format!("{matrix}.refused"));
        let refused: serde_json::Value = serde_json::from_str(&refused).unwrap();
        let refused = refused.as_object().unwrap();
        assert!(refused.len() > 20);
        for (option, reason) in refused {
            let said = nix.error(&format!("{matrix}.command.{option}"));
            let reason = reason.as_str().unwrap();
            assert!(
                said.contains("pcp-vmm cannot run `vm`: "),
                "{option}: {said}"
            );
            assert!(said.contains(reason), "{option}: {said}");
        }
    }
}
